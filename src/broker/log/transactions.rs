//! Remembers which transactions of a log are open or were aborted.

use std::collections::BTreeMap;

/// How a transaction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::broker) enum Ending {
    Commit,
    Abort,
}

/// An aborted transaction: whose it was, its first offset, and that of its marker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::broker) struct Aborted {
    pub(in crate::broker) producer_id: i64,
    pub(in crate::broker) first_offset: i64,
    last_offset: i64,
}

/// The transactions of one log.
#[derive(Debug, Default)]
pub(super) struct Transactions {
    /// The first offset of each producer's open transaction.
    open: BTreeMap<i64, i64>,
    aborted: Vec<Aborted>,
}

impl Transactions {
    pub(super) fn begin(&mut self, producer_id: i64, offset: i64) {
        self.open.entry(producer_id).or_insert(offset);
    }

    /// Ends the producer's transaction with the marker at `marker`. A marker without a transaction changes nothing.
    pub(super) fn end(&mut self, producer_id: i64, ending: Ending, marker: i64) {
        let Some(first_offset) = self.open.remove(&producer_id) else { return };
        if ending == Ending::Abort {
            self.aborted.push(Aborted { producer_id, first_offset, last_offset: marker });
        }
    }

    pub(super) fn first_open(&self) -> Option<i64> {
        self.open.values().min().copied()
    }

    /// Those that have records from `offset` to before `until`.
    pub(super) fn aborted(&self, offset: i64, until: i64) -> impl Iterator<Item = Aborted> {
        self.aborted.iter().copied().filter(move |one| one.last_offset >= offset && one.first_offset < until)
    }

    pub(super) fn forget_before(&mut self, offset: i64) {
        self.aborted.retain(|one| one.last_offset >= offset);
    }

    /// Loses what is at `end` and behind. A transaction whose marker is lost is open again.
    pub(super) fn truncate(&mut self, end: i64) {
        for one in self.aborted.extract_if(.., |one| one.last_offset >= end) {
            self.open.insert(one.producer_id, one.first_offset);
        }
        self.open.retain(|_, first| *first < end);
    }
}
