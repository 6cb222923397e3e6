//! Order files that go round Kafka, or grow while they are sent.

use std::io::Write;
use std::path::Path;

use serde_json::Value;

use crate::cluster::Servers;
use crate::shop::{self, File, WORK};
use crate::support::example::example;
use crate::support::ndjson;
use crate::support::program::{Running, Signal};
use crate::{Case, Shared, case};

pub(crate) const CASES: &[Case] = &[
    case!(Java, a_backfilled_file_and_the_same_orders_of_the_topic_have_one_effect),
    case!(Java, a_file_that_is_followed_across_kills_gives_each_order_one_effect),
];

fn counts(lines: &[Value]) -> [u64; 2] {
    ["applied", "duplicates"].map(|name| ndjson::summary(lines, name))
}

/// Sends a file by its path: its identities are those of its content, as a backfill's are.
fn send_file(cluster: &Servers, topic: &str, path: &Path) {
    let producer = example("inventory_producer").args(["-b", &cluster.bootstrap, "--topic", topic, "-q"]);
    producer.arg(path).run(WORK).ok();
}

fn a_backfilled_file_and_the_same_orders_of_the_topic_have_one_effect(shared: &Shared) {
    let (cluster, file) = (shared.cluster(), File::of(800, 40));
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("orders.ndjson");
    std::fs::write(&path, &file.ndjson).expect("a folder to write to");
    let backfill = ["--backfill", path.to_str().expect("a path in UTF-8")];
    for (topic, is_sent_first) in [("backfilled-first", false), ("backfilled-last", true)] {
        let store = folder.path().join(format!("{topic}.redb"));
        cluster.create_topic(topic, 3);
        if is_sent_first {
            send_file(cluster, topic, &path);
            assert_eq!(counts(&cluster.consume(topic, &store, &[])), [800, 0], "{topic}");
            assert_eq!(counts(&cluster.consume(topic, &store, &backfill)), [0, 800], "{topic}");
        } else {
            assert_eq!(counts(&cluster.consume(topic, &store, &backfill)), [800, 0], "{topic}");
            send_file(cluster, topic, &path);
            assert_eq!(counts(&cluster.consume(topic, &store, &[])), [0, 800], "{topic}");
        }
        assert_eq!(shop::audited_stock(&store), file.stock, "{topic}");
        assert_eq!(cluster.lag(topic, topic), 0, "{topic}");
    }
}

fn follow(cluster: &Servers, topic: &str, path: &Path) -> Running {
    let producer = example("inventory_producer").args(["-b", &cluster.bootstrap, "--topic", topic, "--json"]);
    producer.arg(path).args(["--follow", "--source", topic]).start()
}

fn a_file_that_is_followed_across_kills_gives_each_order_one_effect(shared: &Shared) {
    let (cluster, topic, file) = (shared.cluster(), "followed", File::of(900, 45));
    let folder = tempfile::tempdir().expect("a folder");
    let (path, store) = (folder.path().join("orders.ndjson"), folder.path().join("inventory.redb"));
    cluster.create_topic(topic, 3);
    let lines: Vec<&str> = file.ndjson.lines().collect();
    let mut growing = std::fs::File::create(&path).expect("a folder to write to");
    let consumer = cluster.consumer(topic, &store).start();
    for (round, part) in lines.chunks(300).enumerate() {
        let producer = follow(cluster, topic, &path);
        for line in part {
            growing.write_all(format!("{line}\n").as_bytes()).expect("a disk with room");
        }
        let last = format!(":{}\"", 300 * (round + 1) - 1);
        producer.await_stdout("the last order's receipt", WORK, |line| line.contains(&last));
        producer.signal(if round < 2 { Signal::Kill } else { Signal::Terminate });
        let ended = producer.finish(WORK);
        assert!(round < 2 || ended.code() == Some(0), "{ended}");
    }
    // Each run sends the file from its beginning: what the store had already are duplicates.
    assert_eq!(cluster.ends(topic).iter().map(|(_, end)| end).sum::<i64>(), 300 + 600 + 900);
    consumer.signal(Signal::Terminate);
    consumer.finish(WORK).ok();
    cluster.consume(topic, &store, &[]);
    assert_eq!(shop::audited_stock(&store), file.stock);
}
