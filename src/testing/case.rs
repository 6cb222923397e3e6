//! One case of a crash test: a broker, orders, a consumer that dies at a point, one that comes after it.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::arm::{Arm, Point, Refused};
use super::life::Life;
use super::pace::opened;
use crate::broker::{DevBroker, Installed, Rule, Verdict};
use crate::config::ClientConfig;
use crate::consumer::{OrderConsumer, Summary};
use crate::order::Order;
use crate::producer::OrderProducer;
use crate::wire::compression::Decompressor;
use crate::wire::message::ApiKey;
use crate::wire::record_batch::BatchReader;
use crate::{Error, ErrorCode, Result};

/// How long everything may take to be settled after the last crash. Sessions end after 6 s.
const SETTLED: Duration = Duration::from_secs(90);

/// How long a consumer has to come to its point.
const REACHED: Duration = Duration::from_secs(30);

/// How often it is looked whether all is settled.
const LOOK: Duration = Duration::from_millis(50);

const PARTITIONS: i32 = 2;

/// Settings with which little time passes.
const QUICK: [(&str, &str); 9] = [
    ("retry.backoff.ms", "20"),
    ("retry.backoff.max.ms", "200"),
    ("request.timeout.ms", "2000"),
    ("metadata.max.age.ms", "2000"),
    ("fetch.max.wait.ms", "200"),
    ("auto.commit.interval.ms", "100"),
    ("session.timeout.ms", "6000"),
    ("heartbeat.interval.ms", "500"),
    ("max.partition.fetch.bytes", "1024"),
];

