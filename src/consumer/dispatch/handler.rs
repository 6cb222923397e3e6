//! Settling orders by a handler: at least once, those of one lane in log order.
//!
//! A call that ends at once, as a closure without waits does, costs no task, no allocation and no wake-up;
//! one that waits moves aside, and orders of other lanes go on.
//!
//! ```text
//!  batch --copy--> ready --lane free--> call --ends at once--> settled: ledger, observer, commit
//!                    |                   | waits                   ^
//!                    +--lane busy--> lanes <---- running ----------+
//!                                      ^            | again
//!                                      +--wait------+
//! ```

mod answers;
mod aside;
pub(crate) mod call;
mod entry;
mod face;
mod row;
mod through;
mod tries;
pub(crate) mod within;

use std::collections::VecDeque;
use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use litemap::LiteMap;
use tokio::time::Instant;

use self::aside::Posted;
use self::call::{Answer, Call, Seat, poll_seat};
use self::entry::Entry;
use self::row::Row;
use self::tries::Tries;
use self::within::{Backing, Within};
use super::super::breaker::{Breaker, BreakerConfig};
use super::super::commit::Committer;
use super::super::config::ConsumerConfig;
use super::super::control::{Concern, Lag};
use super::super::delivered::Origin;
use super::super::fetch::Fetched;
use super::super::ledger::{Ledger, RecordedLedger, Taken};
use super::super::letterbox::Letterbox;
use super::super::patience::LongCall;
use super::super::record::RecordBytes;
use super::super::retry::{EXHAUSTED, Retries};
use super::super::{Concurrency, Delivered};
use super::decode::Decoder;
use super::lanes::{Lane, Lanes};
use super::teller::{Teller, name};
use super::{Dispatch, Step};
use crate::Result;
use crate::backoff::Backoff;
use crate::order::Order;
use crate::store::{Position, Topic, Tried};
use crate::wire::compression::Decompressor;

/// How many orders are handed out before the other work of a consumer has its turn.
const STRIDE: usize = 256;

/// How many bytes of orders may stand behind others of their lane. Then nothing more is taken (G5).
const MAX_QUEUED_BYTES: usize = 16 << 20;

/// How often positions are noted for the commit while calls are under way.
const NOTE_EVERY: Duration = Duration::from_millis(50);

/// A record that is to be settled.
#[derive(Debug)]
struct Item {
    partition: i32,
    life: u64,
    offset: i64,
    timestamp: i64,
    attempt: u32,
    failing: Option<Failing>,
    record: RecordBytes,
}

/// Since when an order has been failing.
#[derive(Clone, Copy, Debug)]
struct Failing {
    /// When it failed first, by the wall clock in milliseconds since 1970.
    first: i64,
    /// For how long it had been failing at the last failure of an earlier run.
    before: Duration,
    /// When this run got it, or saw it fail first: the time since the dispatcher began.
    seen: Duration,
}

impl Failing {
    /// It fails for the first time.
    fn now(seen: Duration) -> Self {
        Self { first: chrono::Utc::now().timestamp_millis(), before: Duration::ZERO, seen }
    }

    /// It failed first in an earlier run, and had been failing for `before` at its last failure. What passed since, with
    /// nobody to try it, does not count: no order is given up because a process was down.
    fn before(first: i64, before: Duration, seen: Duration) -> Self {
        Self { first, before, seen }
    }

    fn since(&self, now: Duration) -> Duration {
        self.before.saturating_add(now.saturating_sub(self.seen))
    }
}

/// Settles orders by a handler, which `call` calls.
pub(crate) struct HandlerDispatch<O, C, F> {
    call: C,
    retry: Retries,
    concurrency: Concurrency,
    max_ahead: usize,
    committer: Arc<Committer>,
    teller: Teller<O>,
    rows: LiteMap<i32, Row>,
    /// Partitions with something to hand out; the one that was served last stands last.
    turn: VecDeque<i32>,
    lanes: Lanes<Item>,
    running: FuturesUnordered<Call<F>>,
    seats: Vec<Seat<F>>,
    /// Takes dead letters where no store does.
    letterbox: Option<Arc<dyn Letterbox>>,
    /// Dead letters that are being written.
    posting: FuturesUnordered<BoxFuture<'static, Posted>>,
    posting_backoff: Backoff,
    /// The store that settles what is decided, if there is one.
    within: Option<Within<O>>,
    breaker: BreakerConfig,
    probing: Backoff,
    /// Paused partitions.
    held: Vec<i32>,
    queued_bytes: usize,
    /// Partitions whose position moved since it was noted.
    moved: Vec<i32>,
    noted: Instant,
    begun: Instant,
    decoder: Decoder,
    arena: BytesMut,
    decompressor: Decompressor,
    hasher: RandomState,
    steps: VecDeque<Step>,
    holding: bool,
    finishing: bool,
    lives: u64,
}

