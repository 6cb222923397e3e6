//! What a transaction did.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::Position;

/// What a committed transaction did, part by part as they were given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    /// The parts, in the batch's order.
    pub parts: Vec<AppliedPart>,
}

/// What was done in one partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppliedPart {
    /// The partition.
    pub partition: i32,
    /// The position that is now committed.
    pub position: Position,
    /// One for each entry, in the entries' order.
    pub outcomes: Vec<Outcome>,
}

/// What became of one record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Its effect was committed now.
    Applied,
    /// An order of this identity was settled before; nothing was done.
    Duplicate,
    /// The business says no; recorded, and copies are duplicates.
    Refused {
        /// The stable code, such as `STK-INSUFFICIENT`.
        code: Cow<'static, str>,
        /// A sentence for people.
        reason: String,
    },
    /// Set aside with its cause; recorded, and copies are tried again.
    DeadLetter {
        /// The stable code, such as `ORD-QTY-RANGE`.
        code: Cow<'static, str>,
        /// A sentence for people.
        reason: String,
    },
}
