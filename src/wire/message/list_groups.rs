//! ListGroups: tells which groups a broker keeps.

use super::{ApiKey, Request, VersionRange};
use crate::wire::codec::messages;

impl Request for ListGroupsRequest {
    const API: ApiKey = ApiKey::ListGroups;
    const VERSIONS: VersionRange = VersionRange::new(0, 5);
    const CLIENT_VERSIONS: VersionRange = VersionRange::new(0, 5);
    const FLEXIBLE_FROM: i16 = 3;
    type Response = ListGroupsResponse;
}

messages! {
    /// Asks a broker for the groups that it keeps.
    pub struct ListGroupsRequest {
        /// The states wanted; none is all.
        states_filter: Vec<String>, since 4;
        /// The kinds wanted, `classic` or `consumer`; none is all.
        types_filter: Vec<String>, since 5;
    }

    /// Answers a [`ListGroupsRequest`].
    pub struct ListGroupsResponse {
        /// How long the broker holds back this connection because of a quota, in milliseconds.
        throttle_time_ms: i32, ignorable since 1;
        /// Why the groups cannot be told, or 0.
        error_code: i16;
        /// The groups.
        groups: Vec<ListedGroup>;
    }

    /// One group.
    pub struct ListedGroup {
        /// The group's name.
        group_id: String;
        /// What the members are.
        protocol_type: String;
        /// The group's state.
        group_state: String, ignorable since 4;
        /// The group's kind: `classic`, or `consumer` for KIP-848.
        group_type: String, ignorable since 5;
    }
}
