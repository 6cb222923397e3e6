//! What members ask of their group, with what they are told.

use std::time::Duration;

use bytes::Bytes;

use crate::wire::kafka_error::KafkaError;

/// A request that waits for its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(in crate::broker) struct Ticket(pub(in crate::broker::groups) u64);

/// A member that wants to join.
#[derive(Clone, Debug)]
pub(in crate::broker) struct Join {
    pub(in crate::broker) ticket: Ticket,
    /// The id that it has, or nothing.
    pub(in crate::broker) member_id: String,
    /// The id that it gets if it needs one.
    pub(in crate::broker) fresh_id: String,
    pub(in crate::broker) instance: Option<String>,
    pub(in crate::broker) client_id: String,
    pub(in crate::broker) client_host: String,
    pub(in crate::broker) session: Duration,
    pub(in crate::broker) rebalance: Duration,
    pub(in crate::broker) protocol_type: String,
    /// Its protocols, the preferred first, each with what it tells the leader.
    pub(in crate::broker) protocols: Vec<(String, Bytes)>,
    /// Whether its version of JoinGroup lets it be told to come back with an id (KIP-394).
    pub(in crate::broker) takes_id: bool,
    /// Whether its version lets a leader be told to keep the assignment (KIP-814).
    pub(in crate::broker) may_skip: bool,
}

/// Who sends a request that only members send.
#[derive(Clone, Debug)]
pub(in crate::broker) struct Claim<'a> {
    pub(in crate::broker) member_id: &'a str,
    pub(in crate::broker) instance: Option<&'a str>,
    pub(in crate::broker) generation: i32,
}

/// A member's part in a generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::broker) struct Joined {
    pub(in crate::broker) generation: i32,
    pub(in crate::broker) protocol_type: String,
    pub(in crate::broker) protocol: String,
    pub(in crate::broker) leader: String,
    pub(in crate::broker) member_id: String,
    pub(in crate::broker) skip_assignment: bool,
    /// For the leader: every member's id, instance and what it tells.
    pub(in crate::broker) members: Vec<(String, Option<String>, Bytes)>,
}

/// A member's assignment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::broker) struct Synced {
    pub(in crate::broker) protocol_type: String,
    pub(in crate::broker) protocol: String,
    pub(in crate::broker) assignment: Bytes,
}

/// The answer to a request that could wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::broker) enum Answer {
    Joined(Joined),
    /// With the id that the member has or gets.
    NotJoined(KafkaError, String),
    Synced(Synced),
    NotSynced(KafkaError),
}
