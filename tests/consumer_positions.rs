//! Positions: listed, moved by command, compared with the log and with what others committed.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod consumer_support;
mod support;

use std::time::Duration;

use consumer_support::*;
use orderflow::ErrorCode;
use orderflow::broker::{DevBroker, Rule, Verdict};
use orderflow::consumer::{Control, InventoryConsumer, Summary};
use orderflow::wire::kafka_error::KafkaError;
use orderflow::wire::message::ApiKey;
use serde_json::{Value, json};
use support::program::{Finished, Program};
use support::wait::until_async;
use support::{example, ndjson};

const WORK: Duration = Duration::from_secs(60);

/// Runs a program beside the runtime, which serves its broker.
async fn run(program: Program) -> Finished {
    tokio::task::spawn_blocking(move || program.run(WORK)).await.unwrap()
}

fn orders(broker: &DevBroker, shop: &Shop, arguments: &[&str]) -> Program {
    let program = example::example("orders").args(["--json", "-b", &broker.bootstrap()]).args(arguments);
    program.arg("--store").arg(shop.path())
}

async fn set(broker: &DevBroker, shop: &Shop, to: &str, yes: bool) -> Finished {
    let mut program = orders(broker, shop, &["positions", "set", TOPIC, "0", to, "--reason", "a test"]);
    if yes {
        program = program.arg("--yes");
    }
    run(program).await
}

async fn list(broker: &DevBroker, shop: &Shop) -> Vec<Value> {
    ndjson::parse(run(orders(broker, shop, &["positions", "list"])).await.ok().stdout.lines())
}

