//! What the consumer's tests share: orders written to a broker's log, runs, what an observer saw.
#![allow(dead_code, unreachable_pub, reason = "each test program uses a part of it")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

pub mod faulty;

use std::panic::Location;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::wait::until_async;
use bytes::Bytes;
use orderflow::broker::{DevBroker, Spot};
use orderflow::cluster::Cluster;
use orderflow::config::ClientConfig;
use orderflow::consumer::{Control, InventoryConsumer, Settled, Summary};
use orderflow::order::{InventoryOrder, Order};
use orderflow::store::{Audit, Outcome, Query, RedbInventory, Row, StoreReader};
use orderflow::wire::compression::{Compression, Compressor};
use orderflow::wire::message::{OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use orderflow::wire::record_batch::{BatchBuilder, ControlType, Header, ProducerStamp, RecordParts};

pub const TOPIC: &str = "inventory_orders";
pub const SOON: Duration = Duration::from_secs(30);

/// A record to be written: key, value, identities (a sound record has one at most).
pub struct Entry {
    pub key: Vec<u8>,
    pub value: Option<Vec<u8>>,
    pub identity: Option<String>,
    pub more_identities: Vec<Vec<u8>>,
}

/// Order number `n` of product `product`, with the identity `test:<n>`.
pub fn entry(n: usize, product: &str) -> Entry {
    let order = InventoryOrder::new(&format!("{n}"), product, 1, "5/30/2023").unwrap();
    let mut value = Vec::new();
    order.encode(&mut value);
    Entry { key: product.into(), value: Some(value), identity: Some(format!("test:{n}")), more_identities: Vec::new() }
}

/// The orders without any identity.
pub fn nameless(numbers: std::ops::Range<usize>) -> Vec<Entry> {
    entries(numbers).into_iter().map(|entry| Entry { identity: None, ..entry }).collect()
}

pub fn entries(numbers: std::ops::Range<usize>) -> Vec<Entry> {
    numbers.map(|n| entry(n, &format!("p{}", n % 7))).collect()
}

fn fill(mut builder: BatchBuilder, entries: &[Entry]) -> BatchBuilder {
    for (n, entry) in entries.iter().enumerate() {
        let identities =
            entry.identity.iter().map(String::as_bytes).chain(entry.more_identities.iter().map(|id| &id[..]));
        let headers: Vec<_> = identities.map(|id| Header { key: b"idempotency-key", value: Some(id) }).collect();
        let value = entry.value.as_deref();
        let parts = RecordParts { key: Some(&entry.key), headers: &headers, value_len: value.map(<[u8]>::len) };
        builder
            .append(1_700_000_000_000 + n as i64, &parts, |out| out.extend_from_slice(value.unwrap_or(b"")))
            .unwrap();
    }
    builder
}

/// Appends the entries as one batch.
pub fn write(broker: &DevBroker, partition: i32, entries: &[Entry]) -> i64 {
    write_with(broker, partition, entries, Compression::None)
}

pub fn write_with(broker: &DevBroker, partition: i32, entries: &[Entry], compression: Compression) -> i64 {
    broker.inject(TOPIC, partition, batch_of(entries, compression), Spot::Next).unwrap()
}

/// The entries as one batch.
pub fn batch_of(entries: &[Entry], compression: Compression) -> Bytes {
    fill(BatchBuilder::new(compression, Vec::new()), entries).close(&mut Compressor::new()).bytes()
}

fn stamp(producer_id: i64) -> ProducerStamp {
    ProducerStamp { producer_id, producer_epoch: 0, base_sequence: 0 }
}

/// Appends the entries as a part of the producer's transaction.
pub fn write_in_transaction(broker: &DevBroker, partition: i32, producer_id: i64, entries: &[Entry]) {
    let builder = BatchBuilder::new(Compression::None, Vec::new()).transactional();
    let mut closed = fill(builder, entries).close(&mut Compressor::new());
    closed.stamp(stamp(producer_id));
    broker.inject(TOPIC, partition, closed.bytes(), Spot::Next).unwrap();
}

/// Ends the producer's transaction in a partition.
pub fn end_transaction(broker: &DevBroker, partition: i32, producer_id: i64, how: ControlType) {
    let mut builder = BatchBuilder::new(Compression::None, Vec::new()).transactional().control();
    let key = how.key();
    let parts = RecordParts { key: Some(&key), headers: &[], value_len: Some(6) };
    builder.append(1, &parts, |out| out.extend_from_slice(&[0; 6])).unwrap();
    let mut closed = builder.close(&mut Compressor::new());
    closed.stamp(stamp(producer_id));
    broker.inject(TOPIC, partition, closed.bytes(), Spot::Next).unwrap();
}

/// A broker with the topic.
pub async fn broker(partitions: i32) -> DevBroker {
    DevBroker::builder().topic(TOPIC, partitions).start().await.unwrap()
}

/// The broker's settings with short waits.
pub fn config(broker: &DevBroker) -> ClientConfig {
    let quick = [
        ("retry.backoff.ms", "10"),
        ("retry.backoff.max.ms", "100"),
        ("fetch.max.wait.ms", "50"),
        ("handler.retry.backoff.ms", "5"),
        ("handler.retry.backoff.max.ms", "20"),
        ("metadata.max.age.ms", "200"),
    ];
    quick.into_iter().fold(broker.config(), |config, (key, value)| config.set(key, value).unwrap())
}

/// What was told of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub partition: i32,
    pub offset: i64,
    pub outcome: &'static str,
    pub order_id: Option<String>,
    pub identity: Option<String>,
}

