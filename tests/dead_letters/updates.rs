//! Updates of deliveries, read from their topic beside the orders.

use std::path::{Path, PathBuf};

use orderflow::broker::DevBroker;
use orderflow::config::ClientConfig;
use orderflow::consumer::{ConsumerBuilder, DeliveryConsumer, Summary};
use orderflow::order::{DeliveryOrder, Identity};
use orderflow::place::TopicId;
use orderflow::store::{EventId, Query, RedbDeliveries, Row, StoreReader, Topic};
use serde_json::{Value, json};

use crate::consumer_support::{SOON, audit, config};
use crate::log::{Raw, read, write};
use crate::support::wait::until_async;

const ORDERS: &str = "delivery_orders";
const UPDATES: &str = "delivery_updates";

async fn broker(topics: &[&str]) -> DevBroker {
    topics.iter().fold(DevBroker::builder(), |broker, topic| broker.topic(*topic, 1)).start().await.unwrap()
}

fn order(number: usize) -> Raw {
    let order = json!({"order_id": number.to_string(), "product_id": "02758", "quantity": 1, "type": "delivery",
                       "timestamp": "5/30/2023"});
    Raw::of(&order.to_string()).with("idempotency-key", Some(format!("d:{number}").as_bytes()))
}

fn delivery(number: usize) -> EventId {
    let identity = Identity::opaque(format!("d:{number}")).unwrap();
    EventId::of(Some(&identity), &Topic::new(TopicId::NONE, ORDERS), 0, 0)
}

fn update(number: usize, status: &str) -> Raw {
    let update = json!({"delivery_id": delivery(number).to_string(), "status": status, "time": "2026-11-24T08:30:00Z",
                        "reason": "van 7", "van": 7});
    Raw::of(&update.to_string())
}

fn consumer(
    config: &ClientConfig,
    path: &Path,
) -> ConsumerBuilder<DeliveryOrder, orderflow::consumer::InStore<RedbDeliveries>> {
    DeliveryConsumer::builder(config).store(RedbDeliveries::open(path, "delivery").unwrap())
}

/// Settles what is in the logs now.
async fn settle(config: &ClientConfig, path: &Path) -> Summary {
    let consumer = consumer(config, path).until_end().build().await.unwrap();
    tokio::time::timeout(SOON, consumer.run(std::future::pending())).await.expect("the run ends").unwrap()
}

async fn ask(path: &Path, query: Query) -> Vec<Value> {
    let rows = StoreReader::open(path).await.unwrap().ask(query).rows().await.unwrap();
    rows.iter().map(Row::to_object).collect()
}

async fn statuses(path: &Path) -> Vec<String> {
    let rows = ask(path, Query::Deliveries { orders: Vec::new() }).await;
    rows.iter().map(|row| row["status"].as_str().unwrap().to_owned()).collect()
}

fn place() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("delivery.redb");
    (folder, path)
}

