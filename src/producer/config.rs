//! The settings of a producer, read once from the client's.

use std::time::Duration;

use crate::backoff::Backoff;
use crate::config::{ClientConfig, properties};
use crate::flight::{Files, FlightConfig};
use crate::wire::compression::Compression;

/// What a producer needs to know of the settings.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    /// `batch.size`, but never more than `max.request.size`: a batch takes no more records beyond it.
    pub(super) batch_bytes: usize,
    /// `max.request.size`: the largest batch, and what the batches of one request have together unless one alone has more.
    pub(super) request_bytes: usize,
    /// `buffer.memory`
    pub(super) buffer_bytes: usize,
    /// `linger.ms`
    pub(super) linger: Duration,
    /// `compression.type`
    pub(super) compression: Compression,
    /// `delivery.timeout.ms`
    pub(super) delivery_timeout: Duration,
    /// `request.timeout.ms`
    pub(super) request_timeout: Duration,
    /// `max.block.ms`
    pub(super) max_block: Duration,
    /// `max.in.flight.requests.per.connection`
    pub(super) max_in_flight: usize,
    /// `retry.backoff.ms` to `retry.backoff.max.ms`
    pub(super) backoff: Backoff,
    /// `shutdown.timeout.ms`
    pub(super) close_timeout: Duration,
    /// `flight.*`
    pub(super) flights: Files,
}

impl Settings {
    pub(super) fn new(config: &ClientConfig) -> Self {
        let request_bytes = config.bytes(&properties::MAX_REQUEST_SIZE);
        Self {
            batch_bytes: config.bytes(&properties::BATCH_SIZE).min(request_bytes),
            request_bytes,
            buffer_bytes: config.bytes(&properties::BUFFER_MEMORY),
            linger: config.millis(&properties::LINGER),
            compression: compression(&config.choice(&properties::COMPRESSION)),
            delivery_timeout: config.millis(&properties::DELIVERY_TIMEOUT),
            request_timeout: config.millis(&properties::REQUEST_TIMEOUT),
            max_block: config.millis(&properties::MAX_BLOCK),
            max_in_flight: usize::try_from(config.number(&properties::MAX_IN_FLIGHT)).unwrap_or(1),
            backoff: Backoff::new(
                config.millis(&properties::RETRY_BACKOFF),
                config.millis(&properties::RETRY_BACKOFF_MAX),
            ),
            close_timeout: config.millis(&properties::SHUTDOWN_TIMEOUT),
            flights: Files::new(FlightConfig::read(config), "producer", None),
        }
    }
}

/// The setting's own rule lets no other word through.
fn compression(name: &str) -> Compression {
    let writable = [Compression::Gzip, Compression::Snappy, Compression::Lz4];
    writable.into_iter().find(|codec| codec.as_str() == name).unwrap_or_default()
}
