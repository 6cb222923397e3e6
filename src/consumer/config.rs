//! A consumer's settings, read once from the client's.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::breaker::BreakerConfig;
use crate::backoff::Backoff;
use crate::config::{ClientConfig, properties};
use crate::{Error, ErrorCode, Result};

/// What [`ClientConfig`] says of a consumer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ConsumerConfig {
    pub(crate) reset: Reset,
    pub(crate) isolation: Isolation,
    pub(crate) fetch: FetchConfig,
    pub(crate) commit_interval: Duration,
    pub(crate) max_ahead: usize,
    pub(crate) metadata_max_age: Duration,
    pub(crate) api_timeout: Duration,
    pub(crate) shutdown_timeout: Duration,
    /// Between two tries of a request.
    pub(crate) backoff: Backoff,
    pub(crate) retry: RetryConfig,
    pub(crate) breaker: BreakerConfig,
    /// Between two probes of an open breaker.
    pub(crate) probing: Backoff,
}

/// How much is fetched at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FetchConfig {
    pub(crate) min_bytes: i32,
    pub(crate) max_wait: Duration,
    /// A batch that is larger is not taken.
    pub(crate) max_bytes: usize,
    /// What is asked for at once: the memory of large answers is not given back by every allocator.
    pub(crate) ask_bytes: usize,
    pub(crate) max_partition_bytes: usize,
    /// Counted over whole frames, so that it bounds the memory and not only the records in it.
    pub(crate) prefetch_bytes: usize,
}

/// How a handler's failures are tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RetryConfig {
    pub(crate) attempts: u32,
    /// Counted from the first failure.
    pub(crate) total: Duration,
    pub(crate) backoff: Backoff,
}

/// Where a partition begins that was there at the start and has no position (`auto.offset.reset`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reset {
    Earliest,
    Latest,
    Stop,
}

/// Whether records of open and aborted transactions are seen (`isolation.level`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Isolation {
    ReadCommitted,
    ReadUncommitted,
}

impl Isolation {
    /// The level as the wire names it.
    pub(crate) fn level(self) -> i8 {
        match self {
            Self::ReadUncommitted => 0,
            Self::ReadCommitted => 1,
        }
    }
}

impl Reset {
    /// The policy in the words of `auto.offset.reset`.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Earliest => "earliest",
            Self::Latest => "latest",
            Self::Stop => "none",
        }
    }
}

impl ConsumerConfig {
    /// Reads the settings that concern a consumer.
    ///
    /// # Errors
    /// [`ErrorCode::ConfigValue`] for settings that contradict each other.
    pub(crate) fn read(config: &ClientConfig) -> Result<Self> {
        let backoff =
            Backoff::new(config.millis(&properties::RETRY_BACKOFF), config.millis(&properties::RETRY_BACKOFF_MAX));
        Ok(Self {
            reset: reset(config)?,
            isolation: isolation(config)?,
            fetch: FetchConfig::read(config),
            commit_interval: config.millis(&properties::AUTO_COMMIT_INTERVAL),
            max_ahead: config.bytes(&properties::MAX_AHEAD),
            metadata_max_age: config.millis(&properties::METADATA_MAX_AGE),
            api_timeout: config.millis(&properties::API_TIMEOUT),
            shutdown_timeout: config.millis(&properties::SHUTDOWN_TIMEOUT),
            backoff,
            retry: RetryConfig::read(config),
            breaker: BreakerConfig::read(config),
            probing: Backoff::new(
                config.millis(&properties::BREAKER_BACKOFF),
                config.millis(&properties::BREAKER_BACKOFF_MAX),
            ),
        })
    }
}

/// What may be read ahead comes in so many fetches at least.
const ASKS: usize = 4;

impl FetchConfig {
    fn read(config: &ClientConfig) -> Self {
        let prefetch_bytes = config.bytes(&properties::PREFETCH_BYTES);
        let max_bytes = config.bytes(&properties::FETCH_MAX_BYTES);
        let ask_bytes = max_bytes.min(prefetch_bytes / ASKS).max(1);
        Self {
            min_bytes: i32::try_from(config.number(&properties::FETCH_MIN_BYTES)).unwrap_or(i32::MAX),
            max_wait: config.millis(&properties::FETCH_MAX_WAIT),
            max_bytes,
            ask_bytes,
            max_partition_bytes: config.bytes(&properties::MAX_PARTITION_FETCH_BYTES).min(ask_bytes),
            prefetch_bytes,
        }
    }
}

impl RetryConfig {
    fn read(config: &ClientConfig) -> Self {
        let backoff = Backoff::new(
            config.millis(&properties::HANDLER_RETRY_BACKOFF),
            config.millis(&properties::HANDLER_RETRY_BACKOFF_MAX),
        );
        let attempts = small(config.number(&properties::RETRY_ATTEMPTS));
        Self { attempts, total: config.millis(&properties::HANDLER_RETRY_TOTAL), backoff }
    }
}

impl BreakerConfig {
    fn read(config: &ClientConfig) -> Self {
        Self {
            consecutive: small(config.number(&properties::BREAKER_CONSECUTIVE)),
            percent: small(config.number(&properties::BREAKER_RATIO)),
            window: small(config.number(&properties::BREAKER_WINDOW)),
        }
    }
}

fn small(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

impl Default for RetryConfig {
    fn default() -> Self {
        Self::read(&ClientConfig::default())
    }
}

fn reset(config: &ClientConfig) -> Result<Reset> {
    match config.choice(&properties::AUTO_OFFSET_RESET).as_str() {
        "earliest" => Ok(Reset::Earliest),
        "latest" => Ok(Reset::Latest),
        "none" => Ok(Reset::Stop),
        other => Err(unknown("auto.offset.reset", other)),
    }
}

fn isolation(config: &ClientConfig) -> Result<Isolation> {
    match config.choice(&properties::ISOLATION_LEVEL).as_str() {
        "read_committed" => Ok(Isolation::ReadCommitted),
        "read_uncommitted" => Ok(Isolation::ReadUncommitted),
        other => Err(unknown("isolation.level", other)),
    }
}

fn unknown(key: &str, value: &str) -> Error {
    Error::new(ErrorCode::ConfigValue, format!("{key} is `{value}`, which has no meaning"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_sets_begins_at_the_first_offset_and_reads_committed_orders_only() {
        let config = ConsumerConfig::read(&ClientConfig::new("kafka:9092")).unwrap();
        assert_eq!((config.reset, config.isolation), (Reset::Earliest, Isolation::ReadCommitted));
        assert_eq!((config.fetch.max_bytes, config.fetch.ask_bytes), (16 << 20, 1 << 20));
        assert_eq!(config.max_ahead, 10_000);
    }

    #[test]
    fn no_fetch_asks_for_more_than_a_part_of_what_may_be_read_ahead_and_a_larger_batch_is_taken() {
        let config = ClientConfig::new("kafka:9092").set("prefetch.max.bytes", "100000").unwrap();
        let fetch = ConsumerConfig::read(&config).unwrap().fetch;
        assert_eq!((fetch.ask_bytes, fetch.max_partition_bytes, fetch.max_bytes), (25_000, 25_000, 16 << 20));
    }
}
