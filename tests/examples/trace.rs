//! `orders trace`: one order's life from two stores and the topics.

use std::path::Path;

use orderflow::order::{DeliveryUpdate, Status};
use orderflow::producer::OrderProducer;
use serde_json::{Value, json};

use super::support::ndjson;
use super::support::program::Signal;
use super::*;

fn trace(broker: &DevBroker, order: &str, stores: &[&Path], with_brokers: bool) -> Vec<Value> {
    let program = match with_brokers {
        true => example(broker, "orders"),
        false => support::example::example("orders"),
    };
    let stores = stores.iter().flat_map(|store| [Path::new("--store"), *store]);
    ndjson::parse(program.args(["trace", order, "--json"]).args(stores).run(WORK).ok().stdout.lines())
}

fn kinds(steps: &[Value]) -> Vec<&str> {
    steps.iter().map(|step| step["step"].as_str().expect("a step")).collect()
}

fn count(steps: &[Value], kind: &str) -> usize {
    kinds(steps).into_iter().filter(|known| *known == kind).count()
}

#[test]
fn an_orders_life_is_told_from_both_stores_and_the_topics_while_a_consumer_holds_one() {
    beside_a_broker(|broker| {
        let folder = tempfile::tempdir().expect("a folder");
        let (stock, deliveries) = (folder.path().join("inventory.redb"), folder.path().join("delivery.redb"));
        // One number, ordered as a delivery of two products, and taken in as well.
        let orders = folder.path().join("orders.ndjson");
        let order = |product: &str, kind: &str| json!({"order_id": "9", "product_id": product, "quantity": 4, "type": kind, "timestamp": "5/30/2023"});
        let lines =
            [order("1", "inventory"), order("2", "delivery"), order("3", "delivery")].map(|line| format!("{line}\n"));
        std::fs::write(&orders, lines.concat()).expect("it is written");
        let produce = |kind: &str| example(broker, kind).arg("-q").arg(&orders).run(WORK).ok();
        // The inventory file is sent twice: the second copy is a duplicate.
        for kind in ["inventory_producer", "inventory_producer", "delivery_producer"] {
            produce(kind);
        }
        example(broker, "inventory_consumer").args(["-q", "-e", "--store"]).arg(&stock).run(WORK).ok();
        let running = example(broker, "delivery_consumer").arg("--store").arg(&deliveries).start();
        running.await_stdout_lines("both are scheduled", 2, WORK, |line| line.contains("Processing delivery order"));
        let outbox = || {
            support::example::example("orders")
                .args(["verify", "-q", "--json", "--store"])
                .arg(&deliveries)
                .run(WORK)
                .ok()
        };
        support::wait::until("all is relayed", WORK, || (!outbox().stdout.contains("outbox_rows")).then_some(()));

        let steps = trace(broker, "9", &[&stock, &deliveries], true);
        let fields: Vec<&str> = steps[0].as_object().expect("an object").keys().map(String::as_str).collect();
        assert_eq!(fields, ["order_id", "step", "at", "topic", "partition", "offset", "detail"]);
        let counted =
            ["written", "duplicate", "applied", "scheduled", "announced", "notified"].map(|kind| count(&steps, kind));
        assert_eq!(counted, [3, 1, 3, 2, 2, 2], "{steps:#?}");
        assert_eq!(steps[0]["step"], "written", "the log has it first");
        let is_timed =
            |step: &&Value| ["written", "duplicate", "applied"].contains(&step["step"].as_str().expect("a step"));
        let times: Vec<&str> = steps.iter().filter(is_timed).filter_map(|step| step["at"].as_str()).collect();
        assert!(times.len() == 7 && times.is_sorted(), "{times:?}");
        for step in &steps {
            let place = [&step["topic"], &step["partition"], &step["offset"]];
            assert!(place.iter().all(|part| !part.is_null()), "each has its place in a topic: {step}");
            assert!(step["detail"]["says"].is_string(), "{step}");
        }
        // Without brokers there is less, and an event has no place.
        let steps = trace(broker, "9", &[&deliveries], false);
        assert_eq!((count(&steps, "applied"), count(&steps, "written")), (2, 0), "{steps:#?}");
        let told = steps.iter().find(|step| step["step"] == "notified").expect("a notification");
        assert_eq!((&told["offset"], &told["detail"]["waits"]), (&Value::Null, &json!(false)));
        running.signal(Signal::Terminate);
        running.finish(WORK).ok();

        let table = support::example::example("orders").args(["trace", "9", "--store"]).arg(&deliveries).run(WORK).ok();
        let title: Vec<&str> = table.stdout_lines()[0].split_whitespace().collect();
        assert_eq!(title, ["AT", "STEP", "WHAT", "HAPPENED"], "{table}");
        assert!(table.stdout.contains("-> if it has left: orders deliveries set"), "{table}");
        let status = example(broker, "orders").args(["status", "-g", "delivery", "--within", "1", "--store"]);
        let status = status.arg(&deliveries).run(WORK).ok();
        assert!(status.stderr.contains("delivery.redb: nothing waits to be relayed"), "{status}");
    });
}

