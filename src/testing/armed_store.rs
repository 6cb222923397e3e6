//! A store in a process that may die.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::arm::Arm;
use crate::Result;
use crate::order::Order;
use crate::store::{Applied, BackOffice, Batch, Position, Start, Store, StoreIdentity, Topic};

pub(super) struct ArmedStore<S> {
    pub(super) inner: S,
    pub(super) arm: Arc<Arm>,
}

impl<O: Order, S: Store<O>> Store<O> for ArmedStore<S> {
    fn identity(&self) -> &StoreIdentity {
        self.inner.identity()
    }

    async fn positions(&self, topic: &Topic) -> Result<BTreeMap<i32, Position>> {
        self.inner.positions(topic).await
    }

    async fn apply(&self, batch: Batch<O>) -> Result<Applied> {
        self.arm.around(self.inner.apply(batch)).await
    }

    async fn set_position(&self, topic: &Topic, start: Start) -> Result<Position> {
        self.inner.set_position(topic, start).await
    }

    async fn claim(&self, topic: &Topic, partitions: &[i32], epoch: i32, is_confirmed: bool) -> Result<Vec<i32>> {
        self.inner.claim(topic, partitions, epoch, is_confirmed).await
    }

    async fn close(&self) -> Result<()> {
        self.inner.close().await
    }

    fn back_office(&self) -> Option<Arc<dyn BackOffice>> {
        self.inner.back_office()
    }
}
