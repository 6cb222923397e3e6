//! What becomes of an order that was accepted: a receipt, or an error that says whether the order may be written.
//!
//! A batch has one [`Outcome`], shared by the [`Pending`] of its orders, so that an order costs no allocation of its own.
//!
//! ```text
//!  order 0 --Pending--+
//!  order 1 --Pending--+--> Outcome <--settle(first, count, Verdict)-- sender      (once a batch, more often if it was cut)
//!  order 2 --Pending--+
//! ```

use std::future::Future;
use std::ops::Deref;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use super::failure::Failure;
use crate::Result;
use crate::place::TopicPartition;

/// Says that an order is written: every in-sync replica has it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Receipt {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: i32,
    /// The order's offset. `None`: the broker had the order already from an earlier try and did not say where.
    pub offset: Option<i64>,
    /// The record's time in milliseconds since 1970: the broker's if the topic is set so, else the producer's.
    pub timestamp: i64,
}

/// What the broker did with a run of orders.
#[derive(Clone, Debug)]
pub(super) enum Verdict {
    Written { base_offset: Option<i64>, append_time: Option<i64> },
    Failed(Arc<Failure>),
}

/// The shared fate of a batch's orders.
#[derive(Debug)]
pub(super) struct Outcome {
    at: TopicPartition,
    fate: Mutex<Fate>,
    /// How many hold it who are no [`Pending`].
    keepers: AtomicUsize,
}

/// An outcome as the producer's own parts hold it.
#[derive(Debug)]
pub(super) struct Kept(Arc<Outcome>);

impl Kept {
    pub(super) fn new(at: TopicPartition) -> Self {
        Self::of(Arc::new(Outcome { at, fate: Mutex::default(), keepers: AtomicUsize::new(0) }))
    }

    fn of(outcome: Arc<Outcome>) -> Self {
        outcome.keepers.fetch_add(1, Ordering::Relaxed);
        Self(outcome)
    }

    /// The outcome for a [`Pending`].
    pub(super) fn share(&self) -> Arc<Outcome> {
        self.0.clone()
    }

    /// How many [`Pending`] there are.
    pub(super) fn watchers(&self) -> usize {
        Arc::strong_count(&self.0).saturating_sub(self.0.keepers.load(Ordering::Relaxed))
    }

    /// Waits until every order of the batch has its verdict.
    pub(super) fn settled(self) -> Settled {
        Settled { outcome: self, slot: Slot::default() }
    }
}

