//! What a handler adds to the store's transaction beside an order's own effect.
//!
//! Rows and events are values until then, so that no handler waits while a transaction is open. They enter it where the
//! effect does: an order that was applied before, or that the store refuses, adds nothing.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Text;
use super::pack::put_bytes;

/// Rows and events of a handler's own, which enter the store together with the effect of the order that it was given.
///
/// Whatever is repeated, revived or restarted, they enter once. A row is replaced by a later one of the same table and key.
/// What they say must follow from the order alone, or from what the handler asked elsewhere: an order that is still under way
/// may be about to write the same row.
///
/// ```
/// use orderflow::store::Overlay;
///
/// let mut overlay = Overlay::default();
/// overlay.put("bookings", "97537", "DHL 4711").remove("wishes", "97537");
/// overlay.emit("carrier_bookings", "97537", r#"{"parcel":"DHL 4711"}"#);
/// assert!(!overlay.is_empty());
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Overlay {
    pub(crate) rows: Vec<OverlayRow>,
    pub(crate) events: Vec<OverlayEvent>,
}

/// A row as it is after the transaction.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct OverlayRow {
    pub(crate) table: String,
    pub(crate) key: Vec<u8>,
    /// None: there is no such row any more.
    pub(crate) value: Option<Vec<u8>>,
}

/// A record that the store's relay publishes.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct OverlayEvent {
    pub(crate) topic: String,
    pub(crate) key: Vec<u8>,
    pub(crate) value: Vec<u8>,
}

impl Overlay {
    /// The row of this key in this table of the handler's own becomes `value`.
    pub fn put(&mut self, table: &str, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> &mut Self {
        self.rows.push(OverlayRow { table: table.to_owned(), key: key.into(), value: Some(value.into()) });
        self
    }

    /// The row of this key in this table of the handler's own goes.
    pub fn remove(&mut self, table: &str, key: impl Into<Vec<u8>>) -> &mut Self {
        self.rows.push(OverlayRow { table: table.to_owned(), key: key.into(), value: None });
        self
    }

    /// A record goes to this topic: at least once, in the order of its key, under an idempotency key that stays the same
    /// (`<name of the order's event>:<which of its events>`).
    pub fn emit(&mut self, topic: &str, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> &mut Self {
        self.events.push(OverlayEvent { topic: topic.to_owned(), key: key.into(), value: value.into() });
        self
    }

    /// Whether it adds nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.events.is_empty()
    }

    /// How many bytes it holds.
    pub(crate) fn len(&self) -> usize {
        let rows = self.rows.iter().map(|row| row.key.len().saturating_add(row.value.as_ref().map_or(0, Vec::len)));
        let events = self.events.iter().map(|event| event.key.len().saturating_add(event.value.len()));
        rows.chain(events).fold(0, usize::saturating_add)
    }
}

/// A row that a handler keeps for itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnRow {
    /// The table.
    pub table: String,
    /// The row's key.
    pub key: Text,
    /// The row's value.
    pub value: Text,
}

/// The name of a row where all tables are one: the rows of a table stand together, by key.
pub(crate) fn row_name(table: &str, key: &[u8]) -> Vec<u8> {
    let mut name = Vec::with_capacity(table.len().saturating_add(key.len()).saturating_add(2));
    put_bytes(table.as_bytes(), &mut name);
    name.extend_from_slice(key);
    name
}

impl fmt::Debug for Overlay {
    /// What it holds may be a customer's.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Overlay").field("rows", &self.rows.len()).field("events", &self.events.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_one_table_never_stand_among_those_of_another() {
        let mut names = [("a", "z"), ("ab", ""), ("a", "ab"), ("b", ""), ("", "a")]
            .map(|(table, key)| (row_name(table, key.as_bytes()), table));
        names.sort_unstable();
        let tables: Vec<&str> = names.iter().map(|(_, table)| *table).collect();
        assert_eq!(tables, ["", "a", "a", "b", "ab"]);
        assert!(row_name("a", b"b") != row_name("ab", b""));
    }

    #[test]
    fn what_an_overlay_holds_is_not_shown() {
        let mut overlay = Overlay::default();
        overlay.put("bookings", "97537", "Ada Lovelace").emit("bookings", "97537", "Ada");
        assert_eq!(format!("{overlay:?}"), "Overlay { rows: 1, events: 1 }");
        assert_eq!((overlay.len(), overlay.is_empty()), (17 + 8, false));
    }
}
