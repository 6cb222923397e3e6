//! The handle that watches or steers a consumer while it runs.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use litemap::LiteMap;
use serde::Serialize;
use tokio::sync::watch;

use super::Summary;
use super::retry_topic::Counts;
use super::standstill::About;
use crate::Result;
use crate::flight::{Files, Written};
use crate::store::Backlog;

/// A handle on a consumer: cheap to clone, and still good after the run has ended.
#[derive(Clone)]
pub struct Control {
    shared: Arc<Shared>,
}

struct Shared {
    wishes: watch::Sender<Wishes>,
    flights: Files,
    state: Mutex<State>,
}

/// What the consumer is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    Run,
    Pause,
    Drain,
}

/// All that the consumer is asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wishes {
    pub(crate) wish: Wish,
    /// These partitions are paused.
    pub(crate) held: Vec<i32>,
    /// How often somebody had open breakers overridden.
    overrides: u64,
}

#[derive(Default)]
struct State {
    reasons: LiteMap<Concern, String>,
    lag: LiteMap<i32, Lag>,
    summary: Summary,
    /// The partitions whose breaker is to be overridden; `None`: all.
    overridden: Vec<Option<i32>>,
    /// The consumer of the topic that is read beside this one's, if there is one.
    beside: Option<Beside>,
    /// What such consumers settled that have ended.
    before: Summary,
    /// What the store's outbox holds.
    outbox: Backlog,
    /// How many events were relayed, by topic.
    relayed: Vec<(String, u64)>,
}

/// A consumer that reads another topic beside.
#[derive(Clone)]
struct Beside {
    topic: Arc<str>,
    control: Control,
    counts: Counts,
}

/// What a reason for not being ready is about; each has at most one reason at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Concern {
    Running,
    Topic,
    RetryTopic,
    Claim,
    Membership,
    Coordinator,
    Handler,
    Broker(i32),
    Partition(i32),
    Breaker(i32),
    Store,
    Outbox,
    Replays,
    Commit,
    Paused,
    Standstill(About),
}

/// What is recorded of health. The reason is not: it may have a handler's own words in it.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Noted {
    Concern(String),
    Relief(String),
}

/// Whether a consumer does its work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    reasons: Vec<String>,
}

impl Health {
    /// Whether nothing keeps the consumer from its work.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.reasons.is_empty()
    }

    /// Why it is not ready, a sentence each.
    #[must_use]
    pub fn reasons(&self) -> &[String] {
        &self.reasons
    }
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_ready() { f.write_str("ready") } else { f.write_str(&self.reasons.join("; ")) }
    }
}

/// How far a consumer is behind in one partition, as the last fetch answer told.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Lag {
    /// The partition's number.
    pub partition: i32,
    /// The next offset to be settled.
    pub position: i64,
    /// The offset behind the last record that can be read; `None` until the first answer.
    pub end: Option<i64>,
    /// The timestamp of the last settled record, in milliseconds since 1970; `None` before the first.
    pub settled_until: Option<i64>,
    /// Seconds between the last settled record and now; 0 at the end, `None` while unknown.
    pub seconds: Option<f64>,
}

impl Lag {
    /// How many offsets are not settled yet; `None` while the end is unknown.
    #[must_use]
    pub fn records(&self) -> Option<u64> {
        self.end.map(|end| u64::try_from(end.saturating_sub(self.position)).unwrap_or(0))
    }

    fn at(mut self, now: i64) -> Self {
        self.seconds = match (self.records(), self.settled_until) {
            (Some(0), _) => Some(0.0),
            (Some(_), Some(then)) => Some(now.saturating_sub(then).max(0) as f64 / 1000.0),
            _ => None,
        };
        self
    }
}

impl Control {
    pub(crate) fn new(flights: Files) -> Self {
        let (wishes, _) = watch::channel(Wishes { wish: Wish::Run, held: Vec::new(), overrides: 0 });
        let control = Self { shared: Arc::new(Shared { wishes, flights, state: Mutex::default() }) };
        control.concern(Concern::Running, "the consumer is not running yet");
        control
    }

