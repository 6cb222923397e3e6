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

/// The first version in which a request names several groups (KIP-709).
const MANY_GROUPS: i16 = 8;

impl OffsetFetchRequest {
    /// Asks for the offsets of one group, in the form of this version.
    #[must_use]
    pub fn of_group(group: OffsetFetchRequestGroup, version: i16) -> Self {
        if version >= MANY_GROUPS {
            return Self { groups: vec![group], ..Self::default() };
        }
        let topic =
            |OffsetFetchRequestTopics { name, partition_indexes }| OffsetFetchRequestTopic { name, partition_indexes };
        let topics = group.topics.map(|topics| topics.into_iter().map(topic).collect());
        Self { group_id: group.group_id, topics, ..Self::default() }
    }
}

impl OffsetFetchResponse {
    /// What is answered for one group, whichever form the answer has.
    #[must_use]
    pub fn into_group(self, group: &str) -> OffsetFetchResponseGroup {
        if let Some(told) = self.groups.into_iter().find(|told| told.group_id == group) {
            return told;
        }
        let topics = self.topics.into_iter().map(OffsetFetchResponseTopics::from).collect();
        OffsetFetchResponseGroup { group_id: group.to_owned(), topics, error_code: self.error_code }
    }
}

impl From<OffsetFetchResponseTopic> for OffsetFetchResponseTopics {
    fn from(topic: OffsetFetchResponseTopic) -> Self {
        let partition = |part: OffsetFetchResponsePartition| OffsetFetchResponsePartitions {
            partition_index: part.partition_index,
            committed_offset: part.committed_offset,
            committed_leader_epoch: part.committed_leader_epoch,
            metadata: part.metadata,
            error_code: part.error_code,
        };
        Self { name: topic.name, partitions: topic.partitions.into_iter().map(partition).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::codec::{decode_body, encode_body};

    #[test]
    fn one_group_is_asked_for_and_told_alike_in_either_form() {
        let topics = Some(vec![OffsetFetchRequestTopics { name: "orders".into(), partition_indexes: vec![2, 5] }]);
        let group = OffsetFetchRequestGroup { group_id: "stock".into(), topics, ..Default::default() };
        let old = OffsetFetchRequest::of_group(group.clone(), 7);
        assert_eq!((old.group_id.as_str(), old.groups.len()), ("stock", 0));
        let asked = &old.topics.as_ref().unwrap()[0];
        assert_eq!((asked.name.as_str(), asked.partition_indexes.as_slice()), ("orders", &[2, 5][..]));
        assert_eq!(OffsetFetchRequest::of_group(group.clone(), 8).groups, [group]);

        let part = OffsetFetchResponsePartition { partition_index: 5, committed_offset: 9, ..Default::default() };
        let topic = OffsetFetchResponseTopic { name: "orders".into(), partitions: vec![part] };
        let old = OffsetFetchResponse { topics: vec![topic.clone()], error_code: 14, ..Default::default() };
        let told = old.into_group("stock");
        assert_eq!((told.group_id.as_str(), told.error_code), ("stock", 14));
        assert_eq!(
            (told.topics[0].partitions[0].partition_index, told.topics[0].partitions[0].committed_offset),
            (5, 9)
        );
        let other = OffsetFetchResponseGroup { group_id: "other".into(), error_code: 1, ..Default::default() };
        let new = OffsetFetchResponse { groups: vec![other, told.clone()], ..Default::default() };
        assert_eq!(new.into_group("stock"), told);
    }

    #[test]
    fn all_topics_of_a_group_are_asked_for_in_either_form() {
        let group = OffsetFetchRequestGroup { group_id: "stock".into(), topics: None, ..Default::default() };
        for version in [7, 8] {
            let asked = OffsetFetchRequest::of_group(group.clone(), version);
            let mut bytes = Vec::new();
            encode_body(&asked, version, OffsetFetchRequest::FLEXIBLE_FROM, &mut bytes).unwrap();
            let read: OffsetFetchRequest =
                decode_body(bytes.into(), version, OffsetFetchRequest::FLEXIBLE_FROM).unwrap();
            assert_eq!(read, asked);
        }
    }
}
