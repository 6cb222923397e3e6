//! Heartbeat: shows that a classic group's member is alive.

use super::{ApiKey, Request, VersionRange};
use crate::wire::codec::messages;

impl Request for HeartbeatRequest {
    const API: ApiKey = ApiKey::Heartbeat;
    const VERSIONS: VersionRange = VersionRange::new(0, 4);
    const CLIENT_VERSIONS: VersionRange = VersionRange::new(3, 4);
    const FLEXIBLE_FROM: i16 = 4;
    type Response = HeartbeatResponse;
}

messages! {
    /// Tells the coordinator that the member is alive.
    pub struct HeartbeatRequest {
        /// The group's name.
        group_id: String;
        /// The generation.
        generation_id: i32;
        /// The member's id.
        member_id: String;
        /// The member's lasting name.
        group_instance_id: Option<String> = None, since 3;
    }

    /// Answers a [`HeartbeatRequest`].
    pub struct HeartbeatResponse {
        /// How long the broker holds back this connection because of a quota, in milliseconds.
        throttle_time_ms: i32, ignorable since 1;
        /// What the member must do, or 0.
        error_code: i16;
    }
}
