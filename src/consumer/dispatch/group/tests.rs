//! What must hold of `group`.

use proptest::prelude::*;

use super::*;
use crate::consumer::breaker::BreakerConfig;
use crate::consumer::sample::batch_of;
use crate::flight::Recorder;
use crate::order::InventoryOrder;
use crate::place::TopicId;
use crate::wire::record_batch::{BatchReader, Header};

const IDENTITY: &[Header<'_>] = &[Header { key: b"idempotency-key", value: Some(b"test:1") }];

fn value(id: usize) -> Vec<u8> {
    let mut value = Vec::new();
    InventoryOrder::new(&format!("{id}"), "02758", 35, "5/30/2023").unwrap().encode(&mut value);
    value
}

fn batch(base: i64, values: &[Vec<u8>]) -> BatchView {
    let values: Vec<&[u8]> = values.iter().map(Vec::as_slice).collect();
    BatchReader::new(batch_of(base, &values, IDENTITY)).next().unwrap().unwrap()
}

fn orders(base: i64, count: usize) -> BatchView {
    batch(base, &(0..count).map(value).collect::<Vec<_>>())
}

fn topic() -> Topic {
    Topic::new(TopicId::new([1; 16]), "orders")
}

struct Bench {
    group: Group<InventoryOrder>,
    cursor: Cursor,
    decompressor: Decompressor,
}

impl Bench {
    fn at(next: i64) -> Self {
        let cursor = Cursor { next, ..Cursor::default() };
        Self { group: Group::new(Audience::Observer), cursor, decompressor: Decompressor::new() }
    }

    fn take(&mut self, batch: BatchView, limit: usize) -> Result<(), BatchError> {
        {
            let off = BreakerConfig { consecutive: 0, percent: 0, window: 10 };
            let mut breaker = Recorder::default().watch(Breaker::new(off), None);
            self.group.take(0, (batch, None), (&mut self.cursor, &mut breaker), limit, &mut self.decompressor).map(drop)
        }
    }

    fn seal(&mut self) -> (Batch<InventoryOrder>, Sealed) {
        self.group.seal(&topic(), |_| 9)
    }
}

fn offsets(batch: &Batch<InventoryOrder>) -> Vec<i64> {
    batch.parts.iter().flat_map(|part| &part.entries).map(|entry| entry.offset).collect()
}

#[test]
fn orders_before_the_position_and_settled_ones_are_left_out() {
    let mut bench = Bench::at(12);
    bench.cursor.settled = [13, 17].into_iter().collect();
    bench.take(orders(10, 6), usize::MAX).unwrap();
    let (batch, _) = bench.seal();
    assert_eq!(offsets(&batch), [12, 14, 15]);
    let part = &batch.parts[0];
    assert_eq!((part.next, part.expected, part.leader_epoch), (16, 9, 3));
    assert_eq!(part.settled.ranges().collect::<Vec<_>>(), [(17, 18)]);
    assert!(batch.parts[0].entries.iter().all(|entry| entry.identity.is_some()));
}

#[test]
fn a_limit_cuts_a_batch_and_the_position_stands_before_what_was_left() {
    let mut bench = Bench::at(10);
    bench.take(orders(10, 6), 4).unwrap();
    let (batch, _) = bench.seal();
    assert_eq!((offsets(&batch), batch.parts[0].next), (vec![10, 11, 12, 13], 14));
    bench.take(orders(10, 6), usize::MAX).unwrap();
    assert_eq!(offsets(&bench.seal().0), [14, 15]);
}

#[test]
fn what_holds_no_order_moves_the_position_without_an_entry() {
    let mut bench = Bench::at(10);
    bench.group.pass(0, 15, &mut bench.cursor);
    assert!(!bench.group.is_empty());
    let (batch, _) = bench.seal();
    assert_eq!((batch.parts[0].next, batch.len()), (15, 0));
    bench.group.pass(0, 15, &mut bench.cursor);
    assert!(bench.group.is_empty(), "nothing moved");
}

#[test]
fn a_batch_that_cannot_be_read_leaves_the_group_as_it_was() {
    let mut bytes = batch_of(12, &[&value(1), &value(2)], IDENTITY).to_vec();
    let end = bytes.len() - 1;
    bytes[end] ^= 0x55;
    bytes.truncate(end);
    let length = u32::from_be_bytes(bytes[8..12].try_into().unwrap()) - 1;
    bytes[8..12].copy_from_slice(&length.to_be_bytes());
    let damaged = BatchReader::new(bytes.into()).next().unwrap().unwrap();

    let mut bench = Bench::at(10);
    assert!(bench.take(damaged.clone(), usize::MAX).is_err());
    assert!(bench.group.is_empty());
    bench.take(orders(10, 2), usize::MAX).unwrap();
    assert!(bench.take(damaged, usize::MAX).is_err());
    let (batch, sealed) = bench.seal();
    assert_eq!((offsets(&batch), batch.parts[0].next), (vec![10, 11], 12));
    assert_eq!(sealed.parts().flat_map(|(_, tales)| tales.iter().collect::<Vec<_>>()).count(), 2);
}

#[test]
fn what_is_no_order_is_set_aside_with_its_bytes() {
    let mut bench = Bench::at(0);
    bench.take(batch(0, &[value(1), b"not JSON".to_vec()]), usize::MAX).unwrap();
    let (batch, _) = bench.seal();
    let Work::DeadLetter(letter) = &batch.parts[0].entries[1].work else { panic!("{batch:?}") };
    assert_eq!(letter.code, "ORD-JSON");
    assert_eq!(letter.original.value.as_deref(), Some(&b"not JSON"[..]));
    assert_eq!(letter.original.key.as_deref(), Some(&b"k1"[..]));
    assert_eq!(letter.original.headers.len(), 1);
    assert!(batch.parts[0].entries[1].identity.is_some());
}

proptest! {
    /// A repeat after a failure settles the same records with the same tokens (rule R5), whatever was left out.
    #[test]
    fn a_repeat_is_the_same_batch(
        next in 0_i64..8,
        settled in prop::collection::btree_set(8_i64..30, 0..6),
        sizes in prop::collection::vec(1_usize..6, 1..6),
        limit in 1_usize..12,
    ) {
        let mut bench = Bench::at(next);
        bench.cursor.settled = settled.into_iter().collect();
        let mut base = 0;
        for size in sizes {
            let left = limit.saturating_sub(bench.group.records());
            if left == 0 {
                break;
            }
            bench.take(orders(base, size), left).unwrap();
            base += size as i64 + 1;
        }
        let (first, sealed) = bench.seal();
        let again: Batch<InventoryOrder> = sealed.again(&mut bench.decompressor).unwrap();
        prop_assert_eq!(sealed.records(), first.len());
        prop_assert!(first.len() <= limit);
        prop_assert_eq!(format!("{first:?}"), format!("{again:?}"));
    }
}
