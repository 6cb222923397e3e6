//! An order as a handler sees it.

use std::fmt;
use std::sync::Arc;

use super::record::{Header, RecordBytes};
use crate::order::{Identity, Order};
use crate::place::{Place, TopicId, TopicPartition};
#[cfg(feature = "testing")]
use crate::wire::record_batch::{Header as WireHeader, RecordFields};

/// An order with the record that brought it: a cheap handle that holds no network buffer.
#[derive(Clone, Debug)]
pub struct Delivered<O> {
    pub(crate) order: O,
    pub(crate) record: RecordBytes,
    pub(crate) origin: Arc<Origin>,
    pub(crate) offset: i64,
    pub(crate) timestamp: i64,
    pub(crate) attempt: u32,
}

/// The partition that records come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) id: TopicId,
    pub(crate) at: TopicPartition,
}

impl<O: Order> Delivered<O> {
    /// An order as if it had been read from a record.
    #[cfg(feature = "testing")]
    pub(crate) fn written(
        order: O,
        headers: &[(Vec<u8>, Option<Vec<u8>>)],
        origin: Arc<Origin>,
        offset: i64,
        timestamp: i64,
    ) -> Self {
        let mut value = Vec::with_capacity(order.encoded_len());
        order.encode(&mut value);
        let headers: Vec<_> = headers.iter().map(|(key, value)| WireHeader { key, value: value.as_deref() }).collect();
        let mut body = Vec::new();
        RecordFields::write(&mut body, Some(order.key()), Some(&value), &headers);
        Self { order, record: RecordBytes::new(body.into()), origin, offset, timestamp, attempt: 1 }
    }

    /// The same order for its next try.
    #[cfg(feature = "testing")]
    pub(crate) fn again(self) -> Self {
        Self { attempt: self.attempt.saturating_add(1), ..self }
    }

    /// The order.
    #[must_use]
    pub fn value(&self) -> &O {
        &self.order
    }

    /// The order, owned.
    #[must_use]
    pub fn into_value(self) -> O {
        self.order
    }

    /// The record's key as it was read; `None` where the record has none.
    #[must_use]
    pub fn key(&self) -> Option<&[u8]> {
        self.record.key()
    }

    /// The record's value as it was read.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.record.value().unwrap_or_default()
    }

    /// The record's headers in their order, repeated ones and those without value included.
    pub fn headers(&self) -> impl Iterator<Item = Header<'_>> {
        self.record.headers()
    }

    /// The value of the first header of this name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers().find(|(other, _)| *other == name.as_bytes()).and_then(|(_, value)| value)
    }

    /// Topic, partition and offset.
    #[must_use]
    pub fn place(&self) -> Place {
        Place::record(&self.origin.at, self.offset)
    }

    /// The record's timestamp in milliseconds since 1970.
    #[must_use]
    pub fn timestamp(&self) -> i64 {
        self.timestamp
    }

    /// Which try this is in this run, from 1. A restart begins at 1 again, but for tries that were cut short
    /// after half of `max.poll.interval.ms` or more: those are counted for the whole group, beside its committed offsets.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// What tells this order from every other, the same on every repeat: the idempotency key for effects elsewhere.
    #[must_use]
    pub fn identity(&self) -> EventIdentity<'_> {
        match self.order.identity() {
            Some(identity) => EventIdentity::Given(identity),
            None => EventIdentity::Place { topic: self.origin.id, at: &self.origin.at, offset: self.offset },
        }
    }
}

/// What tells one order from every other. As text it is an idempotency key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventIdentity<'a> {
    /// The identity in the record's `idempotency-key` header.
    Given(&'a Identity),
    /// The record has no such header: its place is its identity.
    Place {
        /// The topic's identity, which a recreated topic does not share.
        topic: TopicId,
        /// Topic and partition.
        at: &'a TopicPartition,
        /// The record's offset.
        offset: i64,
    },
}

impl fmt::Display for EventIdentity<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Given(identity) => identity.fmt(f),
            Self::Place { topic, at, offset } => write!(f, "{}:{topic}:{}:{offset}", at.topic, at.partition),
        }
    }
}
