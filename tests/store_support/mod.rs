//! What the tests of the store share: batches that are quick to write down.

#![allow(dead_code, unreachable_pub, reason = "each test program uses a part of it")]

use std::path::PathBuf;

use orderflow::order::{Identity, InventoryOrder, Movement, Source};
use orderflow::place::TopicId;
use orderflow::store::{Applied, Batch, DeadLetter, Entry, Original, Outcome, Part, Position, Settled, Topic, Work};

/// A folder that is removed in the end, with the path of a store in it.
pub fn place() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("inventory.redb");
    (folder, path)
}

/// The topic of the tests.
pub fn topic() -> Topic {
    Topic::new(TopicId::new([7; 16]), "inventory_orders")
}

/// Our own form of an identity.
pub fn numbered(source: u8, index: u64) -> Option<Identity> {
    Some(Identity::numbered(Source::of_digest([source; 32]), index).unwrap())
}

/// A movement of `quantity` pieces, out if negative.
pub fn movement(product: &str, quantity: i32) -> Work<InventoryOrder> {
    let direction = if quantity < 0 { Movement::Issue } else { Movement::Receipt };
    let order = InventoryOrder::new("97537", product, quantity.unsigned_abs(), "5/30/2023").unwrap();
    Work::Apply(order.with_movement(direction))
}

/// A record that is set aside.
pub fn dead_letter() -> Work<InventoryOrder> {
    let original = Original { key: None, value: Some(b"{not json".as_slice().into()), headers: Vec::new() };
    let reason = "the value is no JSON".to_owned();
    Work::DeadLetter(DeadLetter { code: "ORD-JSON".into(), reason, attempts: 1, original })
}

/// An entry at an offset; its record was written a second after the one before.
pub fn entry(offset: i64, identity: Option<Identity>, work: Work<InventoryOrder>) -> Entry<InventoryOrder> {
    Entry { offset, timestamp: 1_700_000_000_000 + offset * 1_000, identity, work }
}

/// A part that follows on a position and settles its entries.
pub fn part(partition: i32, at: &Position, entries: Vec<Entry<InventoryOrder>>) -> Part<InventoryOrder> {
    let next = entries.last().map_or(at.next, |entry| entry.offset + 1);
    Part {
        partition,
        expected: at.version,
        token: u128::from(at.version) + 1_000,
        next,
        settled: Settled::new(),
        leader_epoch: 3,
        entries,
    }
}

/// A batch of one part.
pub fn batch(part: Part<InventoryOrder>) -> Batch<InventoryOrder> {
    Batch { topic: topic(), parts: vec![part] }
}

/// The outcomes of the only part.
pub fn outcomes(applied: &Applied) -> Vec<Outcome> {
    assert_eq!(applied.parts.len(), 1);
    applied.parts[0].outcomes.clone()
}
