//! OffsetFetch: tells the positions that a group keeps in Kafka.

use super::{ApiKey, Request, VersionRange};
use crate::wire::codec::messages;

impl Request for OffsetFetchRequest {
    const API: ApiKey = ApiKey::OffsetFetch;
    const VERSIONS: VersionRange = VersionRange::new(1, 9);
    // Version 7 is the first that waits for open transactions.
    const CLIENT_VERSIONS: VersionRange = VersionRange::new(7, 9);
    const FLEXIBLE_FROM: i16 = 6;
    type Response = OffsetFetchResponse;
}

messages! {
    /// Asks for kept offsets: up to version 7 of one group, from 8 of some `groups` (KIP-709).
    pub struct OffsetFetchRequest {
        /// The group's name.
        group_id: String, until 7;
        /// The partitions, by topic; null is all that have one.
        topics: Option<Vec<OffsetFetchRequestTopic>> = Some(Vec::new()), ignorable until 7, nullable since 2;
        /// The groups.
        groups: Vec<OffsetFetchRequestGroup>, since 8;
        /// Whether a partition with an open transaction answers an error, so that the client waits.
        require_stable: bool, since 7;
    }

    /// The partitions of one topic.
    pub struct OffsetFetchRequestTopic {
        /// The topic's name.
        name: String, until 7;
        /// The partitions' numbers.
        partition_indexes: Vec<i32>, until 7;
    }

    /// One group.
    pub struct OffsetFetchRequestGroup {
        /// The group's name.
        group_id: String, since 8;
        /// The member that asks; null without membership.
        member_id: Option<String> = None, ignorable since 9;
        /// The member's epoch, or -1.
        member_epoch: i32 = -1, ignorable since 9;
        /// The partitions, by topic; null is all that have one.
        topics: Option<Vec<OffsetFetchRequestTopics>> = Some(Vec::new()), ignorable since 8;
    }

    /// The partitions of one topic of a group.
    pub struct OffsetFetchRequestTopics {
        /// The topic's name.
        name: String, ignorable since 8;
        /// The partitions' numbers.
        partition_indexes: Vec<i32>, since 8;
    }

    /// Answers an [`OffsetFetchRequest`]: up to version 7 in its own fields, from 8 in `groups`.
    pub struct OffsetFetchResponse {
        /// How long the broker holds back this connection because of a quota, in milliseconds.
        throttle_time_ms: i32, ignorable since 3;
        /// The offsets, by topic.
        topics: Vec<OffsetFetchResponseTopic>, until 7;
        /// Why the offsets cannot be told, or 0.
        error_code: i16, ignorable since 2, ignorable until 7;
        /// The offsets, by group.
        groups: Vec<OffsetFetchResponseGroup>, since 8;
    }

    /// The offsets of one topic.
    pub struct OffsetFetchResponseTopic {
        /// The topic's name.
        name: String, until 7;
        /// The offsets, by partition.
        partitions: Vec<OffsetFetchResponsePartition>, until 7;
    }

    /// The offset of one partition.
    pub struct OffsetFetchResponsePartition {
        /// The partition's number.
        partition_index: i32, until 7;
        /// The offset, or -1 when none is kept.
        committed_offset: i64, until 7;
        /// The leader epoch kept with it, or -1.
        committed_leader_epoch: i32 = -1, ignorable since 5, ignorable until 7;
        /// The text kept with it.
        metadata: Option<String> = Some(String::new()), ignorable until 7;
        /// Why the offset cannot be told, or 0.
        error_code: i16, until 7;
    }

    /// The offsets of one group.
    pub struct OffsetFetchResponseGroup {
        /// The group's name.
        group_id: String, since 8;
        /// The offsets, by topic.
        topics: Vec<OffsetFetchResponseTopics>, since 8;
        /// Why the group's offsets cannot be told, or 0.
        error_code: i16, since 8;
    }

    /// The offsets of one topic of a group.
    pub struct OffsetFetchResponseTopics {
        /// The topic's name.
        name: String, ignorable since 8;
        /// The offsets, by partition.
        partitions: Vec<OffsetFetchResponsePartitions>, since 8;
    }

    /// The offset of one partition of a group.
    pub struct OffsetFetchResponsePartitions {
        /// The partition's number.
        partition_index: i32, since 8;
        /// The offset, or -1 when none is kept.
        committed_offset: i64, since 8;
        /// The leader epoch kept with it, or -1.
        committed_leader_epoch: i32 = -1, ignorable since 8;
        /// The text kept with it.
        metadata: Option<String> = Some(String::new()), ignorable since 8;
        /// Why the offset cannot be told, or 0.
        error_code: i16, since 8;
    }
}
