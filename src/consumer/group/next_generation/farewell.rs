//! Leaving a KIP-848 group: at the end, or because the application is too slow.
//!
//! A farewell is sent once and its answer only ends the wait: whatever goes wrong, the session's end does the rest.

use std::time::Duration;

use super::super::complaint::Cause;
use super::super::member::{Effect, Now};
use super::{NextGeneration, Phase};

impl NextGeneration {
    /// The consumer ends: a part of the time is for settling, the rest for the farewell.
    pub(super) fn leave(&mut self, now: Now, within: Duration, out: &mut Vec<Effect>) {
        let (until, end) = (now.at.saturating_add(within / 4 * 3), now.at.saturating_add(within));
        self.phase = match self.phase {
            Phase::Inside => {
                out.extend(self.holding.revoke(&self.holding.partitions()));
                self.settle_by = None;
                self.is_ack_due = false;
                Phase::Settling { until, end }
            }
            Phase::Settling { until: first, end: last } => {
                Phase::Settling { until: until.min(first), end: end.min(last) }
            }
            Phase::Leaving { end: last } => Phase::Leaving { end: end.min(last) },
            Phase::Ended => Phase::Ended,
            _ => Phase::Leaving { end },
        };
    }

    /// The application did not come on: all is given up, and it is told which order holds it.
    pub(super) fn expire(&mut self, out: &mut Vec<Effect>) {
        if self.is_settled_in() {
            self.warn(Cause::TooSlow, None, String::new(), out);
            self.lose(out);
            self.phase = Phase::Expired { is_back: false };
        }
    }

    /// All is given up: the member leaves, and joins again.
    pub(super) fn step_aside(&mut self, now: Now, out: &mut Vec<Effect>) {
        if self.is_settled_in() {
            self.lose(out);
            self.phase = Phase::Expired { is_back: true };
            self.next_beat = now.at;
        }
    }

    fn is_settled_in(&self) -> bool {
        matches!(self.phase, Phase::Joining | Phase::Probing | Phase::Replacing | Phase::Inside)
    }

    /// The application came on again: the member joins as soon as it has left.
    pub(super) fn back(&mut self, now: Now) {
        if let Phase::Expired { .. } = self.phase {
            self.phase = Phase::Expired { is_back: true };
            self.next_beat = now.at;
        }
    }

    /// Goes on where a wait is over.
    pub(super) fn end_waits(&mut self, now: Now, out: &mut Vec<Effect>) {
        if let Phase::Settling { until, end } = self.phase {
            if now.at >= until {
                out.extend(self.holding.lose_all());
            }
            if self.holding.is_empty() {
                self.lose(out);
                self.phase = Phase::Leaving { end };
            }
        }
        match self.phase {
            Phase::Expired { is_back: true } if !self.has_to_say_farewell() => self.phase = Phase::Joining,
            Phase::Leaving { end } if now.at >= end || !self.has_to_say_farewell() => {
                self.lose(out);
                self.phase = Phase::Ended;
                out.push(Effect::Left);
            }
            _ => {}
        }
    }

    /// Whether a farewell is to be sent or answered. A join that is in flight may yet register us.
    fn has_to_say_farewell(&self) -> bool {
        self.is_registered || self.flight.is_some()
    }

    /// The farewell was sent; nobody cares how it went.
    pub(super) fn said_farewell(&mut self) {
        self.is_registered = false;
        if self.phase == Phase::Replacing {
            self.rename();
            self.phase = Phase::Joining;
        }
    }
}