async fn start(
    broker: &DevBroker,
    shop: &Shop,
    log: &Log,
) -> (Control, tokio::task::JoinHandle<orderflow::Result<Summary>>) {
    let builder = InventoryConsumer::builder(&config(broker)).store(shop.store()).observe(log.observer());
    let consumer = builder.build().await.unwrap();
    (consumer.control(), tokio::spawn(consumer.run(std::future::pending())))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_position_is_moved_by_command_with_a_reason_and_a_warning_of_what_comes_again() {
    let (broker, shop, log) = (broker(1).await, Shop::new(), Log::default());
    write(&broker, 0, &entries(0..10));
    write(&broker, 0, &nameless(10..15));
    shop.settle(&config(&broker), &log).await.unwrap();

    let refused = set(&broker, &shop, "8", false).await;
    assert_eq!(refused.code(), Some(1), "{refused}");
    assert!(refused.stderr.contains("2 orders come again and are found to be duplicates"), "{refused}");
    assert!(refused.stderr.contains("5 orders without identity would be applied again"), "{refused}");
    assert_eq!(list(&broker, &shop).await[0]["position"], 15, "nothing was changed");

    let moved = set(&broker, &shop, "8", true).await.ok();
    let row = &ndjson::parse(moved.stdout.lines())[0];
    assert_eq!((&row["position"], &row["first"], &row["reason"]), (&json!(8), &json!(8), &json!("a test")), "{moved}");
    let summary = shop.settle(&config(&broker), &log).await.unwrap();
    assert_eq!((summary.applied, summary.duplicates), (5, 2));
    let again = set(&broker, &shop, "12", false).await;
    assert!(again.stderr.contains("3 orders without identity would be applied again"), "each place once: {again}");
    shop.assert_holds(20, 2).await;
    broker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_position_goes_to_the_first_offset_the_last_or_a_time_and_never_outside_the_log() {
    let (broker, shop, log) = (broker(1).await, Shop::new(), Log::default());
    write(&broker, 0, &entries(0..10));
    shop.settle(&config(&broker), &log).await.unwrap();
    write(&broker, 0, &entries(10..20));
    let latest = set(&broker, &shop, "latest", false).await.ok();
    assert!(latest.stderr.contains("10 offsets in between are never read"), "{latest}");
    assert_eq!(list(&broker, &shop).await[0]["position"], 20);
    set(&broker, &shop, "earliest", false).await.ok();
    assert_eq!(list(&broker, &shop).await[0]["position"], 0);
    // The records of a batch are a millisecond apart, from 2023-11-14T22:13:20Z on.
    set(&broker, &shop, "2023-11-14T22:13:20.004Z", false).await.ok();
    assert_eq!(list(&broker, &shop).await[0]["position"], 4);
    let outside = set(&broker, &shop, "21", true).await;
    assert_eq!(outside.code(), Some(1), "{outside}");
    assert!(outside.stderr.contains("0 to 20"), "{outside}");
    assert_eq!(set(&broker, &shop, "yesterday", true).await.code(), Some(2));
    assert_eq!(list(&broker, &shop).await[0]["position"], 4);
    broker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_a_consumer_holds_the_store_positions_are_listed_and_not_set() {
    let (broker, shop, log) = (broker(2).await, Shop::new(), Log::default());
    write(&broker, 0, &entries(0..10));
    let (control, consumer) = start(&broker, &shop, &log).await;
    settled(&control, 10).await;
    let rows = list(&broker, &shop).await;
    assert_eq!((&rows[0]["position"], &rows[0]["reason"]), (&json!(10), &json!("auto.offset.reset=earliest")));
    let refused = set(&broker, &shop, "0", true).await;
    assert_eq!(refused.code(), Some(1), "{refused}");
    let held = format!("process {} holds the store", std::process::id());
    assert!(refused.stderr.contains(&held), "{refused}");
    assert_eq!(list(&broker, &shop).await[0]["position"], 10);
    control.drain();
    consumer.await.unwrap().unwrap();
    let missing = orders(&broker, &Shop::new(), &["positions", "set", TOPIC, "0", "0", "--reason", "r"]);
    assert_eq!(run(missing).await.code(), Some(2), "a store that does not exist");
    broker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_offset_that_was_reset_from_outside_is_told_with_the_command_and_changes_nothing() {
    let (broker, shop, log) = (broker(1).await, Shop::new(), Log::default());
    write(&broker, 0, &entries(0..10));
    let consume = || {
        let program = example::example("inventory_consumer").args(["-e", "-b", &broker.bootstrap(), "--store"]);
        run(program.arg(shop.path()))
    };
    assert!(!consume().await.ok().stderr.contains("positions set"));
    assert!(!consume().await.ok().stderr.contains("positions set"), "our own commit is no reset");
    commit_from_outside(&broker, "inventory", 0, 4).await;
    let told = consume().await.ok();
    assert!(told.stderr.contains("`orders positions set inventory_orders 0 4 --reason R --store W`"), "{told}");
    assert!(told.stderr.contains("applied 0, duplicates 0"), "{told}");
    shop.assert_holds(10, 0).await;
    drop(log);
    broker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unclean_election_stops_the_partition_and_the_named_command_leads_out() {
    let (broker, shop, log) = (broker(2).await, Shop::new(), Log::default());
    write(&broker, 0, &entries(0..10));
    write(&broker, 0, &entries(10..20));
    let (control, consumer) = start(&broker, &shop, &log).await;
    settled(&control, 20).await;
    broker.truncate(TOPIC, 0, 10).unwrap();
    write(&broker, 0, &entries(50..80));
    let health = until_async("the partition stops", SOON, async || {
        Some(control.health().to_string()).filter(|health| health.contains("orders positions set"))
    });
    let health = health.await;
    assert!(health.contains("10 offsets that were read before are gone"), "{health}");
    write(&broker, 1, &entries(100..105));
    settled(&control, 25).await;
    control.drain();
    consumer.await.unwrap().unwrap();

    let consume = example::example("inventory_consumer").args(["-e", "-b", &broker.bootstrap(), "--store"]);
    let refused = run(consume.arg(shop.path())).await;
    assert_eq!(refused.code(), Some(1), "{refused}");
    assert!(refused.stderr.contains("orders positions set inventory_orders 0 OFFSET"), "{refused}");
    set(&broker, &shop, "10", false).await.ok();
    assert_eq!(shop.settle(&config(&broker), &log).await.unwrap().applied, 30);
    shop.assert_holds(55, 0).await;
    broker.shutdown().await;
}

#[tokio::test]
async fn a_position_beyond_the_logs_end_is_no_end_that_is_reached() {
    let (one, other) = (broker(1).await, broker(1).await);
    let (shop, log) = (Shop::new(), Log::default());
    write(&one, 0, &entries(0..10));
    // Without an epoch there is only the offset to tell that the log is another one.
    let builder = InventoryConsumer::builder(&config(&one).set("auto.offset.reset", "latest").unwrap());
    builder.store(shop.store()).until_end().build().await.unwrap().run(std::future::pending()).await.unwrap();
    let error = shop.settle(&config(&other), &log).await;
    match error {
        // Another cluster's topic has another identity: its positions are its own.
        Ok(summary) => assert_eq!(summary.settled(), 0),
        Err(error) => panic!("{error}"),
    }
    one.truncate(TOPIC, 0, 0).unwrap();
    let error = shop.settle(&config(&one), &log).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::OffsetOutOfRange, "{error}");
    assert!(error.to_string().contains("orders positions set"), "{error}");
    one.shutdown().await;
    other.shutdown().await;
}

#[tokio::test]
async fn stale_and_early_leader_epochs_are_looked_up_and_read_on() {
    let (broker, shop, log) = (broker(2).await, Shop::new(), Log::default());
    let refusals = [KafkaError::FencedLeaderEpoch, KafkaError::UnknownLeaderEpoch].map(|error| {
        broker.install(Rule::on(ApiKey::Fetch).topic(TOPIC).partition(0).skip(1).times(2).then(Verdict::Error(error)))
    });
    let asked = Rule::on(ApiKey::OffsetForLeaderEpoch).times(2).then(Verdict::Error(KafkaError::FencedLeaderEpoch));
    let asked = broker.install(asked);
    let (control, consumer) = start(&broker, &shop, &log).await;
    for round in 0..5 {
        write(&broker, 0, &entries(round * 10..round * 10 + 10));
        settled(&control, round as u64 * 10 + 10).await;
        broker.bump_epoch(TOPIC, 0).unwrap();
    }
    assert_eq!(refusals.map(|rule| rule.applied()), [2, 2]);
    assert_eq!(asked.applied(), 2);
    assert_eq!(log.order_ids("applied"), ids(0..50));
    control.drain();
    consumer.await.unwrap().unwrap();
    shop.assert_holds(50, 0).await;
    broker.shutdown().await;
}
