//! Orders whose handler takes so long that its call is likely to be cut short.
//!
//! A call that has taken half of `max.poll.interval.ms` counts as an attempt, beside the committed position, until it ends
//! with an answer. However it is cut short (the member has to leave, the group does not wait, the process is killed), whoever
//! gets the order next goes on counting: an order that is too slow for every member is not passed round for ever.

use super::super::super::ledger::Ledger;

/// How many such orders of one partition are remembered; the lowest are forgotten first.
const MOST: usize = 64;

/// The slow orders of one partition, in the order of their offsets, with how often each cost a membership.
#[derive(Clone, Debug, Default)]
pub(super) struct Slow(Vec<(i64, u32)>);

impl Slow {
    /// What was told beside the position, and what is remembered here, of the orders from `next` on.
    pub(super) fn new(told: &[(i64, u32)], remembered: Option<&Self>, next: i64) -> Self {
        let mut slow = Self::default();
        let remembered = remembered.map_or(&[] as &[_], |slow| &slow.0);
        for (offset, times) in told.iter().chain(remembered).filter(|(offset, _)| *offset >= next) {
            slow.set(*offset, slow.times(*offset).max(*times));
        }
        slow
    }

    pub(super) fn count(&mut self, offset: i64) {
        self.set(offset, self.times(offset).saturating_add(1));
    }

    /// The call has ended after all.
    pub(super) fn uncount(&mut self, offset: i64) {
        self.set(offset, self.times(offset).saturating_sub(1));
        self.0.retain(|(_, times)| *times > 0);
    }

    fn set(&mut self, offset: i64, times: u32) {
        match self.0.binary_search_by_key(&offset, |(slow, _)| *slow) {
            Ok(at) => self.0.iter_mut().skip(at).take(1).for_each(|known| known.1 = times),
            Err(at) => self.0.insert(at, (offset, times)),
        }
        let surplus = self.0.len().saturating_sub(MOST);
        self.0.drain(..surplus);
    }

    /// How often the order at `offset` was too slow.
    pub(super) fn times(&self, offset: i64) -> u32 {
        if self.0.is_empty() {
            return 0;
        }
        self.0.iter().find(|(slow, _)| *slow == offset).map_or(0, |(_, times)| *times)
    }

    /// Those that are not settled, to be told beside the position.
    pub(super) fn unsettled(&self, ledger: &Ledger) -> Vec<(i64, u32)> {
        let is_open = |offset: i64| offset >= ledger.next() && !ledger.settled().contains(offset);
        self.0.iter().filter(|(offset, _)| is_open(*offset)).copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Settled;

    #[test]
    fn what_another_member_told_counts_as_much_as_what_is_remembered_here() {
        let mut here = Slow::new(&[(40, 1)], None, 40);
        here.count(40);
        here.count(42);
        here.count(43);
        here.uncount(43);
        let slow = Slow::new(&[(39, 9), (40, 1), (42, 3)], Some(&here), 40);
        assert_eq!([39, 40, 42, 43].map(|offset| slow.times(offset)), [0, 2, 3, 0]);
    }

    #[test]
    fn what_is_settled_is_not_told() {
        let slow = Slow::new(&[(40, 1), (42, 1), (44, 2)], None, 40);
        let ledger = Ledger::new(41, [42].into_iter().collect::<Settled>(), -1, 10);
        assert_eq!(slow.unsettled(&ledger), [(44, 2)]);
    }

    #[test]
    fn the_lowest_are_forgotten_when_there_are_too_many() {
        let mut slow = Slow::default();
        (0..100).for_each(|offset| slow.count(offset));
        slow.count(10);
        assert_eq!((slow.0.len(), slow.times(20), slow.times(99)), (MOST, 0, 1));
    }
}
