//! Publishing records of any kind to one topic: the layer below orders, dead letters, outbox events.

use futures::FutureExt;
use futures::future::BoxFuture;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio_util::sync::DropGuard;

use super::accumulator::{Accumulator, Target};
use super::brokers::Brokers;
use super::config::Settings;
use super::core::Core;
use super::producer_id;
use super::receipt::{Pending, Receipt};
use super::router::Router;
use crate::cluster::{Cluster, Missing, View};
use crate::config::{ClientConfig, properties};
use crate::flight::Written;
use crate::place::Place;
use crate::shutdown::Tasks;
use crate::wire::record_batch::{Header, RecordParts};
use crate::{Error, ErrorCode, Result};

/// How long the tasks have to notice that they must stop.
const STOP_WITHIN: Duration = Duration::from_secs(2);

/// A record to be written.
#[derive(Clone, Copy, Debug, Default)]
pub struct OutgoingRecord<'a> {
    /// The partition. `None`: that of the key, or any if there is no key.
    pub partition: Option<i32>,
    /// The key.
    pub key: Option<&'a [u8]>,
    /// The value; `None` deletes the key from a compacted topic.
    pub value: Option<&'a [u8]>,
    /// The headers, in this order.
    pub headers: &'a [Header<'a>],
    /// The record's time in milliseconds since 1970. `None`: now.
    pub timestamp: Option<i64>,
}

/// Writes records to one topic; each is acknowledged once every in-sync replica has it.
///
/// Clones share everything. When the last one is dropped the tasks are told to stop, and what is not acknowledged by then
/// fails; [`RecordProducer::close`] waits for it.
#[derive(Clone)]
pub struct RecordProducer(Arc<Shared>);

struct Shared {
    core: Arc<Core>,
    tasks: Arc<Tasks>,
    /// The cluster, if nobody else uses it.
    own: Option<Cluster>,
    _stop: DropGuard,
}

impl fmt::Debug for RecordProducer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordProducer").field("topic", &self.0.core.topic).finish_non_exhaustive()
    }
}

impl RecordProducer {
    /// A producer to `topic`, over connections of its own.
    ///
    /// # Errors
    /// As [`Cluster::connect`] and [`RecordProducer::over`].
    ///
    /// # Cancel safety
    /// Dropping the future closes what was opened.
    pub async fn connect(config: &ClientConfig, topic: &str) -> Result<Self> {
        let cluster = Cluster::connect(config).await?;
        Self::start(cluster.clone(), Some(cluster), topic).await
    }

    /// A producer to `topic` that shares `cluster` with others. Waits for the topic at most `max.block.ms`.
    ///
    /// # Errors
    /// [`ErrorCode::UnknownTopic`], [`ErrorCode::Denied`] or [`ErrorCode::Timeout`] if the topic cannot be written to, or no
    /// producer id is given out (InitProducerId, key 22).
    ///
    /// # Cancel safety
    /// Safe: nothing was accepted yet.
    pub async fn over(cluster: &Cluster, topic: &str) -> Result<Self> {
        Self::start(cluster.clone(), None, topic).await
    }

