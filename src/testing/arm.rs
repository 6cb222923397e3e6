//! The point at which a consumer is to die, with what counts the way to it.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::life::Life;
use crate::consumer::{Delivered, Failure, Handler, Outcome};
use crate::order::Order;

/// Where a consumer is killed, as SIGKILL does: what it did before is done, nothing follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Point {
    /// Before the handler is called, or before the store applies a batch.
    BeforeEffect,
    /// While the handler waits, or while the store applies a batch: the future is dropped.
    WithinEffect,
    /// After the handler has ended or the batch is applied, before anybody learns of it.
    AfterEffect,
    /// When positions are committed: the commit does not reach the broker.
    BeforeCommit,
    /// The commit is written, its answer is lost.
    AfterCommit,
    /// When a dead letter is written to `<topic>-dlt`: it does not reach the broker.
    BeforeLetter,
    /// The dead letter is written, its answer is lost.
    AfterLetter,
    /// While its partitions are asked back, because another member joins.
    OnRevoke,
}

impl Point {
    /// Every point.
    pub const ALL: [Self; 8] = [
        Self::BeforeEffect,
        Self::WithinEffect,
        Self::AfterEffect,
        Self::BeforeCommit,
        Self::AfterCommit,
        Self::BeforeLetter,
        Self::AfterLetter,
        Self::OnRevoke,
    ];
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BeforeEffect => "before its effect",
            Self::WithinEffect => "within its effect",
            Self::AfterEffect => "after its effect",
            Self::BeforeCommit => "before its offset commit",
            Self::AfterCommit => "after its offset commit",
            Self::BeforeLetter => "before its dead letter was written",
            Self::AfterLetter => "after its dead letter was written",
            Self::OnRevoke => "while its partitions were asked back",
        })
    }
}

/// A process with the point at which it dies.
#[derive(Debug)]
pub(super) struct Arm {
    life: Life,
    point: Option<Point>,
    left: AtomicU64,
    /// How often a call is polled before it is dropped.
    polls: u64,
    refused: Refused,
}

/// What handlers have refused, by identity.
#[derive(Clone, Debug, Default)]
pub(super) struct Refused(Arc<Mutex<Vec<String>>>);

impl Refused {
    fn note(&self, identity: String) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(identity);
    }

    pub(super) fn has(&self, identity: &str) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().any(|refused| refused == identity)
    }
}

impl Arm {
    /// A process that dies at the `nth` time that it comes to this point.
    pub(super) fn new(life: Life, point: Option<Point>, nth: u64, refused: Refused) -> Arc<Self> {
        Arc::new(Self { life, point, left: AtomicU64::new(nth), polls: nth % 3 + 1, refused })
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

    /// Does `work`, which is an effect, with all that can befall it.
    pub(super) async fn around<T>(&self, work: impl Future<Output = T>) -> T {
        self.reach(Point::BeforeEffect).await;
        let mut work = std::pin::pin!(work);
        let done = if self.falls(Point::WithinEffect) {
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
        self.reach(Point::AfterEffect).await;
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
        let answer = self.arm.around(self.inner.handle(order)).await;
        if matches!(answer, Ok(Outcome::Refuse(_))) {
            self.arm.refused.note(identity);
        }
        answer
    }
}
