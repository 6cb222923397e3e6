//! Which events of an outbox are published, let go, or tried again: a pure machine.
//!
//! It goes through the outbox round by round, page by page, and tries every event once a round, so that one that cannot be
//! written holds up no other. An event is let go only when its publication is acknowledged, so it is told at least once.
//! After an event that could not be written for its topic's sake, a round tries no other of that topic, and after one that
//! failed alone none of its key: so the events of a key are first sent in their order.
//!
//! ```text
//!  News, Due --> Lease --> Read --Page--> Publish, one after the other --> Await --> LetGo --+
//!    ^           (when due)  ^               ^  (Lease, when due)                            |
//!    |                       +-------------- the next page ----------------------------------+
//!    |              +---- Due <-- Wait <-- something stays, or the store failed -------------+
//!    +-- Rest <------------------------------- all is gone ----------------------------------+
//! ```
//! A row is known by its number. It stands for events of one key, or of many keys in the shards that it names. Only shards
//! that are leased are told of, and nothing is published once the lease is due to be renewed: a process that was stopped
//! meanwhile asks first, and learns what others have taken over. What it sent before is acknowledged under the tokens that
//! it had when it read the page, which the store compares.

use serde::{Deserialize, Serialize};

use crate::flight::Machine;
use crate::store::{Done, Mark};

/// An event that waits to leave the store, or many of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(super) number: u64,
    /// For which of its topics.
    pub(super) part: u8,
    /// Where it goes to.
    pub(super) topic: String,
    /// The shards in which it is to be told, a bit each.
    pub(super) shards: u64,
    /// Its key, as a hash; none: many keys, each for the first time.
    pub(super) key: Option<u64>,
}

impl Row {
    /// Whether one must be answered before the other is sent.
    fn is_before(&self, other: &Self) -> bool {
        self.topic == other.topic
            && match (self.key, other.key) {
                (Some(key), Some(other)) => key == other,
                (None, None) => false,
                _ => self.shards & other.shards != 0,
            }
    }
}

/// Some of the events behind a mark.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Page {
    pub(super) rows: Vec<Row>,
    /// These tell of nothing, or nothing any more.
    pub(super) spent: Vec<Done>,
    /// Behind the last event that was looked at.
    pub(super) until: Mark,
    pub(super) is_last: bool,
    /// Whether some were left out until what comes before them is gone.
    pub(super) is_held: bool,
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

/// Which shards are ours, and how long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Leased {
    /// A bit each.
    pub(super) shards: u64,
    /// Those among them that nobody else had since the lease before.
    pub(super) kept: u64,
    /// From this moment on it is to be renewed, before anything is sent.
    pub(super) renew_at: u64,
}

/// What is learned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Event {
    /// The relay begins, or something new is in the outbox.
    News,
    /// The lease as it is now.
    Leased(Leased),
    /// What was read.
    Page(Page),
    /// The producer took it.
    Accepted(u64, u8),
    /// All in-sync replicas have it.
    Written(u64, u8),
    /// It was not written.
    Unwritten(u64, u8, Fault),
    /// What was let go is gone, but for what was in these shards: others have them.
    Gone(u64),
    /// The store did not answer, or did not let go.
    Failed(Fault),
    /// The wait is over.
    Due,
    /// Nothing new will come.
    Stopped,
}

/// An event, with the moment in milliseconds since the relay began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Seen {
    pub(super) at: u64,
    pub(super) event: Event,
}

/// What is to be done. Only one of them is under way at a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Effect {
    /// Renew the lease; `true`: take what is free and give back what is too much.
    Lease(bool),
    /// Read the events of these shards behind a mark.
    Read(Mark, u64),
    /// Have the producer take these events of a row: for one topic, in these shards.
    Publish(u64, u8, u64),
    /// Wait for the receipts of those that it took.
    Await,
    /// Let these go.
    LetGo(Vec<Done>),
    /// So many rows stay after this round.
    Stay(u64),
    /// Wait before the next round: so many in a row failed before this one.
    Wait(u32),
    /// Wait for news, or for the end.
    Rest,
    /// Nothing is left to be done.
    End,
}

/// What follows on a lease.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Then {
    #[default]
    Read,
    Publish,
}

/// The machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Rounds {
    lease: Leased,
    then: Then,
    /// How many rounds in a row left something.
    failures: u32,
    round: Round,
    page: Page,
    /// How many of the page's rows were tried.
    tried: usize,
    /// Places in the page of those that were accepted, and not answered yet.
    awaited: Vec<usize>,
    /// These are to be let go.
    gone: Vec<Done>,
}

/// What one round has come to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Round {
    stay: u64,
    /// These take nothing now.
    topics: Vec<String>,
    /// These failed alone: what comes behind them waits.
    failed: Vec<Row>,
}

impl Round {
    fn refuses(&self, row: &Row) -> bool {
        self.topics.contains(&row.topic) || self.failed.iter().any(|failed| failed.is_before(row))
    }

    fn leave(&mut self) {
        self.stay = self.stay.saturating_add(1);
    }
}

