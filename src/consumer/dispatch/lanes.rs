//! Which order may be given to the handler next (G4): one of each lane at a time, in log order.
//!
//! A lane is a partition, or a key within it. While an order of a lane runs or waits for another try,
//! the later ones of that lane stand behind it; all other lanes go on.
//!
//! ```text
//!  offer --> [lane 7]: running | a, b, c         done  --> a starts
//!            [lane 9]: waiting until t | d       retry --> the same order again at t, d behind it
//!            (no lane): starts at once
//! ```

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

/// A partition in one incarnation (`key` 0), or the hash of a key within it. Two keys of one hash share a lane, which only makes one wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Lane {
    pub(crate) slot: u64,
    pub(crate) key: u64,
}

/// The lanes with the orders that stand in them. Times count from any fixed moment.
#[derive(Debug)]
pub(crate) struct Lanes<T> {
    /// How many orders may run at once.
    limit: usize,
    running: usize,
    /// The lanes in which an order runs, waits or is ready; a lane that is not here is free.
    lanes: HashMap<Lane, VecDeque<T>>,
    /// The first orders of lanes that may run, oldest first.
    ready: VecDeque<(Lane, T)>,
    /// The first orders of lanes that wait for another try.
    waiting: BTreeMap<(Duration, u64), (Lane, T)>,
    /// Tells apart the orders that wait for the same moment.
    ticket: u64,
    /// How many orders stand here without running.
    queued: usize,
}

impl<T> Lanes<T> {
    /// No order yet; at most `limit` run at once, at least one.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit: limit.max(1),
            running: 0,
            lanes: HashMap::new(),
            ready: VecDeque::new(),
            waiting: BTreeMap::new(),
            ticket: 0,
            queued: 0,
        }
    }

    /// Whether an order of this lane could start at once, ahead of none.
    pub(crate) fn is_free(&self, lane: Lane) -> bool {
        self.running < self.limit && self.ready.is_empty() && !self.lanes.contains_key(&lane)
    }

    /// Whether every lane is free.
    pub(crate) fn is_idle(&self) -> bool {
        self.running == 0 && self.ready.is_empty() && self.lanes.is_empty()
    }

    /// Takes the next order of a lane, in log order.
    pub(crate) fn offer(&mut self, lane: Lane, order: T) {
        self.queued += 1;
        match self.lanes.entry(lane) {
            Entry::Occupied(mut behind) => behind.get_mut().push_back(order),
            Entry::Vacant(free) => {
                free.insert(VecDeque::new());
                self.ready.push_back((lane, order));
            }
        }
    }

    /// An order of a free lane was started without being offered, and runs on.
    pub(crate) fn occupy(&mut self, lane: Lane) {
        self.lanes.entry(lane).or_default();
        self.running += 1;
    }

    /// The next order to start, if one may.
    pub(crate) fn start(&mut self) -> Option<(Lane, T)> {
        if self.running >= self.limit {
            return None;
        }
        let first = self.ready.pop_front()?;
        self.running += 1;
        self.queued -= 1;
        Some(first)
    }

    /// The running order of this lane is finished.
    pub(crate) fn done(&mut self, lane: Lane) {
        self.running = self.running.saturating_sub(1);
        match self.lanes.get_mut(&lane).map(VecDeque::pop_front) {
            Some(Some(next)) => self.ready.push_back((lane, next)),
            Some(None) => drop(self.lanes.remove(&lane)),
            None => {}
        }
    }

    /// The running order of this lane is to be tried again at `at`.
    pub(crate) fn retry(&mut self, lane: Lane, order: T, at: Duration) {
        self.running = self.running.saturating_sub(1);
        #[cfg(test)]
        if crate::plant::is(crate::plant::Plant::RetryOvertaken)
            && let Some(next) = self.lanes.get_mut(&lane).and_then(VecDeque::pop_front)
        {
            self.ready.push_back((lane, next));
        }
        if self.lanes.contains_key(&lane) {
            self.ticket = self.ticket.wrapping_add(1);
            self.waiting.insert((at, self.ticket), (lane, order));
            self.queued += 1;
        }
    }

    /// Makes those ready whose time has come.
    pub(crate) fn wake(&mut self, now: Duration) {
        while let Some(first) = self.waiting.first_entry()
            && first.key().0 <= now
        {
            self.ready.push_back(first.remove());
        }
    }

    /// Makes those of a slot ready that wait.
    pub(crate) fn hurry(&mut self, slot: u64) {
        for (_, (lane, order)) in self.waiting.extract_if(.., |_, (lane, _)| lane.slot == slot) {
            self.ready.push_back((lane, order));
        }
    }

    /// When the next waiting order is due.
    pub(crate) fn next_due(&self) -> Option<Duration> {
        self.waiting.first_key_value().map(|((at, _), _)| *at)
    }

    /// Whether no more may run at once.
    pub(crate) fn is_crowded(&self) -> bool {
        self.running >= self.limit
    }

    /// Gives back every order of a slot that does not run. Those that run still end with `done` or `retry`.
    pub(crate) fn forget(&mut self, slot: u64) -> Vec<T> {
        let of_slot = |lane: &Lane| lane.slot == slot;
        let behind = self.lanes.extract_if(|lane, _| of_slot(lane)).flat_map(|(_, behind)| behind);
        let mut dropped: Vec<T> = behind.collect();
        let ready = std::mem::take(&mut self.ready);
        for (lane, order) in ready {
            if of_slot(&lane) { dropped.push(order) } else { self.ready.push_back((lane, order)) }
        }
        for (due, (lane, order)) in std::mem::take(&mut self.waiting) {
            if of_slot(&lane) {
                dropped.push(order);
            } else {
                self.waiting.insert(due, (lane, order));
            }
        }
        self.queued = self.queued.saturating_sub(dropped.len());
        dropped
    }

    /// Whether an order of a slot waits for another try.
    pub(crate) fn waits(&self, slot: u64) -> bool {
        self.waiting.values().any(|(lane, _)| lane.slot == slot)
    }

    /// How many orders of a slot stand here without running.
    pub(crate) fn queued_of(&self, slot: u64) -> usize {
        let of_slot = |lane: &Lane| lane.slot == slot;
        let behind = self.lanes.iter().filter(|(lane, _)| of_slot(lane)).map(|(_, behind)| behind.len());
        let first = self.ready.iter().chain(self.waiting.values()).filter(|(lane, _)| of_slot(lane)).count();
        behind.sum::<usize>().saturating_add(first)
    }

    /// How many orders run.
    pub(crate) fn running(&self) -> usize {
        self.running
    }

    /// How many orders stand here without running.
    pub(crate) fn queued(&self) -> usize {
        self.queued
    }
}

#[cfg(test)]
mod tests;
