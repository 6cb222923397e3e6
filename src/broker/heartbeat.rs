//! Heartbeat: keeps a member's session, and tells it of a rebalance.

use std::sync::Arc;

use super::call::{Call, Serve};
use super::groups::classic::Claim;
use crate::wire::kafka_error::KafkaError;
use crate::wire::message::{HeartbeatRequest, HeartbeatResponse};

pub(super) async fn respond(call: Arc<Call>, request: HeartbeatRequest) -> HeartbeatResponse {
    beat(&call, &request).err().map_or_else(HeartbeatResponse::default, |error| request.refuse(error))
}

fn beat(call: &Call, request: &HeartbeatRequest) -> Result<(), KafkaError> {
    let now = call.shared.now();
    let mut state = call.shared.state();
    state.check_coordinator(call.node, &request.group_id)?;
    let claim = Claim {
        member_id: &request.member_id,
        instance: request.group_instance_id.as_deref(),
        generation: request.generation_id,
    };
    let beaten = state.groups.act(&request.group_id, |membership| membership.heartbeat(now, &claim));
    beaten.unwrap_or(Err(KafkaError::UnknownMemberId))
}

impl Serve for HeartbeatRequest {
    fn refuse(&self, error: KafkaError) -> HeartbeatResponse {
        HeartbeatResponse { error_code: error.code(), ..Default::default() }
    }

    fn throttle(response: &mut HeartbeatResponse, time_ms: i32) {
        response.throttle_time_ms = time_ms;
    }
}
