//! Replays of a consumer without a store: on the retry topic, under the record's own identity and first origin.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use orderflow::broker::DevBroker;
use orderflow::config::ClientConfig;
use orderflow::consumer::{Control, Delivered, Failure, InventoryConsumer, Outcome, Summary};
use orderflow::order::InventoryOrder;
use orderflow::outbox::DeadLetterTopic;
use orderflow::store::{DeadLetterRow, EventId, Rehearsal, ReplayRow, Replayed};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use crate::consumer_support::{SOON, TOPIC, broker, config, entries, nameless, settled, write as write_orders};
use crate::log::{Raw, read, write};
use crate::support::wait::until_async;

const DEAD: &str = "inventory_orders-dlt";
const RETRY: &str = "inventory_orders-retry";
const GROUP: &str = "shipping";

/// What a handler was given: the order's id, its identity, the topic.
type Given = Arc<Mutex<Vec<(String, String, String)>>>;

/// Rejects as long as it is told to.
struct Service {
    control: Control,
    given: Given,
    is_down: Arc<Mutex<bool>>,
    /// Without a permit, what comes by the retry topic is in hand and stays so.
    gate: Arc<Semaphore>,
    run: JoinHandle<orderflow::Result<Summary>>,
}

impl Service {
    async fn start(config: &ClientConfig, group: &str) -> Self {
        let (given, is_down) = (Given::default(), Arc::new(Mutex::new(true)));
        let gate = Arc::new(Semaphore::new(1));
        let (seen, down, opened) = (given.clone(), is_down.clone(), gate.clone());
        let handler = move |order: Delivered<InventoryOrder>| {
            let topic = order.place().topic.unwrap().to_string();
            let at = (order.value().order_id().to_owned(), order.identity().to_string(), topic);
            let is_bad = *down.lock().unwrap() && order.value().order_id() == "4";
            let must_wait = at.2 == RETRY;
            seen.lock().unwrap().push(at);
            let opened = opened.clone();
            async move {
                if must_wait {
                    drop(opened.acquire().await);
                }
                Ok::<_, Failure>(if is_bad { Outcome::Reject("not ours".into()) } else { Outcome::Done })
            }
        };
        let consumer = InventoryConsumer::builder(config).group(group).handler(handler).build().await.unwrap();
        let control = consumer.control();
        let run = tokio::spawn(consumer.run(std::future::pending()));
        Self { control, given, is_down, gate, run }
    }

    fn mended(&self) {
        *self.is_down.lock().unwrap() = false;
    }

    /// What came by the retry topic.
    fn again(&self) -> Vec<(String, String)> {
        let given = self.given.lock().unwrap();
        given.iter().filter(|(.., topic)| topic == RETRY).map(|(id, key, _)| (id.clone(), key.clone())).collect()
    }

    async fn stop(self) -> Summary {
        self.control.drain();
        tokio::time::timeout(SOON, self.run).await.expect("the run ends").unwrap().unwrap()
    }
}

async fn listed(config: &ClientConfig, group: &str) -> Vec<DeadLetterRow> {
    let letters = DeadLetterTopic::open(config, DEAD, group).await.unwrap();
    let rows = letters.letters().await.unwrap();
    letters.close().await;
    rows
}

async fn replayed(config: &ClientConfig, group: &str, ids: &[EventId], rehearsal: Rehearsal) -> Vec<ReplayRow> {
    let letters = DeadLetterTopic::open(config, DEAD, group).await.unwrap();
    let mut replay = letters.replay(ids, rehearsal).await.unwrap();
    let mut rows = Vec::new();
    loop {
        let next = replay.next(1).await.unwrap();
        if next.is_empty() {
            break;
        }
        rows.extend(next);
    }
    replay.close().await.unwrap();
    letters.close().await;
    rows
}

fn did(rows: &[ReplayRow]) -> Vec<Replayed> {
    rows.iter().map(|row| row.did).collect()
}

fn on_retry(broker: &DevBroker) -> Vec<Raw> {
    (0..2).flat_map(|partition| read(broker, RETRY, partition)).collect()
}

