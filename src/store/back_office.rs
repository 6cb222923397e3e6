//! What a store offers beside its transactions: events that wait to leave it, operations on what it set aside.
//!
//! ```text
//!  transaction --row--> outbox --waiting()--> relay --acknowledged--> published(): the rows go
//! ```
//! An event stays until its publication is acknowledged, so it is told at least once, under the same name each time.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::{
    Backlog, DeadLetterKind, Done, EventId, FlightRow, Leases, Mark, Moves, Original, Replays, Row, Status, SteeredRow,
    Text, Waiting,
};
use crate::{Error, ErrorCode, Result};

/// The way to a store's events, for whoever relays them.
pub trait BackOffice: Send + Sync {
    /// Which shards this relay may tell of, from now on for at least `within`; with `balance` it takes what is free, as far
    /// as it is its share, and gives back what is more. The default is a store that serves one process: all, for ever.
    ///
    /// # Errors
    /// As [`BackOffice::waiting`].
    ///
    /// # Cancel safety
    /// The lease may be renewed all the same.
    fn lease(&self, relay: u128, within: Duration, balance: bool) -> BoxFuture<'_, Result<Leases>> {
        let _ = (relay, within, balance);
        std::future::ready(Ok(Leases::all())).boxed()
    }

    /// Gives back all shards of a relay.
    ///
    /// # Errors
    /// As [`BackOffice::waiting`].
    ///
    /// # Cancel safety
    /// They may be given back all the same; otherwise they are free when the lease ends.
    fn leave(&self, relay: u128) -> BoxFuture<'_, Result<()>> {
        let _ = relay;
        std::future::ready(Ok(())).boxed()
    }

    /// Some of the events of these shards behind `after`, in their order. A page may be empty and not be the last.
    ///
    /// # Errors
    /// [`crate::ErrorCode::StoreIo`], [`crate::ErrorCode::StoreCorrupt`], [`crate::ErrorCode::Closed`].
    ///
    /// # Cancel safety
    /// Nothing changes.
    fn waiting(&self, after: Mark, shards: u64) -> BoxFuture<'_, Result<Waiting>>;

    /// Lets these events go, in one durable transaction, in the shards whose token is still that of `leases`. Returns the
    /// other shards, in which nothing has changed: somebody else tells of them.
    ///
    /// # Errors
    /// As [`BackOffice::waiting`]; the events may be gone all the same.
    ///
    /// # Cancel safety
    /// The events may be gone all the same.
    fn published(&self, events: Vec<Done>, leases: Leases) -> BoxFuture<'_, Result<u64>>;

    /// How many events wait, and since when.
    ///
    /// # Errors
    /// As [`BackOffice::waiting`].
    ///
    /// # Cancel safety
    /// Nothing changes.
    fn backlog(&self) -> BoxFuture<'_, Result<Backlog>>;

    /// Changes whenever there is a new event: the number of the last one.
    fn news(&self) -> watch::Receiver<u64>;

    /// Does what an operator asks for. The rows say what was done.
    ///
    /// # Errors
    /// [`crate::ErrorCode::Closed`]: there is no consumer to be paused. [`crate::ErrorCode::StoreIo`],
    /// [`crate::ErrorCode::StoreCorrupt`].
    ///
    /// # Cancel safety
    /// It may be done all the same.
    fn operate(&self, operation: Operation) -> BoxFuture<'_, Result<Vec<Row>>>;

    /// Names the consumer that operators steer, for as long as it is there.
    fn obey(&self, steering: Weak<dyn Steering>);

    /// The way to move the store's deliveries. `None`, which is the default: it has none.
    fn moves(&self) -> Option<Arc<dyn Moves>> {
        None
    }

    /// The way to replays that a handler is asked about first. `None`, which is the default: the store applies replays by itself.
    fn replays(&self) -> Option<Arc<dyn Replays>> {
        None
    }

    /// The store's file, beside which files about its consumer belong. `None`, which is the default: it has none.
    fn path(&self) -> Option<PathBuf> {
        None
    }
}

/// A record that was refused or set aside, with all that is told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetAside {
    /// Its name, the same in each copy of the event.
    pub id: EventId,
    /// How often it has changed: a late repeat is older than what the receiver knows.
    pub version: u32,
    /// Refused or set aside.
    pub kind: DeadLetterKind,
    /// The stable code of the cause.
    pub code: String,
    /// A sentence for people.
    pub reason: String,
    /// Where the first copy stood; `None` for a backfilled order.
    pub origin: Option<Origin>,
    /// The first copy's timestamp, in milliseconds since 1970.
    pub timestamp: i64,
    /// How often it was tried, copies included.
    pub attempts: u32,
    /// When it failed first, in milliseconds since 1970.
    pub first_failed: i64,
    /// When it failed last, in milliseconds since 1970.
    pub last_failed: i64,
    /// The record as it was read.
    pub original: Original,
}

