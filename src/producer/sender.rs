//! The task that sends batches to one leader, several requests at a time.
//!
//! It asks the accumulator what to send, closes new batches, sends, and brings the answers back. Requests leave in the order
//! in which they were planned, on one connection; the broker answers in that order.
//!
//! ```text
//!  notice, answer, timer --> plan --> close, stamp --> Link::produce --> answers --> Accumulator::answered
//! ```

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use litemap::LiteMap;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::accumulator::{Answered, Load, Reply, Shipment};
use super::brokers::{Brokers, Link};
use super::core::Core;
use super::failure::Failure;
use super::idempotence::{BatchId, Trace};
use crate::cluster::Node;
use crate::wire::compression::Compressor;
use crate::wire::kafka_error::KafkaError;
use crate::wire::message::{
    PartitionProduceData, PartitionProduceResponse, ProduceRequest, ProduceResponse, TopicProduceData,
};
use crate::{ErrorCode, Result};

/// Every in-sync replica has a batch before it is acknowledged.
const ACKS_ALL: i16 = -1;

/// The sender of one leader.
pub(super) struct Sender<B: Brokers> {
    core: Arc<Core>,
    brokers: B,
    node: Node,
    notice: Arc<Notify>,
    compressor: Compressor,
    link: Option<B::Link>,
    dialling: Option<Dialling<B::Link>>,
    dial_failures: u32,
    not_before: Option<Instant>,
    in_flight: FuturesUnordered<Exchange>,
    /// When each request under way must be answered.
    deadlines: LiteMap<RequestNumber, Instant>,
    next_request: RequestNumber,
}

type Dialling<L> = Pin<Box<dyn Future<Output = Result<L>> + Send>>;
type Exchange = Pin<Box<dyn Future<Output = (Manifest, Result<ProduceResponse>)> + Send>>;

/// A request's place among those that were sent.
type RequestNumber = u64;

/// What a request carries.
struct Manifest {
    request: RequestNumber,
    batches: Vec<(i32, BatchId)>,
}

/// What the sender was woken by.
enum Woken<L> {
    Answer(Manifest, Result<ProduceResponse>),
    Dialled(Result<L>),
    Look,
    Stop,
}

impl<B: Brokers> Sender<B> {
    pub(super) fn new(core: Arc<Core>, brokers: B, node: Node) -> Self {
        let notice = core.sender(node);
        Self {
            core,
            brokers,
            node,
            notice,
            compressor: Compressor::new(),
            link: None,
            dialling: None,
            dial_failures: 0,
            not_before: None,
            in_flight: FuturesUnordered::new(),
            deadlines: LiteMap::new(),
            next_request: 0,
        }
    }

