//! Where a record is: topic, partition and offset.
//!
//! These words are shared by every layer, so this file imports nothing of the crate.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A topic's identity, which a recreated topic of the same name does not share (KIP-516).
///
/// Brokers before Apache Kafka 3.1 do not tell it; then it is [`TopicId::NONE`] and the topic's name is all there is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct TopicId([u8; 16]);

impl TopicId {
    /// No identity: the broker is too old to tell one.
    pub const NONE: Self = Self([0; 16]);

    /// The identity with these 16 bytes, in the order of the wire.
    #[must_use]
    pub const fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The 16 bytes, in the order of the wire.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Whether the broker told no identity.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::NONE
    }
}

impl fmt::Display for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TopicId({self})")
    }
}

/// A partition of a topic, by name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TopicPartition {
    /// The topic's name.
    pub topic: Arc<str>,
    /// The partition's number, from 0.
    pub partition: i32,
}

impl TopicPartition {
    /// The partition `partition` of `topic`.
    pub fn new(topic: impl Into<Arc<str>>, partition: i32) -> Self {
        Self { topic: topic.into(), partition }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.topic, self.partition)
    }
}

/// The place of one record, or of its order file's entry, as far as it is known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The topic's name.
    pub topic: Option<Arc<str>>,
    /// The partition's number.
    pub partition: Option<i32>,
    /// The record's offset.
    pub offset: Option<i64>,
    /// The order file's path.
    pub file: Option<Arc<str>>,
    /// The line in the file, from 1.
    pub line: Option<u64>,
    /// The column in the line, from 1, in bytes.
    pub column: Option<u64>,
}

impl Place {
    /// A partition without an offset.
    #[must_use]
    pub fn partition(at: &TopicPartition) -> Self {
        Self { topic: Some(at.topic.clone()), partition: Some(at.partition), ..Self::default() }
    }

    /// One record.
    #[must_use]
    pub fn record(at: &TopicPartition, offset: i64) -> Self {
        Self { offset: Some(offset), ..Self::partition(at) }
    }

    /// A whole topic.
    #[must_use]
    pub fn topic(name: impl Into<Arc<str>>) -> Self {
        Self { topic: Some(name.into()), ..Self::default() }
    }

    /// Whether nothing is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        if let Some(file) = &self.file {
            parts.push(format!("{file}:{}:{}", self.line.unwrap_or(1), self.column.unwrap_or(1)));
        }
        if let Some(topic) = &self.topic {
            parts.push(format!("topic {topic}"));
        }
        if let Some(partition) = self.partition {
            parts.push(format!("partition {partition}"));
        }
        if let Some(offset) = self.offset {
            parts.push(format!("offset {offset}"));
        }
        f.write_str(&parts.join(", "))
    }
}