    /// Boxed, so that it is compiled here and not with whoever awaits it.
    fn start(cluster: Cluster, own: Option<Cluster>, topic: &str) -> BoxFuture<'_, Result<Self>> {
        let started = async move {
            let config = cluster.config();
            let settings = Settings::new(config);
            let missing = if config.flag(&properties::ALLOW_AUTO_CREATE) { Missing::Create } else { Missing::Refuse };
            cluster.topic(topic, missing, settings.max_block).await?;
            let producer_id = producer_id::obtain(&cluster, &settings).await?;
            let core = Arc::new(Core::new(settings, topic.into(), producer_id));
            let view = cluster.view();
            Ok(Self(Shared::start(core, cluster, &view, own)))
        };
        started.boxed()
    }

    /// A producer over any kind of brokers.
    #[cfg(test)]
    pub(super) fn to<B: Brokers>(core: Arc<Core>, brokers: B, view: &View) -> Self {
        Self(Shared::start(core, brokers, view, None))
    }

    /// Accepts a record: waits only for room in the buffer, at most `max.block.ms`.
    ///
    /// # Errors
    /// [`ErrorCode::Timeout`] if there was no room in time, [`ErrorCode::TooLarge`] if the record can never be sent,
    /// [`ErrorCode::Closed`]. In each case it was not accepted, so it is not written.
    ///
    /// # Cancel safety
    /// Nothing is accepted if the future is dropped.
    pub async fn enqueue(&self, record: OutgoingRecord<'_>) -> Result<Pending> {
        let target = match (record.partition, record.key) {
            (Some(partition), _) => Target::Partition(partition),
            (None, Some(key)) => Target::Key(key),
            (None, None) => Target::Any,
        };
        let value_len = record.value.map(<[u8]>::len);
        let parts = RecordParts { key: record.key, headers: record.headers, value_len };
        let write = |out: &mut Vec<u8>| out.extend_from_slice(record.value.unwrap_or_default());
        self.enqueue_with((target, record.timestamp.unwrap_or_else(now_ms)), &parts, write).await
    }

    /// [`RecordProducer::enqueue`], then waits for the receipt.
    ///
    /// # Errors
    /// As [`RecordProducer::enqueue`], and what the [`Pending`] fails with; [`Error::possibly_written`] says which.
    ///
    /// # Cancel safety
    /// If the future is dropped after the record was accepted, it is sent all the same.
    pub async fn send(&self, record: OutgoingRecord<'_>) -> Result<Receipt> {
        self.enqueue(record).await?.await
    }

    pub(super) async fn enqueue_with(
        &self,
        to: (Target<'_>, i64),
        parts: &RecordParts<'_>,
        write: impl Fn(&mut Vec<u8>),
    ) -> Result<Pending> {
        self.0.core.enqueue(to, parts, write).await
    }

    /// Sends everything that was accepted before, whatever `linger.ms` says, and waits until each record has its outcome,
    /// which it has within `delivery.timeout.ms`.
    ///
    /// # Errors
    /// What one of these records failed with, or one that failed earlier without anybody waiting for it.
    ///
    /// # Cancel safety
    /// Dropping the future gives up the waiting only.
    pub async fn flush(&self) -> Result<()> {
        self.flushed().await
    }

    /// Boxed, so that it is compiled here and not with whoever awaits it.
    fn flushed(&self) -> BoxFuture<'_, Result<()>> {
        self.0.core.flush().boxed()
    }

    /// Writes what became of the batches that were not simply written, and of those around them, to a new file: this one, or
    /// one in `flight.dir`. [`crate::flight`] says what is in it. It waits for the disk.
    ///
    /// # Errors
    /// As [`Control::write_flight`](crate::consumer::Control::write_flight).
    pub fn write_flight(&self, to: Option<&Path>) -> Result<Written> {
        self.0.core.settings.flights.asked(to)
    }

    /// As [`RecordProducer::write_flight`], in `flight.dir`: the file says that a signal asked for it.
    ///
    /// # Errors
    /// As [`RecordProducer::write_flight`].
    pub fn write_flight_at_signal(&self) -> Result<Written> {
        self.0.core.settings.flights.at_signal()
    }

    /// Takes no more records, flushes at most `shutdown.timeout.ms`, and ends. What is not acknowledged by then fails.
    ///
    /// # Errors
    /// As [`RecordProducer::flush`], and [`ErrorCode::Timeout`] if something was not acknowledged in time.
    ///
    /// # Cancel safety
    /// No more records are taken if the future is dropped; the tasks end when the last handle is dropped.
    pub async fn close(self) -> Result<()> {
        self.closed().await
    }

    /// Boxed, so that it is compiled here and not with whoever awaits it.
    fn closed(self) -> BoxFuture<'static, Result<()>> {
        let closed = async move {
            let core = &self.0.core;
            core.with(Accumulator::close);
            let limit = core.settings.close_timeout;
            let flushed = tokio::time::timeout(limit, core.flush()).await;
            let ended = self.0.tasks.finish(STOP_WITHIN).await;
            core.settings.flights.finish().await;
            if let Some(cluster) = &self.0.own {
                cluster.close().await;
            }
            match flushed {
                Ok(result) if ended => result,
                Ok(result) => {
                    result.and(Err(Error::new(ErrorCode::Internal, "a task of the producer did not end when told to")))
                }
                Err(_) => {
                    let sentence = format!("orders were not acknowledged within {} ms of closing", limit.as_millis());
                    Err(Error::new(ErrorCode::Timeout, sentence).at(Place::topic(core.topic.clone())).maybe_written())
                }
            }
        };
        closed.boxed()
    }

    /// The topic.
    #[must_use]
    pub fn topic(&self) -> &Arc<str> {
        &self.0.core.topic
    }

    /// How many partitions the topic has, as far as is known.
    #[must_use]
    pub fn partition_count(&self) -> usize {
        self.0.core.with(|state| state.partition_count())
    }

    /// How many bytes are accepted and not acknowledged yet, of `buffer.memory`.
    #[must_use]
    pub fn buffered_bytes(&self) -> usize {
        self.0.core.with(|state| state.used())
    }
}

impl Shared {
    /// Starts the tasks of a producer.
    fn start<B: Brokers>(core: Arc<Core>, brokers: B, view: &View, own: Option<Cluster>) -> Arc<Self> {
        let tasks = Arc::new(Tasks::new());
        let views = brokers.views();
        let mut router = Router::new(core.clone(), brokers, tasks.clone());
        router.follow(view);
        tasks.spawn(router.run(views, tasks.stop_signal()));
        let stop = tasks.stop_signal().drop_guard();
        Arc::new(Self { core, tasks, own, _stop: stop })
    }
}

/// Milliseconds since 1970. A clock before 1970 counts as 1970.
pub(super) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
