//! What a record costs to encode or decode, per 110-byte order, without its JSON.
//!
//! `cargo bench --bench batch`; items per second are records.

#![allow(missing_docs, reason = "a benchmark has no callers")]
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on must stop")]

use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use orderflow::wire::compression::{Compression, Compressor, Decompressor};
use orderflow::wire::record_batch::{BatchBuilder, BatchReader, ClosedBatch, Header, ProducerStamp, RecordParts};

const RECORDS: usize = 6000;
const CODECS: [Compression; 4] = [Compression::None, Compression::Lz4, Compression::Snappy, Compression::Gzip];

struct Order {
    key: String,
    value: String,
    identity: String,
}

fn orders() -> Vec<Order> {
    let mut random = fastrand::Rng::with_seed(7);
    (0..RECORDS)
        .map(|number| {
            let product = format!("{:05}", random.u32(0..3000));
            let (order, quantity, day) = (random.u32(0..100_000), random.u32(1..100), random.u32(1..28));
            Order {
                value: format!(
                    r#"{{"order_id": "{order:05}", "product_id": "{product}", "quantity": {quantity}, "type": "inventory", "timestamp": "5/{day}/2023"}}"#
                ),
                key: product,
                identity: format!("of1:0123456789abcdefghij:{number}"),
            }
        })
        .collect()
}

fn built(orders: &[Order], compression: Compression, buffer: Vec<u8>, compressor: &mut Compressor) -> ClosedBatch {
    let mut builder = BatchBuilder::new(compression, buffer);
    for order in orders {
        let headers = [Header { key: b"idempotency-key", value: Some(order.identity.as_bytes()) }];
        let value_len = Some(order.value.len());
        let parts = RecordParts { key: Some(order.key.as_bytes()), headers: &headers, value_len };
        builder.append(1_700_000_000_000, &parts, |out| out.extend_from_slice(order.value.as_bytes())).unwrap();
    }
    builder.close_stamped(compressor, ProducerStamp { producer_id: 1, producer_epoch: 0, base_sequence: 0 })
}

#[divan::bench(args = CODECS)]
fn encode(bencher: Bencher<'_, '_>, compression: Compression) {
    let orders = orders();
    let mut compressor = Compressor::new();
    let mut buffer = Vec::new();
    bencher.counter(ItemsCount::new(RECORDS)).bench_local(|| {
        let batch = built(black_box(&orders), compression, std::mem::take(&mut buffer), &mut compressor);
        buffer = batch.into_buffer().unwrap_or_default();
    });
}

#[divan::bench(args = CODECS)]
fn decode(bencher: Bencher<'_, '_>, compression: Compression) {
    let bytes = built(&orders(), compression, Vec::new(), &mut Compressor::new()).bytes();
    let mut decompressor = Decompressor::new();
    bencher.counter(ItemsCount::new(RECORDS)).bench_local(|| {
        for batch in BatchReader::new(black_box(bytes.clone())).flatten() {
            batch.check_crc().unwrap();
            for record in batch.records(&mut decompressor).unwrap() {
                let record = record.unwrap();
                let identity = record.headers.into_iter().next();
                black_box((record.offset, record.key, record.value, identity));
            }
        }
    });
}

#[divan::bench]
fn crc(bencher: Bencher<'_, '_>) {
    let bytes = built(&orders(), Compression::None, Vec::new(), &mut Compressor::new()).bytes();
    bencher
        .counter(BytesCount::new(bytes.len()))
        .counter(ItemsCount::new(RECORDS))
        .bench_local(|| crc32c_of(black_box(&bytes)));
}

fn crc32c_of(bytes: &bytes::Bytes) {
    BatchReader::new(bytes.clone()).flatten().for_each(|batch| batch.check_crc().unwrap());
}

#[divan::bench]
fn stamp(bencher: Bencher<'_, '_>) {
    let mut batch = built(&orders(), Compression::None, Vec::new(), &mut Compressor::new());
    bencher
        .bench_local(|| batch.stamp(black_box(ProducerStamp { producer_id: 1, producer_epoch: 0, base_sequence: 5 })));
}

fn main() {
    divan::main();
}
