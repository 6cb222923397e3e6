//! Orders between our programs, Java and Python: bytes, codecs, partitions, headers.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::cluster::Servers;
use crate::shop::{self, File};
use crate::support::example::example;
use crate::support::ndjson;
use crate::support::program::Signal;
use crate::{Case, Shared, case};

pub(crate) const CASES: &[Case] = &[
    case!(JavaAndPython, orders_that_we_write_are_read_by_other_clients_in_each_codec),
    case!(JavaAndPython, orders_that_others_write_are_applied_in_each_codec),
    case!(Java, keys_land_where_the_java_client_puts_them),
    case!(Java, a_file_that_is_sent_three_times_takes_effect_once),
    case!(JavaAndPython, what_a_transaction_aborted_is_not_applied),
    case!(JavaAndPython, interleaved_transactions_of_librdkafka_are_applied_as_committed_while_they_run),
    case!(Java, records_that_are_no_orders_become_dead_letters_with_a_code),
];

fn orders_that_we_write_are_read_by_other_clients_in_each_codec(shared: &Shared) {
    let cluster = shared.cluster();
    for codec in ["none", "gzip", "snappy", "lz4"] {
        let (topic, file) = (format!("ours-{codec}"), File::of(500, 40));
        cluster.create_topic(&topic, 3);
        let receipts = cluster.send(&topic, &file, &["-X", &format!("compression.type={codec}")]);
        assert_eq!(receipts.len(), file.orders);
        let mut expected: Vec<_> = receipts.iter().zip(file.ndjson.lines()).map(of_receipt).collect();
        expected.sort();
        assert_eq!(printed_by_java(cluster, &topic, file.orders), expected, "{codec}, the console consumer");
        assert_eq!(printed_by_python(cluster, &topic, file.orders), expected, "{codec}, kafka-python");
    }
}

/// Partition, offset, key, identity, order: all that another client must see.
type Seen = (i64, i64, String, String, String);

fn of_receipt((receipt, line): (&Value, &str)) -> Seen {
    let text = |name: &str| receipt[name].as_str().unwrap_or_else(|| panic!("{name}: {receipt}")).to_owned();
    let number = |name: &str| receipt[name].as_i64().unwrap_or_else(|| panic!("{name}: {receipt}"));
    (number("partition"), number("offset"), text("key"), text("idempotency_key"), canonical(line))
}

/// The order with its fields in one order, as clients may write them in another.
fn canonical(order: &str) -> String {
    let fields: BTreeMap<String, Value> =
        serde_json::from_str(order).unwrap_or_else(|error| panic!("{error}: {order}"));
    serde_json::to_string(&fields).expect("a map of values")
}

fn printed_by_java(cluster: &Servers, topic: &str, count: usize) -> Vec<Seen> {
    let seen = cluster.console_consume(topic, count).into_iter().map(|record| {
        let identity = record.header("idempotency-key").unwrap_or_else(|| panic!("no identity: {record:?}")).to_owned();
        (record.partition.into(), record.offset, record.key, identity, canonical(&record.value))
    });
    let mut seen: Vec<_> = seen.collect();
    seen.sort();
    seen
}

fn printed_by_python(cluster: &Servers, topic: &str, count: usize) -> Vec<Seen> {
    let seen = cluster.python("consume.py", &[topic, &count.to_string()], "").into_iter().map(|record| {
        let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("no text: {record}")).to_owned();
        let number = |name: &str| record[name].as_i64().unwrap_or_else(|| panic!("{name}: {record}"));
        let identity = text(&record["headers"]["idempotency-key"]);
        (number("partition"), number("offset"), text(&record["key"]), identity, canonical(&text(&record["value"])))
    });
    let mut seen: Vec<_> = seen.collect();
    seen.sort();
    seen
}

fn orders_that_others_write_are_applied_in_each_codec(shared: &Shared) {
    let (cluster, topic, file) = (shared.cluster(), "theirs", File::of(300, 20));
    cluster.create_topic(topic, 3);
    let lines = file.keyed_lines();
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        cluster.console_produce(topic, &lines, &["--compression-codec", codec]);
        cluster.python("produce.py", &[topic, codec], &(lines.join("\n") + "\n"));
    }
    let folder = tempfile::tempdir().expect("a folder");
    let store = folder.path().join("inventory.redb");
    let outcomes = cluster.consume(topic, &store, &[]);
    // Records without identity are identified by their place: ten times the file is ten times the stock.
    assert_eq!(ndjson::summary(&outcomes, "applied"), 10 * file.orders as u64);
    let ten_times: BTreeMap<_, _> = file.stock.into_iter().map(|(product, stock)| (product, stock * 10)).collect();
    assert_eq!(shop::audited_stock(&store), ten_times);
}

fn keys_land_where_the_java_client_puts_them(shared: &Shared) {
    let (cluster, topic) = (shared.cluster(), "partitions");
    cluster.create_topic(topic, 7);
    let mut file = File::of(300, 300);
    file.ndjson = file.ndjson.replace("\"00042\"", "\"größe-☃\"");
    let receipts = cluster.send(topic, &file, &[]);
    cluster.console_produce(topic, &file.keyed_lines(), &[]);
    let printed = cluster.console_consume(topic, 2 * file.orders);
    let java = printed.iter().filter(|record| record.header("idempotency-key").is_none());
    let java: BTreeMap<_, _> = java.map(|record| (record.key.as_str(), i64::from(record.partition))).collect();
    let place = |receipt: &'_ Value| Some((receipt["key"].as_str()?.to_owned(), receipt["partition"].as_i64()?));
    let ours: Vec<_> = receipts.iter().map(|receipt| place(receipt).expect("key and partition")).collect();
    let ours: BTreeMap<_, _> = ours.iter().map(|(key, partition)| (key.as_str(), *partition)).collect();
    assert_eq!((ours.len(), &ours), (300, &java));
}

