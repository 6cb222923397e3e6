//! Orders that are not acknowledged yet, by partition: what is filled, what is sent, what comes of it.
//!
//! A pure machine: it holds bytes, but no task, socket, clock or chance. One lock around it serves all handles and tasks;
//! nothing that takes long (closing, compressing, sending, waking) happens under it.
//!
//! ```text
//!  append --> Filling, Filling, ... --plan--> Shipment --> sender --> broker
//!             (a partition's queue)              |                      |
//!                                              Sealed <----answered-----+      Lane decides: written, again, failed, cut
//! ```
//!
//! # When a batch goes
//! A full batch, and one that must be sent again, goes as soon as its leader's window has room. One that is not full goes once
//! `linger.ms` has passed, but only while nothing else is on the way to the leader: so a lone order goes at once, and under
//! load batches grow by themselves.

mod plan;
mod settle;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;

use litemap::LiteMap;
use tokio::time::Instant;

use super::batch::{Filling, Sealed};
use super::config::Settings;
use super::failure::Failure;
use super::idempotence::{BatchId, Lane};
use super::partition::partition_of;
use super::receipt::{Kept, Outcome};
use crate::cluster::{Leader, Node, TopicView};
use crate::flight::{Recorded, Recorder};
use crate::place::TopicPartition;
use crate::wire::record_batch::{AppendError, BATCH_OVERHEAD, BatchBuilder, RecordParts};

pub(super) use plan::{Load, Shipment};
pub(super) use settle::{Answered, Done, Reply};

/// Buffers that are kept for the next batches: as many as are usually filled and answered at a time.
const SPARE_BUFFERS: usize = 6;

/// What a new batch's buffer begins with; it doubles up to the batch's size.
const FIRST_BUFFER_BYTES: usize = 16 * 1024;

/// Where a record goes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Target<'a> {
    /// To the partition of this key.
    Key(&'a [u8]),
    /// To this partition.
    Partition(i32),
    /// To whichever partition is being filled.
    Any,
}

/// Whether an order may take room that others wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// It is the next in the line.
    Next,
    /// It has just come.
    Last,
}

/// A record that was accepted.
#[derive(Debug)]
pub(super) struct Accepted {
    pub(super) outcome: Arc<Outcome>,
    pub(super) index: u32,
    /// The leader whose sender has something to do now.
    pub(super) wake: Option<Node>,
    /// It is the first one for which a deadline runs.
    pub(super) watch: bool,
}

/// Why a record was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// The buffer is full, or others wait for room.
    NoRoom,
    /// No more are taken.
    Closed,
    /// A batch with this record alone would have so many bytes.
    TooLarge(usize),
    /// The topic has no such partition.
    NoPartition,
    /// The value was not written as foretold.
    Value(AppendError),
}

/// The orders of one topic that are not acknowledged yet.
#[derive(Debug)]
pub(super) struct Accumulator {
    settings: Settings,
    topic: Arc<str>,
    producer_id: i64,
    partitions: Vec<Partition>,
    traffic: LiteMap<Node, Traffic>,
    /// Bytes of all batches until they are forgotten.
    used: usize,
    waiting: usize,
    spare: Vec<Vec<u8>>,
    next_batch: BatchId,
    /// The partition that records without key go to.
    sticky: usize,
    /// Where the next shipment begins to look, so that all partitions get their turn.
    turn: usize,
    /// Somebody keeps the deadlines.
    watched: bool,
    closed: bool,
}

#[derive(Debug)]
struct Partition {
    at: TopicPartition,
    leader: Option<Leader>,
    queue: VecDeque<Filling>,
    sealed: Vec<Sealed>,
    lane: Recorded<Lane>,
    /// Where its batches in flight are.
    flying_to: Option<Node>,
    not_before: Option<Instant>,
    failures: u32,
    last_written: Option<Instant>,
    trouble: Option<Arc<Failure>>,
}

/// What is on the way to one leader.
#[derive(Clone, Copy, Debug, Default)]
struct Traffic {
    in_flight: usize,
    muted_until: Option<Instant>,
}

