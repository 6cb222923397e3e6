//! One connection to one broker: requests go out in order, answers come back, each within a deadline.
//!
//! rskafka's messenger carries the frames (see `carry`); dialling, deadlines, versions and decoding are ours. A request
//! that misses its deadline closes the connection, because a broker answers in order: all that was sent behind it would
//! wait as well.

mod carry;
mod dial;
mod guard;
mod home;
mod stream;

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rskafka::messenger::{Messenger, RequestError};
use rskafka::protocol::frame::ReadError;
use tokio::io::BufStream;
use tokio::runtime::Handle;

#[cfg(feature = "dev-broker")]
use crate::config::Inside;
#[cfg(test)]
use crate::config::Names;
use crate::config::{Address, ClientConfig, properties};
use crate::error::{Error, ErrorCode, Result};
use crate::wire::kafka_error::KafkaError;
use crate::wire::message::{
    ApiKey, ApiVersionsRequest, ApiVersionsResponse, FetchRequest, ProduceRequest, Request, VersionRange, decode_body,
};
use carry::{Carried, RawAnswer, carried_key, carried_range};
use guard::{Guarded, KillSwitch};
use home::AtHome;
use stream::Stream;

/// Room for a usual small request with its length, so that both leave in one write. Larger ones bypass it.
const WRITE_BUFFER: usize = 16 * 1024;
/// Room for a few small answers. A larger one is read straight into its own buffer.
const READ_BUFFER: usize = 16 * 1024;

/// What a connection needs to know of the settings.
#[derive(Clone, Debug)]
pub struct ConnectionSettings {
    /// `client.id`.
    pub client_id: Arc<str>,
    /// `socket.connection.setup.timeout.ms`, for dialling.
    pub connect_timeout: Duration,
    /// `request.timeout.ms`, for one request.
    pub request_timeout: Duration,
    /// The largest answer in bytes that is taken. A larger one closes the connection.
    pub max_frame: usize,
    /// How a connection is opened within this process, if it is.
    #[cfg(feature = "dev-broker")]
    pub(crate) inside: Option<Inside>,
    /// What names stand for, if a test says so.
    #[cfg(test)]
    pub(crate) names: Option<Names>,
}

/// The largest answer to a request that is no fetch: metadata of some thousand partitions, offsets of as many.
const MAX_CONTROL_FRAME: usize = 8 << 20;
/// What a fetch's answer may hold beside its records.
const FETCH_OVERHEAD: usize = 1 << 20;
/// What to do about an answer that no broker gives.
const NO_KAFKA: &str = "check that this address is a Kafka broker without TLS";

impl ConnectionSettings {
    /// For requests with small answers.
    #[must_use]
    pub fn control(config: &ClientConfig) -> Self {
        Self {
            client_id: config.text(&properties::CLIENT_ID).into(),
            connect_timeout: config.millis(&properties::CONNECT_TIMEOUT),
            request_timeout: config.millis(&properties::REQUEST_TIMEOUT),
            max_frame: MAX_CONTROL_FRAME,
            #[cfg(feature = "dev-broker")]
            inside: config.inside().cloned(),
            #[cfg(test)]
            names: config.names().cloned(),
        }
    }

    /// For fetches: `fetch.max.bytes` and what is around the records.
    #[must_use]
    pub fn fetch(config: &ClientConfig) -> Self {
        let max_frame = config.bytes(&properties::FETCH_MAX_BYTES).saturating_add(FETCH_OVERHEAD);
        Self { max_frame, ..Self::control(config) }
    }
}

/// A connection to a broker. Clones share it; the last one dropped closes it.
#[derive(Clone)]
pub struct Connection(Arc<Inner>);

struct Inner {
    messenger: Messenger<BufStream<Guarded<Stream>>>,
    versions: HashMap<i16, VersionRange>,
    address: Address,
    request_timeout: Duration,
    switch: KillSwitch,
    /// Where futures that are given up are dropped.
    home: Handle,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.switch.kill();
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let closed = self.is_closed();
        f.debug_struct("Connection").field("address", &self.0.address).field("closed", &closed).finish_non_exhaustive()
    }
}

