//! What a log takes, refuses or gives back.

use super::*;
use crate::broker::sample::{batch, incoming, incoming_of};
use crate::wire::record_batch::{BatchBuilder, ProducerStamp};

fn offsets<'a>(batches: impl Iterator<Item = &'a Stored>) -> Vec<(i64, i64)> {
    batches.map(|batch| (batch.base_offset, batch.last_offset)).collect()
}

/// Batches of two, three and one record at offsets 0, 2 and 5.
fn three() -> PartitionLog {
    let mut log = PartitionLog::default();
    for values in [vec![b"a".as_slice(); 2], vec![b"b"; 3], vec![b"c"]] {
        assert!(matches!(log.append(incoming(&values), 0), Ok(Appended::At(_))));
    }
    log
}

fn at(timestamp: i64) -> Incoming {
    incoming_of(batch(&[b"x"], timestamp, NONE, |builder| builder))
}

const NONE: ProducerStamp = crate::wire::record_batch::NO_PRODUCER;

fn transactional(producer_id: i64) -> Incoming {
    let stamp = ProducerStamp { producer_id, producer_epoch: 0, base_sequence: 0 };
    incoming_of(batch(&[b"t"], 0, stamp, BatchBuilder::transactional))
}

fn marker(producer_id: i64, commits: bool) -> Incoming {
    let stamp = ProducerStamp { producer_id, producer_epoch: 0, base_sequence: -1 };
    let mut builder =
        BatchBuilder::new(crate::wire::compression::Compression::None, Vec::new()).transactional().control();
    let parts = crate::wire::record_batch::RecordParts {
        key: Some(&[0, 0, 0, u8::from(commits)]),
        headers: &[],
        value_len: Some(6),
    };
    builder.append(0, &parts, |out| out.extend_from_slice(&[0; 6])).unwrap();
    let mut closed = builder.close(&mut crate::wire::compression::Compressor::new());
    closed.stamp(stamp);
    incoming_of(closed.bytes())
}

#[test]
fn reading_begins_with_the_batch_that_holds_the_offset_and_ends_before_the_bound() {
    let log = three();
    assert_eq!(offsets(log.read(0, 6)), [(0, 1), (2, 4), (5, 5)]);
    assert_eq!(offsets(log.read(3, 6)), [(2, 4), (5, 5)]);
    assert_eq!(offsets(log.read(3, 5)), [(2, 4)]);
    assert_eq!(offsets(log.read(6, 6)), []);
    let sizes: u64 = log.read(3, 6).map(|batch| batch.size() as u64).sum();
    assert_eq!(log.readable(3, 6), sizes);
    assert_eq!([log.readable(6, 6), log.readable(3, 2)], [0, 0]);
}

#[test]
fn a_stored_batch_is_sent_with_its_own_offset_and_epoch() {
    let mut log = three();
    log.begin_epoch(7);
    log.append(incoming(&[b"d"]), 7).unwrap();
    let sent = log.read(6, 7).next().map(|batch| [&batch.prefix()[..], &batch.body()].concat()).unwrap();
    let sent = BatchReader::new(sent.into()).next().unwrap().unwrap();
    assert_eq!((sent.base_offset(), sent.leader_epoch()), (6, 7));
    assert!(sent.check_crc().is_ok());
}

#[test]
fn a_small_batch_does_not_keep_the_frame_that_it_came_in() {
    let frame = batch(&[b"x"], 0, NONE, |builder| builder);
    let before = frame.as_ptr();
    assert_ne!(incoming_of(frame.clone()).bytes.as_ptr(), before);
    let large = batch(&[&[7; OWN_BELOW]], 0, NONE, |builder| builder);
    let before = large.as_ptr();
    assert_eq!(incoming_of(large).bytes.as_ptr(), before, "a large one is not copied");
}

#[test]
fn deleting_keeps_the_batch_that_holds_the_new_start() {
    let mut log = three();
    log.delete_before(3);
    assert_eq!((log.start(), offsets(log.read(0, 6))), (3, vec![(2, 4), (5, 5)]));
    log.delete_before(100);
    assert_eq!((log.start(), log.end(), log.bytes()), (6, 6, 0));
}

#[test]
fn shrinking_drops_whole_batches_and_keeps_the_last() {
    let mut log = three();
    let last = log.read(5, 6).map(|batch| batch.size() as u64).sum();
    log.shrink_to(last);
    assert_eq!((log.start(), log.bytes()), (5, last));
    log.shrink_to(0);
    assert_eq!(log.start(), 5);
}

#[test]
fn truncation_loses_the_batch_that_holds_the_offset_and_appending_goes_on_there() {
    let mut log = three();
    log.begin_epoch(1);
    log.truncate(3);
    assert_eq!((log.end(), offsets(log.read(0, 9))), (2, vec![(0, 1)]));
    assert_eq!(log.append(incoming(&[b"x"]), 2), Ok(Appended::At(2)));
    assert_eq!(log.epoch_end(0), Some((0, 2)), "the lost epoch left no trace");
}

