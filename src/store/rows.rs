//! What stores answer with, from what they keep.

use super::dead_letter::{About, Letter};
use super::delivery_line::DeliveryLine;
use super::inventory::Stock;
use super::ledger::{Head, Line};
use super::life::Life;
use super::moves::as_given;
use super::schedule::date_of_day;
use super::{
    BACKFILL, DeadLetterRow, DeadLetterState, DeliveryRow, EventId, Lifecycle, MovementRow, Original, OriginalRow, Row,
    StockRow, StoreIdentity, Text, Topic,
};
use crate::order::{Identity, Order};
use crate::{Error, ErrorCode, Result};

/// Refuses a question that does not fit the orders that a store keeps.
pub(crate) fn demand<O: Order>(identity: &StoreIdentity, what: &str) -> Result<()> {
    let keeps = &identity.order_type;
    if keeps == O::TYPE {
        return Ok(());
    }
    Err(Error::new(ErrorCode::StoreForeign, format!("the store keeps {keeps} orders, so it has no {what}")))
}

pub(crate) fn is_asked(orders: &[String], order: &str) -> bool {
    orders.is_empty() || orders.iter().any(|asked| asked == order)
}

pub(crate) fn stock_row(name: &str, stock: &Stock) -> Row {
    Row::Stock(StockRow {
        product_id: name.to_owned(),
        stock: stock.pieces,
        movements: stock.movements,
        last_movement: instant(stock.last),
    })
}

pub(crate) fn movement_row(topic: &Topic, head: Head, line: &Line<'_>, (product, quantity): (&str, i64)) -> Row {
    let in_log = head.partition != BACKFILL;
    Row::Movement(MovementRow {
        order_id: line.order_id.to_owned(),
        product_id: product.to_owned(),
        quantity,
        idempotency_key: line.identity.as_ref().map(ToString::to_string),
        at: instant(line.timestamp),
        topic: in_log.then(|| topic.name.to_string()),
        partition: in_log.then_some(head.partition),
        offset: in_log.then_some(line.offset),
    })
}

/// A delivery as its line of the ledger tells of it: as it was scheduled.
pub(crate) fn delivery_row(topic: &Topic, partition: i32, line: &Line<'_>, delivery: &DeliveryLine<'_>) -> DeliveryRow {
    let life = Lifecycle::scheduled(line.timestamp);
    DeliveryRow {
        delivery_id: line.event_id(topic, partition),
        order_id: line.order_id.to_owned(),
        product_id: delivery.product_id.to_owned(),
        quantity: delivery.quantity,
        status: life.status,
        scheduled_for: date_of_day(delivery.day).to_string(),
        since: instant(life.since),
        reason: None,
    }
}

/// The delivery after what it has made of itself since.
pub(crate) fn after_moves(row: DeliveryRow, life: &Life) -> Result<DeliveryRow> {
    let now = life.now()?;
    let reason = life.moves.last().and_then(|last| last.reason.clone());
    Ok(DeliveryRow { status: now.status, since: instant(now.since), reason, ..row })
}

/// A dead letter; whether its replay is asked for is kept beside it.
pub(crate) fn letter_row(topic: &Topic, id: EventId, letter: Letter, is_requested: bool) -> DeadLetterRow {
    let spot = letter.first;
    let in_log = spot.partition != BACKFILL;
    let kept = letter.identity.as_deref().and_then(|header| Identity::from_header(header).ok());
    let identity = match letter.about {
        About::Order => kept,
        About::Update => kept.map(as_given),
    };
    let replayed = letter.state == DeadLetterState::Replayed || (is_requested && letter.is_open());
    DeadLetterRow {
        id,
        kind: letter.kind,
        state: letter.state,
        code: letter.code,
        reason: letter.reason,
        idempotency_key: identity.map(|identity| identity.to_string()),
        topic: in_log.then(|| topic.name.to_string()),
        partition: in_log.then_some(spot.partition),
        offset: in_log.then_some(spot.offset),
        attempts: letter.attempts,
        first_failed: instant(letter.failed.0),
        last_failed: instant(letter.failed.1),
        replayed,
    }
}

pub(crate) fn original_row(
    topic: &Topic,
    id: EventId,
    (letter, is_requested): (Letter, bool),
    original: &Original,
) -> Row {
    let shown = |bytes: &bytes::Bytes| Text::of(bytes);
    Row::Original(OriginalRow {
        timestamp: instant(letter.timestamp),
        row: letter_row(topic, id, letter, is_requested),
        key: original.key.as_ref().map(shown),
        value: original.value.as_ref().map(shown),
        headers: original.headers.iter().map(|(key, value)| (shown(key), value.as_ref().map(shown))).collect(),
    })
}

/// An instant in RFC 3339; one that no calendar has stays a number.
pub(crate) fn instant(millis: i64) -> String {
    match chrono::DateTime::from_timestamp_millis(millis) {
        Some(instant) => instant.to_rfc3339_opts(chrono::SecondsFormat::Millis, true),
        None => format!("{millis} ms"),
    }
}
