//! What stopping or dying does, to our programs, to brokers: nothing is lost, nothing happens twice.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value;

use crate::cluster::{Cluster, Servers};
use crate::shop::{self, File, WORK};
use crate::support::example::example;
use crate::support::ndjson;
use crate::support::program::{Running, Signal};
use crate::{Case, Shared, case};

pub(crate) const CASES: &[Case] = &[
    case!(Java, the_group_tool_shows_what_we_have_committed_in_either_protocol),
    case!(Java, a_consumer_that_is_started_again_resumes),
    case!(Java, sigterm_ends_a_consumer_cleanly_with_its_positions_committed),
    case!(Java, sigterm_ends_a_producer_cleanly_with_each_order_acknowledged),
    case!(Java, a_consumer_killed_ten_times_amid_a_hundred_thousand_orders_leaves_the_stock_exact),
    case!(Java, a_producer_killed_again_and_again_over_one_file_gives_each_order_one_effect),
    case!(Java, leaders_killed_and_paused_amid_the_work_lose_nothing_and_repeat_nothing),
    case!(Java, a_consumer_goes_on_by_itself_after_its_broker_was_killed),
];

/// Longer than a static member's or a killed one's session: the shared node's is six seconds.
const TAKE_OVER: Duration = Duration::from_secs(60);

fn store(folder: &tempfile::TempDir) -> std::path::PathBuf {
    folder.path().join("inventory.redb")
}

fn the_group_tool_shows_what_we_have_committed_in_either_protocol(shared: &Shared) {
    let cluster = shared.cluster();
    for protocol in Servers::group_protocols() {
        let (topic, file, folder) =
            (format!("lag-{protocol}"), File::of(600, 50), tempfile::tempdir().expect("a folder"));
        let group_protocol = format!("group.protocol={protocol}");
        cluster.create_topic(&topic, 3);
        cluster.send(&topic, &file, &[]);
        cluster.consume(&topic, &store(&folder), &["-X", &group_protocol]);
        let committed = cluster.committed(&topic, &topic);
        let positions: Vec<_> = committed.iter().map(|(partition, position, _)| (*partition, *position)).collect();
        assert_eq!(positions, cluster.ends(&topic), "{protocol}");
        // What comes later is lag until we are there again.
        cluster.send(&topic, &file, &[]);
        assert_eq!(cluster.lag(&topic, &topic), 600, "{protocol}");
        cluster.consume(&topic, &store(&folder), &["-X", &group_protocol]);
        assert_eq!(cluster.lag(&topic, &topic), 0, "{protocol}");
    }
}

fn a_consumer_that_is_started_again_resumes(shared: &Shared) {
    let (cluster, topic, file) = (shared.cluster(), "resume", File::of(900, 50));
    let folder = tempfile::tempdir().expect("a folder");
    cluster.create_topic(topic, 3);
    cluster.send(topic, &file, &[]);
    let places = |lines: &[Value]| -> BTreeSet<(i64, i64)> {
        let place = |line: &Value| Some((line["partition"].as_i64()?, line["offset"].as_i64()?));
        lines
            .iter()
            .filter(|line| line.get("applied").is_some_and(Value::is_object))
            .map(|l| place(l).expect("a place"))
            .collect()
    };
    let first = cluster.consumer(topic, &store(&folder)).args(["-c", "250"]).run(WORK).ok();
    let first = places(&ndjson::parse(first.stdout.lines()));
    let rest = cluster.consume(topic, &store(&folder), &[]);
    assert_eq!((first.len(), ndjson::summary(&rest, "applied"), ndjson::summary(&rest, "duplicates")), (250, 650, 0));
    assert!(first.is_disjoint(&places(&rest)), "an order was applied twice");
    assert_eq!(shop::audited_stock(&store(&folder)), file.stock);
}

