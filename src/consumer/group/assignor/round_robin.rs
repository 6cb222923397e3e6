//! Deals all partitions in turn, passing over members that do not subscribe.
//!
//! As Java's `RoundRobinAssignor`: the turn goes on from topic to topic.

use super::{Peer, Plan, Topics, empty_plan};
use crate::place::TopicPartition;

/// The plan for members that stand in order.
pub(super) fn plan(peers: &[&Peer], topics: &Topics) -> Plan {
    let mut plan = empty_plan(peers);
    let mut turn = peers.iter().cycle();
    for (topic, count) in topics {
        if !peers.iter().any(|peer| peer.subscription.topics.contains(topic)) {
            continue;
        }
        for number in 0..*count {
            let Some(peer) = turn.find(|peer| peer.subscription.topics.contains(topic)) else { break };
            plan.entry(peer.id.clone()).or_default().insert(TopicPartition::new(topic.clone(), number));
        }
    }
    plan
}
