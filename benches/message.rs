//! What the message codec costs beside the copy of the records that it carries.
//!
//! `cargo bench --bench message`; bytes per second are those of the records.

#![allow(missing_docs, reason = "a benchmark has no callers")]
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on must stop")]

use bytes::Bytes;
use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use orderflow::wire::message::{
    FetchRequest, FetchResponse, FetchableTopicResponse, PartitionData, PartitionProduceData, ProduceRequest, Request,
    TopicProduceData, decode_body, encode_body,
};

const PARTITIONS: i32 = 12;
/// Bytes of records a partition: one order, a small batch, a full one.
const SIZES: [usize; 3] = [200, 16 << 10, 1 << 20];

fn produce(size: usize) -> ProduceRequest {
    let records = Bytes::from(vec![7; size]);
    let partition = |index| PartitionProduceData { index, records: Some(records.clone()) };
    let topic =
        TopicProduceData { name: "inventory_orders".into(), partition_data: (0..PARTITIONS).map(partition).collect() };
    ProduceRequest { acks: -1, timeout_ms: 30_000, topic_data: vec![topic], ..Default::default() }
}

fn fetched(size: usize) -> Bytes {
    let records = Bytes::from(vec![7; size]);
    let partition =
        |partition_index| PartitionData { partition_index, records: Some(records.clone()), ..Default::default() };
    let topic = FetchableTopicResponse { partitions: (0..PARTITIONS).map(partition).collect(), ..Default::default() };
    let response = FetchResponse { responses: vec![topic], session_id: 1, ..Default::default() };
    let mut body = Vec::new();
    encode_body(&response, 16, FetchRequest::FLEXIBLE_FROM, &mut body).unwrap();
    body.into()
}

fn all(size: usize) -> BytesCount {
    BytesCount::new(size * PARTITIONS.unsigned_abs() as usize)
}

#[divan::bench(args = SIZES)]
fn copy_of_the_records(bencher: Bencher<'_, '_>, size: usize) {
    let request = produce(size);
    bencher.counter(all(size)).bench_local(|| {
        let mut out = Vec::with_capacity((size + 9) * PARTITIONS.unsigned_abs() as usize);
        for partition in request.topic_data.iter().flat_map(|topic| &topic.partition_data) {
            // What stands between two partitions; without it the copies would be aligned, which no request's are.
            out.extend_from_slice(black_box(&[0; 9]));
            out.extend_from_slice(black_box(partition.records.as_deref().unwrap_or_default()));
        }
        out
    });
}

#[divan::bench(args = SIZES)]
fn encode_produce(bencher: Bencher<'_, '_>, size: usize) {
    let request = produce(size);
    bencher.counter(all(size)).bench_local(|| {
        let mut out = Vec::new();
        encode_body(black_box(&request), 9, ProduceRequest::FLEXIBLE_FROM, &mut out).unwrap();
        out
    });
}

#[divan::bench(args = SIZES)]
fn decode_fetch(bencher: Bencher<'_, '_>, size: usize) {
    let body = fetched(size);
    bencher.counter(all(size)).bench_local(|| {
        decode_body::<FetchResponse>(black_box(&body).clone(), 16, FetchRequest::FLEXIBLE_FROM).unwrap()
    });
}

fn main() {
    divan::main();
}
