//! A transaction under way.

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use litemap::LiteMap;

use super::super::group::Sealed;
use crate::Result;
use crate::order::Order;
use crate::store::{Applied, Batch, Store};
use crate::wire::compression::Decompressor;

/// A group that the store applies, or that waits for another try.
pub(super) struct Flight<O> {
    pub(super) sealed: Sealed,
    /// The life of each partition when the group was closed.
    lives: LiteMap<i32, u64>,
    phase: Phase,
    order: PhantomData<fn() -> O>,
    pub(super) failures: u32,
}

enum Phase {
    Applying(BoxFuture<'static, Result<Applied>>),
    Waiting(BoxFuture<'static, ()>),
}

impl<O: Order> Flight<O> {
    /// Gives a group to the store.
    pub(super) fn launch<S: Store<O>>(
        store: Arc<S>,
        batch: Batch<O>,
        sealed: Sealed,
        lives: LiteMap<i32, u64>,
    ) -> Self {
        Self { sealed, lives, phase: Phase::Applying(apply(store, batch)), order: PhantomData, failures: 0 }
    }

    /// Waits for the store's answer, over the waits between two tries.
    ///
    /// # Cancel safety
    /// The transaction goes on; call again.
    pub(super) async fn landed<S: Store<O>>(&mut self, store: &Arc<S>) -> Result<Applied> {
        loop {
            match &mut self.phase {
                Phase::Applying(applying) => return applying.await,
                Phase::Waiting(wait) => {
                    wait.await;
                    let batch: Batch<O> = self.sealed.again(&mut Decompressor::new())?;
                    self.phase = Phase::Applying(apply(store.clone(), batch));
                }
            }
        }
    }

    /// Has it given to the store again after a wait.
    pub(super) fn try_again(&mut self, wait: Duration) {
        self.failures = self.failures.saturating_add(1);
        self.phase = Phase::Waiting(tokio::time::sleep(wait).boxed());
    }

    /// How many records it settles.
    pub(super) fn records(&self) -> usize {
        self.sealed.records()
    }

    /// Whether it settles or passes something of this partition.
    pub(super) fn has(&self, partition: i32) -> bool {
        self.sealed.has(partition)
    }

    /// Whether a partition is still the one that it was when the group was closed.
    pub(super) fn knows(&self, partition: i32, life: u64) -> bool {
        self.lives.get(&partition) == Some(&life)
    }
}

fn apply<O: Order, S: Store<O>>(store: Arc<S>, batch: Batch<O>) -> BoxFuture<'static, Result<Applied>> {
    async move { store.apply(batch).await }.boxed()
}
