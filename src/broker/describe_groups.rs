//! DescribeGroups: tells the state and the members of groups.

use std::sync::Arc;

use super::call::{Call, Serve};
use super::groups::classic::{Classic, Member, Phase};
use crate::wire::kafka_error::KafkaError;
use crate::wire::message::{DescribeGroupsRequest, DescribeGroupsResponse, DescribedGroup, DescribedGroupMember};

pub(super) async fn respond(call: Arc<Call>, request: DescribeGroupsRequest) -> DescribeGroupsResponse {
    let state = call.shared.state();
    let groups = request.groups.iter().map(|id| match (state.check_coordinator(call.node, id), state.groups.get(id)) {
        (Err(error), _) => refused(id, error),
        (Ok(()), Some(group)) => group.membership.classic().map_or_else(|| dead(id), |classic| describe(id, classic)),
        (Ok(()), None) => dead(id),
    });
    DescribeGroupsResponse { groups: groups.collect(), ..Default::default() }
}

/// Up to version 5 a group that is not there, or is a KIP-848 group, is dead, without error.
fn dead(id: &str) -> DescribedGroup {
    DescribedGroup { group_id: id.into(), group_state: "Dead".into(), ..Default::default() }
}

fn describe(id: &str, membership: &Classic) -> DescribedGroup {
    let protocol = if membership.phase() == Phase::Stable { membership.protocol() } else { "" };
    let describe = |(member_id, member): (&str, &Member)| DescribedGroupMember {
        member_id: member_id.into(),
        group_instance_id: member.instance.clone(),
        client_id: member.client_id.clone(),
        client_host: member.client_host.clone(),
        member_metadata: member.metadata(protocol).cloned().unwrap_or_default(),
        member_assignment: member.assignment.clone(),
    };
    DescribedGroup {
        group_id: id.into(),
        group_state: membership.phase().name().into(),
        protocol_type: membership.protocol_type().into(),
        protocol_data: protocol.into(),
        members: membership.members().map(describe).collect(),
        ..Default::default()
    }
}

fn refused(id: &str, error: KafkaError) -> DescribedGroup {
    DescribedGroup { error_code: error.code(), group_id: id.into(), ..Default::default() }
}

impl Serve for DescribeGroupsRequest {
    fn refuse(&self, error: KafkaError) -> DescribeGroupsResponse {
        let groups = self.groups.iter().map(|id| refused(id, error));
        DescribeGroupsResponse { groups: groups.collect(), ..Default::default() }
    }

    fn throttle(response: &mut DescribeGroupsResponse, time_ms: i32) {
        response.throttle_time_ms = time_ms;
    }
}
