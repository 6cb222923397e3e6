//! A partition whose orders go to a handler.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::BytesMut;

use super::super::super::breaker::Breaker;
use super::super::super::delivered::Origin;
use super::super::super::fetch::Fetched;
use super::super::super::fetch::prefetch::Hold;
use super::super::super::ledger::RecordedLedger;
use super::super::super::record::RecordBytes;
use super::super::chunk::{Chunks, Next};
use super::Item;
use super::tries::Tries;
use crate::flight::Recorded;
use crate::wire::compression::{Compression, Decompressor};
use crate::wire::record_batch::{BatchError, BatchView, RecordsProgress};

/// One partition in one life.
#[derive(Debug)]
pub(super) struct Row {
    /// Tells apart the lives of a partition number.
    pub(super) life: u64,
    pub(super) origin: Arc<Origin>,
    pub(super) ledger: RecordedLedger,
    pub(super) chunks: Chunks,
    /// The batch that is being handed out, unless all of it is ready.
    open: Option<Open>,
    /// Records of it that come next, copied out of their frame.
    pub(super) ready: VecDeque<Item>,
    /// The offset behind them.
    ready_end: i64,
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
    pub(super) breaker: Recorded<Breaker>,
    /// Health speaks of it.
    pub(super) worrying: bool,
    /// How often its unsettled orders were tried.
    pub(super) tries: Tries,
    /// Its position moved since it was noted.
    pub(super) moved: bool,
}

/// How many records are copied at once: so few that they are still in the processor's cache when their turn comes.
const STRIDE: usize = 64;

/// Room for the copies of a stride. It is used again when none of them is held any more.
const STRIDE_BYTES: usize = 32 << 10;

/// A batch of which records remain, with what counts its frame.
#[derive(Debug)]
struct Open {
    batch: BatchView,
    progress: RecordsProgress,
    _hold: Option<Arc<Hold>>,
}

impl Row {
    pub(super) fn new(
        life: u64,
        origin: Arc<Origin>,
        ledger: RecordedLedger,
        tries: Tries,
        breaker: Recorded<Breaker>,
    ) -> Self {
        let next = ledger.read();
        Self {
            life,
            origin,
            ledger,
            chunks: Chunks::default(),
            open: None,
            ready: VecDeque::new(),
            ready_end: next,
            fed: next,
            end: None,
            settled_until: None,
            running: 0,
            stalled: false,
            retired: false,
            held: false,
            breaker,
            worrying: false,
            tries,
            moved: false,
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
        self.ready.is_empty() && !self.has_more()
    }

    /// Whether anything waits behind what is ready.
    pub(super) fn has_more(&self) -> bool {
        self.open.is_some() || !self.chunks.is_empty()
    }

    /// Makes the next records ready, if none are. Returns whether any are.
    pub(super) fn refill(&mut self, arena: &mut BytesMut, decompressor: &mut Decompressor) -> Result<bool, BatchError> {
        while self.ready.is_empty() {
            self.ledger.pass(self.ready_end);
            if let Some(open) = self.open.take() {
                self.unpack(open, arena, decompressor)?;
                continue;
            }
            match self.chunks.next(decompressor)? {
                None => return Ok(false),
                Some(Next::Nothing(until)) => self.ready_end = self.ready_end.max(until),
                Some(Next::Batch(batch, hold)) => {
                    let next = self.ledger.read();
                    self.ledger.epoch_begins(next.max(batch.base_offset()), batch.leader_epoch());
                    let open = Open { batch, progress: RecordsProgress::default(), _hold: hold };
                    self.unpack(open, arena, decompressor)?;
                }
            }
        }
        Ok(true)
    }

    /// Copies a batch's next records out of their frame. Compressed ones are copied all at once, so that they are
    /// decompressed once.
    fn unpack(
        &mut self,
        mut open: Open,
        arena: &mut BytesMut,
        decompressor: &mut Decompressor,
    ) -> Result<(), BatchError> {
        let next = self.ledger.read();
        let stride = if open.batch.compression() == Compression::None { STRIDE } else { usize::MAX };
        arena.reserve(STRIDE_BYTES);
        let mut records = open.batch.records(decompressor)?.resume(open.progress);
        for record in records.by_ref().take(stride) {
            let record = record?;
            self.ready_end = record.offset.saturating_add(1);
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
        if records.is_at_end() {
            self.ready_end = open.batch.last_offset().saturating_add(1);
        } else {
            open.progress = records.progress();
            self.open = Some(open);
        }
        Ok(())
    }

    /// Gives back what was fed beyond what is ready. Returns where to go on from.
    pub(super) fn give_back(&mut self) -> i64 {
        self.open = None;
        self.chunks.clear();
        self.stalled = true;
        self.fed = self.ready_end.max(self.ledger.read());
        self.fed
    }

    /// Drops what is not in hand.
    pub(super) fn retire(&mut self) {
        self.open = None;
        self.chunks.clear();
        self.ready.clear();
        self.retired = true;
    }
}
