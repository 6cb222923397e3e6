//! Sequences of one partition: what makes a repeated batch recognisable, so that retries neither duplicate nor reorder.
//!
//! A broker remembers, for each producer id and partition, the epoch and the last five batches (KIP-98): it answers a
//! repeated batch as the first time and refuses one that leaves a gap. A [`Lane`] numbers the batches of one partition and
//! decides what becomes of them; it is a pure machine, without bytes, clock or sockets.
//!
//! ```text
//!               admit                    answer: written
//!  (new batch) -------> in flight -----------------------------> settled
//!                        ^     |  answer: again, out of order, ... ; connection lost
//!                 resend |     v
//!                       waiting  ------ expire, refuse --------> settled: possibly written, or not
//! ```
//!
//! # Rules
//! - After any answer but success the lane *drains*: nothing is sent until every batch in flight is answered.
//! - A batch is sent again as it is, under its number; the broker then tells whether it has it. That is always safe.
//! - A batch is *ambiguous* once a try of it ended without a clear refusal. It never gets another number, because both
//!   copies might be appended; if the broker no longer takes its number, it is settled as possibly written.
//! - A gap is closed by numbering the waiting batches again, in the same epoch if the broker's next sequence is certain, else
//!   in the next epoch from 0, which also shuts out whatever of the old epoch is still on the way.
//! - Until a batch has been written only one is in flight: a broker that does not know the producer takes any sequence, so
//!   the second of two batches could be appended without the first.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

mod recorded;
#[cfg(test)]
pub(super) mod tests;

/// A batch's number within its partition's lane, given by the driver.
pub(crate) type BatchId = u64;

/// Batches that a broker remembers of a producer and partition: more may not be unanswered.
pub(crate) const REMEMBERED_BATCHES: usize = 5;

/// The epoch and the first sequence under which a batch is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Number {
    pub(crate) epoch: i16,
    pub(crate) sequence: i32,
}

/// What happened to a batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Event {
    /// A new batch of `count` records is sent.
    Admit { batch: BatchId, count: u32 },
    /// A waiting batch is sent again.
    Resend { batch: BatchId },
    /// The broker answered, or never will.
    Answered { batch: BatchId, answer: Answer },
    /// The batch's time is up.
    Expired { batch: BatchId },
    /// A batch that the broker refused as a whole was cut into these, some of its records left out perhaps.
    Cut { batch: BatchId, pieces: Vec<(BatchId, u32)> },
    /// So much time has passed that the broker may have forgotten the producer.
    Forgotten,
}

/// How a try of a batch ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Answer {
    /// It is in the log.
    Written,
    /// It is to be sent again.
    Again(Trace),
    /// Its number is not the one that the broker expects.
    OutOfOrder,
    /// Its epoch is older than the broker's.
    OldEpoch,
    /// It is refused for good.
    Refused(Trace),
    /// It is refused as a whole, but its parts may be taken.
    TooMuch,
}

/// Whether a try that failed may have left the batch in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Trace {
    /// It has not: the broker refused it before appending, or it was never sent.
    None,
    /// It may have.
    Possible,
}

/// What the driver has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Effect {
    /// Send the batch under this number.
    Send { batch: BatchId, number: Number },
    /// Tell the batch's orders that they are written.
    Written { batch: BatchId },
    /// Tell the batch's orders that they failed.
    Failed { batch: BatchId, possibly_written: bool },
    /// Cut the batch, then say [`Event::Cut`].
    Cut { batch: BatchId },
    /// Nothing more will be asked of the batch: its bytes may go.
    Forget { batch: BatchId },
}

/// The unsettled batches of one partition, in the order of their numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Lane {
    epoch: i16,
    expected: Expected,
    unsettled: VecDeque<Entry>,
    draining: bool,
    /// Whether the broker has been seen to know this producer and epoch.
    proven: bool,
}

/// The sequence that the broker expects next in the lane's epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Expected {
    /// It is this one.
    Certain(i32),
    /// A batch that ends here was given up and may be in the log. If one behind it is written, all is certain again.
    Doubtful(i32),
    /// The broker refused what it should expect. Only a new epoch helps.
    Lost,
}

impl Default for Expected {
    fn default() -> Self {
        Self::Certain(0)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    batch: BatchId,
    count: u32,
    number: Number,
    in_flight: bool,
    /// A try ended without a clear refusal.
    ambiguous: bool,
    /// The last answer was that the number is not the expected one.
    out_of_order: bool,
    /// The orders were told already; the batch only waits for its answer.
    expired: bool,
    /// It waits to be cut.
    cut: bool,
}

impl Lane {
    /// A lane whose broker knows nothing of the producer.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Whether a batch may be sent now.
    pub(crate) fn may_send(&self) -> bool {
        let window = if self.proven { REMEMBERED_BATCHES } else { 1 };
        !self.draining && self.in_flight() < window
    }

