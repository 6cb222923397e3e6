//! A consumer with a handler: at least once, the orders of one key in log order.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "../consumer_support/mod.rs"]
mod consumer_support;
mod in_store;
#[path = "../dead_letters/log.rs"]
mod log;
mod replays;
#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use consumer_support::*;
use orderflow::ErrorCode;
use orderflow::broker::{DevBroker, Rule, Verdict};
use orderflow::consumer::{Concurrency, Delivered, Failure, InventoryConsumer, Outcome, Summary};
use orderflow::order::InventoryOrder;
use orderflow::wire::kafka_error::KafkaError;
use orderflow::wire::message::ApiKey;
use support::wait::until_async;

type Handed = Arc<Mutex<Vec<(String, u64)>>>;

/// Settles what is in the log now, by a handler.
async fn settle<F, A>(broker: &DevBroker, concurrency: Concurrency, handler: F) -> orderflow::Result<Summary>
where
    F: Fn(Delivered<InventoryOrder>) -> A + Send + Sync + 'static,
    A: Future<Output = Result<Outcome, Failure>> + Send + 'static,
{
    let builder = InventoryConsumer::builder(&config(broker)).group("shipping").handler(handler);
    let consumer = builder.concurrency(concurrency).until_end().build().await?;
    tokio::time::timeout(SOON, consumer.run(std::future::pending())).await.expect("the run ends")
}

fn number(order: &Delivered<InventoryOrder>) -> u64 {
    order.value().order_id().parse().unwrap()
}

/// A handler that notes what it is given, key and number.
fn noting(
    handed: &Handed,
) -> impl Fn(Delivered<InventoryOrder>) -> std::future::Ready<Result<Outcome, Failure>> + use<> {
    let handed = handed.clone();
    move |order| {
        handed.lock().unwrap().push((order.value().product_id().to_owned(), number(&order)));
        std::future::ready(Ok(Outcome::Done))
    }
}

#[tokio::test]
async fn each_order_is_handed_over_in_log_order_and_the_position_is_committed() {
    let broker = broker(3).await;
    for partition in 0..3 {
        let from = partition as usize * 1000;
        write(&broker, partition, &entries(from..from + 400));
        write(&broker, partition, &entries(from + 400..from + 500));
    }
    let handed = Handed::default();
    let summary = settle(&broker, Concurrency::InOrder, noting(&handed)).await.unwrap();
    assert_eq!(summary.applied, 1500);
    for partition in 0..3 {
        let numbers =
            handed.lock().unwrap().iter().map(|(_, n)| *n).filter(|n| n / 1000 == partition).collect::<Vec<_>>();
        assert_eq!(numbers, (partition * 1000..partition * 1000 + 500).collect::<Vec<_>>());
        assert_eq!(broker.committed("shipping", TOPIC, partition as i32), Some(500));
    }
    assert_eq!(settle(&broker, Concurrency::InOrder, noting(&handed)).await.unwrap().settled(), 0);
    broker.shutdown().await;
}

#[tokio::test]
async fn orders_of_one_key_keep_their_order_while_others_overtake_what_is_tried_again() {
    let broker = broker(2).await;
    for partition in 0..2 {
        write(&broker, partition, &entries(partition as usize * 1000..partition as usize * 1000 + 300));
    }
    let handed = Handed::default();
    let noted = handed.clone();
    let summary = settle(&broker, Concurrency::PerKey(8), move |order: Delivered<InventoryOrder>| {
        let handed = noted.clone();
        async move {
            tokio::task::yield_now().await;
            if number(&order).is_multiple_of(5) && order.attempt() < 3 {
                return Err(Failure::retriable("the carrier is away"));
            }
            handed.lock().unwrap().push((order.value().product_id().to_owned(), number(&order)));
            Ok(Outcome::Done)
        }
    });
    let summary = summary.await.unwrap();
    assert_eq!((summary.applied, summary.retried), (600, 240));
    let mut by_key: BTreeMap<(u64, String), Vec<u64>> = BTreeMap::new();
    for (key, n) in handed.lock().unwrap().iter() {
        by_key.entry((n / 1000, key.clone())).or_default().push(*n);
    }
    assert!(by_key.values().all(|numbers| numbers.is_sorted()), "{by_key:?}");
    assert!(!handed.lock().unwrap().is_sorted_by_key(|(_, n)| *n), "nothing overtook");
    assert_eq!(broker.committed("shipping", TOPIC, 0), Some(300));
    broker.shutdown().await;
}

