//! The flight recorder: what the pure machines of a consumer saw and did in the last minutes, to be run again.
//!
//! ```text
//!  membership, ledger, breaker, retries, relay --> Track --line--> Ring (flight.max.bytes) --> <store>.flight-<time>.jsonl
//!                                                                 ^ stall, fence, panic, signal, `orders flight`
//!  replay(file): the same machines, the recorded events, virtual time --> the same effects, or where they differ
//! ```
//! A line is written for each step that is worth it, none for an order that simply went through: what changes with each
//! order is told once a second, as ranges of offsets. Nothing of an order's content is ever in it; the key of an order
//! that is tried again is there as a hash, unless `flight.ids=plain`.
//!
//! # The form
//! One JSON object a line, the first of them the header:
//! ```text
//!  {"flight":1,"version":"0.1.0","because":"stall","written":MS,"began":MS,"ids":"hashed","lost":0}
//!  {"at":MICROS,"machine":"classic#1","form":1,"state":{...}}           a machine as it is, from which a replay goes on
//!  {"at":MICROS,"machine":"classic#1","form":1,"state":{...},"skipped":17}  ... after so many steps that are not recorded
//!  {"at":MICROS,"machine":"classic#1","event":{...},"effects":[...]}    one step of it
//!  {"at":MICROS,"note":{...}}                                           something that no machine decided
//! ```
//! `at` counts from `began`. A ring drops its oldest segment as a whole, and each machine tells its state again in a new one.

mod files;
mod recorder;
pub mod replay;
mod ring;
#[cfg(test)]
mod tests;
mod track;

use std::fmt;

use serde::Serialize;

pub(crate) use self::files::{Because, Files, FlightConfig, Witness};
pub use self::files::{Ids, Written};
pub(crate) use self::recorder::Recorder;
pub(crate) use self::track::{Recorded, Track};

/// The number of the form of a recording; it grows when an older one would be read wrongly.
pub(crate) const FORMAT: u16 = 1;

/// A pure machine whose steps are recorded.
pub(crate) trait Machine: Serialize {
    /// What it is called in a recording.
    const KIND: &'static str;
    /// The number of the form of its state, events and effects; it grows when an older recording would be read wrongly.
    const FORM: u16;
    /// What it learns.
    type Event: Serialize;
    /// What is to be done.
    type Effects: Serialize;

    /// Takes one event.
    fn step(&mut self, event: Self::Event) -> Self::Effects;

    /// Whether the step that follows is worth a line. What is not is left out, and a state is told after it.
    fn is_remarkable(&self, _event: &Self::Event) -> bool {
        true
    }

    /// How much work the step is, in offsets.
    fn work(_event: &Self::Event) -> u64 {
        1
    }

    /// The event for people.
    fn tell(event: &Self::Event) -> String
    where
        Self::Event: fmt::Debug,
    {
        format!("{event:?}")
    }

    /// The effects for people.
    fn tell_effects(effects: &Self::Effects) -> String
    where
        Self::Effects: fmt::Debug,
    {
        format!("{effects:?}")
    }
}
