//! The point at which a consumer is to die, with what counts the way to it.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::life::Life;
use super::pace::in_real_time;
use crate::Result;
use crate::consumer::{Delivered, Failure, Handler, Outcome, StoreHandler};
use crate::order::Order;
use crate::store::{Overlay, Replays};

/// Where a consumer is killed, as SIGKILL does: what it did before is done, nothing follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Point {
    /// Before a handler in a store's transaction is called.
    BeforeHandler,
    /// While such a handler waits: its future is dropped.
    WithinHandler,
    /// After such a handler has answered, before the store learns of it.
    AfterHandler,
    /// Before the handler is called; with a store: before it applies a batch or a replay.
    BeforeEffect,
    /// While the handler waits; with a store: while it applies. The future is dropped.
    WithinEffect,
    /// After the handler has ended; with a store: after it has applied. Nobody learns of it.
    AfterEffect,
    /// When positions are committed: the commit does not reach the broker.
    BeforeCommit,
    /// The commit is written, its answer is lost.
    AfterCommit,
    /// When a dead letter is written to `<topic>-dlt`: it does not reach the broker.
    BeforeLetter,
    /// The dead letter is written, its answer is lost.
    AfterLetter,
    /// When an event leaves the store, dead letters among them: it does not reach the broker.
    BeforeEvent,
    /// The event is written, its answer is lost.
    AfterEvent,
    /// While its partitions are asked back, because another member joins.
    OnRevoke,
}

impl Point {
    /// Every point. Those of a handler, and of events, are passed over where no handler is in a store's transaction.
    pub const ALL: [Self; 13] = [
        Self::BeforeHandler,
        Self::WithinHandler,
        Self::AfterHandler,
        Self::BeforeEffect,
        Self::WithinEffect,
        Self::AfterEffect,
        Self::BeforeCommit,
        Self::AfterCommit,
        Self::BeforeLetter,
        Self::AfterLetter,
        Self::BeforeEvent,
        Self::AfterEvent,
        Self::OnRevoke,
    ];

    /// Whether it is a call of a handler that a store stands behind.
    pub(super) fn is_call(self) -> bool {
        CALL.contains(&self)
    }

    /// Whether only a handler in a store's transaction comes to it.
    pub(super) fn is_within_store(self) -> bool {
        self.is_call() || matches!(self, Self::BeforeEvent | Self::AfterEvent)
    }
}

/// The points around an effect.
const EFFECT: [Point; 3] = [Point::BeforeEffect, Point::WithinEffect, Point::AfterEffect];

/// The points around the call of a handler in a store's transaction.
const CALL: [Point; 3] = [Point::BeforeHandler, Point::WithinHandler, Point::AfterHandler];

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BeforeHandler => "before its handler was called",
            Self::WithinHandler => "within its handler",
            Self::AfterHandler => "after its handler has answered",
            Self::BeforeEffect => "before its effect",
            Self::WithinEffect => "within its effect",
            Self::AfterEffect => "after its effect",
            Self::BeforeCommit => "before its offset commit",
            Self::AfterCommit => "after its offset commit",
            Self::BeforeLetter => "before its dead letter was written",
            Self::AfterLetter => "after its dead letter was written",
            Self::BeforeEvent => "before its event was written",
            Self::AfterEvent => "after its event was written",
            Self::OnRevoke => "while its partitions were asked back",
        })
    }
}

/// A process with the point at which it dies.
pub(super) struct Arm {
    life: Life,
    point: Option<Point>,
    left: AtomicU64,
    /// How often a call is polled before it is dropped.
    polls: u64,
    refused: Refused,
    /// The replays of its store, once it has one.
    replays: Mutex<Option<Arc<dyn Replays>>>,
}

/// What handlers have refused or rejected, by identity: their last word counts.
#[derive(Clone, Debug, Default)]
pub(super) struct Refused(Arc<Mutex<BTreeSet<String>>>);

impl Refused {
    fn note(&self, identity: String, is_refused: bool) {
        let mut refused = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if is_refused {
            refused.insert(identity);
        } else {
            refused.remove(&identity);
        }
    }

    pub(super) fn has(&self, identity: &str) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(identity)
    }
}

impl Arm {
    /// A process that dies at the `nth` time that it comes to this point.
    pub(super) fn new(life: Life, point: Option<Point>, nth: u64, refused: Refused) -> Arc<Self> {
        let (left, polls) = (AtomicU64::new(nth), nth % 3 + 1);
        Arc::new(Self { life, point, left, polls, refused, replays: Mutex::default() })
    }

    /// Asks something of what outlives the process. One that was killed never learns the answer.
    pub(super) async fn ask<T>(&self, question: impl Future<Output = T>) -> T {
        let answer = in_real_time(question).await;
        self.life.goes_on().await;
        answer
    }

    pub(super) fn know(&self, replays: Arc<dyn Replays>) {
        *self.replays.lock().unwrap_or_else(PoisonError::into_inner) = Some(replays);
    }

    /// Whether a replay is still requested of its store.
    pub(super) async fn is_asked(&self) -> Result<bool> {
        let replays = self.replays.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(replays) = replays else { return Ok(false) };
        in_real_time(replays.requested(&[], 1)).await.map(|rows| !rows.is_empty())
    }

    fn falls(&self, point: Point) -> bool {
        self.point == Some(point) && self.left.fetch_sub(1, Ordering::Relaxed) == 1
    }

    /// The process goes no further if this is its point.
    async fn reach(&self, point: Point) {
        if self.falls(point) {
            self.life.kill();
        }
        self.life.goes_on().await;
    }

    /// Has an effect, with all that can befall it.
    pub(super) async fn effect<T>(&self, work: impl Future<Output = T>) -> T {
        self.around(EFFECT, work).await
    }

    async fn around<T>(&self, [before, within, after]: [Point; 3], work: impl Future<Output = T>) -> T {
        self.reach(before).await;
        let mut work = std::pin::pin!(work);
        let done = if self.falls(within) {
            let done = self.begin(work.as_mut()).await;
            self.life.kill();
            done
        } else {
            None
        };
        self.life.goes_on().await;
        let done = match done {
            Some(done) => done,
            None => work.await,
        };
        self.reach(after).await;
        done
    }

    async fn begin<T>(&self, mut work: std::pin::Pin<&mut impl Future<Output = T>>) -> Option<T> {
        for _ in 0..self.polls {
            if let std::task::Poll::Ready(done) = futures::poll!(work.as_mut()) {
                return Some(done);
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        None
    }
}

/// A handler in a process that may die.
pub(super) struct ArmedHandler<H> {
    pub(super) inner: H,
    pub(super) arm: Arc<Arm>,
}

impl<O: Order, H: Handler<O>> Handler<O> for ArmedHandler<H> {
    async fn handle(&self, order: Delivered<O>) -> Result<Outcome, Failure> {
        let identity = order.identity().to_string();
        let answer = self.arm.effect(self.inner.handle(order)).await;
        self.arm.refused.note(identity, matches!(answer, Ok(Outcome::Refuse(_))));
        answer
    }
}

impl<O: Order, H: StoreHandler<O>> StoreHandler<O> for ArmedHandler<H> {
    async fn handle(&self, order: Delivered<O>, overlay: &mut Overlay) -> Result<Outcome, Failure> {
        let identity = order.identity().to_string();
        let answer = self.arm.around(CALL, self.inner.handle(order, overlay)).await;
        self.arm.refused.note(identity, matches!(answer, Ok(Outcome::Refuse(_) | Outcome::Reject(_))));
        answer
    }
}
