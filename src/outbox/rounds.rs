//! Which events of an outbox are published, let go, or tried again: a pure machine.
//!
//! It goes through the outbox round by round, page by page, and tries every event once a round, so that one that cannot be
//! written holds up no other. A page is read while what the pages before it told is under way; some pages make a hand, whose
//! receipts are waited for together and whose rows are let go in one transaction. An event is let go only when its
//! publication is acknowledged, so it is told at least once. As orders wait for each such transaction, the next one is some
//! time later: what is new until then is told at once, and comes into the same hand.
//! After an event that could not be written for its topic's sake, a round tries no other of that topic, and after one that
//! failed alone none of its key: so the events of a key are first sent in their order.
//!
//! ```text
//!  News, Due --> Lease --> Read --Page--> Publish, one after the other --> Await --> LetGo --+
//!    ^           (when due) ^ ^              |  (Lease, when due)  (the hand is full, or      |
//!    |                      | +--- another --+                      lingered for news)        |
//!    |                      +--------------- the next hand ----------------------------------+
//!    |              +---- Due <-- Wait <-- something stays, or the store failed -------------+
//!    +-- Rest <------------------------------- all is gone ----------------------------------+
//! ```
//! A row is known by its number. It stands for events of one key, or of many keys in the shards that it names. Only shards
//! that are leased are told of, and nothing is published once the lease is due to be renewed: a process that was stopped
//! meanwhile asks first, and learns what others have taken over. What it sent before is acknowledged under the tokens that
//! it had when it read the hand's first page, which the store compares.

mod page;

use serde::{Deserialize, Serialize};

use self::page::Round;
pub(super) use self::page::{Hand, Page, Row};

use crate::flight::Machine;
use crate::store::{Done, Mark};

/// Rows are let go again once so many times the time has passed that it took, but no more milliseconds than these.
const BREATH: u64 = 4;
const BREATH_MAX: u64 = 200;

/// With so many rows a hand takes no further page: what waits is looked through for each row.
const HAND_ROWS: usize = 1_024;

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
    Read(Mark, u64, Hand),
    /// Have the producer take these events of a row: for one topic, in these shards.
    Publish(u64, u8, u64),
    /// Wait for the receipts of those that it took.
    Await,
    /// Wait for news, or until this moment.
    Linger(u64),
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
    /// With so many bytes a hand takes no further page.
    most: u64,
    hand: Page,
    /// How many of the hand's rows were tried.
    tried: usize,
    /// Places in the hand of those that were accepted, and not answered yet.
    awaited: Vec<usize>,
    /// These are to be let go.
    gone: Vec<Done>,
    /// Since when rows are let go; then, until when no others are.
    letting_go: u64,
    breath_until: u64,
    /// Whether the hand waits for news, and whether it has waited enough.
    lingers: bool,
    is_closed: bool,
}

impl Rounds {
    /// Rounds in hands of about so many bytes (`outbox.hand.bytes`).
    pub(super) fn of(most: u64) -> Self {
        Self { most, ..Self::default() }
    }

