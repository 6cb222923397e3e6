//! CreatePartitions: gives topics more partitions.

use super::{ApiKey, Request, VersionRange};
use crate::wire::codec::messages;

impl Request for CreatePartitionsRequest {
    const API: ApiKey = ApiKey::CreatePartitions;
    const VERSIONS: VersionRange = VersionRange::new(0, 3);
    const CLIENT_VERSIONS: VersionRange = VersionRange::new(0, 3);
    const FLEXIBLE_FROM: i16 = 2;
    type Response = CreatePartitionsResponse;
}

messages! {
    /// Asks for more partitions. Keys that went to one partition may go to another afterwards.
    pub struct CreatePartitionsRequest {
        /// The topics.
        topics: Vec<CreatePartitionsTopic>;
        /// How long the broker may wait for the partitions to be there, in milliseconds.
        timeout_ms: i32;
        /// Whether only to say what would happen.
        validate_only: bool;
    }

    /// One topic.
    pub struct CreatePartitionsTopic {
        /// The topic's name.
        name: String;
        /// The number of partitions wanted in all.
        count: i32;
        /// The nodes of each new partition; null lets the broker choose.
        assignments: Option<Vec<CreatePartitionsAssignment>> = Some(Vec::new());
    }

    /// The nodes of one new partition.
    pub struct CreatePartitionsAssignment {
        /// The nodes.
        broker_ids: Vec<i32>;
    }

    /// Answers a [`CreatePartitionsRequest`].
    pub struct CreatePartitionsResponse {
        /// How long the broker holds back this connection because of a quota, in milliseconds.
        throttle_time_ms: i32;
        /// The outcome of each topic.
        results: Vec<CreatePartitionsTopicResult>;
    }

    /// The outcome of one topic.
    pub struct CreatePartitionsTopicResult {
        /// The topic's name.
        name: String;
        /// Why there are no more partitions, or 0.
        error_code: i16;
        /// Why there are no more partitions, for people.
        error_message: Option<String> = None;
    }
}
