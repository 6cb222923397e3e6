//! Metadata: tells nodes, topics and leaders, and creates a topic that is named for the first time.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::call::{Call, Serve};
use super::state::{CLUSTER_ID, State};
use super::topic::{Partition, Topic};
use crate::place::TopicId;
use crate::wire::kafka_error::KafkaError;
use crate::wire::message::{
    MetadataRequest, MetadataRequestTopic, MetadataResponse, MetadataResponseBroker, MetadataResponsePartition,
    MetadataResponseTopic,
};

pub(super) async fn respond(call: Arc<Call>, request: MetadataRequest) -> MetadataResponse {
    let settings = &call.shared.settings;
    let may_create = (request.allow_auto_topic_creation && settings.auto_create).then_some(settings.partitions);
    let mut state = call.shared.state();
    let topics = match request.topics {
        Some(named) if call.version() > 0 || !named.is_empty() => {
            named.into_iter().map(|wanted| find(&mut state, wanted, may_create)).collect()
        }
        _ => state.topics.iter().map(|topic| describe(&state, topic)).collect(),
    };
    let brokers = state.live().map(|(node_id, node)| MetadataResponseBroker {
        node_id,
        host: node.told().ip().to_string(),
        port: node.told().port().into(),
        rack: None,
    });
    MetadataResponse {
        brokers: brokers.collect(),
        cluster_id: Some(CLUSTER_ID.into()),
        controller_id: state.controller(),
        topics,
        ..Default::default()
    }
}

fn find(state: &mut State, wanted: MetadataRequestTopic, may_create: Option<i32>) -> MetadataResponseTopic {
    let MetadataRequestTopic { topic_id, name: Some(name) } = wanted else { return find_id(state, wanted.topic_id) };
    if let (None, Some(partitions)) = (state.topics.get(&name), may_create) {
        let _ = state.create(&name, partitions, BTreeMap::new());
    }
    match state.topics.get(&name) {
        Some(topic) => describe(state, topic),
        None if Topic::is_legal_name(&name) => unknown(KafkaError::UnknownTopicOrPartition, Some(name), topic_id),
        None => unknown(KafkaError::InvalidTopicException, Some(name), topic_id),
    }
}

fn find_id(state: &State, id: TopicId) -> MetadataResponseTopic {
    let unknown = || unknown(KafkaError::UnknownTopicId, None, id);
    state.topics.by_id(id).map_or_else(unknown, |topic| describe(state, topic))
}

fn unknown(error: KafkaError, name: Option<String>, topic_id: TopicId) -> MetadataResponseTopic {
    MetadataResponseTopic { error_code: error.code(), name, topic_id, ..Default::default() }
}

fn describe(state: &State, topic: &Topic) -> MetadataResponseTopic {
    let partitions = (0..).zip(&topic.partitions).map(|(index, partition)| describe_partition(state, index, partition));
    MetadataResponseTopic {
        name: Some(topic.name.as_ref().into()),
        topic_id: topic.id,
        partitions: partitions.collect(),
        ..Default::default()
    }
}

fn describe_partition(state: &State, index: i32, partition: &Partition) -> MetadataResponsePartition {
    let isr_nodes = state.in_sync(partition);
    let offline = partition.replicas.iter().copied().filter(|node| !isr_nodes.contains(node));
    MetadataResponsePartition {
        error_code: if partition.leader.is_some() { 0 } else { KafkaError::LeaderNotAvailable.code() },
        partition_index: index,
        leader_id: partition.leader.unwrap_or(-1),
        leader_epoch: partition.leader_epoch,
        offline_replicas: offline.collect(),
        replica_nodes: partition.replicas.clone(),
        isr_nodes,
    }
}

impl Serve for MetadataRequest {
    fn refuse(&self, error: KafkaError) -> MetadataResponse {
        let topics = self.topics.iter().flatten();
        let topics = topics.map(|topic| unknown(error, topic.name.clone().or(Some(String::new())), topic.topic_id));
        MetadataResponse { topics: topics.collect(), ..Default::default() }
    }

    fn throttle(response: &mut MetadataResponse, time_ms: i32) {
        response.throttle_time_ms = time_ms;
    }
}
