//! When a membership machine is to be woken.
//!
//! Each time replaces the one before, so a machine asks only where its first wait has changed.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::member::{Effect, Now};

/// The time that was asked for last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Alarm(Option<Duration>);

impl Alarm {
    /// It went off: the next time is asked for even if it is the same.
    pub(super) fn went_off(&mut self) {
        self.0 = None;
    }

    /// Asks for the first of these times that is still to come. What is due has been done; what could not be done waits
    /// for another event.
    pub(super) fn set(&mut self, now: Now, waits: impl IntoIterator<Item = Option<Duration>>, out: &mut Vec<Effect>) {
        let first = waits.into_iter().flatten().filter(|at| *at > now.at).min();
        if first != self.0 {
            self.0 = first;
            out.extend(first.map(Effect::WakeAt));
        }
    }
}
