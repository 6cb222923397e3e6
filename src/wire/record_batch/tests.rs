//! What batches promise: they agree with other clients, come back as they were written, and survive any bytes.

mod others;
mod properties;
mod reading;
mod transactions;
mod writing;

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
