//! `orders flight` as people run it.

use std::path::Path;

use serde_json::{Value, json};

use super::support::ndjson;
use super::*;
use support::program::Signal;

const TROUBLED: &str = "the store answers";

fn orders_flight(arguments: &[&str], code: i32) -> Vec<Value> {
    let run = support::example::example("orders").args(["flight"]).args(arguments).arg("--json").run(WORK);
    ndjson::parse(run.with_code(code).stdout.lines())
}

/// Why the recordings in a folder were written, the oldest first; one that was asked for by name is not among them.
fn because(folder: &Path) -> Vec<String> {
    let mut files: Vec<_> =
        std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("a file").path()).collect();
    files.retain(|file| text(file).contains(".flight-"));
    files.sort();
    let header = |file| std::fs::read_to_string(file).expect("it is there").lines().next().map(ToOwned::to_owned);
    let headers = files.into_iter().filter_map(header).collect::<Vec<_>>();
    let headers = ndjson::parse(headers.iter().map(String::as_str));
    headers.iter().map(|header| header["because"].as_str().expect("a reason").to_owned()).collect()
}

#[test]
fn a_producer_that_is_sent_a_signal_writes_a_recording_and_goes_on() {
    beside_a_broker(|broker| {
        let folder = tempfile::tempdir().expect("a folder");
        let dir = format!("flight.dir={}", text(folder.path()));
        let producer =
            example(broker, "delivery_producer").args(["-q", "--generate", "--rate", "50", "-X", &dir]).start();
        let sending = || broker.offsets("delivery_orders", 0).is_ok().then_some(());
        support::wait::until("it is sending", WORK, sending);
        producer.signal(Signal::User);
        producer.await_stderr("it says where", WORK, |line| line.contains("recorded in"));
        producer.signal(Signal::Terminate);
        producer.finish(WORK).ok();
        assert_eq!(because(folder.path()), ["signal"]);
    });
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

#[test]
fn a_running_consumer_writes_what_its_machines_did_and_the_file_is_run_again() {
    beside_a_broker(|broker| {
        let folder = tempfile::tempdir().expect("a folder");
        let store = folder.path().join("inventory.redb");
        example(broker, "inventory_producer").arg("-q").run(WORK).ok();
        let running = example(broker, "inventory_consumer").args(["-q", "--store"]).arg(&store).start();
        let socket = store.with_extension("redb.sock");
        support::wait::until(TROUBLED, WORK, || socket.exists().then_some(()));
        let to = folder.path().join("mine.jsonl");
        // It joins its group meanwhile.
        let is_in = || {
            let _ = std::fs::remove_file(&to);
            orders_flight(&["--store", &text(&store), "--to", &text(&to)], 0);
            let steps = orders_flight(&["replay", &text(&to)], 0);
            steps
                .iter()
                .any(|step| step["effects"].as_str().is_some_and(|done| done.contains("ASSIGNED")))
                .then_some(steps)
        };
        let steps = support::wait::until("it is in its group", WORK, is_in);
        for column in ["at", "machine", "same", "event", "effects", "recorded"] {
            assert!(steps[0].get(column).is_some(), "{}", steps[0]);
        }
        assert!(
            steps.iter().any(|step| step["same"] == json!("yes"))
                && steps.iter().all(|step| step["same"] != json!("NO"))
        );
        orders_flight(&["--store", &text(&store), "--to", &text(&to)], 2);

        let beside = orders_flight(&["--store", &text(&store)], 0)[0]["file"].as_str().expect("a file").to_owned();
        assert!(beside.starts_with(&format!("{}.flight-", text(&store))) && beside.ends_with(".jsonl"), "{beside}");
        running.signal(Signal::User);
        running.await_stderr("it says where", WORK, |line| line.contains("recorded in"));
        running.signal(Signal::Terminate);
        running.finish(WORK).ok();
        assert_eq!(because(folder.path()), ["asked", "signal"]);

        let recording = std::fs::read_to_string(&to).expect("it is there");
        let changed = recording.replacen("\"FindCoordinator\"", "\"FallBack\"", 1);
        assert_ne!(changed, recording);
        std::fs::write(&to, changed).expect("it is written");
        let steps = orders_flight(&["replay", &text(&to)], 1);
        assert_eq!(steps.iter().filter(|step| step["same"] == json!("NO")).count(), 1);
        let test =
            support::example::example("orders").args(["flight", "replay", &beside, "--emit-test"]).run(WORK).ok();
        assert!(test.stdout.contains("#[test]\nfn the_machines_do_again_what_they_did_before_"), "{}", test.stdout);

        orders_flight(&["--store", &text(&store)], 1);
        orders_flight(&["replay", &text(&store)], 2);
        orders_flight(&["replay", "nothing.jsonl"], 2);
    });
}
