//! JoinGroup: enters a classic group's next generation.

use bytes::Bytes;

use super::{ApiKey, Request, VersionRange};
use crate::wire::codec::messages;

impl Request for JoinGroupRequest {
    const API: ApiKey = ApiKey::JoinGroup;
    const VERSIONS: VersionRange = VersionRange::new(0, 9);
    // Version 5 is the first that knows static members; before it they would be taken for dynamic ones.
    const CLIENT_VERSIONS: VersionRange = VersionRange::new(5, 9);
    const FLEXIBLE_FROM: i16 = 6;
    type Response = JoinGroupResponse;
}

messages! {
    /// Asks the coordinator to take a member into the next generation. The answer comes when all members have asked.
    pub struct JoinGroupRequest {
        /// The group's name.
        group_id: String;
        /// How long the member may be silent, in milliseconds.
        session_timeout_ms: i32;
        /// How long the coordinator waits for the other members, in milliseconds.
        rebalance_timeout_ms: i32 = -1, ignorable since 1;
        /// The member's id; empty at first.
        member_id: String;
        /// The member's lasting name (KIP-345).
        group_instance_id: Option<String> = None, since 5;
        /// What the members are: `consumer`.
        protocol_type: String;
        /// The assignors that the member offers, the preferred one first.
        protocols: Vec<JoinGroupRequestProtocol>;
        /// Why the member joins, for people (KIP-800).
        reason: Option<String> = None, ignorable since 8;
    }

    /// One assignor offered.
    pub struct JoinGroupRequestProtocol {
        /// The assignor's name.
        name: String;
        /// The member's subscription in the assignor's form.
        metadata: Bytes;
    }

    /// Answers a [`JoinGroupRequest`].
    pub struct JoinGroupResponse {
        /// How long the broker holds back this connection because of a quota, in milliseconds.
        throttle_time_ms: i32, ignorable since 2;
        /// Why the member is not in, or 0.
        error_code: i16;
        /// The generation, or -1.
        generation_id: i32 = -1;
        /// What the members are.
        protocol_type: Option<String> = None, ignorable since 7;
        /// The assignor chosen.
        protocol_name: Option<String> = Some(String::new()), nullable since 7;
        /// The id of the member that assigns; empty when the coordinator does.
        leader: String;
        /// Whether the leader must leave the assignment as it is (KIP-814).
        skip_assignment: bool, since 9;
        /// The member's id.
        member_id: String;
        /// All members; told to the leader only.
        members: Vec<JoinGroupResponseMember>;
    }

    /// One member, as the leader sees it.
    pub struct JoinGroupResponseMember {
        /// The member's id.
        member_id: String;
        /// The member's lasting name.
        group_instance_id: Option<String> = None, ignorable since 5;
        /// The member's subscription in the chosen assignor's form.
        metadata: Bytes;
    }
}
