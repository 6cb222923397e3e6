//! One partition as the reader knows it.

use std::time::Duration;

use tokio::time::Instant;

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
    /// Why it is not read, until it brings something.
    pub(super) trouble: Option<Trouble>,
}

/// Why a partition is not read.
#[derive(Clone, Debug)]
pub(super) struct Trouble {
    pub(super) why: String,
    /// When it was met last.
    last: Instant,
}

/// A partition that is asked for and was not refused for so long is idle, not in trouble.
const FORGET: Duration = Duration::from_secs(2);

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
            trouble: None,
        }
    }

    /// Notes why it is not read now.
    pub(super) fn meets(&mut self, why: impl Into<String>) {
        self.trouble = Some(Trouble { why: why.into(), last: Instant::now() });
    }

    /// Why it is not read, if it is not.
    pub(super) fn trouble(&self) -> Option<&str> {
        let trouble = self.trouble.as_ref();
        let why = trouble.map(|trouble| trouble.why.as_str());
        match self.standing {
            Standing::Starting => Some(why.unwrap_or("its position has not been found yet")),
            Standing::Checking => Some(why.unwrap_or("its log is being compared with what was read before")),
            Standing::Homeless => Some("it has no leader; see which broker is away: `kafka-topics.sh --describe`"),
            Standing::At { .. } => why.filter(|_| trouble.is_some_and(|trouble| trouble.last.elapsed() < FORGET)),
            Standing::Stopped => None,
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
