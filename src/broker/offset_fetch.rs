//! OffsetFetch: tells the offsets that groups committed.
//!
//! A group that is not known has committed nothing, which is no error (as in Apache Kafka).

use std::sync::Arc;

use super::call::{Call, Serve};
use super::groups::Group;
use super::groups::membership::Membership;
use super::state::State;
use crate::wire::kafka_error::KafkaError;
use crate::wire::message::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopics, OffsetFetchResponse,
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions, OffsetFetchResponseTopic,
    OffsetFetchResponseTopics,
};

pub(super) async fn respond(call: Arc<Call>, request: OffsetFetchRequest) -> OffsetFetchResponse {
    let state = call.shared.state();
    let groups = groups(&request).into_iter().map(|wanted| match admit(&state, &call, &wanted) {
        Ok(()) => fetch(&state, wanted),
        Err(error) => refused(wanted, error),
    });
    shaped(&request, groups.collect())
}

/// The groups that are asked for, in the form of the later versions.
fn groups(request: &OffsetFetchRequest) -> Vec<OffsetFetchRequestGroup> {
    if !request.groups.is_empty() {
        return request.groups.clone();
    }
    let topics = request.topics.as_ref().map(|topics| {
        let topics = topics.iter().map(|topic| OffsetFetchRequestTopics {
            name: topic.name.clone(),
            partition_indexes: topic.partition_indexes.clone(),
        });
        topics.collect()
    });
    vec![OffsetFetchRequestGroup { group_id: request.group_id.clone(), topics, ..Default::default() }]
}

/// Members of a KIP-848 group are told nothing under an epoch that is not theirs.
fn admit(state: &State, call: &Call, wanted: &OffsetFetchRequestGroup) -> Result<(), KafkaError> {
    state.check_coordinator(call.node, &wanted.group_id)?;
    match state.groups.get(&wanted.group_id).map(|group| &group.membership) {
        Some(Membership::NextGeneration(members)) => members.may_read(wanted.member_id.as_deref(), wanted.member_epoch),
        Some(Membership::Classic(_)) | None => Ok(()),
    }
}

fn fetch(state: &State, wanted: OffsetFetchRequestGroup) -> OffsetFetchResponseGroup {
    let group = state.groups.get(&wanted.group_id);
    let topics = match wanted.topics {
        Some(topics) => topics,
        None => all_topics(group),
    };
    let topics = topics.into_iter().map(|topic| OffsetFetchResponseTopics {
        partitions: topic.partition_indexes.iter().map(|index| committed(group, &topic.name, *index)).collect(),
        name: topic.name,
    });
    OffsetFetchResponseGroup { group_id: wanted.group_id, topics: topics.collect(), error_code: 0 }
}

fn all_topics(group: Option<&Group>) -> Vec<OffsetFetchRequestTopics> {
    let mut topics: Vec<OffsetFetchRequestTopics> = Vec::new();
    for (name, index) in group.iter().flat_map(|group| group.offsets.keys()) {
        match topics.last_mut().filter(|topic| topic.name == *name) {
            Some(topic) => topic.partition_indexes.push(*index),
            None => topics.push(OffsetFetchRequestTopics { name: name.clone(), partition_indexes: vec![*index] }),
        }
    }
    topics
}

fn committed(group: Option<&Group>, topic: &str, partition_index: i32) -> OffsetFetchResponsePartitions {
    let found = group.and_then(|group| group.offsets.get(&(topic.to_owned(), partition_index)));
    OffsetFetchResponsePartitions {
        partition_index,
        committed_offset: found.map_or(-1, |found| found.offset),
        committed_leader_epoch: found.map_or(-1, |found| found.leader_epoch),
        metadata: Some(found.map_or_else(String::new, |found| found.metadata.clone())),
        error_code: 0,
    }
}

fn refused(wanted: OffsetFetchRequestGroup, error: KafkaError) -> OffsetFetchResponseGroup {
    OffsetFetchResponseGroup { group_id: wanted.group_id, error_code: error.code(), ..Default::default() }
}

/// The answer in the form of the request's version.
fn shaped(request: &OffsetFetchRequest, mut groups: Vec<OffsetFetchResponseGroup>) -> OffsetFetchResponse {
    if !request.groups.is_empty() {
        return OffsetFetchResponse { groups, ..Default::default() };
    }
    let group = groups.pop().unwrap_or_default();
    let topics = group.topics.into_iter().map(|topic| OffsetFetchResponseTopic {
        name: topic.name,
        partitions: topic.partitions.into_iter().map(older).collect(),
    });
    OffsetFetchResponse { topics: topics.collect(), error_code: group.error_code, ..Default::default() }
}

fn older(partition: OffsetFetchResponsePartitions) -> OffsetFetchResponsePartition {
    OffsetFetchResponsePartition {
        partition_index: partition.partition_index,
        committed_offset: partition.committed_offset,
        committed_leader_epoch: partition.committed_leader_epoch,
        metadata: partition.metadata,
        error_code: partition.error_code,
    }
}

impl Serve for OffsetFetchRequest {
    fn refuse(&self, error: KafkaError) -> OffsetFetchResponse {
        shaped(self, groups(self).into_iter().map(|wanted| refused(wanted, error)).collect())
    }

    fn throttle(response: &mut OffsetFetchResponse, time_ms: i32) {
        response.throttle_time_ms = time_ms;
    }
}
