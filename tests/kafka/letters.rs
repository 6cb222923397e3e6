//! Dead letters of a consumer without a store, replayed by their retry topic.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use orderflow::config::ClientConfig;
use orderflow::consumer::{Control, Delivered, Failure, InventoryConsumer, Outcome};
use orderflow::order::InventoryOrder;
use orderflow::outbox::DeadLetterTopic;
use orderflow::producer::{OutgoingRecord, RecordProducer};
use orderflow::store::{Rehearsal, Replayed};
use orderflow::wire::record_batch::Header;

use crate::cluster::Servers;
use crate::support::on_runtime;
use crate::support::wait::until_async;
use crate::{Case, Shared, case};

pub(crate) const CASES: &[Case] = &[case!(Java, a_dead_letter_is_replayed_by_its_retry_topic)];

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
