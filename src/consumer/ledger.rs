//! Which offsets of one partition are settled, so that its position never passes one that is not (G2).
//!
//! ```text
//!  offset   40  41  42  43  44  45  46  47
//!           x   x   .   x   .   x   (gap)        read = 47: handed out up to here
//!                   ^ next = 42                  settled beyond next = {43, 45..47}
//! ```
//! Offsets without an order (control records, aborted or compacted ones) are settled when they are passed.

mod turnover;

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

pub(crate) use self::turnover::RecordedLedger;
use crate::store::Settled;

/// The account of one partition in one incarnation.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Ledger {
    /// The lowest offset that is not settled.
    next: i64,
    /// The next offset to be handed out; what lies between `next` and it is in hand or settled.
    read: i64,
    settled: Settled,
    /// Offsets that were handed out and are not below `next`.
    taken: VecDeque<i64>,
    max_ahead: usize,
    /// Where leader epochs begin, ascending; the first is the epoch before `next`.
    epochs: VecDeque<(i64, i32)>,
}

/// What to do with an offset that is met in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// Settle it.
    InHand,
    /// It was settled before.
    Before,
}

impl Ledger {
    /// An account that goes on from a position; `leader_epoch` is the epoch of its last settled record, or -1.
    pub(crate) fn new(next: i64, settled: Settled, leader_epoch: i32, max_ahead: usize) -> Self {
        let mut settled = settled;
        let next = settled.advance(next);
        let epochs = VecDeque::from([(i64::MIN, leader_epoch)]);
        Self { next, read: next, settled, taken: VecDeque::new(), max_ahead: max_ahead.max(1), epochs }
    }

    /// The lowest offset that is not settled.
    pub(crate) fn next(&self) -> i64 {
        self.next
    }

    /// The next offset that was not handed out yet.
    pub(crate) fn read(&self) -> i64 {
        self.read
    }

    /// The offsets beyond [`Ledger::next`] that are settled.
    pub(crate) fn settled(&self) -> &Settled {
        &self.settled
    }

    /// Whether another order may be handed out (`max.ahead`).
    pub(crate) fn has_room(&self) -> bool {
        self.taken.len() < self.max_ahead
    }

    /// The leader epoch of the last batch before `next`, also of one that held no order; -1 if unknown.
    pub(crate) fn leader_epoch(&self) -> i32 {
        self.epochs.front().map_or(-1, |(_, epoch)| *epoch)
    }

    /// Notes that records from `offset` on were written under this leader epoch.
    pub(crate) fn epoch_begins(&mut self, offset: i64, epoch: i32) {
        if self.epochs.back().is_none_or(|(start, last)| *last != epoch && *start < offset) {
            self.epochs.push_back((offset, epoch));
        }
    }

    /// Hands out the order at `offset`. Offsets that were left out hold no order and are settled.
    pub(crate) fn take(&mut self, offset: i64) -> Taken {
        self.pass(offset);
        if offset < self.read || self.settled.contains(offset) {
            self.pass(offset.saturating_add(1));
            return Taken::Before;
        }
        self.taken.push_back(offset);
        self.read = offset.saturating_add(1);
        Taken::InHand
    }

    /// There is no order before `until` that was not met.
    pub(crate) fn pass(&mut self, until: i64) {
        if until <= self.read {
            return;
        }
        if self.taken.is_empty() {
            self.next = self.settled.advance(until);
        } else {
            self.settled.insert_range(self.read, until);
            self.read = until;
        }
        self.trim();
    }

    /// The order at `offset`, which is in hand, is settled.
    pub(crate) fn settle(&mut self, offset: i64) {
        if offset == self.next {
            self.next = self.settled.advance(offset.saturating_add(1));
        } else if offset > self.next {
            self.settled.insert(offset);
        }
        self.trim();
    }

    fn trim(&mut self) {
        self.read = self.read.max(self.next);
        while self.taken.front().is_some_and(|offset| *offset < self.next) {
            self.taken.pop_front();
        }
        while self.epochs.get(1).is_some_and(|(start, _)| *start < self.next) {
            self.epochs.pop_front();
        }
    }
}

#[cfg(test)]
mod tests;
