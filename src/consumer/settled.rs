//! What is told of each order that is settled, and the count of them.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::{Deserialize, Serialize};

use crate::order::Order;
use crate::place::{Place, TopicPartition};
use crate::store::Outcome;

/// One order that was settled: told to the observer after its effect and its position are committed, in log order
/// within a partition. Without a store it is told when the handler is done with the order.
#[derive(Clone, Copy, Debug)]
pub struct Settled<'a, O> {
    pub(crate) outcome: &'a Outcome,
    pub(crate) at: &'a TopicPartition,
    pub(crate) offset: i64,
    pub(crate) timestamp: i64,
    pub(crate) value: Option<&'a [u8]>,
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) identity: Option<&'a [u8]>,
    pub(crate) order: PhantomData<fn() -> O>,
}

impl<O: Order> Settled<'_, O> {
    /// What became of it.
    #[must_use]
    pub fn outcome(&self) -> &Outcome {
        self.outcome
    }

    /// The record's value, byte by byte as it was read; a tombstone has none.
    #[must_use]
    pub fn value(&self) -> Option<&[u8]> {
        self.value
    }

    /// The record's key as it was read.
    #[must_use]
    pub fn key(&self) -> Option<&[u8]> {
        self.key
    }

    /// The order, read once more from the record; `None` if it breaks a rule.
    #[must_use]
    pub fn order(&self) -> Option<O> {
        self.value.and_then(|value| O::decode(value).ok())
    }

    /// The text of the `idempotency-key` header, if the record has one with a value.
    #[must_use]
    pub fn idempotency_key(&self) -> Option<Cow<'_, str>> {
        self.identity.map(String::from_utf8_lossy)
    }

    /// Topic, partition and offset.
    #[must_use]
    pub fn place(&self) -> Place {
        Place::record(self.at, self.offset)
    }

    /// The topic's name.
    #[must_use]
    pub fn topic(&self) -> &str {
        &self.at.topic
    }

    /// The partition's number.
    #[must_use]
    pub fn partition(&self) -> i32 {
        self.at.partition
    }

    /// The record's offset.
    #[must_use]
    pub fn offset(&self) -> i64 {
        self.offset
    }

    /// The record's timestamp in milliseconds since 1970.
    #[must_use]
    pub fn timestamp(&self) -> i64 {
        self.timestamp
    }
}

/// How many orders a run settled, and how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Orders whose effect was committed now; without a store, orders the handler is done with.
    pub applied: u64,
    /// Orders that were applied before.
    pub duplicates: u64,
    /// Orders that the business refused.
    pub refused: u64,
    /// Records that were set aside with their cause.
    pub dead_letters: u64,
    /// How often an order or a transaction was tried again.
    pub retried: u64,
}

impl Summary {
    /// How many records are settled.
    #[must_use]
    pub fn settled(&self) -> u64 {
        self.applied.saturating_add(self.duplicates).saturating_add(self.refused).saturating_add(self.dead_letters)
    }

    /// This and what another run settled.
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            applied: self.applied.saturating_add(other.applied),
            duplicates: self.duplicates.saturating_add(other.duplicates),
            refused: self.refused.saturating_add(other.refused),
            dead_letters: self.dead_letters.saturating_add(other.dead_letters),
            retried: self.retried.saturating_add(other.retried),
        }
    }

    pub(crate) fn count_applied(&mut self, orders: u64) {
        self.applied = self.applied.saturating_add(orders);
    }

    pub(crate) fn count(&mut self, outcome: &Outcome) {
        let counter = match outcome {
            Outcome::Applied => &mut self.applied,
            Outcome::Duplicate => &mut self.duplicates,
            Outcome::Refused { .. } => &mut self.refused,
            Outcome::DeadLetter { .. } => &mut self.dead_letters,
        };
        *counter = counter.saturating_add(1);
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { applied, duplicates, refused, dead_letters, retried } = self;
        write!(
            f,
            "applied {applied}, duplicates {duplicates}, refused {refused}, dead letters {dead_letters}, retried {retried}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_reads_as_the_examples_print_it() {
        let mut summary = Summary::default();
        summary.count(&Outcome::Applied);
        summary.count(&Outcome::Refused { code: "STK-INSUFFICIENT".into(), reason: String::new() });
        assert_eq!(summary.to_string(), "applied 1, duplicates 0, refused 1, dead letters 0, retried 0");
        assert_eq!(summary.settled(), 2);
    }
}
