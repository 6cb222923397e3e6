//! A store of stock whose disk can lose its power, without a thread of its own: for tests on virtual time.
//!
//! The engine is the one of [`RedbInventory`](crate::store::RedbInventory); it is called where its thread would be.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::{oneshot, watch};

use super::super::effect::table_of;
use super::super::engine::{Command, Engine};
use super::super::fault::fault;
use super::super::format::prepare;
use super::super::handle::builder;
use super::super::inventory::Inventory;
use super::super::office;
use super::super::settings::RedbSettings;
use super::super::shared::{Open, Shared};
use super::disk::{Disk, Fault};
use crate::order::{Identity, InventoryOrder, Source};
use crate::plant::{self, Plant};
use crate::store::{
    Applied, Batch, Operation, Outcome, Position, Query, Row, Start, StoreIdentity, StoreReader, Topic, Waiting,
};
use crate::{Error, ErrorCode, Result};

/// The group of the store.
pub(crate) const GROUP: &str = "inventory";

/// The store, which outlives the processes that use it, as a database does.
pub(crate) struct StockBase {
    open: Mutex<Parts>,
    identity: StoreIdentity,
    news: watch::Sender<u64>,
    /// What a store believes that judges by the highest sequence.
    highest: Mutex<HashMap<Source, u64>>,
}

struct Parts {
    disk: Disk,
    shared: Arc<Shared>,
    engine: Engine<Inventory>,
}

impl Parts {
    fn open(disk: Disk, group: &str, news: watch::Sender<u64>) -> Result<(Self, StoreIdentity)> {
        let settings = RedbSettings::default();
        let database = builder(&settings).create_with_backend(disk.clone()).map_err(fault)?;
        let identity = prepare(&database, group, "inventory", table_of::<Inventory>())?;
        let shared = Arc::new(Shared::new(Open::Writer(database), Path::new("disk"), identity.clone()));
        let engine = Engine::new(shared.clone(), settings, (), news)?;
        Ok((Self { disk, shared, engine }, identity))
    }
}

impl StockBase {
    pub(crate) fn new() -> Arc<Self> {
        Self::of(GROUP)
    }

    /// The store of another group.
    pub(crate) fn of(group: &str) -> Arc<Self> {
        let (news, _) = watch::channel(0);
        let (parts, identity) = Parts::open(Disk::new(), group, news.clone()).unwrap();
        Arc::new(Self { open: Mutex::new(parts), identity, news, highest: Mutex::default() })
    }

    pub(crate) fn identity(&self) -> &StoreIdentity {
        &self.identity
    }

    pub(crate) fn news(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }

    fn open(&self) -> MutexGuard<'_, Parts> {
        self.open.lock().unwrap()
    }

    fn call<T>(&self, command: impl FnOnce(oneshot::Sender<Result<T>>) -> Command<InventoryOrder>) -> Result<T> {
        let (answer, mut answered) = oneshot::channel();
        self.open().engine.serve(command(answer));
        answered.try_recv().unwrap_or_else(|_| Err(Error::new(ErrorCode::Closed, "the store gave no answer")))
    }

    pub(crate) fn positions(&self, topic: &Topic) -> Result<BTreeMap<i32, Position>> {
        self.call(|answer| Command::Positions(topic.clone(), answer))
    }

    pub(crate) fn apply(&self, batch: Batch<InventoryOrder>) -> Result<Applied> {
        if plant::is(Plant::HighestSequence) {
            return self.apply_what_is_higher(batch);
        }
        self.call(|answer| Command::Apply(batch, answer))
    }

    pub(crate) fn set_position(&self, topic: &Topic, start: Start) -> Result<Position> {
        self.call(|answer| Command::Start(topic.clone(), start, answer))
    }

    pub(crate) fn published(&self, events: Vec<u64>) -> Result<()> {
        self.call(|answer| Command::Published(events, answer))
    }

    pub(crate) fn operate(&self, operation: Operation) -> Result<Vec<Row>> {
        self.call(|answer| Command::Operate(operation, answer))
    }

    pub(crate) fn waiting(&self, after: u64) -> Result<Waiting> {
        let shared = self.open().shared.clone();
        shared.read(|transaction| office::page(transaction, after))
    }

    pub(crate) async fn rows(&self, query: Query) -> Result<Vec<Row>> {
        let reader = StoreReader::of(&self.open().shared);
        reader.ask(query).rows().await
    }

    /// The disk loses its power at the n-th operation from now; whoever asks then is told that the store has stopped.
    pub(crate) fn lose_power_at(&self, operation: u64) {
        self.open().disk.plan(Fault::CrashAt(operation));
    }

    /// The n-th sync from now fails.
    pub(crate) fn fail_sync(&self, sync: u64) {
        self.open().disk.plan(Fault::SyncFails(sync));
    }

    /// The power goes, and comes back: the store is opened from what the disk has kept.
    pub(crate) fn restart(&self, seed: u64) {
        let mut open = self.open();
        open.disk.fail();
        drop(open.shared.close());
        let (parts, identity) =
            Parts::open(open.disk.after_power_loss(seed), &self.identity.group, self.news.clone()).unwrap();
        assert_eq!(identity, self.identity);
        *open = parts;
    }

    /// The planted bug: what is not higher than all that was applied of its source is a duplicate.
    fn apply_what_is_higher(&self, mut batch: Batch<InventoryOrder>) -> Result<Applied> {
        let mut highest = self.highest.lock().unwrap().clone();
        let mut passed_over = Vec::new();
        for (part, settled) in batch.parts.iter_mut().enumerate() {
            let entries = std::mem::take(&mut settled.entries);
            for (at, entry) in entries.into_iter().enumerate() {
                if let Some(Identity::Numbered { source, index, .. }) = entry.identity {
                    let before = highest.get(&source).copied();
                    if before.is_some_and(|before| index <= before) {
                        passed_over.push((part, at));
                        continue;
                    }
                    highest.insert(source, index);
                }
                settled.entries.push(entry);
            }
        }
        let mut applied = self.call(|answer| Command::Apply(batch, answer))?;
        *self.highest.lock().unwrap() = highest;
        for (part, at) in passed_over {
            applied.parts[part].outcomes.insert(at, Outcome::Duplicate);
        }
        Ok(applied)
    }
}