    /// Sends until told to stop. What is under way then is left to [`Core`] to give up.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        loop {
            let looked = self.send_what_is_ready().await;
            match self.wait(looked, &stop).await {
                Woken::Answer(manifest, answer) => self.answered(manifest, answer),
                Woken::Dialled(link) => self.dialled(link),
                Woken::Look => self.close_if_late(),
                Woken::Stop => return,
            }
        }
    }

    /// Waits for what comes next. Nothing was to be done at the moment of `looked`; what has become due since, even while
    /// this was asked, is due now. A second reading of the clock would let it pass unnoticed.
    async fn wait(&mut self, looked: Instant, stop: &CancellationToken) -> Woken<B::Link> {
        let look = self.core.with(|state| state.next_look(self.node, looked));
        let pause = self.not_before.filter(|at| *at > looked);
        // Without a link whatever is under way fails by itself.
        let late = self.link.as_ref().and_then(|_| self.deadlines.values().min().copied());
        let timer = [look, pause, late].into_iter().flatten().min();
        tokio::select! {
            () = stop.cancelled() => Woken::Stop,
            Some((manifest, answer)) = self.in_flight.next() => Woken::Answer(manifest, answer),
            link = poll_some(&mut self.dialling) => Woken::Dialled(link),
            () = self.notice.notified() => Woken::Look,
            () = sleep_until(timer) => Woken::Look,
        }
    }

    /// Sends until nothing more is ready, and says at which moment that was so.
    async fn send_what_is_ready(&mut self) -> Instant {
        loop {
            let now = Instant::now();
            let Some(link) = self.link.clone().filter(|link| !link.is_closed()) else {
                self.dial_if_wanted(now);
                return now;
            };
            let Some(shipment) = self.core.with(|state| state.plan(self.node, now)) else { return now };
            self.send(&link, shipment).await;
        }
    }

    fn dial_if_wanted(&mut self, now: Instant) {
        let too_early = self.not_before.is_some_and(|at| at > now);
        if self.dialling.is_some() || too_early || !self.core.with(|state| state.is_wanted(self.node, now)) {
            return;
        }
        let (brokers, node) = (self.brokers.clone(), self.node);
        self.dialling = Some(Box::pin(async move { brokers.link(node).await }));
    }

    fn dialled(&mut self, link: Result<B::Link>) {
        self.dialling = None;
        match link {
            Ok(link) => {
                self.link = Some(link);
                self.dial_failures = 0;
                self.not_before = None;
            }
            Err(error) => {
                let trouble = Arc::new(Failure::of(&error));
                self.core.with(|state| state.unreachable(self.node, &trouble));
                let delay = self.core.settings.backoff.delay(self.dial_failures, fastrand::f64());
                self.dial_failures = self.dial_failures.saturating_add(1);
                self.not_before = Some(Instant::now() + delay);
                self.brokers.refresh();
            }
        }
    }

    /// Puts a request on the wire: its first poll decides its place among the others.
    async fn send(&mut self, link: &B::Link, shipment: Shipment) {
        let (request, manifest) = self.request(shipment);
        let settings = &self.core.settings;
        // The deadline is kept here, because time during which the broker has muted the connection does not count.
        let bound = settings.request_timeout.saturating_add(settings.delivery_timeout);
        let exchange = link.produce(request, bound);
        let mut exchange: Exchange = Box::pin(async move { (manifest, exchange.await) });
        self.deadlines.insert(self.next_request, Instant::now() + settings.request_timeout);
        match futures::poll!(exchange.as_mut()) {
            std::task::Poll::Ready((manifest, answer)) => self.answered(manifest, answer),
            std::task::Poll::Pending => self.in_flight.push(exchange),
        }
    }

    fn request(&mut self, shipment: Shipment) -> (ProduceRequest, Manifest) {
        self.next_request = self.next_request.wrapping_add(1);
        let mut batches = Vec::with_capacity(shipment.parcels.len());
        let mut partitions = Vec::with_capacity(shipment.parcels.len());
        for parcel in shipment.parcels {
            let closed = match parcel.load {
                Load::Again(closed) => closed,
                Load::Fresh(builder, stamp) => {
                    let closed = builder.close_stamped(&mut self.compressor, stamp);
                    self.core.with(|state| state.keep(parcel.partition, parcel.batch, closed.clone()));
                    closed
                }
            };
            batches.push((parcel.partition, parcel.batch));
            partitions.push(PartitionProduceData { index: parcel.partition, records: Some(closed.bytes()) });
        }
        let topic = TopicProduceData { name: self.core.topic.to_string(), partition_data: partitions };
        let timeout_ms = i32::try_from(self.core.settings.request_timeout.as_millis()).unwrap_or(i32::MAX);
        let request = ProduceRequest { transactional_id: None, acks: ACKS_ALL, timeout_ms, topic_data: vec![topic] };
        (request, Manifest { request: self.next_request, batches })
    }

    fn answered(&mut self, manifest: Manifest, answer: Result<ProduceResponse>) {
        self.deadlines.remove(&manifest.request);
        let mut muted_for = Duration::ZERO;
        let answers = match answer {
            Ok(response) => {
                muted_for = Duration::from_millis(u64::try_from(response.throttle_time_ms).unwrap_or(0));
                self.deadlines.iter_mut().for_each(|(_, deadline)| *deadline += muted_for);
                replies(manifest, response)
            }
            Err(error) => lost(manifest, &error),
        };
        let at = (Instant::now(), muted_for, fastrand::f64());
        let done = self.core.with(|state| state.answered(self.node, answers, at));
        if done.stale {
            self.brokers.refresh();
        }
        self.core.finish(done);
    }

    /// A broker that has not answered in time answers nothing behind it either: the connection is given up.
    fn close_if_late(&mut self) {
        let now = Instant::now();
        if self.deadlines.values().any(|deadline| *deadline <= now)
            && let Some(link) = self.link.take()
        {
            link.close();
        }
    }
}

/// Each batch's part of the answer. One that is missing counts as lost.
fn replies(manifest: Manifest, response: ProduceResponse) -> Vec<Answered> {
    let mut partitions: Vec<PartitionProduceResponse> =
        response.responses.into_iter().flat_map(|topic| topic.partition_responses).collect();
    let reply = |(partition, batch): (i32, BatchId)| {
        let at = partitions.iter().position(|answer| answer.index == partition);
        let reply = at.map_or_else(unanswered, |at| reply(partitions.swap_remove(at)));
        Answered { partition, batch, reply }
    };
    manifest.batches.into_iter().map(reply).collect()
}

fn reply(answer: PartitionProduceResponse) -> Reply {
    match KafkaError::from_code(answer.error_code) {
        None => Reply::Written {
            base_offset: (answer.base_offset >= 0).then_some(answer.base_offset),
            append_time: (answer.log_append_time_ms >= 0).then_some(answer.log_append_time_ms),
        },
        Some(error) => {
            let culprits = answer.record_errors.into_iter();
            let records = culprits
                .filter_map(|culprit| {
                    Some((u32::try_from(culprit.batch_index).ok()?, culprit.batch_index_error_message))
                })
                .collect();
            Reply::Refused { error, words: answer.error_message, records }
        }
    }
}

fn unanswered() -> Reply {
    let failure = Failure::new(ErrorCode::Protocol, "the broker's answer leaves the batch out");
    Reply::Lost(Arc::new(failure), Trace::Possible)
}

fn lost(manifest: Manifest, error: &crate::Error) -> Vec<Answered> {
    let failure = Arc::new(Failure::of(error));
    // A request for which no version fits has not left.
    let trace = if error.code() == ErrorCode::BrokerTooOld { Trace::None } else { Trace::Possible };
    let reply = |(partition, batch)| Answered { partition, batch, reply: Reply::Lost(failure.clone(), trace) };
    manifest.batches.into_iter().map(reply).collect()
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

async fn poll_some<T>(future: &mut Option<Pin<Box<dyn Future<Output = T> + Send>>>) -> T {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}
