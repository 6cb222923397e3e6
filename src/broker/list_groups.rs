//! ListGroups: tells the groups that a node keeps.

use std::sync::Arc;

use super::call::{Call, Serve};
use crate::wire::kafka_error::KafkaError;
use crate::wire::message::{ListGroupsRequest, ListGroupsResponse, ListedGroup};

pub(super) async fn respond(call: Arc<Call>, request: ListGroupsRequest) -> ListGroupsResponse {
    let state = call.shared.state();
    let own = state.groups.iter().filter(|(id, _)| state.coordinator(id) == Some(call.node));
    let listed = own.map(|(id, group)| ListedGroup {
        group_id: id.into(),
        protocol_type: group.membership.protocol_type().into(),
        group_state: group.membership.state().into(),
        group_type: group.membership.kind().into(),
    });
    let fits = |filter: &[String], word: &str| {
        filter.is_empty() || filter.iter().any(|wanted| wanted.eq_ignore_ascii_case(word))
    };
    let wanted = |group: &ListedGroup| {
        fits(&request.states_filter, &group.group_state) && fits(&request.types_filter, &group.group_type)
    };
    let groups = listed.filter(wanted).collect();
    ListGroupsResponse { groups, ..Default::default() }
}

impl Serve for ListGroupsRequest {
    fn refuse(&self, error: KafkaError) -> ListGroupsResponse {
        ListGroupsResponse { error_code: error.code(), ..Default::default() }
    }

    fn throttle(response: &mut ListGroupsResponse, time_ms: i32) {
        response.throttle_time_ms = time_ms;
    }
}
