//! ConsumerGroupHeartbeat: joins, keeps and leaves a KIP-848 group.

use std::sync::Arc;

use super::call::{Call, Serve};
use super::groups::Joins;
use super::groups::next_generation::{Catalogue, Peer};
use super::state::{Refusal, State};
use super::topic::Topics;
use crate::place::TopicId;
use crate::wire::kafka_error::KafkaError;
use crate::wire::message::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};

/// The first version in which members make their own ids.
const FIRST_WITH_OWN_IDS: i16 = 1;

pub(super) async fn respond(
    call: Arc<Call>,
    mut request: ConsumerGroupHeartbeatRequest,
) -> ConsumerGroupHeartbeatResponse {
    let mut state = call.shared.state();
    if call.version() < FIRST_WITH_OWN_IDS && request.member_epoch == 0 && request.member_id.is_empty() {
        request.member_id = format!("{:032x}", state.random().u128(..));
    }
    beat(&mut state, &call, &request).unwrap_or_else(|refusal| refused(refusal.error, refusal.message))
}

fn beat(
    state: &mut State,
    call: &Call,
    request: &ConsumerGroupHeartbeatRequest,
) -> Result<ConsumerGroupHeartbeatResponse, Refusal> {
    let checked = state.check_coordinator(call.node, &request.group_id);
    checked.map_err(|error| Refusal::new(error, error.meaning()))?;
    let now = call.shared.now();
    let client_id = call.header.client_id.as_deref().unwrap_or_default();
    let peer = Peer { client_id, client_host: &call.peer };
    let joins = if request.member_epoch == 0 { Joins::Yes } else { Joins::No };
    let State { groups, topics, .. } = state;
    groups.act_next(&request.group_id, joins, |members| members.heartbeat(now, request, peer, topics))
}

impl Catalogue for Topics {
    fn find(&self, name: &str) -> Option<(TopicId, i32)> {
        let topic = self.get(name)?;
        Some((topic.id, topic.partitions.len().try_into().ok()?))
    }
}

fn refused(error: KafkaError, message: String) -> ConsumerGroupHeartbeatResponse {
    ConsumerGroupHeartbeatResponse { error_code: error.code(), error_message: Some(message), ..Default::default() }
}

impl Serve for ConsumerGroupHeartbeatRequest {
    fn refuse(&self, error: KafkaError) -> ConsumerGroupHeartbeatResponse {
        refused(error, error.meaning().to_owned())
    }

    fn throttle(response: &mut ConsumerGroupHeartbeatResponse, time_ms: i32) {
        response.throttle_time_ms = time_ms;
    }
}