fn sigterm_ends_a_consumer_cleanly_with_its_positions_committed(shared: &Shared) {
    let (cluster, topic, file) = (shared.cluster(), "sigterm-consumer", File::of(500, 50));
    let folder = tempfile::tempdir().expect("a folder");
    cluster.create_topic(topic, 3);
    cluster.send(topic, &file, &[]);
    let consumer = cluster.consumer(topic, &store(&folder)).start();
    consumer.await_stdout("the first order is applied", TAKE_OVER, |line| line.starts_with("{\"applied\""));
    consumer.signal(Signal::Terminate);
    let ended = consumer.finish(Duration::from_secs(30)).ok();
    let lines = ndjson::parse(ended.stdout.lines());
    let committed: i64 = cluster.committed(topic, topic).iter().map(|(_, position, _)| position).sum();
    assert_eq!(u64::try_from(committed), Ok(ndjson::summary(&lines, "applied")), "{ended}");
    assert_eq!(cluster.members(topic), 0, "the group was not left");
}

fn sigterm_ends_a_producer_cleanly_with_each_order_acknowledged(shared: &Shared) {
    let (cluster, topic) = (shared.cluster(), "sigterm-producer");
    cluster.create_topic(topic, 3);
    let producer = example("inventory_producer").args(["-b", &cluster.bootstrap, "--topic", topic]);
    let producer = producer.args(["--json", "--generate", "--seed", "7", "--rate", "500"]).start();
    producer.await_stdout("the first receipt comes", TAKE_OVER, |line| line.contains("\"offset\""));
    producer.signal(Signal::Terminate);
    let ended = producer.finish(Duration::from_secs(30)).ok();
    let lines = ndjson::parse(ended.stdout.lines());
    let written: i64 = cluster.ends(topic).iter().map(|(_, end)| end).sum();
    assert_eq!(u64::try_from(written), Ok(ndjson::summary(&lines, "sent")), "{ended}");
    assert_eq!(lines.len() - 1, usize::try_from(written).expect("a count"), "a receipt an order");
}

fn a_consumer_killed_ten_times_amid_a_hundred_thousand_orders_leaves_the_stock_exact(shared: &Shared) {
    let (cluster, topic, file) = (shared.cluster(), "killed", File::of(100_000, 500));
    let folder = tempfile::tempdir().expect("a folder");
    cluster.create_topic(topic, 3);
    // A static member of a classic group has its place again at once, so that each of them finds work in hand while orders
    // come, for twenty seconds; others would wait for the killed one's session to end.
    let in_its_place = ["-X", "group.protocol=classic", "-X", "group.instance.id=killed"];
    let producer = cluster.producer(topic, topic).args(["--rate", "5000"]).input(file.ndjson.as_str()).start();
    for kill in 0..10 {
        let consumer = cluster.consumer(topic, &store(&folder)).args(in_its_place).start();
        await_applied(&consumer, 1 + 700 * kill);
        consumer.signal(Signal::Kill);
        assert_eq!(consumer.finish(WORK).code(), None, "the consumer was not killed");
    }
    producer.finish(WORK).ok();
    let last = cluster.consume(topic, &store(&folder), &in_its_place);
    assert!((1..95_000).contains(&ndjson::summary(&last, "applied")), "no kill came amid the work");
    assert_eq!(shop::audited_stock(&store(&folder)), file.stock);
    assert_eq!(cluster.lag(topic, topic), 0);
}

fn a_producer_killed_again_and_again_over_one_file_gives_each_order_one_effect(shared: &Shared) {
    let (cluster, topic, file) = (shared.cluster(), "producer-killed", File::of(20_000, 200));
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("orders.ndjson");
    std::fs::write(&path, &file.ndjson).expect("a file");
    cluster.create_topic(topic, 3);
    let producer =
        || example("inventory_producer").args(["-b", &cluster.bootstrap, "--topic", topic, "--json"]).arg(&path);
    for receipts in [1, 2500, 5000, 10_000] {
        let killed = producer().args(["--rate", "10000"]).start();
        killed.await_stdout_lines("receipts come", receipts, TAKE_OVER, |_| true);
        killed.signal(Signal::Kill);
        assert_eq!(killed.finish(WORK).code(), None, "the producer was not killed");
    }
    producer().run(WORK).ok();
    let lines = cluster.consume(topic, &store(&folder), &[]);
    let [applied, duplicates] = ["applied", "duplicates"].map(|name| ndjson::summary(&lines, name));
    assert_eq!(applied, 20_000);
    assert!(duplicates > 15_000, "{duplicates}: no kill came amid the work");
    assert_eq!(shop::audited_stock(&store(&folder)), file.stock);
}

