//! The same jobs with librdkafka and serde_json, as its users write them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use orderflow::order::generate::Generator;
use orderflow::order::{InventoryOrder, Source};
use rdkafka::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, Message, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};
use serde::{Deserialize, Serialize};

use crate::{Job, Work};

/// The order as JSON.
#[derive(Serialize, Deserialize)]
struct Value<'a> {
    order_id: &'a str,
    product_id: &'a str,
    quantity: u32,
    r#type: &'a str,
    timestamp: &'a str,
}

pub fn run(job: Job, work: &Work) -> Result<()> {
    match job {
        Job::Produce | Job::ProduceLz4 => produce(job, work),
        Job::Consume | Job::Store => consume(work),
    }
}

/// Counts what is acknowledged.
struct Counting(Arc<AtomicU64>);

impl ClientContext for Counting {}

impl ProducerContext for Counting {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if result.is_ok() {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn produce(job: Job, work: &Work) -> Result<()> {
    let acknowledged = Arc::new(AtomicU64::new(0));
    let producer: ThreadedProducer<Counting> = ClientConfig::new()
        .set("bootstrap.servers", &work.bootstrap)
        .set("acks", "all")
        .set("enable.idempotence", "true")
        .set("compression.type", job.compression())
        .set("linger.ms", "5")
        .set("batch.size", "1000000")
        .set("queue.buffering.max.messages", "200000")
        .create_with_context(Counting(Arc::clone(&acknowledged)))?;
    let (source, mut value) = (Source::random()?, Vec::new());
    for (order, index) in Generator::<InventoryOrder>::new(7).zip(0..work.orders) {
        value.clear();
        let time = order.timestamp().as_str();
        let (order_id, product_id, quantity) = (order.order_id(), order.product_id(), order.quantity());
        serde_json::to_writer(
            &mut value,
            &Value { order_id, product_id, quantity, r#type: "inventory", timestamp: time },
        )?;
        send(&producer, &work.topic, product_id, &value, &format!("of1:{}:{index}", source.as_str()))?;
    }
    producer.flush(Duration::from_secs(60))?;
    ensure!(acknowledged.load(Ordering::Relaxed) == work.orders, "{acknowledged:?} of {} acknowledged", work.orders);
    Ok(())
}

fn send(producer: &ThreadedProducer<Counting>, topic: &str, key: &str, value: &[u8], identity: &str) -> Result<()> {
    let headers = OwnedHeaders::new_with_capacity(1).insert(Header { key: "idempotency-key", value: Some(identity) });
    let mut record = BaseRecord::to(topic).key(key).payload(value).headers(headers);
    loop {
        match producer.send(record) {
            Ok(()) => return Ok(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                record = back;
                std::thread::sleep(Duration::from_millis(1));
            }
            Err((error, _)) => bail!(error),
        }
    }
}

fn consume(work: &Work) -> Result<()> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &work.bootstrap)
        .set("group.id", format!("bench-{}", std::process::id()))
        .set("auto.offset.reset", "earliest")
        // Its default idles a second when the queue is full, which costs throughput but no CPU.
        .set("fetch.queue.backoff.ms", "10")
        .create()?;
    consumer.subscribe(&[&work.topic])?;
    let pieces = AtomicU64::new(0);
    let (mut count, mut silence) = (0, 0);
    while count < work.orders {
        // A rebalance ends a poll, too.
        let Some(record) = consumer.poll(Duration::from_secs(1)) else {
            silence += 1;
            ensure!(silence < 60, "nothing comes");
            continue;
        };
        let record = record?;
        let order: Value<'_> = serde_json::from_slice(record.payload().context("no value")?)?;
        ensure!((1..=1_000_000).contains(&order.quantity) && order.r#type == "inventory", "a bad order");
        pieces.fetch_add(order.quantity.into(), Ordering::Relaxed);
        count += 1;
    }
    consumer.commit_consumer_state(CommitMode::Sync)?;
    Ok(())
}
