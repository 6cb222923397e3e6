//! What a reader of committed records is given.

use super::*;

fn marker(kind: ControlType) -> ClosedBatch {
    let mut builder = BatchBuilder::new(Compression::None, Vec::new()).transactional().control();
    let key = kind.key();
    builder
        .append(0, &RecordParts { key: Some(&key), headers: &[], value_len: Some(6) }, |out| out.extend([0; 6]))
        .unwrap();
    builder.close(&mut Compressor::new())
}

fn transactional(records: i64) -> ClosedBatch {
    let mut builder = BatchBuilder::new(Compression::None, Vec::new()).transactional();
    orders(records).iter().for_each(|record| assert!(append(&mut builder, record).is_ok()));
    builder.close(&mut Compressor::new())
}

fn placed(mut batch: ClosedBatch, producer_id: i64, base_offset: i64) -> Vec<u8> {
    batch.stamp(ProducerStamp { producer_id, producer_epoch: 0, base_sequence: -1 });
    let mut bytes = batch.bytes().to_vec();
    assert!(set_place(&mut bytes, base_offset, 0));
    bytes
}

#[test]
fn records_of_aborted_transactions_and_markers_are_skipped_and_all_others_delivered() {
    let log = [
        placed(transactional(2), 1, 0),                        // aborted at 4
        placed(transactional(1), 2, 2),                        // committed at 5
        placed(batch_of(Compression::None, &orders(1)), 1, 3), // no transaction
        placed(marker(ControlType::Abort), 1, 4),
        placed(marker(ControlType::Commit), 2, 5),
        placed(transactional(1), 1, 6), // the same producer, committed at 7
        placed(marker(ControlType::Commit), 1, 7),
        placed(transactional(1), 1, 8), // aborted again at 9
        placed(marker(ControlType::Abort), 1, 9),
    ]
    .concat();
    let mut filter = AbortedTransactions::new([(1, 8), (1, 0)]);
    let mut decompressor = Decompressor::new();
    let delivered: Vec<_> = BatchReader::new(log.into())
        .map(Result::unwrap)
        .filter(|batch| {
            let control = batch.control(&mut decompressor).unwrap();
            filter.judge(batch, control) == Judgement::Deliver
        })
        .map(|batch| batch.base_offset())
        .collect();
    assert_eq!(delivered, [2, 3, 6]);
}

#[test]
fn a_control_batch_that_the_cleaner_emptied_is_skipped() {
    let mut builder = BatchBuilder::new(Compression::None, Vec::new()).transactional().control();
    builder.skip_offsets(1);
    let view = only(placed(builder.close(&mut Compressor::new()), 1, 40));
    assert_eq!(view.control(&mut Decompressor::new()), Ok(None));
    assert_eq!(AbortedTransactions::default().judge(&view, None), Judgement::Skip);
    assert_eq!(view.last_offset(), 40);
}