/// A place in a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
}

/// What an operator asks of a store, or of the consumer that holds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// Tries these dead letters and refusals again, each through validator, effect and identity. No position changes. Where
    /// the store's consumer [asks a handler first](Replays), they are marked as requested, and the consumer tries them.
    Replay {
        /// At most [`Operation::MOST`].
        ids: Vec<EventId>,
        /// Whether it counts.
        rehearsal: Rehearsal,
    },
    /// Tries one again with a mended value, under its own identity.
    Fix {
        /// Its name.
        id: EventId,
        /// The value that takes the place of the record's.
        value: Text,
    },
    /// Closes one for good.
    Discard {
        /// Its name.
        id: EventId,
        /// Why.
        reason: String,
    },
    /// Moves a delivery now. A move that cannot be is refused and changes nothing; no line of the log is behind it.
    Move {
        /// The delivery's name.
        delivery: EventId,
        /// Where to.
        to: Status,
        /// Why, at most 1,000 bytes.
        reason: Option<String>,
    },
    /// Has the consumer that holds the store pause a topic, or one partition of it.
    Pause {
        /// The topic.
        topic: String,
        /// The partition; `None`: all.
        partition: Option<i32>,
    },
    /// Has it go on, also where so many records failed that it stopped.
    Resume {
        /// The topic.
        topic: String,
        /// The partition; `None`: all.
        partition: Option<i32>,
    },
    /// Has the consumer that holds the store write what its machines saw and did ([`crate::flight`]).
    Flight {
        /// The file, which does not exist yet; `None`: one beside the store.
        to: Option<PathBuf>,
    },
    /// Writes a copy of the store, as it is committed now, to a file that does not exist yet.
    Backup {
        /// The file.
        to: PathBuf,
    },
}

impl Operation {
    /// How many dead letters one operation replays at most: they share a transaction.
    pub const MOST: usize = 256;
}

/// Whether a replay counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rehearsal {
    /// Nothing is changed.
    Plan,
    /// What is applied is applied.
    Real,
}

/// What steers the consumer that holds a store.
pub trait Steering: Send + Sync {
    /// Pauses a topic or one partition.
    ///
    /// # Errors
    /// [`crate::ErrorCode::UnknownTopic`]: the consumer reads another topic.
    fn pause(&self, topic: &str, partition: Option<i32>) -> Result<()>;

    /// Lets it go on. Returns what still holds it, with what ends that.
    ///
    /// # Errors
    /// As [`Steering::pause`].
    fn resume(&self, topic: &str, partition: Option<i32>) -> Result<Option<String>>;

    /// Writes what its machines saw and did to a file. It waits for the disk.
    ///
    /// # Errors
    /// [`crate::ErrorCode::ConfigUnsupported`]: nothing is recorded. [`crate::ErrorCode::Input`]: the file cannot be written.
    fn write_flight(&self, to: Option<&Path>) -> Result<FlightRow>;
}

impl dyn Steering {
    /// [`Operation::Pause`], as a store answers it.
    pub(crate) fn answer_pause(&self, topic: String, partition: Option<i32>) -> Result<Vec<Row>> {
        self.pause(&topic, partition)?;
        Ok(vec![Row::Steered(SteeredRow { topic, partition, paused: true, reason: None })])
    }

    /// [`Operation::Resume`], as a store answers it.
    pub(crate) fn answer_resume(&self, topic: String, partition: Option<i32>) -> Result<Vec<Row>> {
        let reason = self.resume(&topic, partition)?;
        Ok(vec![Row::Steered(SteeredRow { topic, partition, paused: reason.is_some(), reason })])
    }

    /// [`Operation::Flight`], as a store answers it: where it may block.
    pub(crate) async fn answer_flight(self: Arc<Self>, to: Option<PathBuf>) -> Result<Vec<Row>> {
        let written = tokio::task::spawn_blocking(move || self.write_flight(to.as_deref())).await;
        let lost = |error| Error::new(ErrorCode::Internal, "a recording was not written").caused_by(error);
        Ok(vec![Row::Flight(written.map_err(lost)??)])
    }
}
