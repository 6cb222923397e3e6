//! The event that tells whoever ordered that the business said no.

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;

use super::headers::{Header, instant};
use crate::order::IDENTITY_HEADER;
use crate::store::SetAside;

/// The topic of the events that tell of refused orders.
///
/// The key is the order's. The value is a JSON object: `event` (`order_refused`), `id`, `version`, `code`, `reason`, `at`,
/// `group`, `topic`, `partition`, `offset` and `order`, which is the order as it was read, or null where the event would be
/// too large for its topic with it. A repeat of an event has the same
/// `idempotency-key` header.
pub const REFUSALS: &str = "order_refusals";

/// An order was refused.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct Refused<'a> {
    /// Always `order_refused`.
    event: &'static str,
    /// The refusal's name in the store: `orders dlq show ID`.
    id: String,
    /// How often it has changed.
    version: u32,
    /// The cause, as a stable code.
    code: &'a str,
    /// The cause, as a sentence for people.
    reason: &'a str,
    /// When it was refused last, in RFC 3339.
    at: String,
    /// The group that refused it.
    group: &'a str,
    /// The topic that the order was read from; null for a backfilled one.
    topic: Option<&'a str>,
    /// Its partition.
    partition: Option<i32>,
    /// Its offset.
    offset: Option<i64>,
    /// The order as it was read; null where the event would be too large with it.
    #[cfg_attr(test, schemars(with = "Option<super::schemas::OrderValue>"))]
    order: Option<&'a RawValue>,
}

/// The event's value and headers; `order` is the record's value, unless it is left out.
pub(super) fn event(letter: &SetAside, group: &str, order: Option<&[u8]>) -> (Vec<u8>, Vec<Header>) {
    let origin = letter.origin.as_ref();
    let refused = Refused {
        event: "order_refused",
        id: letter.id.to_string(),
        version: letter.version,
        code: &letter.code,
        reason: &letter.reason,
        at: instant(letter.last_failed),
        group,
        topic: origin.map(|origin| &*origin.topic),
        partition: origin.map(|origin| origin.partition),
        offset: origin.map(|origin| origin.offset),
        order: order.and_then(|value| serde_json::from_slice(value).ok()),
    };
    let key = format!("refusal:{}:{}", letter.id, letter.version);
    let header = |name: &'static str, value: Bytes| (Bytes::from_static(name.as_bytes()), Some(value));
    let headers =
        vec![header(IDENTITY_HEADER, key.into()), header("content-type", Bytes::from_static(b"application/json"))];
    (serde_json::to_vec(&refused).unwrap_or_default(), headers)
}
