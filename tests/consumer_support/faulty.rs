//! A store that fails, waits or is written by somebody else, as a test says.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use orderflow::order::InventoryOrder;
use orderflow::place::{Place, TopicPartition};
use orderflow::store::{Applied, BackOffice, Batch, Position, RedbInventory, Start, Store, StoreIdentity, Topic};
use orderflow::{Error, ErrorCode, Result};
use tokio::sync::watch;

/// What becomes of one call of `apply`.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// Nothing is applied.
    Fail,
    /// It is applied, and the answer is lost.
    LoseAnswer,
    /// Somebody else writes the same position just before.
    Overtake,
    /// Another process has claimed the partitions for a moment: nothing is applied, and no version moves.
    Claim,
    /// Nothing happens.
    Pass,
    /// It has stopped for good.
    Break,
}

/// The store, and what is to happen to it. Clones share it.
#[derive(Clone)]
pub struct FaultyStore {
    pub inner: Arc<RedbInventory>,
    faults: Arc<Mutex<VecDeque<Fault>>>,
    open: Arc<watch::Sender<bool>>,
    pub waiting: Arc<watch::Sender<usize>>,
}

impl FaultyStore {
    pub fn new(inner: RedbInventory) -> Self {
        let (inner, faults) = (Arc::new(inner), Arc::default());
        Self { inner, faults, open: Arc::new(watch::Sender::new(true)), waiting: Arc::new(watch::Sender::new(0)) }
    }

    /// These happen to the next calls, one each.
    pub fn fail(&self, faults: impl IntoIterator<Item = Fault>) {
        self.faults.lock().unwrap().extend(faults);
    }

    /// Whether everything that was to happen has happened.
    pub fn is_done(&self) -> bool {
        self.faults.lock().unwrap().is_empty()
    }

    /// Calls of `apply` wait while it is shut.
    pub fn set_open(&self, open: bool) {
        self.open.send_replace(open);
    }

    /// Moves a position nowhere: only its version changes.
    pub async fn touch(&self, topic: &Topic, partition: i32) -> Result<()> {
        let at = self.inner.positions(topic).await?.remove(&partition).unwrap_or_default();
        let start = Start {
            partition,
            expected: at.version,
            token: u128::from(at.version) << 64,
            next: at.next,
            leader_epoch: at.leader_epoch,
            reason: "a test".to_owned(),
        };
        self.inner.set_position(topic, start).await.map(drop)
    }
}

fn claimed(batch: &Batch<InventoryOrder>) -> Error {
    let at = TopicPartition::new(batch.topic.name.clone(), batch.parts[0].partition);
    Error::new(ErrorCode::StoreConflict, "another process has taken the partition over").at(Place::partition(&at))
}

impl Store<InventoryOrder> for FaultyStore {
    fn identity(&self) -> &StoreIdentity {
        self.inner.identity()
    }

    async fn positions(&self, topic: &Topic) -> Result<BTreeMap<i32, Position>> {
        self.inner.positions(topic).await
    }

    async fn apply(&self, batch: Batch<InventoryOrder>) -> Result<Applied> {
        self.waiting.send_modify(|waiting| *waiting += 1);
        let mut open = self.open.subscribe();
        let _ = open.wait_for(|open| *open).await;
        let failed = || Error::new(ErrorCode::StoreIo, "the disk is away").retriable();
        let fault = self.faults.lock().unwrap().pop_front();
        match fault {
            None | Some(Fault::Pass) => self.inner.apply(batch).await,
            Some(Fault::Claim) => Err(claimed(&batch)),
            Some(Fault::Fail) => Err(failed()),
            Some(Fault::LoseAnswer) => self.inner.apply(batch).await.and(Err(failed())),
            Some(Fault::Break) => Err(Error::new(ErrorCode::StoreIo, "the store has stopped: the sync failed")),
            Some(Fault::Overtake) => {
                self.touch(&batch.topic, batch.parts[0].partition).await?;
                self.inner.apply(batch).await
            }
        }
    }

    async fn set_position(&self, topic: &Topic, start: Start) -> Result<Position> {
        self.inner.set_position(topic, start).await
    }

    async fn close(&self) -> Result<()> {
        self.inner.close().await
    }

    fn back_office(&self) -> Option<Arc<dyn BackOffice>> {
        self.inner.back_office()
    }
}
