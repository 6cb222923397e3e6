//! The jobs as a user of orderflow writes them.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result, ensure};
use orderflow::config::{ClientConfig, Origin};
use orderflow::consumer::{Delivered, Failure, InventoryConsumer, Outcome};
use orderflow::order::generate::Generator;
use orderflow::order::{Identity, InventoryOrder, Order, Source};
use orderflow::producer::InventoryProducer;
use orderflow::store::RedbInventory;

use crate::{Job, Work};

/// How many receipts are awaited at once.
const UNACKNOWLEDGED: usize = 10_000;

pub fn run(job: Job, work: &Work) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match job {
            Job::Produce | Job::ProduceLz4 => produce(job, work).await,
            Job::Consume => consume(work).await,
            Job::Store => store(work).await,
        }
    })
}

fn config(work: &Work, properties: &[(&str, &str)]) -> Result<ClientConfig> {
    let mut all = properties.to_vec();
    for setting in &work.settings {
        all.push(setting.split_once('=').with_context(|| format!("-X takes NAME=VALUE, not {setting}"))?);
    }
    Ok(ClientConfig::new(work.bootstrap.as_str()).overlay(Origin::Code, all)?)
}

async fn produce(job: Job, work: &Work) -> Result<()> {
    let config =
        config(work, &[("compression.type", job.compression()), ("linger.ms", "5"), ("batch.size", "1000000")])?;
    let producer = InventoryProducer::builder(&config).topic(work.topic.as_str()).connect().await?;
    let source = Source::random()?;
    let mut pending = VecDeque::with_capacity(UNACKNOWLEDGED);
    for (mut order, index) in Generator::<InventoryOrder>::new(7).zip(0..work.orders) {
        order.set_identity(Identity::numbered(source, index).map_err(|violation| anyhow::anyhow!("{violation}"))?);
        if pending.len() == UNACKNOWLEDGED
            && let Some(oldest) = pending.pop_front()
        {
            let receipt: orderflow::producer::Pending = oldest;
            receipt.await?;
        }
        pending.push_back(producer.enqueue(&order).await?);
    }
    for receipt in pending {
        receipt.await?;
    }
    Ok(producer.close().await?)
}

async fn consume(work: &Work) -> Result<()> {
    let group = format!("bench-{}", std::process::id());
    let pieces = AtomicU64::new(0);
    let handler = move |order: Delivered<InventoryOrder>| {
        pieces.fetch_add(order.value().quantity().into(), Ordering::Relaxed);
        std::future::ready(Ok::<_, Failure>(Outcome::Done))
    };
    let consumer = InventoryConsumer::builder(&config(work, &[])?)
        .group(group)
        .topic(work.topic.as_str())
        .handler(handler)
        .limit(work.orders)
        .build()
        .await?;
    settle_all(consumer, work).await
}

async fn store(work: &Work) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let group = format!("bench-{}", std::process::id());
    let store = RedbInventory::open(folder.path().join("inventory.redb"), &group)?;
    let consumer = InventoryConsumer::builder(&config(work, &[])?)
        .group(group)
        .topic(work.topic.as_str())
        .store(store)
        .limit(work.orders)
        .build()
        .await?;
    settle_all(consumer, work).await
}

async fn settle_all(consumer: InventoryConsumer, work: &Work) -> Result<()> {
    let summary = consumer.run(std::future::pending()).await?;
    ensure!(summary.settled() == work.orders, "{summary}");
    Ok(())
}
