//! What batches promise: they agree with other clients, come back as they were written, and survive any bytes.

use bytes::{Bytes, BytesMut};
use kafka_protocol::records as witness;
use proptest::prelude::*;

use super::*;
use crate::wire::compression::{Compression, Compressor, Decompressor};

/// A record that owns its parts.
#[derive(Clone, Debug, PartialEq)]
struct Owned {
    offset: i64,
    timestamp: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

fn owned(record: Record<'_>) -> Owned {
    Owned {
        offset: record.offset,
        timestamp: record.timestamp,
        key: record.key.map(<[u8]>::to_vec),
        value: record.value.map(<[u8]>::to_vec),
        headers: record.headers.map(|header| (header.key.to_vec(), header.value.map(<[u8]>::to_vec))).collect(),
    }
}

fn append(builder: &mut BatchBuilder, record: &Owned) -> Result<u32, AppendError> {
    let headers: Vec<_> = record.headers.iter().map(|(key, value)| Header { key, value: value.as_deref() }).collect();
    let value_len = record.value.as_ref().map(Vec::len);
    let parts = RecordParts { key: record.key.as_deref(), headers: &headers, value_len };
    let foretold = builder.size_with(record.timestamp, &parts);
    let index = builder
        .append(record.timestamp, &parts, |out| out.extend_from_slice(record.value.as_deref().unwrap_or_default()))?;
    assert_eq!(builder.len(), foretold);
    Ok(index)
}

fn batch_of(compression: Compression, records: &[Owned]) -> ClosedBatch {
    let mut builder = BatchBuilder::new(compression, Vec::new());
    for (index, record) in records.iter().enumerate() {
        assert_eq!(append(&mut builder, record), Ok(u32::try_from(index).unwrap()));
    }
    builder.close(&mut Compressor::new())
}

fn order(offset: i64) -> Owned {
    Owned {
        offset,
        timestamp: 1_700_000_000_000 + offset % 3,
        key: Some(format!("{:05}", offset % 7).into_bytes()),
        value: Some(format!(r#"{{"order_id": "{offset}", "quantity": 35}}"#).into_bytes()),
        headers: vec![(b"idempotency-key".to_vec(), Some(format!("of1:abc:{offset}").into_bytes()))],
    }
}

fn orders(count: i64) -> Vec<Owned> {
    (0..count).map(order).collect()
}

fn views(bytes: impl Into<Bytes>) -> Vec<Result<BatchView, BatchError>> {
    BatchReader::new(bytes.into()).collect()
}

fn only(bytes: impl Into<Bytes>) -> BatchView {
    let mut views = views(bytes);
    assert_eq!(views.len(), 1);
    views.remove(0).unwrap()
}

fn read(view: &BatchView) -> Result<Vec<Owned>, BatchError> {
    view.records(&mut Decompressor::new())?.map(|record| record.map(owned)).collect()
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

/// Batches that librdkafka and the Java client wrote, each with `hello kafka` and the header `foo: bar`.
const WRITTEN_BY_OTHERS: [(&str, Compression, i64, &str); 6] = [
    (
        "librdkafka",
        Compression::None,
        1_641_388_919,
        "00000000000000000000004b00000000022724fecd0000000000000000000061d59b770000000061d59b77ffffffffffffffffffffffffffff0000000132000000001668656c6c6f206b61666b610206666f6f06626172",
    ),
    (
        "librdkafka",
        Compression::Gzip,
        1_643_105_170_535,
        "0000000000000000000000640000000002ba4146650001000000000000017e90b334670000017e90b33467ffffffffffffffffffffffffffff000000011f8b0800000000000003fbc3c8c0c07082b1820e402c233527275f213b312d3b91892d2d3f9f2d29b10800e4cdba1f80000000",
    ),
    (
        "librdkafka",
        Compression::Snappy,
        1_643_735_486_034,
        "0000000000000000000000580000000002ad86f4f40002000000000000017eb6450e520000017eb6450e52ffffffffffffffffffffffffffff0000000180011cfc01000000c80178fe01008a0100501668656c6c6f206b61666b610206666f6f06626172",
    ),
    (
        "Java",
        Compression::Snappy,
        1_645_092_371_121,
        "00000000000000000000008c0000000002791e2dce0002000000010000017f07257ab10000017f07257ab1ffffffffffffffffffffffffffff0000000282534e4150505900000000010000000100000047ff011cfc01000000c80178fe01008a0100641668656c6c6f206b61666b610206666f6f06626172fa01000002fe80009680004c14736f6d652076616c75650206666f6f06626172",
    ),
    (
        "librdkafka",
        Compression::Lz4,
        1_643_649_156_900,
        "00000000000000000000006300000000021ba592350003000000000000017eb11fc7240000017eb11fc724ffffffffffffffffffffffffffff0000000104224d18604082230000008ffc01000000c80178010050f0061668656c6c6f206b61666b610206666f6f0662617200000000",
    ),
    (
        "librdkafka",
        Compression::Zstd,
        1_643_889_882_029,
        "00000000000000000000005d0000000002a16e4e950004000000000000017ebf78f3ad0000017ebf78f3adffffffffffffffffffffffffffff0000000128b52ffd00581d0100e8fc01000000c801781668656c6c6f206b61666b610206666f6f06626172010020055c",
    ),
];

#[test]
fn batches_of_other_clients_are_read() {
    for (client, compression, timestamp, bytes) in WRITTEN_BY_OTHERS {
        let view = only(hex(bytes));
        view.check_crc().unwrap();
        assert_eq!(view.compression(), compression, "{client}");
        let records = read(&view).unwrap();
        assert_eq!(records[0].value.as_deref(), Some(&b"hello kafka"[..]), "{client}, {compression:?}");
        assert_eq!(records[0].headers, [(b"foo".to_vec(), Some(b"bar".to_vec()))]);
        assert_eq!(records[0].timestamp, timestamp);
        assert_eq!(view.last_offset() + 1, i64::from(view.count()));
        assert_eq!(view.producer_id(), -1);
    }
}

#[test]
fn an_uncompressed_batch_is_the_one_that_librdkafka_writes_byte_by_byte() {
    let (_, _, timestamp, bytes) = WRITTEN_BY_OTHERS[0];
    let record = Owned {
        offset: 0,
        timestamp,
        key: Some(Vec::new()),
        value: Some(b"hello kafka".to_vec()),
        headers: vec![(b"foo".to_vec(), Some(b"bar".to_vec()))],
    };
    let mut written = batch_of(Compression::None, &[record]).bytes().to_vec();
    assert!(set_place(&mut written, 0, 0));
    assert_eq!(written, hex(bytes));
}

#[test]
fn a_stamped_batch_is_the_one_that_another_encoder_writes_byte_by_byte() {
    let records = orders(50);
    let mut batch = batch_of(Compression::None, &records);
    batch.stamp(ProducerStamp { producer_id: 4711, producer_epoch: 3, base_sequence: 20 });

    let theirs: Vec<_> = records
        .iter()
        .map(|record| witness::Record {
            transactional: false,
            control: false,
            delete_horizon: false,
            partition_leader_epoch: -1,
            producer_id: 4711,
            producer_epoch: 3,
            timestamp_type: witness::TimestampType::Creation,
            offset: record.offset,
            sequence: 20 + i32::try_from(record.offset).unwrap(),
            timestamp: record.timestamp,
            key: record.key.clone().map(Bytes::from),
            value: record.value.clone().map(Bytes::from),
            headers: record
                .headers
                .iter()
                .map(|(key, value)| (String::from_utf8(key.clone()).unwrap().into(), value.clone().map(Bytes::from)))
                .collect(),
        })
        .collect();
    let options = witness::RecordEncodeOptions { version: 2, compression: witness::Compression::None };
    let mut expected = BytesMut::new();
    witness::RecordBatchEncoder::encode(&mut expected, &theirs, &options).unwrap();
    // The other encoder counts times from the least one, ours from the first record's, which here is the least.
    assert_eq!(batch.bytes(), expected.freeze());
}

#[test]
fn a_new_stamp_changes_neither_records_nor_the_bytes_that_are_still_being_sent() {
    let records = orders(10);
    let mut batch = batch_of(Compression::Lz4, &records);
    batch.stamp(ProducerStamp { producer_id: 1, producer_epoch: 0, base_sequence: 0 });
    let being_sent = batch.bytes();
    let before = being_sent.to_vec();
    let second = ProducerStamp { producer_id: 1, producer_epoch: 1, base_sequence: 7 };
    batch.stamp(second);
    assert_eq!(being_sent, before);

    let view = only(batch.bytes());
    view.check_crc().unwrap();
    assert_eq!((view.stamp(), batch.stamped()), (second, second));
    assert_eq!(read(&view).unwrap(), records);
}

#[test]
fn a_buffer_comes_back_once_nobody_holds_the_batch() {
    let batch = batch_of(Compression::None, &orders(3));
    let held = batch.bytes();
    assert!(batch.clone().into_buffer().is_none());
    drop(held);
    let capacity = batch.into_buffer().map(|buffer| buffer.capacity());
    assert!(capacity.is_some_and(|capacity| capacity > BATCH_OVERHEAD), "{capacity:?}");
}

#[test]
fn a_value_of_another_length_than_foretold_leaves_the_batch_as_it_was() {
    let mut builder = BatchBuilder::new(Compression::None, Vec::new());
    append(&mut builder, &order(0)).unwrap();
    let parts = RecordParts { key: None, headers: &[], value_len: Some(3) };
    for value in [&b"ab"[..], b"abcd", b""] {
        let refused = builder.append(0, &parts, |out| out.extend_from_slice(value));
        assert_eq!(refused, Err(AppendError::Length { foretold: 3, written: value.len() }));
    }
    let unwound = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        builder.append(0, &parts, |_| panic!("an order's encoder fails"))
    }));
    assert!(unwound.is_err());
    append(&mut builder, &order(1)).unwrap();
    let view = only(builder.close(&mut Compressor::new()).bytes());
    assert_eq!(read(&view).unwrap(), orders(2));
}

#[test]
fn records_that_a_codec_does_not_make_smaller_are_sent_as_they_are() {
    let records = orders(1);
    let view = only(batch_of(Compression::Gzip, &records).bytes());
    assert_eq!(view.compression(), Compression::None);
    assert_eq!(read(&view).unwrap(), records);
    assert_eq!(only(batch_of(Compression::Zstd, &orders(100)).bytes()).compression(), Compression::None);
    assert_eq!(only(batch_of(Compression::Gzip, &orders(100)).bytes()).compression(), Compression::Gzip);
}

#[test]
fn duplicate_unreadable_and_null_headers_keep_their_order_and_an_empty_key_is_not_a_missing_one() {
    let mut record = order(0);
    record.key = Some(Vec::new());
    record.value = None;
    record.headers = vec![
        (b"h".to_vec(), Some(b"2".to_vec())),
        (vec![0xFF, 0xFE], None),
        (b"h".to_vec(), Some(b"1".to_vec())),
        (b"h".to_vec(), None),
    ];
    let view = only(batch_of(Compression::None, std::slice::from_ref(&record)).bytes());
    assert_eq!(read(&view).unwrap(), [record]);
    let mut decompressor = Decompressor::new();
    let first = view.records(&mut decompressor).unwrap().next().unwrap().unwrap();
    assert_eq!(first.headers.named(b"h").collect::<Vec<_>>(), [Some(&b"2"[..]), Some(b"1"), None]);
}

#[test]
fn gaps_that_compaction_left_keep_every_offset_and_the_next_position() {
    let mut builder = BatchBuilder::new(Compression::None, Vec::new());
    builder.skip_offsets(3);
    append(&mut builder, &order(0)).unwrap();
    builder.skip_offsets(2);
    append(&mut builder, &order(1)).unwrap();
    builder.skip_offsets(4);
    let mut bytes = builder.close(&mut Compressor::new()).bytes().to_vec();
    assert!(set_place(&mut bytes, 1000, 5));
    let view = only(bytes);
    view.check_crc().unwrap();
    let offsets: Vec<_> = read(&view).unwrap().iter().map(|record| record.offset).collect();
    assert_eq!(offsets, [1003, 1006]);
    assert_eq!((view.base_offset(), view.last_offset(), view.leader_epoch(), view.count()), (1000, 1010, 5, 2));
}

#[test]
fn a_topic_with_log_append_time_gives_every_record_the_brokers_time() {
    let mut bytes = batch_of(Compression::None, &orders(3)).bytes().to_vec();
    assert!(set_log_append_time(&mut bytes, 99));
    let view = only(bytes);
    view.check_crc().unwrap();
    assert_eq!(view.timestamp_type(), TimestampType::LogAppendTime);
    assert!(read(&view).unwrap().iter().all(|record| record.timestamp == 99));
}

#[test]
fn a_cut_last_batch_ends_the_reading_quietly_and_says_what_is_missing() {
    let whole = batch_of(Compression::None, &orders(3)).bytes();
    let two = [whole.as_ref(), whole.as_ref()].concat();
    for cut in 0..whole.len() {
        let mut reader = BatchReader::new(Bytes::copy_from_slice(&two[..whole.len() + cut]));
        assert_eq!(reader.by_ref().filter(Result::is_ok).count(), 1, "cut at {cut}");
        assert!(reader.next().is_none());
        let missing = if cut == 0 {
            0
        } else if cut < 17 {
            17 - cut
        } else {
            whole.len() - cut
        };
        assert_eq!(reader.missing(), missing, "cut at {cut}");
    }
}

#[test]
fn a_changed_byte_is_found_by_the_checksum() {
    let whole = batch_of(Compression::None, &orders(3)).bytes();
    for at in 21..whole.len() {
        let mut bytes = whole.to_vec();
        bytes[at] ^= 0x10;
        if let Some(Ok(view)) = BatchReader::new(bytes.into()).next() {
            assert!(matches!(view.check_crc(), Err(BatchError::Checksum { base_offset: 0, .. })), "byte {at}");
        }
    }
}

#[test]
fn old_and_unknown_formats_are_named() {
    let mut bytes = batch_of(Compression::None, &orders(1)).bytes().to_vec();
    assert!(set_place(&mut bytes, 7, 0));
    bytes[16] = 1;
    assert_eq!(views(bytes.clone())[0].as_ref().unwrap_err(), &BatchError::OldFormat { base_offset: 7, magic: 1 });
    bytes[16] = 3;
    let unknown = BatchError::Malformed { base_offset: 7, what: "the format's number is unknown" };
    assert_eq!(views(bytes)[0].as_ref().unwrap_err(), &unknown);
}

#[test]
fn a_header_that_contradicts_itself_is_one_error_and_then_the_end() {
    let whole = batch_of(Compression::None, &orders(3)).bytes();
    let lies: [(&str, usize, &[u8]); 8] = [
        ("negative base offset", 0, &[0x80]),
        ("length below the header", 8, &[0, 0, 0, 48]),
        ("negative length", 8, &[0xFF, 0xFF, 0xFF, 0xFF]),
        ("unknown codec", 22, &[7]),
        ("negative last offset delta", 23, &[0x80]),
        ("more records than offsets", 57, &[0, 0, 0, 4]),
        ("negative count", 57, &[0xFF]),
        ("last offset beyond the largest", 0, &[0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF]),
    ];
    for (lie, at, bytes) in lies {
        let mut two = [whole.as_ref(), whole.as_ref()].concat();
        two[at..at + bytes.len()].copy_from_slice(bytes);
        let views = views(two);
        assert!(matches!(views.as_slice(), [Err(BatchError::Malformed { .. })]), "{lie}: {views:?}");
    }
}

#[test]
fn a_count_that_the_bytes_cannot_hold_is_refused_before_anything_is_allocated() {
    let mut bytes = batch_of(Compression::None, &orders(3)).bytes().to_vec();
    bytes[23..27].copy_from_slice(&i32::MAX.to_be_bytes());
    bytes[57..61].copy_from_slice(&i32::MAX.to_be_bytes());
    assert!(matches!(read(&only(bytes)), Err(BatchError::Malformed { .. })));
}

#[test]
fn a_malformed_record_is_named_and_ends_the_reading() {
    let mut bytes = batch_of(Compression::None, &orders(3)).bytes().to_vec();
    let record = (bytes.len() - BATCH_OVERHEAD) / 3;
    bytes[BATCH_OVERHEAD + record] = 2;
    let view = only(bytes);
    let mut decompressor = Decompressor::new();
    let records: Vec<_> = view.records(&mut decompressor).unwrap().collect();
    assert_eq!(records.len(), 2);
    assert!(matches!(records[1], Err(BatchError::Record { base_offset: 0, index: 1, .. })), "{:?}", records[1]);
}

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

fn some_bytes(most: usize) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..most)
}

