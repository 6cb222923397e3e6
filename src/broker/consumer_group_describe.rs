//! ConsumerGroupDescribe: tells the state and the members of KIP-848 groups.

use std::sync::Arc;

use super::call::{Call, Serve};
use super::groups::membership::Membership;
use super::state::State;
use crate::place::TopicId;
use crate::wire::kafka_error::KafkaError;
use crate::wire::message::consumer_group_describe::DescribedGroup;
use crate::wire::message::{ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse};

pub(super) async fn respond(call: Arc<Call>, request: ConsumerGroupDescribeRequest) -> ConsumerGroupDescribeResponse {
    let state = call.shared.state();
    let groups = request.group_ids.iter().map(|id| match state.check_coordinator(call.node, id) {
        Ok(()) => describe(&state, id),
        Err(error) => refused(id, error, error.meaning().to_owned()),
    });
    ConsumerGroupDescribeResponse { groups: groups.collect(), ..Default::default() }
}

fn describe(state: &State, id: &str) -> DescribedGroup {
    let name = |topic: TopicId| state.topics.by_id(topic).map(|topic| topic.name.to_string());
    match state.groups.get(id).map(|group| &group.membership) {
        Some(Membership::NextGeneration(members)) => members.describe(id, &name),
        Some(Membership::Classic(_)) => {
            refused(id, KafkaError::GroupIdNotFound, format!("Group {id} is not a consumer group."))
        }
        None => refused(id, KafkaError::GroupIdNotFound, format!("Group {id} not found.")),
    }
}

fn refused(id: &str, error: KafkaError, message: String) -> DescribedGroup {
    DescribedGroup {
        error_code: error.code(),
        error_message: Some(message),
        group_id: id.to_owned(),
        ..Default::default()
    }
}

impl Serve for ConsumerGroupDescribeRequest {
    fn refuse(&self, error: KafkaError) -> ConsumerGroupDescribeResponse {
        let groups = self.group_ids.iter().map(|id| refused(id, error, error.meaning().to_owned()));
        ConsumerGroupDescribeResponse { groups: groups.collect(), ..Default::default() }
    }

    fn throttle(response: &mut ConsumerGroupDescribeResponse, time_ms: i32) {
        response.throttle_time_ms = time_ms;
    }
}