#[test]
fn an_update_of_a_delivery_is_told_where_it_was_written_also_before_it_is_read() {
    support::on_runtime(async {
        let broker = DevBroker::start().await.expect("a broker starts");
        let folder = tempfile::tempdir().expect("a folder");
        let (store, file) = (folder.path().join("delivery.redb"), folder.path().join("orders.ndjson"));
        let order =
            json!({"order_id": "9", "product_id": "2", "quantity": 4, "type": "delivery", "timestamp": "5/30/2023"});
        std::fs::write(&file, format!("{order}\n")).expect("it is written");
        example(&broker, "delivery_producer").arg("-q").arg(&file).run(WORK).ok();
        example(&broker, "delivery_consumer").args(["-q", "-e", "--store"]).arg(&store).run(WORK).ok();
        let deliveries = support::example::example("orders").args(["deliveries", "--json", "--store"]).arg(&store);
        let id = ndjson::parse(deliveries.run(WORK).ok().stdout.lines())[0]["delivery_id"].clone();
        let update = DeliveryUpdate::new(id.as_str().expect("a name"), Status::Cancelled, "2030-11-24T08:30:00Z");
        let updates = OrderProducer::<DeliveryUpdate>::connect(&broker.config()).await.expect("a producer");
        let receipt = updates.send(&update.expect("an update")).await.expect("it is written");
        updates.close().await.expect("it ends");

        let steps = trace(&broker, "9", &[&store], true);
        assert_eq!((count(&steps, "written"), count(&steps, "moved")), (2, 0), "{steps:#?}");
        let last = steps.iter().rfind(|step| step["step"] == "written").expect("the update");
        let place = (&last["topic"], last["partition"].as_i64(), &last["offset"]);
        assert_eq!(place, (&json!("delivery_updates"), Some(receipt.partition.into()), &json!(receipt.offset)));
        assert!(last["detail"]["says"].to_string().contains("an update of its delivery was written to"), "{last}");
        assert!(last["detail"]["value"].to_string().contains("cancelled"), "{last}");
        broker.shutdown().await;
    });
}

#[test]
fn a_dead_letter_is_told_with_the_command_that_replays_it_and_an_unknown_order_with_where_was_looked() {
    beside_a_broker(|broker| {
        let folder = tempfile::tempdir().expect("a folder");
        let (store, bad) = (folder.path().join("inventory.redb"), folder.path().join("bad.ndjson"));
        let delivery =
            r#"{"order_id": "7", "product_id": "1", "quantity": 1, "type": "delivery", "timestamp": "5/30/2023"}"#;
        std::fs::write(&bad, format!("{delivery}\n")).expect("it is written");
        example(broker, "delivery_producer").arg("-q").args(["--topic", "inventory_orders"]).arg(&bad).run(WORK).ok();
        example(broker, "inventory_consumer").args(["-q", "-e", "--store"]).arg(&store).run(WORK).ok();
        let steps = trace(broker, "7", &[&store], true);
        assert_eq!(kinds(&steps), ["written", "dead_letter", "announced"], "{steps:#?}");
        assert_eq!(steps[2]["topic"], "inventory_orders-dlt");
        assert!(steps[2]["offset"].is_number(), "{steps:#?}");
        let replay = steps[1]["detail"]["replay"].as_str().expect("a command").to_owned();
        let words: Vec<&str> = replay.split_whitespace().collect();
        assert_eq!(words[0], "orders");
        let tried = support::example::example("orders").args(&words[1..]).arg("--json").run(WORK).with_code(1);
        assert_eq!(ndjson::parse(tried.stdout.lines())[0]["did"], "fail", "{tried}");
        // Once it is closed the store no more says whose it was, but the log does.
        let discard = ["dlq", "discard", words[3], "--reason", "no order of ours", "--store"];
        support::example::example("orders").args(discard).arg(&store).run(WORK).ok();
        let steps = trace(broker, "7", &[&store], true);
        let aside = steps.iter().find(|step| step["step"] == "dead_letter").expect("it is told still");
        assert_eq!((&aside["detail"]["state"], &aside["detail"]["next"]), (&json!("discarded"), &Value::Null));

        let late = folder.path().join("late.ndjson");
        std::fs::write(&late, delivery.replace("\"7\"", "\"8\"")).expect("it is written");
        example(broker, "delivery_producer").arg("-q").args(["--topic", "inventory_orders"]).arg(&late).run(WORK).ok();
        let steps = trace(broker, "8", &[&store], true);
        let (says, next) = (steps[0]["detail"]["says"].to_string(), steps[0]["detail"]["next"].to_string());
        assert!(says.contains("it waits to be read") || says.contains("nothing of that partition"), "{says}");
        assert!(next.contains("orders status -g inventory"), "{next}");

        let unknown = example(broker, "orders").args(["trace", "nobody", "--store"]).arg(&store).run(WORK).with_code(2);
        assert!(
            unknown.stdout.is_empty()
                && unknown.stderr.contains("nothing is known of order nobody: looked in the store"),
            "{unknown}"
        );
        assert!(unknown.stderr.contains("the topic inventory_orders, "), "{unknown}");
        let missing = support::example::example("orders").args(["trace", "7", "--store", "/nowhere.redb"]).run(WORK);
        assert!(missing.with_code(2).stderr.contains("STO-MISSING"));
        support::example::example("orders").args(["trace", "7"]).run(WORK).with_code(2);
    });
}
