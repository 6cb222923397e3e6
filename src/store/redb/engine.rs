//! The thread that writes a store.
//!
//! redb's calls block, so they run on one thread behind a bounded channel; a full channel makes the
//! callers wait. The thread ends when it is told to or when the last handle is gone.
//!
//! ```text
//!  RedbStore --Command--> [32] --> Engine: begin, settle, commit (synced) --> answer
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use redb::{Database, Durability};
use tokio::sync::{mpsc, oneshot, watch};

use super::effect::{Effect, table_of};
use super::fault::{closed, fault, no_room};
use super::format::prepare;
use super::memory::Memory;
use super::replay::{Request, as_they_are};
use super::settings::RedbSettings;
use super::shared::Shared;
use super::tables::Tables;
use super::transaction::Settling;
use crate::error::told;
use crate::order::{DeliveryUpdate, Order};
use crate::store::{Applied, Batch, Done, Move, Operation, Position, Rehearsal, ReplayRow, Reply, Row, Start, Topic};
use crate::{Error, ErrorCode, Result};

/// How many calls may wait for the thread; then callers wait.
pub(super) const WAITING: usize = 32;

/// Why a rehearsed transaction is given up.
const REHEARSED: &str = "the transaction was only rehearsed";

/// A call, with where its answer goes.
pub(super) enum Command<O> {
    Positions(Topic, oneshot::Sender<Result<BTreeMap<i32, Position>>>),
    Apply(Batch<O>, oneshot::Sender<Result<Applied>>),
    Start(Topic, Start, oneshot::Sender<Result<Position>>),
    Published(Vec<Done>, oneshot::Sender<Result<()>>),
    /// An operation, and whether the consumer runs in this process.
    Operate(Operation, bool, oneshot::Sender<Result<Vec<Row>>>),
    Handled(bool, oneshot::Sender<Result<()>>),
    Reply(Reply, oneshot::Sender<Result<ReplayRow>>),
    Move(Batch<DeliveryUpdate>, oneshot::Sender<Result<Applied>>),
    Close(oneshot::Sender<Result<()>>),
}

/// What the thread owns.
pub(super) struct Engine<E: Effect> {
    shared: Arc<Shared>,
    memory: Memory<E>,
    settings: RedbSettings,
    policy: E::Policy,
    /// Tells of new events.
    news: watch::Sender<u64>,
    standing: Standing,
    /// How the file is opened again, if it can be.
    reopen: Option<Reopen>,
}

/// Opens the file again.
pub(super) type Reopen = Box<dyn Fn() -> Result<Database> + Send>;

/// Whether the store works.
enum Standing {
    Works,
    /// Its disk is full. The file is opened again, not before this moment, and then says what was committed.
    Full {
        not_before: Instant,
    },
    /// A write or a sync failed otherwise: nobody knows what the file holds.
    Stopped(String),
}

/// To open the file again takes at most one part of the time in so many.
const REOPENING_SHARE: u32 = 10;

impl<E: Effect> Engine<E> {
    pub(super) fn new(
        shared: Arc<Shared>,
        settings: RedbSettings,
        policy: E::Policy,
        news: watch::Sender<u64>,
    ) -> Result<Self> {
        let memory = shared.with_writer(|database| Memory::load(database, &policy))?;
        let standing = Standing::Works;
        Ok(Self { shared, memory, settings, policy, news, standing, reopen: None })
    }

    /// Has the file opened again after its disk was full.
    pub(super) fn reopening(self, reopen: Reopen) -> Self {
        Self { reopen: Some(reopen), ..self }
    }

    /// Serves calls until the store is closed. An answer that nobody waits for any more is dropped.
    pub(super) fn run(mut self, mut calls: mpsc::Receiver<Command<E::Order>>) {
        while let Some(call) = calls.blocking_recv() {
            if let Command::Close(answer) = call {
                calls.close();
                drop(answer.send(self.shared.close()));
                return;
            }
            self.serve(call);
        }
        if let Err(error) = self.shared.close() {
            tracing::warn!(%error, "the store was not closed cleanly; its content is safe");
        }
    }

