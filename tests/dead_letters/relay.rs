//! A store's dead letters on their topic: byte for byte, at least once, and kept while it cannot be written.

use orderflow::ErrorCode;
use orderflow::broker::{DevBroker, Rule, Verdict};
use orderflow::cluster::admin::{NewTopic, create_topics};
use orderflow::cluster::{Cluster, Missing};
use orderflow::config::ClientConfig;
use orderflow::consumer::{InventoryConsumer, Summary};
use orderflow::store::{Query, Row, StoreReader, Text};
use orderflow::wire::kafka_error::KafkaError;
use orderflow::wire::message::ApiKey;

use crate::consumer_support::faulty::{Fault, FaultyStore};
use crate::consumer_support::{Log, SOON, Shop, TOPIC, broker, config, entries, settled, write as write_orders};
use crate::log::{Raw, read, write};
use crate::support::wait::until_async;

const DEAD: &str = "inventory_orders-dlt";

/// Not an order, with headers that only bytes can keep.
fn hostile() -> Raw {
    let raw =
        Raw { key: Some(b"\xff\0key".to_vec()), value: Some(b"{\"quantity\":\xff".to_vec()), headers: Vec::new() };
    raw.with("twice", Some(b"1"))
        .with("null", None)
        .with("twice", Some(b"2"))
        .with("", Some(b"\xfe"))
        .with("z", Some(b""))
}

async fn settle(shop: &Shop, config: &ClientConfig) -> orderflow::Result<Summary> {
    shop.settle(config, &Log::default()).await
}

#[tokio::test]
async fn a_dead_letter_is_on_its_topic_byte_for_byte_with_its_cause_and_origin_behind() {
    let (broker, shop) = (broker(3).await, Shop::new());
    write_orders(&broker, 2, &entries(0..5));
    write(&broker, TOPIC, 2, &[hostile(), Raw { key: None, ..Raw::default() }]);
    let summary = settle(&shop, &config(&broker)).await.unwrap();
    assert_eq!((summary.applied, summary.dead_letters), (5, 2));
    // Made with as many partitions as the topic has.
    assert!(broker.offsets(DEAD, 2).is_ok() && broker.offsets(DEAD, 3).is_err());
    let letters = read(&broker, DEAD, 2);
    assert_eq!(letters.len(), 2, "{letters:?}");
    let (bytes, whole) = (hostile(), &letters[0]);
    assert_eq!((&whole.key, &whole.value), (&bytes.key, &bytes.value));
    assert_eq!(whole.headers[..bytes.headers.len()], bytes.headers);
    let said: Vec<_> = whole.headers[bytes.headers.len()..].iter().map(|(name, _)| &name[..]).collect();
    assert_eq!(said.len(), 12, "{whole:?}");
    for (name, text) in [
        ("dead-letter-code", "ORD-JSON"),
        ("dead-letter-topic", TOPIC),
        ("dead-letter-partition", "2"),
        ("dead-letter-offset", "5"),
        ("dead-letter-timestamp", "2023-11-14T22:13:20.000Z"),
        ("dead-letter-group", "inventory"),
        ("dead-letter-attempts", "1"),
        ("dead-letter-version", "1"),
    ] {
        assert_eq!(whole.header(name).as_deref(), Some(text), "{name}");
    }
    let tombstone = &letters[1];
    assert_eq!((&tombstone.key, &tombstone.value), (&None, &None));
    assert_eq!(tombstone.header("dead-letter-offset").as_deref(), Some("6"));
    // What is relayed is gone from the outbox.
    settle(&shop, &config(&broker)).await.unwrap();
    assert_eq!(read(&broker, DEAD, 2).len(), 2);
    shop.assert_holds(5, 0).await;
    broker.shutdown().await;
}

