//! What the two producers take, print, return.

use std::time::Duration;

use serde_json::json;

use super::support::example::{example as lone_example, path};
use super::support::program::{Program, Signal};
use super::support::{ndjson, wait};
use super::{WORK, beside_a_broker, example};
use orderflow::order::Source;

#[test]
fn each_order_has_a_receipt_and_the_other_type_is_filtered() {
    beside_a_broker(|broker| {
        let ran = example(broker, "inventory_producer").arg("--json").run(WORK).ok();
        let lines = ndjson::parse(ran.stdout.lines());
        assert_eq!(lines.len(), 14, "{ran}");
        let summary = json!({"sent": 13, "filtered": 21, "rejected": 0, "possibly_written": 0, "failed": 0});
        assert_eq!(lines[13], json!({ "summary": summary }));
        let receipt = &lines[0];
        assert_eq!(receipt["order_id"], "88665");
        assert_eq!((&receipt["key"], &receipt["topic"]), (&json!("9"), &json!("inventory_orders")));
        let identity = receipt["idempotency_key"].as_str().unwrap_or_default();
        assert!(identity.starts_with("of1:") && identity.ends_with(":0"), "{identity}");
        assert!(ran.stderr.starts_with("source "), "{ran}");
        assert!(ran.stderr.contains("sent 13, filtered 21, rejected 0, possibly written 0, failed 0 in "), "{ran}");
    });
}

#[test]
fn a_bad_entry_is_told_with_its_place_and_kept_and_the_rest_is_sent() {
    beside_a_broker(|broker| {
        let folder = tempfile::tempdir().expect("a folder");
        let rejects = folder.path().join("rejects.ndjson");
        let good = r#"{"order_id":"1","product_id":"2","quantity":3,"type":"inventory","timestamp":"5/30/2023"}"#;
        let bad = good.replace(":3,", ":0,");
        let sent = example(broker, "inventory_producer").arg("--rejects").arg(&rejects).arg("-");
        let ran = sent.input(format!("{good}\n{bad}\n{good}\n")).run(WORK).with_code(1);
        assert!(ran.stderr.contains("-:2:45: ORD-QTY-RANGE: "), "{ran}");
        assert!(ran.stderr.contains("sent 2, filtered 0, rejected 1"), "{ran}");
        assert_eq!(ran.stdout, "");
        let kept = std::fs::read_to_string(&rejects).expect("the rejects were kept");
        assert_eq!(kept.trim_end(), bad);
    });
}

#[test]
fn rejected_entries_are_kept_as_lines_that_can_be_mended_and_sent() {
    beside_a_broker(|broker| {
        let folder = tempfile::tempdir().expect("a folder");
        let rejects = folder.path().join("rejects.ndjson");
        let bad = "fixtures/orders_malformed.json";
        let ran = example(broker, "inventory_producer").arg(bad).arg("--rejects").arg(&rejects).run(WORK).with_code(1);
        let last = ran.stderr.lines().last().unwrap_or_default();
        assert!(last.starts_with("rejected entries: 8; mend and send"), "{ran}");
        let kept = std::fs::read_to_string(&rejects).expect("the rejects were kept");
        assert_eq!(kept.lines().count(), 8, "{kept}");
        let mended = kept.lines().map(|line| {
            let mut order: serde_json::Value = serde_json::from_str(line).expect("a line is an entry");
            order["timestamp"] = json!("1/16/2023");
            format!("{order}\n")
        });
        let mended: String = mended.collect();
        std::fs::write(&rejects, mended).expect("a folder to write to");
        let ran = example(broker, "inventory_producer").arg(&rejects).run(WORK).ok();
        assert!(ran.stderr.contains("sent 8, filtered 0, rejected 0"), "{ran}");
        let same = example(broker, "inventory_producer").arg(&rejects).arg("--rejects").arg(&rejects);
        assert!(same.run(WORK).with_code(2).stderr.contains("name another file for --rejects"));
        assert!(std::fs::metadata(&rejects).expect("the input is still there").len() > 0);
    });
}

