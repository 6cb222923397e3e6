//! A batch on its way: filled, then sealed, cut if the broker minds some of its records.

use std::sync::Arc;

use tokio::time::Instant;

use super::failure::Failure;
use super::idempotence::{BatchId, Number};
use super::receipt::Kept;
use crate::wire::compression::{Compression, Compressor, Decompressor};
use crate::wire::record_batch::{BatchBuilder, BatchReader, ClosedBatch, Header, ProducerStamp, RecordParts};

/// A batch that has no number yet. The last one of a partition takes records, unless it is full.
#[derive(Debug)]
pub(super) struct Filling {
    pub(super) builder: BatchBuilder,
    pub(super) outcome: Kept,
    pub(super) opened: Instant,
    pub(super) full: bool,
    /// Somebody waits for it to be sent, whatever `linger.ms` says.
    pub(super) urgent: bool,
}

impl Filling {
    pub(super) fn new(builder: BatchBuilder, outcome: Kept, opened: Instant) -> Self {
        Self { builder, outcome, opened, full: false, urgent: false }
    }
}

/// A batch that has a number and waits for its answer.
#[derive(Debug)]
pub(super) struct Sealed {
    pub(super) id: BatchId,
    /// `None` while it is being closed.
    pub(super) closed: Option<ClosedBatch>,
    pub(super) outcome: Kept,
    /// Which of the outcome's orders it holds.
    pub(super) first: u32,
    pub(super) count: u32,
    pub(super) deadline: Instant,
    /// How much of the buffer's memory it takes.
    pub(super) charged: usize,
    pub(super) tries: u32,
    /// What the last try came to.
    pub(super) trouble: Option<Arc<Failure>>,
    /// The records that the broker minds, by their number in this batch.
    pub(super) culprits: Vec<(u32, Arc<Failure>)>,
}

impl Sealed {
    /// Puts its number on it, unless it is there.
    pub(super) fn stamp(&mut self, producer_id: i64, number: Number) {
        let stamp = stamp(producer_id, number);
        if let Some(closed) = self.closed.as_mut().filter(|closed| closed.stamped() != stamp) {
            closed.stamp(stamp);
        }
    }

    /// What is left of it without its culprits, as batches of their own that have no number yet. `None` if its bytes cannot be read.
    pub(super) fn pieces(&self, compression: Compression) -> Option<Vec<Self>> {
        let runs = self.runs();
        let closed = recut(self.closed.as_ref()?, &runs, compression)?;
        let piece = |((begin, count), closed): ((u32, u32), ClosedBatch)| Self {
            id: 0,
            charged: closed.len(),
            closed: Some(closed),
            outcome: self.outcome.clone(),
            first: self.first.saturating_add(begin),
            count,
            deadline: self.deadline,
            tries: 0,
            trouble: self.trouble.clone(),
            culprits: Vec::new(),
        };
        Some(runs.into_iter().zip(closed).map(piece).collect())
    }

    /// The runs of records to try apart: what is left between the culprits, or the two halves if none is named.
    fn runs(&self) -> Vec<(u32, u32)> {
        if self.culprits.is_empty() {
            let half = self.count / 2;
            return [(0, half), (half, self.count - half)].into_iter().filter(|(_, count)| *count > 0).collect();
        }
        let mut begin = 0;
        let mut runs = Vec::new();
        for end in self.culprits.iter().map(|(index, _)| *index).chain([self.count]) {
            if end > begin {
                runs.push((begin, end - begin));
            }
            begin = end.saturating_add(1);
        }
        runs
    }
}

/// What the broker recognises a batch by.
pub(super) fn stamp(producer_id: i64, number: Number) -> ProducerStamp {
    ProducerStamp { producer_id, producer_epoch: number.epoch, base_sequence: number.sequence }
}

/// Writes each run of a batch's records into a batch of its own. `None` if our own bytes cannot be read back.
fn recut(whole: &ClosedBatch, runs: &[(u32, u32)], compression: Compression) -> Option<Vec<ClosedBatch>> {
    let mut decompressor = Decompressor::with_limit(usize::MAX);
    let mut compressor = Compressor::new();
    let view = BatchReader::new(whole.bytes()).next()?.ok()?;
    let mut records = (0_u32..).zip(view.records(&mut decompressor).ok()?).peekable();
    let mut pieces = Vec::new();
    for (begin, count) in runs {
        let mut builder = BatchBuilder::new(compression, Vec::new());
        while let Some((_, record)) = records.next_if(|(index, _)| *index < begin.saturating_add(*count)) {
            let record = record.ok()?;
            // What stands before the run is a culprit.
            if record.offset < i64::from(*begin) {
                continue;
            }
            let headers: Vec<Header<'_>> = record.headers.collect();
            let parts = RecordParts { key: record.key, headers: &headers, value_len: record.value.map(<[u8]>::len) };
            let write = |out: &mut Vec<u8>| out.extend_from_slice(record.value.unwrap_or_default());
            builder.append(record.timestamp, &parts, write).ok()?;
        }
        pieces.push(builder.close(&mut compressor));
    }
    Some(pieces)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorCode;
    use crate::place::TopicPartition;

    fn batch(count: u32, compression: Compression) -> ClosedBatch {
        let mut builder = BatchBuilder::new(compression, Vec::new());
        for number in 0..count {
            let value = format!("value {number}").repeat(20);
            let headers = [Header { key: b"h", value: None }];
            let parts = RecordParts { key: Some(b"k"), headers: &headers, value_len: Some(value.len()) };
            builder.append(1000 + i64::from(number), &parts, |out| out.extend_from_slice(value.as_bytes())).unwrap();
        }
        builder.close(&mut Compressor::new())
    }

    fn sealed(count: u32, culprits: &[u32]) -> Sealed {
        let failure = Arc::new(Failure::new(ErrorCode::Refused, "no"));
        Sealed {
            id: 1,
            closed: None,
            outcome: Kept::new(TopicPartition::new("orders", 0)),
            first: 0,
            count,
            deadline: Instant::now(),
            charged: 0,
            tries: 1,
            trouble: None,
            culprits: culprits.iter().map(|index| (*index, failure.clone())).collect(),
        }
    }

    fn timestamps(batch: &ClosedBatch) -> Vec<i64> {
        let mut decompressor = Decompressor::new();
        let view = BatchReader::new(batch.bytes()).next().unwrap().unwrap();
        view.records(&mut decompressor).unwrap().map(|record| record.unwrap().timestamp - 1000).collect()
    }

    #[tokio::test]
    async fn a_batch_is_cut_around_its_culprits_or_in_halves() {
        for (count, culprits, runs) in [
            (6, &[][..], &[(0, 3), (3, 3)][..]),
            (1, &[], &[(0, 1)]),
            (6, &[0, 3], &[(1, 2), (4, 2)]),
            (6, &[2, 3, 5], &[(0, 2), (4, 1)]),
            (2, &[0, 1], &[]),
        ] {
            assert_eq!(sealed(count, culprits).runs(), runs, "{count} {culprits:?}");
        }
    }

    #[test]
    fn pieces_hold_the_records_of_their_runs_and_nothing_else() {
        for compression in [Compression::None, Compression::Lz4] {
            let pieces = recut(&batch(6, compression), &[(1, 2), (4, 2)], compression).unwrap();
            assert_eq!(pieces.iter().map(timestamps).collect::<Vec<_>>(), [vec![1, 2], vec![4, 5]]);
        }
    }
}
