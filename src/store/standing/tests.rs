//! What a position row answers to each write.

use proptest::prelude::*;

use super::*;
use crate::order::InventoryOrder;
use crate::store::{Entry, Work};

fn part(next: i64, settled: &[i64], entries: &[i64]) -> Part<InventoryOrder> {
    let entry = |offset: &i64| Entry {
        offset: *offset,
        timestamp: 0,
        identity: None,
        work: Work::Apply(InventoryOrder::new("1", "2", 3, "5/30/2023").unwrap()),
    };
    Part {
        partition: 0,
        expected: 1,
        token: 1,
        next,
        settled: settled.iter().copied().collect(),
        leader_epoch: 0,
        entries: entries.iter().map(entry).collect(),
    }
}

fn standing(next: i64, settled: &[i64]) -> Standing {
    let position = Position { next, settled: settled.iter().copied().collect(), version: 1, ..Position::default() };
    Standing { position, first: 0, ..Standing::default() }
}

#[test]
fn r4_a_part_settles_what_is_new_between_the_old_and_the_new_position() {
    let stands = standing(10, &[13, 14]);
    assert_eq!(stands.settles(&part(15, &[], &[10, 12])).unwrap(), 3);
    assert_eq!(stands.settles(&part(10, &[12, 13, 14, 20], &[12])).unwrap(), 2);
    assert_eq!(stands.settles(&part(10, &[13, 14], &[])).unwrap(), 0);
}

#[test]
fn r4_a_part_that_leaves_a_gap_or_takes_back_is_refused() {
    let stands = standing(10, &[13, 14]);
    for wrong in [
        part(9, &[13, 14], &[]),
        part(12, &[13], &[10]),
        part(12, &[], &[10]),
        part(12, &[12, 13, 14], &[10]),
        part(15, &[], &[13]),
        part(15, &[], &[9]),
        part(15, &[], &[10, 10]),
        part(15, &[], &[12, 10]),
        part(12, &[13, 14], &[12]),
    ] {
        assert_eq!(stands.settles(&wrong).unwrap_err().code(), ErrorCode::Internal, "{wrong:?}");
    }
}

#[test]
fn a_partition_that_was_never_written_begins_at_its_first_entry() {
    let never = Standing::default();
    assert_eq!(never.settles(&part(45, &[], &[42, 44])).unwrap(), 3);
    assert_eq!(never.first_with(&part(45, &[], &[42, 44])), 42);
    assert_eq!(never.settles(&part(45, &[], &[])).unwrap(), 0);
}

proptest! {
    #[test]
    fn a_standing_is_read_as_it_was_written(next in 0_i64..1 << 40, ahead in prop::collection::vec(1_i64..5_000, 0..20),
                                            epoch: i32, version: u64, token: u128, counted: [u64; 5], written: (u64, u32)) {
        let settled = ahead.iter().map(|offset| next + offset + 1).collect();
        let [applied, duplicates, refused, dead_letters, no_record] = counted;
        let standing = Standing {
            position: Position { next, settled, leader_epoch: epoch, version, token, tried: Vec::new(), tripped: None },
            first: next / 2,
            counts: Counts { applied, duplicates, refused, dead_letters, no_record },
            written,
        };
        let mut row = Vec::new();
        standing.encode(&mut row);
        prop_assert_eq!(Standing::decode(&row).unwrap(), standing);
        for cut in 0..row.len() {
            prop_assert!(Standing::decode(&row[..cut]).is_err());
        }
    }
}
