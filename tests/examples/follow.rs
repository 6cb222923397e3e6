//! `--follow`: orders that are appended to a file while a producer runs.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use orderflow::broker::DevBroker;
use orderflow::order::Source;
use tempfile::TempDir;

use super::support::ndjson;
use super::support::program::{Running, Signal};
use super::{WORK, beside_a_broker, example};

/// A file that grows, and the producer that follows it.
struct Followed {
    _folder: TempDir,
    path: PathBuf,
    producer: Running,
}

impl Followed {
    fn begin(broker: &DevBroker, text: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("orders.ndjson");
        std::fs::write(&path, text).expect("a folder to write to");
        let producer = example(broker, "inventory_producer").arg(&path);
        let producer = producer.args(["--follow", "--source", "shop", "--json"]).start();
        Self { _folder: folder, path, producer }
    }

    fn append(&self, text: &str) {
        append(&self.path, text);
    }

    /// Waits for the receipt of entry `index` under this name of the source.
    fn await_sent(&self, name: &str, index: u64) {
        let key = format!("\"of1:{}:{index}\"", Source::named(name, None));
        self.producer.await_stdout(&format!("a receipt of {name}:{index}"), WORK, |line| line.contains(&key));
    }

    fn stop(self) -> super::support::program::Finished {
        self.producer.signal(Signal::Terminate);
        self.producer.finish(WORK)
    }
}

fn append(path: &Path, text: &str) {
    let mut file = File::options().append(true).open(path).expect("the file is there");
    file.write_all(text.as_bytes()).expect("a disk with room");
}

fn order(id: u32) -> String {
    format!(r#"{{"order_id":"{id}","product_id":"2","quantity":3,"type":"inventory","timestamp":"5/30/2023"}}"#)
}

#[test]
fn what_is_appended_is_sent_and_a_line_is_not_taken_before_it_is_whole() {
    beside_a_broker(|broker| {
        let followed = Followed::begin(broker, &format!("{}\n\n", order(1)));
        followed.await_sent("shop", 0);
        let line = order(2);
        let (half, rest) = line.split_at(20);
        followed.append(half);
        followed.append(rest);
        // The last one ends where an order could end, but the line may go on.
        followed.append(&format!("\nnot json\n{}\n{}", order(3), order(4)));
        followed.await_sent("shop", 3);
        let ran = followed.stop().with_code(1);
        assert!(ran.stderr.contains(":4:2: ORD-JSON: "), "{ran}");
        assert!(ran.stderr.contains("sent 4, filtered 0, rejected 1"), "{ran}");
        let lines = ndjson::parse(ran.stdout.lines());
        let last: Vec<_> = ndjson::named(&lines, "order_id");
        assert_eq!(last, ["1", "2", "3", "4"], "{ran}");
    });
}

#[test]
fn half_a_line_is_left_to_the_next_run_where_it_has_the_same_identity() {
    beside_a_broker(|broker| {
        let line = order(2);
        let (half, _) = line.split_at(40);
        let followed = Followed::begin(broker, &format!("{}\n{half}", order(1)));
        followed.await_sent("shop", 0);
        let ran = followed.stop().ok();
        assert!(ran.stderr.contains(":2: the last line is not whole yet: left to the next run"), "{ran}");
        assert!(ran.stderr.contains("sent 1, filtered 0, rejected 0"), "{ran}");
        let again = Followed::begin(broker, &format!("{}\n{line}\n", order(1)));
        again.await_sent("shop", 1);
        again.stop().ok();
    });
}

#[test]
fn a_file_that_is_cut_goes_on_under_another_name() {
    beside_a_broker(|broker| {
        let followed = Followed::begin(broker, &format!("{}\n{}\n", order(1), order(2)));
        followed.await_sent("shop", 1);
        std::fs::write(&followed.path, format!("{}\n", order(3))).expect("the file is there");
        followed.await_sent("shop.2", 0);
        let ran = followed.stop().ok();
        let told = format!("the file was cut: source {} from here on", Source::named("shop.2", None));
        assert!(ran.stderr.contains(&told) && ran.stderr.contains("--source shop.2 "), "{ran}");
        assert!(ran.stderr.contains("sent 3, "), "{ran}");
    });
}

#[test]
fn a_file_that_is_replaced_is_read_to_its_end_and_its_successor_from_its_beginning() {
    beside_a_broker(|broker| {
        let followed = Followed::begin(broker, &format!("{}\n", order(1)));
        followed.await_sent("shop", 0);
        for round in 2..4 {
            let moved = followed.path.with_extension(format!("{round}"));
            std::fs::rename(&followed.path, &moved).expect("the file is there");
            append(&moved, &order(10 * round));
            let next = followed.path.with_extension("new");
            std::fs::write(&next, format!("{}\n", order(round))).expect("a folder to write to");
            std::fs::rename(&next, &followed.path).expect("a folder to write to");
            followed.await_sent(&format!("shop.{round}"), 0);
        }
        let ran = followed.stop().ok();
        let sent = ndjson::parse(ran.stdout.lines());
        assert_eq!(ndjson::named(&sent, "order_id"), ["1", "20", "2", "30", "3"], "{ran}");
        assert_eq!(ran.stderr.matches("the file was replaced").count(), 2, "{ran}");
    });
}

#[test]
fn an_empty_file_is_waited_for_and_a_count_ends_the_run() {
    beside_a_broker(|broker| {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("orders.ndjson");
        std::fs::write(&path, "").expect("a folder to write to");
        let producer = example(broker, "inventory_producer").arg(&path).args(["--follow", "--source", "s"]);
        let running = producer.args(["--count", "2"]).start();
        running.await_stderr("the source is told", WORK, |line| line.starts_with("source "));
        append(&path, &format!("{}\n{}\n{}\n", order(1), order(2), order(3)));
        assert!(running.finish(WORK).ok().stderr.contains("sent 2, "));
    });
}

#[test]
fn what_cannot_be_followed_is_refused() {
    beside_a_broker(|broker| {
        for wrong in [
            ["fixtures/orders.json", "--follow"].as_slice(),
            &["--follow", "--source", "s"],
            &["-", "--follow", "--source", "s"],
            &["fixtures/orders.json", "--follow", "--source", "s"],
            &["fixtures/orders.json", "fixtures/deliveries.json", "--follow", "--source", "s"],
            &["fixtures/orders.json", "--follow", "--source", "s", "--repeat"],
            &["no-such-file", "--follow", "--source", "s"],
            &["--generate", "--follow", "--source", "s"],
        ] {
            let ran = example(broker, "inventory_producer").args(wrong).run(WORK).with_code(2);
            assert!(!ran.stderr.contains("sent ") || ran.stderr.contains("sent 0,"), "{ran}");
        }
    });
}
