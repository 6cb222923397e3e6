//! A partition whose orders go to a handler.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::super::super::breaker::Breaker;
use super::super::super::delivered::{Delivered, Origin};
use super::super::super::fetch::Fetched;
use super::super::super::fetch::prefetch::Hold;
use super::super::super::ledger::RecordedLedger;
use super::super::super::record::RecordBytes;
use super::super::super::retry_topic::{REPLAYED_FOR, is_for_another};
use super::super::chunk::{Chunks, Next};
use super::super::decode::Decoder;
use super::Item;
use super::tries::Tries;
use crate::flight::Recorded;
use crate::order::{Order, Violation};
use crate::store::Position;
use crate::wire::compression::{Compression, Decompressor};
use crate::wire::record_batch::{BatchError, BatchView, Record, RecordFields, RecordsProgress};

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
    /// Records of it that come next.
    ready: VecDeque<Ready>,
    /// Their bodies, copied out of their frame.
    stride: Bytes,
    /// The offset behind them.
    ready_end: i64,
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
    /// Where the store has it, and how often in a row somebody else had moved it: where a store settles its orders.
    pub(super) stored: Position,
    pub(super) conflicts: u32,
    /// What was decided of it is undone there: nothing more of this life is settled.
    pub(super) lost: bool,
    /// It is of a retry topic: the group for which its records must have been replayed.
    pub(super) addressee: Option<Arc<str>>,
}

/// A record whose turn comes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ready {
    pub(super) offset: i64,
    pub(super) timestamp: i64,
    /// Where its body stands in the stride.
    start: usize,
    end: usize,
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
            chunks: Chunks::starting_at(next),
            open: None,
            ready: VecDeque::new(),
            stride: Bytes::new(),
            ready_end: next,
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
            stored: Position::default(),
            conflicts: 0,
            lost: false,
            addressee: None,
        }
    }

    /// Takes what was fetched.
    pub(super) fn feed(&mut self, fetched: Fetched) {
        self.end = Some(fetched.end);
        if !self.stalled {
            self.chunks.push(fetched);
        }
    }

    /// Whether it takes nothing more for now.
    pub(super) fn is_held(&self) -> bool {
        self.held || self.breaker.is_open()
    }

    /// Whether its orders may go through one after the other, none of them out of the ordinary for what is known.
    pub(super) fn goes_through(&self) -> bool {
        !self.is_held()
            && self.breaker.undecided().is_none()
            && !self.retired
            && !self.worrying
            && self.tries.is_empty()
    }

    /// The handler is done with this order.
    pub(super) fn went_through(&mut self, ready: Ready) {
        self.ledger.went_through(ready.offset);
        self.settled_until = Some(ready.timestamp);
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
                Some(Next::Skipped(batch)) => {
                    self.epoch_of(&batch);
                    self.ready_end = self.ready_end.max(batch.last_offset().saturating_add(1));
                }
                Some(Next::Nothing(until)) => self.ready_end = self.ready_end.max(until),
                Some(Next::Batch(batch, hold)) => {
                    self.epoch_of(&batch);
                    let open = Open { batch, progress: RecordsProgress::default(), _hold: hold };
                    self.unpack(open, arena, decompressor)?;
                }
            }
        }
        Ok(true)
    }

    /// Notes under which leader epoch a batch was written.
    fn epoch_of(&mut self, batch: &BatchView) {
        let from = self.ledger.read().max(batch.base_offset());
        self.ledger.epoch_begins(from, batch.leader_epoch());
    }

    /// Whether a record is ready.
    pub(super) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// The next record that is ready, with its bytes.
    pub(super) fn first(&self) -> Option<(Ready, RecordBytes)> {
        let ready = *self.ready.front()?;
        Some((ready, RecordBytes::new(self.stride.slice(ready.start..ready.end))))
    }

    /// Takes the next record that is ready off its place.
    pub(super) fn drop_first(&mut self) {
        self.ready.pop_front();
        if self.ready.is_empty() {
            self.stride = Bytes::new();
        }
    }

    /// The order in a record, as its handler is given it for the first time.
    ///
    /// # Errors
    /// The rule that the record breaks.
    #[inline]
    pub(super) fn deliver<O: Order>(
        &self,
        decoder: &mut Decoder,
        record: RecordBytes,
        (offset, timestamp): (i64, i64),
    ) -> Result<Delivered<O>, Violation> {
        let RecordFields { value, headers, .. } = record.fields();
        let decoded = decoder.decode::<O>(value, headers.map(|header| (header.key, header.value)));
        let mut order = decoded.order?;
        if let Some(identity) = decoded.identity {
            order.set_identity(identity);
        }
        Ok(Delivered { order, record, origin: self.origin.clone(), offset, timestamp, attempt: 1 })
    }

    /// The record, to be settled for the first time.
    pub(super) fn item(&self, ready: Ready, record: RecordBytes) -> Item {
        Item {
            partition: self.origin.at.partition,
            life: self.life,
            offset: ready.offset,
            timestamp: ready.timestamp,
            attempt: 1,
            failing: None,
            record,
        }
    }

    /// Makes a batch's next records ready. Compressed ones are copied all at once, so that they are decompressed once.
    fn unpack(
        &mut self,
        mut open: Open,
        arena: &mut BytesMut,
        decompressor: &mut Decompressor,
    ) -> Result<(), BatchError> {
        let stride = if open.batch.compression() == Compression::None { STRIDE } else { usize::MAX };
        arena.reserve(STRIDE_BYTES);
        let mut records = open.batch.records(decompressor)?.resume(open.progress);
        let copied = self.copy(records.by_ref().take(stride), arena);
        self.stride = arena.split().freeze();
        copied?;
        if records.is_at_end() {
            self.ready_end = open.batch.last_offset().saturating_add(1);
        } else {
            open.progress = records.progress();
            self.open = Some(open);
        }
        Ok(())
    }

    /// Copies records out of their frame.
    fn copy<'a>(
        &mut self,
        records: impl Iterator<Item = Result<Record<'a>, BatchError>>,
        arena: &mut BytesMut,
    ) -> Result<(), BatchError> {
        let next = self.ledger.read();
        for record in records {
            let record = record?;
            self.ready_end = record.offset.saturating_add(1);
            if record.offset < next || self.is_for_another(&record) {
                continue;
            }
            let start = arena.len();
            arena.extend_from_slice(record.body());
            let (offset, timestamp) = (record.offset, record.timestamp);
            self.ready.push_back(Ready { offset, timestamp, start, end: arena.len() });
        }
        Ok(())
    }

    fn is_for_another(&self, record: &Record<'_>) -> bool {
        let named = || record.headers.named(REPLAYED_FOR.as_bytes());
        self.addressee.as_ref().is_some_and(|group| is_for_another(group, named()))
    }

    /// Gives back what was fed beyond what is ready. Returns where to go on from.
    pub(super) fn give_back(&mut self) -> i64 {
        let next = self.ready_end.max(self.ledger.read());
        self.open = None;
        self.chunks.rewind(next);
        self.stalled = true;
        next
    }

    /// Drops what is not in hand.
    pub(super) fn retire(&mut self) {
        self.open = None;
        self.chunks.close();
        self.ready.clear();
        self.stride = Bytes::new();
        self.retired = true;
    }
}
