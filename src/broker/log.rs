//! One partition's log: raw batches in the order of their offsets.
//!
//! It is pure: no clock, no lock, no socket. It looks at headers only; records are never decoded, except to find an offset by time.
//! Two fields of a batch's header are the broker's own, the base offset and the leader epoch. They stand before what the checksum covers,
//! so they are written when a batch is sent ([`Stored::prefix`]) and the bytes that a producer sent are kept as they came.
//!
//! ```text
//!      start                                             end = high watermark (there is one copy of each log)
//!        v                                                v
//!   .....[ batch ][ batch ][ open transaction ... ][ batch ]
//!                          ^ last stable offset
//! ```

mod compaction;
mod epochs;
mod sequences;
mod transactions;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use self::epochs::Epochs;
use self::sequences::{Judgement, Sequences, Stamp};
use self::transactions::Transactions;
pub(super) use self::transactions::{Aborted, Ending};
use crate::wire::compression::Decompressor;
use crate::wire::record_batch::{BatchReader, BatchView, ControlType, set_log_append_time};

/// Bytes of a batch's header that the broker writes itself: base offset, length, leader epoch.
pub(super) const PREFIX: usize = 16;

/// Batches smaller than this are copied out of the frame that they came in, so that a small batch does not keep a large frame.
const OWN_BELOW: usize = 16 << 10;

/// A batch that was checked and may be appended.
#[derive(Clone, Debug)]
pub(super) struct Incoming {
    bytes: Bytes,
    last_offset_delta: i64,
    max_timestamp: i64,
    stamp: Stamp,
    transactional: bool,
    ending: Option<Ending>,
}

/// A batch in the log.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    base_offset: i64,
    last_offset: i64,
    leader_epoch: i32,
    max_timestamp: i64,
    /// The largest timestamp of this batch and all before it: it never falls, so it can be searched.
    newest: i64,
    /// Bytes before this batch, counted from the first batch ever appended.
    position: u64,
    bytes: Bytes,
}

/// Where a batch went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Appended {
    /// To the end of the log.
    At(i64),
    /// Nowhere: it has been in the log since before.
    Before(i64),
}

/// Why a batch cannot be appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotAppended {
    OutOfOrderSequence,
    OldEpoch,
    UnknownProducer,
}

/// An offset with the time of its record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) offset: i64,
    pub(super) timestamp: i64,
    pub(super) leader_epoch: i32,
}

/// Which records a reader may see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Isolation {
    /// All.
    ReadUncommitted,
    /// Those before the first open transaction.
    ReadCommitted,
}

#[derive(Debug, Default)]
pub(super) struct PartitionLog {
    batches: VecDeque<Stored>,
    start: i64,
    end: i64,
    /// Bytes ever appended.
    written: u64,
    epochs: Epochs,
    sequences: Sequences,
    transactions: Transactions,
}

impl Incoming {
    pub(super) fn new(batch: &BatchView) -> Self {
        let stamp = batch.stamp();
        let bytes = batch.bytes();
        let ending = match batch.control(&mut Decompressor::default()) {
            Ok(Some(ControlType::Commit)) => Some(Ending::Commit),
            Ok(Some(ControlType::Abort)) => Some(Ending::Abort),
            Ok(_) | Err(_) => None,
        };
        Self {
            bytes: if bytes.len() < OWN_BELOW { Bytes::copy_from_slice(bytes) } else { bytes.clone() },
            last_offset_delta: batch.last_offset() - batch.base_offset(),
            max_timestamp: batch.max_timestamp(),
            stamp: Stamp {
                id: stamp.producer_id,
                epoch: stamp.producer_epoch,
                first: stamp.base_sequence,
                count: i32::try_from(batch.count()).unwrap_or(i32::MAX),
            },
            transactional: batch.is_transactional(),
            ending,
        }
    }

    pub(super) fn size(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn max_timestamp(&self) -> i64 {
        self.max_timestamp
    }

    /// The batch with this time for all its records, as `message.timestamp.type=LogAppendTime` demands.
    pub(super) fn at_append_time(mut self, now: i64) -> Self {
        let mut bytes = BytesMut::from(self.bytes);
        set_log_append_time(&mut bytes, now);
        (self.bytes, self.max_timestamp) = (bytes.freeze(), now);
        self
    }
}

impl Stored {
    pub(super) fn last_offset(&self) -> i64 {
        self.last_offset
    }

