//! Sequences as the flight recorder knows them.

use super::{Answer, Effect, Event, Expected, Lane};
use crate::flight::Machine;

impl Machine for Lane {
    const KIND: &'static str = "sequences";
    const FORM: u16 = 1;
    type Event = Event;
    type Effects = Vec<Effect>;

    fn step(&mut self, event: Event) -> Vec<Effect> {
        Self::step(self, event)
    }

    /// Batches that go out and are written while nothing is amiss are not worth a line.
    fn is_remarkable(&self, event: &Event) -> bool {
        let is_plain = matches!(event, Event::Admit { .. } | Event::Answered { answer: Answer::Written, .. });
        let is_calm = !self.draining && self.waiting().is_none() && matches!(self.expected, Expected::Certain(_));
        !(is_plain && is_calm)
    }
}