impl Rounds {
    fn take(&mut self, at: u64, event: Event) -> Vec<Effect> {
        match event {
            Event::News | Event::Due => {
                self.round = Round::default();
                self.begin(at)
            }
            Event::Leased(lease) => self.leased(at, lease),
            Event::Page(page) => {
                self.gone.clone_from(&page.spent);
                (self.page, self.tried) = (page, 0);
                self.publish(at)
            }
            Event::Accepted(number, part) => {
                self.awaited.extend(self.place(number, part));
                self.publish(at)
            }
            Event::Written(number, part) => {
                let shards = self.row(number, part).map_or(0, |row| row.shards);
                self.gone.push(Done { number, part, shards });
                self.answered(at, number, part)
            }
            Event::Unwritten(number, part, fault) => {
                self.unwritten(number, part, fault);
                let was_accepted = self.place(number, part).is_some_and(|place| self.awaited.contains(&place));
                if was_accepted { self.answered(at, number, part) } else { self.publish(at) }
            }
            Event::Gone(lost) => {
                self.lose(lost);
                self.turn(at)
            }
            Event::Failed(Fault::Closed) | Event::Stopped => vec![Effect::End],
            Event::Failed(_) => self.wait(),
        }
    }

    fn begin(&mut self, at: u64) -> Vec<Effect> {
        if at >= self.lease.renew_at {
            self.then = Then::Read;
            return vec![Effect::Lease(true)];
        }
        vec![Effect::Read(Mark::default(), self.lease.shards)]
    }

    fn leased(&mut self, at: u64, lease: Leased) -> Vec<Effect> {
        self.lease = lease;
        match self.then {
            Then::Read if lease.shards == 0 => self.rest(),
            Then::Read => vec![Effect::Read(Mark::default(), lease.shards)],
            Then::Publish => {
                // What another had meanwhile was perhaps told by it, and is read again with the next round.
                let lost = !(lease.shards & lease.kept);
                self.page.rows.iter_mut().skip(self.tried).for_each(|row| row.shards &= !lost);
                self.publish(at)
            }
        }
    }

    /// Others have these shards: the lease is asked for before anything else is sent.
    fn lose(&mut self, lost: u64) {
        if lost != 0 {
            self.lease.shards &= !lost;
            self.lease.renew_at = 0;
        }
    }

    fn place(&self, number: u64, part: u8) -> Option<usize> {
        self.page.rows.iter().position(|row| (row.number, row.part) == (number, part))
    }

    fn row(&self, number: u64, part: u8) -> Option<&Row> {
        self.page.rows.iter().find(|row| (row.number, row.part) == (number, part))
    }

    fn unwritten(&mut self, number: u64, part: u8, fault: Fault) {
        self.round.leave();
        let Some(row) = self.row(number, part).cloned() else { return };
        // Nobody can wait for one of many keys alone.
        if fault == Fault::Record && row.key.is_some() {
            self.round.failed.push(row);
        } else if !self.round.topics.contains(&row.topic) {
            self.round.topics.push(row.topic);
        }
    }

    /// Publishes the next row that may be; after the last one the receipts are waited for.
    fn publish(&mut self, at: u64) -> Vec<Effect> {
        while let Some(row) = self.page.rows.get(self.tried) {
            if row.shards == 0 {
                self.tried += 1;
                continue;
            }
            if self.round.refuses(row) {
                self.tried += 1;
                self.round.leave();
                continue;
            }
            let awaited = |place: &usize| self.page.rows.get(*place).is_some_and(|before| before.is_before(row));
            if self.awaited.iter().any(awaited) {
                return vec![Effect::Await];
            }
            if at >= self.lease.renew_at {
                self.then = Then::Publish;
                return vec![Effect::Lease(false)];
            }
            self.tried += 1;
            return vec![Effect::Publish(row.number, row.part, row.shards)];
        }
        if self.awaited.is_empty() { self.let_go(at) } else { vec![Effect::Await] }
    }

    fn answered(&mut self, at: u64, number: u64, part: u8) -> Vec<Effect> {
        let place = self.place(number, part);
        self.awaited.retain(|awaited| Some(*awaited) != place);
        if self.awaited.is_empty() { self.publish(at) } else { Vec::new() }
    }

    fn let_go(&mut self, at: u64) -> Vec<Effect> {
        let gone = std::mem::take(&mut self.gone);
        if gone.is_empty() { self.turn(at) } else { vec![Effect::LetGo(gone)] }
    }

    /// The page is dealt with.
    fn turn(&mut self, at: u64) -> Vec<Effect> {
        let Page { until, is_last, is_held, .. } = std::mem::take(&mut self.page);
        if !is_last {
            return vec![Effect::Read(until, self.lease.shards)];
        }
        if self.round.stay > 0 {
            return std::iter::once(Effect::Stay(self.round.stay)).chain(self.wait()).collect();
        }
        // What came before them is gone now.
        if is_held { self.begin(at) } else { self.rest() }
    }

    fn rest(&mut self) -> Vec<Effect> {
        self.failures = 0;
        vec![Effect::Stay(0), Effect::Rest]
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
    const FORM: u16 = 2;
    type Event = Seen;
    type Effects = Vec<Effect>;

    fn step(&mut self, Seen { at, event }: Seen) -> Vec<Effect> {
        self.take(at, event)
    }

    /// A record that simply goes through has no line.
    fn is_remarkable(&self, seen: &Seen) -> bool {
        !matches!(seen.event, Event::Accepted(..) | Event::Written(..))
    }
}

#[cfg(test)]
mod tests;
