//! What a ledger did in a while, as ranges of offsets, for the flight recorder.
//!
//! A step for each order would cost more than the order. Which of the orders that were handed out is settled first makes
//! no difference to the account they end in, so the orders of a second are one step: all that were met, then all that
//! were settled.

use std::ops::Deref;

use serde::{Deserialize, Serialize};

use super::{Ledger, Taken};
use crate::flight::{Machine, Recorder, Track};

/// How many ranges a step may have.
const RANGES: usize = 2048;

/// How many orders may be in hand in a replay: far more than `max.ahead` allows, far less than memory has.
const IN_HAND: usize = 1 << 24;

/// What happened to a ledger in a while.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Turnover {
    /// Leader epochs that began, with their first offset.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    epochs: Vec<(i64, i32)>,
    /// Orders that were handed out, `start..end`; other offsets that were met have none, or were settled before.
    taken: Vec<(i64, i64)>,
    /// Everything below was met.
    until: i64,
    /// Orders that were settled, `start..end`.
    settled: Vec<(i64, i64)>,
}

/// Where a ledger stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Standing {
    next: i64,
    read: i64,
    leader_epoch: i32,
    /// What is settled beyond `next`, `start..end`.
    ahead: Vec<(i64, i64)>,
}

impl Ledger {
    fn standing(&self) -> Standing {
        let ahead = self.settled.ranges().collect();
        Standing { next: self.next, read: self.read, leader_epoch: self.leader_epoch(), ahead }
    }
}

impl Machine for Ledger {
    const KIND: &'static str = "ledger";
    const FORM: u16 = 1;
    type Event = Turnover;
    type Effects = Standing;

    fn step(&mut self, turnover: Turnover) -> Standing {
        let Turnover { epochs, taken, until, settled } = turnover;
        epochs.into_iter().for_each(|(offset, epoch)| self.epoch_begins(offset, epoch));
        for offset in taken.into_iter().flat_map(|(start, end)| start..end) {
            if self.taken.len() < IN_HAND {
                self.take(offset);
            }
        }
        self.pass(until);
        settled.into_iter().flat_map(|(start, end)| start..end).for_each(|offset| self.settle(offset));
        self.standing()
    }

    fn work(turnover: &Turnover) -> u64 {
        let length = |(start, end): &(i64, i64)| end.saturating_sub(*start).try_into().unwrap_or(0);
        turnover.taken.iter().chain(&turnover.settled).map(length).fold(1, u64::saturating_add)
    }
}

/// A ledger whose steps are recorded.
#[derive(Debug)]
pub(crate) struct RecordedLedger {
    ledger: Ledger,
    track: Track,
    since: Turnover,
    /// The last orders in a row that went through, `start..end`, which `since` does not have yet.
    through: (i64, i64),
}

impl RecordedLedger {
    pub(crate) fn new(ledger: Ledger, recorder: &Recorder, partition: i32) -> Self {
        let mut track = recorder.track((Ledger::KIND, Ledger::FORM), Some(partition));
        if track.is_on() {
            track.state(&ledger);
        }
        Self { ledger, track, since: Turnover::default(), through: (0, 0) }
    }

    /// See [`Ledger::take`].
    #[inline]
    pub(crate) fn take(&mut self, offset: i64) -> Taken {
        let taken = self.ledger.take(offset);
        if self.track.is_on() && taken == Taken::InHand {
            add(&mut self.since.taken, offset);
        }
        taken
    }

    /// As [`RecordedLedger::take`], for an order that is expected to be settled at once. It is noted when it is
    /// ([`RecordedLedger::went_through`]) or is not ([`RecordedLedger::stays_in_hand`]): one range for a row of orders.
    #[inline]
    pub(crate) fn take_through(&mut self, offset: i64) -> Taken {
        self.ledger.take(offset)
    }

    /// The order that was taken last is settled.
    #[inline]
    pub(crate) fn went_through(&mut self, offset: i64) {
        self.ledger.settle(offset);
        if self.through.1 == offset {
            self.through.1 = offset.saturating_add(1);
        } else {
            self.note_through();
            self.through = (offset, offset.saturating_add(1));
        }
    }

    /// The order that was taken last is not settled yet.
    pub(crate) fn stays_in_hand(&mut self, offset: i64) {
        if self.track.is_on() {
            add(&mut self.since.taken, offset);
        }
    }

    fn note_through(&mut self) {
        let (start, end) = std::mem::take(&mut self.through);
        if start < end && self.track.is_on() {
            self.since.taken.push((start, end));
            self.since.settled.push((start, end));
            self.bound();
        }
    }

    /// See [`Ledger::pass`].
    pub(crate) fn pass(&mut self, until: i64) {
        self.ledger.pass(until);
    }

    /// See [`Ledger::settle`].
    #[inline]
    pub(crate) fn settle(&mut self, offset: i64) {
        self.ledger.settle(offset);
        if self.track.is_on() && add(&mut self.since.settled, offset) {
            self.bound();
        }
    }

    /// Keeps the step short of [`RANGES`].
    fn bound(&mut self) {
        if self.since.settled.len() >= RANGES {
            merge(&mut self.since.settled);
            merge(&mut self.since.taken);
        }
        if self.since.settled.len().max(self.since.taken.len()) >= RANGES / 2 {
            self.record();
        }
    }

    /// See [`Ledger::epoch_begins`].
    pub(crate) fn epoch_begins(&mut self, offset: i64, epoch: i32) {
        let before = self.ledger.epochs.back().copied();
        self.ledger.epoch_begins(offset, epoch);
        if self.track.is_on() && self.ledger.epochs.back().copied() != before {
            self.since.epochs.push((offset, epoch));
        }
    }

    /// Records what happened since the last call.
    pub(crate) fn record(&mut self) {
        if !self.track.is_on() {
            return;
        }
        self.note_through();
        let mut since = std::mem::take(&mut self.since);
        let is_quiet = since == Turnover::default();
        if self.track.is_behind() {
            // The state tells more than a step that could not be run again from an older one.
            self.track.skip();
            self.track.state(&self.ledger);
        } else if !is_quiet {
            since.until = self.ledger.read;
            merge(&mut since.taken);
            merge(&mut since.settled);
            if let Some(line) = self.track.step(&self.ledger, &since) {
                self.track.done(line, &self.ledger.standing());
            }
        }
    }
}

impl Deref for RecordedLedger {
    type Target = Ledger;

    fn deref(&self) -> &Ledger {
        &self.ledger
    }
}

/// Returns whether a range was begun.
#[inline]
fn add(ranges: &mut Vec<(i64, i64)>, offset: i64) -> bool {
    if let Some((_, end)) = ranges.last_mut()
        && *end == offset
    {
        *end = offset.saturating_add(1);
        return false;
    }
    ranges.push((offset, offset.saturating_add(1)));
    true
}

/// Sorts ranges, and makes one of those that touch.
fn merge(ranges: &mut Vec<(i64, i64)>) {
    ranges.sort_unstable();
    ranges.dedup_by(|next, kept| {
        let touches = next.0 <= kept.1;
        if touches {
            kept.1 = kept.1.max(next.1);
        }
        touches
    });
}
