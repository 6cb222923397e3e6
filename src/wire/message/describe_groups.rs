//! DescribeGroups: tells the state and the members of classic groups.

use bytes::Bytes;

use super::{ApiKey, Request, VersionRange};
use crate::wire::codec::messages;

impl Request for DescribeGroupsRequest {
    const API: ApiKey = ApiKey::DescribeGroups;
    const VERSIONS: VersionRange = VersionRange::new(0, 5);
    const CLIENT_VERSIONS: VersionRange = VersionRange::new(0, 5);
    const FLEXIBLE_FROM: i16 = 5;
    type Response = DescribeGroupsResponse;
}

messages! {
    /// Asks a coordinator about groups of its own.
    pub struct DescribeGroupsRequest {
        /// The groups' names.
        groups: Vec<String>;
        /// Whether to tell what the client may do with each group.
        include_authorized_operations: bool, since 3;
    }

    /// Answers a [`DescribeGroupsRequest`].
    pub struct DescribeGroupsResponse {
        /// How long the broker holds back this connection because of a quota, in milliseconds.
        throttle_time_ms: i32, ignorable since 1;
        /// The groups.
        groups: Vec<DescribedGroup>;
    }

    /// One group.
    pub struct DescribedGroup {
        /// Why the group cannot be told, or 0.
        error_code: i16;
        /// The group's name.
        group_id: String;
        /// The group's state: `Stable`, `Empty`, ...; `Dead` when there is none.
        group_state: String;
        /// What the members are.
        protocol_type: String;
        /// The assignor chosen.
        protocol_data: String;
        /// The members.
        members: Vec<DescribedGroupMember>;
        /// What the client may do with the group, one bit an operation.
        authorized_operations: i32 = i32::MIN, since 3;
    }

    /// One member.
    pub struct DescribedGroupMember {
        /// The member's id.
        member_id: String;
        /// The member's lasting name.
        group_instance_id: Option<String> = None, ignorable since 4;
        /// The name that the client gives itself.
        client_id: String;
        /// The client's address.
        client_host: String;
        /// The member's subscription in the chosen assignor's form.
        member_metadata: Bytes;
        /// The member's assignment in the consumer protocol's form.
        member_assignment: Bytes;
    }
}
