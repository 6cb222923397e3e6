//! How the leader of a classic group shares the partitions among its members.
//!
//! Everything here is a pure function of what the members said and of the topics' partition counts: the same input gives
//! the same plan, on whichever member it is made. `range` and `roundrobin` give what Java's assignors give;
//! `cooperative-sticky` may be any plan that is balanced and moves little, as long as no partition is given away while
//! its owner still has it.
//!
//! ```text
//!  peers, topics --+--> range ----------------------------+--> plan: partitions for each member
//!                  +--> round_robin ----------------------+
//!                  +--> claims --> sticky --> withhold ---+
//! ```

mod claims;
mod range;
mod round_robin;
mod sticky;
pub(crate) mod strategy;
mod withhold;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::subscription::Subscription;
use crate::gather::Gather;
use crate::place::TopicPartition;

/// How many partitions each topic has.
pub(crate) type Topics = BTreeMap<Arc<str>, i32>;

/// What each member gets, by member id. Every member has an entry.
pub(crate) type Plan = BTreeMap<Arc<str>, BTreeSet<TopicPartition>>;

/// A member as the leader sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Peer {
    /// The id that the coordinator gave.
    pub(crate) id: Arc<str>,
    /// The name of a static member.
    pub(crate) instance: Option<Arc<str>>,
    /// What it said when it joined.
    pub(crate) subscription: Subscription,
}

/// A way to share partitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Assignor {
    /// Each topic is cut into contiguous ranges.
    Range,
    /// All partitions are dealt in turn.
    RoundRobin,
    /// Balanced, and every member keeps what need not move.
    CooperativeSticky,
}

impl Assignor {
    /// All of them.
    pub(crate) const ALL: [Self; 3] = [Self::Range, Self::RoundRobin, Self::CooperativeSticky];

    /// The protocol's name on the wire, which all clients share.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Range => "range",
            Self::RoundRobin => "roundrobin",
            Self::CooperativeSticky => "cooperative-sticky",
        }
    }

    /// The name of the class that does the same in Java clients.
    pub(crate) const fn java_class(self) -> &'static str {
        match self {
            Self::Range => "org.apache.kafka.clients.consumer.RangeAssignor",
            Self::RoundRobin => "org.apache.kafka.clients.consumer.RoundRobinAssignor",
            Self::CooperativeSticky => "org.apache.kafka.clients.consumer.CooperativeStickyAssignor",
        }
    }

    /// Whether members may keep their partitions while they join.
    pub(crate) const fn is_cooperative(self) -> bool {
        matches!(self, Self::CooperativeSticky)
    }
}

/// Shares the partitions of all subscribed topics among `peers`. Topics that `topics` does not know are left out.
///
/// Cooperative plans leave out, this once, what a member other than the one it is meant for still claims: its owner sees
/// that it is no longer assigned, gives it up and joins again, and the next plan hands it over.
pub(crate) fn plan(assignor: Assignor, peers: &[Peer], topics: &Topics) -> Plan {
    let peers = in_order(peers);
    match assignor {
        Assignor::Range => range::plan(&peers, topics),
        Assignor::RoundRobin => round_robin::plan(&peers, topics),
        Assignor::CooperativeSticky => {
            let claims = claims::Claims::of(&peers);
            withhold::withhold(sticky::plan(&peers, topics, &claims), &claims)
        }
    }
}

/// The members in the order of all assignors: static ones by instance id, then the others by member id. Java compares
/// UTF-16 units, and so do we.
fn in_order(peers: &[Peer]) -> Vec<&Peer> {
    let mut sorted: Vec<&Peer> = peers.iter().collect();
    sorted.sort_by(|left, right| {
        let name = |peer: &Peer| (peer.instance.is_none(), peer.instance.clone().unwrap_or_else(|| peer.id.clone()));
        let ((left_kind, left), (right_kind, right)) = (name(left), name(right));
        left_kind.cmp(&right_kind).then_with(|| left.encode_utf16().cmp(right.encode_utf16()))
    });
    sorted
}

/// A plan that gives nothing to anybody.
fn empty_plan(peers: &[&Peer]) -> Plan {
    peers.iter().map(|peer| (peer.id.clone(), BTreeSet::new())).gather()
}

#[cfg(test)]
mod tests;
