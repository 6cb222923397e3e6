//! `--backfill`: an order file straight into a store, and the topic's same orders as duplicates afterwards.

use std::io::Write;
use std::path::Path;

use orderflow::broker::DevBroker;
use serde_json::{Value, json};

use super::support::example::example as lone_example;
use super::support::ndjson;
use super::support::program::{Finished, Running, Signal};
use super::{WORK, beside_a_broker, example};

fn backfill(broker: &DevBroker, role: &str, file: &Path, store: &Path) -> Finished {
    let consumer = example(broker, &format!("{role}_consumer")).args(["-e", "--json", "--backfill"]).arg(file);
    consumer.arg("--store").arg(store).run(WORK)
}

fn orders(command: &str, store: &Path) -> Vec<Value> {
    let ran = lone_example("orders").args([command, "--json", "--store"]).arg(store).run(WORK).ok();
    ndjson::parse(ran.stdout.lines())
}

fn create_topics(broker: &DevBroker) {
    example(broker, "orders").args(["topics", "create", "-q"]).run(WORK).ok();
}

#[test]
fn a_backfilled_file_is_applied_once_and_the_topics_same_orders_are_duplicates() {
    beside_a_broker(|broker| {
        let folder = tempfile::tempdir().expect("a folder");
        let (store, file) = (folder.path().join("inventory.redb"), Path::new("fixtures/orders.json"));
        create_topics(broker);
        let first = backfill(broker, "inventory", file, &store).ok();
        let lines = ndjson::parse(first.stdout.lines());
        let summary = json!({"applied": 13, "duplicates": 0, "refused": 0, "dead_letters": 0, "retried": 0});
        assert_eq!(lines.last(), Some(&json!({ "summary": summary })), "{first}");
        assert_eq!(lines[0]["applied"]["order_id"], "88665", "{first}");
        for name in ["topic", "partition", "offset"] {
            assert_eq!(lines[0].get(name), Some(&Value::Null), "{name}");
        }
        let sent = example(broker, "inventory_producer").arg(file).arg("--json").run(WORK).ok();
        let sent = ndjson::parse(sent.stdout.lines());
        let keys = |lines: &[Value]| ndjson::named(lines, "idempotency_key").into_iter().cloned().collect::<Vec<_>>();
        assert_eq!(keys(&lines), keys(&sent));
        let again = backfill(broker, "inventory", file, &store).ok();
        assert!(again.stderr.contains("applied 0, duplicates 26, refused 0, dead letters 0, retried 0 in "), "{again}");
        let again = ndjson::parse(again.stdout.lines());
        assert_eq!(again[0]["duplicate"]["order_id"], "88665");
        assert_eq!((&again[13]["topic"], &again[0]["topic"]), (&json!("inventory_orders"), &Value::Null));
        let stock = orders("stock", &store);
        let of_00 = stock.iter().find(|row| row["product_id"] == "00").expect("a row of product 00");
        assert_eq!((&of_00["stock"], &of_00["movements"]), (&json!(48), &json!(2)));
        assert_eq!(orders("verify", &store)[0]["holds"], true);
    });
}

#[test]
fn what_the_topic_applied_first_is_a_duplicate_in_the_file() {
    beside_a_broker(|broker| {
        let folder = tempfile::tempdir().expect("a folder");
        let (store, file) = (folder.path().join("delivery.redb"), Path::new("fixtures/orders.json"));
        example(broker, "delivery_producer").arg(file).args(["-q", "--count", "8"]).run(WORK).ok();
        example(broker, "delivery_consumer").args(["-e", "--store"]).arg(&store).run(WORK).ok();
        let ran = backfill(broker, "delivery", file, &store).ok();
        assert!(ran.stderr.contains("applied 13, duplicates 8, refused 0, dead letters 0, filtered 13 in "), "{ran}");
        assert_eq!(orders("deliveries", &store).len(), 21);
        assert_eq!(orders("verify", &store)[0]["holds"], true);
    });
}

#[test]
fn deliveries_are_scheduled_by_the_orders_dates_and_lines_are_those_of_the_topic() {
    beside_a_broker(|broker| {
        let folder = tempfile::tempdir().expect("a folder");
        let (store, file) = (folder.path().join("delivery.redb"), folder.path().join("orders.ndjson"));
        let order = r#"{"order_id":"9","product_id":"2","quantity":3,"type":"delivery","timestamp":"5/30/2023"}"#;
        std::fs::write(&file, order).expect("a folder to write to");
        create_topics(broker);
        let consumer = example(broker, "delivery_consumer").args(["-e", "--backfill"]).arg(&file);
        let ran = consumer.arg("--store").arg(&store).run(WORK).ok();
        assert_eq!(ran.stdout_lines(), [format!("Processing delivery order: {order}")]);
        let rows = orders("deliveries", &store);
        let day = rows[0]["scheduled_for"].as_str().expect("a day");
        assert!(("2023-05-31"..="2023-06-09").contains(&day), "{day}");
    });
}