impl Accumulator {
    pub(super) fn new(settings: Settings, topic: Arc<str>, producer_id: i64) -> Self {
        Self {
            settings,
            topic,
            producer_id,
            partitions: Vec::new(),
            traffic: LiteMap::new(),
            used: 0,
            waiting: 0,
            spare: Vec::new(),
            next_batch: 0,
            sticky: 0,
            turn: 0,
            watched: false,
            closed: false,
        }
    }

    /// Follows the topic's partitions and leaders. Returns the leaders that have something to do now.
    pub(super) fn follow(&mut self, view: &TopicView) -> Vec<Node> {
        for number in (0..view.partition_count()).skip(self.partitions.len()) {
            let at = TopicPartition::new(self.topic.clone(), number);
            self.partitions.push(Partition::new(at, self.settings.flights.recorder()));
        }
        for (partition, number) in self.partitions.iter_mut().zip(0..) {
            let leader = view.leader(number);
            if leader != partition.leader {
                partition.leader = leader;
                partition.not_before = None;
            }
        }
        self.leaders()
    }

    /// Every leader of a partition, once.
    pub(super) fn leaders(&self) -> Vec<Node> {
        let mut nodes: Vec<Node> =
            self.partitions.iter().filter_map(|partition| Some(partition.leader?.node)).collect();
        nodes.sort_unstable();
        nodes.dedup();
        nodes
    }

    /// Whether orders wait for a partition that has no leader.
    pub(super) fn lacks_leaders(&self) -> bool {
        self.partitions.iter().any(|partition| partition.leader.is_none() && !partition.is_empty())
    }