#[tokio::test]
async fn a_replayed_record_comes_again_under_its_identity_and_fails_again_with_its_first_origin() {
    let broker = broker(2).await;
    let config = config(&broker);
    write_orders(&broker, 1, &entries(0..6));
    let service = Service::start(&config, GROUP).await;
    settled(&service.control, 6).await;
    let first = read(&broker, DEAD, 1).remove(0);
    let rows = listed(&config, GROUP).await;
    let told =
        rows.iter().map(|row| (row.code.as_str(), row.topic.as_deref(), row.partition, row.offset, row.attempts));
    assert_eq!(told.collect::<Vec<_>>(), [("HND-REJECTED", Some(TOPIC), Some(1), Some(4), 1)]);
    let id = rows[0].id;

    let plan = replayed(&config, GROUP, &[id], Rehearsal::Plan).await;
    assert_eq!((did(&plan), on_retry(&broker)), (vec![Replayed::Apply], vec![]));
    service.gate.forget_permits(1);
    for expected in [Replayed::Apply, Replayed::Duplicate] {
        assert_eq!(did(&replayed(&config, GROUP, &[id], Rehearsal::Real).await), [expected]);
    }
    service.gate.add_permits(1);
    // It fails again: a newer dead letter, which a second replay publishes again.
    settled(&service.control, 7).await;
    let copies: Vec<Raw> = (0..2).flat_map(|partition| read(&broker, DEAD, partition)).collect();
    let second = copies.iter().find(|raw| **raw != first).unwrap();
    for name in ["topic", "partition", "offset", "timestamp", "group", "first-failed", "id"] {
        let name = format!("dead-letter-{name}");
        assert_eq!(second.header(&name), first.header(&name), "{name}");
    }
    assert_eq!(second.header("dead-letter-attempts").as_deref(), Some("2"));
    assert_eq!((&second.key, &second.value), (&first.key, &first.value));
    assert_eq!(second.header("idempotency-key"), first.header("idempotency-key"));
    let rows = listed(&config, GROUP).await;
    let told: Vec<_> = rows.iter().map(|row| (row.id, row.attempts, row.offset, row.replayed)).collect();
    assert_eq!(told, [(id, 2, Some(4), false)]);

    service.mended();
    assert_eq!(did(&replayed(&config, GROUP, &[id], Rehearsal::Real).await), [Replayed::Apply]);
    settled(&service.control, 8).await;
    assert_eq!(service.again(), vec![("4".to_owned(), "test:4".to_owned()); 2]);
    assert!(listed(&config, GROUP).await.iter().all(|row| row.replayed));
    assert_eq!(did(&replayed(&config, GROUP, &[id], Rehearsal::Real).await), [Replayed::Duplicate]);
    let summary = service.stop().await;
    assert_eq!((summary.applied, summary.dead_letters), (6, 2));
    let committed: i64 = (0..2).filter_map(|partition| broker.committed(GROUP, RETRY, partition)).sum();
    assert_eq!((committed, on_retry(&broker).len()), (2, 2));
    broker.shutdown().await;
}

#[tokio::test]
async fn an_order_without_an_identity_keeps_the_one_that_its_first_place_gave_it() {
    let broker = broker(1).await;
    let config = config(&broker);
    write_orders(&broker, 0, &nameless(0..6));
    let service = Service::start(&config, GROUP).await;
    settled(&service.control, 6).await;
    let id = listed(&config, GROUP).await[0].id;
    replayed(&config, GROUP, &[id], Rehearsal::Real).await;
    settled(&service.control, 7).await;
    let rows = listed(&config, GROUP).await;
    assert_eq!(rows.iter().map(|row| (row.id, row.attempts)).collect::<Vec<_>>(), [(id, 2)]);
    service.mended();
    replayed(&config, GROUP, &[id], Rehearsal::Real).await;
    settled(&service.control, 8).await;
    let given = service.given.lock().unwrap().clone();
    let identities: Vec<_> = given.iter().filter(|(id, ..)| id == "4").map(|(_, identity, _)| identity).collect();
    assert_eq!(identities.len(), 3);
    assert!(identities.iter().all(|identity| *identity == identities[0]), "{identities:?}");
    service.stop().await;
    broker.shutdown().await;
}

