//! How often orders were tried that are not settled yet, so that a restart goes on counting.
//!
//! It is told beside the committed position. An order that fails is counted when it is to be tried again; a call that has
//! taken half of `max.poll.interval.ms` counts until it ends with an answer. However it is cut short (the member has to
//! leave, the group does not wait, the process is killed), whoever gets the order next goes on counting: an order that fails,
//! or is too slow, for every member is not passed round for ever.

use std::time::Duration;

use super::super::super::ledger::Ledger;
use crate::store::Tried;

/// How many such orders of one partition are remembered; the highest are forgotten first.
const MOST: usize = 64;

/// The orders of one partition that were tried, in the order of their offsets.
#[derive(Clone, Debug, Default)]
pub(super) struct Tries(Vec<Tried>);

impl Tries {
    /// What was told beside the position, and what is remembered here, of the orders from `next` on.
    pub(super) fn new(told: &[Tried], remembered: Option<&Self>, next: i64) -> Self {
        let mut tries = Self::default();
        let remembered = remembered.map_or(&[] as &[_], |tries| &tries.0);
        for Tried { offset, times, first_failed, failing_for } in
            told.iter().chain(remembered).filter(|tried| tried.offset >= next)
        {
            let known = tries.of(*offset);
            let (first_failed, failing_for) =
                (known.first_failed.or(*first_failed), known.failing_for.max(*failing_for));
            tries.set(known.times.max(*times), Tried { first_failed, failing_for, ..known });
        }
        tries
    }

    /// A call takes so long that it counts.
    pub(super) fn count(&mut self, offset: i64) {
        let known = self.of(offset);
        self.set(known.times.saturating_add(1), known);
    }

    /// The call has ended after all.
    pub(super) fn uncount(&mut self, offset: i64) {
        let known = self.of(offset);
        self.set(known.times.saturating_sub(1), known);
        self.0.retain(|tried| tried.times > 0);
    }

    /// Try number `times` has failed, `failing_for` so long after the first one.
    pub(super) fn failed(&mut self, offset: i64, times: u32, (first_failed, failing_for): (i64, Duration)) {
        self.set(times, Tried { offset, times, first_failed: Some(first_failed), failing_for });
    }

    /// The order is settled.
    pub(super) fn forget(&mut self, offset: i64) {
        if !self.0.is_empty() {
            self.0.retain(|tried| tried.offset != offset);
        }
    }

    fn set(&mut self, times: u32, tried: Tried) {
        let tried = Tried { times, ..tried };
        match self.0.binary_search_by_key(&tried.offset, |known| known.offset) {
            Ok(at) => self.0.iter_mut().skip(at).take(1).for_each(|known| *known = tried),
            Err(at) => self.0.insert(at, tried),
        }
        self.0.truncate(MOST);
    }

    /// Whether none is known.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How often the order at `offset` was tried, and when it failed first.
    pub(super) fn of(&self, offset: i64) -> Tried {
        let known = self.0.iter().find(|tried| tried.offset == offset);
        known.copied().unwrap_or(Tried { offset, times: 0, first_failed: None, failing_for: Duration::ZERO })
    }

    /// Those that are not settled, to be told beside the position.
    pub(super) fn unsettled(&self, ledger: &Ledger) -> Vec<Tried> {
        let is_open = |offset: i64| offset >= ledger.next() && !ledger.settled().contains(offset);
        self.0.iter().filter(|tried| is_open(tried.offset)).copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Settled;

    fn tried(offset: i64, times: u32, first_failed: Option<i64>) -> Tried {
        Tried { offset, times, first_failed, failing_for: Duration::from_secs(first_failed.map_or(0, |_| 5)) }
    }

    #[test]
    fn what_another_member_told_counts_as_much_as_what_is_remembered_here() {
        let mut here = Tries::new(&[tried(40, 1, Some(7))], None, 40);
        here.count(40);
        here.count(42);
        here.count(43);
        here.uncount(43);
        let tries = Tries::new(&[tried(39, 9, None), tried(40, 1, None), tried(42, 3, Some(9))], Some(&here), 40);
        assert_eq!([39, 40, 42, 43].map(|offset| tries.of(offset).times), [0, 2, 3, 0]);
        assert_eq!([40, 42].map(|offset| tries.of(offset).first_failed), [Some(7), Some(9)]);
        assert_eq!(tries.of(40).failing_for, Duration::from_secs(5));
    }

    #[test]
    fn what_is_settled_is_not_told() {
        let mut tries = Tries::new(&[tried(40, 1, None), tried(42, 1, None), tried(44, 2, Some(5))], None, 40);
        let ledger = Ledger::new(41, [42].into_iter().collect::<Settled>(), -1, 10);
        assert_eq!(tries.unsettled(&ledger), [tried(44, 2, Some(5))]);
        tries.forget(44);
        assert!(tries.unsettled(&ledger).is_empty());
    }

    #[test]
    fn the_highest_are_forgotten_when_there_are_too_many() {
        let mut tries = Tries::default();
        (0..100).for_each(|offset| tries.failed(offset, 1, (0, Duration::ZERO)));
        tries.count(10);
        assert_eq!((tries.0.len(), tries.of(10).times, tries.of(99).times), (MOST, 2, 0));
    }
}
