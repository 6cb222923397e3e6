//! Replays: each has its effect once, changes no position, and leaves what fails as it was first set aside.

use std::path::Path;

use orderflow::ErrorCode;
use orderflow::broker::DevBroker;
use orderflow::consumer::InventoryConsumer;
use orderflow::store::{
    DeadLetterRow, DeadLetterState, EventId, Operation, PositionRow, Query, Rehearsal, Replayed, Row, StoreOperator,
    StoreReader, Text,
};

use crate::consumer_support::{Log, SOON, Shop, TOPIC, audit, broker, config, settled};
use crate::log::{Raw, write};
use crate::support::wait::until_async;

fn order(n: usize, quantity: i64, more: &str) -> Raw {
    let value = format!(
        r#"{{"order_id":"{n}","product_id":"02758","quantity":{quantity},"type":"inventory","timestamp":"5/30/2023"{more}}}"#
    );
    Raw { key: Some(b"02758".to_vec()), ..Raw::of(&value) }
        .with("idempotency-key", Some(format!("test:{n}").as_bytes()))
}

fn issue(n: usize, quantity: i64) -> Raw {
    order(n, quantity, r#","movement":"issue""#)
}

async fn letters(path: &Path, all: bool) -> Vec<DeadLetterRow> {
    let rows = StoreReader::open(path).await.unwrap().ask(Query::DeadLetters { all }).rows().await.unwrap();
    let rows = rows.into_iter().map(|row| if let Row::DeadLetter(row) = row { row } else { panic!("{row:?}") });
    let mut rows: Vec<_> = rows.collect();
    rows.sort_by_key(|row| row.offset);
    rows
}

async fn positions(path: &Path) -> Vec<PositionRow> {
    let rows = StoreReader::open(path).await.unwrap().ask(Query::Positions).rows().await.unwrap();
    let rows = rows.into_iter().filter_map(|row| if let Row::Position(row) = row { Some(row) } else { None });
    rows.filter(|row| row.partition.is_some()).collect()
}

async fn stock(path: &Path) -> i64 {
    let query = Query::Stock { products: vec!["02758".to_owned()] };
    let rows = StoreReader::open(path).await.unwrap().ask(query).rows().await.unwrap();
    rows.iter().map(|row| if let Row::Stock(row) = row { row.stock } else { panic!("{row:?}") }).sum()
}

async fn operate(path: &Path, operation: Operation) -> orderflow::Result<Vec<Row>> {
    let operator = StoreOperator::open(path).await.unwrap();
    let done = operator.operate(operation).await;
    operator.close().await.unwrap();
    done
}

async fn did(path: &Path, operation: Operation) -> Vec<Replayed> {
    let rows = operate(path, operation).await.unwrap();
    rows.iter().map(|row| if let Row::Replayed(row) = row { row.did } else { panic!("{row:?}") }).collect()
}

fn replay(ids: &[EventId], rehearsal: Rehearsal) -> Operation {
    Operation::Replay { ids: ids.to_vec(), rehearsal }
}

/// A broker and a store in which an issue was refused, an order set aside with an identity and one without.
async fn set_aside() -> (DevBroker, Shop, Vec<EventId>) {
    let (broker, shop) = (broker(1).await, Shop::new());
    let nameless = Raw { headers: Vec::new(), ..order(3, -3, "") };
    write(&broker, TOPIC, 0, &[issue(1, 10), order(2, -2, ""), nameless]);
    let summary = shop.settle(&config(&broker), &Log::default()).await.unwrap();
    assert_eq!((summary.refused, summary.dead_letters), (1, 2));
    let ids = letters(&shop.path(), false).await.iter().map(|row| row.id).collect();
    (broker, shop, ids)
}

#[tokio::test]
async fn a_refusal_is_applied_once_when_there_is_stock_and_its_replay_changes_no_position() {
    let (broker, shop, ids) = set_aside().await;
    let (path, refused) = (shop.path(), &ids[..1]);
    assert_eq!(did(&path, replay(refused, Rehearsal::Real)).await, [Replayed::Fail], "there is no stock yet");
    let row = letters(&path, false).await.remove(0);
    assert_eq!((row.attempts, row.offset, row.code.as_str()), (2, Some(0), "STK-INSUFFICIENT"));
    write(&broker, TOPIC, 0, &[order(4, 35, "")]);
    shop.settle(&config(&broker), &Log::default()).await.unwrap();
    let before = positions(&path).await;
    assert_eq!(did(&path, replay(refused, Rehearsal::Plan)).await, [Replayed::Apply]);
    assert_eq!((stock(&path).await, letters(&path, false).await.len()), (35, 3), "a plan changes nothing");
    assert_eq!(did(&path, replay(&[ids[0], ids[0]], Rehearsal::Real)).await, [Replayed::Apply, Replayed::Duplicate]);
    assert_eq!(did(&path, replay(refused, Rehearsal::Real)).await, [Replayed::Duplicate]);
    assert_eq!((stock(&path).await, positions(&path).await), (25, before));
    let closed = letters(&path, true).await.remove(0);
    assert!(closed.replayed && closed.state == DeadLetterState::Replayed, "{closed:?}");
    // A copy of it that comes by the log is a duplicate.
    write(&broker, TOPIC, 0, &[issue(1, 10)]);
    assert_eq!(shop.settle(&config(&broker), &Log::default()).await.unwrap().duplicates, 1);
    assert_eq!(stock(&path).await, 25);
    assert!(audit(&path).await.holds);
    broker.shutdown().await;
}

#[tokio::test]
async fn a_mended_order_has_its_effect_under_its_own_identity_and_place() {
    let (broker, shop, ids) = set_aside().await;
    let path = shop.path();
    let value = |raw: Raw| Text::of(&raw.value.unwrap());
    let still_bad = Operation::Fix { id: ids[1], value: value(order(2, 0, "")) };
    assert_eq!(did(&path, still_bad).await, [Replayed::Fail]);
    assert_eq!(letters(&path, false).await[1].attempts, 2);
    for (id, n) in [(ids[1], 2), (ids[2], 3)] {
        assert_eq!(did(&path, Operation::Fix { id, value: value(order(n, 20, "")) }).await, [Replayed::Apply]);
    }
    assert_eq!(stock(&path).await, 40);
    // The position is set back: the one is known by its identity, the other by its place.
    let setter = orderflow::store::PositionSetter::open(&path).await.unwrap();
    let topic = orderflow::store::Topic::new(broker_topic(&broker).await, TOPIC);
    setter.set(&setter.plan(&topic, 0, 1).await.unwrap(), "to see").await.unwrap();
    setter.close().await.unwrap();
    assert_eq!(shop.settle(&config(&broker), &Log::default()).await.unwrap().duplicates, 2);
    assert_eq!(stock(&path).await, 40);
    assert!(audit(&path).await.holds, "{:?}", audit(&path).await);
    broker.shutdown().await;
}

async fn broker_topic(broker: &DevBroker) -> orderflow::place::TopicId {
    let cluster = orderflow::cluster::Cluster::connect(&broker.config()).await.unwrap();
    let topic = cluster.topic(TOPIC, orderflow::cluster::Missing::Refuse, SOON).await.unwrap();
    cluster.close().await;
    topic.id
}

#[tokio::test]
async fn a_copy_that_arrives_by_the_log_closes_it_and_a_discarded_one_stays_closed() {
    let (broker, shop, ids) = set_aside().await;
    let path = shop.path();
    write(&broker, TOPIC, 0, &[order(2, 7, "")]);
    shop.settle(&config(&broker), &Log::default()).await.unwrap();
    assert_eq!(did(&path, replay(&ids[1..2], Rehearsal::Real)).await, [Replayed::Duplicate]);
    let discard = || Operation::Discard { id: ids[2], reason: "sent by mistake".to_owned() };
    assert_eq!(did(&path, discard()).await, [Replayed::Discard]);
    assert_eq!(did(&path, discard()).await, [Replayed::Duplicate]);
    assert_eq!(did(&path, replay(&ids[2..], Rehearsal::Real)).await, [Replayed::Duplicate]);
    assert_eq!(did(&path, replay(&[EventId::new([9; 16])], Rehearsal::Real)).await, [Replayed::Fail]);
    assert_eq!(letters(&path, false).await.len(), 1);
    assert_eq!(stock(&path).await, 7);
    assert!(audit(&path).await.holds);
    broker.shutdown().await;
}

#[tokio::test]
async fn all_of_it_works_while_a_consumer_holds_the_store() {
    let (broker, shop, ids) = set_aside().await;
    let path = shop.path();
    let consumer = InventoryConsumer::builder(&config(&broker)).store(shop.store()).build().await.unwrap();
    let control = consumer.control();
    let run = tokio::spawn(consumer.run(std::future::pending()));
    write(&broker, TOPIC, 0, &[order(4, 35, "")]);
    settled(&control, 1).await;
    assert_eq!(did(&path, replay(&ids[..1], Rehearsal::Plan)).await, [Replayed::Apply]);
    assert_eq!(did(&path, replay(&ids[..1], Rehearsal::Real)).await, [Replayed::Apply]);
    let topic = || TOPIC.to_owned();
    operate(&path, Operation::Pause { topic: topic(), partition: Some(0) }).await.unwrap();
    let paused = async || control.health().to_string().contains("paused").then_some(());
    until_async("it is paused", SOON, paused).await;
    write(&broker, TOPIC, 0, &[order(5, 5, "")]);
    let backup = path.with_extension("copy");
    operate(&path, Operation::Backup { to: backup.clone() }).await.unwrap();
    operate(&path, Operation::Resume { topic: topic(), partition: None }).await.unwrap();
    settled(&control, 2).await;
    operate(&path, Operation::Pause { topic: topic(), partition: None }).await.unwrap();
    let rows = operate(&path, Operation::Resume { topic: topic(), partition: Some(0) }).await.unwrap();
    let Row::Steered(steered) = &rows[0] else { panic!("{rows:?}") };
    assert!(steered.paused, "the pause of all is not that of one");
    assert!(steered.reason.as_ref().unwrap().contains("orders resume inventory_orders`"), "{steered:?}");
    let rows = operate(&path, Operation::Resume { topic: topic(), partition: None }).await.unwrap();
    assert!(matches!(&rows[0], Row::Steered(row) if !row.paused && row.reason.is_none()), "{rows:?}");
    let foreign = Operation::Pause { topic: "others".to_owned(), partition: None };
    assert_eq!(operate(&path, foreign).await.unwrap_err().code(), ErrorCode::UnknownTopic);
    control.drain();
    run.await.unwrap().unwrap();
    assert_eq!((stock(&path).await, stock(&backup).await), (30, 25), "the copy is as of then");
    assert!(audit(&path).await.holds && audit(&backup).await.holds);
    let again = operate(&path, Operation::Backup { to: backup }).await.unwrap_err();
    assert_eq!(again.code(), ErrorCode::Input, "nothing is overwritten");
    let nobody = Operation::Pause { topic: topic(), partition: None };
    assert_eq!(operate(&path, nobody).await.unwrap_err().code(), ErrorCode::Closed);
    broker.shutdown().await;
}
