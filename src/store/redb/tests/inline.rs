//! A store whose disk can lose its power, without a thread of its own: for tests on virtual time.
//!
//! The engines are those of [`RedbInventory`](crate::store::RedbInventory) and
//! [`RedbDeliveries`](crate::store::RedbDeliveries); they are called where their thread would be.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::{oneshot, watch};

use super::super::deliveries::Deliveries;
use super::super::effect::{Effect, table_of};
use super::super::engine::{Command, Engine};
use super::super::fault::fault;
use super::super::format::prepare;
use super::super::handle::builder;
use super::super::inventory::Inventory;
use super::super::office;
use super::super::settings::RedbSettings;
use super::super::shared::{Open, Shared};
use super::disk::{Disk, Fault};
use crate::order::{DeliveryOrder, Identity, InventoryOrder, Order, Source};
use crate::plant::{self, Plant};
use crate::store::{
    Applied, Backlog, Batch, Done, Mark, Operation, Outcome, Position, Query, Row, Start, StoreIdentity, StoreReader,
    Topic, Waiting,
};
use crate::{Error, ErrorCode, Result};

/// The group of the store of stock.
pub(crate) const GROUP: &str = "inventory";

/// The group of the store of deliveries.
pub(crate) const DELIVERY_GROUP: &str = "delivery";

pub(crate) type StockBase = Base<InventoryOrder>;
pub(crate) type DeliveryBase = Base<DeliveryOrder>;

/// The store, which outlives the processes that use it, as a database does.
pub(crate) struct Base<O: Order> {
    open: Mutex<Parts<O>>,
    reopen: Reopen<O>,
    identity: StoreIdentity,
    news: watch::Sender<u64>,
    /// What a store believes that judges by the highest sequence.
    highest: Mutex<HashMap<Source, u64>>,
}

type Reopen<O> = fn(Disk, &str, watch::Sender<u64>) -> Result<(Parts<O>, StoreIdentity)>;

struct Parts<O> {
    disk: Disk,
    shared: Arc<Shared>,
    engine: Box<dyn Serve<O>>,
}

/// An engine of any effect.
trait Serve<O>: Send {
    fn serve(&mut self, command: Command<O>);
}

impl<E: Effect> Serve<E::Order> for Engine<E> {
    fn serve(&mut self, command: Command<E::Order>) {
        self.serve(command);
    }
}

fn open<E: Effect>(
    disk: Disk,
    group: &str,
    news: watch::Sender<u64>,
    kind: &str,
) -> Result<(Parts<E::Order>, StoreIdentity)> {
    let settings = RedbSettings::default();
    let database = builder(&settings).create_with_backend(disk.clone()).map_err(fault)?;
    let identity = prepare(&database, group, kind, table_of::<E>())?;
    let shared = Arc::new(Shared::new(Open::Writer(database), Path::new("disk"), identity.clone()));
    let engine = Engine::<E>::new(shared.clone(), settings, E::Policy::default(), news)?;
    Ok((Parts { disk, shared, engine: Box::new(engine) }, identity))
}

impl StockBase {
    pub(crate) fn new() -> Arc<Self> {
        Self::of(GROUP)
    }

    /// The store of another group.
    pub(crate) fn of(group: &str) -> Arc<Self> {
        Self::make(group, |disk, group, news| open::<Inventory>(disk, group, news, "inventory"))
    }
}

impl DeliveryBase {
    pub(crate) fn new() -> Arc<Self> {
        Self::make(DELIVERY_GROUP, |disk, group, news| open::<Deliveries>(disk, group, news, "delivery"))
    }
}

impl<O: Order> Base<O> {
    fn make(group: &str, reopen: Reopen<O>) -> Arc<Self> {
        let (news, _) = watch::channel(0);
        let (parts, identity) = reopen(Disk::new(), group, news.clone()).unwrap();
        Arc::new(Self { open: Mutex::new(parts), reopen, identity, news, highest: Mutex::default() })
    }

    pub(crate) fn identity(&self) -> &StoreIdentity {
        &self.identity
    }

    pub(crate) fn news(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }

    fn open(&self) -> MutexGuard<'_, Parts<O>> {
        self.open.lock().unwrap()
    }

    fn call<T>(&self, command: impl FnOnce(oneshot::Sender<Result<T>>) -> Command<O>) -> Result<T> {
        let (answer, mut answered) = oneshot::channel();
        self.open().engine.serve(command(answer));
        answered.try_recv().unwrap_or_else(|_| Err(Error::new(ErrorCode::Closed, "the store gave no answer")))
    }

    pub(crate) fn positions(&self, topic: &Topic) -> Result<BTreeMap<i32, Position>> {
        self.call(|answer| Command::Positions(topic.clone(), answer))
    }

    pub(crate) fn apply(&self, batch: Batch<O>) -> Result<Applied> {
        if plant::is(Plant::HighestSequence) {
            return self.apply_what_is_higher(batch);
        }
        self.call(|answer| Command::Apply(batch, answer))
    }

    pub(crate) fn set_position(&self, topic: &Topic, start: Start) -> Result<Position> {
        self.call(|answer| Command::Start(topic.clone(), start, answer))
    }

    pub(crate) fn published(&self, events: Vec<Done>) -> Result<()> {
        self.call(|answer| Command::Published(events, answer))
    }

    pub(crate) fn operate(&self, operation: Operation) -> Result<Vec<Row>> {
        self.call(|answer| Command::Operate(operation, false, answer))
    }

    pub(crate) fn backlog(&self) -> Result<Backlog> {
        let shared = self.open().shared.clone();
        shared.read(office::backlog)
    }

    pub(crate) fn waiting(&self, after: Mark) -> Result<Waiting> {
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
        let disk = open.disk.after_power_loss(seed);
        let (parts, identity) = (self.reopen)(disk, &self.identity.group, self.news.clone()).unwrap();
        assert_eq!(identity, self.identity);
        *open = parts;
    }

    /// The planted bug: what is not higher than all that was applied of its source is a duplicate.
    fn apply_what_is_higher(&self, mut batch: Batch<O>) -> Result<Applied> {
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
