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

#[derive(Serialize)]
struct Refused<'a> {
    event: &'static str,
    id: String,
    version: u32,
    code: &'a str,
    reason: &'a str,
    at: String,
    group: &'a str,
    topic: Option<&'a str>,
    partition: Option<i32>,
    offset: Option<i64>,
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
