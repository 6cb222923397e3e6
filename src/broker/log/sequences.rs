//! Tells a producer's next batch from a repeated, a missing and an outdated one.
//!
//! A partition remembers of each producer its epoch and its last batches. The rules are Apache Kafka's (`ProducerAppendInfo`, KIP-98):
//! a producer that the partition does not know may begin at any sequence, a new epoch begins at 0, and a repeated batch is answered with
//! the offset that it got the first time.

use std::collections::{HashMap, VecDeque};

/// Batches remembered of a producer: as many as it may have in flight, so that each of them can be repeated.
const REMEMBERED_BATCHES: usize = 5;

/// Producers remembered by a partition. Each run of a client makes one; the one that has not written for longest is forgotten.
const REMEMBERED_PRODUCERS: usize = 4096;

/// Who wrote a batch, with the numbers of its records. `id` -1 is a producer without idempotence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) id: i64,
    pub(super) epoch: i16,
    pub(super) first: i32,
    pub(super) count: i32,
}

/// What a batch is to the partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    /// It is to be appended.
    Next,
    /// It is in the log, at this offset.
    Duplicate { base_offset: i64 },
    /// One before it is missing, or it is too old to be recognised.
    OutOfOrder,
    /// The producer has gone on to a later epoch.
    OldEpoch,
    /// The producer was forgotten, and does not begin at 0.
    Unknown,
}

/// The producers that a partition remembers.
#[derive(Debug, Default)]
pub(super) struct Sequences {
    producers: HashMap<i64, Producer>,
    /// Whether a producer that is not known must begin at 0, as before KIP-360.
    refuses_unknown: bool,
}

#[derive(Debug)]
struct Producer {
    epoch: i16,
    batches: VecDeque<Written>,
}

#[derive(Clone, Copy, Debug)]
struct Written {
    first: i32,
    last: i32,
    base_offset: i64,
}

impl Stamp {
    /// The sequence of the last record; after [`i32::MAX`] comes 0.
    fn last(&self) -> i32 {
        self.first.wrapping_add(self.count.saturating_sub(1)) & i32::MAX
    }
}

impl Sequences {
    /// Says what the batch is. Nothing is remembered until [`Sequences::written`].
    pub(super) fn judge(&self, stamp: Stamp) -> Judgement {
        let Some(producer) = self.producers.get(&stamp.id).filter(|_| stamp.id >= 0) else {
            let is_refused = self.refuses_unknown && stamp.id >= 0 && stamp.first != 0;
            return if is_refused { Judgement::Unknown } else { Judgement::Next };
        };
        if stamp.epoch < producer.epoch {
            return Judgement::OldEpoch;
        }
        if stamp.epoch > producer.epoch {
            return if stamp.first == 0 { Judgement::Next } else { Judgement::OutOfOrder };
        }
        let same = |written: &&Written| written.first == stamp.first && written.last == stamp.last();
        if let Some(written) = producer.batches.iter().find(same) {
            return Judgement::Duplicate { base_offset: written.base_offset };
        }
        match producer.batches.back() {
            Some(written) if stamp.first != written.last.wrapping_add(1) & i32::MAX => Judgement::OutOfOrder,
            Some(_) | None => Judgement::Next,
        }
    }

    /// Remembers a batch that was appended.
    pub(super) fn written(&mut self, stamp: Stamp, base_offset: i64) {
        if stamp.id < 0 {
            return;
        }
        self.make_room(stamp.id);
        let producer =
            self.producers.entry(stamp.id).or_insert_with(|| Producer { epoch: stamp.epoch, batches: VecDeque::new() });
        if producer.epoch != stamp.epoch {
            *producer = Producer { epoch: stamp.epoch, batches: VecDeque::new() };
        }
        if producer.batches.len() == REMEMBERED_BATCHES {
            producer.batches.pop_front();
        }
        producer.batches.push_back(Written { first: stamp.first, last: stamp.last(), base_offset });
    }

    /// Takes over the epoch of a producer's control marker, which has no sequence.
    pub(super) fn fence(&mut self, id: i64, epoch: i16) {
        if let Some(producer) = self.producers.get_mut(&id).filter(|producer| producer.epoch < epoch) {
            *producer = Producer { epoch, batches: VecDeque::new() };
        }
    }

    /// Forgets all producers, and says what becomes of one that goes on all the same.
    pub(super) fn forget(&mut self, refuses_unknown: bool) {
        *self = Self { producers: HashMap::new(), refuses_unknown };
    }

    /// Whether the batch at this offset is the last that its producer wrote.
    pub(super) fn is_last(&self, id: i64, base_offset: i64) -> bool {
        let last = self.producers.get(&id).and_then(|producer| producer.batches.back());
        last.is_some_and(|written| written.base_offset == base_offset)
    }

    /// Forgets the batches from `offset` on, which the log lost.
    pub(super) fn truncate(&mut self, offset: i64) {
        for producer in self.producers.values_mut() {
            producer.batches.retain(|written| written.base_offset < offset);
        }
        self.producers.retain(|_, producer| !producer.batches.is_empty());
    }

