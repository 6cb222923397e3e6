//! The orders that the next transaction settles together, from many partitions (group commit).
//!
//! Batches are kept beside what was decoded from them until the transaction is committed: the store
//! takes the decoded orders by value, and a try that failed is decoded anew instead of being copied
//! each time. Their frames stay counted as read ahead, so a slow store slows the fetch (G5).

use std::sync::Arc;

use litemap::LiteMap;

use super::super::breaker::{Breaker, Effect, Event};
use super::super::fetch::prefetch::Hold;
use super::decode::{Decoder, dead_letter};
use super::tales::{Audience, Tales};
use crate::flight::Recorded;
use crate::order::{Order, Violation};
use crate::store::{Batch, Entry, Part, Settled, Topic, Work};
use crate::wire::compression::Decompressor;
use crate::wire::record_batch::{BatchError, BatchView};

/// A transaction over this many orders has its fixed costs spread thin; more only makes orders wait, and takes memory three
/// times: here, in the transaction before it, and in the pages that the store has changed. Four times as many cost no
/// measurable part of CPU less, and 30 MB more.
const MAX_RECORDS: usize = 5_000;

/// Bounds the memory of decoded orders where they are large.
const MAX_BYTES: usize = 8 << 20;

/// How far a partition is decoded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cursor {
    /// The lowest offset that is neither settled nor in a group.
    pub(crate) next: i64,
    /// The offsets beyond `next` that are settled.
    pub(crate) settled: Settled,
    /// The leader epoch of the last batch before `next`, -1 if unknown.
    pub(crate) leader_epoch: i32,
}

impl Cursor {
    fn advance(&mut self, until: i64) {
        self.next = self.settled.advance(self.next.max(until));
    }
}

/// A transaction that is being put together.
#[derive(Debug)]
pub(crate) struct Group<O> {
    audience: Audience,
    parts: LiteMap<i32, GroupPart<O>>,
    records: usize,
    bytes: usize,
}

#[derive(Debug)]
struct GroupPart<O> {
    entries: Vec<Entry<O>>,
    segments: Vec<Segment>,
    tales: Tales,
    end: Cursor,
}

/// The stretch of a batch that belongs to a group.
#[derive(Debug)]
struct Segment {
    batch: BatchView,
    /// Where the partition stood before.
    start: Cursor,
    /// How many records were taken.
    records: usize,
    /// Keeps the frame counted.
    _hold: Option<Arc<Hold>>,
}

impl<O: Order> Group<O> {
    pub(crate) fn new(audience: Audience) -> Self {
        Self { audience, parts: LiteMap::new(), records: 0, bytes: 0 }
    }

    /// Whether nothing is to be settled or passed.
    pub(crate) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Whether it should wait for nothing more.
    pub(crate) fn is_full(&self) -> bool {
        self.records >= MAX_RECORDS || self.bytes >= MAX_BYTES
    }

    /// How many records it settles.
    pub(crate) fn records(&self) -> usize {
        self.records
    }

    /// Whether it settles or passes something of this partition.
    pub(crate) fn has(&self, partition: i32) -> bool {
        self.parts.contains_key(&partition)
    }

    /// Leaves a partition out.
    pub(crate) fn remove(&mut self, partition: i32) {
        if let Some(part) = self.parts.remove(&partition) {
            self.records = self.records.saturating_sub(part.entries.len());
        }
    }

    /// Takes the records of a batch that are not settled, at most `limit` of them, and none from the one on that trips the
    /// breaker.
    ///
    /// # Errors
    /// The batch cannot be read. Nothing of it is taken.
    pub(crate) fn take(
        &mut self,
        partition: i32,
        source: (BatchView, Option<Arc<Hold>>),
        (cursor, breaker): (&mut Cursor, &mut Recorded<Breaker>),
        limit: usize,
        decompressor: &mut Decompressor,
    ) -> Result<Option<Tripped>, BatchError> {
        let (batch, hold) = source;
        let start = cursor.clone();
        let is_first = !self.parts.contains_key(&partition);
        let part = self.parts.entry(partition).or_insert_with(|| GroupPart::at(cursor, self.audience));
        let before = part.entries.len();
        let taken = read(&batch, &start, limit, decompressor, &mut part.entries, Some((&mut part.tales, breaker)));
        let read = match taken {
            Ok(read) => read,
            Err(error) => {
                part.entries.truncate(before);
                part.tales.truncate(before);
                if is_first {
                    self.parts.remove(&partition);
                }
                return Err(error);
            }
        };
        let records = part.entries.len().saturating_sub(before);
        if is_first && records == 0 && read.tripped.is_some() {
            self.parts.remove(&partition);
            return Ok(read.tripped);
        }
        cursor.leader_epoch = batch.leader_epoch();
        cursor.advance(read.until);
        part.end = cursor.clone();
        part.segments.push(Segment { batch, start, records, _hold: hold });
        self.records += records;
        self.bytes += read.bytes;
        Ok(read.tripped)
    }

    /// There is nothing to settle in this batch.
    pub(crate) fn pass_batch(&mut self, partition: i32, batch: &BatchView, cursor: &mut Cursor) {
        let until = batch.last_offset().saturating_add(1);
        if until > cursor.next {
            cursor.leader_epoch = batch.leader_epoch();
        }
        self.pass(partition, until, cursor);
    }

    /// There is nothing to settle in a partition before `until`.
    pub(crate) fn pass(&mut self, partition: i32, until: i64, cursor: &mut Cursor) {
        if until > cursor.next {
            cursor.advance(until);
            let begin = || GroupPart::at(cursor, self.audience);
            self.parts.entry(partition).or_insert_with(begin).end = cursor.clone();
        }
    }

