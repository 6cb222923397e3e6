//! What the brokers say of the cluster: a value that a newer answer is merged into.

use std::sync::Arc;

use litemap::LiteMap;
use serde::{Deserialize, Serialize};

use super::Node;
use crate::config::Address;
use crate::gather::Gather;
use crate::place::TopicId;
use crate::wire::kafka_error::KafkaError;
use crate::wire::message::{MetadataResponse, MetadataResponsePartition, MetadataResponseTopic};

/// The leader of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leader {
    /// Its node.
    pub node: Node,
    /// Its epoch, which each new leader raises (KIP-320); -1 if the broker does not tell.
    pub epoch: i32,
}

/// A partition as the metadata shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionView {
    /// Its leader, unless it has none at the moment.
    pub leader: Option<Node>,
    /// The leader's epoch, or -1.
    pub leader_epoch: i32,
    /// How many replicas it has.
    pub replicas: usize,
}

/// A topic as the metadata shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicView {
    /// Its name.
    pub name: Arc<str>,
    /// Its identity; [`TopicId::NONE`] from brokers before Apache Kafka 3.1.
    pub id: TopicId,
    /// Its partitions, from number 0.
    pub partitions: Vec<PartitionView>,
}

impl TopicView {
    /// Whether each partition has a leader.
    #[must_use]
    pub fn has_all_leaders(&self) -> bool {
        !self.partitions.is_empty() && self.partitions.iter().all(|partition| partition.leader.is_some())
    }

    /// The leader of a partition.
    #[must_use]
    pub fn leader(&self, partition: i32) -> Option<Leader> {
        let view = self.partitions.get(usize::try_from(partition).ok()?)?;
        Some(Leader { node: view.leader?, epoch: view.leader_epoch })
    }

    /// How many partitions it has, in the protocol's type.
    #[must_use]
    pub fn partition_count(&self) -> i32 {
        i32::try_from(self.partitions.len()).unwrap_or(i32::MAX)
    }
}

/// What is known of a topic that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TopicState {
    /// It exists.
    Known(Arc<TopicView>),
    /// The broker answered with this error.
    Failed(KafkaError),
}

/// The cluster at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    brokers: LiteMap<Node, Address>,
    topics: LiteMap<Arc<str>, TopicState>,
    cluster_id: Option<Arc<str>>,
}

impl View {
    /// The brokers by node.
    #[must_use]
    pub fn brokers(&self) -> &LiteMap<Node, Address> {
        &self.brokers
    }

    /// The cluster's name.
    #[must_use]
    pub fn cluster_id(&self) -> Option<&str> {
        self.cluster_id.as_deref()
    }

    /// What is known of a topic; `None` if nobody asked yet.
    #[must_use]
    pub fn topic(&self, name: &str) -> Option<&TopicState> {
        self.topics.get(name)
    }

    /// The topics that exist, as far as they were asked for.
    pub fn topics(&self) -> impl Iterator<Item = &Arc<TopicView>> {
        self.topics.values().filter_map(|state| match state {
            TopicState::Known(topic) => Some(topic),
            TopicState::Failed(_) => None,
        })
    }

    /// The leader of a partition.
    #[must_use]
    pub fn leader(&self, topic: &str, partition: i32) -> Option<Leader> {
        match self.topics.get(topic)? {
            TopicState::Known(topic) => topic.leader(partition),
            TopicState::Failed(_) => None,
        }
    }

    /// This view with a newer answer in it. Topics that the answer does not name stay as they are.
    ///
    /// A broker that lags behind may answer with an older leader epoch than is known already: then the newer leader
    /// stays (KIP-320), unless the topic is another one of the same name.
    #[must_use]
    pub fn merged(&self, answer: &MetadataResponse) -> Self {
        let mut next = self.clone();
        if !answer.brokers.is_empty() {
            next.brokers = answer.brokers.iter().filter_map(broker).gather();
        }
        next.cluster_id = answer.cluster_id.as_deref().map(Into::into).or(next.cluster_id);
        for topic in &answer.topics {
            let Some(name) = &topic.name else { continue };
            let known = self.topics.get(name.as_str());
            next.topics.insert(name.as_str().into(), state(name, topic, known));
        }
        next
    }
}

fn broker(broker: &crate::wire::message::MetadataResponseBroker) -> Option<(Node, Address)> {
    let port = u16::try_from(broker.port).ok()?;
    Some((broker.node_id, Address { host: broker.host.as_str().into(), port }))
}

