//! DescribeCluster: tells the cluster's name and its nodes.

use std::sync::Arc;

use super::call::{Call, Serve};
use super::state::CLUSTER_ID;
use crate::wire::kafka_error::KafkaError;
use crate::wire::message::{DescribeClusterBroker, DescribeClusterRequest, DescribeClusterResponse};

/// The only kind of endpoint there is; the other is the controllers'.
const BROKERS: i8 = 1;

pub(super) async fn respond(call: Arc<Call>, request: DescribeClusterRequest) -> DescribeClusterResponse {
    if request.endpoint_type != BROKERS {
        return request.refuse(KafkaError::UnsupportedEndpointType);
    }
    let state = call.shared.state();
    let brokers = state.live().map(|(broker_id, node)| DescribeClusterBroker {
        broker_id,
        host: node.told().ip().to_string(),
        port: node.told().port().into(),
        rack: None,
    });
    DescribeClusterResponse {
        cluster_id: CLUSTER_ID.into(),
        controller_id: state.controller(),
        brokers: brokers.collect(),
        ..Default::default()
    }
}

impl Serve for DescribeClusterRequest {
    fn refuse(&self, error: KafkaError) -> DescribeClusterResponse {
        let error_message = Some(error.meaning().into());
        DescribeClusterResponse { error_code: error.code(), error_message, ..Default::default() }
    }

    fn throttle(response: &mut DescribeClusterResponse, time_ms: i32) {
        response.throttle_time_ms = time_ms;
    }
}
