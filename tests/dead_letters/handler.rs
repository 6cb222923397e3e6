//! Dead letters of a consumer without a store: written before the position moves, or the partition stops.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use orderflow::ErrorCode;
use orderflow::broker::{DevBroker, Rule, Verdict};
use orderflow::cluster::{Cluster, Missing};
use orderflow::config::ClientConfig;
use orderflow::consumer::{Concurrency, Delivered, Failure, InventoryConsumer, Outcome, Summary};
use orderflow::order::InventoryOrder;
use orderflow::wire::kafka_error::KafkaError;
use orderflow::wire::message::ApiKey;

use crate::consumer_support::{SOON, TOPIC, broker, config, entries, write as write_orders};
use crate::log::{Raw, read, write};
use crate::support::wait::until_async;

const DEAD: &str = "inventory_orders-dlt";

fn number(order: &Delivered<InventoryOrder>) -> u64 {
    order.value().order_id().parse().unwrap()
}

/// Rejects number 4 and never gets number 6 done.
async fn picky(order: Delivered<InventoryOrder>) -> Result<Outcome, Failure> {
    match number(&order) {
        4 => Ok(Outcome::Reject("not ours".into())),
        6 => Err(Failure::retriable("the carrier is away")),
        _ => Ok(Outcome::Done),
    }
}

async fn settle(config: &ClientConfig, concurrency: Concurrency) -> orderflow::Result<Summary> {
    let builder = InventoryConsumer::builder(config).group("shipping").handler(picky).concurrency(concurrency);
    let consumer = builder.until_end().build().await?;
    tokio::time::timeout(SOON, consumer.run(std::future::pending())).await.expect("the run ends")
}

fn codes(broker: &DevBroker, partition: i32) -> Vec<(String, String)> {
    let header = |raw: &Raw, name: &str| raw.header(name).unwrap();
    let letters = read(broker, DEAD, partition);
    letters.iter().map(|raw| (header(raw, "dead-letter-code"), header(raw, "dead-letter-attempts"))).collect()
}

#[tokio::test]
async fn what_is_rejected_exhausted_or_no_order_is_written_aside_and_the_rest_goes_on() {
    for concurrency in [Concurrency::InOrder, Concurrency::PerKey(4)] {
        let broker = broker(2).await;
        write_orders(&broker, 1, &entries(0..10));
        write(&broker, TOPIC, 1, &[Raw::of("{}")]);
        let settings = config(&broker).set("handler.retry.attempts", "3").unwrap();
        let summary = settle(&settings, concurrency).await.unwrap();
        assert_eq!((summary.applied, summary.dead_letters, summary.retried), (8, 3, 2));
        let mut codes = codes(&broker, 1);
        codes.sort();
        let expected = [("HND-EXHAUSTED", "3"), ("HND-REJECTED", "1"), ("ORD-FIELD-MISSING", "1")];
        assert_eq!(codes.iter().map(|(code, n)| (&**code, &**n)).collect::<Vec<_>>(), expected);
        assert_eq!(broker.committed("shipping", TOPIC, 1), Some(11));
        let rejected = read(&broker, DEAD, 1);
        let rejected = rejected.iter().find(|raw| raw.header("dead-letter-offset").as_deref() == Some("4")).unwrap();
        assert_eq!(rejected.header("idempotency-key").as_deref(), Some("test:4"));
        broker.shutdown().await;
    }
}

#[tokio::test]
async fn no_position_is_committed_before_the_dead_letter_is_acknowledged() {
    let broker = broker(1).await;
    broker.create_topic(DEAD, 1, &[]).unwrap();
    write_orders(&broker, 0, &entries(0..6));
    let held = broker.install(Rule::on(ApiKey::Produce).topic(DEAD).then(Verdict::HoldAnswer));
    let settings = config(&broker).set("auto.commit.interval.ms", "1").unwrap();
    let run = tokio::spawn(async move { settle(&settings, Concurrency::PerKey(8)).await });
    tokio::time::timeout(SOON, held.fallen(1)).await.unwrap();
    until_async("what lies before it is committed", SOON, async || {
        (broker.committed("shipping", TOPIC, 0) == Some(4)).then_some(())
    })
    .await;
    drop(held);
    assert_eq!(run.await.unwrap().unwrap().dead_letters, 1);
    assert_eq!(broker.committed("shipping", TOPIC, 0), Some(6));
    broker.shutdown().await;
}

