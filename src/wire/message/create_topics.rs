//! CreateTopics: makes topics.

use super::{ApiKey, Request, VersionRange};
use crate::place::TopicId;
use crate::wire::codec::messages;

impl Request for CreateTopicsRequest {
    const API: ApiKey = ApiKey::CreateTopics;
    const VERSIONS: VersionRange = VersionRange::new(2, 7);
    // Version 4 is the first that takes the broker's own number of partitions and replicas.
    const CLIENT_VERSIONS: VersionRange = VersionRange::new(4, 7);
    const FLEXIBLE_FROM: i16 = 5;
    type Response = CreateTopicsResponse;
}

messages! {
    /// Asks to make topics; for the controller, or in a KRaft cluster any broker.
    pub struct CreateTopicsRequest {
        /// The topics.
        topics: Vec<CreatableTopic>;
        /// How long the broker may wait for the topics to be there, in milliseconds.
        timeout_ms: i32 = 60_000;
        /// Whether only to say what would happen.
        validate_only: bool;
    }

    /// One topic to make.
    pub struct CreatableTopic {
        /// The topic's name.
        name: String;
        /// The number of partitions; -1 for the broker's default (version 4), or with `assignments`.
        num_partitions: i32;
        /// The number of replicas; -1 for the broker's default (version 4), or with `assignments`.
        replication_factor: i16;
        /// The nodes of each partition; none lets the broker choose.
        assignments: Vec<CreatableReplicaAssignment>;
        /// The topic's settings.
        configs: Vec<CreatableTopicConfig>;
    }

    /// The nodes of one partition to make.
    pub struct CreatableReplicaAssignment {
        /// The partition's number.
        partition_index: i32;
        /// The nodes.
        broker_ids: Vec<i32>;
    }

    /// One setting of a topic to make.
    pub struct CreatableTopicConfig {
        /// The setting's key.
        name: String;
        /// The setting's value.
        value: Option<String> = Some(String::new());
    }

    /// Answers a [`CreateTopicsRequest`].
    pub struct CreateTopicsResponse {
        /// How long the broker holds back this connection because of a quota, in milliseconds.
        throttle_time_ms: i32, ignorable since 2;
        /// The outcome of each topic.
        topics: Vec<CreatableTopicResult>;
    }

    /// The outcome of one topic.
    pub struct CreatableTopicResult {
        /// The topic's name.
        name: String;
        /// The topic's identity.
        topic_id: TopicId, ignorable since 7;
        /// Why the topic was not made, or 0.
        error_code: i16;
        /// Why the topic was not made, for people.
        error_message: Option<String> = Some(String::new()), ignorable since 1;
        /// The number of partitions, or -1.
        num_partitions: i32 = -1, ignorable since 5;
        /// The number of replicas, or -1.
        replication_factor: i16 = -1, ignorable since 5;
        /// The topic's settings; null when `topic_config_error_code` says why.
        configs: Option<Vec<CreatableTopicConfigs>> = Some(Vec::new()), ignorable since 5;
    }
    tagged {
        /// Why the settings are not told, or 0.
        0 => topic_config_error_code: i16, ignorable since 5;
    }

    /// One setting of a topic that was made.
    pub struct CreatableTopicConfigs {
        /// The setting's key.
        name: String, since 5;
        /// The setting's value; null when it is secret.
        value: Option<String> = Some(String::new()), ignorable since 5;
        /// Whether it cannot be changed.
        read_only: bool, since 5;
        /// Where the value comes from.
        config_source: i8 = -1, ignorable since 5;
        /// Whether the value is secret.
        is_sensitive: bool, since 5;
    }
}
