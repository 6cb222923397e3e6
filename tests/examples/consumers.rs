//! What the two consumers leave in their stores.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::support::example::{example as lone_example, path};
use super::support::program::{Program, Signal};
use super::support::{ndjson, wait};
use super::{WORK, beside_a_broker, example};
use orderflow::broker::DevBroker;

fn produce(broker: &DevBroker, name: &str) {
    example(broker, name).arg("-q").run(WORK).ok();
}

fn orders(command: &str, store: &Path) -> Vec<Value> {
    let ran = lone_example("orders").args([command, "--json", "--store"]).arg(store).run(WORK).ok();
    ndjson::parse(ran.stdout.lines())
}

#[test]
fn every_order_is_printed_once_after_it_is_applied() {
    beside_a_broker(|broker| {
        let folder = tempfile::tempdir().expect("a folder");
        let store = folder.path().join("inventory.redb");
        produce(broker, "inventory_producer");
        let consume = || example(broker, "inventory_consumer").arg("-e").arg("--store").arg(&store).run(WORK).ok();
        let ran = consume();
        let printed = ran.stdout_lines();
        assert_eq!(printed.len(), 13, "{ran}");
        assert!(printed.iter().all(|line| line.starts_with("Updating inventory for order: {\"order_id\":")), "{ran}");
        assert!(ran.stderr.contains("applied 13, duplicates 0, refused 0, dead letters 0, retried 0 in "), "{ran}");
        produce(broker, "inventory_producer");
        let again = consume();
        assert_eq!(again.stdout, "");
        assert!(again.stderr.contains("applied 0, duplicates 13"), "{again}");
    });
}

#[test]
fn a_count_settles_exactly_that_many() {
    beside_a_broker(|broker| {
        let folder = tempfile::tempdir().expect("a folder");
        let store = folder.path().join("delivery.redb");
        produce(broker, "delivery_producer");
        let consume = |count: &str| {
            let program = example(broker, "delivery_consumer").args(["--json", "-c", count]).arg("--store");
            let ran = program.arg(&store).run(WORK).ok();
            ndjson::summary(&ndjson::parse(ran.stdout.lines()), "applied")
        };
        assert_eq!(consume("8"), 8);
        assert_eq!(orders("deliveries", &store).len(), 8);
        assert_eq!(consume("13"), 13);
        assert_eq!(orders("deliveries", &store).len(), 21);
        let audit = orders("verify", &store);
        assert_eq!((&audit[0]["holds"], &audit[0]["applied"]), (&Value::Bool(true), &Value::from(21)));
    });
}

#[test]
fn a_running_consumer_answers_for_its_store_and_a_signal_ends_it_cleanly() {
    beside_a_broker(|broker| {
        let folder = tempfile::tempdir().expect("a folder");
        let store = folder.path().join("inventory.redb");
        produce(broker, "inventory_producer");
        let running = example(broker, "inventory_consumer").arg("--store").arg(&store).start();
        wait::until("all 13 lines", WORK, || (running.stdout().len() == 13).then_some(()));
        let stock = orders("stock", &store);
        let of_00 = stock.iter().find(|row| row["product_id"] == "00").expect("a row of product 00");
        assert_eq!((&of_00["stock"], &of_00["movements"]), (&Value::from(48), &Value::from(2)));
        assert_eq!(orders("verify", &store)[0]["holds"], true);
        running.signal(Signal::Terminate);
        running.finish(Duration::from_secs(30)).ok();
        assert_eq!(orders("verify", &store)[0]["applied"], 13);
        let with_the_log = example(broker, "orders").args(["verify", "--json", "--store"]).arg(&store).run(WORK).ok();
        assert_eq!(ndjson::parse(with_the_log.stdout.lines())[0]["holds"], true);
        assert!(with_the_log.stderr.contains("compared with 13 records of the log"), "{with_the_log}");
    });
}

/// The system lets no file grow beyond half a megabyte, as a disk that takes no write.
#[test]
fn a_store_that_cannot_be_written_ends_the_program_with_its_cause_and_the_next_run_goes_on() {
    beside_a_broker(|broker| {
        let folder = tempfile::tempdir().expect("a folder");
        let store = folder.path().join("inventory.redb");
        let send = example(broker, "inventory_producer").args(["-q", "--generate", "--count", "40000"]);
        send.run(WORK).ok();
        let limit = "trap '' XFSZ; ulimit -f \"$1\"; shift; exec \"$@\"";
        let limited = Program::new("sh").args(["-c", limit, "sh", "1000"]);
        let limited = limited.arg(path("inventory_consumer"));
        let limited = limited.args(["-b", &broker.bootstrap(), "-q", "-e", "--store"]).arg(&store);
        let ran = limited.run(WORK).with_code(1);
        assert!(ran.stderr.contains("STO-IO") && ran.stderr.contains("File too large"), "{ran}");
        example(broker, "inventory_consumer").args(["-q", "-e", "--store"]).arg(&store).run(WORK).ok();
        let audit = orders("verify", &store);
        assert_eq!((&audit[0]["holds"], &audit[0]["applied"]), (&Value::Bool(true), &Value::from(40_000)));
    });
}

#[test]
fn a_bad_record_becomes_a_dead_letter_with_its_code_and_the_run_is_a_success() {
    beside_a_broker(|broker| {
        let folder = tempfile::tempdir().expect("a folder");
        let store = folder.path().join("inventory.redb");
        // Delivery orders on the inventory topic are what no inventory consumer can read.
        example(broker, "delivery_producer").args(["-q", "--topic", "inventory_orders"]).run(WORK).ok();
        let consumed = example(broker, "inventory_consumer").args(["-e", "--json", "--store"]).arg(&store);
        let lines = ndjson::parse(consumed.run(WORK).ok().stdout.lines());
        assert_eq!(ndjson::summary(&lines, "dead_letters"), 21);
        let letters = ndjson::named(&lines, "dead_letter");
        assert!(letters.iter().all(|letter| letter["code"].as_str().is_some_and(|code| code.starts_with("ORD-"))));
        assert_eq!(orders("verify", &store)[0]["holds"], true);
    });
}

#[test]
fn a_store_of_another_group_and_a_missing_topic_are_told() {
    beside_a_broker(|broker| {
        let folder = tempfile::tempdir().expect("a folder");
        let store = folder.path().join("inventory.redb");
        produce(broker, "inventory_producer");
        example(broker, "inventory_consumer").arg("-e").arg("--store").arg(&store).run(WORK).ok();
        let foreign = example(broker, "inventory_consumer").args(["-g", "others", "-e", "--store"]).arg(&store);
        assert!(foreign.run(WORK).with_code(2).stderr.contains("STO-FOREIGN"));
        let missing = example(broker, "inventory_consumer").args(["--topic", "nothing", "-e", "--store"]);
        let missing = missing.arg(folder.path().join("other.redb")).run(WORK).with_code(1);
        assert!(missing.stderr.contains("BRK-TOPIC"), "{missing}");
    });
}

#[test]
fn the_shops_topics_are_made_once_and_described() {
    beside_a_broker(|broker| {
        let create =
            || example(broker, "orders").args(["topics", "create", "--partitions", "3", "--json"]).run(WORK).ok();
        let made = ndjson::parse(create().stdout.lines());
        assert_eq!(made.len(), 8);
        assert_eq!((&made[0]["topic"], &made[0]["partitions"]), (&Value::from("inventory_orders"), &Value::from(3)));
        let again = create();
        assert!(again.stderr.contains("made 0 topics, 8 existed"), "{again}");
    });
}
