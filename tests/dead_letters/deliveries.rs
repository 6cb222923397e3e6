//! What a store tells of its deliveries: relayed to topics or to a notifier, each at least once, under a name of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use orderflow::broker::{DevBroker, Rule, Verdict};
use orderflow::config::ClientConfig;
use orderflow::consumer::{DeliveryConsumer, Summary};
use orderflow::order::{Customer, DeliveryOrder, Order};
use orderflow::outbox::{CUSTOMER_NOTIFICATIONS, DELIVERY_STATUS, Notification, Notifier, STOCK_ALERTS};
use orderflow::store::{
    Backlog, EventId, Operation, RedbDeliveries, RedbInventory, RedbSettings, ReorderLevels, Status, Store,
};
use orderflow::wire::kafka_error::KafkaError;
use orderflow::wire::message::ApiKey;
use orderflow::{BoxError, ErrorCode};
use serde_json::Value;

use crate::consumer_support::{SOON, config, entry, write as write_orders};
use crate::log::{Raw, read, write};
use crate::support::wait::until_async;

const TOPIC: &str = "delivery_orders";

/// A broker with deliveries in two partitions, every second with a customer.
async fn shop(orders: usize) -> (DevBroker, tempfile::TempDir, PathBuf) {
    let broker = DevBroker::builder().topic(TOPIC, 2).topic("inventory_orders", 2).start().await.unwrap();
    for partition in 0..2 {
        let records: Vec<Raw> = (0..orders)
            .map(|n| {
                let order = DeliveryOrder::new(&format!("{partition}-{n}"), "02758", 3, "5/30/2023").unwrap();
                let customer = Customer::default().with_email("ada@example.com").unwrap();
                let order = if n % 2 == 0 { order.with_customer(customer) } else { order };
                let mut value = Vec::new();
                order.encode(&mut value);
                Raw { value: Some(value), ..Raw::of("") }
                    .with("idempotency-key", Some(format!("test:{partition}:{n}").as_bytes()))
            })
            .collect();
        write(&broker, TOPIC, partition, &records);
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("delivery.redb");
    (broker, folder, path)
}

async fn settle(config: &ClientConfig, path: &PathBuf) -> orderflow::Result<Summary> {
    let store = RedbDeliveries::open(path, "delivery")?;
    let consumer = DeliveryConsumer::builder(config).store(store).until_end().build().await.unwrap();
    consumer.run(std::future::pending()).await
}

async fn backlog(path: &PathBuf) -> Backlog {
    let store = RedbDeliveries::open(path, "delivery").unwrap();
    let backlog = store.back_office().unwrap().backlog().await.unwrap();
    store.close().await.unwrap();
    backlog
}

fn all(broker: &DevBroker, topic: &str) -> Vec<Raw> {
    [read(broker, topic, 0), read(broker, topic, 1)].concat()
}

/// How often a topic has each idempotency key.
fn names(broker: &DevBroker, topic: &str) -> BTreeMap<String, usize> {
    let mut names = BTreeMap::new();
    for record in all(broker, topic) {
        *names.entry(record.header("idempotency-key").unwrap()).or_default() += 1;
    }
    names
}

#[tokio::test]
async fn every_delivery_has_its_status_and_its_notification_once() {
    let (broker, _folder, path) = shop(700).await;
    assert_eq!(settle(&config(&broker), &path).await.unwrap().applied, 1_400);
    for (topic, kind) in [(DELIVERY_STATUS, "status"), (CUSTOMER_NOTIFICATIONS, "notification")] {
        let records = all(&broker, topic);
        assert_eq!(records.len(), 1_400, "{topic}");
        let mut orders = BTreeSet::new();
        for record in records {
            let event: Value = serde_json::from_slice(record.value.as_ref().unwrap()).unwrap();
            let name = String::from_utf8(record.key.clone().unwrap()).unwrap();
            assert_eq!(record.header("idempotency-key").unwrap(), format!("{kind}:{name}:1"));
            assert_eq!(record.header("content-type").as_deref(), Some("application/json"));
            assert_eq!((&event["delivery_id"], &event["version"]), (&Value::from(name), &Value::from(1)));
            assert_eq!((&event["status"], &event["scheduled_for"]), (&"scheduled".into(), &"2023-11-16".into()));
            let order = event["order_id"].as_str().unwrap().to_owned();
            if topic == CUSTOMER_NOTIFICATIONS {
                let has_customer = order.ends_with(['0', '2', '4', '6', '8']);
                let customer = if has_customer { serde_json::json!({"email": "ada@example.com"}) } else { Value::Null };
                assert_eq!(event["customer"], customer, "{event}");
            } else {
                assert!(!event.to_string().contains("ada@"), "only customers' own notifications name them");
            }
            assert!(orders.insert(order));
        }
        assert_eq!(orders.len(), 1_400);
    }
    assert_eq!(backlog(&path).await, Backlog::default());
    // Another run has nothing left to tell.
    settle(&config(&broker), &path).await.unwrap();
    assert_eq!(all(&broker, DELIVERY_STATUS).len(), 1_400);
    broker.shutdown().await;
}

#[tokio::test]
async fn a_topic_that_cannot_be_written_holds_up_no_other_and_is_told_by_the_next_run() {
    let (broker, _folder, path) = shop(50).await;
    broker.create_topic(CUSTOMER_NOTIFICATIONS, 2, &[]).unwrap();
    let denied = Verdict::Error(KafkaError::TopicAuthorizationFailed);
    let denied = broker.install(Rule::on(ApiKey::Produce).topic(CUSTOMER_NOTIFICATIONS).then(denied));
    let hurried = config(&broker).set("shutdown.timeout.ms", "1500").unwrap();
    let error = settle(&hurried, &path).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::Timeout, "{error}");
    assert!(error.to_string().contains("rows of the outbox were not relayed"), "{error}");
    assert_eq!(names(&broker, DELIVERY_STATUS).len(), 100);
    assert!(all(&broker, CUSTOMER_NOTIFICATIONS).is_empty());
    assert_ne!(backlog(&path).await, Backlog::default());
    drop(denied);
    settle(&config(&broker), &path).await.unwrap();
    assert_eq!(names(&broker, CUSTOMER_NOTIFICATIONS).len(), 100);
    assert!(names(&broker, DELIVERY_STATUS).values().all(|times| *times == 1), "what was let go is not told again");
    assert_eq!(backlog(&path).await, Backlog::default());
    broker.shutdown().await;
}

