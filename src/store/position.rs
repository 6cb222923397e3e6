//! Where a store stands in a partition.
//!
//! Every write of a position is conditional on its version and adds one (rule R2): whoever holds an
//! old version, a zombie or a retry that had succeeded, changes nothing.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Settled;
use crate::Result;
use crate::place::TopicId;

/// The partition number of orders that were applied from a file, without Kafka.
///
/// Its offsets count the orders that were backfilled.
pub const BACKFILL: i32 = -1;

/// How the reason of a position begins that a store took over from the group's commits, without what lies before it.
pub const ADOPTED: &str = "adopted from the group's committed offset";

/// A topic as the store knows it: by identity, or by name where brokers tell no identity (rule R11).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Topic {
    /// The identity; a recreated topic has another one.
    pub id: TopicId,
    /// The name.
    pub name: Arc<str>,
}

impl Topic {
    /// The topic `name` with the identity `id`, which may be [`TopicId::NONE`].
    pub fn new(id: TopicId, name: impl Into<Arc<str>>) -> Self {
        Self { id, name: name.into() }
    }
}

/// Where the store stands in one partition.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The lowest offset that is not settled: fetching starts here.
    pub next: i64,
    /// The offsets beyond `next` that are settled already.
    pub settled: Settled,
    /// The leader epoch of the last batch before `next`, -1 if unknown.
    pub leader_epoch: i32,
    /// Counts the writes of this position, from 1. Zero stands for a position that was never written.
    pub version: u64,
    /// The token of the last write: with `version`, it tells whose write that was (rule R5).
    pub token: u128,
    /// The orders that are not settled and were tried before. Where no handler is called there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tried: Vec<Tried>,
    /// The offset of the record that tripped the partition's breaker, while it is undecided. A store does not keep it: it
    /// comes with the group's commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tripped: Option<i64>,
}

/// An order that was tried and is not settled yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tried {
    /// Its offset.
    pub offset: i64,
    /// How often it failed, or cost a member its place in the group because its handler took longer than
    /// `max.poll.interval.ms`.
    pub times: u32,
    /// When it failed first, in milliseconds since 1970; `None` if it only took too long.
    pub first_failed: Option<i64>,
    /// How long it had been failing at its last failure, without the time in which nobody had it: 0 at the first one.
    #[serde(default)]
    pub failing_for: Duration,
}

impl Position {
    /// What became of a write that was sent with `expected` and `token` and whose answer was lost (rule R5).
    ///
    /// ```
    /// use orderflow::store::{Doubt, Position};
    /// let row = Position { version: 8, token: 77, ..Position::default() };
    /// assert_eq!(row.judge(7, 77), Doubt::Done);
    /// assert_eq!(row.judge(8, 99), Doubt::Retry);
    /// assert_eq!(row.judge(7, 99), Doubt::Lost);
    /// ```
    #[must_use]
    pub fn judge(&self, expected: u64, token: u128) -> Doubt {
        if self.version == expected {
            Doubt::Retry
        } else if expected.checked_add(1) == Some(self.version) && self.token == token {
            Doubt::Done
        } else {
            Doubt::Lost
        }
    }
}

/// What became of a write whose answer was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Doubt {
    /// It was written.
    Done,
    /// It was not written: send it again.
    Retry,
    /// Somebody else wrote the position meanwhile.
    Lost,
}

/// A position that is set on purpose: the resolved start before the first fetch, or a move by command.
///
/// A move back lets orders without an identity be applied again; those with one are duplicates.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    /// The partition.
    pub partition: i32,
    /// The version that the position has now; 0 if it was never written.
    pub expected: u64,
    /// Names this write (rule R5).
    pub token: u128,
    /// The offset to go on from.
    pub next: i64,
    /// The leader epoch at `next`, -1 if unknown.
    pub leader_epoch: i32,
    /// Why, for the audit: `auto.offset.reset=earliest`, or what the operator said.
    pub reason: String,
}

/// Which store this is. The group's committed offsets name it in their metadata.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct StoreIdentity {
    /// The name that was drawn when the store was made: `redb:` with 32 hexadecimal digits.
    pub name: String,
    /// The only consumer group that the store serves.
    pub group: String,
    /// The only order type that the store keeps, as in [`crate::order::Order::TYPE`].
    pub order_type: String,
}

impl StoreIdentity {
    /// Refuses a group or an order type that is not this store's.
    ///
    /// # Errors
    /// [`crate::ErrorCode::StoreForeign`], naming both.
    pub fn check(&self, group: &str, order_type: &str) -> Result<()> {
        let refuse = |what: &str, has: &str, asked: &str| {
            let message = format!("the store belongs to the {what} `{has}`, not to `{asked}`");
            Err(crate::Error::new(crate::ErrorCode::StoreForeign, message).remedy("give each group a store of its own"))
        };
        if self.order_type != order_type {
            return refuse("order type", &self.order_type, order_type);
        }
        if self.group != group { refuse("group", &self.group, group) } else { Ok(()) }
    }
}

impl fmt::Display for StoreIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}
