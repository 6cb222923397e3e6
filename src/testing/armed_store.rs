//! A store in a process that may die.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::watch;

use super::arm::Arm;
use crate::Result;
use crate::order::Order;
use crate::store::{
    Applied, BackOffice, Backlog, Batch, Done, EventId, Leases, Mark, Moves, Operation, Position, ReplayRow, Replays,
    Reply, Requested, Row, Start, Steering, Store, StoreIdentity, Topic, Waiting,
};

pub(super) struct ArmedStore<S> {
    pub(super) inner: S,
    pub(super) arm: Arc<Arm>,
}

/// What a store offers beside its transactions.
struct ArmedOffice {
    inner: Arc<dyn BackOffice>,
    arm: Arc<Arm>,
}

/// The replays of a store. To settle one has an effect.
struct ArmedReplays {
    inner: Arc<dyn Replays>,
    arm: Arc<Arm>,
}

impl<O: Order, S: Store<O>> Store<O> for ArmedStore<S> {
    fn identity(&self) -> &StoreIdentity {
        self.inner.identity()
    }

    async fn positions(&self, topic: &Topic) -> Result<BTreeMap<i32, Position>> {
        self.arm.ask(self.inner.positions(topic)).await
    }

    async fn apply(&self, batch: Batch<O>) -> Result<Applied> {
        self.arm.effect(self.arm.ask(self.inner.apply(batch))).await
    }

    async fn set_position(&self, topic: &Topic, start: Start) -> Result<Position> {
        self.arm.ask(self.inner.set_position(topic, start)).await
    }

    async fn claim(&self, topic: &Topic, partitions: &[i32], epoch: i32, is_confirmed: bool) -> Result<Vec<i32>> {
        self.arm.ask(self.inner.claim(topic, partitions, epoch, is_confirmed)).await
    }

    async fn close(&self) -> Result<()> {
        self.arm.ask(self.inner.close()).await
    }

    fn back_office(&self) -> Option<Arc<dyn BackOffice>> {
        let office = ArmedOffice { inner: self.inner.back_office()?, arm: self.arm.clone() };
        if let Some(replays) = office.inner.replays() {
            self.arm.know(replays);
        }
        Some(Arc::new(office))
    }
}

impl BackOffice for ArmedOffice {
    fn lease(&self, relay: u128, within: Duration, balance: bool) -> BoxFuture<'_, Result<Leases>> {
        self.arm.ask(self.inner.lease(relay, within, balance)).boxed()
    }

    fn leave(&self, relay: u128) -> BoxFuture<'_, Result<()>> {
        self.arm.ask(self.inner.leave(relay)).boxed()
    }

    fn waiting(&self, after: Mark, shards: u64) -> BoxFuture<'_, Result<Waiting>> {
        self.arm.ask(self.inner.waiting(after, shards)).boxed()
    }

    fn published(&self, events: Vec<Done>, leases: Leases) -> BoxFuture<'_, Result<u64>> {
        self.arm.ask(self.inner.published(events, leases)).boxed()
    }

    fn backlog(&self) -> BoxFuture<'_, Result<Backlog>> {
        self.arm.ask(self.inner.backlog()).boxed()
    }

    fn news(&self) -> watch::Receiver<u64> {
        self.inner.news()
    }

    fn operate(&self, operation: Operation) -> BoxFuture<'_, Result<Vec<Row>>> {
        self.arm.ask(self.inner.operate(operation)).boxed()
    }

    fn obey(&self, steering: Weak<dyn Steering>) {
        self.inner.obey(steering);
    }

    fn moves(&self) -> Option<Arc<dyn Moves>> {
        self.inner.moves()
    }

    fn replays(&self) -> Option<Arc<dyn Replays>> {
        let (inner, arm) = (self.inner.replays()?, self.arm.clone());
        Some(Arc::new(ArmedReplays { inner, arm }))
    }

    fn path(&self) -> Option<PathBuf> {
        self.inner.path()
    }
}

impl Replays for ArmedReplays {
    fn set_handled(&self, is_handled: bool) -> BoxFuture<'_, Result<()>> {
        self.arm.ask(self.inner.set_handled(is_handled)).boxed()
    }

    fn requested<'a>(&'a self, except: &'a [EventId], most: usize) -> BoxFuture<'a, Result<Vec<Requested>>> {
        self.arm.ask(self.inner.requested(except, most)).boxed()
    }

    fn settle(&self, reply: Reply) -> BoxFuture<'_, Result<ReplayRow>> {
        self.arm.effect(self.arm.ask(self.inner.settle(reply))).boxed()
    }
}
