//! SyncGroup: parks a member until the leader has made the assignment.

use std::sync::Arc;

use super::call::{Call, Serve};
use super::groups::classic::{Answer, Claim, Classic, Ticket};
use super::state::State;
use crate::wire::kafka_error::KafkaError;
use crate::wire::message::{SyncGroupRequest, SyncGroupResponse};

pub(super) async fn respond(call: Arc<Call>, request: SyncGroupRequest) -> SyncGroupResponse {
    let now = call.shared.now();
    let receiver = {
        let mut state = call.shared.state();
        if let Err(error) = check(&state, &call, &request) {
            return request.refuse(error);
        }
        let (ticket, receiver) = state.groups.ticket();
        state.groups.act(&request.group_id, |membership| sync(membership, now, ticket, &request));
        receiver
    };
    match receiver.await {
        Ok(Answer::Synced(synced)) => SyncGroupResponse {
            protocol_type: Some(synced.protocol_type),
            protocol_name: Some(synced.protocol),
            assignment: synced.assignment,
            ..Default::default()
        },
        Ok(Answer::NotSynced(error) | Answer::NotJoined(error, _)) => request.refuse(error),
        Ok(Answer::Joined(_)) | Err(_) => request.refuse(KafkaError::CoordinatorNotAvailable),
    }
}

fn sync(membership: &mut Classic, now: std::time::Duration, ticket: Ticket, request: &SyncGroupRequest) {
    let claim = Claim {
        member_id: &request.member_id,
        instance: request.group_instance_id.as_deref(),
        generation: request.generation_id,
    };
    let assignments = request.assignments.iter().map(|one| (one.member_id.clone(), one.assignment.clone()));
    membership.sync(now, ticket, &claim, assignments.collect());
}

fn check(state: &State, call: &Call, request: &SyncGroupRequest) -> Result<(), KafkaError> {
    state.check_coordinator(call.node, &request.group_id)?;
    let group = state.groups.get(&request.group_id);
    let membership = group.and_then(|group| group.membership.classic()).ok_or(KafkaError::UnknownMemberId)?;
    let differs = |told: &Option<String>, known: &str| told.as_deref().is_some_and(|told| told != known);
    let is_same_generation = request.generation_id == membership.generation();
    if is_same_generation
        && (differs(&request.protocol_type, membership.protocol_type())
            || differs(&request.protocol_name, membership.protocol()))
    {
        return Err(KafkaError::InconsistentGroupProtocol);
    }
    Ok(())
}

impl Serve for SyncGroupRequest {
    fn refuse(&self, error: KafkaError) -> SyncGroupResponse {
        SyncGroupResponse { error_code: error.code(), ..Default::default() }
    }

    fn throttle(response: &mut SyncGroupResponse, time_ms: i32) {
        response.throttle_time_ms = time_ms;
    }
}