#[tokio::test]
async fn a_record_that_fails_again_keeps_its_first_origin_and_its_attempts_add_up() {
    let (broker, shop) = (broker(1).await, Shop::new());
    write(&broker, TOPIC, 0, &[hostile()]);
    settle(&shop, &config(&broker)).await.unwrap();
    let first = read(&broker, DEAD, 0).remove(0);
    // Its copy comes through the dead-letter topic, read by another group.
    let folder = tempfile::tempdir().unwrap();
    let store = orderflow::store::RedbInventory::open(folder.path().join("again.redb"), "again").unwrap();
    let consumer = InventoryConsumer::builder(&config(&broker)).topic(DEAD).store(store).until_end();
    consumer.build().await.unwrap().run(std::future::pending()).await.unwrap();
    let again = read(&broker, "inventory_orders-dlt-dlt", 0).remove(0);
    let kept = ["topic", "partition", "offset", "timestamp", "group", "first-failed"];
    for name in kept.map(|name| format!("dead-letter-{name}")) {
        assert_eq!(again.header(&name), first.header(&name), "{name}");
    }
    assert_eq!(again.header("dead-letter-attempts").as_deref(), Some("2"));
    assert_eq!((&again.key, &again.value), (&first.key, &first.value));
    assert_eq!(again.headers.len(), first.headers.len(), "none is there twice");
    broker.shutdown().await;
}

#[tokio::test]
async fn the_spring_dialect_has_its_numbers_in_binary() {
    let (broker, shop) = (broker(1).await, Shop::new());
    write(&broker, TOPIC, 0, &[Raw::of("fine"), Raw::of("no order")]);
    settle(&shop, &config(&broker).set("dead_letters.headers", "spring").unwrap()).await.unwrap();
    let letter = read(&broker, DEAD, 0).remove(1);
    let bytes =
        |name: &str| letter.headers.iter().find(|(known, _)| known == name.as_bytes()).unwrap().1.clone().unwrap();
    assert_eq!(bytes("kafka_dlt-original-topic"), TOPIC.as_bytes());
    assert_eq!(bytes("kafka_dlt-original-partition"), 0_i32.to_be_bytes());
    assert_eq!(bytes("kafka_dlt-original-offset"), 1_i64.to_be_bytes());
    assert_eq!(bytes("kafka_dlt-original-timestamp"), 1_700_000_000_001_i64.to_be_bytes());
    assert_eq!(bytes("kafka_dlt-original-consumer-group"), b"inventory");
    assert_eq!(bytes("kafka_dlt-exception-fqcn"), b"ORD-JSON");
    assert_eq!(bytes("retry_topic-attempts"), 1_i32.to_be_bytes());
    broker.shutdown().await;
}

fn unwritable(broker: &DevBroker) -> orderflow::broker::Installed {
    broker.create_topic(DEAD, 2, &[]).unwrap();
    let denied = Verdict::Error(KafkaError::TopicAuthorizationFailed);
    broker.install(Rule::on(ApiKey::Produce).topic(DEAD).then(denied))
}

#[tokio::test]
async fn while_the_topic_cannot_be_written_orders_go_on_and_health_says_why_until_it_can() {
    let (broker, shop) = (broker(2).await, Shop::new());
    let denied = unwritable(&broker);
    write(&broker, TOPIC, 0, &[hostile()]);
    let consumer = InventoryConsumer::builder(&config(&broker)).store(shop.store()).build().await.unwrap();
    let control = consumer.control();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let run = tokio::spawn(consumer.run(async { drop(stopped.await) }));
    let told = |part: &'static str| {
        let control = control.clone();
        async move {
            let said = async || control.health().to_string().contains(part).then_some(());
            until_async("health says it", SOON, said).await;
        }
    };
    told("1 rows of the outbox wait to be relayed").await;
    write_orders(&broker, 1, &entries(0..10));
    settled(&control, 11).await;
    assert!(read(&broker, DEAD, 0).is_empty());
    drop(denied);
    until_async("it is relayed", SOON, async || (read(&broker, DEAD, 0).len() == 1).then_some(())).await;
    until_async("health is well", SOON, async || control.health().is_ready().then_some(())).await;
    stop.send(()).unwrap();
    run.await.unwrap().unwrap();
    shop.assert_holds(10, 0).await;
    broker.shutdown().await;
}

