//! DeleteGroups: forgets groups that have no members, with their offsets.

use std::sync::Arc;

use super::call::{Call, Serve};
use super::state::State;
use crate::wire::kafka_error::KafkaError;
use crate::wire::message::{DeletableGroupResult, DeleteGroupsRequest, DeleteGroupsResponse};

pub(super) async fn respond(call: Arc<Call>, request: DeleteGroupsRequest) -> DeleteGroupsResponse {
    let mut state = call.shared.state();
    each(&request, |group| delete(&mut state, call.node, group))
}

fn delete(state: &mut State, node: i32, group: &str) -> Result<(), KafkaError> {
    state.check_coordinator(node, group)?;
    let known = state.groups.get(group).ok_or(KafkaError::GroupIdNotFound)?;
    if !known.membership.is_empty() {
        return Err(KafkaError::NonEmptyGroup);
    }
    state.groups.remove(group);
    Ok(())
}

fn each(
    request: &DeleteGroupsRequest,
    mut outcome: impl FnMut(&str) -> Result<(), KafkaError>,
) -> DeleteGroupsResponse {
    let results = request.groups_names.iter().map(|group| DeletableGroupResult {
        group_id: group.clone(),
        error_code: outcome(group).err().map_or(0, KafkaError::code),
    });
    DeleteGroupsResponse { results: results.collect(), ..Default::default() }
}

impl Serve for DeleteGroupsRequest {
    fn refuse(&self, error: KafkaError) -> DeleteGroupsResponse {
        each(self, |_| Err(error))
    }

    fn throttle(response: &mut DeleteGroupsResponse, time_ms: i32) {
        response.throttle_time_ms = time_ms;
    }
}
