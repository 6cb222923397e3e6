//! Fetch: reads record batches from partitions.

use bytes::Bytes;

use super::{ApiKey, LeaderIdAndEpoch, NodeEndpoint, Request, VersionRange};
use crate::place::TopicId;
use crate::wire::codec::messages;

impl Request for FetchRequest {
    const API: ApiKey = ApiKey::Fetch;
    const VERSIONS: VersionRange = VersionRange::new(4, 17);
    const CLIENT_VERSIONS: VersionRange = VersionRange::new(12, 17);
    const FLEXIBLE_FROM: i16 = 12;
    type Response = FetchResponse;
}

messages! {
    /// Asks for the batches of some partitions led by the broker, or of the partitions of a fetch session (KIP-227).
    ///
    /// Up to version 12 a topic goes by its name, from 13 by its id: give both.
    pub struct FetchRequest {
        /// The follower that asks, or -1.
        replica_id: i32 = -1, until 14;
        /// How long the broker may wait for `min_bytes`, in milliseconds.
        max_wait_ms: i32;
        /// The bytes worth an early answer.
        min_bytes: i32;
        /// The bytes that the answer should not exceed. A first batch that is larger comes whole (KIP-74).
        max_bytes: i32 = i32::MAX;
        /// 0 shows all records, 1 only those before the first open transaction.
        isolation_level: i8;
        /// The session, or 0 for none.
        session_id: i32, ignorable since 7;
        /// The number of the request in its session: 0 asks for a new session, -1 for none.
        session_epoch: i32 = -1, ignorable since 7;
        /// The partitions to fetch: all of them, or those that change in the session.
        topics: Vec<FetchTopic>;
        /// The partitions to take out of the session.
        forgotten_topics_data: Vec<ForgottenTopic>, since 7;
        /// Where the client is, so that the broker can name a nearer replica (KIP-392).
        rack_id: String, ignorable since 11;
    }
    tagged {
        /// The cluster that the client means.
        0 => cluster_id: Option<String> = None, ignorable since 12;
        /// The follower that asks.
        1 => replica_state: ReplicaState, ignorable since 15;
    }

    /// The follower that asks.
    pub struct ReplicaState {
        /// The follower's node, or -1.
        replica_id: i32 = -1, since 15;
        /// The follower's epoch, or -1.
        replica_epoch: i64 = -1, since 15;
    }

    /// The partitions to fetch of one topic.
    pub struct FetchTopic {
        /// The topic's name.
        topic: String, ignorable until 12;
        /// The topic's identity.
        topic_id: TopicId, ignorable since 13;
        /// The partitions.
        partitions: Vec<FetchPartition>;
    }

    /// One partition to fetch.
    pub struct FetchPartition {
        /// The partition's number.
        partition: i32;
        /// The leader epoch that the client knows, which fences an outdated client or leader, or -1.
        current_leader_epoch: i32 = -1, ignorable since 9;
        /// The first offset wanted. The batch that holds it comes whole.
        fetch_offset: i64;
        /// The leader epoch of the last record read, by which the broker detects a diverged log, or -1.
        last_fetched_epoch: i32 = -1, since 12;
        /// The follower's first offset, or -1.
        log_start_offset: i64 = -1, ignorable since 5;
        /// The bytes that the partition's part of the answer should not exceed.
        partition_max_bytes: i32;
    }
    tagged {
        /// The follower's log directory.
        0 => replica_directory_id: TopicId, ignorable since 17;
    }

    /// The partitions of one topic to take out of the session.
    pub struct ForgottenTopic {
        /// The topic's name.
        topic: String, ignorable since 7, ignorable until 12;
        /// The topic's identity.
        topic_id: TopicId, ignorable since 13;
        /// The partitions' numbers.
        partitions: Vec<i32>, since 7;
    }

    /// Answers a [`FetchRequest`].
    pub struct FetchResponse {
        /// How long the broker holds back this connection because of a quota, in milliseconds. The answer is empty then.
        throttle_time_ms: i32;
        /// Why nothing could be fetched, or 0.
        error_code: i16, ignorable since 7;
        /// The session, or 0 for none.
        session_id: i32, since 7;
        /// What was fetched. In a session, the partitions with something new only.
        responses: Vec<FetchableTopicResponse>;
    }
    tagged {
        /// Where the leaders named in the partitions are.
        0 => node_endpoints: Vec<NodeEndpoint>, ignorable since 16;
    }

    /// What was fetched of one topic.
    pub struct FetchableTopicResponse {
        /// The topic's name.
        topic: String, ignorable until 12;
        /// The topic's identity.
        topic_id: TopicId, ignorable since 13;
        /// The partitions.
        partitions: Vec<PartitionData>;
    }

    /// What was fetched of one partition.
    pub struct PartitionData {
        /// The partition's number.
        partition_index: i32;
        /// Why nothing was fetched, or 0.
        error_code: i16;
        /// The offset behind the last record that all replicas in sync have.
        high_watermark: i64;
        /// The offset of the first open transaction, or the high watermark.
        last_stable_offset: i64 = -1, ignorable since 4;
        /// The partition's first offset.
        log_start_offset: i64 = -1, ignorable since 5;
        /// The aborted transactions that have records among these.
        aborted_transactions: Option<Vec<AbortedTransaction>> = Some(Vec::new()), ignorable since 4;
        /// The replica to fetch from instead, or -1.
        preferred_read_replica: i32 = -1, since 11;
        /// Record batches; the last may be cut off.
        records: Option<Bytes> = Some(Bytes::new());
    }
    tagged {
        /// Where the client's log leaves the broker's.
        0 => diverging_epoch: EpochEndOffset, ignorable since 12;
        /// The leader to turn to, when this broker is not.
        1 => current_leader: LeaderIdAndEpoch, ignorable since 12;
        /// The snapshot to fetch instead; only among controllers.
        2 => snapshot_id: SnapshotId, ignorable since 12;
    }

    /// One aborted transaction.
    pub struct AbortedTransaction {
        /// The producer that aborted it.
        producer_id: i64, since 4;
        /// Its first offset.
        first_offset: i64, since 4;
    }

    /// Where a leader epoch ends.
    pub struct EpochEndOffset {
        /// The epoch, or -1.
        epoch: i32 = -1, since 12;
        /// The offset behind its last record, or -1.
        end_offset: i64 = -1, since 12;
    }

    /// A snapshot of a log.
    pub struct SnapshotId {
        /// The offset behind its last record, or -1.
        end_offset: i64 = -1;
        /// The epoch of its last record, or -1.
        epoch: i32 = -1;
    }
}