/// Waits until a consumer has told of `wanted` applied orders.
fn await_applied(consumer: &Running, wanted: usize) {
    let applied = |line: &str| line.starts_with("{\"applied\"");
    consumer.await_stdout_lines(&format!("{wanted} orders are applied"), wanted, TAKE_OVER, applied);
}

fn leaders_killed_and_paused_amid_the_work_lose_nothing_and_repeat_nothing(_: &Shared) {
    let (mut cluster, topic, file) = (Cluster::start(3, &[]), "leader", File::of(20_000, 200));
    let folder = tempfile::tempdir().expect("a folder");
    cluster.create_topic(topic, 6);
    let producer = cluster.producer(topic, topic).args(["--rate", "2000"]).input(file.ndjson.as_str()).start();
    let consumer = cluster.consumer(topic, &store(&folder)).start();
    let after = |wanted| {
        producer.await_stdout_lines("receipts come", wanted, TAKE_OVER, |_| true);
        await_applied(&consumer, wanted / 2);
    };
    after(2000);
    cluster.node(1).kill();
    after(6000);
    cluster.node(1).restart();
    cluster.node(2).pause();
    after(10_000);
    cluster.node(2).resume();
    after(14_000);
    cluster.node(3).term();
    let lines = ndjson::parse(producer.finish(WORK).ok().stdout.lines());
    assert_eq!(ndjson::summary(&lines, "sent"), 20_000);
    await_applied(&consumer, 20_000);
    consumer.signal(Signal::Terminate);
    let lines = ndjson::parse(consumer.finish(WORK).ok().stdout.lines());
    assert_eq!(["applied", "duplicates"].map(|name| ndjson::summary(&lines, name)), [20_000, 0]);
    assert_eq!(shop::audited_stock(&store(&folder)), file.stock);
    assert_eq!(in_log(&cluster, topic, file.orders), file.ndjson.lines().count());
}

/// Reads the log back: each identity once, and each product's orders in the order of the file. Gives how many.
pub(crate) fn in_log(cluster: &Servers, topic: &str, orders: usize) -> usize {
    let ends: i64 = cluster.ends(topic).iter().map(|(_, end)| end).sum();
    assert_eq!(usize::try_from(ends), Ok(orders), "lost or repeated");
    let (mut identities, mut last) = (BTreeSet::new(), BTreeMap::new());
    let mut printed = cluster.console_consume(topic, orders);
    printed.sort_by_key(|record| (record.partition, record.offset));
    for record in printed {
        let identity = record.header("idempotency-key").expect("an identity").to_owned();
        let index: u64 = identity.rsplit_once(':').and_then(|(_, index)| index.parse().ok()).expect("our own form");
        assert!(last.insert(record.key.clone(), index).is_none_or(|before| before < index), "out of order: {record:?}");
        assert!(identities.insert(identity), "repeated: {record:?}");
    }
    identities.len()
}

fn a_consumer_goes_on_by_itself_after_its_broker_was_killed(_: &Shared) {
    let (mut cluster, topic, file) = (Cluster::start(1, &[]), "broker-killed", File::of(2000, 100));
    let folder = tempfile::tempdir().expect("a folder");
    cluster.create_topic(topic, 3);
    cluster.send(topic, &file, &[]);
    let consumer = cluster.consumer(topic, &store(&folder)).start();
    await_applied(&consumer, 2000);
    cluster.node(1).kill();
    cluster.node(1).restart();
    // Another source: the same orders once more, by intent.
    let again = cluster.producer(topic, "again").input(file.ndjson.as_str());
    again.run(WORK).ok();
    await_applied(&consumer, 4000);
    consumer.signal(Signal::Terminate);
    consumer.finish(Duration::from_secs(30)).ok();
    let twice: BTreeMap<_, _> = file.stock.into_iter().map(|(product, stock)| (product, stock * 2)).collect();
    assert_eq!(shop::audited_stock(&store(&folder)), twice);
}
