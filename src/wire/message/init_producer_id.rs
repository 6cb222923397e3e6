//! InitProducerId: gives a producer the id under which the broker recognises repeated batches.

use super::{ApiKey, Request, VersionRange};
use crate::wire::codec::messages;

impl Request for InitProducerIdRequest {
    const API: ApiKey = ApiKey::InitProducerId;
    const VERSIONS: VersionRange = VersionRange::new(0, 4);
    const CLIENT_VERSIONS: VersionRange = VersionRange::new(0, 4);
    const FLEXIBLE_FROM: i16 = 2;
    type Response = InitProducerIdResponse;
}

messages! {
    /// Asks for a producer id. Without a transactional name every request gives a new id at epoch 0.
    pub struct InitProducerIdRequest {
        /// The producer's transactional name; null for a producer that is only idempotent.
        transactional_id: Option<String> = Some(String::new());
        /// How long a transaction may stay idle, in milliseconds.
        transaction_timeout_ms: i32;
        /// The id that the producer has, or -1.
        producer_id: i64 = -1, since 3;
        /// The epoch that the producer has, or -1.
        producer_epoch: i16 = -1, since 3;
    }

    /// Answers an [`InitProducerIdRequest`].
    pub struct InitProducerIdResponse {
        /// How long the broker holds back this connection because of a quota, in milliseconds.
        throttle_time_ms: i32;
        /// Why there is no id, or 0.
        error_code: i16;
        /// The id.
        producer_id: i64 = -1;
        /// The epoch of the id.
        producer_epoch: i16;
    }
}
