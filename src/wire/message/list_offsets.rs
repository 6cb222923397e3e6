//! ListOffsets: finds offsets by time.

use super::{ApiKey, Request, VersionRange};
use crate::wire::codec::messages;

impl Request for ListOffsetsRequest {
    const API: ApiKey = ApiKey::ListOffsets;
    const VERSIONS: VersionRange = VersionRange::new(1, 7);
    const CLIENT_VERSIONS: VersionRange = VersionRange::new(4, 7);
    const FLEXIBLE_FROM: i16 = 6;
    type Response = ListOffsetsResponse;
}

messages! {
    /// Asks for one offset in each of some partitions led by the broker.
    pub struct ListOffsetsRequest {
        /// The follower that asks, or -1. (The schema's own default is 0, which is a follower.)
        replica_id: i32 = -1;
        /// 0 counts all records, 1 only those before the first open transaction.
        isolation_level: i8, since 2;
        /// The partitions, by topic.
        topics: Vec<ListOffsetsTopic>;
    }

    /// The partitions of one topic.
    pub struct ListOffsetsTopic {
        /// The topic's name.
        name: String;
        /// The partitions.
        partitions: Vec<ListOffsetsPartition>;
    }

    /// One partition, with what to find in it.
    pub struct ListOffsetsPartition {
        /// The partition's number.
        partition_index: i32;
        /// The leader epoch that the client knows, or -1.
        current_leader_epoch: i32 = -1, ignorable since 4;
        /// Milliseconds: the first record that is not older is meant. -1 is the end, -2 the start, -3 (version 7) the newest record.
        timestamp: i64;
    }

    /// Answers a [`ListOffsetsRequest`].
    pub struct ListOffsetsResponse {
        /// How long the broker holds back this connection because of a quota, in milliseconds.
        throttle_time_ms: i32, ignorable since 2;
        /// What was found, by topic.
        topics: Vec<ListOffsetsTopicResponse>;
    }

    /// What was found in one topic.
    pub struct ListOffsetsTopicResponse {
        /// The topic's name.
        name: String;
        /// The partitions.
        partitions: Vec<ListOffsetsPartitionResponse>;
    }

    /// What was found in one partition.
    pub struct ListOffsetsPartitionResponse {
        /// The partition's number.
        partition_index: i32;
        /// Why nothing could be found, or 0.
        error_code: i16;
        /// The record's time in milliseconds, or -1.
        timestamp: i64 = -1;
        /// The offset, or -1 when no record is that new.
        offset: i64 = -1;
        /// The leader epoch of the record, or -1.
        leader_epoch: i32 = -1, since 4;
    }
}
