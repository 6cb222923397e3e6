//! Partitions that take nothing more for now: paused by an operator, or behind an open breaker.
//!
//! What was fetched of them is dropped, so that their frames do not hold up others; it is fetched again when they go on.

use tokio::time::Instant;

use super::super::super::breaker::{Effect, Event};
use super::super::super::control::Concern;
use super::super::Step;
use super::super::group::Tripped;
use super::StoreDispatch;
use super::name;
use crate::order::Order;
use crate::place::Place;
use crate::store::Store;
use crate::{Error, ErrorCode};

impl<O: Order, S: Store<O>> StoreDispatch<O, S> {
    /// A record stays undecided; its partition waits, and then probes it.
    pub(super) fn tripped(&mut self, partition: i32, tripped: &Tripped) {
        let Some(row) = self.rows.get_mut(&partition) else { return };
        let Some(topic) = &self.topic else { return };
        let Tripped { offset, probe, violation } = tripped;
        row.probe_at = Some(Instant::now() + self.probing.delay(*probe, fastrand::f64()));
        let sentence = format!("the breaker is open: {}; the last: {violation}", row.breaker.reason());
        let at = name(&topic.name, partition);
        let error = Error::new(ErrorCode::Breaker, sentence).at(Place::record(&at, *offset)).remedy(format!(
            "mend what writes or reads them, and the partition goes on by itself; or have them set aside: \
             `orders resume {}/{partition} --store W`",
            topic.name
        ));
        self.steps.push_back(Step::Tripped { partition, error });
        self.teller.count_retry();
        self.teller.publish();
        self.stall(partition);
        if *probe == 0 {
            self.note(partition);
        }
    }

    /// Says beside the commit at once which record is undecided, or that none is: whoever has the partition next goes on so.
    fn note(&self, partition: i32) {
        if let Some(position) = self.standing(partition) {
            self.committer.note_at_once(partition, position);
        }
    }

    /// Drops what was fetched of a partition.
    fn stall(&mut self, partition: i32) {
        let Some(row) = self.rows.get_mut(&partition).filter(|row| !row.stalled) else { return };
        let next = row.cursor.next;
        row.chunks.rewind(next);
        row.stalled = true;
        self.steps.push_back(Step::Stalled { partition, next });
        self.turn.retain(|other| *other != partition);
    }

    /// Lets a partition go on, unless something else holds it.
    fn go_on(&mut self, partition: i32) {
        let Some(row) = self.rows.get_mut(&partition) else { return };
        if row.stalled && !row.held && row.probe_at.is_none() {
            row.stalled = false;
            self.steps.push_back(Step::Resumed { partition });
        }
    }

    pub(super) fn hold(&mut self, partitions: &[i32]) {
        self.held = partitions.to_vec();
        let known: Vec<i32> = self.rows.keys().copied().collect();
        for partition in known {
            let held = partitions.contains(&partition);
            if let Some(row) = self.rows.get_mut(&partition) {
                row.held = held;
            }
            if held { self.stall(partition) } else { self.go_on(partition) }
        }
    }

    /// A partition begins while it is paused.
    pub(super) fn begin_held(&mut self, partition: i32) {
        self.teller.control().relieve(Concern::Breaker(partition));
        if self.held.contains(&partition) {
            if let Some(row) = self.rows.get_mut(&partition) {
                row.held = true;
            }
            self.stall(partition);
        }
    }

    /// When the next record is to be probed.
    pub(super) fn probe_due(&self) -> Option<Instant> {
        self.rows.values().filter_map(|row| row.probe_at).min().filter(|_| !self.finishing)
    }

    /// Has those records fetched again whose probe is due.
    pub(super) fn probe(&mut self) {
        let now = Instant::now();
        let due = self.rows.iter().filter(|(_, row)| row.probe_at.is_some_and(|at| at <= now));
        let due: Vec<i32> = due.map(|(partition, _)| *partition).collect();
        for partition in due {
            if let Some(row) = self.rows.get_mut(&partition) {
                row.probe_at = None;
            }
            self.go_on(partition);
        }
    }

    pub(super) fn override_breakers(&mut self, wanted: Option<i32>) {
        let known: Vec<i32> = self.rows.keys().copied().collect();
        for partition in known.into_iter().filter(|partition| wanted.is_none_or(|wanted| wanted == *partition)) {
            let Some(row) = self.rows.get_mut(&partition) else { continue };
            if row.breaker.take(Event::Overridden) == Effect::Close {
                row.probe_at = None;
                self.teller.control().relieve(Concern::Breaker(partition));
                self.go_on(partition);
                self.note(partition);
            }
        }
    }

    /// Whether the breaker of a partition has closed by what went through.
    pub(super) fn closed(&mut self, partition: i32, was_open: bool) {
        let is_open = self.rows.get(&partition).is_some_and(|row| row.breaker.is_open());
        if was_open && !is_open {
            self.teller.control().relieve(Concern::Breaker(partition));
        }
    }
}
