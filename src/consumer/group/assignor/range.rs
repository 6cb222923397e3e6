//! Cuts each topic into contiguous ranges, one for each subscriber.
//!
//! As Java's `RangeAssignor` without racks: with n partitions and m subscribers in order, the first n mod m get one more.

use super::{Peer, Plan, Topics, empty_plan};
use crate::place::TopicPartition;

/// The plan for members that stand in order.
pub(super) fn plan(peers: &[&Peer], topics: &Topics) -> Plan {
    let mut plan = empty_plan(peers);
    for (topic, count) in topics {
        let subscribers: Vec<&&Peer> = peers.iter().filter(|peer| peer.subscription.topics.contains(topic)).collect();
        let total = usize::try_from(*count).unwrap_or(0);
        let (Some(each), Some(extra)) = (total.checked_div(subscribers.len()), total.checked_rem(subscribers.len()))
        else {
            continue; // Nobody subscribes.
        };
        let mut numbers = 0..*count;
        for (place, peer) in subscribers.into_iter().enumerate() {
            let share = each + usize::from(place < extra);
            let range = numbers.by_ref().take(share).map(|number| TopicPartition::new(topic.clone(), number));
            plan.entry(peer.id.clone()).or_default().extend(range);
        }
    }
    plan
}