impl<O, C, F> HandlerDispatch<O, C, F>
where
    O: Order,
    C: Fn(Delivered<O>) -> F + Send,
    F: Future<Output = Answer> + Send,
{
    pub(crate) fn new(
        call: C,
        concurrency: Concurrency,
        config: &ConsumerConfig,
        backing: Backing<O>,
        committer: Arc<Committer>,
        teller: Teller<O>,
    ) -> Self {
        let (letterbox, within) = match backing {
            Backing::Topics(letterbox) => (Some(letterbox), None),
            Backing::Store(store) => (None, Some(Within::new(store, config.backoff))),
        };
        let limit = match concurrency {
            Concurrency::InOrder => usize::MAX,
            Concurrency::PerKey(orders) => orders,
        };
        Self {
            call,
            retry: Retries::new(config.retry, teller.control().flights().recorder()),
            concurrency,
            max_ahead: config.max_ahead,
            committer,
            teller,
            rows: LiteMap::new(),
            turn: VecDeque::new(),
            lanes: Lanes::new(limit),
            running: FuturesUnordered::new(),
            seats: Vec::new(),
            letterbox,
            posting: FuturesUnordered::new(),
            posting_backoff: config.backoff,
            within,
            breaker: config.breaker,
            probing: config.probing,
            held: Vec::new(),
            queued_bytes: 0,
            moved: Vec::new(),
            noted: Instant::now(),
            begun: Instant::now(),
            decoder: Decoder::default(),
            arena: BytesMut::new(),
            decompressor: Decompressor::new(),
            hasher: RandomState::new(),
            steps: VecDeque::new(),
            holding: false,
            finishing: false,
            lives: 0,
        }
    }

    /// Moves everything on that can move. Returns whether anything did.
    fn pump(&mut self, context: &mut Context<'_>) -> bool {
        let mut moved = false;
        while let Poll::Ready(Some(ended)) = self.running.poll_next_unpin(context) {
            self.ended(ended);
            moved = true;
        }
        while let Poll::Ready(Some(posted)) = self.posting.poll_next_unpin(context) {
            self.posted(posted);
            moved = true;
        }
        if !self.finishing {
            if self.lanes.next_due().is_some() {
                self.lanes.wake(self.begun.elapsed());
            }
            while let Some((lane, item)) = self.lanes.start() {
                self.queued_bytes = self.queued_bytes.saturating_sub(item.record.len());
                self.launch(lane, item, Entry::Occupied, context);
                moved = true;
            }
            moved |= self.hand_out(context);
            self.resume_stalled();
        }
        moved |= self.settle_within(context);
        self.note_moved();
        moved
    }

    /// Hands out orders that wait, for one stride. Returns whether there were any.
    fn hand_out(&mut self, context: &mut Context<'_>) -> bool {
        let mut moved = false;
        for _ in 0..self.turn.len() {
            let Some(partition) = self.turn.pop_front() else { break };
            let handed_out = self.hand_out_of(partition, context);
            moved |= handed_out;
            if self.rows.get(&partition).is_some_and(|row| !row.is_empty()) {
                self.turn.push_back(partition);
            }
            if handed_out {
                break;
            }
        }
        moved
    }

    fn hand_out_of(&mut self, partition: i32, context: &mut Context<'_>) -> bool {
        let mut left = STRIDE;
        while left > 0 {
            let Some((lane, item)) = self.next_of(partition) else { return left < STRIDE };
            if self.lanes.is_free(lane) {
                self.launch(lane, item, Entry::Free, context);
            } else {
                self.queued_bytes = self.queued_bytes.saturating_add(item.record.len());
                self.lanes.offer(lane, item);
            }
            left -= 1;
            left = left.saturating_sub(self.run_through(partition, left, context));
        }
        true
    }

    /// The next order of a partition, if it may be handed out now.
    fn next_of(&mut self, partition: i32) -> Option<(Lane, Item)> {
        let (orders, bytes) = self.within.as_ref().map_or((0, 0), Within::in_hand);
        let in_hand = self.lanes.queued().saturating_add(self.lanes.running()).saturating_add(orders);
        let (room, bytes) = (self.teller.room(in_hand), self.queued_bytes.saturating_add(bytes));
        if self.holding || room == 0 || self.lanes.is_crowded() || bytes >= MAX_QUEUED_BYTES {
            return None;
        }
        let row = self.rows.get_mut(&partition).filter(|row| !row.is_held())?;
        loop {
            if !row.ledger.has_room() {
                return None;
            }
            match row.refill(&mut self.arena, &mut self.decompressor) {
                Ok(true) => {}
                Ok(false) => {
                    if !std::mem::replace(&mut row.moved, true) {
                        self.moved.push(partition);
                    }
                    return None;
                }
                Err(error) => {
                    self.damaged(partition, error);
                    return None;
                }
            }
            let (ready, record) = row.first()?;
            let lane = lane_of(self.concurrency, row.life, &record, &self.hasher);
            if self.concurrency == Concurrency::InOrder && !self.lanes.is_free(lane) {
                return None;
            }
            row.drop_first();
            if row.ledger.take(ready.offset) == Taken::InHand {
                return Some((lane, row.item(ready, record)));
            }
        }
    }

    /// Calls the handler. A call that ends at once is answered here.
    fn launch(&mut self, lane: Lane, mut item: Item, entry: Entry, context: &mut Context<'_>) {
        let Some(row) = self.rows.get_mut(&item.partition).filter(|row| row.life == item.life) else {
            entry.leave(&mut self.lanes, lane);
            return;
        };
        let Tried { times, first_failed, failing_for, .. } = row.tries.of(item.offset);
        item.attempt = item.attempt.max(times.saturating_add(1));
        let before = || Some(Failing::before(first_failed?, failing_for, self.begun.elapsed()));
        item.failing = item.failing.or_else(before);
        if times >= self.retry.attempts() {
            let sentence = format!(
                "the handler was given the order {times} times, also by earlier runs, and had it for too long \
                 (max.poll.interval.ms)"
            );
            return self.set_aside(lane, item, entry, (EXHAUSTED.into(), sentence));
        }
        let delivered = match row.deliver(&mut self.decoder, item.record.clone(), (item.offset, item.timestamp)) {
            Ok(delivered) => Delivered { attempt: item.attempt, ..delivered },
            Err(violation) => return self.invalid(lane, item, &violation, entry),
        };
        let mut seat = self.seats.pop().unwrap_or_else(|| Box::pin(None));
        seat.as_mut().set(Some((self.call)(delivered)));
        match poll_seat(&mut seat, context) {
            Poll::Ready(answer) => {
                self.seats.push(seat);
                self.answered(lane, item, answer, entry);
            }
            Poll::Pending => self.run_on(seat, lane, item, entry),
        }
    }

    /// The call waits, and moves aside.
    fn run_on(&mut self, seat: Seat<F>, lane: Lane, item: Item, entry: Entry) {
        if let Some(row) = self.rows.get_mut(&item.partition) {
            row.running += 1;
        }
        entry.enter(&mut self.lanes, lane);
        #[cfg(test)]
        if crate::plant::is(crate::plant::Plant::CommitBeforeEffect) {
            self.settled(&item, &crate::store::Outcome::Applied);
        }
        self.running.push(Call::new(seat, lane, item));
    }
}

fn lane_of(concurrency: Concurrency, life: u64, record: &RecordBytes, hasher: &RandomState) -> Lane {
    let key = match concurrency {
        Concurrency::InOrder => 0,
        Concurrency::PerKey(_) => record.key().map_or(0, |key| hasher.hash_one(key)),
    };
    Lane { slot: life, key }
}
