//! The partitions that the application has: since which assignment, and which of them it was asked to give back.
//!
//! ```text
//!  assign --> starting --began--> held --revoke--> revoking --released--> gone
//!                 |                 |                  |
//!                 +-----------------+------ lose ------+----------------> gone
//! ```
//!
//! A partition counts as owned until it is gone, so what is told to the coordinator never runs ahead of the application.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::member::{Effect, Incarnation, Partition, Partitions};
use crate::gather::Gather;

/// What the application has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Holding {
    held: BTreeMap<Partition, Incarnation>,
    revoking: Partitions,
    starting: BTreeSet<Incarnation>,
    last: Incarnation,
}

impl Holding {
    /// All that the application has not given back.
    pub(super) fn partitions(&self) -> Partitions {
        self.held.keys().cloned().gather()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    pub(super) fn contains(&self, partition: &Partition) -> bool {
        self.held.contains_key(partition)
    }

    /// Whether the application still has to give something back.
    pub(super) fn is_revoking(&self) -> bool {
        !self.revoking.is_empty()
    }

    /// Whether the application still has to begin with something.
    pub(super) fn is_starting(&self) -> bool {
        !self.starting.is_empty()
    }

    /// Hands partitions over; those that are held already are left out.
    pub(super) fn assign(&mut self, partitions: Partitions, epoch: i32) -> Option<Effect> {
        let partitions: Partitions = partitions.into_iter().filter(|partition| !self.contains(partition)).gather();
        if partitions.is_empty() {
            return None;
        }
        self.last = Incarnation(self.last.0.saturating_add(1));
        self.held.extend(partitions.iter().map(|partition| (partition.clone(), self.last)));
        self.starting.insert(self.last);
        Some(Effect::Assigned { incarnation: self.last, partitions, epoch })
    }

    /// Asks for partitions back; those that are being given back already are left out.
    pub(super) fn revoke(&mut self, partitions: &Partitions) -> Vec<Effect> {
        let fresh: Partitions =
            partitions.difference(&self.revoking).filter(|one| self.contains(one)).cloned().gather();
        self.revoking.extend(fresh.iter().cloned());
        let tell = |(incarnation, partitions)| Effect::Revoked { incarnation, partitions };
        self.by_incarnation(fresh).into_iter().map(tell).collect()
    }

    /// Takes note of what the application gave back; what belongs to another assignment is ignored.
    pub(super) fn release(&mut self, incarnation: Incarnation, partitions: &Partitions) {
        for partition in partitions {
            if self.held.get(partition) == Some(&incarnation) && self.revoking.remove(partition) {
                self.held.remove(partition);
            }
        }
        self.forget_empty();
    }

    /// Takes note that the application has begun.
    pub(super) fn began(&mut self, incarnation: Incarnation) {
        self.starting.remove(&incarnation);
    }

    /// Everything is gone.
    pub(super) fn lose_all(&mut self) -> Vec<Effect> {
        let all = self.partitions();
        self.lose(all)
    }

    /// What was not given back in time is gone.
    pub(super) fn lose_revoking(&mut self) -> Vec<Effect> {
        let late = self.revoking.clone();
        self.lose(late)
    }

    fn lose(&mut self, partitions: Partitions) -> Vec<Effect> {
        let grouped = self.by_incarnation(partitions);
        for partition in grouped.values().flatten() {
            self.held.remove(partition);
            self.revoking.remove(partition);
        }
        self.forget_empty();
        grouped.into_iter().map(|(incarnation, partitions)| Effect::Lost { incarnation, partitions }).collect()
    }

    /// An assignment of which nothing is held need not begin any more.
    fn forget_empty(&mut self) {
        let alive: BTreeSet<Incarnation> = self.held.values().copied().gather();
        self.starting.retain(|incarnation| alive.contains(incarnation));
    }

    fn by_incarnation(&self, partitions: Partitions) -> BTreeMap<Incarnation, Partitions> {
        let mut grouped = BTreeMap::<Incarnation, Partitions>::new();
        for partition in partitions {
            if let Some(incarnation) = self.held.get(&partition) {
                grouped.entry(*incarnation).or_default().insert(partition);
            }
        }
        grouped
    }
}
