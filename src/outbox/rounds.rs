//! Which events of an outbox are published, let go, or tried again: a pure machine.
//!
//! It goes through the outbox round by round, page by page, and tries every event once a round, so that one that cannot be
//! written holds up no other. An event is let go only when its publication is acknowledged, so it is told at least once.
//! After an event that could not be written for its topic's sake, a round tries no other of that topic.
//!
//! ```text
//!  Begun, News --> Read --Page--> Publish, one after the other --> Await --> LetGo --+
//!    ^              ^                                                               |
//!    |              +-------------------- the next page ----------------------------+
//!    |              +---- Due <-- Wait <-- something stays, or the store failed ----+
//!    +-- Rest <------------------------------- all is gone -------------------------+
//! ```
//! A row is known by its number, which is its place in the outbox, and by its topic. Whoever relays for some keys only
//! (leases) leaves the others' rows out of the pages and their numbers out of `until`.

use serde::{Deserialize, Serialize};

use crate::flight::Machine;

/// An event that waits to leave the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(super) number: u64,
    /// Where it goes to.
    pub(super) topic: String,
}

/// Some of the events behind a number.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Page {
    pub(super) rows: Vec<Row>,
    /// These tell of nothing any more.
    pub(super) spent: Vec<u64>,
    /// The number of the last event that was looked at.
    pub(super) until: u64,
    pub(super) is_last: bool,
}

/// What a failure is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Fault {
    /// This record alone.
    Record,
    /// Its topic: others would fail as well.
    Topic,
    /// The store, for a while.
    Store,
    /// The store is closed.
    Closed,
}

/// What is learned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Event {
    /// The relay begins, or something new is in the outbox.
    News,
    /// What was read.
    Page(Page),
    /// The producer took it.
    Accepted(u64),
    /// All in-sync replicas have it.
    Written(u64),
    /// It was not written.
    Unwritten(u64, Fault),
    /// What was let go is gone.
    Gone,
    /// The store did not answer, or did not let go.
    Failed(Fault),
    /// The wait is over.
    Due,
    /// Nothing new will come.
    Stopped,
}

/// What is to be done. Only one of them is under way at a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Effect {
    /// Read the events behind this number.
    Read(u64),
    /// Have the producer take this event.
    Publish(u64),
    /// Wait for the receipts of those that it took.
    Await,
    /// Let these go.
    LetGo(Vec<u64>),
    /// So many events stay after this round.
    Stay(u64),
    /// Wait before the next round: so many in a row failed before this one.
    Wait(u32),
    /// Wait for news, or for the end.
    Rest,
    /// Nothing is left to be done.
    End,
}

/// The machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Rounds {
    /// Every event up to this number is gone.
    done: u64,
    /// How many rounds in a row left something.
    failures: u32,
    round: Round,
    page: Page,
    /// How many of the page's rows were tried.
    tried: usize,
    /// These were accepted, and not answered yet.
    awaited: Vec<u64>,
    /// These are to be let go.
    gone: Vec<u64>,
}

/// What one round has come to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Round {
    stay: u64,
    first_left: Option<u64>,
    /// These take nothing now.
    topics: Vec<String>,
}

impl Round {
    fn leave(&mut self, number: u64) {
        self.stay = self.stay.saturating_add(1);
        self.first_left = Some(self.first_left.map_or(number, |first| first.min(number)));
    }
}

impl Rounds {
    fn take(&mut self, event: Event) -> Vec<Effect> {
        match event {
            Event::News | Event::Due => {
                self.round = Round::default();
                vec![Effect::Read(self.done)]
            }
            Event::Page(page) => {
                self.gone.clone_from(&page.spent);
                (self.page, self.tried) = (page, 0);
                self.publish()
            }
            Event::Accepted(number) => {
                self.awaited.push(number);
                self.publish()
            }
            Event::Written(number) => {
                self.gone.push(number);
                self.answered(number)
            }
            Event::Unwritten(number, fault) => {
                self.unwritten(number, fault);
                match self.awaited.contains(&number) {
                    true => self.answered(number),
                    false => self.publish(),
                }
            }
            Event::Gone => self.turn(),
            Event::Failed(Fault::Closed) | Event::Stopped => vec![Effect::End],
            Event::Failed(_) => self.wait(),
        }
    }

    fn unwritten(&mut self, number: u64, fault: Fault) {
        self.round.leave(number);
        let topic = self.page.rows.iter().find(|row| row.number == number).map(|row| &row.topic);
        if let Some(topic) = topic.filter(|_| fault != Fault::Record)
            && !self.round.topics.contains(topic)
        {
            self.round.topics.push(topic.clone());
        }
    }

    /// Publishes the next row whose topic takes anything; after the last one the receipts are waited for.
    fn publish(&mut self) -> Vec<Effect> {
        while let Some(row) = self.page.rows.get(self.tried) {
            self.tried += 1;
            if !self.round.topics.contains(&row.topic) {
                return vec![Effect::Publish(row.number)];
            }
            self.round.leave(row.number);
        }
        if self.awaited.is_empty() { self.let_go() } else { vec![Effect::Await] }
    }

    fn answered(&mut self, number: u64) -> Vec<Effect> {
        self.awaited.retain(|awaited| *awaited != number);
        if self.awaited.is_empty() { self.let_go() } else { Vec::new() }
    }

    fn let_go(&mut self) -> Vec<Effect> {
        let gone = std::mem::take(&mut self.gone);
        if gone.is_empty() { self.turn() } else { vec![Effect::LetGo(gone)] }
    }

    /// The page is dealt with.
    fn turn(&mut self) -> Vec<Effect> {
        let Page { until, is_last, .. } = std::mem::take(&mut self.page);
        if !is_last {
            return vec![Effect::Read(until)];
        }
        self.done = self.round.first_left.map_or(until, |first| first.saturating_sub(1));
        let stay = Effect::Stay(self.round.stay);
        if self.round.stay > 0 {
            return std::iter::once(stay).chain(self.wait()).collect();
        }
        self.failures = 0;
        vec![stay, Effect::Rest]
    }

    fn wait(&mut self) -> Vec<Effect> {
        let before = self.failures;
        self.failures = before.saturating_add(1);
        self.awaited.clear();
        self.gone.clear();
        vec![Effect::Wait(before)]
    }
}

impl Machine for Rounds {
    const KIND: &'static str = "outbox";
    const FORM: u16 = 1;
    type Event = Event;
    type Effects = Vec<Effect>;

    fn step(&mut self, event: Event) -> Vec<Effect> {
        self.take(event)
    }

    /// A record that simply goes through has no line.
    fn is_remarkable(&self, event: &Event) -> bool {
        !matches!(event, Event::Accepted(_) | Event::Written(_))
    }
}

#[cfg(test)]
mod tests;
