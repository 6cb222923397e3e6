//! Dead letters of a consumer without a store, replayed by their retry topic.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use orderflow::config::ClientConfig;
use orderflow::consumer::{Control, Delivered, Failure, InventoryConsumer, Outcome};
use orderflow::order::InventoryOrder;
use orderflow::outbox::DeadLetterTopic;
use orderflow::producer::{OutgoingRecord, RecordProducer};
use orderflow::store::{Rehearsal, Replayed};
use orderflow::wire::record_batch::Header;

use crate::cluster::Servers;
use crate::shop::{WORK, orders};
use crate::support::example::example;
use crate::support::on_runtime;
use crate::support::wait::until_async;
use crate::{Case, Shared, case};

pub(crate) const CASES: &[Case] = &[
    case!(Java, a_dead_letter_is_replayed_by_its_retry_topic),
    case!(Java, every_delivery_is_told_on_the_shops_topics),
];

const SOON: Duration = Duration::from_secs(30);

/// A group of each kind, whose second member subscribes to another topic than the first.
fn a_dead_letter_is_replayed_by_its_retry_topic(shared: &Shared) {
    for protocol in Servers::group_protocols() {
        let topic = format!("letters-{protocol}");
        shared.cluster().create_topic(&topic, 2);
        let settings =
            [("group.protocol", *protocol), ("heartbeat.interval.ms", "500"), ("metadata.max.age.ms", "500")];
        let config = ClientConfig::new(shared.cluster().bootstrap.as_str());
        let config =
            settings.into_iter().fold(config, |config, (key, value)| config.set(key, value).expect("a setting"));
        on_runtime(replay(&config, &topic));
        let ends = shared.cluster().ends(&format!("{topic}-retry"));
        assert_eq!(ends.iter().map(|(_, end)| end).sum::<i64>(), 2, "{ends:?}");
    }
}

/// Other cases may tell of their own deliveries on these topics: each of ours is there under its name.
fn every_delivery_is_told_on_the_shops_topics(shared: &Shared) {
    const DELIVERIES: usize = 500;
    let cluster = shared.cluster();
    let topic = "deliveries-told";
    cluster.create_topic(topic, 3);
    let folder = tempfile::tempdir().expect("a folder");
    let (store, count) = (folder.path().join("delivery.redb"), DELIVERIES.to_string());
    let program = |name: &str| example(name).args(["-b", &cluster.bootstrap, "--topic", topic]);
    program("delivery_producer").args(["--generate", "--count", &count]).run(WORK).ok();
    program("delivery_consumer").args(["-g", topic, "-e", "--store"]).arg(&store).run(WORK).ok();
    let names: BTreeSet<String> = orders(&["deliveries"], &store)
        .into_iter()
        .map(|row| row["delivery_id"].as_str().expect("a name").to_owned())
        .collect();
    assert_eq!(names.len(), DELIVERIES);
    for (topic, kind) in [("delivery_status", "status"), ("customer_notifications", "notification")] {
        let told: BTreeSet<String> = on_runtime(identities(&cluster.bootstrap, topic)).into_iter().collect();
        for name in &names {
            assert!(told.contains(&format!("{kind}:{name}:1")), "{name} is not told on {topic}");
        }
    }
}

/// The idempotency keys on a topic, read by a consumer of another order type: what it cannot read it is given all the same.
async fn identities(bootstrap: &str, topic: &str) -> Vec<String> {
    let config = ClientConfig::new(bootstrap);
    let told = Arc::new(Mutex::new(Vec::new()));
    let seen = told.clone();
    let handler = |_: Delivered<InventoryOrder>| async { Ok::<_, Failure>(Outcome::Done) };
    let config = config.set("breaker.consecutive", "0").and_then(|config| config.set("breaker.ratio", "0"));
    let builder = InventoryConsumer::builder(&config.expect("settings")).topic(topic).group(format!("{topic}-reader"));
    let builder = builder.handler(handler).until_end().observe(move |settled| {
        let key = settled.idempotency_key().map(|key| key.into_owned());
        seen.lock().expect("no test panicked").extend(key);
    });
    builder.build().await.expect("a consumer").run(std::future::pending()).await.expect("a clean end");
    let told = told.lock().expect("no test panicked").clone();
    told
}

async fn replay(config: &ClientConfig, topic: &str) {
    let producer = RecordProducer::connect(config, topic).await.expect("a producer");
    for n in 0..6 {
        let value = format!(
            r#"{{"order_id":"{n}","product_id":"02758","quantity":1,"type":"inventory","timestamp":"5/30/2023"}}"#
        );
        let identity = format!("test:{n}");
        let headers = [Header { key: b"idempotency-key", value: Some(identity.as_bytes()) }];
        let (key, value) = (Some(&b"02758"[..]), Some(value.as_bytes()));
        let record = OutgoingRecord { partition: None, key, value, headers: &headers, timestamp: None };
        producer.send(record).await.expect("it is written");
    }
    producer.close().await.expect("all is written");
    let is_down = Arc::new(AtomicBool::new(true));
    let down = is_down.clone();
    let handler = move |order: Delivered<InventoryOrder>| {
        let is_bad = down.load(Ordering::SeqCst) && order.identity().to_string() == "test:4";
        async move { Ok::<_, Failure>(if is_bad { Outcome::Reject("not ours".into()) } else { Outcome::Done }) }
    };
    let builder = InventoryConsumer::builder(config).topic(topic).group(topic).handler(handler);
    let consumer = builder.build().await.expect("a consumer");
    let control = consumer.control();
    let run = tokio::spawn(consumer.run(std::future::pending()));
    settled(&control, 6).await;
    // The first replay fails again, the second does not.
    for (settled_then, attempts, mended) in [(7, 1, false), (8, 2, true)] {
        is_down.store(!mended, Ordering::SeqCst);
        let letters = DeadLetterTopic::open(config, &format!("{topic}-dlt"), topic).await.expect("its dead letters");
        let rows = letters.letters().await.expect("a list");
        let told: Vec<_> =
            rows.iter().map(|row| (row.attempts, row.offset, row.topic.as_deref(), row.replayed)).collect();
        assert_eq!(told, [(attempts, Some(4), Some(topic), false)]);
        let mut replay = letters.replay(&[rows[0].id], Rehearsal::Real).await.expect("a replay");
        let did: Vec<_> = replay.next(9).await.expect("it goes on").into_iter().map(|row| row.did).collect();
        assert_eq!(did, [Replayed::Apply]);
        replay.close().await.expect("it is written");
        settled(&control, settled_then).await;
        letters.close().await;
    }
    control.drain();
    let summary = run.await.expect("it ends").expect("a clean end");
    assert_eq!((summary.applied, summary.dead_letters), (6, 2));
}

async fn settled(control: &Control, count: u64) {
    let look = async || (control.summary().settled() == count).then_some(());
    let looking = until_async("as many are settled", 2 * SOON, look);
    if tokio::time::timeout(SOON, looking).await.is_err() {
        panic!("{count} are to be settled: {}; {}", control.summary(), control.health());
    }
}