    /// Serves one call.
    pub(super) fn serve(&mut self, call: Command<E::Order>) {
        match call {
            Command::Positions(topic, answer) => drop(answer.send(self.positions(&topic))),
            Command::Apply(batch, answer) => drop(answer.send(self.write(|settling| settling.batch(batch)))),
            Command::Start(topic, start, answer) => {
                drop(answer.send(self.write(|settling| settling.start(&topic, &start))));
            }
            Command::Published(events, answer) => {
                drop(answer.send(self.write(|settling| settling.published(&events))));
            }
            Command::Move(batch, answer) => {
                drop(answer.send(self.write(|settling| E::updates(settling, batch))));
            }
            Command::Operate(operation, runs_here, answer) => drop(answer.send(self.operate(operation, runs_here))),
            Command::Handled(is_handled, answer) => drop(answer.send(self.set_handled(is_handled))),
            Command::Reply(reply, answer) => drop(answer.send(self.write(|settling| settling.reply(reply)))),
            Command::Close(answer) => drop(answer.send(self.shared.close())),
        }
    }

    fn positions(&mut self, topic: &Topic) -> Result<BTreeMap<i32, Position>> {
        self.check()?;
        self.shared.with_writer(|database| self.memory.positions(database, topic))
    }

    /// Runs `work` in one durable transaction: committed if it succeeds, otherwise as if it had not been asked for.
    fn write<T>(&mut self, work: impl FnOnce(Settling<'_, '_, E>) -> Result<T>) -> Result<T> {
        self.check()?;
        let shared = Arc::clone(&self.shared);
        let written = shared.with_writer(|database| self.transact(database, work));
        match &written {
            Ok(_) => self.tell(),
            Err(error) => self.recover(error),
        }
        written
    }

    fn set_handled(&mut self, is_handled: bool) -> Result<()> {
        self.check()?;
        if self.memory.handled == is_handled {
            return Ok(());
        }
        self.write(|settling| settling.set_handled(is_handled))
    }

    /// Tries letters again, or marks them as requested where a handler is asked first.
    fn replay(&mut self, requests: Vec<Request>, runs_here: bool) -> Result<Vec<ReplayRow>> {
        if !self.memory.handled {
            return self.write(|settling| settling.replay(requests));
        }
        let rows = self.write(|settling| settling.request(requests, runs_here))?;
        self.news.send_modify(|_| {});
        Ok(rows)
    }

    fn operate(&mut self, operation: Operation, runs_here: bool) -> Result<Vec<Row>> {
        let rows = match operation {
            Operation::Replay { ids, .. } if ids.len() > Operation::MOST => {
                let sentence = format!("{} dead letters are too many for one transaction", ids.len());
                return Err(Error::new(ErrorCode::ConfigValue, sentence));
            }
            Operation::Replay { ids, rehearsal: Rehearsal::Real } => self.replay(as_they_are(ids), runs_here)?,
            Operation::Replay { ids, rehearsal: Rehearsal::Plan } => self.rehearse(as_they_are(ids))?,
            Operation::Fix { id, value } => {
                let unreadable = || Error::new(ErrorCode::ConfigValue, "the mended value is no bytes");
                let value = Some(value.to_bytes().ok_or_else(unreadable)?);
                self.replay(vec![Request { id, value, reply: None }], runs_here)?
            }
            Operation::Discard { id, reason } => vec![self.write(|settling| settling.discard(id, &reason))?],
            Operation::Move { delivery, to, reason } => {
                let asked = Move { to, at: now(), reason };
                let row = self.write(|settling| E::move_now(settling, delivery, asked))?;
                return Ok(vec![Row::Moved(row)]);
            }
            Operation::Pause { .. }
            | Operation::Resume { .. }
            | Operation::Backup { .. }
            | Operation::Flight { .. } => Vec::new(),
        };
        Ok(rows.into_iter().map(Row::Replayed).collect())
    }

    /// What a replay would do: it is done and given up.
    fn rehearse(&mut self, requests: Vec<Request>) -> Result<Vec<ReplayRow>> {
        let mut rehearsed = None;
        let given_up: Result<()> = self.write(|settling| {
            rehearsed = Some(settling.plan(requests)?);
            Err(Error::new(ErrorCode::Closed, REHEARSED))
        });
        match (given_up, rehearsed) {
            (Err(error), Some(rows)) if error.code() == ErrorCode::Closed => Ok(rows),
            (given_up, _) => given_up.map(|()| Vec::new()),
        }
    }

