//! A cluster in memory: leaders, logs, connections that end, and a script that says what goes wrong.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::AbortHandle;

use super::super::brokers::{Brokers, Link};
use super::super::config::Settings;
use super::super::core::Core;
use super::super::idempotence::Number;
use super::super::idempotence::tests::partition_model::{PartitionModel, Taken};
use super::super::records::{OutgoingRecord, RecordProducer};
use crate::cluster::{Node, View};
use crate::config::ClientConfig;
use crate::wire::compression::Decompressor;
use crate::wire::kafka_error::KafkaError;
use crate::wire::message::{
    BatchIndexAndErrorMessage, MetadataResponse, MetadataResponseBroker, MetadataResponsePartition,
    MetadataResponseTopic, PartitionProduceResponse, ProduceRequest, ProduceResponse, TopicProduceResponse,
};
use crate::wire::record_batch::BatchReader;
use crate::{Error, ErrorCode, Result};

pub(super) const TOPIC: &str = "orders";

/// What the script says of a request.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Verdict {
    Serve,
    /// Every batch of it is answered with this error, and not appended.
    Refuse(KafkaError),
    /// It is appended, and answered with this error.
    AppendAndRefuse(KafkaError),
    /// The connection ends before it is appended.
    LoseRequest,
    /// The connection ends before it is appended, and it arrives after this time all the same.
    Delay(Duration),
    /// It is appended, and the connection ends before the answer.
    LoseAnswer,
    /// Nothing more is heard on this connection.
    Hang,
    /// It is appended and answered; nothing more is read for this time.
    Throttle(Duration),
}

/// A request as the broker saw it: its batches by partition.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) node: Node,
    pub(super) batches: Vec<(i32, Number, Vec<String>)>,
}

type Script = Box<dyn FnMut(&Seen) -> Verdict + Send>;

pub(super) struct World {
    pub(super) leaders: Vec<(Option<Node>, i32)>,
    pub(super) partitions: Vec<PartitionModel<String>>,
    pub(super) seen: Vec<Seen>,
    pub(super) script: Script,
    pub(super) latency: Duration,
    /// `max.message.bytes`
    pub(super) max_batch: usize,
    /// Whether records that begin with `bad` are named in the answer.
    pub(super) names_culprits: bool,
    pub(super) unreachable: bool,
    pub(super) dials: usize,
    pub(super) refreshes: usize,
    /// How many requests were unanswered on one connection, at most.
    pub(super) most_in_flight: usize,
}

#[derive(Clone)]
pub(super) struct Model {
    world: Arc<Mutex<World>>,
    views: Arc<watch::Sender<Arc<View>>>,
}

impl Model {
    /// One node that leads `partitions` partitions and serves everything after a millisecond.
    pub(super) fn new(partitions: usize) -> Self {
        let world = World {
            leaders: vec![(Some(1), 0); partitions],
            partitions: (0..partitions).map(|_| PartitionModel::default()).collect(),
            seen: Vec::new(),
            script: Box::new(|_| Verdict::Serve),
            latency: Duration::from_millis(1),
            max_batch: usize::MAX,
            names_culprits: true,
            unreachable: false,
            dials: 0,
            refreshes: 0,
            most_in_flight: 0,
        };
        let model = Self { world: Arc::new(Mutex::new(world)), views: Arc::new(watch::channel(Arc::default()).0) };
        model.publish();
        model
    }

    pub(super) fn with<T>(&self, act: impl FnOnce(&mut World) -> T) -> T {
        act(&mut self.world.lock().unwrap())
    }

    pub(super) fn script(&self, script: impl FnMut(&Seen) -> Verdict + Send + 'static) {
        self.with(|world| world.script = Box::new(script));
    }

    /// These verdicts for the first requests, then everything is served.
    pub(super) fn first(&self, verdicts: impl IntoIterator<Item = Verdict, IntoIter: Send + 'static>) {
        let mut verdicts = verdicts.into_iter();
        self.script(move |_| verdicts.next().unwrap_or(Verdict::Serve));
    }

    /// Moves a partition's leader; clients learn of it when they ask.
    pub(super) fn lead(&self, partition: usize, node: Option<Node>) {
        self.with(|world| world.leaders[partition] = (node, world.leaders[partition].1 + 1));
    }

    pub(super) fn log(&self, partition: usize) -> Vec<String> {
        self.with(|world| world.partitions[partition].log.clone())
    }

