//! A partition that does not move is told within ten seconds, with its reason.
//!
//! Health has it as well as the log, and both say the way out.
//!
//! Time is virtual. The states that other tests show, and all of them in a table: ARCHITECTURE.md.

use std::time::Duration;

use orderflow::broker::{DevBroker, Installed, Rule, Verdict};
use orderflow::cluster::Cluster;
use orderflow::cluster::admin::{NewTopic, create_topics};
use orderflow::config::ClientConfig;
use orderflow::consumer::{Control, Delivered, Failure, InventoryConsumer, Outcome};
use orderflow::order::InventoryOrder;
use orderflow::wire::kafka_error::KafkaError;
use orderflow::wire::message::ApiKey;
use tokio::task::JoinHandle;

use crate::consumer_support::faulty::FaultyStore;
use crate::consumer_support::*;
use crate::heard::Heard;
use crate::member::*;
use crate::support::wait::until_async;

const LIMIT: Duration = Duration::from_secs(10);

/// Waits until both have these words, ten seconds at most.
async fn told(control: &Control, heard: &Heard, words: &str) {
    let look = async || (control.health().to_string().contains(words) && heard.has(words)).then_some(());
    let looking = until_async("it is told", 2 * LIMIT, look);
    if tokio::time::timeout(LIMIT, looking).await.is_err() {
        panic!("`{words}` is not told: {}; {:#?}", control.health(), heard.lines());
    }
}

/// Waits until nothing is told any more.
async fn ready(control: &Control) {
    let look = async || control.health().is_ready().then_some(());
    let looking = until_async("it is ready", 4 * SOON, look);
    if tokio::time::timeout(3 * SOON, looking).await.is_err() {
        panic!("it is not ready: {}", control.health());
    }
}

/// A consumer whose handler answers so.
async fn run(config: &ClientConfig, answer: Outcome) -> (Control, JoinHandle<orderflow::Result<()>>) {
    let handler = move |_: Delivered<InventoryOrder>| {
        let answer = answer.clone();
        async move { Ok::<_, Failure>(answer) }
    };
    let consumer = InventoryConsumer::builder(config).group(GROUP).handler(handler).build().await.unwrap();
    let control = consumer.control();
    (control, tokio::spawn(async { consumer.run(std::future::pending()).await.map(drop) }))
}

async fn end(control: &Control, run: JoinHandle<orderflow::Result<()>>) {
    control.drain();
    tokio::time::timeout(SOON, run).await.expect("it ends").unwrap().unwrap();
}

fn held(broker: &DevBroker, api: ApiKey) -> Installed {
    broker.install(Rule::on(api).then(Verdict::Hold))
}

/// The broker is silent when it is asked this, or answers with an error.
fn troubled(broker: &DevBroker, api: ApiKey, silent: bool, error: KafkaError) -> Installed {
    if silent { held(broker, api) } else { broker.install(Rule::on(api).then(Verdict::Error(error))) }
}