    /// Writes what the consumer's machines saw and did in the last minutes to a new file: this one, or one beside its
    /// store or in `flight.dir`. [`crate::flight`] says what is in it. It waits for the disk.
    ///
    /// # Errors
    /// [`ErrorCode::ConfigUnsupported`](crate::ErrorCode::ConfigUnsupported) if nothing is recorded (`flight.max.bytes`)
    /// or nobody said where to; [`ErrorCode::Input`](crate::ErrorCode::Input) if the file exists or cannot be written.
    pub fn write_flight(&self, to: Option<&Path>) -> Result<Written> {
        self.flights().asked(to)
    }

    /// As [`Control::write_flight`], beside its store or in `flight.dir`: the file says that a signal asked for it.
    ///
    /// # Errors
    /// As [`Control::write_flight`].
    pub fn write_flight_at_signal(&self) -> Result<Written> {
        self.flights().at_signal()
    }

    pub(crate) fn flights(&self) -> &Files {
        &self.shared.flights
    }

    /// Whether the consumer does its work, and if not, why.
    #[must_use]
    pub fn health(&self) -> Health {
        let (mut reasons, beside) = {
            let state = self.state();
            (state.reasons.values().cloned().collect::<Vec<_>>(), state.beside.clone())
        };
        if let Some(Beside { topic, control, .. }) = beside {
            reasons.extend(control.health().reasons.iter().map(|reason| format!("{topic}: {reason}")));
        }
        Health { reasons }
    }

    /// How far it is behind in each of its topic's partitions, in their order; `orders status` tells of its retry topic's.
    #[must_use]
    pub fn lag(&self) -> Vec<Lag> {
        let now = chrono::Utc::now().timestamp_millis();
        self.state().lag.values().map(|lag| lag.at(now)).collect()
    }

