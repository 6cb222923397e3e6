//! What must hold of `ledger`.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn ledger(next: i64) -> Ledger {
    Ledger::new(next, Settled::new(), -1, 10_000)
}

#[test]
fn a_position_stands_before_the_first_order_that_is_not_settled() {
    let mut ledger = ledger(40);
    for offset in 40..44 {
        assert_eq!(ledger.take(offset), Taken::InHand);
    }
    ledger.settle(41);
    ledger.settle(43);
    assert_eq!((ledger.next(), ledger.settled().len()), (40, 2));
    ledger.settle(40);
    assert_eq!(ledger.next(), 42);
    ledger.settle(42);
    assert_eq!((ledger.next(), ledger.settled().is_empty(), ledger.taken.len()), (44, true, 0));
}

#[test]
fn gaps_are_settled_as_they_are_passed_even_while_an_order_waits() {
    let mut ledger = ledger(0);
    assert_eq!(ledger.take(5), Taken::InHand);
    assert_eq!(ledger.next(), 5);
    assert_eq!(ledger.take(9), Taken::InHand);
    ledger.pass(20);
    assert_eq!(ledger.next(), 5);
    ledger.settle(5);
    assert_eq!(ledger.next(), 9);
    ledger.settle(9);
    assert_eq!((ledger.next(), ledger.read()), (20, 20));
}

#[test]
fn what_an_earlier_run_settled_is_not_handed_out_again() {
    let mut ledger = Ledger::new(3, [4, 5, 8].into_iter().collect(), 7, 10_000);
    assert_eq!(ledger.take(3), Taken::InHand);
    assert_eq!(ledger.take(4), Taken::Before);
    assert_eq!(ledger.take(5), Taken::Before);
    assert_eq!(ledger.take(6), Taken::InHand);
    ledger.settle(3);
    assert_eq!(ledger.next(), 6);
    assert_eq!(ledger.take(2), Taken::Before);
    ledger.settle(6);
    assert_eq!(ledger.take(7), Taken::InHand);
    ledger.settle(7);
    assert_eq!((ledger.next(), ledger.read()), (9, 9), "{ledger:?}");
}

#[test]
fn a_full_ledger_has_no_room_until_its_first_order_is_settled() {
    let mut ledger = Ledger::new(0, Settled::new(), -1, 3);
    for offset in 0..3 {
        assert!(ledger.has_room());
        ledger.take(offset);
    }
    ledger.settle(1);
    ledger.settle(2);
    assert!(!ledger.has_room());
    ledger.settle(0);
    assert!(ledger.has_room());
}

#[test]
fn the_leader_epoch_is_that_of_the_last_settled_record() {
    let mut ledger = Ledger::new(10, Settled::new(), 3, 10_000);
    ledger.epoch_begins(10, 3);
    ledger.take(10);
    ledger.epoch_begins(11, 5);
    ledger.take(11);
    assert_eq!(ledger.leader_epoch(), 3);
    ledger.settle(10);
    assert_eq!(ledger.leader_epoch(), 3);
    ledger.settle(11);
    assert_eq!(ledger.leader_epoch(), 5);
}

proptest! {
    /// Whatever the order of settling and the gaps, the position never passes an order that is not settled, and in the
    /// end nothing is left behind.
    #[test]
    fn a_position_never_passes_an_order_in_hand(
        gaps in prop::collection::vec(0_i64..4, 1..60),
        order in prop::collection::vec(any::<prop::sample::Index>(), 60),
    ) {
        let mut ledger = ledger(0);
        let (mut at, mut in_hand, mut all) = (0, Vec::new(), BTreeSet::new());
        for gap in &gaps {
            at += gap;
            prop_assert_eq!(ledger.take(at), Taken::InHand);
            in_hand.push(at);
            all.insert(at);
            at += 1;
        }
        for pick in order {
            if in_hand.is_empty() {
                break;
            }
            let offset = in_hand.swap_remove(pick.index(in_hand.len()));
            ledger.settle(offset);
            let lowest = in_hand.iter().min().copied();
            prop_assert_eq!(ledger.next(), lowest.unwrap_or(at));
            for done in all.iter().filter(|offset| **offset >= ledger.next() && !in_hand.contains(offset)) {
                prop_assert!(ledger.settled().contains(*done));
            }
            prop_assert!(in_hand.iter().all(|offset| !ledger.settled().contains(*offset)));
        }
    }
}
