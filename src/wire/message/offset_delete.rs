//! OffsetDelete: removes offsets that a group keeps.

use super::{ApiKey, Request, VersionRange};
use crate::wire::codec::messages;

impl Request for OffsetDeleteRequest {
    const API: ApiKey = ApiKey::OffsetDelete;
    const VERSIONS: VersionRange = VersionRange::new(0, 0);
    const CLIENT_VERSIONS: VersionRange = VersionRange::new(0, 0);
    const FLEXIBLE_FROM: i16 = i16::MAX;
    type Response = OffsetDeleteResponse;
}

messages! {
    /// Asks to remove the offsets of partitions of topics to which no member is subscribed.
    pub struct OffsetDeleteRequest {
        /// The group's name.
        group_id: String;
        /// The partitions, by topic.
        topics: Vec<OffsetDeleteRequestTopic>;
    }

    /// The partitions of one topic.
    pub struct OffsetDeleteRequestTopic {
        /// The topic's name.
        name: String;
        /// The partitions.
        partitions: Vec<OffsetDeleteRequestPartition>;
    }

    /// One partition.
    pub struct OffsetDeleteRequestPartition {
        /// The partition's number.
        partition_index: i32;
    }

    /// Answers an [`OffsetDeleteRequest`].
    pub struct OffsetDeleteResponse {
        /// Why no offset is removed, or 0.
        error_code: i16;
        /// How long the broker holds back this connection because of a quota, in milliseconds.
        throttle_time_ms: i32;
        /// The outcomes, by topic.
        topics: Vec<OffsetDeleteResponseTopic>;
    }

    /// The outcomes of one topic.
    pub struct OffsetDeleteResponseTopic {
        /// The topic's name.
        name: String;
        /// The outcomes, by partition.
        partitions: Vec<OffsetDeleteResponsePartition>;
    }

    /// The outcome of one partition.
    pub struct OffsetDeleteResponsePartition {
        /// The partition's number.
        partition_index: i32;
        /// Why the offset is still there, or 0.
        error_code: i16;
    }
}