    /// What was settled so far, of its retry topic, too.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let (summary, beside) = {
            let state = self.state();
            (state.summary.and(state.before), state.beside.clone())
        };
        let together = beside.filter(|beside| beside.counts == Counts::Together);
        together.map_or(summary, |beside| summary.and(beside.control.summary()))
    }

    /// The consumer of the topic that is read beside, which does from now on what this one does.
    pub(crate) fn stand_beside(&self, topic: Arc<str>, control: Control, counts: Counts) {
        match self.wishes().borrow().wish {
            Wish::Run => {}
            Wish::Pause => control.pause(),
            Wish::Drain => control.drain(),
        }
        let mut state = self.state();
        let ended = state.beside.replace(Beside { topic, control, counts });
        if let Some(ended) = ended.filter(|ended| ended.counts == Counts::Together) {
            state.before = state.before.and(ended.control.summary());
        }
    }

    fn beside(&self) -> Option<Control> {
        self.state().beside.as_ref().map(|beside| beside.control.clone())
    }

    /// The consumer that reads this topic beside.
    pub(crate) fn reading(&self, topic: &str) -> Option<Control> {
        self.state().beside.as_ref().filter(|beside| *beside.topic == *topic).map(|beside| beside.control.clone())
    }

    /// Stops handing out orders until [`Control::resume`]. What is in hand is finished. Health says so meanwhile.
    pub fn pause(&self) {
        self.ask(Wish::Pause);
        self.beside().iter().for_each(Self::pause);
    }

    /// Goes on after [`Control::pause`], in every partition. Where so many records could not be applied that a partition
    /// stopped, they are set aside from now on.
    pub fn resume(&self) {
        self.ask(Wish::Run);
        self.go_on(None);
        self.beside().iter().for_each(Self::resume);
    }

    /// Stops handing out orders of one partition until [`Control::resume_partition`] or [`Control::resume`].
    pub fn pause_partition(&self, partition: i32) {
        self.shared.wishes.send_if_modified(|wishes| {
            let is_new = !wishes.held.contains(&partition);
            if is_new {
                wishes.held.push(partition);
            }
            is_new
        });
    }

    /// Goes on in one partition, as [`Control::resume`] does in all.
    pub fn resume_partition(&self, partition: i32) {
        self.go_on(Some(partition));
    }

    fn go_on(&self, partition: Option<i32>) {
        {
            let mut state = self.state();
            if !state.overridden.contains(&partition) {
                state.overridden.push(partition);
            }
        }
        self.shared.wishes.send_modify(|wishes| {
            wishes.held.retain(|held| partition.is_some_and(|partition| partition != *held));
            wishes.overrides = wishes.overrides.wrapping_add(1);
        });
    }

    /// The partitions whose breaker is to be overridden; `None`: all.
    pub(crate) fn take_overridden(&self) -> Vec<Option<i32>> {
        std::mem::take(&mut self.state().overridden)
    }

    /// Reads nothing more, settles what was read, commits, and ends the run. It cannot be taken back.
    pub fn drain(&self) {
        self.ask(Wish::Drain);
        self.beside().iter().for_each(Self::drain);
    }

    fn ask(&self, wish: Wish) {
        self.shared.wishes.send_if_modified(|wishes| {
            let changes = wishes.wish != Wish::Drain && wishes.wish != wish;
            if changes {
                wishes.wish = wish;
            }
            changes
        });
    }

    pub(crate) fn wishes(&self) -> watch::Receiver<Wishes> {
        self.shared.wishes.subscribe()
    }

    /// What waits in the store's outbox, and since when, as measured every 2 seconds while there is something.
    #[must_use]
    pub fn outbox(&self) -> Backlog {
        self.state().outbox
    }

    /// How many events of the store's outbox this run has relayed to each topic, each counted as often as it was written.
    #[must_use]
    pub fn relayed(&self) -> Vec<(String, u64)> {
        self.state().relayed.clone()
    }

    pub(crate) fn note_relayed(&self, topic: &str, events: u64) {
        let mut state = self.state();
        match state.relayed.iter_mut().find(|(known, _)| known == topic) {
            Some((_, before)) => *before = before.saturating_add(events),
            None => state.relayed.push((topic.to_owned(), events)),
        }
    }

    pub(crate) fn note_outbox(&self, backlog: Backlog) {
        self.state().outbox = backlog;
    }

    pub(crate) fn concern(&self, about: Concern, reason: impl Into<String>) {
        let is_new = self.state().reasons.insert(about, reason.into()).is_none();
        if is_new {
            self.flights().recorder().note(&Noted::Concern(format!("{about:?}")));
        }
    }

    /// Takes a reason back.
    pub(crate) fn relieve(&self, about: Concern) {
        let was_there = self.state().reasons.remove(&about).is_some();
        if was_there {
            self.flights().recorder().note(&Noted::Relief(format!("{about:?}")));
        }
    }

    /// Whether there is a reason of this kind.
    pub(crate) fn has(&self, about: Concern) -> bool {
        self.state().reasons.contains_key(&about)
    }

    /// The positions of the partitions that are not at their end.
    pub(crate) fn behind(&self) -> Vec<(i32, i64)> {
        let state = self.state();
        let behind = state.lag.values().filter(|lag| lag.end.is_some_and(|end| end > lag.position));
        behind.map(|lag| (lag.partition, lag.position)).collect()
    }

    pub(crate) fn set_summary(&self, summary: Summary) {
        self.state().summary = summary;
    }

    /// A partition is ours from here on.
    pub(crate) fn show_partition(&self, partition: i32, position: i64) {
        self.state().lag.insert(partition, Lag { partition, position, ..Lag::default() });
    }

    /// Takes over how far a partition is. One that was forgotten stays so: orders of it may still be in hand.
    pub(crate) fn set_lag(&self, lag: Lag) {
        if let Some(shown) = self.state().lag.get_mut(&lag.partition) {
            *shown = lag;
        }
    }

    pub(crate) fn forget_partition(&self, partition: i32) {
        let mut state = self.state();
        state.lag.remove(&partition);
        state.reasons.remove(&Concern::Partition(partition));
        state.reasons.remove(&Concern::Breaker(partition));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control").field("health", &self.health()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