    /// Whether a new batch may be sent now. Behind a batch that may or may not be in the log nothing new is numbered until
    /// the answers in flight have made it certain.
    pub(crate) fn may_admit(&self) -> bool {
        let is_certain = matches!(self.expected, Expected::Certain(_));
        self.may_send() && self.waiting().is_none() && (is_certain || self.is_idle())
    }

    /// The batch that must be sent again before any new one.
    pub(crate) fn waiting(&self) -> Option<BatchId> {
        self.unsettled.iter().find(|entry| !entry.in_flight).map(|entry| entry.batch)
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.unsettled.iter().filter(|entry| entry.in_flight).count()
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.unsettled.is_empty()
    }

    /// Takes what happened; says what to do.
    pub(crate) fn step(&mut self, event: Event) -> Vec<Effect> {
        let mut effects = Vec::new();
        match event {
            Event::Admit { batch, count } => effects.extend(self.admit(batch, count)),
            Event::Resend { batch } => effects.extend(self.resend(batch)),
            Event::Answered { batch, answer } => self.answered(batch, answer, &mut effects),
            Event::Expired { batch } => self.expired(batch, &mut effects),
            Event::Cut { batch, pieces } => self.cut(batch, &pieces),
            Event::Forgotten => self.proven = false,
        }
        self.settle(&mut effects);
        effects
    }

    fn admit(&mut self, batch: BatchId, count: u32) -> Option<Effect> {
        if !self.may_admit() {
            return None;
        }
        let number = self.next_number()?;
        self.unsettled.push_back(Entry { in_flight: true, ..Entry::waiting(batch, count, number) });
        Some(Effect::Send { batch, number })
    }

    /// The number behind every batch of this epoch that was sent; in a new epoch if the broker's next sequence is not certain.
    fn next_number(&mut self) -> Option<Number> {
        let sequence = match (self.expected, self.unsettled.back()) {
            (Expected::Certain(expected), Some(last)) if is_behind(expected, last.end()) => last.end(),
            (Expected::Certain(expected), _) => expected,
            (_, None) => self.begin_epoch()?,
            (_, Some(_)) => return None,
        };
        Some(Number { epoch: self.epoch, sequence })
    }

    /// Returns the new epoch's first sequence; `None` if there are no more epochs.
    fn begin_epoch(&mut self) -> Option<i32> {
        self.epoch = self.epoch.checked_add(1)?;
        self.expected = Expected::Certain(0);
        self.proven = false;
        Some(0)
    }

    fn resend(&mut self, batch: BatchId) -> Option<Effect> {
        if !self.may_send() || self.waiting() != Some(batch) {
            return None;
        }
        let entry = self.unsettled.iter_mut().find(|entry| entry.batch == batch)?;
        entry.in_flight = true;
        entry.out_of_order = false;
        Some(Effect::Send { batch, number: entry.number })
    }

    fn answered(&mut self, batch: BatchId, answer: Answer, effects: &mut Vec<Effect>) {
        let Some(at) = self.unsettled.iter().position(|entry| entry.batch == batch && entry.in_flight) else { return };
        if answer == Answer::Written {
            return self.written(at, effects);
        }
        self.draining = true;
        let Some(entry) = self.unsettled.get_mut(at) else { return };
        entry.in_flight = false;
        let failed = match answer {
            Answer::Written | Answer::Again(Trace::None) => false,
            Answer::Again(Trace::Possible) => {
                entry.ambiguous = true;
                false
            }
            Answer::OutOfOrder => {
                entry.out_of_order = true;
                false
            }
            Answer::OldEpoch => {
                entry.out_of_order = true;
                self.expected = Expected::Lost;
                entry.ambiguous
            }
            Answer::Refused(trace) => {
                entry.ambiguous |= trace == Trace::Possible;
                true
            }
            Answer::TooMuch => {
                entry.cut = true;
                entry.ambiguous
            }
        };
        if failed || entry.expired {
            self.fail(at, effects);
        }
    }

