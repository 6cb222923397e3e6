//! Sample batches, sample calls: for the broker's own unit tests.

use std::sync::Arc;

use bytes::Bytes;
use litemap::LiteMap;
use tokio::sync::Notify;

use super::builder::Builder;
use super::call::Call;
use super::log::Incoming;
use super::state::Shared;
use crate::wire::compression::{Compression, Compressor};
use crate::wire::message::{ApiKey, RequestHeader};
use crate::wire::record_batch::{BatchBuilder, BatchReader, ProducerStamp, RecordParts};

/// The bytes of a batch of these values, all with this time, changed by `change` before it is closed.
pub(super) fn batch(
    values: &[&[u8]],
    timestamp: i64,
    stamp: ProducerStamp,
    change: impl FnOnce(BatchBuilder) -> BatchBuilder,
) -> Bytes {
    let mut builder = change(BatchBuilder::new(Compression::None, Vec::new()));
    for value in values {
        let parts = RecordParts { key: None, headers: &[], value_len: Some(value.len()) };
        builder.append(timestamp, &parts, |out| out.extend_from_slice(value)).unwrap();
    }
    let mut closed = builder.close(&mut Compressor::new());
    closed.stamp(stamp);
    closed.bytes()
}

/// A checked batch of these values without a producer id.
pub(super) fn incoming(values: &[&[u8]]) -> Incoming {
    incoming_of(batch(values, 1000, crate::wire::record_batch::NO_PRODUCER, |builder| builder))
}

pub(super) fn incoming_of(batch: Bytes) -> Incoming {
    Incoming::new(&BatchReader::new(batch).next().unwrap().unwrap())
}

/// A request without a body.
pub(super) fn call(api: ApiKey, version: i16) -> Call {
    Call {
        shared: Arc::new(Shared::new(Builder::new().settings(), LiteMap::new())),
        node: 1,
        peer: "/127.0.0.1".into(),
        api,
        header: RequestHeader { api_key: api.as_i16(), api_version: version, correlation_id: 7, client_id: None },
        body: Bytes::new(),
        waiter: Arc::new(Notify::new()),
    }
}