#[tokio::test]
async fn a_dead_letter_that_cannot_be_written_stops_its_partition_at_its_record() {
    let broker = broker(2).await;
    broker.create_topic(DEAD, 2, &[]).unwrap();
    write_orders(&broker, 0, &entries(0..10));
    write_orders(&broker, 1, &entries(10..20));
    let denied = Verdict::Error(KafkaError::TopicAuthorizationFailed);
    let denied = broker.install(Rule::on(ApiKey::Produce).topic(DEAD).then(denied));
    let error = settle(&config(&broker), Concurrency::InOrder).await.unwrap_err();
    assert_eq!((error.place().partition, error.place().offset), (Some(0), Some(4)), "{error}");
    assert_eq!(broker.committed("shipping", TOPIC, 0), Some(4));
    drop(denied);
    let settings = config(&broker).set("handler.retry.attempts", "2").unwrap();
    assert_eq!(settle(&settings, Concurrency::InOrder).await.unwrap().dead_letters, 2);
    assert_eq!(codes(&broker, 0).len(), 2);
    broker.shutdown().await;
}

#[tokio::test]
async fn a_dead_letter_that_is_too_large_stops_its_partition_and_names_both_limits() {
    let broker = broker(1).await;
    write(&broker, TOPIC, 0, &[Raw::of(&"x".repeat(5_000))]);
    let small = config(&broker).set("max.request.size", "3000").unwrap();
    let error = settle(&small, Concurrency::InOrder).await.unwrap_err();
    assert_eq!((error.code(), error.place().offset), (ErrorCode::TooLarge, Some(0)), "{error}");
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("max.request.size") && cause.contains("--add-config max.message.bytes"), "{cause}");
    assert!(broker.committed("shipping", TOPIC, 0).is_none_or(|next| next == 0));
    assert_eq!(settle(&config(&broker), Concurrency::InOrder).await.unwrap().dead_letters, 1);
    broker.shutdown().await;
}

#[tokio::test]
async fn a_broker_that_is_away_is_waited_for_and_nothing_is_skipped() {
    let broker = broker(1).await;
    broker.create_topic(DEAD, 1, &[]).unwrap();
    write_orders(&broker, 0, &entries(0..5));
    let away = Verdict::Error(KafkaError::NotEnoughReplicas);
    let away = broker.install(Rule::on(ApiKey::Produce).topic(DEAD).then(away));
    let settings = config(&broker).set("delivery.timeout.ms", "200").unwrap();
    let seen = Arc::new(AtomicUsize::new(0));
    let count = seen.clone();
    let handler = move |order: Delivered<InventoryOrder>| {
        count.fetch_add(1, Ordering::SeqCst);
        picky(order)
    };
    let consumer = InventoryConsumer::builder(&settings).group("shipping").handler(handler).build().await.unwrap();
    let control = consumer.control();
    let run = tokio::spawn(consumer.run(std::future::pending()));
    let told = async || control.health().to_string().contains("dead letters cannot be written").then_some(());
    until_async("health says why", SOON, told).await;
    assert_eq!(control.summary().applied, 4);
    drop(away);
    let written = async || (control.summary().dead_letters == 1 && control.health().is_ready()).then_some(());
    until_async("it is written", SOON, written).await;
    assert_eq!(seen.load(Ordering::SeqCst), 5, "the handler is not asked again");
    control.drain();
    run.await.unwrap().unwrap();
    assert_eq!(broker.committed("shipping", TOPIC, 0), Some(5));
    broker.shutdown().await;
}

#[tokio::test]
async fn no_order_is_tried_again_for_longer_than_the_total_time() {
    let broker = broker(1).await;
    write_orders(&broker, 0, &entries(6..7));
    let settings = config(&broker).set("handler.retry.attempts", "1000000").unwrap();
    let settings = settings.set("handler.retry.total.ms", "100").unwrap();
    let summary = settle(&settings, Concurrency::InOrder).await.unwrap();
    assert_eq!(summary.dead_letters, 1);
    assert!(summary.retried > 1, "{summary}");
    assert_eq!(codes(&broker, 0)[0].0, "HND-EXHAUSTED");
    assert_eq!(broker.committed("shipping", TOPIC, 0), Some(1));
    broker.shutdown().await;
}