impl Connection {
    /// Dials the broker and learns which versions it speaks (ApiVersions, key 18, version 3 and, for old brokers, 0).
    ///
    /// # Errors
    /// [`ErrorCode::Connect`] if nothing answers in time, [`ErrorCode::Protocol`] if what answers is no Kafka broker,
    /// [`ErrorCode::BrokerTooOld`] if it is older than Apache Kafka 2.8.
    ///
    /// # Cancel safety
    /// Dropping the future closes the half-made connection.
    pub async fn open(address: &Address, settings: &ConnectionSettings) -> Result<Self> {
        let stream = Stream::open(address, settings).await?;
        let (stream, switch) = Guarded::new(stream);
        let stream = BufStream::with_capacity(READ_BUFFER, WRITE_BUFFER, stream);
        let messenger = Messenger::new(stream, settings.max_frame, settings.client_id.clone());
        let request_timeout = settings.request_timeout;
        let versions = HashMap::new();
        let (address, home) = (address.clone(), Handle::current());
        let mut inner = Inner { messenger, versions, address, request_timeout, switch, home };
        inner.learn_versions().await?;
        Ok(Self(Arc::new(inner)))
    }

    /// Sends a request and waits for its answer, at most `request.timeout.ms`.
    ///
    /// Requests leave in the order of the first polls of these futures: poll each once before making the next where
    /// the order matters.
    ///
    /// # Errors
    /// [`ErrorCode::Timeout`], [`ErrorCode::Disconnected`] (both say nothing of whether the broker acted on it),
    /// [`ErrorCode::BrokerTooOld`] if no version fits, [`ErrorCode::Protocol`] if the answer cannot be decoded: the
    /// connection is closed then, and another try is in place.
    ///
    /// # Cancel safety
    /// Dropping the future after its first poll, inside or outside its runtime, leaves the connection usable; the request
    /// may be acted on.
    pub fn call<R: Request>(&self, request: R) -> impl Future<Output = Result<R::Response>> + Send + use<R> {
        self.call_within(request, self.0.request_timeout)
    }

    /// Like [`Connection::call`], with a deadline of its own.
    ///
    /// # Errors
    /// As [`Connection::call`].
    ///
    /// # Cancel safety
    /// As [`Connection::call`].
    pub fn call_within<R: Request>(
        &self,
        request: R,
        within: Duration,
    ) -> impl Future<Output = Result<R::Response>> + Send + use<R> {
        let inner = self.0.clone();
        async move { inner.call(request, within).await }
    }

    /// The version in which a request of this kind is sent, if the broker and this library share one.
    #[must_use]
    pub fn version_of<R: Request>(&self) -> Option<i16> {
        shared_version::<R>(&self.0.versions)
    }

    /// Whether it is of no more use: killed, ended by the broker, or failed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.0.switch.is_closed()
    }

    /// Closes it now; requests under way fail.
    pub fn close(&self) {
        self.0.switch.kill();
    }

    /// The broker's address.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.0.address
    }
}

fn shared_version<R: Request>(versions: &HashMap<i16, VersionRange>) -> Option<i16> {
    R::CLIENT_VERSIONS.highest_common(*versions.get(&R::API.as_i16())?)
}

impl Inner {
    async fn call<R: Request>(&self, request: R, within: Duration) -> Result<R::Response> {
        let answer = self.exchange(request, within).await?;
        decode_body::<R::Response>(answer.body, answer.version, R::FLEXIBLE_FROM)
            .map_err(|cause| self.undecodable::<R>(answer.version).caused_by(cause))
    }