#[tokio::test]
async fn an_answer_that_is_lost_doubles_no_event_and_a_process_that_dies_doubles_names_only() {
    let (broker, _folder, path) = shop(300).await;
    let cut = broker.install(Rule::on(ApiKey::Produce).topic(DELIVERY_STATUS).times(2).then(Verdict::CutAfter));
    // The run ends in the middle: its task is gone between publishing and letting go.
    let store = RedbDeliveries::open(&path, "delivery").unwrap();
    let consumer = DeliveryConsumer::builder(&config(&broker)).store(store).build().await.unwrap();
    let run = tokio::spawn(consumer.run(std::future::pending()));
    let some = async || (!all(&broker, DELIVERY_STATUS).is_empty()).then_some(());
    until_async("something is told", SOON, some).await;
    run.abort();
    drop(run.await);
    drop(cut);
    // The store is free once its thread has ended.
    let free = async || match settle(&config(&broker), &path).await {
        Ok(_) => Some(()),
        Err(error) if error.code() == ErrorCode::StoreLocked => None,
        Err(error) => panic!("{error}"),
    };
    until_async("the rest is told", SOON, free).await;
    for topic in [DELIVERY_STATUS, CUSTOMER_NOTIFICATIONS] {
        let names = names(&broker, topic);
        assert_eq!(names.len(), 600, "{topic}");
        assert!(names.values().all(|times| *times <= 2), "{topic}: {names:?}");
    }
    broker.shutdown().await;
}

#[tokio::test]
async fn what_nobody_wants_is_told_to_nobody_and_does_not_stay() {
    let (broker, _folder, path) = shop(20).await;
    settle(&config(&broker).set("outbox.topics", "delivery_status").unwrap(), &path).await.unwrap();
    assert_eq!(all(&broker, DELIVERY_STATUS).len(), 40);
    assert!(broker.offsets(CUSTOMER_NOTIFICATIONS, 0).is_err(), "its topic is not made");
    assert_eq!(backlog(&path).await, Backlog::default());
    broker.shutdown().await;
}

#[tokio::test]
async fn what_happened_before_a_moment_was_told_before() {
    // The records are a millisecond apart.
    let (broker, _folder, path) = shop(20).await;
    settle(&config(&broker).set("outbox.since", "1700000000015").unwrap(), &path).await.unwrap();
    assert_eq!((all(&broker, DELIVERY_STATUS).len(), all(&broker, CUSTOMER_NOTIFICATIONS).len()), (10, 10));
    assert_eq!(backlog(&path).await, Backlog::default());
    broker.shutdown().await;
}

/// Fails at the first try of each third, and keeps what it was given.
#[derive(Clone, Default)]
struct Choosy(Arc<Mutex<BTreeMap<String, usize>>>);

impl Notifier for Choosy {
    async fn notify(&self, notification: &Notification) -> Result<(), BoxError> {
        let mut told = self.0.lock().unwrap();
        let times = told.entry(notification.idempotency_key.clone()).or_default();
        *times += 1;
        let is_third = notification.delivery.as_bytes()[0].is_multiple_of(3);
        if is_third && *times == 1 { Err("not today".into()) } else { Ok(()) }
    }
}

#[tokio::test]
async fn a_notifier_takes_the_topics_place_and_is_given_what_failed_again() {
    let (broker, _folder, path) = shop(30).await;
    let choosy = Choosy::default();
    let store = RedbDeliveries::open(&path, "delivery").unwrap();
    let consumer = DeliveryConsumer::builder(&config(&broker)).store(store).until_end().notifier(choosy.clone());
    consumer.build().await.unwrap().run(std::future::pending()).await.unwrap();
    assert_eq!(choosy.0.lock().unwrap().len(), 60);
    assert_eq!(all(&broker, DELIVERY_STATUS).len(), 60);
    assert!(broker.offsets(CUSTOMER_NOTIFICATIONS, 0).is_err());
    assert_eq!(backlog(&path).await, Backlog::default());
    broker.shutdown().await;
}