    fn tell(&self) {
        let told = self.memory.totals.event;
        self.news.send_if_modified(|before| std::mem::replace(before, told) != told);
    }

    fn transact<T>(&mut self, database: &Database, work: impl FnOnce(Settling<'_, '_, E>) -> Result<T>) -> Result<T> {
        let mut transaction = database.begin_write().map_err(fault)?;
        transaction.set_durability(Durability::Immediate).map_err(fault)?;
        let result = {
            let mut tables = Tables::open(&transaction, table_of::<E>())?;
            let (memory, settings) = (&mut self.memory, &self.settings);
            work(Settling { memory, tables: &mut tables, settings, now: now(), rows: 0 })
        };
        match result {
            Ok(done) => transaction.commit().map_err(fault).map(|()| done),
            // A fault of the file within the transaction makes giving it up fail too, with less to say.
            Err(error) => match transaction.abort() {
                Err(cause) if error.code() != ErrorCode::StoreIo => Err(fault(cause)),
                Err(_) | Ok(()) => Err(error),
            },
        }
    }

    /// After a transaction that was given up, memory is read again; after a fault of the file, the store stands still.
    fn recover(&mut self, error: &Error) {
        if matches!(error.code(), ErrorCode::StoreIo | ErrorCode::StoreCorrupt) {
            return self.stand_still(error);
        }
        match self.shared.with_writer(|database| Memory::load(database, &self.policy)) {
            Ok(memory) => self.memory = memory,
            Err(error) => self.stand_still(&error),
        }
    }

    fn stand_still(&mut self, error: &Error) {
        let why = told(error);
        if error.is_retriable() && self.reopen.is_some() {
            tracing::warn!(why, "the store waits");
            self.standing = Standing::Full { not_before: Instant::now() };
        } else {
            tracing::error!(why, "the store has stopped");
            self.standing = Standing::Stopped(why);
        }
    }

    fn check(&mut self) -> Result<()> {
        match &self.standing {
            Standing::Works => Ok(()),
            Standing::Full { not_before } if Instant::now() < *not_before => Err(no_room()),
            Standing::Full { .. } => self.begin_again(),
            Standing::Stopped(why) => {
                let remedy = "mend the disk and start the process again: it goes on from what was committed";
                Err(Error::new(ErrorCode::StoreIo, format!("the store has stopped: {why}")).remedy(remedy))
            }
        }
    }

    /// Whether the transaction that found the disk full is committed is what the file says: its answer was none.
    fn begin_again(&mut self) -> Result<()> {
        let begun = Instant::now();
        match self.reopened() {
            Ok(memory) => {
                tracing::info!("the store's disk has room again: it goes on");
                (self.memory, self.standing) = (memory, Standing::Works);
                Ok(())
            }
            Err(error) => {
                self.stand_still(&error);
                if let Standing::Full { not_before } = &mut self.standing {
                    *not_before = Instant::now() + begun.elapsed().saturating_mul(REOPENING_SHARE);
                }
                Err(error)
            }
        }
    }

    fn reopened(&self) -> Result<Memory<E>> {
        let Some(reopen) = &self.reopen else { return Err(no_room()) };
        self.shared.reopen(reopen)?;
        self.shared.with_writer(|database| {
            let identity = self.shared.identity();
            let found = prepare(database, &identity.group, E::Order::TYPE, table_of::<E>())?;
            if found != *identity {
                return Err(Error::new(ErrorCode::StoreForeign, "another store stands where this one stood"));
            }
            Memory::load(database, &self.policy)
        })
    }
}

/// The answer of a thread that is gone.
pub(super) fn gone<T>(_: T) -> Error {
    closed()
}

/// No clock that is right shows less: 2026-01-01. One that does began anew, as on a machine without a battery.
const NO_EARLIER: i64 = 1_767_225_600_000;

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX).max(NO_EARLIER)
}