#[tokio::test]
async fn what_was_replayed_for_one_group_is_no_other_groups() {
    let broker = broker(1).await;
    let config = config(&broker);
    write_orders(&broker, 0, &entries(0..6));
    let (one, other) = (Service::start(&config, GROUP).await, Service::start(&config, "billing").await);
    settled(&one.control, 6).await;
    settled(&other.control, 6).await;
    let ids: Vec<_> = listed(&config, GROUP).await.iter().map(|row| row.id).collect();
    one.mended();
    other.mended();
    assert_eq!(did(&replayed(&config, GROUP, &ids, Rehearsal::Real).await), [Replayed::Apply]);
    settled(&one.control, 7).await;
    let passed = async || (broker.committed("billing", RETRY, 0) == Some(1)).then_some(());
    until_async("the other group has passed it", SOON, passed).await;
    assert!(other.again().is_empty());
    assert_eq!(listed(&config, "billing").await.iter().filter(|row| !row.replayed).count(), 1);
    assert_eq!((one.stop().await.applied, other.stop().await.applied), (6, 5));
    broker.shutdown().await;
}

#[tokio::test]
async fn what_would_fail_again_is_not_published_and_letters_of_other_programs_are_told_of() {
    let broker = broker(1).await;
    let config = config(&broker).set("dead_letters.headers", "spring").unwrap();
    write(&broker, TOPIC, 0, &[Raw::of("{}")]);
    let service = Service::start(&config, GROUP).await;
    settled(&service.control, 1).await;
    write(&broker, DEAD, 0, &[Raw::of("whatever")]);
    let rows = listed(&config, GROUP).await;
    let told = rows.iter().map(|row| (row.code.as_str(), row.topic.as_deref(), row.offset, row.attempts));
    assert_eq!(told.collect::<Vec<_>>(), [("ORD-FIELD-MISSING", Some(TOPIC), Some(0), 1), ("", None, None, 1)]);
    let ids: Vec<_> = rows.iter().map(|row| row.id).collect();
    let rows = replayed(&config, GROUP, &ids, Rehearsal::Real).await;
    assert_eq!(did(&rows), [Replayed::Fail, Replayed::Fail]);
    assert!(rows[0].reason.contains("order_id"), "{rows:?}");
    assert!(on_retry(&broker).is_empty());
    service.stop().await;
    broker.shutdown().await;
}

#[tokio::test]
async fn the_retry_topic_is_paused_stopped_and_told_of_with_its_topic() {
    for protocol in ["consumer", "classic"] {
        let broker = broker(1).await;
        broker.create_topic(RETRY, 1, &[]).unwrap();
        let config = config(&broker).set("group.protocol", protocol).unwrap();
        let service = Service::start(&config, GROUP).await;
        service.control.pause();
        let told = async || {
            let health = service.control.health().to_string();
            (health.matches("paused").count() == 2 && health.contains(RETRY)).then_some(())
        };
        until_async("both are paused", SOON, told).await;
        write(&broker, RETRY, 0, &[Raw::of("{}")]);
        service.control.resume();
        settled(&service.control, 1).await;
        let ready = async || service.control.health().is_ready().then_some(());
        until_async("it is ready", SOON, ready).await;
        // What somebody wrote there by hand is for every group, and its dead letter goes to the same topic.
        assert_eq!(read(&broker, DEAD, 0)[0].header("dead-letter-topic").as_deref(), Some(RETRY));
        let summary = tokio::time::timeout(Duration::from_secs(10), service.stop()).await.expect("it stops at once");
        assert_eq!(summary.dead_letters, 1);
        assert_eq!(broker.committed(GROUP, RETRY, 0), Some(1));
        broker.shutdown().await;
    }
}