#[tokio::test]
async fn updates_by_topic_move_deliveries_once_and_what_cannot_be_is_set_aside() {
    let (broker, (_folder, path)) = (broker(&[ORDERS, UPDATES]).await, place());
    write(&broker, ORDERS, 0, &[order(0), order(1), order(2)]);
    let keyed = |raw: Raw, key: &str| raw.with("idempotency-key", Some(key.as_bytes()));
    let out = || keyed(update(0, "out_for_delivery"), "van 7:1");
    // The third order's own identity is not the update's.
    write(
        &broker,
        UPDATES,
        0,
        &[
            out(),
            out(),
            update(1, "delivered"),
            Raw::of("{"),
            update(9, "failed"),
            keyed(update(2, "cancelled"), "d:2"),
        ],
    );
    let config = config(&broker);
    let summary = settle(&config, &path).await;
    assert_eq!((summary.applied, summary.refused), (3, 0), "updates are no orders: {summary}");
    assert_eq!(statuses(&path).await, ["out_for_delivery", "scheduled", "cancelled"]);
    let letters = ask(&path, Query::DeadLetters { all: false }).await;
    let mut told: Vec<_> = letters.iter().map(|row| (row["offset"].as_i64().unwrap(), row["code"].clone())).collect();
    told.sort_by_key(|(offset, _)| *offset);
    assert_eq!(told, [(2, json!("DLV-IMPOSSIBLE")), (3, json!("ORD-JSON")), (4, json!("DLV-UNKNOWN"))]);
    assert_eq!(read(&broker, "delivery_updates-dlt", 0).len(), 1, "what is no update is on its own dead-letter topic");
    let held = audit(&path).await;
    assert!(held.holds, "{held:?}");
    assert_eq!((held.counts.applied, held.counts.duplicates, held.counts.refused), (5, 1, 2), "{held:?}");

    write(&broker, UPDATES, 0, &[keyed(update(0, "delivered"), "van 7:2"), out()]);
    settle(&config, &path).await;
    assert_eq!(statuses(&path).await, ["delivered", "scheduled", "cancelled"]);
    broker.shutdown().await;
}

#[tokio::test]
async fn a_run_without_an_end_finds_a_topic_of_updates_that_is_made_later() {
    let (broker, (_folder, path)) = (broker(&[ORDERS]).await, place());
    write(&broker, ORDERS, 0, &[order(0)]);
    let consumer = consumer(&config(&broker), &path).build().await.unwrap();
    let control = consumer.control();
    let run = tokio::spawn(consumer.run(std::future::pending()));
    until_async("the order is applied", SOON, async || (control.summary().applied == 1).then_some(())).await;
    assert!(control.health().is_ready(), "that there are no updates is nobody's concern: {}", control.health());
    broker.create_topic(UPDATES, 1, &[]).unwrap();
    write(&broker, UPDATES, 0, &[update(0, "out_for_delivery")]);
    let moved = async || (statuses(&path).await == ["out_for_delivery"]).then_some(());
    until_async("the delivery is on its way", SOON, moved).await;
    // The socket of the run answers commands, too.
    let operator = orderflow::store::StoreOperator::open(&path).await.unwrap();
    let to = orderflow::store::Status::Delivered;
    let operation = orderflow::store::Operation::Move { delivery: delivery(0), to, reason: None };
    let rows = operator.operate(operation).await.unwrap();
    assert!(matches!(&rows[0], Row::Moved(row) if row.moved && row.version == Some(3)), "{rows:?}");
    operator.close().await.unwrap();
    control.drain();
    let summary = tokio::time::timeout(SOON, run).await.expect("it ends").unwrap().unwrap();
    assert_eq!(summary.applied, 1);
    assert_eq!(statuses(&path).await, ["delivered"]);
    assert!(audit(&path).await.holds);
    broker.shutdown().await;
}

#[tokio::test]
async fn a_store_that_is_built_again_knows_its_deliveries_before_it_is_told_of_them() {
    let (broker, (folder, path)) = (broker(&[ORDERS, UPDATES]).await, place());
    let numbers = 0..300;
    write(&broker, UPDATES, 0, &numbers.clone().map(|number| update(number, "out_for_delivery")).collect::<Vec<_>>());
    write(&broker, ORDERS, 0, &numbers.map(order).collect::<Vec<_>>());
    let config = config(&broker);
    settle(&config, &path).await;
    let first = ask(&path, Query::Deliveries { orders: Vec::new() }).await;
    assert!(first.iter().all(|row| row["status"] == "out_for_delivery"), "{first:?}");
    let again = folder.path().join("again.redb");
    let rebuilt = consumer(&config, &again).rebuild().until_end().build().await.unwrap();
    tokio::time::timeout(SOON, rebuilt.run(std::future::pending())).await.expect("the run ends").unwrap();
    assert_eq!(ask(&again, Query::Deliveries { orders: Vec::new() }).await, first);
    assert!(audit(&again).await.holds);
    broker.shutdown().await;
}
