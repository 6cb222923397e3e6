//! DescribeCluster: tells the cluster's brokers and its name.

use super::{ApiKey, Request, VersionRange};
use crate::wire::codec::messages;

impl Request for DescribeClusterRequest {
    const API: ApiKey = ApiKey::DescribeCluster;
    const VERSIONS: VersionRange = VersionRange::new(0, 1);
    const CLIENT_VERSIONS: VersionRange = VersionRange::new(0, 1);
    const FLEXIBLE_FROM: i16 = 0;
    type Response = DescribeClusterResponse;
}

messages! {
    /// Asks about the cluster.
    pub struct DescribeClusterRequest {
        /// Whether to tell what the client may do with the cluster.
        include_cluster_authorized_operations: bool;
        /// Whom to tell of: 1 brokers, 2 controllers.
        endpoint_type: i8 = 1, since 1;
    }

    /// Answers a [`DescribeClusterRequest`].
    pub struct DescribeClusterResponse {
        /// How long the broker holds back this connection because of a quota, in milliseconds.
        throttle_time_ms: i32;
        /// Why the cluster cannot be told, or 0.
        error_code: i16;
        /// Why the cluster cannot be told, for people.
        error_message: Option<String> = None;
        /// Who is told of: 1 brokers, 2 controllers.
        endpoint_type: i8 = 1, since 1;
        /// The cluster's name.
        cluster_id: String;
        /// The node that takes administrative requests, or -1.
        controller_id: i32 = -1;
        /// The brokers.
        brokers: Vec<DescribeClusterBroker>;
        /// What the client may do with the cluster, one bit an operation.
        cluster_authorized_operations: i32 = i32::MIN;
    }

    /// One broker.
    pub struct DescribeClusterBroker {
        /// The node.
        broker_id: i32;
        /// Its host name or address.
        host: String;
        /// Its port.
        port: i32;
        /// Its rack.
        rack: Option<String> = None;
    }
}
