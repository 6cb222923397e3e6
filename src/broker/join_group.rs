//! JoinGroup: parks a member until its group's next generation begins.

use std::sync::Arc;
use std::time::Duration;

use super::call::{Call, Serve};
use super::groups::classic::{Answer, Join, Joined, Ticket};
use crate::wire::kafka_error::KafkaError;
use crate::wire::message::{JoinGroupRequest, JoinGroupResponse, JoinGroupResponseMember};

/// What a session may last. Kafka's lower bound of 6 s would make every test of an expiry last as long.
const SESSIONS: std::ops::RangeInclusive<i32> = 10..=1_800_000;

/// The first versions that give a member its id before it joins, and that let a leader keep the assignment.
const FIRST_WITH_IDS: i16 = 4;
const FIRST_WITH_SKIP: i16 = 9;

pub(super) async fn respond(call: Arc<Call>, request: JoinGroupRequest) -> JoinGroupResponse {
    if !SESSIONS.contains(&request.session_timeout_ms) {
        return request.refuse(KafkaError::InvalidSessionTimeout);
    }
    let now = call.shared.now();
    let member_id = request.member_id.clone();
    let receiver = {
        let mut state = call.shared.state();
        let checked = state.check_coordinator(call.node, &request.group_id);
        if let Err(error) = checked.and_then(|()| state.groups.open_classic(&request.group_id)) {
            return request.refuse(error);
        }
        let random = state.random().u128(..);
        let (ticket, receiver) = state.groups.ticket();
        let group = request.group_id.clone();
        let join = join(&call, request, ticket, random);
        state.groups.act(&group, |membership| membership.join(now, join));
        receiver
    };
    match receiver.await {
        Ok(Answer::Joined(joined)) => response(joined),
        Ok(Answer::NotJoined(error, member_id)) => refused(member_id, error),
        Ok(Answer::Synced(_) | Answer::NotSynced(_)) | Err(_) => {
            refused(member_id, KafkaError::CoordinatorNotAvailable)
        }
    }
}

fn join(call: &Call, request: JoinGroupRequest, ticket: Ticket, random: u128) -> Join {
    let millis = |time: i32| Duration::from_millis(time.try_into().unwrap_or_default());
    let client_id = call.header.client_id.clone().unwrap_or_default();
    // Versions before 1 have one time for both.
    let rebalance =
        if request.rebalance_timeout_ms < 0 { request.session_timeout_ms } else { request.rebalance_timeout_ms };
    Join {
        ticket,
        member_id: request.member_id,
        fresh_id: format!("{}-{random:032x}", request.group_instance_id.as_deref().unwrap_or(&client_id)),
        instance: request.group_instance_id,
        client_id,
        client_host: call.peer.as_ref().into(),
        session: millis(request.session_timeout_ms),
        rebalance: millis(rebalance),
        protocol_type: request.protocol_type,
        protocols: request.protocols.into_iter().map(|protocol| (protocol.name, protocol.metadata)).collect(),
        takes_id: call.version() >= FIRST_WITH_IDS,
        may_skip: call.version() >= FIRST_WITH_SKIP,
    }
}

pub(super) fn response(joined: Joined) -> JoinGroupResponse {
    let members = joined.members.into_iter().map(|(member_id, group_instance_id, metadata)| JoinGroupResponseMember {
        member_id,
        group_instance_id,
        metadata,
    });
    JoinGroupResponse {
        generation_id: joined.generation,
        protocol_type: Some(joined.protocol_type),
        protocol_name: Some(joined.protocol),
        leader: joined.leader,
        skip_assignment: joined.skip_assignment,
        member_id: joined.member_id,
        members: members.collect(),
        ..Default::default()
    }
}

pub(super) fn refused(member_id: String, error: KafkaError) -> JoinGroupResponse {
    JoinGroupResponse { error_code: error.code(), member_id, ..Default::default() }
}

impl Serve for JoinGroupRequest {
    fn refuse(&self, error: KafkaError) -> JoinGroupResponse {
        refused(self.member_id.clone(), error)
    }

    fn throttle(response: &mut JoinGroupResponse, time_ms: i32) {
        response.throttle_time_ms = time_ms;
    }
}
