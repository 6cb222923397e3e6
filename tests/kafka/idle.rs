//! What a broker with little patience does about idle connections, and about idle producers.

use std::time::{Duration, Instant};

use orderflow::config::ClientConfig;
use orderflow::order::InventoryOrder;
use orderflow::producer::InventoryProducer;

use crate::cluster::Cluster;
use crate::shop::{self, WORK};
use crate::support::program::Signal;
use crate::support::{ndjson, on_runtime, wait};
use crate::{Case, Shared, case};

pub(crate) const CASES: &[Case] =
    &[case!(Java, connections_that_the_broker_cuts_when_idle_and_a_producer_that_it_forgets_cost_no_order)];

/// Connections are cut, and producers forgotten, after a second and a half.
const IMPATIENT: [&str; 3] =
    ["connections.max.idle.ms=1500", "producer.id.expiration.ms=1500", "producer.id.expiration.check.interval.ms=300"];
const IDLE: Duration = Duration::from_secs(4);
const ROUNDS: usize = 3;

fn connections_that_the_broker_cuts_when_idle_and_a_producer_that_it_forgets_cost_no_order(_: &Shared) {
    let (cluster, topic) = (Cluster::start(1, &IMPATIENT), "idle");
    let folder = tempfile::tempdir().expect("a folder");
    let store = folder.path().join("inventory.redb");
    cluster.create_topic(topic, 1);
    let consumer = cluster.consumer(topic, &store).start();
    let longest = on_runtime(send_with_pauses(&cluster.bootstrap, topic));
    println!("idle: a send took at most {longest:?}");
    assert!(longest < Duration::from_secs(5), "an idle connection cost {longest:?}");
    let orders = 10 * ROUNDS;
    consumer.await_stdout_lines("all is applied", orders, WORK, |line| line.starts_with("{\"applied\""));
    consumer.signal(Signal::Terminate);
    let lines = ndjson::parse(consumer.finish(WORK).ok().stdout.lines());
    assert_eq!(["applied", "duplicates"].map(|name| ndjson::summary(&lines, name)), [30, 0]);
    assert_eq!(cluster.ends(topic), [(0, 30)], "each is in the log once");
    assert_eq!(shop::audited_stock(&store).into_values().sum::<u64>(), 30);
}

/// Ten orders, then nothing for longer than the broker's patience, again and again. How long a send took at most.
async fn send_with_pauses(bootstrap: &str, topic: &str) -> Duration {
    let config = ClientConfig::new(bootstrap);
    let producer = InventoryProducer::builder(&config).topic(topic).connect().await.expect("a producer");
    let mut longest = Duration::ZERO;
    for round in 0..ROUNDS {
        for number in 0..10 {
            let order = InventoryOrder::new(&format!("{round}-{number}"), "02758", 1, "5/30/2023").expect("an order");
            let begun = Instant::now();
            producer.send(&order).await.expect("a receipt");
            longest = longest.max(begun.elapsed());
        }
        let idle = Instant::now();
        let is_over = async || (idle.elapsed() > IDLE).then_some(());
        wait::until_async("the broker has cut what was idle", 2 * IDLE, is_over).await;
    }
    producer.close().await.expect("a clean end");
    longest
}
