//! What all handles of a producer share with its tasks.

use std::sync::{Arc, Mutex, PoisonError};

use litemap::LiteMap;
use tokio::sync::{Notify, Semaphore};
use tokio::time::Instant;

use super::accumulator::{Accepted, Accumulator, Done, Refused, Target, Turn};
use super::config::Settings;
use super::failure::Failure;
use super::receipt::{Kept, Pending, Verdict};
use crate::cluster::Node;
use crate::place::{Place, TopicPartition};
use crate::wire::record_batch::RecordParts;
use crate::{Error, ErrorCode, Result};

pub(super) struct Core {
    pub(super) settings: Settings,
    pub(super) topic: Arc<str>,
    state: Mutex<Accumulator>,
    senders: Mutex<LiteMap<Node, Arc<Notify>>>,
    /// Told when room becomes free. Only the first in the line listens.
    room: Notify,
    /// The line for room: whoever has its one permit is first.
    line: Semaphore,
    /// Told when the first deadline begins to run.
    pub(super) deadlines: Notify,
    unseen: Mutex<Option<Unseen>>,
}

/// Orders that failed while nobody waited for them, as `flush` and `close` tell.
struct Unseen {
    orders: u64,
    first: Arc<Failure>,
    at: TopicPartition,
}

impl Core {
    pub(super) fn new(settings: Settings, topic: Arc<str>, producer_id: i64) -> Self {
        Self {
            state: Mutex::new(Accumulator::new(settings.clone(), topic.clone(), producer_id)),
            settings,
            topic,
            senders: Mutex::default(),
            room: Notify::new(),
            line: Semaphore::new(1),
            deadlines: Notify::new(),
            unseen: Mutex::default(),
        }
    }

