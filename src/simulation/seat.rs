//! A process's way to a store: it fails, is slow, loses answers, refuses claims, and ends with the process.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::watch;

use crate::order::Order;
use crate::place::{Place, TopicPartition};
use crate::store::inline::Base;
use crate::store::{
    Applied, BackOffice, Backlog, Batch, Done, Leases, Mark, Operation, Position, Row, Start, Steering, Store,
    StoreIdentity, Topic, Waiting,
};
use crate::testing::Life;
use crate::{Error, ErrorCode, Result};

/// Whether the way to the store is bad. Clones are of the same way.
#[derive(Clone, Debug, Default)]
pub(super) struct Weather(Arc<AtomicBool>);

impl Weather {
    pub(super) fn set_bad(&self, bad: bool) {
        self.0.store(bad, Ordering::Relaxed);
    }

    fn falls(&self, one_in: u32) -> bool {
        self.0.load(Ordering::Relaxed) && fastrand::u32(0..one_in) == 0
    }
}

/// The store as one process has it.
pub(super) struct Seat<O: Order> {
    base: Arc<Base<O>>,
    life: Life,
    weather: Weather,
    /// Partitions that were refused since they were last applied.
    claimed: Arc<Mutex<BTreeSet<i32>>>,
}

impl<O: Order> Clone for Seat<O> {
    fn clone(&self) -> Self {
        let (base, life, weather) = (self.base.clone(), self.life.clone(), self.weather.clone());
        Self { base, life, weather, claimed: self.claimed.clone() }
    }
}

impl<O: Order> Seat<O> {
    pub(super) fn new(base: Arc<Base<O>>, life: Life, weather: Weather) -> Self {
        Self { base, life, weather, claimed: Arc::default() }
    }

    /// The partition of a batch that another process has claimed for a moment, as nobody does twice in a row.
    fn claimed(&self, batch: &Batch<O>) -> Option<i32> {
        let partition = batch.parts.first()?.partition;
        let is_claimed = self.weather.falls(2) && self.claimed.lock().unwrap().insert(partition);
        is_claimed.then_some(partition)
    }

    /// Asks the store. What it did is done, also if nobody lives to learn of it.
    async fn ask<T>(&self, question: impl FnOnce(&Base<O>) -> Result<T>) -> Result<T> {
        let away = || Error::new(ErrorCode::StoreIo, "the store is away").retriable();
        tokio::time::sleep(Duration::from_millis(fastrand::u64(0..8))).await;
        self.life.goes_on().await;
        if self.weather.falls(12) {
            return Err(away());
        }
        let answer = question(&self.base);
        let late = if self.weather.falls(40) { 3_000 } else { fastrand::u64(0..8) };
        tokio::time::sleep(Duration::from_millis(late)).await;
        self.life.goes_on().await;
        if self.weather.falls(12) { Err(away()) } else { answer }
    }
}

impl<O: Order> Store<O> for Seat<O> {
    fn identity(&self) -> &StoreIdentity {
        self.base.identity()
    }

    async fn positions(&self, topic: &Topic) -> Result<BTreeMap<i32, Position>> {
        self.ask(|base| base.positions(topic)).await
    }

    async fn apply(&self, batch: Batch<O>) -> Result<Applied> {
        let parts: Vec<i32> = batch.parts.iter().map(|part| part.partition).collect();
        if let Some(partition) = self.claimed(&batch) {
            let at = TopicPartition::new(batch.topic.name, partition);
            let refused = Error::new(ErrorCode::StoreConflict, "another process has taken the partition over");
            return self.ask(|_| Err(refused.at(Place::partition(&at)))).await;
        }
        let applied = self.ask(|base| base.apply(batch)).await?;
        self.claimed.lock().unwrap().retain(|partition| !parts.contains(partition));
        Ok(applied)
    }

    async fn set_position(&self, topic: &Topic, start: Start) -> Result<Position> {
        self.ask(|base| base.set_position(topic, start)).await
    }

    async fn close(&self) -> Result<()> {
        Ok(())
    }

    fn back_office(&self) -> Option<Arc<dyn BackOffice>> {
        Some(Arc::new(self.clone()))
    }
}

impl<O: Order> BackOffice for Seat<O> {
    fn waiting(&self, after: Mark, _shards: u64) -> BoxFuture<'_, Result<Waiting>> {
        self.ask(move |base| base.waiting(after)).boxed()
    }

    fn published(&self, events: Vec<Done>, _leases: Leases) -> BoxFuture<'_, Result<u64>> {
        self.ask(move |base| base.published(events).map(|()| 0)).boxed()
    }

    fn backlog(&self) -> BoxFuture<'_, Result<Backlog>> {
        self.ask(move |base| base.backlog()).boxed()
    }

    fn news(&self) -> watch::Receiver<u64> {
        self.base.news()
    }

    fn operate(&self, operation: Operation) -> BoxFuture<'_, Result<Vec<Row>>> {
        self.ask(move |base| base.operate(operation)).boxed()
    }

    fn obey(&self, _steering: Weak<dyn Steering>) {}
}