    fn take(&mut self, at: u64, event: Event) -> Vec<Effect> {
        match event {
            Event::News if std::mem::take(&mut self.lingers) => {
                self.hand.is_last = false;
                self.publish(at)
            }
            Event::Due | Event::Stopped if std::mem::take(&mut self.lingers) => {
                self.is_closed = true;
                self.publish(at)
            }
            Event::News | Event::Due => {
                self.round = Round::default();
                self.begin(at)
            }
            Event::Leased(lease) => self.leased(at, lease),
            Event::Page(page) => {
                self.gone.extend(&page.spent);
                self.hand.extend(page);
                self.publish(at)
            }
            Event::Accepted(number, part) => {
                self.awaited.extend(self.place(number, part));
                self.publish(at)
            }
            Event::Written(number, part) => {
                let place = self.place(number, part);
                let shards = place.and_then(|place| self.hand.rows.get(place)).map_or(0, |row| row.shards);
                self.gone.push(Done { number, part, shards });
                self.answered(at, place)
            }
            Event::Unwritten(number, part, fault) => {
                let place = self.place(number, part);
                self.unwritten(place, fault);
                let was_accepted = place.is_some_and(|place| self.awaited.contains(&place));
                if was_accepted { self.answered(at, place) } else { self.publish(at) }
            }
            Event::Gone(lost) => {
                let took = at.saturating_sub(self.letting_go);
                self.breath_until = at.saturating_add(took.saturating_mul(BREATH).min(BREATH_MAX));
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
        vec![Effect::Read(Mark::default(), self.lease.shards, Hand::New)]
    }

    fn leased(&mut self, at: u64, lease: Leased) -> Vec<Effect> {
        self.lease = lease;
        match self.then {
            Then::Read if lease.shards == 0 => self.rest(),
            Then::Read => vec![Effect::Read(Mark::default(), lease.shards, Hand::New)],
            Then::Publish => {
                // What another had meanwhile was perhaps told by it, and is read again with the next round.
                let lost = !(lease.shards & lease.kept);
                self.hand.rows.iter_mut().skip(self.tried).for_each(|row| row.shards &= !lost);
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

    /// Where a row is that was tried: most answers are about the last one, or about the first that is awaited.
    fn place(&self, number: u64, part: u8) -> Option<usize> {
        let is_it =
            |place: &usize| self.hand.rows.get(*place).is_some_and(|row| (row.number, row.part) == (number, part));
        let last = self.tried.checked_sub(1);
        last.into_iter().chain(self.awaited.iter().copied()).find(is_it)
    }

    fn unwritten(&mut self, place: Option<usize>, fault: Fault) {
        self.round.leave();
        let Some(row) = place.and_then(|place| self.hand.rows.get(place)).cloned() else { return };
        // Nobody can wait for one of many keys alone.
        if fault == Fault::Record && row.key.is_some() {
            self.round.failed.push(row);
        } else if !self.round.topics.contains(&row.topic) {
            self.round.topics.push(row.topic);
        }
    }

    /// Publishes the next row that may be; after the last one of a full hand the receipts are waited for.
    fn publish(&mut self, at: u64) -> Vec<Effect> {
        while let Some(row) = self.hand.rows.get(self.tried) {
            if row.shards == 0 {
                self.tried += 1;
                continue;
            }
            if self.round.refuses(row) {
                self.tried += 1;
                self.round.leave();
                continue;
            }
            let awaited = |place: &usize| self.hand.rows.get(*place).is_some_and(|before| before.is_before(row));
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
        let has_room = self.hand.rows.len() < HAND_ROWS && self.hand.bytes < self.most;
        if has_room && !self.hand.is_last {
            return vec![Effect::Read(self.hand.until, self.lease.shards, Hand::More)];
        }
        let has_time = at < self.breath_until && !self.is_closed;
        if has_room && has_time && !(self.awaited.is_empty() && self.gone.is_empty()) {
            self.lingers = true;
            return vec![Effect::Linger(self.breath_until)];
        }
        self.is_closed = true;
        if self.awaited.is_empty() { self.let_go(at) } else { vec![Effect::Await] }
    }

    fn answered(&mut self, at: u64, place: Option<usize>) -> Vec<Effect> {
        if let Some(answered) = self.awaited.iter().position(|awaited| Some(*awaited) == place) {
            self.awaited.remove(answered);
        }
        if self.awaited.is_empty() { self.publish(at) } else { Vec::new() }
    }

    fn let_go(&mut self, at: u64) -> Vec<Effect> {
        let gone = std::mem::take(&mut self.gone);
        self.letting_go = at;
        if gone.is_empty() { self.turn(at) } else { vec![Effect::LetGo(gone)] }
    }

    /// The hand is dealt with.
    fn turn(&mut self, at: u64) -> Vec<Effect> {
        let Page { until, is_last, is_held, .. } = std::mem::take(&mut self.hand);
        (self.tried, self.is_closed) = (0, false);
        self.round.is_held |= is_held;
        if !is_last {
            return vec![Effect::Read(until, self.lease.shards, Hand::New)];
        }
        if self.round.stay > 0 {
            return std::iter::once(Effect::Stay(self.round.stay)).chain(self.wait()).collect();
        }
        // What came before them is gone now.
        if std::mem::take(&mut self.round.is_held) { self.begin(at) } else { self.rest() }
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
        (self.hand, self.tried, self.is_closed) = (Page::default(), 0, false);
        vec![Effect::Wait(before)]
    }
}

impl Machine for Rounds {
    const KIND: &'static str = "outbox";
    const FORM: u16 = 3;
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