#[tokio::test]
async fn what_is_left_at_the_end_is_told_and_relayed_by_the_next_run() {
    let (broker, shop) = (broker(2).await, Shop::new());
    let denied = unwritable(&broker);
    write(&broker, TOPIC, 0, &[hostile(), hostile()]);
    let hurried = config(&broker).set("shutdown.timeout.ms", "700").unwrap();
    let error = settle(&shop, &hurried).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::Timeout, "{error}");
    assert!(error.to_string().contains("2 rows of the outbox were not relayed"), "{error}");
    assert!(error.to_string().contains("TOPIC_AUTHORIZATION_FAILED"), "{error}");
    drop(denied);
    assert_eq!(settle(&shop, &config(&broker)).await.unwrap().settled(), 0);
    assert_eq!(read(&broker, DEAD, 0).len(), 2);
    broker.shutdown().await;
}

#[tokio::test]
async fn a_lost_answer_writes_no_second_copy_and_a_crash_at_most_one_with_the_same_name() {
    let (broker, shop) = (broker(1).await, Shop::new());
    broker.create_topic(DEAD, 1, &[]).unwrap();
    let _lost = broker.install(Rule::on(ApiKey::Produce).topic(DEAD).times(1).then(Verdict::CutAfter));
    write(&broker, TOPIC, 0, &[hostile()]);
    settle(&shop, &config(&broker)).await.unwrap();
    assert_eq!(read(&broker, DEAD, 0).len(), 1);
    broker.shutdown().await;
}

#[tokio::test]
async fn a_store_that_is_down_is_no_reason_for_a_dead_letter_and_one_of_its_own_is_relayed_all_the_same() {
    let (broker, shop) = (broker(1).await, Shop::new());
    write_orders(&broker, 0, &entries(0..10));
    write(&broker, TOPIC, 0, &[hostile()]);
    let store = FaultyStore::new(shop.store());
    store.fail([Fault::Fail, Fault::LoseAnswer].into_iter().cycle().take(12));
    let settings = config(&broker).set("handler.retry.attempts", "2").unwrap();
    let consumer = InventoryConsumer::builder(&settings).store(store).until_end().build().await.unwrap();
    let summary = consumer.run(std::future::pending()).await.unwrap();
    assert_eq!((summary.applied, summary.dead_letters, summary.retried), (10, 1, 12));
    let letters = read(&broker, DEAD, 0);
    assert_eq!((letters.len(), letters[0].header("dead-letter-attempts").as_deref()), (1, Some("1")));
    shop.assert_holds(10, 0).await;
    broker.shutdown().await;
}

#[tokio::test]
async fn a_refused_order_is_announced_to_whoever_ordered() {
    let (broker, shop) = (broker(2).await, Shop::new());
    let order = r#"{"order_id":"7","product_id":"02758","quantity":5,"type":"inventory","timestamp":"5/30/2023","movement":"issue"}"#;
    write(&broker, TOPIC, 1, &[Raw { key: Some(b"02758".to_vec()), ..Raw::of(order) }]);
    assert_eq!(settle(&shop, &config(&broker)).await.unwrap().refused, 1);
    let told: Vec<Raw> = (0..2).flat_map(|partition| read(&broker, orderflow::outbox::REFUSALS, partition)).collect();
    assert_eq!(told.len(), 1);
    let event: serde_json::Value = serde_json::from_slice(told[0].value.as_deref().unwrap()).unwrap();
    assert_eq!((&event["code"], &event["order"]["order_id"]), (&"STK-INSUFFICIENT".into(), &"7".into()));
    assert_eq!((&event["partition"], &event["offset"], &event["version"]), (&1.into(), &0.into(), &1.into()));
    assert!(told[0].header("idempotency-key").unwrap().starts_with("refusal:"));
    assert!(broker.offsets(DEAD, 0).is_err(), "a refusal is no dead letter");
    broker.shutdown().await;
}

