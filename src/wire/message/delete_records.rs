//! DeleteRecords: moves the start of partitions forward.

use super::{ApiKey, Request, VersionRange};
use crate::wire::codec::messages;

impl Request for DeleteRecordsRequest {
    const API: ApiKey = ApiKey::DeleteRecords;
    const VERSIONS: VersionRange = VersionRange::new(0, 2);
    const CLIENT_VERSIONS: VersionRange = VersionRange::new(0, 2);
    const FLEXIBLE_FROM: i16 = 2;
    type Response = DeleteRecordsResponse;
}

messages! {
    /// Asks to delete the oldest records of some partitions led by the broker.
    pub struct DeleteRecordsRequest {
        /// The partitions, by topic.
        topics: Vec<DeleteRecordsTopic>;
        /// How long the broker may wait for the replicas, in milliseconds.
        timeout_ms: i32;
    }

    /// The partitions of one topic.
    pub struct DeleteRecordsTopic {
        /// The topic's name.
        name: String;
        /// The partitions.
        partitions: Vec<DeleteRecordsPartition>;
    }

    /// One partition.
    pub struct DeleteRecordsPartition {
        /// The partition's number.
        partition_index: i32;
        /// The new first offset; -1 is the high watermark.
        offset: i64;
    }

    /// Answers a [`DeleteRecordsRequest`].
    pub struct DeleteRecordsResponse {
        /// How long the broker holds back this connection because of a quota, in milliseconds.
        throttle_time_ms: i32;
        /// The outcomes, by topic.
        topics: Vec<DeleteRecordsTopicResult>;
    }

    /// The outcomes of one topic.
    pub struct DeleteRecordsTopicResult {
        /// The topic's name.
        name: String;
        /// The outcomes, by partition.
        partitions: Vec<DeleteRecordsPartitionResult>;
    }

    /// The outcome of one partition.
    pub struct DeleteRecordsPartitionResult {
        /// The partition's number.
        partition_index: i32;
        /// The first offset now, or -1.
        low_watermark: i64;
        /// Why nothing was deleted, or 0.
        error_code: i16;
    }
}