#[tokio::test]
async fn what_is_settled_behind_a_waiting_order_is_not_handed_over_again_by_the_next_run() {
    let broker = broker(1).await;
    write(&broker, 0, &entries(0..50));
    let config = config(&broker).set("handler.retry.backoff.ms", "60000").unwrap();
    let handler = |order: Delivered<InventoryOrder>| async move {
        if number(&order) == 3 { Err(Failure::retriable("not now")) } else { Ok(Outcome::Done) }
    };
    let builder = InventoryConsumer::builder(&config).group("shipping").handler(handler);
    let consumer = builder.concurrency(Concurrency::PerKey(4)).build().await.unwrap();
    let control = consumer.control();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let run = tokio::spawn(consumer.run(async { drop(stopped.await) }));
    // Orders 3, 10, 17, ... have the key of the one that waits.
    until_async("the others are settled", SOON, async || (control.summary().applied == 43).then_some(())).await;
    stop.send(()).unwrap();
    run.await.unwrap().unwrap();
    assert_eq!(broker.committed("shipping", TOPIC, 0), Some(3));
    let handed = Handed::default();
    settle(&broker, Concurrency::InOrder, noting(&handed)).await.unwrap();
    let numbers: Vec<_> = handed.lock().unwrap().iter().map(|(_, n)| *n).collect();
    assert_eq!(numbers, [3, 10, 17, 24, 31, 38, 45]);
    broker.shutdown().await;
}

#[tokio::test]
async fn a_handler_that_panics_has_its_order_set_aside_and_the_others_go_on() {
    let broker = broker(2).await;
    write(&broker, 0, &entries(0..10));
    write(&broker, 1, &entries(10..20));
    let summary = settle(&broker, Concurrency::InOrder, |order: Delivered<InventoryOrder>| async move {
        assert!(number(&order) != 5, "five is odd");
        Ok(Outcome::Done)
    });
    let summary = summary.await.unwrap();
    assert_eq!((summary.applied, summary.dead_letters), (19, 1));
    assert_eq!(broker.committed("shipping", TOPIC, 0), Some(10));
    broker.shutdown().await;
}

#[tokio::test]
async fn a_stop_lets_a_call_end_and_commits_it() {
    let broker = broker(1).await;
    write(&broker, 0, &entries(0..10));
    let (entered, mut entries_seen) = tokio::sync::mpsc::channel::<()>(16);
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let (open, calls) = (gate.clone(), Arc::new(AtomicUsize::new(0)));
    let counted = calls.clone();
    let handler = move |_: Delivered<InventoryOrder>| {
        let (entered, gate, calls) = (entered.clone(), gate.clone(), counted.clone());
        async move {
            calls.fetch_add(1, Ordering::SeqCst);
            entered.send(()).await?;
            gate.acquire().await?.forget();
            Ok(Outcome::Done)
        }
    };
    let consumer = InventoryConsumer::builder(&config(&broker)).group("shipping").handler(handler);
    let consumer = consumer.build().await.unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let run = tokio::spawn(consumer.run(async { drop(stopped.await) }));
    entries_seen.recv().await.unwrap();
    stop.send(()).unwrap();
    tokio::task::yield_now().await;
    open.add_permits(1);
    assert_eq!(tokio::time::timeout(SOON, run).await.unwrap().unwrap().unwrap().applied, 1);
    assert_eq!(calls.load(Ordering::SeqCst), 1);
    assert_eq!(broker.committed("shipping", TOPIC, 0), Some(1));
    broker.shutdown().await;
}

#[tokio::test]
async fn a_stop_that_takes_too_long_is_an_error() {
    let broker = broker(1).await;
    write(&broker, 0, &entries(0..1));
    let handler = |_: Delivered<InventoryOrder>| std::future::pending();
    let config = config(&broker).set("shutdown.timeout.ms", "200").unwrap();
    let consumer = InventoryConsumer::builder(&config).group("shipping").handler(handler).build().await.unwrap();
    let control = consumer.control();
    let begun = async { until_async("it reads", SOON, async || control.lag().first().and_then(|lag| lag.end)).await };
    let error = consumer.run(async { _ = begun.await }).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::Timeout, "{error}");
    assert_eq!(broker.committed("shipping", TOPIC, 0), Some(0));
    broker.shutdown().await;
}

