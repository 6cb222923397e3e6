//! A partition as Apache Kafka keeps it for one producer: a log that knows the last batches.

use std::collections::VecDeque;

use super::super::{Number, REMEMBERED_BATCHES};

/// What the broker says to a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::producer) enum Taken {
    /// It is in the log from here on, now or from an earlier try.
    At(i64),
    OutOfOrder,
    OldEpoch,
}

/// A log, and what is remembered of its one producer.
#[derive(Debug)]
pub(in crate::producer) struct PartitionModel<T> {
    pub(in crate::producer) log: Vec<T>,
    known: Option<(i16, VecDeque<Remembered>)>,
}

#[derive(Debug)]
struct Remembered {
    first: i32,
    last: i32,
    offset: i64,
}

impl<T> Default for PartitionModel<T> {
    fn default() -> Self {
        Self { log: Vec::new(), known: None }
    }
}

impl<T: Clone> PartitionModel<T> {
    pub(in crate::producer) fn receive(&mut self, number: Number, records: &[T]) -> Taken {
        let first = number.sequence;
        let last = first.wrapping_add(records.len() as i32 - 1) & i32::MAX;
        if let Some((epoch, batches)) = &self.known {
            if number.epoch < *epoch {
                return Taken::OldEpoch;
            }
            if let Some(same) = batches.iter().find(|b| number.epoch == *epoch && (b.first, b.last) == (first, last)) {
                return Taken::At(same.offset);
            }
            let next = batches.back().map(|batch| batch.last.wrapping_add(1) & i32::MAX);
            let expected = if number.epoch == *epoch { next } else { Some(0) };
            if expected != Some(first) {
                return Taken::OutOfOrder;
            }
        }
        let offset = self.log.len() as i64;
        let mut batches = match self.known.take() {
            Some((epoch, batches)) if epoch == number.epoch => batches,
            _ => VecDeque::new(),
        };
        if batches.len() == REMEMBERED_BATCHES {
            batches.pop_front();
        }
        batches.push_back(Remembered { first, last, offset });
        self.known = Some((number.epoch, batches));
        self.log.extend_from_slice(records);
        Taken::At(offset)
    }
}