    /// What stands before the batch's own bytes when it is sent.
    pub(super) fn prefix(&self) -> [u8; PREFIX] {
        let mut prefix = [0; PREFIX];
        let (offset, rest) = prefix.split_at_mut(8);
        let (length, epoch) = rest.split_at_mut(4);
        offset.copy_from_slice(&self.base_offset.to_be_bytes());
        length.copy_from_slice(self.bytes.get(8..12).unwrap_or(&[0; 4]));
        epoch.copy_from_slice(&self.leader_epoch.to_be_bytes());
        prefix
    }

    /// What follows the prefix.
    pub(super) fn body(&self) -> Bytes {
        self.bytes.slice(PREFIX.min(self.bytes.len())..)
    }

    pub(super) fn size(&self) -> usize {
        self.bytes.len()
    }

    /// The first record for which `wanted` holds of its offset and its time. Undecodable records end the search.
    fn find(&self, wanted: impl Fn(i64, i64) -> bool) -> Option<Found> {
        let batch = BatchReader::new(self.bytes.clone()).next()?.ok()?;
        let mut decompressor = Decompressor::default();
        let records = batch.records(&mut decompressor).ok()?.map_while(Result::ok);
        let placed = records.map(|record| (self.base_offset + (record.offset - batch.base_offset()), record.timestamp));
        let (offset, timestamp) = placed.into_iter().find(|(offset, timestamp)| wanted(*offset, *timestamp))?;
        Some(Found { offset, timestamp, leader_epoch: self.leader_epoch })
    }
}

impl PartitionLog {
    pub(super) fn start(&self) -> i64 {
        self.start
    }

    /// The offset that the next record gets, and the high watermark.
    pub(super) fn end(&self) -> i64 {
        self.end
    }

    /// The offset of the first open transaction, or the end.
    pub(super) fn last_stable(&self) -> i64 {
        self.transactions.first_open().unwrap_or(self.end)
    }

    /// The offset before which a reader may see records.
    pub(super) fn visible(&self, isolation: Isolation) -> i64 {
        match isolation {
            Isolation::ReadUncommitted => self.end,
            Isolation::ReadCommitted => self.last_stable(),
        }
    }

    /// Bytes of all batches held.
    pub(super) fn bytes(&self) -> u64 {
        self.batches.front().map_or(0, |first| self.written - first.position)
    }

    /// Appends a batch at the end unless it is there already.
    pub(super) fn append(&mut self, batch: Incoming, leader_epoch: i32) -> Result<Appended, NotAppended> {
        match self.sequences.judge(batch.stamp) {
            Judgement::Duplicate { base_offset } => Ok(Appended::Before(base_offset)),
            Judgement::OutOfOrder => Err(NotAppended::OutOfOrderSequence),
            Judgement::OldEpoch => Err(NotAppended::OldEpoch),
            Judgement::Unknown => Err(NotAppended::UnknownProducer),
            Judgement::Next => Ok(Appended::At(self.push(batch, self.end, leader_epoch))),
        }
    }

    /// Appends a batch unasked, at an offset that may leave a hole, as the log cleaner leaves one.
    pub(super) fn inject(&mut self, batch: Incoming, base_offset: i64, leader_epoch: i32) -> i64 {
        self.push(batch, base_offset.max(self.end), leader_epoch)
    }

    fn push(&mut self, batch: Incoming, base_offset: i64, leader_epoch: i32) -> i64 {
        let last_offset = base_offset + batch.last_offset_delta;
        match batch.ending {
            Some(ending) => {
                self.sequences.fence(batch.stamp.id, batch.stamp.epoch);
                self.transactions.end(batch.stamp.id, ending, last_offset);
            }
            None => {
                self.sequences.written(batch.stamp, base_offset);
                if batch.transactional {
                    self.transactions.begin(batch.stamp.id, base_offset);
                }
            }
        }
        self.epochs.begin(leader_epoch, base_offset);
        let newest = self.batches.back().map_or(i64::MIN, |last| last.newest).max(batch.max_timestamp);
        let position = self.written;
        self.written += batch.bytes.len() as u64;
        self.end = last_offset + 1;
        let Incoming { bytes, max_timestamp, .. } = batch;
        self.batches.push_back(Stored {
            base_offset,
            last_offset,
            leader_epoch,
            max_timestamp,
            newest,
            position,
            bytes,
        });
        base_offset
    }

