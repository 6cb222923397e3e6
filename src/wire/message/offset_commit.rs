//! OffsetCommit: keeps a group's positions in Kafka.

use super::{ApiKey, Request, VersionRange};
use crate::wire::codec::messages;

impl Request for OffsetCommitRequest {
    const API: ApiKey = ApiKey::OffsetCommit;
    const VERSIONS: VersionRange = VersionRange::new(2, 9);
    // Version 7 is the first that fences by instance id.
    const CLIENT_VERSIONS: VersionRange = VersionRange::new(7, 9);
    const FLEXIBLE_FROM: i16 = 8;
    type Response = OffsetCommitResponse;
}

messages! {
    /// Asks the group's coordinator to keep offsets. Members of a KIP-848 group need version 9.
    pub struct OffsetCommitRequest {
        /// The group's name.
        group_id: String;
        /// The generation (classic) or the member's epoch (KIP-848); -1 without membership.
        generation_id_or_member_epoch: i32 = -1;
        /// The member's id; empty without membership.
        member_id: String;
        /// The member's lasting name.
        group_instance_id: Option<String> = None, since 7;
        /// How long to keep the offsets, in milliseconds; -1 for the broker's default.
        retention_time_ms: i64 = -1, ignorable until 4;
        /// The offsets, by topic.
        topics: Vec<OffsetCommitRequestTopic>;
    }

    /// The offsets of one topic.
    pub struct OffsetCommitRequestTopic {
        /// The topic's name.
        name: String;
        /// The offsets, by partition.
        partitions: Vec<OffsetCommitRequestPartition>;
    }

    /// The offset of one partition.
    pub struct OffsetCommitRequestPartition {
        /// The partition's number.
        partition_index: i32;
        /// The next offset to read.
        committed_offset: i64;
        /// The leader epoch of the last record read, or -1.
        committed_leader_epoch: i32 = -1, ignorable since 6;
        /// A text to keep beside the offset, at most 4096 bytes by the broker's default.
        committed_metadata: Option<String> = Some(String::new());
    }

    /// Answers an [`OffsetCommitRequest`].
    pub struct OffsetCommitResponse {
        /// How long the broker holds back this connection because of a quota, in milliseconds.
        throttle_time_ms: i32, ignorable since 3;
        /// The outcomes, by topic.
        topics: Vec<OffsetCommitResponseTopic>;
    }

    /// The outcomes of one topic.
    pub struct OffsetCommitResponseTopic {
        /// The topic's name.
        name: String;
        /// The outcomes, by partition.
        partitions: Vec<OffsetCommitResponsePartition>;
    }

    /// The outcome of one partition.
    pub struct OffsetCommitResponsePartition {
        /// The partition's number.
        partition_index: i32;
        /// Why the offset is not kept, or 0.
        error_code: i16;
    }
}
