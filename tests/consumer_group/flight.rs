//! The flight recorder of whole runs: what was recorded is done again by the same machines.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use orderflow::broker::{DevBroker, Rule, Verdict};
use orderflow::config::ClientConfig;
use orderflow::consumer::{Concurrency, Control, Delivered, DeliveryConsumer, Failure, InventoryConsumer, Outcome};
use orderflow::flight::replay::{Replay, emit_test, replay};
use orderflow::order::{Customer, DeliveryOrder, InventoryOrder, Order};
use orderflow::producer::DeliveryProducer;
use orderflow::store::RedbDeliveries;
use orderflow::wire::kafka_error::KafkaError;
use orderflow::wire::message::ApiKey;

use crate::consumer_support::*;
use crate::member::*;
use crate::support::wait::until_async;

fn again(file: &Path) -> Replay {
    replay(std::fs::read(file).unwrap().as_slice()).unwrap()
}

fn at<O: Order>(order: &Delivered<O>) -> (i32, i64) {
    let place = order.place();
    (place.partition.unwrap(), place.offset.unwrap())
}

/// Everything was done again, and there was something to do again.
fn assert_same(replay: &Replay, at_least: usize) {
    assert_eq!(replay.differences().count(), 0, "{replay}");
    assert!(replay.same() >= at_least, "{} steps: {replay}", replay.same());
}

fn has(replay: &Replay, machine: &str, words: &str) -> bool {
    let tells = |text: &str| text.contains(words);
    replay.steps.iter().any(|step| step.machine.starts_with(machine) && (tells(&step.event) || tells(&step.effects)))
}

fn recordings(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "jsonl"));
    files.sort();
    files
}

async fn recorded(folder: &Path, count: usize) -> PathBuf {
    let look = async || {
        let files = recordings(folder);
        let last = files.last().filter(|_| files.len() == count)?;
        // The last line of a file that is whole ends.
        std::fs::read(last).ok().filter(|bytes| bytes.last() == Some(&b'\n')).map(|_| last.clone())
    };
    until_async("as many recordings are written", SOON, look).await
}

#[tokio::test]
async fn a_fence_writes_what_led_to_it_and_the_same_machines_do_it_again_with_a_rebalance() {
    for (protocol, machine, api) in
        [("consumer", "next_generation#1", ApiKey::ConsumerGroupHeartbeat), ("classic", "classic#1", ApiKey::Heartbeat)]
    {
        let (broker, folder) = (broker(2).await, tempfile::tempdir().unwrap());
        let flights = folder.path().to_str().unwrap();
        let handed = Handed::default();
        write(&broker, 0, &entries(0..10));
        let settings = [("group.protocol", protocol), ("flight.dir", flights)];
        let first = Member::start(&broker, "first", &handed, None, &settings).await;
        first.owns(2).await;
        let second = Member::start(&broker, "second", &handed, None, &[("group.protocol", protocol)]).await;
        second.owns(1).await;
        first.owns(1).await;
        second.stop().await;
        first.owns(2).await;
        let fault = broker.install(Rule::on(api).times(1).then(Verdict::Error(KafkaError::UnknownMemberId)));
        until_async("the member is fenced", SOON, async || (fault.applied() == 1).then_some(())).await;
        let replay = again(&recorded(folder.path(), 1).await);
        assert_eq!(replay.header.because, "fence");
        assert_same(&replay, 10);
        for words in ["ASSIGNED", "REVOKED", "LOST", "UnknownMemberId"] {
            assert!(has(&replay, machine, words), "{protocol}: {words}: {replay}");
        }
        first.stop().await;
        broker.shutdown().await;
    }
}

