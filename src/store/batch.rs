//! What one transaction is asked to settle.

use std::borrow::Cow;

use bytes::Bytes;

use super::{Overlay, Settled, Topic};
use crate::order::{Identity, Order};

/// The parts of one topic that a transaction settles together: all of them, or none.
#[derive(Clone, Debug)]
pub struct Batch<O> {
    /// The topic of all parts.
    pub topic: Topic,
    /// At most one part for each partition. Entries are settled in this order.
    pub parts: Vec<Part<O>>,
}

/// What is settled of one partition, with the position that this leads to.
///
/// Offsets that become settled and have no entry hold no order: markers, aborted or compacted records.
#[derive(Clone, Debug)]
pub struct Part<O> {
    /// The partition.
    pub partition: i32,
    /// The version that the position must have now (rule R2); 0 if it was never written.
    pub expected: u64,
    /// Names this write, so that a repeat after a lost answer is recognised (rule R5). Draw it at random.
    pub token: u128,
    /// The lowest offset that will not be settled afterwards.
    pub next: i64,
    /// The offsets beyond `next` that will be settled afterwards, with those that are already.
    pub settled: Settled,
    /// The leader epoch of the last batch before `next`, -1 if unknown.
    pub leader_epoch: i32,
    /// What is settled, in ascending offsets, each one not settled before.
    pub entries: Vec<Entry<O>>,
}

/// One record that is settled.
#[derive(Clone, Debug)]
pub struct Entry<O> {
    /// The record's offset.
    pub offset: i64,
    /// The record's timestamp in milliseconds since 1970.
    pub timestamp: i64,
    /// The order's identity; `None`: its place is its identity.
    pub identity: Option<Identity>,
    /// What to do.
    pub work: Work<O>,
}

/// What to do with one record.
#[derive(Clone, Debug)]
pub enum Work<O> {
    /// Apply the order's effect, unless it was applied before or the effect refuses it.
    Apply(O),
    /// The same, with what the order's handler adds where the effect is applied.
    ApplyWith(O, Box<Overlay>),
    /// Record the handler's own refusal. It is an effect: copies of the order are duplicates.
    Refuse(DeadLetter),
    /// Set the record aside. Copies of it are tried again.
    DeadLetter(DeadLetter),
}

/// A record that was refused or set aside, with its cause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// The stable code of the cause.
    pub code: Cow<'static, str>,
    /// A sentence for people.
    pub reason: String,
    /// How often it was tried, at least 1.
    pub attempts: u32,
    /// The record as it was read.
    pub original: Original,
}

/// The bytes of a record, as they were read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Original {
    /// The key.
    pub key: Option<Bytes>,
    /// The value; a tombstone has none.
    pub value: Option<Bytes>,
    /// The headers in their order, repeated ones and those without value included.
    pub headers: Vec<(Bytes, Option<Bytes>)>,
}

impl<O: Order> Batch<O> {
    /// How many records are settled.
    #[must_use]
    pub fn len(&self) -> usize {
        self.parts.iter().map(|part| part.entries.len()).sum()
    }

    /// Whether no record is settled; positions may move all the same.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
