//! `orders status`: what it prints and how it ends.

use serde_json::{Value, json};

use super::support::ndjson;
use super::{WORK, beside_a_broker, example};

#[test]
fn a_group_is_told_as_one_object_a_partition_with_the_fields_of_the_contract() {
    beside_a_broker(|broker| {
        let folder = tempfile::tempdir().expect("a folder");
        example(broker, "inventory_producer").arg("-q").run(WORK).ok();
        let consume = example(broker, "inventory_consumer").args(["-q", "-c", "5", "--store"]);
        consume.arg(folder.path().join("inventory.redb")).run(WORK).ok();
        let status = || example(broker, "orders").args(["status", "-g", "inventory"]);
        let told = status().arg("--json").run(WORK).ok();
        let rows = ndjson::parse(told.stdout.lines());
        let fields: Vec<&str> = rows[0].as_object().expect("an object").keys().map(String::as_str).collect();
        let contract = [
            "group",
            "state",
            "topic",
            "partition",
            "member",
            "client_id",
            "host",
            "position",
            "end",
            "lag",
            "lag_seconds",
            "drain_seconds",
            "verdict",
        ];
        assert_eq!(fields, contract, "{told}");
        let sum = |field: &str| rows.iter().filter_map(|row| row[field].as_i64()).sum::<i64>();
        assert_eq!((sum("end"), sum("position")), (13, 5), "{told}");
        let lag = |row: &Value| Some(row["end"].as_i64()? - row["position"].as_i64()?);
        assert!(rows.iter().all(|row| row["lag"].as_i64() == lag(row)), "{told}");
        assert!(rows.iter().all(|row| row["verdict"] == "STOPPED" && row["member"] == Value::Null), "{told}");
        assert_eq!((&rows[0]["group"], &rows[0]["topic"]), (&json!("inventory"), &json!("inventory_orders")));
        let behind = rows.iter().find(|row| row["lag"].as_i64() > Some(0)).expect("a partition with lag");
        assert!(behind["lag_seconds"].as_f64().is_some_and(|seconds| seconds < 600.0), "{told}");
        assert!(told.stderr.contains("warning: group inventory has no members: nobody reads for it"), "{told}");

        let table = status().run(WORK).ok();
        let title = table.stdout_lines()[0].split_whitespace().take(4).collect::<Vec<_>>();
        assert_eq!(title, ["GROUP", "STATE", "TOPIC", "PARTITION"], "{table}");
        assert_eq!(table.stdout_lines().len(), rows.len() + 1, "{table}");
        assert!(table.stderr.contains("group inventory: KIP-848, Empty, assignor uniform, 0 members"), "{table}");
    });
}

#[test]
fn a_group_that_is_not_and_a_missing_name_are_told_by_the_exit_code() {
    beside_a_broker(|broker| {
        let unknown = example(broker, "orders").args(["status", "-g", "nobody"]).run(WORK).with_code(1);
        assert!(unknown.stderr.contains("BRK-GROUP: there is no group nobody"), "{unknown}");
        let nameless = example(broker, "orders").arg("status").run(WORK).with_code(2);
        assert!(nameless.stderr.contains("name one with -g GROUP"), "{nameless}");
        let named = example(broker, "orders").args(["status", "-X", "group.id=nobody"]).run(WORK);
        assert!(named.with_code(1).stderr.contains("there is no group nobody"));
    });
}