#[tokio::test]
async fn what_a_delivery_becomes_is_told_in_order_and_its_goods_are_an_order_of_their_own() {
    let (broker, _folder, path) = shop(3).await;
    let store = RedbDeliveries::open(&path, "delivery").unwrap();
    let office = store.back_office().unwrap();
    let consumer = DeliveryConsumer::builder(&config(&broker)).store(store).build().await.unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let run = tokio::spawn(consumer.run(async { drop(stopped.await) }));
    until_async("all are scheduled", SOON, async || (all(&broker, DELIVERY_STATUS).len() == 6).then_some(())).await;
    let name = |record: &Raw| String::from_utf8(record.key.clone().unwrap()).unwrap();
    let ids: Vec<EventId> = all(&broker, DELIVERY_STATUS).iter().map(|record| name(record).parse().unwrap()).collect();
    for (id, to) in [(ids[0], Status::OutForDelivery), (ids[0], Status::Delivered), (ids[1], Status::Cancelled)] {
        office.operate(Operation::Move { delivery: id, to, reason: None }).await.unwrap();
    }
    let told = async || (all(&broker, CUSTOMER_NOTIFICATIONS).len() == 9).then_some(());
    until_async("all moves are told", SOON, told).await;
    stop.send(()).unwrap();
    run.await.unwrap().unwrap();
    for (topic, kind) in [(DELIVERY_STATUS, "status"), (CUSTOMER_NOTIFICATIONS, "notification")] {
        let of = |id: EventId| -> Vec<String> {
            let records = all(&broker, topic).into_iter().filter(|record| name(record) == id.to_string());
            records.map(|record| record.header("idempotency-key").unwrap()).collect()
        };
        let names = |id: EventId, versions: std::ops::RangeInclusive<u32>| -> Vec<String> {
            versions.map(|version| format!("{kind}:{id}:{version}")).collect()
        };
        assert_eq!(
            (of(ids[0]), of(ids[1]), of(ids[2])),
            (names(ids[0], 1..=3), names(ids[1], 1..=2), names(ids[2], 1..=1))
        );
    }
    for record in all(&broker, DELIVERY_STATUS) {
        let event: Value = serde_json::from_slice(record.value.as_ref().unwrap()).unwrap();
        let told = format!("status:{}:{}", name(&record), event["version"]);
        assert_eq!(record.header("idempotency-key"), Some(told), "the version is carried");
    }
    let back = all(&broker, "inventory_orders");
    assert_eq!(back.len(), 1, "{back:?}");
    assert_eq!(back[0].header("idempotency-key").unwrap(), format!("{}:return", ids[1]));
    let order = orderflow::order::InventoryOrder::decode(back[0].value.as_ref().unwrap()).unwrap();
    assert_eq!((order.product_id(), order.quantity()), ("02758", 3));
    assert_eq!(backlog(&path).await, Backlog::default());
    broker.shutdown().await;
}

#[tokio::test]
async fn a_product_that_runs_low_is_told_once_on_its_topic() {
    let (broker, folder, _) = shop(0).await;
    let take = |n: usize, quantity: u32| {
        let order = orderflow::order::InventoryOrder::new(&n.to_string(), "p0", quantity, "5/30/2023").unwrap();
        let mut value = Vec::new();
        order.with_movement(orderflow::order::Movement::Issue).encode(&mut value);
        crate::consumer_support::Entry { value: Some(value), ..entry(n, "p0") }
    };
    write_orders(&broker, 0, &[entry(0, "p0"), entry(1, "p0"), entry(2, "p0"), take(3, 1), take(4, 1), take(5, 1)]);
    let path = folder.path().join("inventory.redb");
    let levels = ReorderLevels::default().or_else(2);
    for _ in 0..2 {
        let store =
            RedbInventory::open_with_levels(&path, "inventory", RedbSettings::default(), levels.clone()).unwrap();
        let consumer = orderflow::consumer::InventoryConsumer::builder(&config(&broker)).store(store).until_end();
        consumer.build().await.unwrap().run(std::future::pending()).await.unwrap();
    }
    let alerts = all(&broker, STOCK_ALERTS);
    assert_eq!(alerts.len(), 1, "{alerts:?}");
    let event: Value = serde_json::from_slice(alerts[0].value.as_ref().unwrap()).unwrap();
    assert_eq!(alerts[0].header("idempotency-key").as_deref(), Some("stock:p0:5"));
    let expected = serde_json::json!({
        "event": "stock_alert", "version": 5, "product_id": "p0", "stock": 1, "reorder_level": 2,
        "at": event["at"],
    });
    assert_eq!(event, expected);
    broker.shutdown().await;
}