    fn index_of(&self, offset: i64) -> usize {
        self.batches.partition_point(|batch| batch.last_offset < offset)
    }

    /// The batches from the one that holds `offset` on, as long as they begin before `until`.
    pub(super) fn read(&self, offset: i64, until: i64) -> impl Iterator<Item = &Stored> {
        self.batches.range(self.index_of(offset)..).take_while(move |batch| batch.base_offset < until)
    }

    /// The bytes that [`PartitionLog::read`] would give in all.
    pub(super) fn readable(&self, offset: i64, until: i64) -> u64 {
        let position = |index| self.batches.get(index).map_or(self.written, |batch| batch.position);
        let behind = self.batches.partition_point(|batch| batch.base_offset < until);
        position(behind).saturating_sub(position(self.index_of(offset)))
    }

    /// The aborted transactions that have records from `offset` to before `until`.
    pub(super) fn aborted(&self, offset: i64, until: i64) -> impl Iterator<Item = Aborted> {
        self.transactions.aborted(offset, until)
    }

    /// The first record that is at least as new as `timestamp`.
    pub(super) fn at_time(&self, timestamp: i64) -> Option<Found> {
        let first = self.batches.partition_point(|batch| batch.newest < timestamp);
        let may_hold = self.batches.range(first..).filter(|batch| batch.max_timestamp >= timestamp);
        // Records before the log's start may share a batch with the first that is left.
        may_hold.into_iter().find_map(|batch| batch.find(|offset, time| offset >= self.start && time >= timestamp))
    }

    /// The first record that has the newest time of all.
    pub(super) fn newest(&self) -> Option<Found> {
        let newest = self.batches.back()?.newest;
        let first = self.batches.partition_point(|batch| batch.newest < newest);
        self.batches.get(first)?.find(|_, time| time == newest)
    }

    /// The epoch in which the record at `offset` was written, or of the last record before it.
    pub(super) fn epoch_at(&self, offset: i64) -> Option<i32> {
        self.epochs.at(offset)
    }

    /// The last epoch that is not beyond `epoch`, with the offset behind its last record.
    pub(super) fn epoch_end(&self, epoch: i32) -> Option<(i32, i64)> {
        self.epochs.end_of(epoch, self.end)
    }

    /// Notes that a new leader begins.
    pub(super) fn begin_epoch(&mut self, epoch: i32) {
        self.epochs.begin(epoch, self.end);
    }

    /// Deletes what is before `offset`, as retention does. Batches go whole; the batch that holds `offset` stays.
    pub(super) fn delete_before(&mut self, offset: i64) {
        self.start = offset.clamp(self.start, self.end);
        let gone = self.index_of(self.start);
        self.batches.drain(..gone);
        self.transactions.forget_before(self.start);
    }

    /// Deletes whole batches from the front until no more than `bytes` are held.
    pub(super) fn shrink_to(&mut self, bytes: u64) {
        while self.bytes() > bytes && self.batches.len() > 1 {
            let next = self.batches.get(1).map_or(self.end, |batch| batch.base_offset);
            self.delete_before(next);
        }
    }

    /// Forgets who wrote here. Then unknown producers either begin where they like, or are refused unless they begin at 0.
    pub(super) fn forget_producers(&mut self, refuses_unknown: bool) {
        self.sequences.forget(refuses_unknown);
    }

    /// Loses the batches from the one that holds `offset` on, as an unclean election does.
    pub(super) fn truncate(&mut self, offset: i64) {
        let first = self.index_of(offset);
        let Some(lost) = self.batches.get(first) else { return };
        (self.end, self.written) = (lost.base_offset, lost.position);
        self.batches.truncate(first);
        self.start = self.start.min(self.end);
        self.epochs.truncate(self.end);
        self.sequences.truncate(self.end);
        self.transactions.truncate(self.end);
    }
}