#[tokio::test]
async fn retries_breaker_and_positions_of_a_run_are_done_again() {
    for concurrency in [Concurrency::InOrder, Concurrency::PerKey(4)] {
        let (broker, folder) = (broker(2).await, tempfile::tempdir().unwrap());
        write(&broker, 0, &entries(0..500));
        write(&broker, 1, &entries(500..1000));
        let failing = Arc::new(AtomicU32::new(20));
        let tries = failing.clone();
        let handler = move |order: Delivered<InventoryOrder>| {
            let (partition, offset) = at(&order);
            let fails = offset % 50 == 7 && order.attempt() < 3;
            let is_bad = partition == 1 && offset < 200;
            let left =
                is_bad.then(|| tries.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).ok());
            async move {
                match left {
                    Some(Some(_)) => Err(Failure::permanent("a bad deployment")),
                    _ if fails => Err(Failure::retriable("away")),
                    _ => Ok(Outcome::Done),
                }
            }
        };
        let settings =
            [("breaker.consecutive", "5"), ("breaker.probe.backoff.ms", "20"), ("breaker.probe.backoff.max.ms", "50")];
        let config = settings.into_iter().fold(config(&broker), |config, (key, value)| config.set(key, value).unwrap());
        let builder = InventoryConsumer::builder(&config).group(GROUP).handler(handler).concurrency(concurrency);
        let consumer = builder.until_end().build().await.unwrap();
        let control = consumer.control();
        // A breaker that opens fails a run until the end; one that probes fast goes on.
        let run = tokio::spawn(consumer.run(std::future::pending()));
        drop(tokio::time::timeout(SOON, run).await.unwrap().unwrap());
        assert!(failing.load(Ordering::SeqCst) < 20);
        let file = folder.path().join("run.jsonl");
        control.write_flight(Some(&file)).unwrap();
        let replay = again(&file);
        assert_same(&replay, 20);
        for (machine, words) in
            [("retry", "Failed(None)"), ("retry", "HND-PERMANENT"), ("breaker/1", "Hold"), ("ledger/0", "taken")]
        {
            assert!(has(&replay, machine, words), "{concurrency:?}: {machine}: {words}: {replay}");
        }
        assert!(replay.steps.iter().filter(|step| step.machine.starts_with("ledger")).count() < 40, "{replay}");
        broker.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_stall_writes_a_file_once_and_not_each_second() {
    let (broker, folder) = (broker(1).await, tempfile::tempdir().unwrap());
    let (handed, gate) = (Handed::default(), Gate::new("first", "2"));
    write(&broker, 0, &entries(0..5));
    let settings = [("flight.dir", folder.path().to_str().unwrap())];
    let first = Member::start(&broker, "first", &handed, Some(&gate), &settings).await;
    handed_out(&handed, 3).await;
    tokio::time::sleep(Duration::from_secs(200)).await;
    let files = recordings(folder.path());
    assert_eq!(files.len(), 1, "{files:?}");
    let replay = again(&files[0]);
    assert_eq!(replay.header.because, "stall");
    assert_same(&replay, 3);
    assert!(has(&replay, "", r#"{"concern":"Standstill(Position(0))"}"#), "{replay}");
    assert!(has(&replay, "ledger/0", "taken: [(0, 3)], until: 3, settled: [(0, 2)]"), "{replay}");
    gate.open();
    first.stop().await;
    broker.shutdown().await;
}

/// Words of an order and its customer that no recording may have.
const SECRETS: [&str; 9] =
    ["Ada", "Lovelace", "ada@example.com", "Ockham", "SW1A", "order-4711", "product-0815", "checkout:97537", "+4420"];

fn secret_orders() -> Vec<DeliveryOrder> {
    let customer = Customer::default().with_name("Ada Lovelace").unwrap();
    let customer = customer.with_email("ada@example.com").unwrap().with_phone("+44207946").unwrap();
    let order = |n: usize| DeliveryOrder::new("order-4711", &format!("product-0815-{n}"), 3, "5/30/2023").unwrap();
    let named =
        |n: usize| order(n).with_customer(customer.clone()).with_identity(format!("checkout:97537-{n}")).unwrap();
    (0..60).map(named).collect()
}

async fn publish(config: &ClientConfig) {
    let producer = DeliveryProducer::connect(config).await.unwrap();
    for order in secret_orders() {
        producer.send(&order).await.unwrap();
    }
    producer.close().await.unwrap();
}

fn assert_discreet(control: &Control, file: &Path, secrets: &[&str]) {
    control.write_flight(Some(file)).unwrap();
    let recording = std::fs::read_to_string(file).unwrap();
    assert!(recording.lines().count() > 10, "{recording}");
    for secret in secrets {
        assert!(!recording.contains(secret), "{secret} is in the recording: {recording}");
        let digits: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
        assert!(!recording.contains(&digits), "{secret} is in the recording: {recording}");
    }
    assert_eq!(again(file).differences().count(), 0);
}

#[tokio::test]
async fn nothing_of_an_order_or_its_customer_is_in_a_recording() {
    let (broker, folder) =
        (DevBroker::builder().topic("delivery_orders", 2).start().await.unwrap(), tempfile::tempdir().unwrap());
    let config = config(&broker);
    publish(&config).await;
    for (ids, secrets) in
        [("hashed", &SECRETS[..]), ("plain", &["Ada", "ada@example.com", "product-0815", "checkout:97537"][..])]
    {
        let handler = |order: Delivered<DeliveryOrder>| async move {
            let name = order.value().customer().and_then(Customer::name).unwrap_or_default().to_owned();
            match (at(&order).1 % 4, order.attempt()) {
                (0, 1) => Err(Failure::retriable(format!("{name} does not answer"))),
                (1, _) => Ok(Outcome::Reject(format!("{name} is unknown").into())),
                (2, _) => Ok(Outcome::Refuse(format!("NO-{name}").into())),
                _ => Ok(Outcome::Done),
            }
        };
        let config = config.clone().set("flight.ids", ids).unwrap();
        let builder = DeliveryConsumer::builder(&config).group(ids).handler(handler).until_end();
        let consumer = builder.build().await.unwrap();
        let control = consumer.control();
        consumer.run(std::future::pending()).await.unwrap();
        assert_discreet(&control, &folder.path().join(ids), secrets);
        let recording = std::fs::read_to_string(folder.path().join(ids)).unwrap();
        assert_eq!(recording.contains(r#""key":"order-4711""#), ids == "plain");
    }
    let store = RedbDeliveries::open(folder.path().join("delivery.redb"), "delivery").unwrap();
    let consumer = DeliveryConsumer::builder(&config).store(store).until_end().build().await.unwrap();
    let control = consumer.control();
    assert_eq!(consumer.run(std::future::pending()).await.unwrap().applied, 60);
    assert_discreet(&control, &folder.path().join("store"), &SECRETS);
    broker.shutdown().await;
}

#[tokio::test]
async fn a_position_that_somebody_else_moves_writes_what_led_to_it() {
    let (broker, shop, folder) = (broker(1).await, Shop::new(), tempfile::tempdir().unwrap());
    let config = config(&broker).set("flight.dir", folder.path().to_str().unwrap()).unwrap();
    write(&broker, 0, &nameless(0..10));
    write_dead(&broker);
    let store = faulty::FaultyStore::new(shop.store());
    let consumer = InventoryConsumer::builder(&config).store(store.clone()).build().await.unwrap();
    let control = consumer.control();
    let run = tokio::spawn(consumer.run(std::future::pending()));
    settled(&control, 11).await;
    store.fail([faulty::Fault::Overtake]);
    write(&broker, 0, &nameless(10..20));
    settled(&control, 21).await;
    let replay = again(&recorded(folder.path(), 1).await);
    assert_eq!(replay.header.because, "fence");
    assert_same(&replay, 5);
    // The relay of what was set aside is a machine as well.
    for words in ["Read(Mark", "Rest"] {
        assert!(has(&replay, "outbox#", words), "{words}: {replay}");
    }
    control.drain();
    run.await.unwrap().unwrap();
    broker.shutdown().await;
}

/// Writes a record that is no order.
fn write_dead(broker: &DevBroker) {
    let entry = Entry { value: Some(b"{}".to_vec()), ..entry(0, "p0") };
    write(broker, 0, &[entry]);
}

#[tokio::test]
async fn a_panic_of_a_consumers_task_writes_what_led_to_it() {
    let (broker, folder) = (broker(1).await, tempfile::tempdir().unwrap());
    let config = config(&broker).set("flight.dir", folder.path().to_str().unwrap()).unwrap();
    write(&broker, 0, &entries(0..10));
    let handler = |_: Delivered<InventoryOrder>| async { Ok::<_, Failure>(Outcome::Done) };
    let builder = InventoryConsumer::builder(&config).group(GROUP).handler(handler);
    let consumer = builder.observe(|_| panic!("a bug of the test's own")).build().await.unwrap();
    assert!(tokio::spawn(consumer.run(std::future::pending())).await.unwrap_err().is_panic());
    let replay = again(&recorded(folder.path(), 1).await);
    assert_eq!(replay.header.because, "panic");
    assert!(has(&replay, "next_generation#1", "ASSIGNED"), "{replay}");
    broker.shutdown().await;
}

/// The recording within the text of an emitted test.
fn recording_of(test: &str) -> &str {
    let (_, rest) = test.split_once("r#\"").unwrap();
    rest.split_once("\"#;").unwrap().0
}

#[test]
fn the_test_that_is_emitted_is_the_one_that_compiles_here() {
    let emitted = include_str!("emitted.rs");
    let recording = recording_of(emitted);
    assert_eq!(emit_test(recording, &replay(recording.as_bytes()).unwrap()), emitted);
}
