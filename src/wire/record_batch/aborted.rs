//! Which batches of a fetch belong to aborted transactions, so that they are not delivered.
//!
//! With `isolation.level=read_committed` a broker sends aborted records all the same, and beside them the list of aborted
//! transactions (KIP-98); the client leaves them out. A pure machine: batches go in, in the order of the log.

use std::collections::{BTreeSet, VecDeque};

use super::read::BatchView;

/// What a control batch's record says. Its key holds a version and this type, 16 bits each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ControlType {
    /// The transaction is aborted.
    Abort,
    /// The transaction is committed.
    Commit,
}

impl ControlType {
    pub(super) fn of_key(key: &[u8]) -> Option<Self> {
        let [_, _, high, low, ..] = key else { return None };
        match i16::from_be_bytes([*high, *low]) {
            0 => Some(Self::Abort),
            1 => Some(Self::Commit),
            _ => None,
        }
    }

    /// The record key that says this.
    #[must_use]
    pub fn key(self) -> [u8; 4] {
        [0, 0, 0, u8::from(self == Self::Commit)]
    }
}

/// What to do with a batch. Either way the position moves past it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// Its records are for the application.
    Deliver,
    /// It is a marker, or part of an aborted transaction.
    Skip,
}

/// The aborted transactions of one partition's fetch.
#[derive(Clone, Debug, Default)]
pub struct AbortedTransactions {
    /// Transactions that have not begun at the batches seen, by first offset.
    ahead: VecDeque<(i64, i64)>,
    /// Producers whose records are being left out.
    open: BTreeSet<i64>,
}

impl AbortedTransactions {
    /// Takes the fetch's list: producer id and first offset of each aborted transaction, in any order.
    #[must_use]
    pub fn new(aborted: impl IntoIterator<Item = (i64, i64)>) -> Self {
        let mut ahead: Vec<_> =
            aborted.into_iter().map(|(producer_id, first_offset)| (first_offset, producer_id)).collect();
        ahead.sort_unstable();
        Self { ahead: ahead.into(), open: BTreeSet::new() }
    }

    /// Judges the next batch. `control` is what [`BatchView::control`] says of it.
    pub fn judge(&mut self, batch: &BatchView, control: Option<ControlType>) -> Judgement {
        let begun = self.ahead.partition_point(|(first, _)| *first <= batch.last_offset());
        self.open.extend(self.ahead.drain(..begun).map(|(_, producer_id)| producer_id));
        if batch.is_control() {
            if control == Some(ControlType::Abort) {
                self.open.remove(&batch.producer_id());
            }
            return Judgement::Skip;
        }
        if batch.is_transactional() && self.open.contains(&batch.producer_id()) {
            return Judgement::Skip;
        }
        Judgement::Deliver
    }
}
