//! A partition whose orders go to a handler.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::BytesMut;

use super::super::super::breaker::Breaker;
use super::super::super::delivered::Origin;
use super::super::super::fetch::Fetched;
use super::super::super::ledger::Ledger;
use super::super::super::record::RecordBytes;
use super::super::chunk::{Chunks, Next};
use super::Item;
use super::slow::Slow;
use crate::wire::compression::Decompressor;
use crate::wire::record_batch::{BatchError, BatchView};

/// One partition in one life.
#[derive(Debug)]
pub(super) struct Row {
    /// Tells apart the lives of a partition number.
    pub(super) life: u64,
    pub(super) origin: Arc<Origin>,
    pub(super) ledger: Ledger,
    pub(super) chunks: Chunks,
    /// Records of the batch that is being handed out.
    pub(super) ready: VecDeque<Item>,
    /// The offset behind that batch.
    pub(super) batch_end: i64,
    /// The offset behind what was fed.
    pub(super) fed: i64,
    pub(super) end: Option<i64>,
    pub(super) settled_until: Option<i64>,
    /// How many calls of its orders are under way.
    pub(super) running: usize,
    /// What was fed is given back until its orders move on.
    pub(super) stalled: bool,
    /// Nothing more is taken from it.
    pub(super) retired: bool,
    /// An operator has paused it.
    pub(super) held: bool,
    pub(super) breaker: Breaker,
    /// Health speaks of it.
    pub(super) worrying: bool,
    pub(super) slow: Slow,
}

impl Row {
    pub(super) fn new(life: u64, origin: Arc<Origin>, ledger: Ledger, slow: Slow, breaker: Breaker) -> Self {
        let next = ledger.read();
        Self {
            life,
            origin,
            ledger,
            chunks: Chunks::default(),
            ready: VecDeque::new(),
            batch_end: next,
            fed: next,
            end: None,
            settled_until: None,
            running: 0,
            stalled: false,
            retired: false,
            held: false,
            breaker,
            worrying: false,
            slow,
        }
    }

    /// Takes what was fetched, unless it is not what comes next: then it was given back before.
    pub(super) fn feed(&mut self, fetched: Fetched) {
        self.end = Some(fetched.end);
        if !self.stalled && !self.retired && fetched.from <= self.fed {
            self.fed = self.fed.max(fetched.next);
            self.chunks.push(fetched);
        }
    }

    /// Whether it takes nothing more for now.
    pub(super) fn is_held(&self) -> bool {
        self.held || self.breaker.is_open()
    }

    /// Whether nothing waits to be handed out.
    pub(super) fn is_empty(&self) -> bool {
        self.ready.is_empty() && self.chunks.is_empty()
    }

    /// Makes the next batch's records ready, if none are. Returns whether anything is ready.
    pub(super) fn refill(&mut self, arena: &mut BytesMut, decompressor: &mut Decompressor) -> Result<bool, BatchError> {
        while self.ready.is_empty() {
            self.ledger.pass(self.batch_end);
            match self.chunks.next(decompressor)? {
                None => return Ok(false),
                Some(Next::Nothing(until)) => self.batch_end = self.batch_end.max(until),
                Some(Next::Batch(batch, _hold)) => self.unpack(&batch, arena, decompressor)?,
            }
        }
        Ok(true)
    }

    /// Copies a batch's records out of their frame.
    fn unpack(
        &mut self,
        batch: &BatchView,
        arena: &mut BytesMut,
        decompressor: &mut Decompressor,
    ) -> Result<(), BatchError> {
        let next = self.ledger.read();
        self.ledger.epoch_begins(next.max(batch.base_offset()), batch.leader_epoch());
        arena.reserve(batch.bytes().len());
        for record in batch.records(decompressor)? {
            let record = match record {
                Ok(record) => record,
                Err(error) => {
                    self.ready.clear();
                    return Err(error);
                }
            };
            if record.offset < next {
                continue;
            }
            let headers = record.headers.map(|header| (header.key, header.value));
            self.ready.push_back(Item {
                partition: self.origin.at.partition,
                life: self.life,
                offset: record.offset,
                timestamp: record.timestamp,
                attempt: 1,
                failing: None,
                record: RecordBytes::copy(arena, record.key, record.value, headers),
            });
        }
        self.batch_end = batch.last_offset().saturating_add(1);
        Ok(())
    }

    /// Gives back what was fed beyond the batch in hand. Returns where to go on from.
    pub(super) fn give_back(&mut self) -> i64 {
        self.chunks.clear();
        self.stalled = true;
        self.fed = self.batch_end.max(self.ledger.read());
        self.fed
    }

    /// Drops what is not in hand.
    pub(super) fn retire(&mut self) {
        self.chunks.clear();
        self.ready.clear();
        self.retired = true;
    }
}
