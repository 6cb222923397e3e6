//! One partition as the reader knows it.

use super::super::assignment::{Found, Incarnation};
use super::super::fetch::Stretch;
use crate::store::Topic;

/// A partition that is assigned.
#[derive(Clone, Debug)]
pub(super) struct Slot {
    pub(super) topic: Topic,
    pub(super) incarnation: Incarnation,
    pub(super) found: Found,
    pub(super) standing: Standing,
    /// Names what is being read; answers to an older one are dropped.
    pub(super) stretch: Stretch,
    /// The offset behind what was handed on.
    pub(super) next: i64,
    /// The leader epoch of the last batch handed on, -1 if unknown.
    pub(super) epoch: i32,
    /// Whether the dispatcher takes more of it.
    pub(super) stalled: bool,
    /// How often it was refused since it last brought something.
    pub(super) failures: u32,
}

/// Where a partition stands between its assignment and its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Its position is being found.
    Starting,
    /// It is being compared with its new leader's log, or waits to be asked for again.
    Checking,
    /// It has no leader.
    Homeless,
    /// It is fetched from this broker.
    At { node: i32, leader_epoch: i32 },
    /// It stopped; only a new assignment or a restart revives it.
    Stopped,
}

impl Slot {
    pub(super) fn new(topic: Topic, incarnation: Incarnation, found: Found) -> Self {
        Self {
            topic,
            incarnation,
            found,
            standing: Standing::Starting,
            stretch: Stretch::default(),
            next: 0,
            epoch: -1,
            stalled: false,
            failures: 0,
        }
    }

    /// The broker that it is fetched from.
    pub(super) fn node(&self) -> Option<i32> {
        match self.standing {
            Standing::At { node, .. } => Some(node),
            Standing::Starting | Standing::Checking | Standing::Homeless | Standing::Stopped => None,
        }
    }
}
