//! The offsets beyond a position that are settled already.
//!
//! One waiting key must not hold up its partition, so a position is its next offset with the set of
//! later offsets that are done. The set is kept as ranges: while nothing waits it is empty, and a
//! single waiting order costs one range.
//!
//! ```text
//!  offset   40 41 42 43 44 45 46
//!  settled  x  x  .  x  x  .  x        next = 42, settled = {43..45, 46..47}
//! ```

use serde::{Deserialize, Serialize};

use super::pack::Unpack;
use super::ranges::Ranges;
use crate::{Error, ErrorCode, Result};

/// The most orders that may be settled ahead of one that waits (`max.ahead`); then the partition waits.
///
/// A set of more ranges is never written, nor read.
pub const MAX_AHEAD: usize = 10_000;

/// A set of offsets as disjoint half-open ranges in ascending order.
///
/// ```
/// use orderflow::store::Settled;
/// let mut settled: Settled = [43, 44, 46].into_iter().collect();
/// settled.insert(42);
/// assert_eq!(settled.advance(42), 45);
/// assert_eq!(settled.ranges().collect::<Vec<_>>(), [(46, 47)]);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<(i64, i64)>", into = "Vec<(i64, i64)>")]
pub struct Settled(Ranges);

impl Settled {
    /// The empty set.
    #[must_use]
    pub const fn new() -> Self {
        Self(Ranges::new())
    }

    /// Whether no offset is settled.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.as_slice().is_empty()
    }

    /// How many offsets are settled.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.0.count()
    }

    /// The ranges, `start..end`, ascending, disjoint and never adjacent.
    pub fn ranges(&self) -> impl ExactSizeIterator<Item = (i64, i64)> + '_ {
        self.0.as_slice().iter().copied()
    }

    /// Whether `offset` is settled.
    #[must_use]
    pub fn contains(&self, offset: i64) -> bool {
        self.0.contains(offset)
    }

    /// Settles one offset. `i64::MAX` is not an offset and is left out.
    pub fn insert(&mut self, offset: i64) {
        self.insert_range(offset, offset.saturating_add(1));
    }

    /// Settles `start..end`; an empty range changes nothing.
    pub fn insert_range(&mut self, start: i64, end: i64) {
        self.0.insert(start, end);
    }

    /// Moves `next` over what is settled and forgets everything before it. Returns the new `next`.
    pub fn advance(&mut self, next: i64) -> i64 {
        self.0.pass(next)
    }

    /// Whether every offset of `other` is settled here or lies before `next`.
    #[must_use]
    pub fn covers(&self, next: i64, other: &Self) -> bool {
        other.ranges().all(|(start, end)| end <= next || self.0.holds(start.max(next), end))
    }

    /// Appends the set in a few bytes, counted from `next`, beyond which all offsets lie.
    pub fn encode(&self, next: i64, out: &mut Vec<u8>) {
        self.0.encode(next, out);
    }

    /// The set that [`Settled::encode`] wrote, from all of `bytes`.
    ///
    /// # Errors
    /// [`ErrorCode::StoreCorrupt`] when the bytes are cut, overflow an offset, hold an empty range, one that touches
    /// its neighbour or `next`, or more than [`MAX_AHEAD`] ranges.
    pub fn decode(next: i64, bytes: &[u8]) -> Result<Self> {
        let mut row = Unpack::new(bytes, "the set of settled offsets");
        Ranges::decode(next, &mut row, MAX_AHEAD).map(Self)
    }
}

impl FromIterator<i64> for Settled {
    fn from_iter<I: IntoIterator<Item = i64>>(offsets: I) -> Self {
        let mut set = Self::new();
        offsets.into_iter().for_each(|offset| set.insert(offset));
        set
    }
}

impl From<Settled> for Vec<(i64, i64)> {
    fn from(set: Settled) -> Self {
        set.0.as_slice().to_vec()
    }
}

impl TryFrom<Vec<(i64, i64)>> for Settled {
    type Error = Error;

    fn try_from(ranges: Vec<(i64, i64)>) -> Result<Self> {
        let broken = || Error::new(ErrorCode::StoreCorrupt, "the set of settled offsets cannot be read");
        if ranges.len() > MAX_AHEAD {
            return Err(broken());
        }
        Ranges::from_sorted(ranges).map(Self).ok_or_else(broken)
    }
}

#[cfg(test)]
mod tests;