#[tokio::test]
async fn a_limit_is_exact() {
    let broker = broker(2).await;
    write(&broker, 0, &entries(0..10));
    write(&broker, 1, &entries(10..20));
    let handed = Handed::default();
    for (concurrency, limit) in [(Concurrency::InOrder, 7), (Concurrency::PerKey(3), 9), (Concurrency::InOrder, 4)] {
        let builder = InventoryConsumer::builder(&config(&broker)).group("shipping").handler(noting(&handed));
        let consumer = builder.concurrency(concurrency).limit(limit).build().await.unwrap();
        assert_eq!(consumer.run(std::future::pending()).await.unwrap().settled(), limit);
    }
    let mut numbers: Vec<_> = handed.lock().unwrap().iter().map(|(_, n)| *n).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..20).collect::<Vec<_>>());
    broker.shutdown().await;
}

#[tokio::test]
async fn deleted_orders_are_passed_as_the_reset_policy_says() {
    let broker = broker(1).await;
    write(&broker, 0, &entries(0..10));
    let handed = Handed::default();
    settle(&broker, Concurrency::InOrder, noting(&handed)).await.unwrap();
    write(&broker, 0, &entries(10..20));
    write(&broker, 0, &entries(20..30));
    broker.delete_before(TOPIC, 0, 20).unwrap();
    assert_eq!(settle(&broker, Concurrency::InOrder, noting(&handed)).await.unwrap().applied, 10);
    assert_eq!(handed.lock().unwrap().last().map(|(_, n)| *n), Some(29));
    broker.shutdown().await;
}

#[tokio::test]
async fn a_partition_that_waits_long_does_not_hold_up_the_others() {
    let broker = broker(2).await;
    for from in (0..40).step_by(4) {
        write(&broker, 0, &entries(from..from + 4));
        write(&broker, 1, &entries(1000 + from..1004 + from));
    }
    let settings = [("prefetch.max.bytes", "2048"), ("fetch.max.bytes", "1024"), ("handler.retry.backoff.ms", "250")];
    let settings = settings.into_iter().chain([("handler.retry.backoff.max.ms", "250")]);
    let config = settings.fold(config(&broker), |config, (key, value)| config.set(key, value).unwrap());
    let freed = Arc::new(AtomicUsize::new(0));
    let free = freed.clone();
    let handler = move |order: Delivered<InventoryOrder>| {
        let free = free.clone();
        async move {
            if number(&order) == 2 && free.load(Ordering::SeqCst) == 0 {
                return Err(Failure::retriable("not yet").after(Duration::from_millis(250)));
            }
            Ok(Outcome::Done)
        }
    };
    let config = config.set("handler.retry.attempts", "1000").unwrap();
    let consumer = InventoryConsumer::builder(&config).group("shipping").handler(handler).build().await.unwrap();
    let control = consumer.control();
    let run = tokio::spawn(consumer.run(std::future::pending()));
    until_async("the other partition is settled", SOON, async || (control.summary().applied == 42).then_some(())).await;
    freed.store(1, Ordering::SeqCst);
    until_async("all is settled", SOON, async || (control.summary().applied == 80).then_some(())).await;
    run.abort();
    assert!(run.await.is_err());
    broker.shutdown().await;
}

#[tokio::test]
async fn commits_survive_lost_answers_and_a_coordinator_that_moves() {
    let broker = DevBroker::builder().nodes(3).topic(TOPIC, 2).start().await.unwrap();
    write(&broker, 0, &entries(0..100));
    let _lost = broker.install(Rule::on(ApiKey::OffsetCommit).times(1).then(Verdict::CutAfter));
    let error = Verdict::Error(KafkaError::NotCoordinator);
    let _moved = broker.install(Rule::on(ApiKey::OffsetCommit).skip(1).times(2).then(error));
    let handed = Handed::default();
    assert_eq!(settle(&broker, Concurrency::InOrder, noting(&handed)).await.unwrap().applied, 100);
    assert_eq!(broker.committed("shipping", TOPIC, 0), Some(100));
    broker.shutdown().await;
}
