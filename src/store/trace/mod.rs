//! What a store tells of one order's life, from what it keeps.
//!
//! A store finds lines, letters and waiting events in its own way; what they mean is said here, once for all stores. Nothing
//! is kept for it: an order's number is not unique, so an index by it would cost applying a write at a random place for each.
//!
//! ```text
//!  ledger: lines of the order, moves of its deliveries \
//!  lives:  what became of these                         \
//!  letters: records set aside that name it               --> Search --> StepRow, StepRow, ...
//!  outbox: what of all this waits to be told             /
//! ```

mod search;
mod steps;

use memchr::memmem;
use serde::{Deserialize, Serialize};
use serde_json::Value;

#[cfg(feature = "postgres")]
pub(crate) use self::search::MOST;
pub(crate) use self::search::Search;
use super::{EventId, Original};

/// What happened to an order, as a row of `orders trace`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepRow {
    /// The order.
    pub order_id: String,
    /// What kind of step it is.
    pub step: Step,
    /// When it happened, in RFC 3339; none where nobody keeps that.
    pub at: Option<String>,
    /// The topic of the record that it is about; none where there is no record, or its place is not known.
    pub topic: Option<String>,
    /// Its partition.
    pub partition: Option<i32>,
    /// Its offset.
    pub offset: Option<i64>,
    /// `says` is a sentence for people, `next` is what is to be done (null: nothing); the others depend on the step.
    pub detail: Value,
}

/// A kind of step in an order's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// A record is in the log.
    Written,
    /// Its effect was applied; `at` is the record's timestamp.
    Applied,
    /// A copy of an order that was applied or set aside: it changed nothing.
    Duplicate,
    /// Its delivery has a day.
    Scheduled,
    /// Its delivery became something else.
    Moved,
    /// The business said no.
    Refused,
    /// Its record could not be applied.
    DeadLetter,
    /// An event tells other systems of it, or waits to.
    Announced,
    /// An event tells the customer of it, or waits to.
    Notified,
    /// There is more than is told.
    LeftOut,
}

/// Whether a record says that it is of this order, or of one of these deliveries, which are in order: by its key, its value, or, where that cannot
/// be read, by the order's number in quotes.
pub(crate) fn concerns(original: &Original, order: &str, deliveries: &[EventId]) -> bool {
    if original.key.as_deref() == Some(order.as_bytes()) {
        return true;
    }
    let Some(value) = original.value.as_deref() else { return false };
    if is_plain(order) && memmem::find(value, order.as_bytes()).is_none() && deliveries.is_empty() {
        return false;
    }
    match serde_json::from_slice::<Value>(value) {
        Ok(value) => {
            let says = |value: &Value| match value.get("order_id") {
                Some(Value::String(text)) => text == order,
                Some(Value::Number(number)) => number.to_string() == order,
                _ => false,
            };
            let is_delivery = |text: &str| text.parse().is_ok_and(|id: EventId| deliveries.binary_search(&id).is_ok());
            says(&value)
                || value.get("order").is_some_and(says)
                || value.get("delivery_id").and_then(Value::as_str).is_some_and(is_delivery)
        }
        Err(_) => memmem::find(value, format!("\"{order}\"").as_bytes()).is_some(),
    }
}

/// Whether JSON writes this text in one way only, so that a value without it does not have it.
pub(crate) fn is_plain(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(key: Option<&str>, value: Option<&str>) -> Original {
        let copy = |text: &str| bytes::Bytes::copy_from_slice(text.as_bytes());
        Original { key: key.map(copy), value: value.map(copy), headers: Vec::new() }
    }

    #[test]
    fn a_record_is_the_orders_by_key_by_value_by_delivery_and_broken_by_the_number_in_quotes() {
        let (order, id) = ("97537", EventId::new([0xab; 16]));
        let is = |key, value| concerns(&record(key, value), order, &[id]);
        assert!(is(Some("97537"), None));
        assert!(is(None, Some(r#"{"order_id": "97537"}"#)) && is(None, Some(r#"{"order_id": 97537}"#)));
        assert!(is(None, Some(r#"{"event": "order_refused", "order": {"order_id": "97537"}}"#)));
        let update = format!(r#"{{"delivery_id": "{id}"}}"#);
        assert!(is(None, Some(&update)));
        assert!(is(None, Some(r#"{"order_id": "97537", "quantity""#)), "broken JSON");
        assert!(!is(None, Some(r#"{"order_id": "975370"}"#)) && !is(None, Some(r#"{"product_id": "97537"}"#)));
        assert!(!is(Some("9"), None) && !is(None, Some("97537 is not in quotes")));
        assert!(
            concerns(&record(None, Some(r#"{"order_id": "\u00e9"}"#)), "é", &[]),
            "JSON may escape what is not plain"
        );
    }
}
