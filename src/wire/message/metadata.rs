//! Metadata: tells brokers, topics, partitions and their leaders.

use super::{ApiKey, Request, VersionRange};
use crate::place::TopicId;
use crate::wire::codec::messages;

/// What stands for authorized operations that nobody asked for.
const NOT_ASKED: i32 = i32::MIN;

impl Request for MetadataRequest {
    const API: ApiKey = ApiKey::Metadata;
    const VERSIONS: VersionRange = VersionRange::new(0, 12);
    const CLIENT_VERSIONS: VersionRange = VersionRange::new(9, 12);
    const FLEXIBLE_FROM: i16 = 9;
    type Response = MetadataResponse;
}

messages! {
    /// Asks for the cluster's brokers and for some topics, or all.
    pub struct MetadataRequest {
        /// The topics. Null is all, and no elements is none; in version 0 no elements is all.
        topics: Option<Vec<MetadataRequestTopic>> = Some(Vec::new()), nullable since 1;
        /// Whether the broker may create topics that do not exist; earlier versions always let it.
        allow_auto_topic_creation: bool = true, since 4;
        /// Whether to tell what the client may do with the cluster.
        include_cluster_authorized_operations: bool, since 8, until 10;
        /// Whether to tell what the client may do with each topic.
        include_topic_authorized_operations: bool, since 8;
    }

    /// One topic asked for, by name or, from version 12, by identity.
    pub struct MetadataRequestTopic {
        /// The topic's identity.
        topic_id: TopicId, ignorable since 10;
        /// The topic's name.
        name: Option<String> = Some(String::new()), nullable since 10;
    }

    /// Answers a [`MetadataRequest`].
    pub struct MetadataResponse {
        /// How long the broker holds back this connection because of a quota, in milliseconds.
        throttle_time_ms: i32, ignorable since 3;
        /// The brokers that are up.
        brokers: Vec<MetadataResponseBroker>;
        /// The cluster's name.
        cluster_id: Option<String> = None, ignorable since 2;
        /// The node that takes administrative requests, or -1.
        controller_id: i32 = -1, ignorable since 1;
        /// The topics.
        topics: Vec<MetadataResponseTopic>;
        /// What the client may do with the cluster, one bit an operation.
        cluster_authorized_operations: i32 = NOT_ASKED, since 8, until 10;
    }

    /// One broker.
    pub struct MetadataResponseBroker {
        /// The node.
        node_id: i32;
        /// Its host name or address.
        host: String;
        /// Its port.
        port: i32;
        /// Its rack.
        rack: Option<String> = None, ignorable since 1;
    }

    /// One topic.
    pub struct MetadataResponseTopic {
        /// Why the topic cannot be told, or 0.
        error_code: i16;
        /// The topic's name; null when it was asked for by an identity that is not known.
        name: Option<String> = Some(String::new()), nullable since 12;
        /// The topic's identity.
        topic_id: TopicId, ignorable since 10;
        /// Whether Kafka keeps it for itself.
        is_internal: bool, ignorable since 1;
        /// Its partitions.
        partitions: Vec<MetadataResponsePartition>;
        /// What the client may do with the topic, one bit an operation.
        topic_authorized_operations: i32 = NOT_ASKED, since 8;
    }

    /// One partition.
    pub struct MetadataResponsePartition {
        /// What is wrong with the partition, or 0.
        error_code: i16;
        /// The partition's number.
        partition_index: i32;
        /// The node that leads it, or -1.
        leader_id: i32;
        /// The leader's epoch, or -1.
        leader_epoch: i32 = -1, ignorable since 7;
        /// The nodes that keep it.
        replica_nodes: Vec<i32>;
        /// Those of them that are in sync with the leader.
        isr_nodes: Vec<i32>;
        /// Those of them that are down.
        offline_replicas: Vec<i32>, ignorable since 5;
    }
}