fn records() -> impl Strategy<Value = Vec<Owned>> {
    let headers = prop::collection::vec((some_bytes(5), prop::option::of(some_bytes(80))), 0..4);
    let record = (any::<i64>(), prop::option::of(some_bytes(70)), prop::option::of(some_bytes(200)), headers);
    prop::collection::vec(record, 0..40).prop_map(|records| {
        (0..)
            .zip(records)
            .map(|(offset, (timestamp, key, value, headers))| Owned {
                offset,
                timestamp: timestamp >> 2,
                key,
                value,
                headers,
            })
            .collect()
    })
}

fn writable() -> impl Strategy<Value = Compression> {
    prop::sample::select(vec![Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn records_come_back_as_they_were_written(records in records(), compression in writable(), id in any::<i64>(), sequence in any::<i32>()) {
        let mut batch = batch_of(compression, &records);
        batch.stamp(ProducerStamp { producer_id: id, producer_epoch: 1, base_sequence: sequence });
        let view = only(batch.bytes());
        prop_assert!(view.check_crc().is_ok());
        prop_assert_eq!(view.stamp(), batch.stamped());
        prop_assert_eq!(read(&view).unwrap(), records);
    }

    #[test]
    fn changed_bytes_never_panic_and_give_no_more_records_than_they_can_hold(
        compression in writable(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = batch_of(compression, &orders(8)).bytes().to_vec();
        bytes.extend_from_slice(&batch_of(compression, &orders(2)).bytes());
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let mut decompressor = Decompressor::with_limit(100_000);
        let mut filter = AbortedTransactions::new([(1, 0)]);
        for view in BatchReader::new(bytes.into()).flatten() {
            if let Ok(records) = view.records(&mut decompressor) {
                let mut last = view.base_offset() - 1;
                for record in records.flatten() {
                    prop_assert!(record.offset > last && record.offset <= view.last_offset());
                    last = record.offset;
                    prop_assert_eq!(record.headers.count(), record.headers.len());
                }
            }
            let control = view.control(&mut decompressor).ok().flatten();
            filter.judge(&view, control);
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in some_bytes(400)) {
        for view in BatchReader::new(bytes.into()).flatten() {
            let _ = (view.check_crc(), read(&view));
        }
    }
}
