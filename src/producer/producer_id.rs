//! Asking a broker for the id under which batches are numbered (InitProducerId, key 22; KIP-98).

use std::time::Duration;

use tokio::time::Instant;

use super::config::Settings;
use crate::cluster::{Cluster, refusal};
use crate::wire::kafka_error::KafkaError;
use crate::wire::message::InitProducerIdRequest;
use crate::{Error, ErrorCode, Result};

/// Gets a new id, trying again after passing errors for at most `max.block.ms`.
///
/// Each call gives another id. A producer asks once: under a new id a broker would not recognise what an old request, which
/// may still be on its way, wrote under the former one.
pub(super) async fn obtain(cluster: &Cluster, settings: &Settings) -> Result<i64> {
    let deadline = Instant::now() + settings.max_block;
    let mut tries = 0;
    loop {
        let error = match try_once(cluster).await {
            Ok(id) => return Ok(id),
            Err(error) => error,
        };
        let delay = settings.backoff.delay(tries, fastrand::f64());
        if !error.is_retriable() || Instant::now() + delay > deadline {
            return Err(error);
        }
        tries = tries.saturating_add(1);
        tokio::time::sleep(delay).await;
    }
}

async fn try_once(cluster: &Cluster) -> Result<i64> {
    let request = InitProducerIdRequest {
        transactional_id: None,
        // It has no meaning without a transactional name, but must be positive.
        transaction_timeout_ms: i32::try_from(Duration::from_secs(60).as_millis()).unwrap_or(i32::MAX),
        producer_id: -1,
        producer_epoch: -1,
    };
    let answer = cluster.any_connection().await?.call(request).await?;
    match KafkaError::from_code(answer.error_code) {
        Some(error) => Err(refusal(error, "the broker was asked for a producer id")),
        None if answer.producer_id < 0 => {
            Err(Error::new(ErrorCode::Protocol, "the broker gave a negative producer id"))
        }
        None => Ok(answer.producer_id),
    }
}