fn state(name: &str, topic: &MetadataResponseTopic, known: Option<&TopicState>) -> TopicState {
    if let Some(error) = KafkaError::from_code(topic.error_code) {
        return match known {
            // The topic exists: only this answer could not tell of it.
            Some(TopicState::Known(view)) if error.is_retriable() && error != KafkaError::UnknownTopicOrPartition => {
                TopicState::Known(view.clone())
            }
            _ => TopicState::Failed(error),
        };
    }
    let older = match known {
        Some(TopicState::Known(view)) if view.id == topic.topic_id => view.partitions.as_slice(),
        _ => &[],
    };
    let mut partitions: Vec<&MetadataResponsePartition> = topic.partitions.iter().collect();
    partitions.sort_by_key(|partition| partition.partition_index);
    let complete = partitions.iter().zip(0..).all(|(partition, number)| partition.partition_index == number);
    if !complete {
        return TopicState::Failed(KafkaError::LeaderNotAvailable);
    }
    let partitions = partitions.iter().enumerate().map(|(i, new)| newer(partition_view(new), older.get(i))).collect();
    TopicState::Known(Arc::new(TopicView { name: name.into(), id: topic.topic_id, partitions }))
}

fn partition_view(partition: &MetadataResponsePartition) -> PartitionView {
    PartitionView {
        leader: (partition.leader_id >= 0).then_some(partition.leader_id),
        leader_epoch: partition.leader_epoch,
        replicas: partition.replica_nodes.len(),
    }
}

fn newer(new: PartitionView, old: Option<&PartitionView>) -> PartitionView {
    match old {
        Some(old) if old.leader_epoch > new.leader_epoch && new.leader_epoch >= 0 => *old,
        _ => new,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::message::MetadataResponseBroker;

    fn answer(id: u8, leaders: &[(i32, i32)]) -> MetadataResponse {
        let partitions = leaders.iter().zip(0..).map(|(&(leader_id, leader_epoch), partition_index)| {
            MetadataResponsePartition { partition_index, leader_id, leader_epoch, ..Default::default() }
        });
        MetadataResponse {
            brokers: vec![MetadataResponseBroker {
                node_id: 1,
                host: "kafka".into(),
                port: 9092,
                ..MetadataResponseBroker::default()
            }],
            topics: vec![MetadataResponseTopic {
                name: Some("t".into()),
                topic_id: TopicId::new([id; 16]),
                partitions: partitions.collect(),
                ..MetadataResponseTopic::default()
            }],
            ..MetadataResponse::default()
        }
    }

    #[test]
    fn an_older_leader_epoch_does_not_replace_a_newer_one() {
        let view = View::default().merged(&answer(1, &[(1, 5)])).merged(&answer(1, &[(2, 4)]));
        assert_eq!(view.leader("t", 0), Some(Leader { node: 1, epoch: 5 }));
        assert_eq!(view.merged(&answer(1, &[(2, 6)])).leader("t", 0), Some(Leader { node: 2, epoch: 6 }));
    }

    #[test]
    fn a_recreated_topic_begins_with_its_own_epochs() {
        let view = View::default().merged(&answer(1, &[(1, 5)])).merged(&answer(2, &[(2, 0)]));
        assert_eq!(view.leader("t", 0), Some(Leader { node: 2, epoch: 0 }));
    }

    #[test]
    fn a_partition_without_a_leader_and_a_list_with_a_hole_are_not_ready() {
        let view = View::default().merged(&answer(1, &[(1, 0), (-1, 0)]));
        let Some(TopicState::Known(topic)) = view.topic("t") else { panic!("{view:?}") };
        assert!(!topic.has_all_leaders());
        let mut holed = answer(1, &[(1, 0), (1, 0)]);
        holed.topics[0].partitions.remove(0);
        assert_eq!(
            View::default().merged(&holed).topic("t"),
            Some(&TopicState::Failed(KafkaError::LeaderNotAvailable))
        );
    }

    #[test]
    fn a_deleted_topic_is_told_as_unknown_and_a_passing_error_is_not() {
        let known = View::default().merged(&answer(1, &[(1, 0)]));
        let mut failing = answer(1, &[]);
        failing.topics[0].error_code = KafkaError::UnknownTopicOrPartition.code();
        assert_eq!(known.merged(&failing).topic("t"), Some(&TopicState::Failed(KafkaError::UnknownTopicOrPartition)));
        failing.topics[0].error_code = KafkaError::LeaderNotAvailable.code();
        assert_eq!(known.merged(&failing).leader("t", 0), Some(Leader { node: 1, epoch: 0 }));
    }
}