/// Three partitions on two nodes, each on one of them alone. Returns one that the group's coordinator leads.
async fn unreplicated(broker: &DevBroker) -> i32 {
    let cluster = Cluster::connect(&broker.config()).await.unwrap();
    let topic = NewTopic { partitions: Some(3), replication: Some(1), ..NewTopic::named(TOPIC) };
    create_topics(&cluster, &[topic]).await.unwrap();
    let view = cluster.topic(TOPIC, Missing::Refuse, SOON).await.unwrap();
    cluster.close().await;
    let stays = broker.coordinator("inventory");
    let leads = view.partitions.iter().position(|partition| partition.leader == stays);
    leads.unwrap().try_into().unwrap()
}

#[tokio::test]
async fn while_it_is_not_known_how_many_partitions_the_topic_has_its_dead_letter_topic_is_not_made() {
    let (broker, shop) = (DevBroker::builder().nodes(2).start().await.unwrap(), Shop::new());
    let live = unreplicated(&broker).await;
    let consumer = InventoryConsumer::builder(&config(&broker)).store(shop.store()).build().await.unwrap();
    let control = consumer.control();
    let run = tokio::spawn(consumer.run(std::future::pending()));
    until_async("it is ready", SOON, async || control.health().is_ready().then_some(())).await;
    let other = 3 - broker.coordinator("inventory").unwrap();
    broker.stop(other).await.unwrap();
    // What is asked for a second time was answered once since.
    let asked = broker.install(Rule::on(ApiKey::Metadata).then(Verdict::Pass));
    tokio::time::timeout(SOON, asked.fallen(2)).await.unwrap();
    write(&broker, TOPIC, live, &[hostile()]);
    let words = "1 rows of the outbox wait to be relayed: NET-TIMEOUT: the topic is not there, and how many";
    let told = async || {
        assert!(broker.offsets(DEAD, 0).is_err(), "made with a number of partitions that nobody knows");
        control.health().to_string().contains(words).then_some(())
    };
    until_async("health says what it waits for", SOON, told).await;
    broker.resume(other).await.unwrap();
    until_async("it is relayed", SOON, async || (read(&broker, DEAD, live).len() == 1).then_some(())).await;
    assert!(broker.offsets(DEAD, 2).is_ok() && broker.offsets(DEAD, 3).is_err());
    control.drain();
    run.await.unwrap().unwrap();
    broker.shutdown().await;
}

#[tokio::test]
async fn what_is_too_large_for_its_topic_is_told_there_without_its_record_which_the_store_keeps() {
    let large = || Raw { value: Some(vec![b'x'; 5_000]), ..hostile() };
    let small_requests = |broker: &DevBroker| config(broker).set("max.request.size", "3000").unwrap();
    for by_the_topic in [true, false] {
        let (broker, shop) = (broker(1).await, Shop::new());
        let settings = if by_the_topic { config(&broker) } else { small_requests(&broker) };
        if by_the_topic {
            broker.create_topic(DEAD, 1, &[("max.message.bytes", "3000")]).unwrap();
        }
        write(&broker, TOPIC, 0, &[large(), hostile()]);
        let summary = settle(&shop, &settings).await.expect("nothing is left undone");
        assert_eq!(summary.dead_letters, 2);
        let letters = read(&broker, DEAD, 0);
        let is_brief = |raw: &&Raw| raw.header("dead-letter-left-out").is_some();
        let brief = letters.iter().find(is_brief).unwrap_or_else(|| panic!("{letters:?}"));
        let whole = letters.iter().find(|raw| !is_brief(raw)).unwrap_or_else(|| panic!("{letters:?}"));
        assert_eq!((letters.len(), &brief.key, &brief.value, brief.headers.len()), (2, &None, &None, 13));
        assert_eq!(brief.header("dead-letter-offset").as_deref(), Some("0"));
        assert_eq!(brief.header("dead-letter-left-out").as_deref(), Some("5023"));
        assert_eq!(whole.value, hostile().value);
        let id = brief.header("dead-letter-id").unwrap().parse().unwrap();
        let kept = StoreReader::open(&shop.path()).await.unwrap().ask(Query::DeadLetter { id }).rows().await.unwrap();
        let Row::Original(kept) = &kept[0] else { panic!("{kept:?}") };
        assert!(matches!(&kept.value, Some(Text::Plain(text)) if text.len() == 5_000), "{kept:?}");
        broker.shutdown().await;
    }
}
