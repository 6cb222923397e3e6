//! What must hold of `lanes`.

use proptest::prelude::*;

use super::*;

const A: Lane = Lane { slot: 0, key: 1 };
const B: Lane = Lane { slot: 0, key: 2 };
const C: Lane = Lane { slot: 1, key: 1 };

fn at(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[test]
fn an_order_that_waits_holds_up_its_own_lane_only() {
    let mut lanes = Lanes::new(4);
    lanes.offer(A, "a1");
    lanes.offer(A, "a2");
    lanes.offer(B, "b1");
    assert_eq!(lanes.start(), Some((A, "a1")));
    lanes.retry(A, "a1", at(10));
    assert_eq!(lanes.start(), Some((B, "b1")));
    lanes.done(B);
    lanes.offer(B, "b2");
    assert_eq!(lanes.start(), Some((B, "b2")));
    assert_eq!(lanes.start(), None);
    assert_eq!(lanes.next_due(), Some(at(10)));
    lanes.wake(at(9));
    assert_eq!(lanes.start(), None);
    lanes.wake(at(10));
    assert_eq!(lanes.start(), Some((A, "a1")));
    lanes.done(A);
    assert_eq!(lanes.start(), Some((A, "a2")));
}

#[test]
fn no_more_run_than_the_limit_allows() {
    let mut lanes = Lanes::new(2);
    for (lane, order) in [(A, 1), (B, 2), (C, 3)] {
        lanes.offer(lane, order);
    }
    assert!(lanes.start().is_some() && lanes.start().is_some());
    assert_eq!((lanes.start(), lanes.running(), lanes.queued()), (None, 2, 1));
    lanes.done(A);
    assert_eq!(lanes.start(), Some((C, 3)));
}

#[test]
fn a_free_lane_is_one_in_which_nothing_runs_waits_or_is_ready() {
    let mut lanes = Lanes::new(2);
    assert!(lanes.is_free(A));
    lanes.occupy(A);
    assert!(!lanes.is_free(A) && lanes.is_free(B));
    lanes.retry(A, 1, at(5));
    assert!(!lanes.is_free(A));
    lanes.wake(at(5));
    assert!(!lanes.is_free(B), "an older order is ready");
    lanes.start();
    lanes.done(A);
    assert!(lanes.is_free(A));
}

#[test]
fn a_partition_that_is_forgotten_leaves_nothing_behind() {
    let mut lanes = Lanes::new(4);
    lanes.offer(A, 1);
    lanes.offer(A, 2);
    lanes.offer(B, 3);
    lanes.offer(C, 4);
    let _ = lanes.start();
    assert_eq!(lanes.forget(0), [2, 3]);
    assert_eq!(lanes.queued(), 1);
    lanes.retry(A, 1, at(1));
    lanes.wake(at(9));
    assert_eq!(lanes.start(), Some((C, 4)));
    assert_eq!((lanes.start(), lanes.running()), (None, 1));
}

proptest! {
    /// However answers come, each order of a lane ends in the order in which it was offered, and all end.
    #[test]
    fn orders_of_a_lane_never_overtake_each_other(
        keys in prop::collection::vec(0_u64..4, 1..50),
        answers in prop::collection::vec((any::<prop::sample::Index>(), 0_u8..3), 400),
        limit in 1_usize..5,
    ) {
        let mut lanes = Lanes::new(limit);
        let mut offered = keys.iter().enumerate();
        let (mut running, mut ended, mut now) = (Vec::new(), Vec::new(), 0);
        for (pick, fate) in answers {
            if let Some((number, key)) = offered.next() {
                lanes.offer(Lane { slot: 0, key: *key }, number);
            }
            now += 1;
            lanes.wake(at(now));
            while let Some(started) = lanes.start() {
                prop_assert!(running.iter().all(|(lane, _)| *lane != started.0), "two of one lane run");
                running.push(started);
            }
            prop_assert!(running.len() <= limit);
            if !running.is_empty() {
                let (lane, number) = running.swap_remove(pick.index(running.len()));
                if fate == 0 { lanes.retry(lane, number, at(now + 3)) } else { lanes.done(lane); ended.push((lane, number)); }
            }
        }
        for key in 0..4 {
            let of_key: Vec<usize> = ended.iter().filter(|(lane, _)| lane.key == key).map(|(_, number)| *number).collect();
            prop_assert!(of_key.is_sorted(), "lane {key}: {of_key:?}");
        }
    }
}
