//! DeleteTopics: removes topics with all their records.

use super::{ApiKey, Request, VersionRange};
use crate::place::TopicId;
use crate::wire::codec::messages;

impl Request for DeleteTopicsRequest {
    const API: ApiKey = ApiKey::DeleteTopics;
    const VERSIONS: VersionRange = VersionRange::new(1, 6);
    const CLIENT_VERSIONS: VersionRange = VersionRange::new(1, 6);
    const FLEXIBLE_FROM: i16 = 4;
    type Response = DeleteTopicsResponse;
}

messages! {
    /// Asks to remove topics: up to version 5 `topic_names`, from 6 `topics`, which are names or identities.
    pub struct DeleteTopicsRequest {
        /// The topics.
        topics: Vec<DeleteTopicState>, since 6;
        /// The topics' names.
        topic_names: Vec<String>, ignorable until 5;
        /// How long the broker may wait for the topics to be gone, in milliseconds.
        timeout_ms: i32;
    }

    /// One topic to remove, by name or by identity.
    pub struct DeleteTopicState {
        /// The topic's name; null when the identity is meant.
        name: Option<String> = None, since 6;
        /// The topic's identity; none when the name is meant.
        topic_id: TopicId, since 6;
    }

    /// Answers a [`DeleteTopicsRequest`].
    pub struct DeleteTopicsResponse {
        /// How long the broker holds back this connection because of a quota, in milliseconds.
        throttle_time_ms: i32, ignorable since 1;
        /// The outcome of each topic.
        responses: Vec<DeletableTopicResult>;
    }

    /// The outcome of one topic.
    pub struct DeletableTopicResult {
        /// The topic's name; null when it was given by an identity that is not known.
        name: Option<String> = Some(String::new()), nullable since 6;
        /// The topic's identity.
        topic_id: TopicId, ignorable since 6;
        /// Why the topic is still there, or 0.
        error_code: i16;
        /// Why the topic is still there, for people.
        error_message: Option<String> = None, ignorable since 5;
    }
}