    pub(super) fn seen(&self) -> Vec<Seen> {
        self.with(|world| world.seen.clone())
    }

    pub(super) fn publish(&self) {
        let leaders = self.with(|world| world.leaders.clone());
        let partitions = leaders.iter().zip(0..).map(|(&(leader, leader_epoch), partition_index)| {
            let leader_id = leader.unwrap_or(-1);
            MetadataResponsePartition { partition_index, leader_id, leader_epoch, ..Default::default() }
        });
        let broker = |node_id| MetadataResponseBroker { node_id, host: "model".into(), port: 1, ..Default::default() };
        let answer = MetadataResponse {
            brokers: vec![broker(1), broker(2)],
            topics: vec![MetadataResponseTopic {
                name: Some(TOPIC.into()),
                partitions: partitions.collect(),
                ..Default::default()
            }],
            ..MetadataResponse::default()
        };
        self.views.send_replace(Arc::new(View::default().merged(&answer)));
    }

    /// A producer to this cluster with these settings.
    pub(super) fn producer(&self, settings: &[(&str, &str)]) -> RecordProducer {
        let config =
            settings.iter().fold(ClientConfig::new("model:1"), |config, (key, value)| config.set(key, *value).unwrap());
        let core = Arc::new(Core::new(Settings::new(&config), TOPIC.into(), 4711));
        let view = self.views.borrow().clone();
        RecordProducer::to(core, self.clone(), &view)
    }
}

impl Brokers for Model {
    type Link = ModelLink;

    fn views(&self) -> watch::Receiver<Arc<View>> {
        self.views.subscribe()
    }

    fn refresh(&self) {
        self.with(|world| world.refreshes += 1);
        let model = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(5)).await;
            model.publish();
        });
    }

    async fn link(&self, node: Node) -> Result<ModelLink> {
        tokio::time::sleep(Duration::from_millis(2)).await;
        let unreachable = self.with(|world| {
            world.dials += 1;
            world.unreachable
        });
        if unreachable {
            return Err(Error::new(ErrorCode::Connect, "nothing listens there").retriable());
        }
        let (inbox, requests) = mpsc::channel(64);
        let server = tokio::spawn(serve(self.clone(), node, requests)).abort_handle();
        Ok(ModelLink { inbox, server })
    }
}

type Call = (ProduceRequest, oneshot::Sender<ProduceResponse>);

/// A connection: a task that takes requests in order. Its end ends the connection.
#[derive(Clone)]
pub(super) struct ModelLink {
    inbox: mpsc::Sender<Call>,
    server: AbortHandle,
}

impl Link for ModelLink {
    fn produce(
        &self,
        request: ProduceRequest,
        within: Duration,
    ) -> impl Future<Output = Result<ProduceResponse>> + Send + 'static {
        let inbox = self.inbox.clone();
        async move {
            let disconnected = || Error::new(ErrorCode::Disconnected, "the connection ended").retriable();
            let (answer, answered) = oneshot::channel();
            inbox.send((request, answer)).await.map_err(|_| disconnected())?;
            let answered = tokio::time::timeout(within, answered).await;
            answered.map_err(|_| disconnected())?.map_err(|_| disconnected())
        }
    }

    fn is_closed(&self) -> bool {
        self.server.is_finished()
    }

    fn close(&self) {
        self.server.abort();
    }
}

async fn serve(model: Model, node: Node, mut requests: mpsc::Receiver<Call>) {
    while let Some((request, answer)) = requests.recv().await {
        tokio::time::sleep(model.with(|world| world.latency)).await;
        let verdict = model.with(|world| {
            world.most_in_flight = world.most_in_flight.max(requests.len() + 1);
            let seen = seen(node, &request);
            let verdict = (world.script)(&seen);
            world.seen.push(seen);
            verdict
        });
        let mut response = match &verdict {
            Verdict::Serve | Verdict::Throttle(_) => model.with(|world| world.append(node, &request, None)),
            Verdict::Refuse(error) => model.with(|world| world.append(node, &request, Some(*error))),
            Verdict::AppendAndRefuse(error) => model.with(|world| {
                world.append(node, &request, None);
                world.append(node, &request, Some(*error))
            }),
            Verdict::LoseAnswer => {
                model.with(|world| world.append(node, &request, None));
                return;
            }
            Verdict::LoseRequest => return,
            Verdict::Delay(delay) => {
                let (model, delay) = (model.clone(), *delay);
                tokio::spawn(async move {
                    tokio::time::sleep(delay).await;
                    model.with(|world| world.append(node, &request, None));
                });
                return;
            }
            Verdict::Hang => std::future::pending().await,
        };
        if let Verdict::Throttle(pause) = verdict {
            response.throttle_time_ms = i32::try_from(pause.as_millis()).unwrap();
            answer.send(response).ok();
            tokio::time::sleep(pause).await;
        } else {
            answer.send(response).ok();
        }
    }
}

