//! OffsetCommit: keeps the offsets of a group's member, or of a client that is none.

use std::sync::Arc;

use super::call::{Call, Serve};
use super::groups::Committed;
use super::groups::classic::Claim;
use super::groups::membership::Membership;
use super::state::State;
use crate::wire::kafka_error::KafkaError;
use crate::wire::message::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitResponse, OffsetCommitResponsePartition,
    OffsetCommitResponseTopic,
};

/// The longest text that goes with an offset, as Kafka's `offset.metadata.max.bytes`.
const MAX_METADATA: usize = 4096;

/// The first version that knows the errors of KIP-848.
const FIRST_WITH_EPOCHS: i16 = 9;

pub(super) async fn respond(call: Arc<Call>, request: OffsetCommitRequest) -> OffsetCommitResponse {
    let now = call.shared.now();
    let mut state = call.shared.state();
    if let Err(error) = admit(&mut state, &call, &request, now) {
        return request.refuse(error);
    }
    let version = call.version();
    each(&request, |topic, wanted| {
        is_own(&state, version, &request, topic, wanted)?;
        keep(&mut state, &request.group_id, topic, wanted)
    })
}

fn admit(
    state: &mut State,
    call: &Call,
    request: &OffsetCommitRequest,
    now: std::time::Duration,
) -> Result<(), KafkaError> {
    state.check_coordinator(call.node, &request.group_id)?;
    let claim = Claim {
        member_id: &request.member_id,
        instance: request.group_instance_id.as_deref(),
        generation: request.generation_id_or_member_epoch,
    };
    if state.groups.get(&request.group_id).is_none() && claim.generation >= 0 {
        let is_told = call.version() >= FIRST_WITH_EPOCHS;
        return Err(if is_told { KafkaError::GroupIdNotFound } else { KafkaError::IllegalGeneration });
    }
    if state.groups.open(&request.group_id)?.membership.classic().is_none() {
        // Each partition has an epoch of its own there.
        return Ok(());
    }
    let may = state.groups.act(&request.group_id, |membership| membership.commit(now, &claim));
    may.unwrap_or(Err(KafkaError::UnknownMemberId))
}

/// Whether a member of a KIP-848 group may commit this partition.
fn is_own(
    state: &State,
    version: i16,
    request: &OffsetCommitRequest,
    topic: &str,
    wanted: &OffsetCommitRequestPartition,
) -> Result<(), KafkaError> {
    let Some(Membership::NextGeneration(members)) = state.groups.get(&request.group_id).map(|group| &group.membership)
    else {
        return Ok(());
    };
    let share = state.topics.get(topic).map(|topic| (topic.id, wanted.partition_index));
    members.commit(&request.member_id, request.generation_id_or_member_epoch, version, share)
}

fn keep(state: &mut State, group: &str, topic: &str, wanted: &OffsetCommitRequestPartition) -> Result<(), KafkaError> {
    let metadata = wanted.committed_metadata.clone().unwrap_or_default();
    if metadata.len() > MAX_METADATA {
        return Err(KafkaError::OffsetMetadataTooLarge);
    }
    let known = state.topics.get(topic).and_then(|topic| topic.partition(wanted.partition_index));
    known.ok_or(KafkaError::UnknownTopicOrPartition)?;
    let (offset, leader_epoch) = (wanted.committed_offset, wanted.committed_leader_epoch);
    let committed = Committed { offset, leader_epoch, metadata };
    state.groups.open(group)?.offsets.insert((topic.to_owned(), wanted.partition_index), committed);
    Ok(())
}

fn each(
    request: &OffsetCommitRequest,
    mut outcome: impl FnMut(&str, &OffsetCommitRequestPartition) -> Result<(), KafkaError>,
) -> OffsetCommitResponse {
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|wanted| OffsetCommitResponsePartition {
            partition_index: wanted.partition_index,
            error_code: outcome(&topic.name, wanted).err().map_or(0, KafkaError::code),
        });
        OffsetCommitResponseTopic { name: topic.name.clone(), partitions: partitions.collect() }
    });
    OffsetCommitResponse { topics: topics.collect(), ..Default::default() }
}

impl Serve for OffsetCommitRequest {
    fn refuse(&self, error: KafkaError) -> OffsetCommitResponse {
        each(self, |_, _| Err(error))
    }

    fn throttle(response: &mut OffsetCommitResponse, time_ms: i32) {
        response.throttle_time_ms = time_ms;
    }
}
