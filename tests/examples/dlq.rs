//! `orders dlq`, `pause`, `resume`, `backup` as programs.

use serde_json::{Value, json};

use std::path::Path;

use super::support::ndjson;
use super::*;

/// The command's rows.
fn orders_dlq(arguments: &[&str], store: &Path, code: i32) -> Vec<Value> {
    let run = support::example::example("orders").args(arguments).args(["--json", "--store"]).arg(store).run(WORK);
    ndjson::parse(run.with_code(code).stdout.lines())
}

#[test]
fn dead_letters_are_listed_shown_mended_replayed_and_discarded() {
    beside_a_broker(|broker| {
        let folder = tempfile::tempdir().expect("a folder");
        let store = folder.path().join("inventory.redb");
        let bad = folder.path().join("bad.ndjson");
        let delivery =
            json!({"order_id": "7", "product_id": "1", "quantity": 1, "type": "delivery", "timestamp": "5/30/2023"});
        std::fs::write(&bad, format!("{delivery}\n")).expect("it is written");
        // A delivery order on the inventory topic is what no inventory consumer can read.
        example(broker, "delivery_producer").arg("-q").args(["--topic", "inventory_orders"]).arg(&bad).run(WORK).ok();
        example(broker, "inventory_consumer").args(["-q", "-e", "--store"]).arg(&store).run(WORK).ok();
        let listed = orders_dlq(&["dlq", "list"], &store, 0);
        let keys: Vec<_> = listed[0].as_object().expect("an object").keys().map(String::as_str).collect();
        let mut promised = [
            "id",
            "kind",
            "code",
            "reason",
            "topic",
            "partition",
            "offset",
            "attempts",
            "first_failed",
            "last_failed",
            "replayed",
        ];
        promised.sort_unstable();
        let mut keys = keys;
        keys.sort_unstable();
        assert_eq!(keys, promised);
        let id = listed[0]["id"].as_str().expect("a name").to_owned();
        assert_eq!((&listed[0]["kind"], &listed[0]["replayed"]), (&json!("dead_letter"), &json!(false)));
        assert_eq!(orders_dlq(&["dlq", "show", &id], &store, 0)[0]["value"], json!(delivery.to_string()));
        let plan = orders_dlq(&["dlq", "replay", "--plan"], &store, 1);
        assert_eq!((plan[0]["id"].as_str(), &plan[0]["would"]), (Some(&*id), &json!("fail")));
        let fixed = orders_dlq(&["dlq", "fix", &id, "--set", "type=inventory"], &store, 0);
        assert_eq!(fixed[0]["did"], json!("apply"));
        assert_eq!(orders_dlq(&["dlq", "replay", &id], &store, 0)[0]["did"], json!("duplicate"));
        assert!(orders_dlq(&["dlq", "list"], &store, 0).is_empty());
        assert_eq!(orders_dlq(&["dlq", "list", "--all"], &store, 0)[0]["replayed"], json!(true));
        assert_eq!(orders_dlq(&["verify"], &store, 0)[0]["holds"], json!(true));

        let copy = folder.path().join("copy.redb");
        let to = copy.to_string_lossy().into_owned();
        orders_dlq(&["backup", "--to", &to], &store, 0);
        assert_eq!(orders_dlq(&["stock"], &copy, 0), orders_dlq(&["stock"], &store, 0));
        orders_dlq(&["pause", "inventory_orders"], &store, 1);
        let running = example(broker, "inventory_consumer").args(["-q", "--store"]).arg(&store).start();
        until_held(&store);
        assert_eq!(orders_dlq(&["pause", "inventory_orders/0"], &store, 0)[0]["paused"], json!(true));
        assert_eq!(orders_dlq(&["pause", "inventory_orders"], &store, 0)[0]["paused"], json!(true));
        assert_eq!(orders_dlq(&["resume", "inventory_orders/0"], &store, 1)[0]["paused"], json!(true));
        assert_eq!(orders_dlq(&["resume", "inventory_orders"], &store, 0)[0]["paused"], json!(false));
        running.signal(support::program::Signal::Terminate);
        running.finish(WORK).ok();
    });
}