#[test]
fn bad_entries_are_dead_letters_with_code_and_place() {
    beside_a_broker(|broker| {
        let folder = tempfile::tempdir().expect("a folder");
        let store = folder.path().join("inventory.redb");
        create_topics(broker);
        let ran = backfill(broker, "inventory", Path::new("fixtures/orders_malformed.json"), &store).ok();
        assert!(ran.stderr.contains("fixtures/orders_malformed.json:2:97: ORD-DATE-INVALID: "), "{ran}");
        let lines = ndjson::parse(ran.stdout.lines());
        assert_eq!(ndjson::summary(&lines, "dead_letters"), 8);
        assert_eq!(lines[0]["dead_letter"]["code"], "ORD-DATE-INVALID");
        assert_eq!(lines[0].get("topic"), Some(&Value::Null));
        assert_eq!(orders("verify", &store)[0]["holds"], true);
    });
}

#[test]
fn a_file_that_cannot_be_read_is_refused_before_a_store_is_made() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = folder.path().join("inventory.redb");
    for file in ["no-such-file.json", "fixtures"] {
        let consumer = lone_example("inventory_consumer").args(["-b", "127.0.0.1:1", "--backfill", file]);
        let ran = consumer.arg("--store").arg(&store).run(WORK).with_code(2);
        assert!(ran.stderr.contains("ORD-INPUT") && ran.stderr.contains(file), "{ran}");
        assert!(!store.exists());
    }
}

#[test]
fn a_backfill_that_is_killed_again_and_again_has_one_effect() {
    const ORDERS: u64 = 30_000;
    beside_a_broker(|broker| {
        let folder = tempfile::tempdir().expect("a folder");
        let (store, file) = (folder.path().join("inventory.redb"), folder.path().join("orders.ndjson"));
        let order = r#"{"order_id":"1","product_id":"2","quantity":1,"type":"inventory","timestamp":"5/30/2023"}"#;
        std::fs::write(&file, format!("{order}\n").repeat(ORDERS as usize)).expect("a folder to write to");
        create_topics(broker);
        let start = || {
            let consumer = example(broker, "inventory_consumer").args(["-e", "--backfill"]).arg(&file);
            consumer.arg("--store").arg(&store).start()
        };
        for round in 1..4 {
            let running = start();
            let lines = round * 1_000;
            running.await_stdout_lines("orders are applied", lines, WORK, |line| line.starts_with("Updating"));
            running.signal(Signal::Kill);
            drop(running);
        }
        let ended = start().finish(WORK).ok();
        assert!(!ended.stderr.contains("applied 0,"), "{}", ended.stderr);
        let stock = orders("stock", &store);
        assert_eq!((&stock[0]["stock"], &stock[0]["movements"]), (&json!(ORDERS), &json!(ORDERS)));
        assert_eq!(orders("verify", &store)[0]["holds"], true);
    });
}

/// Runs a backfill of a file of so many orders, and does this as soon as some are applied.
fn meddled(
    orders: usize,
    meddle: impl FnOnce(&Path, &Running),
    judge: impl FnOnce(Finished, &Path, &Path, &DevBroker),
) {
    beside_a_broker(|broker| {
        let folder = tempfile::tempdir().expect("a folder");
        let (store, file) = (folder.path().join("inventory.redb"), folder.path().join("orders.ndjson"));
        let order = r#"{"order_id":"1","product_id":"2","quantity":1,"type":"inventory","timestamp":"5/30/2023"}"#;
        std::fs::write(&file, format!("{order}\n").repeat(orders)).expect("a folder to write to");
        create_topics(broker);
        let consumer = example(broker, "inventory_consumer").args(["-e", "--backfill"]).arg(&file);
        let running = consumer.arg("--store").arg(&store).start();
        running.await_stdout_lines("orders are applied", 1_000, WORK, |line| line.starts_with("Updating"));
        meddle(&file, &running);
        judge(running.finish(WORK), &file, &store, broker);
    });
}

#[test]
fn a_backfill_that_is_stopped_says_so_and_the_next_one_goes_on() {
    const ORDERS: usize = 60_000;
    let stop = |_: &Path, running: &Running| running.signal(Signal::Terminate);
    meddled(ORDERS, stop, |stopped, file, store, broker| {
        let stopped = stopped.with_code(1);
        assert!(
            stopped.stderr.contains("stopped before its end: the next backfill of it goes on"),
            "{}",
            stopped.stderr
        );
        let rest = backfill(broker, "inventory", file, store).ok();
        assert!(!rest.stderr.contains("applied 0,"), "{}", rest.stderr);
        assert_eq!(orders("stock", store)[0]["stock"], json!(ORDERS));
    });
}

#[test]
fn a_file_that_changes_while_it_is_backfilled_is_an_error() {
    let change = |file: &Path, _: &Running| {
        let mut file = std::fs::File::options().append(true).open(file).expect("the file is there");
        file.write_all(b"{}\n").expect("a disk with room");
    };
    meddled(60_000, change, |changed, _, store, _| {
        let changed = changed.with_code(2);
        assert!(changed.stderr.contains("ORD-INPUT") && changed.stderr.contains("changed"), "{}", changed.stderr);
        assert_eq!(orders("verify", store)[0]["holds"], true);
    });
}
