//! Settling orders in a store: decode, merge, apply, tell, commit.
//!
//! While the store applies one group the next one is decoded; it is given to the store when the first has
//! landed, with what had come by then. So groups are as large as the store is slow.
//!
//! ```text
//!  batches --decode--> group (grows) --when nothing is in flight--> store.apply --> tell, commit
//!                         ^                                              |
//!                         +-- decoded again after a wait, same tokens <--+ failed
//! ```

mod flight;
mod hold;
mod landing;

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use futures::future::BoxFuture;
use futures::{FutureExt, poll};
use litemap::LiteMap;
use serde::Serialize;
use tokio::time::Instant;

use self::flight::Flight;
use super::super::breaker::{Breaker, BreakerConfig};
use super::super::commit::Committer;
use super::super::config::ConsumerConfig;
use super::super::fetch::Fetched;
use super::super::patience::LongCall;
use super::super::positions::set_position;
use super::super::reader::damaged;
use super::chunk::{Chunks, Next};
use super::group::{Cursor, Group};
use super::teller::{Teller, name};
use super::{Dispatch, Step};
use crate::backoff::Backoff;
use crate::flight::Recorded;
use crate::gather::Gather;
use crate::order::Order;
use crate::place::Place;
use crate::store::{Position, Store, Topic};
use crate::wire::compression::Decompressor;
use crate::wire::record_batch::BatchError;
use crate::{Error, ErrorCode, Result};

/// Settles orders in a store.
pub(crate) struct StoreDispatch<O, S> {
    store: Arc<S>,
    committer: Arc<Committer>,
    teller: Teller<O>,
    backoff: Backoff,
    breaker: BreakerConfig,
    /// Between two probes of a record that tripped the breaker.
    probing: Backoff,
    /// Paused partitions.
    held: Vec<i32>,
    topic: Option<Topic>,
    rows: LiteMap<i32, Row>,
    /// Partitions with something to decode; the one that was served last stands last.
    turn: VecDeque<i32>,
    group: Group<O>,
    flight: Option<Flight<O>>,
    decompressor: Decompressor,
    steps: VecDeque<Step>,
    holding: bool,
    finishing: bool,
    /// Tells apart the lives of a partition number.
    lives: u64,
}

/// A partition in the store.
#[derive(Debug)]
struct Row {
    life: u64,
    /// What is committed.
    position: Position,
    cursor: Cursor,
    chunks: Chunks,
    end: Option<i64>,
    /// How often in a row somebody else had moved its position.
    conflicts: u32,
    breaker: Recorded<Breaker>,
    /// What was fetched was dropped, and what comes is not taken.
    stalled: bool,
    /// An operator has paused it.
    held: bool,
    /// When the record that tripped the breaker is tried again.
    probe_at: Option<Instant>,
    settled_until: Option<i64>,
    /// The version that the flight recorder was last told of.
    recorded: u64,
}

/// What is recorded of a partition: number, position, how many offsets beyond it are settled, version.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Noted {
    Stored(Vec<(i32, i64, u64, u64)>),
}

impl<O: Order, S: Store<O>> StoreDispatch<O, S> {
    pub(crate) fn new(store: Arc<S>, committer: Arc<Committer>, teller: Teller<O>, config: &ConsumerConfig) -> Self {
        Self {
            group: Group::new(teller.audience()),
            store,
            committer,
            teller,
            backoff: config.backoff,
            breaker: config.breaker,
            probing: config.probing,
            held: Vec::new(),
            topic: None,
            rows: LiteMap::new(),
            turn: VecDeque::new(),
            flight: None,
            decompressor: Decompressor::new(),
            steps: VecDeque::new(),
            holding: false,
            finishing: false,
            lives: 0,
        }
    }

    fn in_hand(&self) -> usize {
        self.group.records().saturating_add(self.flight.as_ref().map_or(0, Flight::records))
    }

    /// Decodes one batch, if one waits and may be taken. Returns whether something moved on.
    fn take_some(&mut self) -> bool {
        let room = self.teller.room(self.in_hand());
        if self.finishing || self.holding || self.group.is_full() || room == 0 {
            return false;
        }
        let Some(partition) = self.turn.pop_front() else { return false };
        let Some(row) = self.rows.get_mut(&partition) else { return true };
        let was_open = row.breaker.is_open();
        let taken = match row.chunks.next(&mut self.decompressor) {
            Ok(Some(Next::Batch(batch, hold))) => {
                let at = (&mut row.cursor, &mut row.breaker);
                self.group.take(partition, (batch, hold), at, room, &mut self.decompressor)
            }
            Ok(Some(Next::Skipped(batch))) => {
                self.group.pass_batch(partition, &batch, &mut row.cursor);
                Ok(None)
            }
            Ok(Some(Next::Nothing(until))) => {
                self.group.pass(partition, until, &mut row.cursor);
                Ok(None)
            }
            Ok(None) => Ok(None),
            Err(error) => Err(error),
        };
        match taken {
            Ok(Some(tripped)) => self.tripped(partition, &tripped),
            Ok(None) if !row.chunks.is_empty() => self.turn.push_back(partition),
            Ok(None) => {}
            Err(error) => self.damaged(partition, error),
        }
        self.closed(partition, was_open);
        true
    }

    fn damaged(&mut self, partition: i32, cause: BatchError) {
        let Some(row) = self.rows.get_mut(&partition) else { return };
        row.chunks.close();
        let Some(topic) = &self.topic else { return };
        let partition_name = name(&topic.name, partition);
        let at = Place::record(&partition_name, row.cursor.next);
        let error = Error::new(ErrorCode::Batch, "a batch cannot be read, so the partition stops")
            .at(at)
            .remedy(damaged(&set_position(&partition_name)))
            .caused_by(cause);
        self.steps.push_back(Step::Stopped { partition, error });
    }

