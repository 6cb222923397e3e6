//! LeaveGroup: takes members out of their group.

use std::sync::Arc;

use super::call::{Call, Serve};
use crate::wire::kafka_error::KafkaError;
use crate::wire::message::{LeaveGroupRequest, LeaveGroupResponse, MemberIdentity, MemberResponse};

/// The first version that names several members.
const FIRST_WITH_MEMBERS: i16 = 3;

pub(super) async fn respond(call: Arc<Call>, request: LeaveGroupRequest) -> LeaveGroupResponse {
    let now = call.shared.now();
    let mut state = call.shared.state();
    if let Err(error) = state.check_coordinator(call.node, &request.group_id) {
        return request.refuse(error);
    }
    let mut leave = |member: &MemberIdentity| {
        let instance = member.group_instance_id.as_deref();
        let left = state.groups.act(&request.group_id, |membership| membership.leave(now, &member.member_id, instance));
        left.unwrap_or(Err(KafkaError::UnknownMemberId))
    };
    if call.version() < FIRST_WITH_MEMBERS {
        let only = MemberIdentity { member_id: request.member_id.clone(), ..Default::default() };
        return leave(&only).err().map_or_else(LeaveGroupResponse::default, |error| request.refuse(error));
    }
    let members = request.members.iter().map(|member| MemberResponse {
        error_code: leave(member).err().map_or(0, KafkaError::code),
        member_id: member.member_id.clone(),
        group_instance_id: member.group_instance_id.clone(),
    });
    LeaveGroupResponse { members: members.collect(), ..Default::default() }
}

impl Serve for LeaveGroupRequest {
    fn refuse(&self, error: KafkaError) -> LeaveGroupResponse {
        LeaveGroupResponse { error_code: error.code(), ..Default::default() }
    }

    fn throttle(response: &mut LeaveGroupResponse, time_ms: i32) {
        response.throttle_time_ms = time_ms;
    }
}
