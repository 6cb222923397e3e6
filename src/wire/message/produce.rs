//! Produce: appends record batches to partitions.

use bytes::Bytes;

use super::{ApiKey, Request, VersionRange};
use crate::wire::codec::messages;

impl Request for ProduceRequest {
    const API: ApiKey = ApiKey::Produce;
    const VERSIONS: VersionRange = VersionRange::new(0, 11);
    const CLIENT_VERSIONS: VersionRange = VersionRange::new(9, 11);
    const FLEXIBLE_FROM: i16 = 9;
    type Response = ProduceResponse;
}

messages! {
    /// Asks to append one record batch to each of some partitions led by the broker.
    ///
    /// Versions 0 to 2 carry message formats older than the record batch; they can be decoded so that a broker can refuse them in their
    /// own form.
    pub struct ProduceRequest {
        /// The producer's transactional name.
        transactional_id: Option<String> = None, since 3;
        /// How many replicas must have the batches before the answer: 0 no answer at all, 1 the leader, -1 all in sync.
        acks: i16;
        /// How long the broker may wait for the replicas, in milliseconds.
        timeout_ms: i32;
        /// What to append.
        topic_data: Vec<TopicProduceData>;
    }

    /// What to append to one topic.
    pub struct TopicProduceData {
        /// The topic's name.
        name: String;
        /// What to append to each partition.
        partition_data: Vec<PartitionProduceData>;
    }

    /// What to append to one partition.
    pub struct PartitionProduceData {
        /// The partition's number.
        index: i32;
        /// One record batch.
        records: Option<Bytes> = Some(Bytes::new());
    }

    /// Answers a [`ProduceRequest`], unless that has `acks` 0.
    pub struct ProduceResponse {
        /// The outcome of each topic.
        responses: Vec<TopicProduceResponse>;
        /// How long the broker holds back this connection because of a quota, in milliseconds. The batches have been appended all the same.
        throttle_time_ms: i32, ignorable since 1;
    }
    tagged {
        /// Where the leaders named in the outcomes are.
        0 => node_endpoints: Vec<NodeEndpoint>, ignorable since 10;
    }

    /// The outcome of one topic.
    pub struct TopicProduceResponse {
        /// The topic's name.
        name: String;
        /// The outcome of each partition.
        partition_responses: Vec<PartitionProduceResponse>;
    }

    /// The outcome of one partition.
    pub struct PartitionProduceResponse {
        /// The partition's number.
        index: i32;
        /// Why the batch was not appended, or 0.
        error_code: i16;
        /// The offset of the batch's first record.
        base_offset: i64;
        /// The broker's time of appending in milliseconds, or -1 when the topic keeps the producer's times.
        log_append_time_ms: i64 = -1, ignorable since 2;
        /// The partition's first offset.
        log_start_offset: i64 = -1, ignorable since 5;
        /// The records that made the broker refuse the batch.
        record_errors: Vec<BatchIndexAndErrorMessage>, ignorable since 8;
        /// Why the broker refused the batch, for people.
        error_message: Option<String> = None, ignorable since 8;
    }
    tagged {
        /// The leader to turn to, when this broker is not (KIP-951).
        0 => current_leader: LeaderIdAndEpoch, ignorable since 10;
    }

    /// One record that made the broker refuse a batch.
    pub struct BatchIndexAndErrorMessage {
        /// The record's number in the batch, from 0.
        batch_index: i32, since 8;
        /// What is wrong with it.
        batch_index_error_message: Option<String> = None, since 8;
    }

    /// A partition's leader.
    pub struct LeaderIdAndEpoch {
        /// The leader's node, or -1.
        leader_id: i32 = -1;
        /// The leader's epoch, or -1.
        leader_epoch: i32 = -1;
    }

    /// Where a node is.
    pub struct NodeEndpoint {
        /// The node.
        node_id: i32;
        /// Its host name or address.
        host: String;
        /// Its port.
        port: i32;
        /// Its rack.
        rack: Option<String> = None;
    }
}
