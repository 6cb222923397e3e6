//! A partition's batches that wait to be decoded.

use std::collections::VecDeque;
use std::sync::Arc;

use super::super::fetch::Fetched;
use super::super::fetch::prefetch::Hold;
use crate::wire::compression::Decompressor;
use crate::wire::record_batch::{AbortedTransactions, BatchError, BatchReader, BatchView, Judgement};

/// The batches of one partition, in the order of its log and without a gap.
#[derive(Debug)]
pub(crate) struct Chunks {
    waiting: VecDeque<Chunk>,
    /// The offset behind what was taken; `None` once nothing more is.
    next: Option<i64>,
}

/// A partition's part of one answer.
#[derive(Debug)]
struct Chunk {
    batches: BatchReader,
    aborted: AbortedTransactions,
    next: i64,
    hold: Option<Arc<Hold>>,
}

/// What comes next in a partition.
#[derive(Debug)]
pub(crate) enum Next {
    /// A batch whose records are for the application, with what counts its frame.
    Batch(BatchView, Option<Arc<Hold>>),
    /// A batch of which nothing is for the application: a marker, or records of a transaction that was given up. The position
    /// moves beyond it, and with it the leader epoch of what lies before the position.
    Skipped(BatchView),
    /// Nothing for the application before this offset.
    Nothing(i64),
}

impl Chunks {
    /// Batches from this offset on.
    pub(crate) fn starting_at(next: i64) -> Self {
        Self { waiting: VecDeque::new(), next: Some(next) }
    }

    /// Takes a partition's part of an answer. What begins further on is left: it was asked for before something was dropped,
    /// and to take it would pass that over.
    pub(crate) fn push(&mut self, fetched: Fetched) {
        #[cfg(test)]
        if crate::plant::is(crate::plant::Plant::GapTaken) {
            self.next = Some(i64::MAX);
        }
        let Some(next) = self.next.filter(|next| fetched.from <= *next) else { return };
        self.next = Some(next.max(fetched.next));
        self.waiting.push_back(Chunk {
            batches: fetched.batches,
            aborted: AbortedTransactions::new(fetched.aborted),
            next: fetched.next,
            hold: fetched.hold,
        });
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Drops what waits, and goes on from this offset.
    pub(crate) fn rewind(&mut self, next: i64) {
        self.waiting.clear();
        self.next = Some(next);
    }

    /// Drops what waits, and takes nothing more.
    pub(crate) fn close(&mut self) {
        self.waiting.clear();
        self.next = None;
    }

    /// What comes next; `None` if nothing waits.
    ///
    /// # Errors
    /// The batch that cannot be read.
    pub(crate) fn next(&mut self, decompressor: &mut Decompressor) -> Result<Option<Next>, BatchError> {
        let Some(chunk) = self.waiting.front_mut() else { return Ok(None) };
        let Some(batch) = chunk.batches.next().transpose()? else {
            let next = chunk.next;
            self.waiting.pop_front();
            return Ok(Some(Next::Nothing(next)));
        };
        batch.check_crc()?;
        let control = if batch.is_control() { batch.control(decompressor)? } else { None };
        Ok(Some(match chunk.aborted.judge(&batch, control) {
            Judgement::Deliver => Next::Batch(batch, chunk.hold.clone()),
            Judgement::Skip => Next::Skipped(batch),
        }))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::consumer::fetch::Stretch;

    fn fetched(from: i64, next: i64) -> Fetched {
        Fetched {
            partition: 0,
            stretch: Stretch::default(),
            batches: BatchReader::new(Bytes::new()),
            from,
            next,
            leader_epoch: None,
            aborted: Vec::new(),
            fault: None,
            end: next,
            hold: None,
        }
    }

    /// The offsets behind what was taken.
    fn taken(chunks: &mut Chunks) -> Vec<i64> {
        let mut decompressor = Decompressor::new();
        let next = || match chunks.next(&mut decompressor).unwrap() {
            Some(Next::Nothing(until)) => Some(until),
            _ => None,
        };
        std::iter::from_fn(next).collect()
    }

    #[test]
    fn what_does_not_go_on_where_the_last_ended_is_left() {
        let mut chunks = Chunks::starting_at(5);
        [(5, 8), (9, 12), (8, 10), (6, 9), (11, 12)]
            .into_iter()
            .for_each(|(from, next)| chunks.push(fetched(from, next)));
        assert_eq!(taken(&mut chunks), [8, 10, 9]);
        chunks.push(fetched(10, 20));
        chunks.rewind(12);
        [(20, 25), (12, 14)].into_iter().for_each(|(from, next)| chunks.push(fetched(from, next)));
        assert_eq!(taken(&mut chunks), [14]);
        chunks.close();
        chunks.push(fetched(0, 30));
        assert!(taken(&mut chunks).is_empty());
    }
}
