//! SyncGroup: hands the leader's assignment to the members of a classic group.

use bytes::Bytes;

use super::{ApiKey, Request, VersionRange};
use crate::wire::codec::messages;

impl Request for SyncGroupRequest {
    const API: ApiKey = ApiKey::SyncGroup;
    const VERSIONS: VersionRange = VersionRange::new(0, 5);
    const CLIENT_VERSIONS: VersionRange = VersionRange::new(3, 5);
    const FLEXIBLE_FROM: i16 = 4;
    type Response = SyncGroupResponse;
}

messages! {
    /// Asks for the member's assignment; the leader brings everyone's.
    pub struct SyncGroupRequest {
        /// The group's name.
        group_id: String;
        /// The generation.
        generation_id: i32;
        /// The member's id.
        member_id: String;
        /// The member's lasting name.
        group_instance_id: Option<String> = None, since 3;
        /// What the members are; the coordinator checks it.
        protocol_type: Option<String> = None, ignorable since 5;
        /// The assignor chosen; the coordinator checks it.
        protocol_name: Option<String> = None, ignorable since 5;
        /// Each member's assignment, from the leader only.
        assignments: Vec<SyncGroupRequestAssignment>;
    }

    /// The assignment of one member.
    pub struct SyncGroupRequestAssignment {
        /// The member's id.
        member_id: String;
        /// The assignment in the consumer protocol's form.
        assignment: Bytes;
    }

    /// Answers a [`SyncGroupRequest`].
    pub struct SyncGroupResponse {
        /// How long the broker holds back this connection because of a quota, in milliseconds.
        throttle_time_ms: i32, ignorable since 1;
        /// Why there is no assignment, or 0.
        error_code: i16;
        /// What the members are.
        protocol_type: Option<String> = None, ignorable since 5;
        /// The assignor chosen.
        protocol_name: Option<String> = None, ignorable since 5;
        /// The assignment in the consumer protocol's form.
        assignment: Bytes;
    }
}