    async fn exchange<R: Request>(&self, request: R, within: Duration) -> Result<RawAnswer<R>> {
        if self.switch.is_closed() {
            return Err(self.disconnected::<R>());
        }
        let asked = AtHome::new(self.messenger.request(Carried(request)), &self.home);
        match tokio::time::timeout(within, asked).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(cause)) => Err(self.failed::<R>(cause)),
            Err(_) => {
                self.switch.kill();
                let sentence = format!("{} did not answer {:?} within {} ms", self.address, R::API, within.as_millis());
                Err(Error::new(ErrorCode::Timeout, sentence).retriable())
            }
        }
    }

    async fn learn_versions(&mut self) -> Result<()> {
        let first = HashMap::from([(
            carried_key(ApiVersionsRequest::API.as_i16()),
            carried_range(ApiVersionsRequest::CLIENT_VERSIONS),
        )]);
        self.messenger.override_version_ranges(first);
        let request = ApiVersionsRequest {
            client_software_name: env!("CARGO_PKG_NAME").into(),
            client_software_version: env!("CARGO_PKG_VERSION").into(),
        };
        let answer = self.exchange(request, self.request_timeout).await?;
        let answer = self.decode_versions(answer)?;
        let ranges = answer.api_keys.iter().filter(|range| range.min_version <= range.max_version);
        self.versions = ranges.map(|r| (r.api_key, VersionRange { min: r.min_version, max: r.max_version })).collect();
        self.refuse_old_broker()?;
        let carried = self.versions.iter().map(|(key, range)| (carried_key(*key), carried_range(*range)));
        let carried = carried.collect();
        self.messenger.override_version_ranges(carried);
        Ok(())
    }

    /// A broker that does not know the version asked for answers in version 0, with its own ranges (KIP-511).
    fn decode_versions(&self, answer: RawAnswer<ApiVersionsRequest>) -> Result<ApiVersionsResponse> {
        let refused = answer.body.get(..2) == Some(&KafkaError::UnsupportedVersion.code().to_be_bytes());
        let version = if refused { 0 } else { answer.version };
        let body: Bytes = answer.body;
        let answer = decode_body::<ApiVersionsResponse>(body, version, ApiVersionsRequest::FLEXIBLE_FROM)
            .map_err(|cause| self.undecodable::<ApiVersionsRequest>(version).caused_by(cause))?;
        match KafkaError::from_code(answer.error_code) {
            None | Some(KafkaError::UnsupportedVersion) if !answer.api_keys.is_empty() => Ok(answer),
            _ => Err(self.undecodable::<ApiVersionsRequest>(version)),
        }
    }

    fn refuse_old_broker(&self) -> Result<()> {
        let lacks = |name: &str, mine: VersionRange| {
            let sentence = format!(
                "{} speaks no {name} version {} to {}: it is older than Apache Kafka 2.8",
                self.address, mine.min, mine.max
            );
            Error::new(ErrorCode::BrokerTooOld, sentence).remedy("update the broker to Apache Kafka 2.8 or later")
        };
        shared_version::<ProduceRequest>(&self.versions)
            .ok_or_else(|| lacks("Produce", ProduceRequest::CLIENT_VERSIONS))?;
        shared_version::<FetchRequest>(&self.versions).ok_or_else(|| lacks("Fetch", FetchRequest::CLIENT_VERSIONS))?;
        Ok(())
    }

    fn failed<R: Request>(&self, cause: RequestError) -> Error {
        match cause {
            RequestError::NoVersionMatch { .. } => {
                // What it speaks was asked when the connection was made: a newer one asks again, also after a wrong answer.
                self.switch.kill();
                let range = R::CLIENT_VERSIONS;
                let sentence =
                    format!("{} speaks no {:?} version {} to {}", self.address, R::API, range.min, range.max);
                Error::new(ErrorCode::BrokerTooOld, sentence)
            }
            RequestError::WriteError(_) => {
                Error::new(ErrorCode::Protocol, format!("{:?} cannot be encoded", R::API)).caused_by(cause)
            }
            cause => {
                self.switch.kill();
                match oversized(&cause) {
                    Some(bytes) => self.too_large::<R>(bytes).caused_by(cause),
                    None => self.disconnected::<R>().caused_by(cause),
                }
            }
        }
    }

    /// The connection is lost with it, so another try is in place; asking for less is up to the caller.
    fn too_large<R: Request>(&self, bytes: usize) -> Error {
        let sentence = format!("{} answered {:?} with {bytes} bytes, more than is taken", self.address, R::API);
        Error::new(ErrorCode::TooLarge, sentence).retriable()
    }

    fn disconnected<R: Request>(&self) -> Error {
        let sentence = format!("the connection to {} ended before {:?} was answered", self.address, R::API);
        let error = Error::new(ErrorCode::Disconnected, sentence).retriable();
        // The first answer: whatever listens here may be no Kafka at all.
        if R::API == ApiKey::ApiVersions { error.remedy(NO_KAFKA) } else { error }
    }

    fn undecodable<R: Request>(&self, version: i16) -> Error {
        self.switch.kill();
        let sentence = format!("{} answered {:?} version {version} with what cannot be decoded", self.address, R::API);
        let error = Error::new(ErrorCode::Protocol, sentence).remedy(NO_KAFKA);
        // What has greeted us is a broker: its next answer, on another connection, may be well.
        if R::API == ApiKey::ApiVersions { error } else { error.retriable() }
    }
}

/// How many bytes the answer has that was too large to be taken, if that is what closed the connection.
fn oversized(cause: &RequestError) -> Option<usize> {
    match cause {
        RequestError::ReadFramedMessageError(ReadError::MessageTooLarge { actual, .. }) => Some(*actual),
        RequestError::Poisoned(cause) => oversized(cause),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