    /// Acts on the accumulator. A panic in an order's own encoder leaves it consistent, so the lock's poison is ignored.
    pub(super) fn with<T>(&self, act: impl FnOnce(&mut Accumulator) -> T) -> T {
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Accepts a record, waiting for room at most `max.block.ms`.
    ///
    /// Nothing is accepted if the future is dropped: accepting is the last thing it does, without a pause.
    pub(super) async fn enqueue(
        &self,
        to: (Target<'_>, i64),
        parts: &RecordParts<'_>,
        write: impl Fn(&mut Vec<u8>),
    ) -> Result<Pending> {
        match self.accept(Turn::Last, to, parts, &write) {
            Err(Refused::NoRoom) => {}
            other => return self.accepted(other, to.1),
        }
        let waiting = Waiting::begin(self);
        let limit = self.settings.max_block;
        let accepted = tokio::time::timeout(limit, self.accept_in_turn(to, parts, &write)).await;
        drop(waiting);
        self.accepted(accepted.unwrap_or(Err(Refused::NoRoom)), to.1)
    }

    async fn accept_in_turn(
        &self,
        to: (Target<'_>, i64),
        parts: &RecordParts<'_>,
        write: &impl Fn(&mut Vec<u8>),
    ) -> Result<Accepted, Refused> {
        // The semaphore is never closed.
        let _first = self.line.acquire().await;
        loop {
            let room = self.room.notified();
            tokio::pin!(room);
            room.as_mut().enable();
            match self.accept(Turn::Next, to, parts, write) {
                Err(Refused::NoRoom) => room.await,
                other => return other,
            }
        }
    }

    fn accept(
        &self,
        turn: Turn,
        to: (Target<'_>, i64),
        parts: &RecordParts<'_>,
        write: &impl Fn(&mut Vec<u8>),
    ) -> Result<Accepted, Refused> {
        self.with(|state| state.append(turn, Instant::now, to, parts, write))
    }

    fn accepted(&self, accepted: Result<Accepted, Refused>, timestamp: i64) -> Result<Pending> {
        let accepted = accepted.map_err(|refused| self.refusal(refused))?;
        if let Some(node) = accepted.wake {
            self.wake(node);
        }
        if accepted.watch {
            self.deadlines.notify_one();
        }
        Ok(Pending::new(accepted.outcome, accepted.index, timestamp))
    }

    fn refusal(&self, refused: Refused) -> Error {
        let error = match refused {
            Refused::NoRoom => {
                let (used, within) = (self.with(|state| state.used()), self.settings.max_block.as_millis());
                let sentence =
                    format!("no room in the buffer within {within} ms: {used} bytes are not acknowledged yet");
                Error::new(ErrorCode::Timeout, sentence)
                    .remedy("see why the broker is slow, or raise buffer.memory or max.block.ms")
                    .retriable()
            }
            Refused::Closed => Error::new(ErrorCode::Closed, "the producer is closed"),
            Refused::TooLarge(bytes) => {
                let most = self.settings.request_bytes;
                Error::new(ErrorCode::TooLarge, format!("the order takes {bytes} bytes; a batch may have {most}"))
                    .remedy("raise max.request.size and the topic's max.message.bytes")
            }
            Refused::NoPartition => Error::new(ErrorCode::UnknownTopic, "the topic has no such partition"),
            Refused::Value(cause) => {
                Error::new(ErrorCode::Order, "the order was not encoded as it said it would be").caused_by(cause)
            }
        };
        error.at(Place::topic(self.topic.clone()))
    }

    /// The notice of a leader's sender.
    pub(super) fn sender(&self, node: Node) -> Arc<Notify> {
        self.senders.lock().unwrap_or_else(PoisonError::into_inner).entry(node).or_default().clone()
    }

    pub(super) fn wake(&self, node: Node) {
        if let Some(notify) = self.senders.lock().unwrap_or_else(PoisonError::into_inner).get(&node) {
            notify.notify_one();
        }
    }

    pub(super) fn wake_all(&self, nodes: Vec<Node>) {
        nodes.into_iter().for_each(|node| self.wake(node));
    }

    /// Does what was left to do outside the lock.
    pub(super) fn finish(&self, done: Done) {
        for (outcome, first, count, verdict) in done.verdicts {
            if let Verdict::Failed(failure) = &verdict {
                self.note_unseen(&outcome, count, failure);
            }
            outcome.settle(first, count, verdict);
        }
        if done.freed {
            self.room.notify_one();
        }
        self.wake_all(done.wake);
    }

    fn note_unseen(&self, outcome: &Kept, count: u32, failure: &Arc<Failure>) {
        let seen = u32::try_from(outcome.watchers()).unwrap_or(u32::MAX);
        let Some(orders) = count.checked_sub(seen).filter(|orders| *orders > 0) else { return };
        tracing::warn!(at = %outcome.at(), orders, error = %failure.error(outcome.at()), "orders failed unseen");
        let mut unseen = self.unseen.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Unseen { orders: 0, first: failure.clone(), at: outcome.at().clone() };
        unseen.get_or_insert_with(new).orders += u64::from(orders);
    }

    /// Sends everything that was accepted before, and waits until each order has its verdict.
    pub(super) async fn flush(&self) -> Result<()> {
        let (outcomes, nodes) = self.with(Accumulator::hurry);
        self.wake_all(nodes);
        let mut failed = None;
        for outcome in outcomes {
            if let Err((failure, outcome)) = outcome.settled().await {
                failed.get_or_insert_with(|| failure.error(outcome.at()));
            }
        }
        let unseen = self.unseen.lock().unwrap_or_else(PoisonError::into_inner).take();
        match (unseen, failed) {
            (Some(unseen), _) => {
                tracing::warn!(orders = unseen.orders, "orders had failed unseen before the flush");
                Err(unseen.first.error(&unseen.at))
            }
            (None, Some(error)) => Err(error),
            (None, None) => Ok(()),
        }
    }
}

/// Somebody waits for room; all batches are urgent meanwhile.
struct Waiting<'a>(&'a Core);

impl<'a> Waiting<'a> {
    fn begin(core: &'a Core) -> Self {
        let nodes = core.with(Accumulator::wait_for_room);
        core.wake_all(nodes);
        Self(core)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.with(Accumulator::stop_waiting);
        // The room that woke this one may be enough for the next.
        self.0.room.notify_one();
    }
}