    fn make_room(&mut self, id: i64) {
        if self.producers.len() < REMEMBERED_PRODUCERS || self.producers.contains_key(&id) {
            return;
        }
        let last_written = |producer: &Producer| producer.batches.back().map(|written| written.base_offset);
        let oldest = self.producers.iter().min_by_key(|(_, producer)| last_written(producer)).map(|(id, _)| *id);
        if let Some(oldest) = oldest {
            self.producers.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(epoch: i16, first: i32, count: i32) -> Stamp {
        Stamp { id: 7, epoch, first, count }
    }

    fn after(batches: &[(i16, i32, i32)]) -> Sequences {
        let mut sequences = Sequences::default();
        for (offset, (epoch, first, count)) in batches.iter().enumerate() {
            assert_eq!(sequences.judge(stamp(*epoch, *first, *count)), Judgement::Next);
            sequences.written(stamp(*epoch, *first, *count), offset as i64 * 100);
        }
        sequences
    }

    #[test]
    fn an_unknown_producer_begins_at_any_sequence_and_goes_on_without_a_gap() {
        let sequences = after(&[(0, 7, 3), (0, 10, 1)]);
        assert_eq!(sequences.judge(stamp(0, 11, 5)), Judgement::Next);
        assert_eq!(sequences.judge(stamp(0, 12, 5)), Judgement::OutOfOrder);
    }

    #[test]
    fn each_of_the_last_five_batches_is_recognised_and_the_sixth_is_not() {
        let sequences = after(&[(0, 0, 1), (0, 1, 2), (0, 3, 1), (0, 4, 1), (0, 5, 1), (0, 6, 1)]);
        assert_eq!(sequences.judge(stamp(0, 1, 2)), Judgement::Duplicate { base_offset: 100 });
        assert_eq!(sequences.judge(stamp(0, 6, 1)), Judgement::Duplicate { base_offset: 500 });
        assert_eq!(sequences.judge(stamp(0, 0, 1)), Judgement::OutOfOrder);
        assert_eq!(
            sequences.judge(stamp(0, 1, 1)),
            Judgement::OutOfOrder,
            "the same begin with another end is no repeat"
        );
    }

    #[test]
    fn a_new_epoch_begins_at_zero_and_shuts_out_the_old_one_even_for_batches_in_the_log() {
        let mut sequences = after(&[(0, 0, 1), (0, 1, 1)]);
        assert_eq!(sequences.judge(stamp(1, 2, 1)), Judgement::OutOfOrder);
        assert_eq!(sequences.judge(stamp(1, 0, 1)), Judgement::Next);
        sequences.written(stamp(1, 0, 1), 200);
        assert_eq!(sequences.judge(stamp(0, 1, 1)), Judgement::OldEpoch);
        assert_eq!(sequences.judge(stamp(0, 2, 1)), Judgement::OldEpoch);
    }

    #[test]
    fn a_forgotten_producer_goes_on_unrecognised_or_is_refused_until_it_begins_again() {
        let mut sequences = after(&[(0, 0, 1), (0, 1, 1)]);
        sequences.forget(false);
        assert_eq!(sequences.judge(stamp(0, 1, 1)), Judgement::Next);
        sequences.forget(true);
        assert_eq!(sequences.judge(stamp(0, 2, 1)), Judgement::Unknown);
        assert_eq!(sequences.judge(stamp(1, 0, 1)), Judgement::Next);
        assert_eq!(sequences.judge(Stamp { id: -1, epoch: -1, first: -1, count: 5 }), Judgement::Next);
    }

    #[test]
    fn sequences_go_on_at_zero_after_the_largest() {
        let sequences = after(&[(0, i32::MAX - 1, 2)]);
        assert_eq!(sequences.judge(stamp(0, 0, 1)), Judgement::Next);
        let sequences = after(&[(0, i32::MAX - 1, 4)]);
        assert_eq!(sequences.judge(stamp(0, 2, 1)), Judgement::Next);
        assert_eq!(sequences.judge(stamp(0, i32::MAX - 1, 4)), Judgement::Duplicate { base_offset: 0 });
    }

    #[test]
    fn a_producer_without_idempotence_is_not_remembered() {
        let mut sequences = Sequences::default();
        sequences.written(Stamp { id: -1, epoch: -1, first: -1, count: 5 }, 0);
        assert!(sequences.producers.is_empty());
        assert_eq!(sequences.judge(Stamp { id: -1, epoch: -1, first: -1, count: 5 }), Judgement::Next);
    }

    #[test]
    fn the_producer_that_wrote_longest_ago_makes_room() {
        let mut sequences = Sequences::default();
        for id in 0..=REMEMBERED_PRODUCERS as i64 {
            sequences.written(Stamp { id, epoch: 0, first: 0, count: 1 }, id);
        }
        assert_eq!(sequences.producers.len(), REMEMBERED_PRODUCERS);
        assert!(!sequences.producers.contains_key(&0));
    }

    #[test]
    fn what_the_log_lost_may_be_written_again() {
        let mut sequences = after(&[(0, 0, 1), (0, 1, 1)]);
        sequences.truncate(100);
        assert_eq!(sequences.judge(stamp(0, 1, 1)), Judgement::Next);
        sequences.truncate(0);
        assert!(sequences.producers.is_empty());
    }
}
