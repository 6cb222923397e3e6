//! The leader's plan for all members of a classic group.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::super::assignor::{self, Assignor, Peer, Topics};
use super::super::member::{Event, Named};
use super::super::subscription::{Subscription, encode_assignment};
use crate::cluster::{Cluster, TopicState, View};
use crate::gather::Gather;

/// Shares the partitions of all topics among the members. Topics that are not known `within` this time are left out: the
/// member watches them, and plans again when they are.
pub(super) async fn plan(
    cluster: Cluster,
    generation: i32,
    assignor: Assignor,
    members: Vec<(Named, Bytes)>,
    within: Duration,
) -> Event {
    let peers: Vec<Peer> = members.into_iter().map(peer).collect();
    let names: BTreeSet<Arc<str>> = peers.iter().flat_map(|peer| peer.subscription.topics.iter().cloned()).gather();
    let topics = counts(&cluster, &names, within).await;
    let plan = assignor::plan(assignor, &peers, &topics);
    let encoded = plan.iter().filter_map(|(id, partitions)| match encode_assignment(partitions) {
        Ok(bytes) => Some((id.to_string(), bytes)),
        Err(error) => {
            tracing::error!(member = id.as_ref(), %error, "an assignment cannot be written, so it is empty");
            None
        }
    });
    Event::Planned { generation, plan: encoded.collect() }
}

/// A member whose words make no sense gets nothing.
fn peer((named, metadata): (Named, Bytes)) -> Peer {
    let subscription = Subscription::decode(&metadata).unwrap_or_else(|error| {
        tracing::warn!(member = named.member_id, %error, "a member's subscription cannot be read, so it gets nothing");
        Subscription::default()
    });
    Peer { id: named.member_id.into(), instance: named.instance_id.map(Into::into), subscription }
}

async fn counts(cluster: &Cluster, names: &BTreeSet<Arc<str>>, within: Duration) -> Topics {
    let mut views = cluster.views();
    let known = async {
        loop {
            let missing = names.iter().any(|name| views.borrow_and_update().topic(name).is_none());
            if !missing || views.changed().await.is_err() {
                return;
            }
        }
    };
    drop(tokio::time::timeout(within, known).await);
    counted(&cluster.view(), names)
}

fn counted(view: &View, names: &BTreeSet<Arc<str>>) -> Topics {
    let known = names.iter().filter_map(|name| match view.topic(name)? {
        TopicState::Known(topic) => Some((name.clone(), topic.partition_count())),
        TopicState::Failed(_) => None,
    });
    known.gather()
}