fn seen(node: Node, request: &ProduceRequest) -> Seen {
    let partitions = request.topic_data.iter().flat_map(|topic| &topic.partition_data);
    let batches = partitions.map(|partition| {
        let (number, values) = decode(partition.records.clone().unwrap());
        (partition.index, number, values)
    });
    Seen { node, batches: batches.collect() }
}

fn decode(bytes: Bytes) -> (Number, Vec<String>) {
    let mut batches = BatchReader::new(bytes);
    let view = batches.next().unwrap().unwrap();
    assert!(batches.next().is_none(), "one batch a partition");
    view.check_crc().unwrap();
    assert_eq!(view.producer_id(), 4711);
    let stamp = view.stamp();
    let mut decompressor = Decompressor::new();
    let records = view.records(&mut decompressor).unwrap();
    let values = records.map(|record| String::from_utf8(record.unwrap().value.unwrap().to_vec()).unwrap());
    (Number { epoch: stamp.producer_epoch, sequence: stamp.base_sequence }, values.collect())
}

impl World {
    /// Appends what the broker takes and answers; with an error given, appends nothing and answers that.
    fn append(&mut self, node: Node, request: &ProduceRequest, error: Option<KafkaError>) -> ProduceResponse {
        let mut partitions = Vec::new();
        for partition in request.topic_data.iter().flat_map(|topic| &topic.partition_data) {
            let bytes = partition.records.clone().unwrap();
            let mut answer = PartitionProduceResponse { index: partition.index, base_offset: -1, ..Default::default() };
            match error {
                Some(error) => answer.error_code = error.code(),
                None => self.append_batch(node, bytes, &mut answer),
            }
            partitions.push(answer);
        }
        let topic = TopicProduceResponse { name: TOPIC.into(), partition_responses: partitions };
        ProduceResponse { responses: vec![topic], ..ProduceResponse::default() }
    }

    fn append_batch(&mut self, node: Node, bytes: Bytes, answer: &mut PartitionProduceResponse) {
        let at = usize::try_from(answer.index).unwrap();
        let size = bytes.len();
        let (number, values) = decode(bytes);
        let culprits: Vec<i32> =
            values.iter().zip(0..).filter(|(value, _)| value.starts_with("bad")).map(|(_, index)| index).collect();
        let error = if self.leaders[at].0 != Some(node) {
            Some(KafkaError::NotLeaderOrFollower)
        } else if size > self.max_batch {
            Some(KafkaError::MessageTooLarge)
        } else if !culprits.is_empty() {
            if self.names_culprits {
                let named = |batch_index| BatchIndexAndErrorMessage { batch_index, ..Default::default() };
                answer.record_errors = culprits.into_iter().map(named).collect();
            }
            Some(KafkaError::InvalidRecord)
        } else {
            match self.partitions[at].receive(number, &values) {
                Taken::At(offset) => {
                    answer.base_offset = offset;
                    None
                }
                Taken::OutOfOrder => Some(KafkaError::OutOfOrderSequenceNumber),
                Taken::OldEpoch => Some(KafkaError::InvalidProducerEpoch),
            }
        };
        answer.error_code = error.map_or(0, KafkaError::code);
    }
}

/// A record to a partition.
pub(super) fn to(partition: i32, value: &str) -> OutgoingRecord<'_> {
    OutgoingRecord { partition: Some(partition), key: Some(b"k"), value: Some(value.as_bytes()), ..Default::default() }
}

/// How often each value is in the logs.
pub(super) fn copies(model: &Model) -> BTreeMap<String, usize> {
    let mut copies = BTreeMap::new();
    model.with(|world| {
        for value in world.partitions.iter().flat_map(|partition| &partition.log) {
            *copies.entry(value.clone()).or_default() += 1;
        }
    });
    copies
}