/// Keeps what an observer is told.
#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<Vec<Seen>>>);

impl Log {
    pub fn observer(&self) -> impl FnMut(&Settled<'_, InventoryOrder>) + Send + 'static {
        let log = self.clone();
        move |settled| {
            let outcome = match settled.outcome() {
                Outcome::Applied => "applied",
                Outcome::Duplicate => "duplicate",
                Outcome::Refused { .. } => "refused",
                Outcome::DeadLetter { .. } => "dead letter",
            };
            log.0.lock().unwrap().push(Seen {
                partition: settled.partition(),
                offset: settled.offset(),
                outcome,
                order_id: settled.order().map(|order| order.order_id().to_owned()),
                identity: settled.idempotency_key().map(|key| key.into_owned()),
            });
        }
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.0.lock().unwrap().clone()
    }

    pub fn order_ids(&self, outcome: &str) -> Vec<String> {
        let seen = self.seen().into_iter().filter(|seen| seen.outcome == outcome);
        let mut ids: Vec<_> = seen.filter_map(|seen| seen.order_id).collect();
        ids.sort_by_key(|id| id.parse::<u64>().unwrap_or(0));
        ids
    }
}

/// The ids of these orders, as [`Log::order_ids`] gives them.
pub fn ids(numbers: std::ops::Range<usize>) -> Vec<String> {
    numbers.map(|n| n.to_string()).collect()
}

/// The audit of a store that nobody holds, or that a run of this process does.
pub async fn audit(path: &Path) -> Audit {
    let rows = StoreReader::open(path).await.unwrap().ask(Query::Verify).rows().await.unwrap();
    rows.into_iter().find_map(|row| if let Row::Audit(audit) = row { Some(audit) } else { None }).unwrap()
}

/// Commits an offset for a group, as an operator's tool does.
pub async fn commit_from_outside(broker: &DevBroker, group: &str, partition: i32, offset: i64) {
    let cluster = Cluster::connect(&broker.config()).await.unwrap();
    let connection = cluster.any_connection().await.unwrap();
    let partition = OffsetCommitRequestPartition {
        partition_index: partition,
        committed_offset: offset,
        committed_leader_epoch: -1,
        committed_metadata: Some(String::new()),
    };
    let topic = OffsetCommitRequestTopic { name: TOPIC.to_owned(), partitions: vec![partition] };
    let request = OffsetCommitRequest { group_id: group.to_owned(), topics: vec![topic], ..Default::default() };
    let answer = connection.call(request).await.unwrap();
    assert_eq!(answer.topics[0].partitions[0].error_code, 0);
    cluster.close().await;
}

/// Waits until as many records are settled.
pub async fn settled(control: &Control, count: u64) {
    let look = async || (control.summary().settled() == count).then_some(());
    let looking = until_async("as many are settled", 2 * SOON, look);
    if tokio::time::timeout(SOON, looking).await.is_err() {
        let (summary, health) = (control.summary(), control.health());
        panic!("{count} are to be settled: {summary}; {health}; {:?}", control.lag());
    }
}

/// A store in a folder of its own.
pub struct Shop {
    folder: tempfile::TempDir,
}

impl Shop {
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self) -> PathBuf {
        self.folder.path().join("inventory.redb")
    }

    pub fn store(&self) -> RedbInventory {
        RedbInventory::open(self.path(), "inventory").unwrap()
    }

    /// The store's own audit: it holds, with as many orders applied and found as duplicates.
    #[track_caller]
    pub fn assert_holds(&self, applied: u64, duplicates: u64) -> impl Future<Output = ()> {
        let (path, caller) = (self.path(), Location::caller());
        async move {
            let audit = audit(&path).await;
            assert!(audit.holds, "{caller}: {audit:?}");
            assert_eq!((audit.counts.applied, audit.counts.duplicates), (applied, duplicates), "{caller}: {audit:?}");
        }
    }

    /// Settles what is in the log now.
    pub async fn settle(&self, config: &ClientConfig, log: &Log) -> orderflow::Result<Summary> {
        let builder = InventoryConsumer::builder(config).store(self.store()).observe(log.observer());
        let consumer = builder.until_end().build().await?;
        tokio::time::timeout(SOON, consumer.run(std::future::pending())).await.expect("the run ends")
    }
}
