//! What a relay has read: rows, the pages that they came on, and what a round makes of them.

use serde::{Deserialize, Serialize};

use crate::store::{Done, Mark};

/// An event that waits to leave the store, or many of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(in crate::outbox) number: u64,
    /// For which of its topics.
    pub(in crate::outbox) part: u8,
    /// Where it goes to.
    pub(in crate::outbox) topic: String,
    /// The shards in which it is to be told, a bit each.
    pub(in crate::outbox) shards: u64,
    /// Its key, as a hash; none: many keys, each for the first time.
    pub(in crate::outbox) key: Option<u64>,
}

impl Row {
    /// Whether one must be answered before the other is sent.
    pub(super) fn is_before(&self, other: &Self) -> bool {
        let may_share_a_key = match (self.key, other.key) {
            (Some(key), Some(other)) => key == other,
            (None, None) => false,
            _ => self.shards & other.shards != 0,
        };
        may_share_a_key && self.topic == other.topic
    }
}

/// Some of the events behind a mark.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Page {
    pub(in crate::outbox) rows: Vec<Row>,
    /// These tell of nothing, or nothing any more.
    pub(in crate::outbox) spent: Vec<Done>,
    /// Behind the last event that was looked at.
    pub(in crate::outbox) until: Mark,
    pub(in crate::outbox) is_last: bool,
    /// Whether some were left out until what comes before them is gone.
    pub(in crate::outbox) is_held: bool,
    /// The memory that its events take.
    pub(in crate::outbox) bytes: u64,
}

impl Page {
    /// Goes on with the page behind it.
    pub(super) fn extend(&mut self, next: Self) {
        self.rows.extend(next.rows);
        (self.until, self.is_last) = (next.until, next.is_last);
        self.is_held |= next.is_held;
        self.bytes = self.bytes.saturating_add(next.bytes);
    }
}

/// Whether what was read before is dealt with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Hand {
    /// It is.
    New,
    /// It is not: this page comes on top of it.
    More,
}

/// What one round has come to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Round {
    pub(super) stay: u64,
    /// These take nothing now.
    pub(super) topics: Vec<String>,
    /// These failed alone: what comes behind them waits.
    pub(super) failed: Vec<Row>,
    /// Some were left out until what comes before them is gone.
    pub(super) is_held: bool,
}

impl Round {
    pub(super) fn refuses(&self, row: &Row) -> bool {
        self.topics.contains(&row.topic) || self.failed.iter().any(|failed| failed.is_before(row))
    }

    pub(super) fn leave(&mut self) {
        self.stay = self.stay.saturating_add(1);
    }
}