fn a_file_that_is_sent_three_times_takes_effect_once(shared: &Shared) {
    let (cluster, topic, file) = (shared.cluster(), "thrice", File::of(1000, 30));
    cluster.create_topic(topic, 3);
    let folder = tempfile::tempdir().expect("a folder");
    let store = folder.path().join("inventory.redb");
    cluster.send(topic, &file, &[]);
    cluster.send(topic, &file, &[]);
    let first = cluster.consume(topic, &store, &[]);
    let counts = |lines: &[Value]| ["applied", "duplicates"].map(|name| ndjson::summary(lines, name));
    assert_eq!(counts(&first), [1000, 1000]);
    cluster.send(topic, &file, &[]);
    assert_eq!(counts(&cluster.consume(topic, &store, &[])), [0, 1000]);
    assert_eq!(shop::audited_stock(&store), file.stock);
}

fn what_a_transaction_aborted_is_not_applied(shared: &Shared) {
    let (cluster, topic, file) = (shared.cluster(), "transactions", File::of(200, 10));
    cluster.create_topic(topic, 2);
    let lines = file.keyed_lines().join("\n") + "\n";
    for end in ["abort", "commit", "abort"] {
        cluster.python("transaction.py", &[topic, end], &lines);
    }
    let folder = tempfile::tempdir().expect("a folder");
    let store = folder.path().join("inventory.redb");
    let outcomes = cluster.consume(topic, &store, &[]);
    assert_eq!(ndjson::summary(&outcomes, "applied"), 200);
    assert_eq!(shop::audited_stock(&store), file.stock);
    // Markers take offsets, too: nothing may be left before the end.
    assert_eq!(cluster.lag(topic, topic), 0);
}

fn interleaved_transactions_of_librdkafka_are_applied_as_committed_while_they_run(shared: &Shared) {
    let (cluster, topic, file) = (shared.cluster(), "interleaved", File::of(2000, 40));
    let folder = tempfile::tempdir().expect("a folder");
    let store = folder.path().join("inventory.redb");
    cluster.create_topic(topic, 3);
    let consumer = cluster.consumer(topic, &store).start();
    let said = cluster.python("transactions.py", &[topic, "11"], &(file.keyed_lines().join("\n") + "\n"));
    assert!(said[0]["aborted"].as_u64().is_some_and(|aborted| aborted > 10), "{said:?}");
    let applied = |line: &str| line.starts_with("{\"applied\"");
    consumer.await_stdout_lines("all committed orders are applied", file.orders, shop::WORK, applied);
    consumer.signal(Signal::Terminate);
    let ended = ndjson::parse(consumer.finish(shop::WORK).ok().stdout.lines());
    assert_eq!(ndjson::summary(&ended, "applied"), file.orders as u64);
    assert_eq!(shop::audited_stock(&store), file.stock);
    cluster.consume(topic, &store, &[]);
    assert_eq!(cluster.lag(topic, topic), 0);
}

fn records_that_are_no_orders_become_dead_letters_with_a_code(shared: &Shared) {
    let (cluster, topic, file) = (shared.cluster(), "hostile", File::of(10, 5));
    cluster.create_topic(topic, 1);
    let hostile = [
        "not json",
        "{\"order_id\":\"1\"}",
        "{\"order_id\":\"1\",\"product_id\":\"2\",\"quantity\":-4,\
        \"type\":\"inventory\",\"timestamp\":\"5/30/2023\"}",
        "[[[[[[[[",
    ];
    let bad: Vec<_> = hostile.iter().map(|value| format!("bad\t{value}")).collect();
    cluster.console_produce(topic, &file.keyed_lines(), &[]);
    cluster.console_produce(topic, &bad, &[]);
    let folder = tempfile::tempdir().expect("a folder");
    let store = folder.path().join("inventory.redb");
    let outcomes = cluster.consume(topic, &store, &[]);
    assert_eq!(["applied", "dead_letters"].map(|name| ndjson::summary(&outcomes, name)), [10, 4]);
    let letters = ndjson::named(&outcomes, "dead_letter");
    assert!(letters.iter().all(|letter| letter["code"].as_str().is_some_and(|code| code.starts_with("ORD-"))));
    assert_eq!(shop::audited_stock(&store), file.stock);
    assert_eq!(cluster.lag(topic, topic), 0);
    // Another client reads them on their topic as they were, with why and where behind them.
    let dead = cluster.console_consume("hostile-dlt", hostile.len());
    assert_eq!(dead.iter().map(|record| record.value.as_str()).collect::<Vec<_>>(), hostile);
    for (record, offset) in dead.iter().zip(10..) {
        let said = |name: &str| record.header(name).unwrap_or_else(|| panic!("no {name}: {record:?}")).to_owned();
        assert_eq!((record.key.as_str(), said("dead-letter-topic").as_str()), ("bad", topic));
        assert_eq!((said("dead-letter-partition"), said("dead-letter-offset")), ("0".to_owned(), offset.to_string()));
        assert!(said("dead-letter-code").starts_with("ORD-"), "{record:?}");
    }
    let list = example("orders").args(["dlq", "list", "--json", "--store"]).arg(&store).run(shop::WORK).ok();
    let listed = ndjson::parse(list.stdout.lines());
    let mut offsets: Vec<_> = listed.iter().filter_map(|letter| letter["offset"].as_i64()).collect();
    offsets.sort_unstable();
    assert_eq!(offsets, [10, 11, 12, 13]);
}
