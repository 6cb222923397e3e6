//! Members as the flight recorder knows them.

use super::classic::Classic;
use super::member::{Effect, Event, FORMAT, Member, Now};
use super::next_generation::NextGeneration;
use super::told;
use crate::flight::{Machine, Recorded};

impl Machine for Classic {
    const KIND: &'static str = "classic";
    const FORM: u16 = FORMAT;
    type Event = (Now, Event);
    type Effects = Vec<Effect>;

    fn step(&mut self, (now, event): (Now, Event)) -> Vec<Effect> {
        self.take(now, event)
    }

    #[inline]
    fn tell((_, event): &(Now, Event)) -> String {
        told::event(event)
    }

    #[inline]
    fn tell_effects(effects: &Vec<Effect>) -> String {
        told::effects(effects)
    }
}

impl Machine for NextGeneration {
    const KIND: &'static str = "next_generation";
    const FORM: u16 = FORMAT;
    type Event = (Now, Event);
    type Effects = Vec<Effect>;

    fn step(&mut self, (now, event): (Now, Event)) -> Vec<Effect> {
        self.take(now, event)
    }

    #[inline]
    fn tell((_, event): &(Now, Event)) -> String {
        told::event(event)
    }

    #[inline]
    fn tell_effects(effects: &Vec<Effect>) -> String {
        told::effects(effects)
    }
}

impl<M: Machine<Event = (Now, Event), Effects = Vec<Effect>>> Member for Recorded<M> {
    fn take(&mut self, now: Now, event: Event) -> Vec<Effect> {
        self.step((now, event))
    }
}
