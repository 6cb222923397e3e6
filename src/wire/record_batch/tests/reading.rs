//! What reading makes of gaps, cuts and damage.

use super::*;

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
