//! OffsetForLeaderEpoch: tells where a leader epoch ends, by which a diverged log is found (KIP-320).

use super::{ApiKey, Request, VersionRange};
use crate::wire::codec::messages;

impl Request for OffsetForLeaderEpochRequest {
    const API: ApiKey = ApiKey::OffsetForLeaderEpoch;
    const VERSIONS: VersionRange = VersionRange::new(2, 4);
    const CLIENT_VERSIONS: VersionRange = VersionRange::new(2, 4);
    const FLEXIBLE_FROM: i16 = 4;
    type Response = OffsetForLeaderEpochResponse;
}

messages! {
    /// Asks where leader epochs end in some partitions led by the broker.
    pub struct OffsetForLeaderEpochRequest {
        /// The follower that asks, or -1. (The schema's own default is -2, which is a debugging consumer.)
        replica_id: i32 = -1, ignorable since 3;
        /// The partitions, by topic.
        topics: Vec<OffsetForLeaderTopic>;
    }

    /// The partitions of one topic.
    pub struct OffsetForLeaderTopic {
        /// The topic's name.
        topic: String;
        /// The partitions.
        partitions: Vec<OffsetForLeaderPartition>;
    }

    /// One partition, with the epoch meant.
    pub struct OffsetForLeaderPartition {
        /// The partition's number.
        partition: i32;
        /// The leader epoch that the client knows, which fences an outdated client or leader, or -1.
        current_leader_epoch: i32 = -1, ignorable since 2;
        /// The epoch whose end is asked for.
        leader_epoch: i32;
    }

    /// Answers an [`OffsetForLeaderEpochRequest`].
    pub struct OffsetForLeaderEpochResponse {
        /// How long the broker holds back this connection because of a quota, in milliseconds.
        throttle_time_ms: i32, ignorable since 2;
        /// The ends, by topic.
        topics: Vec<OffsetForLeaderTopicResult>;
    }

    /// The ends in one topic.
    pub struct OffsetForLeaderTopicResult {
        /// The topic's name.
        topic: String;
        /// The ends, by partition.
        partitions: Vec<EpochEndOffset>;
    }

    /// The end in one partition.
    pub struct EpochEndOffset {
        /// Why the end cannot be told, or 0.
        error_code: i16;
        /// The partition's number.
        partition: i32;
        /// The largest epoch in the log that is not above the one asked for, or -1.
        leader_epoch: i32 = -1;
        /// The offset behind its last record, or -1.
        end_offset: i64 = -1;
    }
}
