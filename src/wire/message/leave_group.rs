//! LeaveGroup: takes members out of a classic group.

use super::{ApiKey, Request, VersionRange};
use crate::wire::codec::messages;

impl Request for LeaveGroupRequest {
    const API: ApiKey = ApiKey::LeaveGroup;
    const VERSIONS: VersionRange = VersionRange::new(0, 5);
    const CLIENT_VERSIONS: VersionRange = VersionRange::new(3, 5);
    const FLEXIBLE_FROM: i16 = 4;
    type Response = LeaveGroupResponse;
}

messages! {
    /// Asks to take out one member (up to version 2: `member_id`) or some (from 3: `members`).
    pub struct LeaveGroupRequest {
        /// The group's name.
        group_id: String;
        /// The member's id.
        member_id: String, until 2;
        /// The members.
        members: Vec<MemberIdentity>, since 3;
    }

    /// One member to take out.
    pub struct MemberIdentity {
        /// The member's id.
        member_id: String, since 3;
        /// The member's lasting name.
        group_instance_id: Option<String> = None, since 3;
        /// Why it leaves, for people (KIP-800).
        reason: Option<String> = None, ignorable since 5;
    }

    /// Answers a [`LeaveGroupRequest`].
    pub struct LeaveGroupResponse {
        /// How long the broker holds back this connection because of a quota, in milliseconds.
        throttle_time_ms: i32, ignorable since 1;
        /// Why nobody was taken out, or 0.
        error_code: i16;
        /// The outcome of each member.
        members: Vec<MemberResponse>, since 3;
    }

    /// The outcome of one member.
    pub struct MemberResponse {
        /// The member's id.
        member_id: String, since 3;
        /// The member's lasting name.
        group_instance_id: Option<String> = Some(String::new()), ignorable since 3;
        /// Why the member is still in, or 0.
        error_code: i16, since 3;
    }
}