#[test]
fn dead_letters_of_a_topic_are_listed_shown_and_published_once_to_its_retry_topic() {
    beside_a_broker(|broker| {
        let folder = tempfile::tempdir().expect("a folder");
        let bad = folder.path().join("bad.ndjson");
        let delivery =
            json!({"order_id": "7", "product_id": "1", "quantity": 1, "type": "delivery", "timestamp": "5/30/2023"});
        std::fs::write(&bad, format!("{delivery}\n")).expect("it is written");
        let on_topic = ["--topic", "shop_orders"];
        example(broker, "delivery_producer").arg("-q").args(on_topic).arg(&bad).run(WORK).ok();
        let consumer = example(broker, "inventory_consumer").args(["-q", "-e"]).args(on_topic);
        consumer.arg("--store").arg(folder.path().join("inventory.redb")).run(WORK).ok();
        let dlq = |arguments: &[&str], code: i32| {
            let command = example(broker, "orders").arg("dlq").args(arguments);
            let run = command.args(["--json", "--topic", "shop_orders-dlt", "-g", "inventory"]).run(WORK);
            ndjson::parse(run.with_code(code).stdout.lines())
        };
        let listed = dlq(&["list"], 0);
        assert_eq!((&listed[0]["topic"], &listed[0]["offset"]), (&json!("shop_orders"), &json!(0)));
        let id = listed[0]["id"].as_str().expect("a name").to_owned();
        assert_eq!(dlq(&["show", &id], 0)[0]["value"], json!(delivery.to_string()));
        assert_eq!(dlq(&["replay", "--plan"], 0)[0]["would"], json!("apply"));
        assert_eq!(dlq(&["replay", "--code", "ORD-NONE"], 0), Vec::<Value>::new());
        assert_eq!(dlq(&["replay", "--rate", "100"], 0)[0]["did"], json!("apply"));
        assert_eq!(dlq(&["replay", &id], 0)[0]["did"], json!("duplicate"));
        assert!(dlq(&["list"], 0).is_empty());
        assert_eq!(dlq(&["list", "--all"], 0)[0]["replayed"], json!(true));
        let batches = |partition| broker.batches("shop_orders-retry", partition).unwrap_or_default().len();
        assert_eq!((0..64).map(batches).sum::<usize>(), 1, "one record was published");
        for wrong in [&["list", "--topic", "shop_orders-dlt"][..], &["list", "--topic", "shop_orders", "-g", "x"]] {
            example(broker, "orders").arg("dlq").args(wrong).run(WORK).with_code(2);
        }
    });
}

/// Waits until a consumer answers on the store's socket.
fn until_held(store: &Path) {
    let socket = store.with_extension("redb.sock");
    support::wait::until("the store is held", WORK, || socket.exists().then_some(()));
}

#[test]
fn a_delivery_is_moved_by_command_while_its_consumer_runs_and_after_it() {
    beside_a_broker(|broker| {
        let folder = tempfile::tempdir().expect("a folder");
        let store = folder.path().join("delivery.redb");
        example(broker, "delivery_producer").arg("-q").run(WORK).ok();
        let settings = ["-X", "delivery.lead.days=0", "-X", "delivery.working.days=sun"];
        let running = example(broker, "delivery_consumer").args(settings).arg("--store").arg(&store).start();
        support::wait::until("all 21 lines", WORK, || (running.stdout().len() == 21).then_some(()));
        let listed = orders_dlq(&["deliveries"], &store, 0);
        let id = listed[0]["delivery_id"].as_str().expect("a name").to_owned();
        let day = listed[0]["scheduled_for"].as_str().expect("a day").parse::<chrono::NaiveDate>().expect("a date");
        assert_eq!(chrono::Datelike::weekday(&day), chrono::Weekday::Sun, "the policy is settable");
        let set =
            |status: &str, code| orders_dlq(&["deliveries", "set", &id, status, "--reason", "van 7"], &store, code);
        assert_eq!(set("out_for_delivery", 0)[0]["moved"], json!(true));
        running.signal(support::program::Signal::Terminate);
        running.finish(Duration::from_secs(30)).ok();
        let refused = set("cancelled", 1);
        assert_eq!((&refused[0]["moved"], &refused[0]["code"]), (&json!(false), &json!("DLV-IMPOSSIBLE")));
        assert_eq!(set("delivered", 0)[0]["version"], json!(3));
        let order = listed[0]["order_id"].as_str().expect("an order");
        let listed = orders_dlq(&["deliveries", order], &store, 0);
        let row = listed.iter().find(|row| row["delivery_id"] == id.as_str()).expect("the delivery");
        assert_eq!((&row["status"], &row["reason"]), (&json!("delivered"), &json!("van 7")));
        assert_eq!(orders_dlq(&["verify"], &store, 0)[0]["holds"], json!(true));
    });
}
