//! FindCoordinator: tells which broker keeps a group.

use super::{ApiKey, Request, VersionRange};
use crate::wire::codec::messages;

impl Request for FindCoordinatorRequest {
    const API: ApiKey = ApiKey::FindCoordinator;
    const VERSIONS: VersionRange = VersionRange::new(0, 6);
    const CLIENT_VERSIONS: VersionRange = VersionRange::new(1, 6);
    const FLEXIBLE_FROM: i16 = 3;
    type Response = FindCoordinatorResponse;
}

messages! {
    /// Asks who keeps a group or a transactional producer. Up to version 3 it is `key`, from 4 any number of `coordinator_keys` (KIP-699).
    pub struct FindCoordinatorRequest {
        /// The group's name.
        key: String, until 3;
        /// What the keys are: 0 groups, 1 transactional producers, 2 share groups (version 6).
        key_type: i8, since 1;
        /// The groups' names.
        coordinator_keys: Vec<String>, since 4;
    }

    /// Answers a [`FindCoordinatorRequest`]: up to version 3 in its own fields, from 4 in `coordinators`.
    pub struct FindCoordinatorResponse {
        /// How long the broker holds back this connection because of a quota, in milliseconds.
        throttle_time_ms: i32, ignorable since 1;
        /// Why the coordinator cannot be told, or 0.
        error_code: i16, until 3;
        /// Why the coordinator cannot be told, for people.
        error_message: Option<String> = Some(String::new()), ignorable since 1, ignorable until 3;
        /// The node.
        node_id: i32, until 3;
        /// Its host name or address.
        host: String, until 3;
        /// Its port.
        port: i32, until 3;
        /// The coordinator of each key.
        coordinators: Vec<Coordinator>, since 4;
    }

    /// The coordinator of one key.
    pub struct Coordinator {
        /// The key.
        key: String, since 4;
        /// The node.
        node_id: i32, since 4;
        /// Its host name or address.
        host: String, since 4;
        /// Its port.
        port: i32, since 4;
        /// Why the coordinator cannot be told, or 0.
        error_code: i16, since 4;
        /// Why the coordinator cannot be told, for people.
        error_message: Option<String> = Some(String::new()), ignorable since 4;
    }
}
