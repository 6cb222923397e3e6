//! What a guard makes of the rows that a database answers.

use proptest::prelude::*;

use super::notes::{note, outcomes_of};
use super::*;
use crate::order::{Identity, InventoryOrder};
use crate::place::TopicId;
use crate::store::{DeadLetter, Entry, Outcome, Part, Work};

fn topic() -> Topic {
    Topic::new(TopicId::new([7; 16]), "inventory_orders")
}

fn guard() -> PositionGuard {
    PositionGuard::new("shop", "guard:1", InventoryOrder::TYPE)
}

fn identity(name: &str) -> Option<Identity> {
    Some(Identity::opaque(name).unwrap())
}

fn entry(offset: i64, identity: Option<Identity>, work: Work<InventoryOrder>) -> Entry<InventoryOrder> {
    Entry { offset, timestamp: 1_000 + offset, identity, work }
}

fn apply() -> Work<InventoryOrder> {
    Work::Apply(InventoryOrder::new("97537", "02758", 35, "5/30/2023").unwrap())
}

fn letter() -> Work<InventoryOrder> {
    let original = Original { value: Some("{".into()), ..Original::default() };
    Work::DeadLetter(DeadLetter { code: "ORD-JSON".into(), reason: "no JSON".into(), attempts: 1, original })
}

fn batch(entries: Vec<Entry<InventoryOrder>>) -> Batch<InventoryOrder> {
    let next = entries.last().map_or(0, |entry| entry.offset + 1);
    let part = Part { partition: 3, expected: 5, token: 77, next, settled: Settled::new(), leader_epoch: 2, entries };
    Batch { topic: topic(), parts: vec![part] }
}

fn key(name: &str) -> Vec<u8> {
    let mut key = Vec::new();
    identity(name).unwrap().write_store_key(&mut key);
    key
}

fn row(version: i64, token: u128, next: i64, noted: Vec<u8>) -> StoredPosition {
    (3, next, Vec::new(), 2, version, token.to_be_bytes().to_vec(), noted).into()
}

#[test]
fn only_orders_that_are_here_for_the_first_time_are_due() {
    let entries = ["a", "b", "a"].into_iter().zip(0..).map(|(name, at)| entry(at, identity(name), apply()));
    let batch = batch(entries.chain([entry(3, None, apply())]).collect());
    let decided = guard().settle(&batch).decide([(key("a"), true)]);
    assert_eq!(decided.due().iter().map(|due| due.offset).collect::<Vec<_>>(), [0, 3]);
    let applied = decided.applied();
    let [Outcome::Applied, Outcome::Duplicate, Outcome::Duplicate, Outcome::Applied] = &*applied.parts[0].outcomes
    else {
        panic!("{applied:?}");
    };
    assert_eq!((applied.parts[0].position.version, applied.parts[0].position.next), (6, 4));
}

#[test]
fn a_copy_that_fails_after_its_order_was_applied_is_a_duplicate() {
    let batch = batch(vec![
        entry(0, identity("a"), letter()),
        entry(1, identity("a"), apply()),
        entry(2, identity("a"), letter()),
        entry(3, identity("known"), letter()),
    ]);
    let decided = guard().settle(&batch).decide([(key("a"), true), (key("known"), false)]);
    let statements = decided.statements();
    let outcomes = &decided.applied().parts[0].outcomes;
    assert!(matches!(
        &**outcomes,
        [Outcome::DeadLetter { .. }, Outcome::Applied, Outcome::Duplicate, Outcome::Duplicate]
    ));
    let [letter, note] = &*statements else { panic!("{statements:?}") };
    assert!(letter.sql.contains("orderflow_dead_letters") && letter.values.contains(&Value::Text("resolved".into())));
    assert!(note.sql.contains("noted") && note.values.contains(&Value::Long(6)));
}

