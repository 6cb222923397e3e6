//! What holds for any records, and for any bytes.

use super::*;

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
    fn reading_in_strides_gives_what_reading_at_once_gives(stride in 1_usize..9, compression in writable(), cut in any::<prop::sample::Index>(), damage in any::<u8>()) {
        let mut bytes = batch_of(compression, &orders(20)).bytes().to_vec();
        let at = bytes.len() - 1 - cut.index(bytes.len() / 2);
        bytes[at] ^= damage;
        let (view, mut decompressor) = (only(bytes), Decompressor::new());
        let Ok(records) = view.records(&mut decompressor) else { return Ok(()) };
        let at_once: Vec<_> = records.map(|record| record.map(owned)).collect();
        let (mut progress, mut in_strides) = (RecordsProgress::default(), Vec::new());
        loop {
            let mut records = view.records(&mut decompressor).unwrap().resume(progress);
            in_strides.extend(records.by_ref().take(stride).map(|record| record.map(owned)));
            progress = records.progress();
            if records.is_at_end() {
                break;
            }
        }
        prop_assert_eq!(in_strides, at_once);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in some_bytes(400)) {
        for view in BatchReader::new(bytes.into()).flatten() {
            let _ = (view.check_crc(), read(&view));
        }
    }
}
