//! What the settled set must hold.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

#[test]
fn advancing_passes_over_settled_offsets_and_forgets_them() {
    let mut settled: Settled = [43, 44, 46].into_iter().collect();
    assert_eq!(settled.ranges().collect::<Vec<_>>(), [(43, 45), (46, 47)]);
    assert_eq!(settled.advance(42), 42);
    assert_eq!(settled.advance(43), 45);
    assert_eq!(settled.ranges().collect::<Vec<_>>(), [(46, 47)]);
    assert_eq!(settled.advance(50), 50);
    assert!(settled.is_empty());
}

#[test]
fn a_set_with_more_ranges_than_may_be_ahead_is_refused() {
    let ranges: Vec<(i64, i64)> = (0..=MAX_AHEAD as i64).map(|at| (at * 2 + 1, at * 2 + 2)).collect();
    let set = Settled(Ranges::from_sorted(ranges.clone()).unwrap());
    let mut bytes = Vec::new();
    set.encode(0, &mut bytes);
    assert_eq!(Settled::decode(0, &bytes).unwrap_err().code(), ErrorCode::StoreCorrupt);
    assert!(Settled::try_from(ranges).is_err());
}

#[test]
fn a_range_that_touches_its_neighbours_joins_them() {
    let mut settled: Settled = [1, 3].into_iter().collect();
    settled.insert(2);
    assert_eq!(settled.ranges().collect::<Vec<_>>(), [(1, 4)]);
    settled.insert_range(10, 10);
    settled.insert(i64::MAX);
    assert_eq!(settled.len(), 3);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn the_set_equals_a_plain_set(ranges in prop::collection::vec((1_i64..200, 0_i64..12), 0..40), next in 0_i64..200) {
        let mut settled = Settled::new();
        let mut model = BTreeSet::new();
        for (start, length) in ranges {
            settled.insert_range(start, start + length);
            model.extend(start..start + length);
        }
        prop_assert_eq!(settled.len(), model.len() as u64);
        for offset in 0..220 {
            prop_assert_eq!(settled.contains(offset), model.contains(&offset));
        }
        let before = settled.clone();
        let mut expected = next;
        while model.contains(&expected) {
            expected += 1;
        }
        prop_assert_eq!(settled.advance(next), expected);
        model.retain(|offset| *offset > expected);
        prop_assert_eq!(settled.len(), model.len() as u64);
        prop_assert!(settled.covers(expected, &before));
        prop_assert!(expected == next || before.is_empty() || !settled.covers(next, &before));

        let mut bytes = Vec::new();
        settled.encode(expected, &mut bytes);
        prop_assert_eq!(&Settled::decode(expected, &bytes).unwrap(), &settled);
        let json = serde_json::to_string(&settled).unwrap();
        prop_assert_eq!(serde_json::from_str::<Settled>(&json).unwrap(), settled);
    }

    #[test]
    fn hostile_bytes_give_an_error_or_a_set_that_reads_the_same_again(bytes in prop::collection::vec(any::<u8>(), 0..60), next: i64) {
        if let Ok(settled) = Settled::decode(next, &bytes) {
            let mut again = Vec::new();
            settled.encode(next, &mut again);
            prop_assert_eq!(Settled::decode(next, &again).unwrap(), settled);
        }
    }
}
