//! ConsumerGroupHeartbeat: joins, keeps and leaves a KIP-848 group, and tells the assignment.

use super::{ApiKey, Request, VersionRange};
use crate::place::TopicId;
use crate::wire::codec::{messages, nullable_structures};

impl Request for ConsumerGroupHeartbeatRequest {
    const API: ApiKey = ApiKey::ConsumerGroupHeartbeat;
    const VERSIONS: VersionRange = VersionRange::new(0, 1);
    // In version 0 the coordinator makes the member's id, so that a lost answer leaves a member that nobody knows.
    const CLIENT_VERSIONS: VersionRange = VersionRange::new(1, 1);
    const FLEXIBLE_FROM: i16 = 0;
    type Response = ConsumerGroupHeartbeatResponse;
}

messages! {
    /// Tells the coordinator of a member: on joining all of it, later what changed, where null or -1 is unchanged.
    pub struct ConsumerGroupHeartbeatRequest {
        /// The group's name.
        group_id: String;
        /// The member's id, which the client makes.
        member_id: String;
        /// The epoch that the member has; 0 joins, -1 leaves, -2 leaves for a while (static members).
        member_epoch: i32;
        /// The member's lasting name.
        instance_id: Option<String> = None;
        /// Where the member is.
        rack_id: Option<String> = None;
        /// How long the member may take to give partitions back, in milliseconds.
        rebalance_timeout_ms: i32 = -1;
        /// The topics subscribed to.
        subscribed_topic_names: Option<Vec<String>> = None;
        /// The pattern subscribed to, matched whole; empty is none.
        subscribed_topic_regex: Option<String> = None, since 1;
        /// The assignor wanted; null is the broker's default.
        server_assignor: Option<String> = None;
        /// The partitions that the member owns.
        topic_partitions: Option<Vec<TopicPartitions>> = None;
    }

    /// Some partitions of one topic.
    pub struct TopicPartitions {
        /// The topic's identity.
        topic_id: TopicId;
        /// The partitions' numbers.
        partitions: Vec<i32>;
    }

    /// Answers a [`ConsumerGroupHeartbeatRequest`].
    pub struct ConsumerGroupHeartbeatResponse {
        /// How long the broker holds back this connection because of a quota, in milliseconds.
        throttle_time_ms: i32;
        /// What the member must do, or 0.
        error_code: i16;
        /// Why, for people.
        error_message: Option<String> = None;
        /// The member's id.
        member_id: Option<String> = None;
        /// The member's epoch.
        member_epoch: i32;
        /// When to send the next one, in milliseconds.
        heartbeat_interval_ms: i32;
        /// What the member may own; null is unchanged.
        assignment: Option<Assignment> = None;
    }

    /// What a member may own.
    pub struct Assignment {
        /// The partitions, by topic.
        topic_partitions: Vec<TopicPartitions>;
    }
}

nullable_structures! { Assignment }