/// Makes the consumer of a process; it is given its settings, the group's name and what it dies of.
pub(super) type Make<'m, O> =
    dyn Fn(ClientConfig, &'static str, Arc<Arm>) -> BoxFuture<'m, Result<OrderConsumer<O>>> + Send + Sync + 'm;

pub(super) struct Case<O> {
    broker: DevBroker,
    config: ClientConfig,
    group: &'static str,
    refused: Refused,
    pub(super) orders: Vec<O>,
}

struct Process {
    life: Life,
    arm: Arc<Arm>,
    stop: CancellationToken,
    run: JoinHandle<Result<Summary>>,
}

impl<O: Order> Case<O> {
    /// A broker that has these orders.
    pub(super) async fn start(orders: Vec<O>, group: &'static str) -> Result<Self> {
        let broker = DevBroker::builder().in_memory().topic(O::TOPIC, PARTITIONS).group_session(Duration::from_secs(6));
        let broker = broker.partitions(PARTITIONS).start().await?;
        let config =
            QUICK.into_iter().try_fold(broker.config_inside(), |config, (key, value)| config.set(key, value))?;
        let producer = OrderProducer::<O>::connect(&config).await?;
        for order in &orders {
            producer.send(order).await?;
        }
        producer.close().await?;
        Ok(Self { broker, config, group, refused: Refused::default(), orders })
    }

    /// Kills a consumer at the `nth` time that it comes to this point, and lets another one finish. Whether the point was
    /// reached.
    pub(super) async fn run(&self, make: &Make<'_, O>, point: Point, nth: u64) -> Result<bool> {
        let fault = self.fault(point, nth);
        let first = self.begin(make, Some(point), nth).await?;
        let reached = self.comes_to(&first, point, nth, fault.as_ref()).await;
        let beside = match point {
            Point::OnRevoke if reached => self.beside(make).await?,
            _ => None,
        };
        let reached = reached && (point != Point::OnRevoke || beside.is_some());
        if beside.is_some() {
            // The other member is there while the first one dies.
            tokio::time::sleep(Duration::from_millis(nth * 37)).await;
        }
        first.kill().await;
        drop(fault);
        let second = match beside {
            Some(second) => second,
            None => self.begin(make, None, 0).await?,
        };
        let settled = self.settle(&second).await;
        match (settled, second.end().await) {
            // It says itself why it ended.
            (Err(early), Err(error)) if early.code() == ErrorCode::Closed => Err(error),
            (settled, ended) => settled.and(ended).map(|()| reached),
        }
    }

    fn fault(&self, point: Point, nth: u64) -> Option<Installed> {
        let letters = || Rule::on(ApiKey::Produce).topic(format!("{}-dlt", O::TOPIC));
        let (rule, verdict) = match point {
            Point::BeforeCommit => (Rule::on(ApiKey::OffsetCommit), Verdict::Silence),
            Point::AfterCommit => (Rule::on(ApiKey::OffsetCommit), Verdict::SilenceAfter),
            Point::BeforeLetter => (letters(), Verdict::Silence),
            Point::AfterLetter => (letters(), Verdict::SilenceAfter),
            Point::BeforeEvent => (Rule::on(ApiKey::Produce), Verdict::Silence),
            Point::AfterEvent => (Rule::on(ApiKey::Produce), Verdict::SilenceAfter),
            Point::BeforeHandler
            | Point::WithinHandler
            | Point::AfterHandler
            | Point::BeforeEffect
            | Point::WithinEffect
            | Point::AfterEffect
            | Point::OnRevoke => return None,
        };
        Some(self.broker.install(rule.nth(nth).then(verdict)))
    }

    /// Waits until the process comes to its point, or everything is settled without it.
    async fn comes_to(&self, process: &Process, point: Point, nth: u64, fault: Option<&Installed>) -> bool {
        let comes = async {
            match fault {
                Some(fault) => fault.fallen(1).await,
                None if point == Point::OnRevoke => tokio::time::sleep(Duration::from_millis(nth * 7)).await,
                None => process.life.over().await,
            }
        };
        tokio::select! {
            biased;
            () = comes => true,
            () = self.is_settled(process) => false,
            () = tokio::time::sleep(REACHED) => false,
        }
    }

    /// A second process beside the first one. None: its store serves one process, and the first one has it.
    async fn beside(&self, make: &Make<'_, O>) -> Result<Option<Process>> {
        match self.begin_at_once(make, None, 0).await {
            Err(error) if error.code() == ErrorCode::StoreLocked => Ok(None),
            begun => begun.map(Some),
        }
    }

    async fn begin(&self, make: &Make<'_, O>, point: Option<Point>, nth: u64) -> Result<Process> {
        opened(async || self.begin_at_once(make, point, nth).await).await
    }

    async fn begin_at_once(&self, make: &Make<'_, O>, point: Option<Point>, nth: u64) -> Result<Process> {
        let (life, stop) = (Life::new(), CancellationToken::new());
        let arm = Arm::new(life.clone(), point, nth, self.refused.clone());
        let consumer = make(life.config(&self.config), self.group, arm.clone()).await?;
        let run = tokio::spawn(consumer.run(stop.clone().cancelled_owned()));
        Ok(Process { life, arm, stop, run })
    }

    async fn settle(&self, process: &Process) -> Result<()> {
        let late = || {
            let missing: Vec<_> = (0..PARTITIONS).filter(|partition| !self.is_read(*partition)).collect();
            let what = match missing.is_empty() {
                true => "replays that were requested".to_owned(),
                false => format!("partitions {missing:?}"),
            };
            Error::new(ErrorCode::Timeout, format!("{what} were not settled within {SETTLED:?}"))
        };
        tokio::select! {
            biased;
            () = self.is_settled(process) => Ok(()),
            () = process.ended() => Err(Error::new(ErrorCode::Closed, "the consumer ended by itself")),
            () = tokio::time::sleep(SETTLED) => Err(late()),
        }
    }

    /// Waits until each order is settled, and each replay that was requested.
    async fn is_settled(&self, process: &Process) {
        let is_read = || (0..PARTITIONS).all(|partition| self.is_read(partition));
        while !is_read() || !matches!(process.arm.is_asked().await, Ok(false)) {
            tokio::time::sleep(LOOK).await;
        }
    }

    fn is_read(&self, partition: i32) -> bool {
        let end = self.broker.offsets(O::TOPIC, partition).map_or(0, |offsets| offsets.end);
        end == 0 || self.broker.committed(self.group, O::TOPIC, partition) == Some(end)
    }

    /// Whether a handler refused the order.
    pub(super) fn is_refused(&self, identity: &str) -> bool {
        self.refused.has(identity)
    }

    /// The identities on the dead-letter topic.
    pub(super) fn letters(&self) -> Vec<String> {
        let topic = format!("{}-dlt", O::TOPIC);
        let mut found = Vec::new();
        for batch in (0..PARTITIONS).filter_map(|partition| self.broker.batches(&topic, partition).ok()).flatten() {
            let mut decompressor = Decompressor::new();
            let Some(Ok(view)) = BatchReader::new(batch).next() else { continue };
            let Ok(records) = view.records(&mut decompressor) else { continue };
            for record in records.flatten() {
                let identity =
                    record.headers.clone().find(|header| header.key == crate::order::IDENTITY_HEADER.as_bytes());
                let text = identity.and_then(|header| header.value).map(String::from_utf8_lossy);
                found.extend(text.map(std::borrow::Cow::into_owned));
            }
        }
        found
    }

    pub(super) async fn end(self) {
        self.broker.shutdown().await;
    }
}

impl Process {
    async fn ended(&self) {
        while !self.run.is_finished() {
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn kill(self) {
        self.life.kill();
        self.run.abort();
        // Whatever it says, it is gone.
        drop(self.run.await);
    }

    async fn end(self) -> Result<()> {
        self.stop.cancel();
        match self.run.await {
            Ok(ended) => ended.map(drop),
            Err(panic) => Err(Error::new(ErrorCode::Handler, "the consumer's task panicked").caused_by(panic)),
        }
    }
}
