//! Whether the coordinator is known, with how soon it may be asked again.
//!
//! Looking for it, and every request to it, waits at least [`FLOOR`] after the last bad answer, so that two brokers that
//! name each other as coordinator do not make a client spin.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::member::{Effect, Now};
use crate::backoff::Backoff;

/// The least wait after an answer that sends us elsewhere.
const FLOOR: Duration = Duration::from_millis(100);

/// Where the coordinator is, as far as a member needs to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Place {
    Unknown,
    Sought,
    Found,
}

/// The coordinator, from the member's side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Coordinator {
    place: Place,
    backoff: Backoff,
    /// Nothing is sought or sent before.
    not_before: Duration,
    /// Failures since the last success.
    failures: u32,
}

impl Coordinator {
    pub(super) fn new(backoff: Backoff) -> Self {
        Self { place: Place::Unknown, backoff, not_before: Duration::ZERO, failures: 0 }
    }

    /// Whether a request may be sent now.
    pub(super) fn is_ready(&self, now: Now) -> bool {
        self.place == Place::Found && now.at >= self.not_before
    }

    pub(super) fn is_found(&self) -> bool {
        self.place == Place::Found
    }

    pub(super) fn found(&mut self) {
        self.place = Place::Found;
    }

    /// A request succeeded: the next failure is a first one.
    pub(super) fn succeeded(&mut self) {
        self.failures = 0;
        self.not_before = Duration::ZERO;
    }

    /// It is elsewhere: it is looked for soon.
    pub(super) fn moved(&mut self, now: Now) {
        self.place = Place::Unknown;
        self.wait(now, FLOOR.mul_f64(1.0 + now.share()));
    }

    /// The connection is gone, or it was not found: it is looked for after a wait that grows.
    pub(super) fn lost(&mut self, now: Now) {
        self.place = Place::Unknown;
        self.hold(now);
    }

    /// It asks for patience: it stays where it is, and is asked again after a wait that grows.
    pub(super) fn hold(&mut self, now: Now) {
        let wait = self.backoff.delay(self.failures, now.share()).max(FLOOR);
        self.failures = self.failures.saturating_add(1);
        self.wait(now, wait);
    }

    fn wait(&mut self, now: Now, wait: Duration) {
        self.not_before = self.not_before.max(now.at.saturating_add(wait));
    }

    /// How often it failed since the last success.
    pub(super) fn failures(&self) -> u32 {
        self.failures
    }

    /// Looks for it, if that is due.
    pub(super) fn seek(&mut self, now: Now) -> Option<Effect> {
        let due = self.place == Place::Unknown && now.at >= self.not_before;
        if due {
            self.place = Place::Sought;
        }
        due.then_some(Effect::FindCoordinator)
    }

    /// When something can be done that cannot be done now.
    pub(super) fn wake(&self, now: Now) -> Option<Duration> {
        (self.place != Place::Sought && self.not_before > now.at).then_some(self.not_before)
    }
}