#[test]
fn a_refusal_is_told_kept_and_told_again_when_the_answer_was_lost() {
    let batch = batch(vec![entry(0, identity("a"), apply()), entry(1, identity("b"), apply())]);
    let settlement = guard().settle(&batch);
    let mut decided = settlement.decide([(key("a"), true), (key("b"), true)]);
    let due = decided.due();
    decided.refuse(&due[1], "SHOP-SOLD-OUT", "nothing is left");
    let noted = decided.statements().into_iter().find_map(|statement| {
        statement.sql.contains("noted").then(|| match statement.values.last() {
            Some(Value::Bytes(Some(noted))) => noted.clone(),
            other => panic!("{other:?}"),
        })
    });
    let applied = decided.applied();
    assert!(
        matches!(&*applied.parts[0].outcomes, [Outcome::Applied, Outcome::Refused { code, .. }] if code == "SHOP-SOLD-OUT")
    );
    assert_eq!(settlement.recall([row(6, 77, 2, noted.unwrap())]).unwrap(), applied);
}

#[test]
fn what_somebody_else_wrote_is_not_taken_for_ours() {
    let batch = batch(vec![entry(0, identity("a"), apply())]);
    let settlement = guard().settle(&batch);
    assert!(settlement.is_claimed(1) && !settlement.is_claimed(0));
    for foreign in
        [row(6, 78, 1, Vec::new()), row(7, 77, 1, Vec::new()), row(6, 77, 9, Vec::new()), row(5, 1, 0, Vec::new())]
    {
        let refused = settlement.recall([foreign]).unwrap_err();
        assert_eq!(refused.code(), ErrorCode::StoreConflict);
        assert!(refused.to_string().contains("inventory_orders"), "{refused}");
    }
    assert_eq!(settlement.recall([]).unwrap_err().code(), ErrorCode::StoreConflict);
    assert!(settlement.recall([row(6, 77, 1, Vec::new())]).is_ok());
}

#[test]
fn a_start_that_changed_no_row_is_a_conflict() {
    let reason = "auto.offset.reset=earliest".to_owned();
    let start = Start { partition: 3, expected: 0, token: 9, next: 40, leader_epoch: 1, reason };
    let position = PositionGuard::was_set(&topic(), &start, 1).unwrap();
    assert_eq!((position.next, position.version, position.token), (40, 1, 9));
    assert_eq!(PositionGuard::was_set(&topic(), &start, 0).unwrap_err().code(), ErrorCode::StoreConflict);
}

#[test]
fn a_topic_without_identity_is_its_name() {
    let with = guard().positions(&topic());
    let without = guard().positions(&Topic::new(TopicId::NONE, "inventory_orders"));
    assert_ne!(with.values, without.values);
    assert_eq!(without.values[1], Value::Text("name:inventory_orders".into()));
}

#[test]
fn records_are_not_shown() {
    let batch = batch(vec![entry(0, None, letter())]);
    let shown = format!("{:?}", guard().settle(&batch).decide([]).statements());
    assert!(shown.contains("bytes") && !shown.contains("123"), "{shown}");
}

#[test]
fn rows_that_are_broken_are_refused() {
    let short = StoredPosition { token: vec![1], ..row(6, 77, 1, Vec::new()) };
    let negative = row(-1, 77, 1, Vec::new());
    let settled = StoredPosition { settled: vec![0xff], ..row(6, 77, 1, Vec::new()) };
    for broken in [short, negative, settled] {
        assert_eq!(PositionGuard::read([broken]).unwrap_err().code(), ErrorCode::StoreCorrupt);
    }
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        4 => Just(Outcome::Applied),
        2 => Just(Outcome::Duplicate),
        1 => ".{0,9}".prop_map(|reason| Outcome::Refused { code: "STK-INSUFFICIENT".into(), reason }),
        1 => ".{0,9}".prop_map(|reason| Outcome::DeadLetter { code: "ORD-JSON".into(), reason }),
    ]
}

proptest! {
    #[test]
    fn outcomes_are_read_as_they_were_noted(outcomes in prop::collection::vec(outcome(), 0..40)) {
        prop_assert_eq!(outcomes_of(&note(&outcomes), outcomes.len()).unwrap(), outcomes);
    }

    #[test]
    fn a_hostile_note_is_read_or_refused(bytes: Vec<u8>, entries in 0_usize..9) {
        if let Ok(outcomes) = outcomes_of(&bytes, entries) {
            prop_assert_eq!(outcomes.len(), entries);
        }
    }
}