    /// Closes the group. `version` tells the version of each partition's position.
    pub(crate) fn seal(&mut self, topic: &Topic, version: impl Fn(i32) -> u64) -> (Batch<O>, Sealed) {
        let mut batch = Batch { topic: topic.clone(), parts: Vec::with_capacity(self.parts.len()) };
        let mut sealed = Sealed { topic: topic.clone(), records: self.records, parts: Vec::new() };
        for (partition, part) in std::mem::take(&mut self.parts) {
            let (expected, token) = (version(partition), fastrand::u128(..));
            let kept = SealedPart { partition, expected, token, segments: part.segments, end: part.end };
            batch.parts.push(kept.part(part.entries));
            sealed.parts.push((kept, part.tales));
        }
        (self.records, self.bytes) = (0, 0);
        (batch, sealed)
    }
}

impl<O> GroupPart<O> {
    fn at(cursor: &Cursor, audience: Audience) -> Self {
        Self { entries: Vec::new(), segments: Vec::new(), tales: Tales::new(audience), end: cursor.clone() }
    }
}

/// A transaction that was given to the store, with all that is needed to give it again.
#[derive(Debug)]
pub(crate) struct Sealed {
    pub(crate) topic: Topic,
    records: usize,
    parts: Vec<(SealedPart, Tales)>,
}

/// What a sealed transaction settles of one partition.
#[derive(Debug)]
pub(crate) struct SealedPart {
    pub(crate) partition: i32,
    pub(crate) expected: u64,
    token: u128,
    segments: Vec<Segment>,
    end: Cursor,
}

impl Sealed {
    /// How many records it settles.
    pub(crate) fn records(&self) -> usize {
        self.records
    }

    /// Its parts, as they are in the batch, with what is to be told of them.
    pub(crate) fn parts(&self) -> impl Iterator<Item = (&SealedPart, &Tales)> {
        self.parts.iter().map(|(part, tales)| (part, tales))
    }

    /// Whether it settles or passes something of this partition.
    pub(crate) fn has(&self, partition: i32) -> bool {
        self.parts.iter().any(|(part, _)| part.partition == partition)
    }

    /// The same batch once more, with the same tokens (rule R5).
    ///
    /// # Errors
    /// A batch that was readable is not any more, which is a bug.
    pub(crate) fn again<O: Order>(&self, decompressor: &mut Decompressor) -> Result<Batch<O>, BatchError> {
        let mut parts = Vec::with_capacity(self.parts.len());
        for (part, _) in &self.parts {
            let mut entries = Vec::new();
            for segment in &part.segments {
                read(&segment.batch, &segment.start, segment.records, decompressor, &mut entries, None)?;
            }
            parts.push(part.part(entries));
        }
        Ok(Batch { topic: self.topic.clone(), parts })
    }
}

impl SealedPart {
    fn part<O>(&self, entries: Vec<Entry<O>>) -> Part<O> {
        Part {
            partition: self.partition,
            expected: self.expected,
            token: self.token,
            next: self.end.next,
            settled: self.end.settled.clone(),
            leader_epoch: self.end.leader_epoch,
            entries,
        }
    }
}

/// The record that tripped its partition's breaker, and stays undecided.
#[derive(Debug)]
pub(crate) struct Tripped {
    pub(crate) offset: i64,
    pub(crate) probe: u32,
    pub(crate) violation: Violation,
}

/// How far a batch was read.
struct Read {
    until: i64,
    bytes: usize,
    tripped: Option<Tripped>,
}

fn read<O: Order>(
    batch: &BatchView,
    start: &Cursor,
    limit: usize,
    decompressor: &mut Decompressor,
    entries: &mut Vec<Entry<O>>,
    mut first: Option<(&mut Tales, &mut Recorded<Breaker>)>,
) -> Result<Read, BatchError> {
    let mut done = Read { until: batch.last_offset().saturating_add(1), bytes: 0, tripped: None };
    let (mut left, mut through, mut decoder) = (limit, 0_u32, Decoder::default());
    let records = batch.records(decompressor)?;
    for record in records {
        let record = record?;
        if record.offset < start.next || start.settled.contains(record.offset) {
            continue;
        }
        if left == 0 {
            done.until = record.offset;
            break;
        }
        left -= 1;
        let decoded = decoder.decode::<O>(record.value, record.headers.map(|header| (header.key, header.value)));
        let work = match decoded.order {
            Ok(order) => {
                through = through.saturating_add(1);
                if let Some((_, breaker)) =
                    first.as_mut().filter(|(_, breaker)| breaker.undecided() == Some(record.offset))
                {
                    breaker.take(Event::Decided(record.offset));
                }
                Work::Apply(order)
            }
            Err(violation) => {
                if let Some((_, breaker)) = &mut first {
                    breaker.take(Event::WentThrough(std::mem::take(&mut through)));
                    if let Effect::Hold(probe) = breaker.take(Event::Failing(record.offset)) {
                        done.until = record.offset;
                        done.tripped = Some(Tripped { offset: record.offset, probe, violation });
                        break;
                    }
                }
                Work::DeadLetter(dead_letter(&record, &violation))
            }
        };
        done.bytes = done.bytes.saturating_add(record.value.map_or(0, <[u8]>::len));
        if let Some((tales, _)) = &mut first {
            tales.keep(&record);
        }
        entries.push(Entry { offset: record.offset, timestamp: record.timestamp, identity: decoded.identity, work });
    }
    if let Some((_, breaker)) = first {
        breaker.take(Event::WentThrough(through));
    }
    Ok(done)
}

#[cfg(test)]
mod tests;
