//! Batches as other clients write them, and ours byte by byte beside them.

use super::*;

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