#[test]
fn several_files_and_stdin_are_sent_one_after_the_other_each_with_its_source() {
    beside_a_broker(|broker| {
        let order = r#"{"order_id":"1","product_id":"2","quantity":3,"type":"delivery","timestamp":"5/30/2023"}"#;
        let files = ["fixtures/orders.json", "-", "fixtures/deliveries.json"];
        let ran = example(broker, "delivery_producer").args(files).arg("--json").input(order).run(WORK).ok();
        let lines = ndjson::parse(ran.stdout.lines());
        let sources: Vec<_> = ndjson::named(&lines, "idempotency_key")
            .iter()
            .filter_map(|key| Some(key.as_str()?.split(':').nth(1)?.to_owned()))
            .collect();
        assert_eq!(sources.len(), 21 + 1 + 12, "{ran}");
        let told: Vec<_> = ran.stderr.lines().filter(|line| line.starts_with("source ")).collect();
        assert_eq!(told.len(), 3, "{ran}");
        for (line, first) in told.iter().zip([0, 21, 22]) {
            assert!(line.starts_with(&format!("source {}: ", sources[first])), "{ran}");
        }
        assert!(told[0].ends_with("sending this file again has no second effect; --source NAME makes it new"), "{ran}");
        assert!(told[1].contains("new for this run"), "{ran}");
    });
}

#[test]
fn a_name_makes_a_files_orders_new_and_names_those_of_a_stream() {
    beside_a_broker(|broker| {
        let order = r#"{"order_id":"1","product_id":"2","quantity":3,"type":"delivery","timestamp":"5/30/2023"}"#;
        let key = |arguments: &[&str]| {
            let ran = example(broker, "delivery_producer").args(arguments).arg("--json").input(order).run(WORK).ok();
            let lines = ndjson::parse(ran.stdout.lines());
            ndjson::named(&lines, "idempotency_key")[0].as_str().expect("a key").to_owned()
        };
        let file = "fixtures/deliveries.json";
        assert_eq!(key(&[file]), key(&[file]));
        assert_eq!(key(&[file, "--source", "monday"]), key(&[file, "--source", "monday"]));
        assert_ne!(key(&[file]), key(&[file, "--source", "monday"]));
        assert_ne!(key(&["-"]), key(&["-"]));
        assert_eq!(key(&["-", "--source", "monday"]), format!("of1:{}:0", Source::named("monday", None)));
    });
}

#[test]
fn a_pipe_named_as_a_file_is_read_once() {
    beside_a_broker(|broker| {
        let folder = tempfile::tempdir().expect("a folder");
        let pipe = folder.path().join("pipe");
        Program::new("mkfifo").arg(&pipe).run(WORK).ok();
        let orders = std::fs::read("fixtures/orders.json").expect("the fixture");
        let running = example(broker, "inventory_producer").arg(&pipe).start();
        std::fs::write(&pipe, orders).expect("a reader takes all");
        assert!(running.finish(WORK).ok().stderr.contains("sent 13, filtered 21"));
    });
}

#[test]
fn a_rate_spaces_the_orders_and_one_that_cannot_be_is_refused() {
    beside_a_broker(|broker| {
        let begun = std::time::Instant::now();
        let ran = example(broker, "inventory_producer").args(["--generate", "--rate", "40", "--count", "20"]);
        assert!(ran.run(WORK).ok().stderr.contains("sent 20, "));
        assert!(begun.elapsed() >= Duration::from_millis(480), "{:?}", begun.elapsed());
        for rate in ["-1", "nan", "inf", "1e-300", "fast"] {
            example(broker, "inventory_producer").arg(format!("--rate={rate}")).run(WORK).with_code(2);
        }
    });
}

#[test]
fn a_file_that_changes_while_it_is_sent_is_an_error_with_and_without_a_name() {
    beside_a_broker(|broker| {
        let folder = tempfile::tempdir().expect("a folder");
        let order = r#"{"order_id":"1","product_id":"2","quantity":3,"type":"delivery","timestamp":"5/30/2023"}"#;
        for name in [[].as_slice(), &["--source", "monday"]] {
            let path = folder.path().join("orders.ndjson");
            std::fs::write(&path, format!("{order}\n").repeat(8_000)).expect("a folder to write to");
            let producer = example(broker, "delivery_producer").arg(&path).args(name);
            let running = producer.args(["--json", "--rate", "5000"]).start();
            running.await_stdout("a receipt", WORK, |line| line.contains("offset"));
            let mut file = std::fs::File::options().append(true).open(&path).expect("the file");
            std::io::Write::write_all(&mut file, b"\n").expect("a disk with room");
            let ran = running.finish(WORK).with_code(2);
            assert!(ran.stderr.contains("it changed while it was sent"), "{name:?}: {}", ran.stderr);
            assert!(ran.stderr.contains("sent 8000, "), "{name:?}: {}", ran.stderr);
        }
    });
}