    /// Gives the group to the store, if it is its turn.
    fn launch(&mut self) {
        let waits_for_more = !self.turn.is_empty() && !self.group.is_full() && !self.finishing && !self.holding;
        let waits_for_more = waits_for_more && self.teller.room(self.in_hand()) > 0;
        let Some(topic) = self.topic.as_ref().filter(|_| self.flight.is_none() && !waits_for_more) else { return };
        if self.group.is_empty() {
            return;
        }
        let rows = &self.rows;
        let (batch, sealed) = self.group.seal(topic, |part| rows.get(&part).map_or(0, |row| row.position.version));
        let lives = rows.iter().map(|(partition, row)| (*partition, row.life)).gather();
        self.flight = Some(Flight::launch(self.store.clone(), batch, sealed, lives));
    }

    async fn move_on(&mut self) -> Step {
        if let Some(step) = self.steps.pop_front() {
            return step;
        }
        if self.take_some() {
            let landed = match &mut self.flight {
                Some(flight) => poll!(pin!(flight.landed(&self.store))),
                None => Poll::Pending,
            };
            if let Poll::Ready(landed) = landed {
                self.landed(landed);
            }
            self.launch();
            tokio::task::yield_now().await;
            return Step::Done;
        }
        self.launch();
        let due = self.probe_due();
        let landed = async {
            match &mut self.flight {
                Some(flight) => flight.landed(&self.store).await,
                None => std::future::pending().await,
            }
        };
        let timer = async {
            match due {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        let landed = tokio::select! {
            landed = landed => Some(landed),
            () = timer => None,
        };
        match landed {
            Some(landed) => self.landed(landed),
            None => self.probe(),
        }
        self.launch();
        Step::Done
    }
}

impl<O: Order, S: Store<O>> Dispatch for StoreDispatch<O, S> {
    fn begin(&mut self, topic: Topic, partition: i32, position: Position) {
        self.retire(partition);
        self.topic = Some(topic);
        self.lives += 1;
        let (next, leader_epoch, tripped) = (position.next, position.leader_epoch, position.tripped);
        let conflicts = self.rows.get(&partition).map_or(0, |row| row.conflicts);
        let recorder = self.teller.control().flights().recorder();
        let row = Row {
            life: self.lives,
            cursor: Cursor { next, settled: position.settled.clone(), leader_epoch },
            position,
            chunks: Chunks::starting_at(next),
            end: None,
            conflicts,
            breaker: recorder.watch(Breaker::resumed(self.breaker, tripped), Some(partition)),
            recorded: 0,
            stalled: false,
            held: false,
            probe_at: None,
            settled_until: None,
        };
        self.rows.insert(partition, row);
        self.teller.control().show_partition(partition, next);
        self.begin_held(partition);
        self.show_lag(partition);
    }

    fn feed(&mut self, fetched: Fetched) {
        let partition = fetched.partition;
        let Some(row) = self.rows.get_mut(&partition) else { return };
        row.end = Some(fetched.end);
        if row.stalled {
            return;
        }
        row.chunks.push(fetched);
        if !self.turn.contains(&partition) {
            self.turn.push_back(partition);
        }
        self.show_lag(partition);
    }

    fn retire(&mut self, partition: i32) {
        self.group.remove(partition);
        self.turn.retain(|other| *other != partition);
        if let Some(row) = self.rows.get_mut(&partition) {
            row.chunks.close();
            row.probe_at = None;
        }
    }

    fn is_clear(&self, partition: i32) -> bool {
        !self.group.has(partition) && !self.flight.as_ref().is_some_and(|flight| flight.has(partition))
    }

    fn step(&mut self) -> BoxFuture<'_, Step> {
        self.move_on().boxed()
    }

    fn set_holding(&mut self, holding: bool) {
        self.holding = holding;
    }

    fn set_held(&mut self, partitions: &[i32]) {
        self.hold(partitions);
    }

    fn overridden(&mut self, partition: Option<i32>) {
        self.override_breakers(partition);
    }

    fn finish(&mut self) {
        self.finishing = true;
    }

    fn close(&mut self) -> BoxFuture<'_, Result<()>> {
        self.store.close().boxed()
    }

    fn is_idle(&self) -> bool {
        self.flight.is_none() && self.group.is_empty()
    }

    fn is_drained(&self) -> bool {
        self.is_idle() && self.turn.is_empty()
    }

    fn position(&self, partition: i32) -> Option<i64> {
        self.rows.get(&partition).map(|row| row.position.next)
    }

    fn is_limit_reached(&self) -> bool {
        self.teller.is_done()
    }

    fn obstacle(&self, partition: i32) -> Option<String> {
        if self.rows.get(&partition).is_some_and(|row| row.held) {
            return Some("the partition is paused; `orders resume` lets it go on".to_owned());
        }
        let flight = self.flight.as_ref().filter(|flight| flight.has(partition))?;
        let what = if flight.failures > 0 { "fails" } else { "has not answered the transaction that moves it" };
        Some(format!("the store {} {what}; see its disk", self.store.identity().name))
    }

    /// A store has no handler; one that is slow is no reason to give partitions up.
    fn longest_call(&self) -> Option<LongCall> {
        None
    }

    fn record(&mut self) {
        let mut stored = Vec::new();
        for (partition, row) in &mut self.rows {
            row.breaker.refresh();
            let Position { next, settled, version, .. } = &row.position;
            if row.recorded != *version {
                row.recorded = *version;
                stored.push((*partition, *next, settled.len(), *version));
            }
        }
        if !stored.is_empty() {
            self.teller.control().flights().recorder().note(&Noted::Stored(stored));
        }
    }

    fn count_slow(&mut self, _before: Instant) {}
}
