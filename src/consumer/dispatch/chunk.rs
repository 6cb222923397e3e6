//! A partition's batches that wait to be decoded.

use std::collections::VecDeque;
use std::sync::Arc;

use super::super::fetch::Fetched;
use super::super::fetch::prefetch::Hold;
use crate::wire::compression::Decompressor;
use crate::wire::record_batch::{AbortedTransactions, BatchError, BatchReader, BatchView, Judgement};

/// The batches of one partition, in the order of its log.
#[derive(Debug, Default)]
pub(crate) struct Chunks {
    waiting: VecDeque<Chunk>,
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
    /// Takes a partition's part of an answer.
    pub(crate) fn push(&mut self, fetched: Fetched) {
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

    /// Drops what waits.
    pub(crate) fn clear(&mut self) {
        self.waiting.clear();
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