    fn written(&mut self, at: usize, effects: &mut Vec<Effect>) {
        let Some(entry) = self.unsettled.remove(at) else { return };
        if entry.number.epoch == self.epoch {
            self.proven = true;
            let end = entry.end();
            match self.expected {
                #[cfg(test)]
                _ if entry.ambiguous && crate::plant::is(crate::plant::Plant::SequenceReused) => {}
                Expected::Certain(expected) if !is_behind(expected, end) => {}
                Expected::Doubtful(until) if is_behind(end, until) => {}
                Expected::Certain(_) | Expected::Doubtful(_) => self.expected = Expected::Certain(end),
                Expected::Lost => {}
            }
        }
        let batch = entry.batch;
        effects.extend((!entry.expired).then_some(Effect::Written { batch }));
        effects.push(Effect::Forget { batch });
    }

    fn expired(&mut self, batch: BatchId, effects: &mut Vec<Effect>) {
        let Some(at) = self.unsettled.iter().position(|entry| entry.batch == batch && !entry.expired) else { return };
        let Some(entry) = self.unsettled.get_mut(at) else { return };
        if !entry.in_flight {
            return self.fail(at, effects);
        }
        entry.expired = true;
        self.draining = true;
        effects.push(Effect::Failed { batch, possibly_written: true });
    }

    /// Takes a batch out that will not be sent again. If it may be in the log, the broker's next sequence is no longer known.
    fn fail(&mut self, at: usize, effects: &mut Vec<Effect>) {
        let Some(entry) = self.unsettled.remove(at) else { return };
        if entry.ambiguous {
            self.expected = match self.expected {
                Expected::Certain(expected) if is_behind(entry.number.sequence, expected) => self.expected,
                Expected::Doubtful(until) if is_behind(entry.end(), until) => self.expected,
                Expected::Certain(_) | Expected::Doubtful(_) => Expected::Doubtful(entry.end()),
                Expected::Lost => Expected::Lost,
            };
        }
        let (batch, possibly_written) = (entry.batch, entry.ambiguous);
        effects.extend((!entry.expired).then_some(Effect::Failed { batch, possibly_written }));
        effects.push(Effect::Forget { batch });
    }

    fn cut(&mut self, batch: BatchId, pieces: &[(BatchId, u32)]) {
        let Some(at) = self.unsettled.iter().position(|entry| entry.batch == batch && entry.cut) else { return };
        let Some(whole) = self.unsettled.remove(at) else { return };
        let mut number = whole.number;
        for (place, (batch, count)) in pieces.iter().enumerate() {
            let piece = Entry::waiting(*batch, *count, number);
            number.sequence = piece.end();
            self.unsettled.insert(at + place, piece);
        }
    }

    /// Once drained, decides how to go on.
    fn settle(&mut self, effects: &mut Vec<Effect>) {
        if !self.draining || self.in_flight() > 0 {
            return;
        }
        self.draining = false;
        while let Some(first) = self.unsettled.front()
            && first.out_of_order
        {
            if !first.ambiguous {
                self.number_again(effects);
                break;
            }
            self.fail(0, effects);
        }
        effects.extend(self.unsettled.iter().filter(|entry| entry.cut).map(|entry| Effect::Cut { batch: entry.batch }));
    }

    /// Closes the gap in front of the first batch, which the broker has refused for its number.
    fn number_again(&mut self, effects: &mut Vec<Effect>) {
        while let Some(at) = self.unsettled.iter().position(|entry| entry.ambiguous) {
            self.fail(at, effects);
        }
        let refused = self.unsettled.front().map(|first| first.number.sequence);
        let sequence = match self.expected {
            Expected::Certain(expected) if refused != Some(expected) => Some(expected),
            // The broker knows something else than we do.
            Expected::Certain(_) | Expected::Doubtful(_) | Expected::Lost => self.begin_epoch(),
        };
        let Some(sequence) = sequence else {
            while !self.unsettled.is_empty() {
                self.fail(0, effects);
            }
            return;
        };
        let mut number = Number { epoch: self.epoch, sequence };
        for entry in &mut self.unsettled {
            entry.number = number;
            entry.out_of_order = false;
            number.sequence = entry.end();
        }
    }
}

impl Entry {
    fn waiting(batch: BatchId, count: u32, number: Number) -> Self {
        let (in_flight, ambiguous, out_of_order, expired, cut) = (false, false, false, false, false);
        Self { batch, count, number, in_flight, ambiguous, out_of_order, expired, cut }
    }

    /// The sequence behind its last record; after the largest comes 0.
    fn end(&self) -> i32 {
        self.number.sequence.wrapping_add_unsigned(self.count) & i32::MAX
    }
}

/// Whether sequence `a` comes before `b`, on a circle of which five batches take a small part.
fn is_behind(a: i32, b: i32) -> bool {
    let ahead = b.wrapping_sub(a) & i32::MAX;
    ahead > 0 && ahead < i32::MAX / 2
}
