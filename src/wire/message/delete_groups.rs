//! DeleteGroups: removes groups that have no members.

use super::{ApiKey, Request, VersionRange};
use crate::wire::codec::messages;

impl Request for DeleteGroupsRequest {
    const API: ApiKey = ApiKey::DeleteGroups;
    const VERSIONS: VersionRange = VersionRange::new(0, 2);
    const CLIENT_VERSIONS: VersionRange = VersionRange::new(0, 2);
    const FLEXIBLE_FROM: i16 = 2;
    type Response = DeleteGroupsResponse;
}

messages! {
    /// Asks a coordinator to remove groups of its own, with their offsets.
    pub struct DeleteGroupsRequest {
        /// The groups' names.
        groups_names: Vec<String>;
    }

    /// Answers a [`DeleteGroupsRequest`].
    pub struct DeleteGroupsResponse {
        /// How long the broker holds back this connection because of a quota, in milliseconds.
        throttle_time_ms: i32;
        /// The outcome of each group.
        results: Vec<DeletableGroupResult>;
    }

    /// The outcome of one group.
    pub struct DeletableGroupResult {
        /// The group's name.
        group_id: String;
        /// Why the group is still there, or 0.
        error_code: i16;
    }
}