#[test]
fn no_orders_are_no_error() {
    beside_a_broker(|broker| {
        for input in ["", "[]", "\n\n"] {
            let ran = example(broker, "delivery_producer").arg("-").input(input).run(WORK).ok();
            assert!(ran.stderr.contains("sent 0, filtered 0, rejected 0"), "{ran}");
        }
    });
}

#[test]
fn wrong_usage_is_told_before_anything_is_sent() {
    for wrong in [
        ["no-such-file.json"].as_slice(),
        &["fixtures"],
        &["-X", "linger.ms=soon"],
        &["-X", "acks=1"],
        &["--no-such-flag"],
        &["-F", "no-such.properties"],
    ] {
        lone_example("inventory_producer").args(["-b", "127.0.0.1:1"]).args(wrong).run(WORK).with_code(2);
    }
}

#[test]
fn without_a_broker_the_last_line_says_how_to_have_one() {
    let ran = lone_example("inventory_producer").args(["-b", "127.0.0.1:1"]).run(WORK).with_code(1);
    let hint = "no Kafka here? cargo run --release --example pipeline -- --listen 127.0.0.1:9092 --keep";
    assert_eq!(ran.stderr.lines().last(), Some(hint), "{ran}");
}

#[test]
fn an_unknown_setting_is_warned_about_with_the_nearest_known_one() {
    let ran = lone_example("orders").args(["-X", "linger.msec=5", "-X", "dump"]).run(WORK).ok();
    assert!(ran.stderr.contains("did you mean `linger.ms`"), "{ran}");
    assert!(ran.stdout_lines().contains(&"linger.ms=0"), "{ran}");
}

#[test]
fn a_signal_ends_made_up_orders_cleanly() {
    beside_a_broker(|broker| {
        let running = example(broker, "delivery_producer").args(["--generate", "--rate", "500", "--json"]).start();
        running.await_stdout("a receipt", WORK, |line| line.contains("\"offset\""));
        running.signal(Signal::Terminate);
        let ended = running.finish(WORK).ok();
        let lines = ndjson::parse(ended.stdout.lines());
        assert_eq!(ndjson::summary(&lines, "sent"), lines.len() as u64 - 1, "{ended}");
    });
}

#[test]
fn a_count_stops_a_repeated_file_in_its_second_round() {
    beside_a_broker(|broker| {
        let ran = example(broker, "inventory_producer").args(["--repeat", "--count", "20", "--json"]).run(WORK).ok();
        let lines = ndjson::parse(ran.stdout.lines());
        let identities = ndjson::named(&lines, "idempotency_key");
        let distinct: std::collections::BTreeSet<_> = identities.iter().map(|value| value.to_string()).collect();
        assert_eq!((identities.len(), distinct.len()), (20, 20), "{ran}");
    });
}

#[test]
fn a_reader_that_closes_stdout_ends_the_program_quietly() {
    beside_a_broker(|broker| {
        let folder = tempfile::tempdir().expect("a folder");
        let errors = folder.path().join("stderr");
        let script = format!(
            "{} -b {} --generate --json -q 2>{} | head -n 3",
            path("delivery_producer").display(),
            broker.bootstrap(),
            errors.display(),
        );
        let ran = Program::new("sh").args(["-c", &script]).run(WORK).ok();
        assert_eq!(ran.stdout_lines().len(), 3);
        let quiet = || std::fs::read_to_string(&errors).ok().filter(|text| text.contains("sent "));
        let said = wait::until("the summary", Duration::from_secs(30), quiet);
        assert!(!said.contains("panicked") && !said.contains("Broken pipe"), "{said}");
    });
}