/// The fault is over, and the consumer goes on by itself until it is ended.
async fn recovers(broker: DevBroker, fault: Installed, (control, run): (Control, JoinHandle<orderflow::Result<()>>)) {
    drop(fault);
    ready(&control).await;
    end(&control, run).await;
    broker.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_pause_is_told_with_what_ends_it() {
    let (broker, heard) = (broker(1).await, Heard::listen());
    let (control, run) = run(&config(&broker), Outcome::Done).await;
    ready(&control).await;
    control.pause();
    told(&control, &heard, "paused").await;
    assert!(control.health().to_string().contains("Control::resume"), "{}", control.health());
    control.resume();
    ready(&control).await;
    end(&control, run).await;
    broker.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn an_order_that_waits_long_for_another_try_is_told() {
    let (broker, heard) = (broker(1).await, Heard::listen());
    write(&broker, 0, &entries(0..3));
    let (control, run) = run(&config(&broker), Outcome::Retry(Duration::from_secs(3600))).await;
    told(&control, &heard, "the handler asks for another try").await;
    run.abort();
    broker.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_keeps_an_order_is_told_with_the_order_long_before_it_costs_the_membership() {
    let (broker, heard) = (broker(1).await, Heard::listen());
    let (handed, gate) = (Handed::default(), Gate::new("first", "2"));
    write(&broker, 0, &entries(0..5));
    let first = Member::start(&broker, "first", &handed, Some(&gate), &[]).await;
    handed_out(&handed, 3).await;
    told(&first.control, &heard, "the handler has had the order at offset 2").await;
    gate.open();
    ready(&first.control).await;
    first.stop().await;
    broker.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_store_that_does_not_answer_is_told() {
    let (broker, heard, shop) = (broker(1).await, Heard::listen(), Shop::new());
    let store = FaultyStore::new(shop.store());
    store.set_open(false);
    tokio::time::resume();
    let consumer = InventoryConsumer::builder(&config(&broker)).store(store.clone()).build().await.unwrap();
    let control = consumer.control();
    let run = tokio::spawn(async { consumer.run(std::future::pending()).await.map(drop) });
    write(&broker, 0, &entries(0..5));
    store.waiting.subscribe().wait_for(|waiting| *waiting > 0).await.unwrap();
    tokio::time::pause();
    told(&control, &heard, "has not answered the transaction").await;
    tokio::time::resume();
    store.set_open(true);
    ready(&control).await;
    end(&control, run).await;
    broker.shutdown().await;
}

/// Two nodes, and two partitions that are each on one of them alone.
async fn unreplicated() -> DevBroker {
    let broker = DevBroker::builder().nodes(2).start().await.unwrap();
    let cluster = Cluster::connect(&broker.config()).await.unwrap();
    let topic = NewTopic { partitions: Some(2), replication: Some(1), ..NewTopic::named(TOPIC) };
    create_topics(&cluster, &[topic]).await.unwrap();
    cluster.close().await;
    broker
}

#[tokio::test(start_paused = true)]
async fn a_consumer_that_starts_while_a_partition_has_no_leader_reads_the_others_and_tells_of_it() {
    let (broker, heard) = (unreplicated().await, Heard::listen());
    for partition in 0..2 {
        write(&broker, partition, &entries(0..10));
    }
    let other = 3 - broker.coordinator(GROUP).unwrap();
    broker.stop(other).await.unwrap();
    let (control, run) = run(&config(&broker), Outcome::Done).await;
    settled(&control, 10).await;
    told(&control, &heard, "no leader").await;
    broker.resume(other).await.unwrap();
    settled(&control, 20).await;
    ready(&control).await;
    end(&control, run).await;
    broker.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_partition_without_a_leader_is_told() {
    let (broker, heard) = (unreplicated().await, Heard::listen());
    let (control, run) = run(&config(&broker), Outcome::Done).await;
    ready(&control).await;
    let coordinator = broker.coordinator(GROUP).unwrap();
    let other = 3 - coordinator;
    // Whether the metadata or the failed fetch says first that the broker is away is chance.
    for _ in 0..5 {
        broker.stop(other).await.unwrap();
        told(&control, &heard, "no leader").await;
        assert!(control.health().to_string().contains("kafka-topics.sh --describe"), "{}", control.health());
        broker.resume(other).await.unwrap();
        ready(&control).await;
    }
    end(&control, run).await;
    broker.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_does_not_answer_a_fetch_is_told() {
    let (broker, heard) = (broker(1).await, Heard::listen());
    let (control, run) = run(&config(&broker), Outcome::Done).await;
    ready(&control).await;
    let fault = held(&broker, ApiKey::Fetch);
    told(&control, &heard, "does not answer a fetch").await;
    recovers(broker, fault, (control, run)).await;
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_keeps_refusing_a_partition_is_told_with_what_it_says() {
    let (broker, heard) = (broker(2).await, Heard::listen());
    let (control, run) = run(&config(&broker), Outcome::Done).await;
    ready(&control).await;
    let rule = Rule::on(ApiKey::Fetch).topic(TOPIC).partition(1);
    let fault = broker.install(rule.then(Verdict::Error(KafkaError::ReplicaNotAvailable)));
    told(&control, &heard, "partition 1 of inventory_orders is not read").await;
    let words = KafkaError::ReplicaNotAvailable.meaning();
    assert!(control.health().to_string().contains(words), "{}", control.health());
    recovers(broker, fault, (control, run)).await;
}

#[tokio::test(start_paused = true)]
async fn a_position_that_is_not_found_is_told_whether_the_answer_is_late_or_bad() {
    for silent in [true, false] {
        let (broker, heard) = (broker(1).await, Heard::listen());
        let fault = troubled(&broker, ApiKey::OffsetFetch, silent, KafkaError::CoordinatorLoadInProgress);
        let (control, run) = run(&config(&broker), Outcome::Done).await;
        let words = if silent { "its position has not been found yet" } else { "its position cannot be read" };
        told(&control, &heard, words).await;
        recovers(broker, fault, (control, run)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_partition_without_a_position_where_the_policy_is_none_is_told_with_the_command() {
    let (broker, heard) = (broker(1).await, Heard::listen());
    let config = config(&broker).set("auto.offset.reset", "none").unwrap();
    let (control, run) = run(&config, Outcome::Done).await;
    told(&control, &heard, "auto.offset.reset is none").await;
    assert!(control.health().to_string().contains("kafka-consumer-groups --group shipping"), "{}", control.health());
    end(&control, run).await;
    broker.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn commits_that_are_refused_or_not_answered_are_told() {
    for silent in [true, false] {
        let (broker, heard) = (broker(1).await, Heard::listen());
        let (control, run) = run(&config(&broker), Outcome::Done).await;
        ready(&control).await;
        let fault = troubled(&broker, ApiKey::OffsetCommit, silent, KafkaError::CoordinatorLoadInProgress);
        write(&broker, 0, &entries(0..5));
        settled(&control, 5).await;
        let words = if silent { "wait to be committed" } else { "cannot be committed" };
        told(&control, &heard, words).await;
        recovers(broker, fault, (control, run)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_coordinator_that_refuses_heartbeats_or_is_silent_is_told() {
    for silent in [true, false] {
        let (broker, heard) = (broker(1).await, Heard::listen());
        let (control, run) = run(&config(&broker).set("heartbeat.interval.ms", "500").unwrap(), Outcome::Done).await;
        ready(&control).await;
        let fault = troubled(&broker, ApiKey::ConsumerGroupHeartbeat, silent, KafkaError::NotCoordinator);
        told(&control, &heard, "the coordinator of group shipping").await;
        recovers(broker, fault, (control, run)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_release_that_waits_for_an_order_in_hand_is_told_with_the_partition_and_the_order() {
    for protocol in PROTOCOLS {
        let (broker, heard) = (broker(2).await, Heard::listen());
        let handed = Handed::default();
        let gates = [Gate::new("first", "0"), Gate::new("first", "100")];
        write(&broker, 0, &entries(0..10));
        write(&broker, 1, &entries(100..110));
        let settings = [("group.protocol", protocol)];
        let first = Member::start_gated(&broker, "first", &handed, &gates, &settings).await;
        handed_out(&handed, 2).await;
        let second = Member::start(&broker, "second", &handed, None, &settings).await;
        until_joined(&broker, 2).await;
        told(&first.control, &heard, "are to go to other members of group shipping").await;
        let health = first.control.health().to_string();
        assert!(health.contains("the handler has had the order at offset 0"), "{protocol}: {health}");
        assert!(health.contains("`orders status -g shipping`"), "{protocol}: {health}");
        gates.iter().for_each(Gate::open);
        ready(&first.control).await;
        ready(&second.control).await;
        first.stop().await;
        second.stop().await;
        broker.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_group_that_stays_between_two_generations_is_told() {
    let (broker, heard) = (broker(2).await, Heard::listen());
    let handed = Handed::default();
    let settings = [("group.protocol", "classic"), ("session.timeout.ms", "45000")];
    let first = Member::start(&broker, "first", &handed, None, &settings).await;
    first.owns(2).await;
    ready(&first.control).await;
    let fault = held(&broker, ApiKey::SyncGroup);
    let second = Member::start(&broker, "second", &handed, None, &settings).await;
    told(&first.control, &heard, "is between two generations").await;
    drop(fault);
    ready(&first.control).await;
    ready(&second.control).await;
    first.stop().await;
    second.stop().await;
    broker.shutdown().await;
}