#[tokio::test]
async fn a_restart_goes_on_counting_the_tries_of_an_order_and_keeps_when_it_failed_first() {
    let broker = broker(1).await;
    write_orders(&broker, 0, &entries(6..8));
    let settings = [("handler.retry.attempts", "5"), ("handler.retry.total.ms", "7200000")];
    let settings = settings.into_iter().fold(config(&broker), |config, (key, value)| config.set(key, value).unwrap());
    let tried = Arc::new(Mutex::new(Vec::new()));
    let handler = |tried: &Arc<Mutex<Vec<u32>>>| {
        let tried = tried.clone();
        move |order: Delivered<InventoryOrder>| {
            tried.lock().unwrap().push(order.attempt());
            async move {
                Ok::<_, Failure>(Outcome::Retry(Duration::from_secs(if order.attempt() == 2 { 3_600 } else { 0 })))
            }
        }
    };
    let builder = InventoryConsumer::builder(&settings).group("shipping").handler(handler(&tried));
    let consumer = builder.build().await.unwrap();
    let control = consumer.control();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let run = tokio::spawn(consumer.run(async { drop(stopped.await) }));
    until_async("it waits for the third try", SOON, async || (control.summary().retried == 2).then_some(())).await;
    stop.send(()).unwrap();
    run.await.unwrap().unwrap();
    let restarted = chrono::Utc::now();
    let consumer = InventoryConsumer::builder(&settings).group("shipping").handler(handler(&tried));
    let consumer = consumer.limit(1).build().await.unwrap();
    tokio::time::timeout(SOON, consumer.run(std::future::pending())).await.expect("the tries end").unwrap();
    assert_eq!(*tried.lock().unwrap(), [1, 2, 3, 4, 5]);
    let letter = read(&broker, DEAD, 0).remove(0);
    let first_failed: chrono::DateTime<chrono::Utc> =
        letter.header("dead-letter-first-failed").unwrap().parse().unwrap();
    assert_eq!(letter.header("dead-letter-attempts").as_deref(), Some("5"));
    assert!(first_failed <= restarted, "{letter:?}");
    broker.shutdown().await;
}

#[tokio::test]
async fn time_in_which_no_process_has_an_order_does_not_use_up_its_tries() {
    let broker = broker(1).await;
    write_orders(&broker, 0, &entries(6..7));
    let settings = config(&broker).set("handler.retry.total.ms", "3600000").unwrap();
    let cluster = Cluster::connect(&settings).await.unwrap();
    let id = cluster.topic(TOPIC, Missing::Refuse, SOON).await.unwrap().id;
    cluster.close().await;
    // It failed first in 1970. By the second note it has been tried for all of the hour since.
    for (failing_for, tries, dead_letters) in [("", vec![2, 3], 0), ("+3600000", vec![2], 1)] {
        broker.commit("shipping", TOPIC, 0, 0, &format!("of1 topic {id} tried 0x1@1000{failing_for}")).unwrap();
        let tried = Arc::new(Mutex::new(Vec::new()));
        let seen = tried.clone();
        let handler = move |order: Delivered<InventoryOrder>| {
            seen.lock().unwrap().push(order.attempt());
            let answer = if order.attempt() < 3 { Outcome::Retry(Duration::from_millis(1)) } else { Outcome::Done };
            async move { Ok::<_, Failure>(answer) }
        };
        let consumer = InventoryConsumer::builder(&settings).group("shipping").handler(handler).until_end();
        let run = consumer.build().await.unwrap().run(std::future::pending());
        let summary = tokio::time::timeout(SOON, run).await.expect("the run ends").unwrap();
        assert_eq!((&*tried.lock().unwrap(), summary.dead_letters), (&tries, dead_letters), "{failing_for}");
    }
    broker.shutdown().await;
}
