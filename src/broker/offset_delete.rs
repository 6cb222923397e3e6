//! OffsetDelete: forgets offsets of topics to which no member of the group is subscribed.

use std::sync::Arc;

use super::call::{Call, Serve};
use super::groups::membership::Membership;
use super::state::State;
use crate::wire::kafka_error::KafkaError;
use crate::wire::message::{
    OffsetDeleteRequest, OffsetDeleteResponse, OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};

pub(super) async fn respond(call: Arc<Call>, request: OffsetDeleteRequest) -> OffsetDeleteResponse {
    let mut state = call.shared.state();
    let checked = state.check_coordinator(call.node, &request.group_id);
    let known = state.groups.get(&request.group_id).ok_or(KafkaError::GroupIdNotFound);
    // What members of a classic group are subscribed to is in bytes that only they read.
    let is_opaque = known.is_ok_and(|group| group.membership.classic().is_some_and(|classic| !classic.is_empty()));
    match (checked, known) {
        (Err(error), _) | (_, Err(error)) => request.refuse(error),
        _ if is_opaque => request.refuse(KafkaError::NonEmptyGroup),
        _ => delete(&mut state, &request),
    }
}

fn delete(state: &mut State, request: &OffsetDeleteRequest) -> OffsetDeleteResponse {
    let topics = request.topics.iter().map(|topic| {
        let refusal = refusal(state, &request.group_id, &topic.name);
        let partitions = topic.partitions.iter().map(|partition| {
            if refusal.is_none()
                && let Ok(group) = state.groups.open(&request.group_id)
            {
                group.offsets.remove(&(topic.name.clone(), partition.partition_index));
            }
            let error_code = refusal.map_or(0, KafkaError::code);
            OffsetDeleteResponsePartition { partition_index: partition.partition_index, error_code }
        });
        OffsetDeleteResponseTopic { partitions: partitions.collect(), name: topic.name.clone() }
    });
    OffsetDeleteResponse { topics: topics.collect(), ..Default::default() }
}

/// Why offsets of a topic stay.
fn refusal(state: &State, group: &str, topic: &str) -> Option<KafkaError> {
    let members = state.groups.get(group).map(|group| &group.membership);
    let is_in_use = matches!(members, Some(Membership::NextGeneration(members)) if members.is_subscribed(topic));
    is_in_use.then_some(KafkaError::GroupSubscribedToTopic)
}

impl Serve for OffsetDeleteRequest {
    fn refuse(&self, error: KafkaError) -> OffsetDeleteResponse {
        OffsetDeleteResponse { error_code: error.code(), ..Default::default() }
    }

    fn throttle(response: &mut OffsetDeleteResponse, time_ms: i32) {
        response.throttle_time_ms = time_ms;
    }
}
