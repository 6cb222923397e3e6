//! InitProducerId: gives a producer an id that nobody has, in epoch 0.
//!
//! As in Apache Kafka, a producer without a transactional id gets a new id even if it tells the one that it has.

use std::sync::Arc;

use super::call::{Call, Serve};
use crate::wire::kafka_error::KafkaError;
use crate::wire::message::{InitProducerIdRequest, InitProducerIdResponse};

pub(super) async fn respond(call: Arc<Call>, request: InitProducerIdRequest) -> InitProducerIdResponse {
    if request.transactional_id.is_some() {
        tracing::error!("the development broker has no transactions");
        return request.refuse(KafkaError::TransactionalIdAuthorizationFailed);
    }
    InitProducerIdResponse {
        producer_id: call.shared.state().new_producer_id(),
        producer_epoch: 0,
        ..Default::default()
    }
}

impl Serve for InitProducerIdRequest {
    fn refuse(&self, error: KafkaError) -> InitProducerIdResponse {
        InitProducerIdResponse { error_code: error.code(), producer_epoch: -1, ..Default::default() }
    }

    fn throttle(response: &mut InitProducerIdResponse, time_ms: i32) {
        response.throttle_time_ms = time_ms;
    }
}