#[test]
fn a_repeated_batch_is_not_appended_again() {
    let stamp = ProducerStamp { producer_id: 9, producer_epoch: 0, base_sequence: 0 };
    let bytes = batch(&[b"a", b"b"], 0, stamp, |builder| builder);
    let mut log = three();
    assert_eq!(log.append(incoming_of(bytes.clone()), 0), Ok(Appended::At(6)));
    assert_eq!(log.append(incoming_of(bytes), 0), Ok(Appended::Before(6)));
    assert_eq!(log.end(), 8);
    let gap = batch(&[b"c"], 0, ProducerStamp { base_sequence: 3, ..stamp }, |builder| builder);
    assert_eq!(log.append(incoming_of(gap), 0), Err(NotAppended::OutOfOrderSequence));
}

#[test]
fn times_are_found_also_when_they_do_not_rise() {
    let mut log = PartitionLog::default();
    for time in [10, 50, 20, 60] {
        log.append(at(time), 0).unwrap();
    }
    let offset = |time| log.at_time(time).map(|found| (found.offset, found.timestamp));
    assert_eq!([offset(0), offset(11), offset(51)], [Some((0, 10)), Some((1, 50)), Some((3, 60))]);
    assert_eq!(offset(61), None);
    assert_eq!(log.newest().map(|found| found.offset), Some(3));
}

#[test]
fn a_record_before_the_start_is_not_found_by_its_time() {
    let mut log = PartitionLog::default();
    log.append(incoming_of(batch(&[b"a", b"b"], 50, NONE, |builder| builder)), 0).unwrap();
    log.append(at(60), 0).unwrap();
    log.delete_before(1);
    assert_eq!(log.at_time(0).map(|found| (found.offset, found.timestamp)), Some((1, 50)));
    assert_eq!(log.at_time(51).map(|found| (found.offset, found.timestamp)), Some((2, 60)));
}

#[test]
fn the_time_of_the_broker_replaces_the_producers_and_the_checksum_holds() {
    let stamped = at(10).at_append_time(99);
    let view = BatchReader::new(stamped.bytes.clone()).next().unwrap().unwrap();
    assert!(view.check_crc().is_ok());
    let mut decompressor = Decompressor::default();
    let times: Vec<_> = view.records(&mut decompressor).unwrap().map(|record| record.unwrap().timestamp).collect();
    assert_eq!(times, [99]);
}

#[test]
fn an_open_transaction_bounds_what_committed_readers_see_and_an_aborted_one_is_told() {
    let mut log = three();
    log.inject(transactional(1), 6, 0);
    log.inject(transactional(2), 7, 0);
    log.append(incoming(&[b"d"]), 0).unwrap();
    assert_eq!((log.last_stable(), log.end()), (6, 9));
    log.inject(marker(1, false), 9, 0);
    assert_eq!(log.last_stable(), 7);
    log.inject(marker(2, true), 10, 0);
    assert_eq!(log.last_stable(), 11);
    let aborted =
        |from, until| log.aborted(from, until).map(|one| (one.producer_id, one.first_offset)).collect::<Vec<_>>();
    assert_eq!(aborted(0, 11), [(1, 6)]);
    assert_eq!(aborted(10, 11), []);
    assert_eq!(aborted(0, 6), []);
}

#[test]
fn losing_a_marker_opens_its_transaction_again() {
    let mut log = three();
    log.inject(transactional(1), 6, 0);
    log.inject(marker(1, false), 7, 0);
    assert_eq!(log.last_stable(), 8);
    log.truncate(7);
    assert_eq!((log.last_stable(), log.end()), (6, 7));
    assert_eq!(log.aborted(0, 9).count(), 0);
}

#[test]
fn injection_leaves_holes() {
    let mut log = three();
    assert_eq!(log.inject(at(0), 10, 0), 10);
    assert_eq!(offsets(log.read(7, 11)), [(10, 10)]);
    assert_eq!(log.inject(at(0), 3, 0), 11, "never before the end");
}

#[test]
fn compaction_keeps_count_of_bytes_times_and_places() {
    let mut log = three();
    log.append(at(2000), 0).unwrap();
    log.append(incoming(&[b"last"]), 0).unwrap();
    log.compact(|offset| offset == 3 || offset == 5);
    assert_eq!(offsets(log.read(0, i64::MAX)), [(2, 4), (5, 5), (7, 7)]);
    let sizes: u64 = log.read(0, i64::MAX).map(|batch| batch.size() as u64).sum();
    assert_eq!((log.bytes(), log.readable(0, i64::MAX)), (sizes, sizes));
    assert_eq!(log.at_time(1500), None, "the only record of that time is gone");
    assert_eq!(log.at_time(1000).map(|found| found.offset), Some(3));
    log.delete_before(5);
    assert_eq!(log.bytes(), log.read(0, i64::MAX).map(|batch| batch.size() as u64).sum::<u64>());
}