impl Clone for Kept {
    fn clone(&self) -> Self {
        Self::of(self.0.clone())
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.0.keepers.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Deref for Kept {
    type Target = Outcome;

    fn deref(&self) -> &Outcome {
        &self.0
    }
}

#[derive(Debug, Default)]
struct Fate {
    parts: Vec<Part>,
    wakers: Vec<Waker>,
    /// How many orders have no verdict yet; known once the batch is closed.
    open: Option<u32>,
}

#[derive(Debug)]
struct Part {
    first: u32,
    count: u32,
    verdict: Verdict,
}

impl Outcome {
    pub(super) fn at(&self) -> &TopicPartition {
        &self.at
    }

    /// Says how many orders the batch has: no more will be added.
    pub(super) fn close(&self, count: u32) {
        self.with(|fate| fate.open = Some(count));
    }

    /// Gives `count` orders from number `first` on their verdict, and wakes whoever waits for any.
    pub(super) fn settle(&self, first: u32, count: u32, verdict: Verdict) {
        let wakers = self.with(|fate| {
            fate.parts.push(Part { first, count, verdict });
            fate.open = fate.open.map(|open| open.saturating_sub(count));
            std::mem::take(&mut fate.wakers)
        });
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Whether every order of the batch has its verdict.
    pub(super) fn is_settled(&self) -> bool {
        self.with(|fate| fate.open == Some(0))
    }

    fn with<T>(&self, act: impl FnOnce(&mut Fate) -> T) -> T {
        act(&mut self.fate.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Fate {
    fn part(&self, index: u32) -> Option<&Part> {
        self.parts.iter().find(|part| index.checked_sub(part.first).is_some_and(|within| within < part.count))
    }
}

/// Where a waiter's waker stands, so that polling again replaces it.
#[derive(Debug, Default)]
struct Slot(Option<usize>);

impl Slot {
    fn register(&mut self, fate: &mut Fate, waker: &Waker) {
        match self.0.and_then(|at| fate.wakers.get_mut(at)) {
            Some(known) => known.clone_from(waker),
            None => {
                self.0 = Some(fate.wakers.len());
                fate.wakers.push(waker.clone());
            }
        }
    }
}

/// An order on its way. It is sent whether or not this is awaited.
///
/// # Cancel safety
/// Dropping it gives up the answer, not the order.
#[derive(Debug)]
#[must_use = "only the receipt says that the order is written"]
pub struct Pending {
    outcome: Arc<Outcome>,
    index: u32,
    timestamp: i64,
    slot: Slot,
}

impl Pending {
    pub(super) fn new(outcome: Arc<Outcome>, index: u32, timestamp: i64) -> Self {
        Self { outcome, index, timestamp, slot: Slot::default() }
    }

    /// The partition that the order goes to.
    #[must_use]
    pub fn partition(&self) -> i32 {
        self.outcome.at.partition
    }

    fn result(&self, part: &Part) -> Result<Receipt> {
        let at = &self.outcome.at;
        match &part.verdict {
            Verdict::Written { base_offset, append_time } => Ok(Receipt {
                topic: at.topic.clone(),
                partition: at.partition,
                offset: base_offset.map(|base| base.saturating_add((self.index - part.first).into())),
                timestamp: append_time.unwrap_or(self.timestamp),
            }),
            Verdict::Failed(failure) => Err(failure.error(at)),
        }
    }
}

impl Future for Pending {
    type Output = Result<Receipt>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let outcome = this.outcome.clone();
        outcome.with(|fate| match fate.part(this.index) {
            Some(part) => Poll::Ready(this.result(part)),
            None => {
                this.slot.register(fate, cx.waker());
                Poll::Pending
            }
        })
    }
}

/// Ready when a whole batch is settled, with the first failure, if any.
#[derive(Debug)]
pub(super) struct Settled {
    outcome: Kept,
    slot: Slot,
}

impl Future for Settled {
    type Output = Result<(), (Arc<Failure>, Kept)>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let outcome = this.outcome.clone();
        outcome.with(|fate| {
            if fate.open != Some(0) {
                this.slot.register(fate, cx.waker());
                return Poll::Pending;
            }
            let failed = fate.parts.iter().find_map(|part| match &part.verdict {
                Verdict::Failed(failure) => Some(failure.clone()),
                Verdict::Written { .. } => None,
            });
            Poll::Ready(failed.map_or(Ok(()), |failure| Err((failure, this.outcome.clone()))))
        })
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;
    use crate::ErrorCode;

    fn outcome() -> Kept {
        Kept::new(TopicPartition::new("orders", 3))
    }

    fn written(base_offset: i64) -> Verdict {
        Verdict::Written { base_offset: Some(base_offset), append_time: None }
    }

    fn failed() -> Verdict {
        Verdict::Failed(Arc::new(Failure::new(ErrorCode::Refused, "no")))
    }

    #[tokio::test]
    async fn each_order_of_a_cut_batch_has_the_verdict_and_offset_of_its_part() {
        let outcome = outcome();
        let mut pendings: Vec<_> = (0..5).map(|index| Pending::new(outcome.share(), index, 7)).collect();
        outcome.close(5);
        let settled = tokio::spawn(outcome.clone().settled());
        outcome.settle(3, 2, written(40));
        assert!(pendings.iter_mut().take(3).all(|pending| pending.now_or_never().is_none()));
        outcome.settle(0, 2, written(10));
        outcome.settle(2, 1, failed());
        let offsets: Vec<_> =
            pendings.into_iter().map(|pending| pending.now_or_never().unwrap().ok().and_then(|r| r.offset)).collect();
        assert_eq!(offsets, [Some(10), Some(11), None, Some(40), Some(41)]);
        assert!(settled.await.unwrap().is_err());
    }

    #[tokio::test]
    async fn only_those_who_hold_a_pending_watch() {
        let outcome = outcome();
        let _kept = outcome.clone();
        let settled = outcome.clone().settled();
        let pendings: Vec<_> = (0..3).map(|index| Pending::new(outcome.share(), index, 7)).collect();
        assert_eq!(outcome.watchers(), 3);
        drop((settled, pendings));
        assert_eq!(outcome.watchers(), 0);
    }

    #[tokio::test]
    async fn everybody_who_waits_is_woken_and_polling_again_keeps_one_waker() {
        let outcome = outcome();
        let mut polled = Pending::new(outcome.share(), 0, 7);
        for _ in 0..100 {
            assert!((&mut polled).now_or_never().is_none());
        }
        assert_eq!(outcome.with(|fate| fate.wakers.len()), 1);
        let waiters: Vec<_> = (0..20).map(|index| tokio::spawn(Pending::new(outcome.share(), index % 2, 7))).collect();
        tokio::task::yield_now().await;
        outcome.settle(0, 2, Verdict::Written { base_offset: None, append_time: Some(99) });
        for waiter in waiters {
            let receipt = waiter.await.unwrap().unwrap();
            assert_eq!((receipt.partition, receipt.offset, receipt.timestamp), (3, None, 99));
        }
    }
}