    /// Takes a record whose value `write` appends. `now` is asked only if a new batch begins.
    pub(super) fn append(
        &mut self,
        turn: Turn,
        now: impl FnOnce() -> Instant,
        (target, timestamp): (Target<'_>, i64),
        parts: &RecordParts<'_>,
        write: impl Fn(&mut Vec<u8>),
    ) -> Result<Accepted, Refused> {
        if self.closed {
            return Err(Refused::Closed);
        }
        if turn == Turn::Last && self.waiting > 0 {
            return Err(Refused::NoRoom);
        }
        let number = self.number_of(target)?;
        let room = self.settings.buffer_bytes.saturating_sub(self.used);
        let most = self.settings.batch_bytes;
        let partition = self.partitions.get_mut(number).ok_or(Refused::NoPartition)?;
        if let Some(filling) = partition.queue.back_mut().filter(|filling| !filling.full) {
            let before = filling.builder.len();
            let within = most.min(before.saturating_add(room));
            match filling.builder.append_within(within, timestamp, parts, &write) {
                Ok(index) => {
                    self.used = self.used.saturating_add(filling.builder.len().saturating_sub(before));
                    return Ok(Accepted { outcome: filling.outcome.share(), index, wake: None, watch: false });
                }
                Err(AppendError::Full { len }) if len <= most => return Err(Refused::NoRoom),
                Err(AppendError::Full { .. } | AppendError::TooLarge) => filling.full = true,
                Err(error @ AppendError::Length { .. }) => return Err(Refused::Value(error)),
            }
        }
        self.open(number, room, now, timestamp, parts, write)
    }

    /// Begins a batch with the record.
    #[expect(clippy::too_many_arguments, reason = "what `append` was given, and what it found")]
    fn open(
        &mut self,
        number: usize,
        room: usize,
        now: impl FnOnce() -> Instant,
        timestamp: i64,
        parts: &RecordParts<'_>,
        write: impl Fn(&mut Vec<u8>),
    ) -> Result<Accepted, Refused> {
        let size = parts.batch_len();
        if size > self.settings.request_bytes {
            return Err(Refused::TooLarge(size));
        }
        // A record larger than the whole buffer goes when it is alone.
        if size > room && self.used > 0 {
            return Err(Refused::NoRoom);
        }
        let buffer = self.spare.pop().unwrap_or_else(|| Vec::with_capacity(FIRST_BUFFER_BYTES));
        let mut builder = BatchBuilder::new(self.settings.compression, buffer);
        let index = builder.append(timestamp, parts, write).map_err(|error| match error {
            AppendError::Length { .. } => Refused::Value(error),
            AppendError::Full { .. } | AppendError::TooLarge => Refused::TooLarge(size),
        })?;
        let partition = self.partitions.get_mut(number).ok_or(Refused::NoPartition)?;
        self.used = self.used.saturating_add(builder.len());
        let kept = Kept::new(partition.at.clone());
        let outcome = kept.share();
        partition.queue.push_back(Filling::new(builder, kept, now()));
        let watch = !std::mem::replace(&mut self.watched, true);
        Ok(Accepted { outcome, index, wake: self.to_wake(number), watch })
    }

    fn number_of(&mut self, target: Target<'_>) -> Result<usize, Refused> {
        let count = u32::try_from(self.partitions.len()).unwrap_or(u32::MAX);
        match target {
            Target::Key(key) => Ok(partition_of(key, count) as usize),
            Target::Partition(number) => usize::try_from(number).map_err(|_| Refused::NoPartition),
            Target::Any => {
                // A batch is filled before the next partition has its turn: that makes fewer and larger ones.
                let is_full =
                    |filling: &Filling| filling.full || filling.builder.len() >= self.settings.batch_bytes / 2;
                let filling = self.partitions.get(self.sticky).and_then(|partition| partition.queue.back());
                if filling.is_none_or(is_full) {
                    self.sticky = self.sticky.wrapping_add(1).checked_rem(self.partitions.len()).unwrap_or(0);
                }
                Ok(self.sticky)
            }
        }
    }

    /// One more waits for room, so that all batches are urgent. Returns the leaders to wake.
    pub(super) fn wait_for_room(&mut self) -> Vec<Node> {
        self.waiting = self.waiting.saturating_add(1);
        self.leaders()
    }

    /// One less waits for room.
    pub(super) fn stop_waiting(&mut self) {
        self.waiting = self.waiting.saturating_sub(1);
    }

    /// Makes every batch urgent. Returns what becomes of those whose orders have no verdict yet, and the leaders to wake.
    pub(super) fn hurry(&mut self) -> (Vec<Kept>, Vec<Node>) {
        let mut outcomes = Vec::new();
        for partition in &mut self.partitions {
            let open = partition.sealed.iter().filter(|sealed| !sealed.outcome.is_settled());
            outcomes.extend(open.map(|sealed| sealed.outcome.clone()));
            for filling in &mut partition.queue {
                filling.urgent = true;
                outcomes.push(filling.outcome.clone());
            }
        }
        (outcomes, self.leaders())
    }

    /// Takes no more records.
    pub(super) fn close(&mut self) {
        self.closed = true;
    }

    /// How many partitions the topic has.
    pub(super) fn partition_count(&self) -> usize {
        self.partitions.len()
    }

    /// How many bytes are not acknowledged yet.
    pub(super) fn used(&self) -> usize {
        self.used
    }

    /// The next batch's number.
    fn number_batch(&mut self) -> BatchId {
        self.next_batch = self.next_batch.wrapping_add(1);
        self.next_batch
    }

    fn release(&mut self, charged: usize, buffer: Option<Vec<u8>>) {
        self.used = self.used.saturating_sub(charged);
        if let Some(buffer) = buffer
            && self.spare.len() < SPARE_BUFFERS
            && buffer.capacity() > BATCH_OVERHEAD
        {
            self.spare.push(buffer);
        }
    }
}

impl Partition {
    fn new(at: TopicPartition, recorder: &Recorder) -> Self {
        let lane = recorder.watch(Lane::new(), Some(at.partition));
        Self {
            at,
            leader: None,
            queue: VecDeque::new(),
            sealed: Vec::new(),
            lane,
            flying_to: None,
            not_before: None,
            failures: 0,
            last_written: None,
            trouble: None,
        }
    }

    fn is_empty(&self) -> bool {
        self.queue.is_empty() && self.sealed.is_empty()
    }

    fn sealed(&self, batch: BatchId) -> Option<&Sealed> {
        self.sealed.iter().find(|sealed| sealed.id == batch)
    }

    fn sealed_mut(&mut self, batch: BatchId) -> Option<&mut Sealed> {
        self.sealed.iter_mut().find(|sealed| sealed.id == batch)
    }

    fn take_sealed(&mut self, batch: BatchId) -> Option<Sealed> {
        let at = self.sealed.iter().position(|sealed| sealed.id == batch)?;
        Some(self.sealed.remove(at))
    }
}
