//! What writing keeps, and what it gives back.

use super::*;

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
