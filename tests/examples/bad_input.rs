//! Bad input of every kind: a clear error with code and place, the exit code, bounded memory, no panic, no hang.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::WORK;
use super::hostile::{Malice, serve};
use super::support::example::example;
use super::support::program::{Finished, Program, Running};
use super::support::wait;

/// No run here may need more memory, in kB.
const MEMORY_MAX: u64 = 200_000;

/// A wait of these programs ends soon, so that the tests do.
const IMPATIENT: [&str; 10] = [
    "-X",
    "request.timeout.ms=400",
    "-X",
    "default.api.timeout.ms=2000",
    "-X",
    "socket.connection.setup.timeout.ms=400",
    "-X",
    "max.block.ms=2000",
    "-X",
    "delivery.timeout.ms=2000",
];

/// The most memory in kB that a program was seen to have, until it has ended or its time is up.
fn peak_until_its_end(running: &mut Running) -> u64 {
    let status = format!("/proc/{}/status", running.id());
    let mut peak = 0;
    wait::until_or(WORK, || {
        let shown = std::fs::read_to_string(&status).unwrap_or_default();
        let line = shown.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
        peak = peak.max(line.trim().trim_end_matches(" kB").parse().unwrap_or(0));
        (!running.is_running()).then_some(())
    });
    peak
}

/// Runs a program to its end while its memory is watched, and sees that it did not panic.
#[track_caller]
fn watched(program: Program) -> Finished {
    let mut running = program.start();
    let peak = peak_until_its_end(&mut running);
    let ended = running.finish(Duration::from_secs(1));
    assert!(peak < MEMORY_MAX, "{peak} kB: {ended}");
    assert!(!ended.stderr.contains("panicked"), "{ended}");
    assert!(ended.code().is_some(), "{ended}");
    ended
}

/// A folder with one file, written in parts.
fn file(name: &str, write: impl FnOnce(&mut File)) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join(name);
    write(&mut File::create(&path).expect("a folder to write to"));
    (folder, path)
}

#[track_caller]
fn linted(path: &Path, code: i32, told: &str) {
    let ran = watched(example("orders").arg("lint").arg(path)).with_code(code);
    let all = format!("{}\n{}", ran.stdout, ran.stderr);
    assert!(all.contains(told), "no {told}: {ran}");
}

#[test]
fn the_malformed_fixture_is_told_entry_by_entry_with_code_and_place() {
    let ran = watched(example("orders").args(["lint", "fixtures/orders_malformed.json"])).with_code(1);
    assert_eq!(ran.stdout_lines().len(), 8, "{ran}");
    for (line, told) in (2..).zip(ran.stdout_lines()) {
        assert!(told.starts_with(&format!("fixtures/orders_malformed.json:{line}:")), "{told}");
        assert!(told.contains(": ORD-DATE-INVALID: ") && told.ends_with(" (/timestamp)"), "{told}");
    }
}

#[test]
fn cut_nested_and_broken_json_is_told_with_its_place() {
    let order = r#"{"order_id":"1","product_id":"2","quantity":3,"type":"inventory","timestamp":"5/30/2023"}"#;
    let nested = |depth: usize| order.replace(":3,", &format!(":3,\"x\":{}{},", "[".repeat(depth), "]".repeat(depth)));
    for (text, told) in [
        (format!("[{order},\n{}", &order[..30]).into_bytes(), ":2:1: ORD-FILE-TRUNCATED: "),
        (format!("[{order}").into_bytes(), ":1:91: ORD-FILE-TRUNCATED: "),
        (order[..30].into(), ":1:31: ORD-JSON: "),
        (nested(200).into_bytes(), ":1:82: ORD-TOO-DEEP: "),
        (format!("[{}]", nested(200)).into_bytes(), ":1:179: ORD-FILE-STRUCTURE: "),
        (nested(2_000_000).into_bytes(), ":1:1: ORD-TOO-LARGE: "),
        (order.replace(":3,", ":1e400,").into_bytes(), ":1:45: ORD-QTY-TYPE: `1e400` is not an integer (/quantity)"),
        (order.replace(":3,", ":99999999999999999999,").into_bytes(), ":1:45: ORD-QTY-RANGE: "),
        (
            [&order.as_bytes()[..35], b"\xff\xfe", &order.as_bytes()[35..]].concat(),
            ":1:36: ORD-JSON: the bytes are not",
        ),
        (b"\xff\xfe[\0{\0".to_vec(), ":1:1: ORD-JSON: "),
        (b"\0\0\0\0".to_vec(), ":1:1: ORD-JSON: "),
    ] {
        let (_folder, path) = file("orders.json", |file| file.write_all(&text).expect("a disk with room"));
        linted(&path, 1, told);
    }
    // A number that no f64 holds, in a field that nobody knows, is valid JSON and kept as it is.
    let (_folder, path) = file("orders.json", |file| {
        file.write_all(order.replace(":3,", ":3,\"x\":1e400,").as_bytes()).expect("a disk with room");
    });
    linted(&path, 0, "");
}

#[test]
fn a_line_of_200_mb_is_told_in_little_memory() {
    // Sparse: a hole of zero bytes, without a line end.
    let (_folder, path) = file("line.ndjson", |file| file.set_len(200 << 20).expect("a sparse file"));
    linted(&path, 1, ":1:1: ORD-TOO-LARGE: ");
    let producer = example("inventory_producer").args(["-b", "127.0.0.1:1"]).args(IMPATIENT).arg(&path);
    watched(producer).with_code(1);
}

#[test]
fn an_element_of_200_mb_is_told_in_little_memory() {
    let (_folder, path) = file("element.json", |file| {
        file.write_all(b"[{\"order_id\": 1}, {\"order_id\": [").expect("a disk with room");
        file.set_len(200 << 20).expect("a sparse file");
    });
    linted(&path, 1, ":1:19: ");
}

#[test]
fn what_is_no_file_is_refused() {
    for (program, arguments) in [
        ("orders", ["lint", "fixtures"].as_slice()),
        ("orders", &["lint", "no-such-file.json"]),
        ("inventory_producer", &["fixtures"]),
        ("inventory_producer", &["no-such-file.json"]),
        ("inventory_consumer", &["--backfill", "fixtures"]),
        ("inventory_producer", &["--rejects", "no-such-folder/rejects"]),
    ] {
        let ran = watched(example(program).args(["-b", "127.0.0.1:1"]).args(arguments)).with_code(2);
        let name = arguments.last().copied().unwrap_or_default();
        assert!(ran.stderr.contains("ORD-INPUT: ") && ran.stderr.contains(name), "{ran}");
    }
}

#[test]
fn what_is_no_store_is_refused_and_left_alone() {
    let (folder, path) = file("notes.txt", |file| file.write_all(b"not a store at all").expect("a disk with room"));
    let nowhere = folder.path().join("nowhere/inventory.redb");
    for (store, code) in [(path.as_path(), "STO-FORMAT"), (folder.path(), "STO-FORMAT"), (&nowhere, "STO-MISSING")] {
        for program in [["orders", "stock"].as_slice(), &["orders", "verify"], &["inventory_consumer", "-e"]] {
            let (name, rest) = program.split_first().expect("a name");
            let run = example(name).args(["-b", "127.0.0.1:1"]).args(rest).arg("--store").arg(store);
            let ran = watched(run).with_code(2);
            assert!(ran.stderr.contains(code), "{ran}");
        }
    }
    assert_eq!(std::fs::read(&path).expect("it is still there"), b"not a store at all");
}

#[test]
fn bad_settings_are_refused_by_name_and_unknown_ones_warned_about() {
    for (wrong, told) in [
        (["-X", "linger.ms=soon"].as_slice(), "linger.ms"),
        (&["-X", "linger.ms=-1"], "linger.ms"),
        (&["-X", "linger.ms=99999999999999999999"], "linger.ms"),
        (&["-X", "linger.ms"], "linger.ms"),
        (&["-X", "compression.type=zip"], "compression.type"),
        (&["-X", "acks=1"], "acks"),
        (&["-b", ""], "bootstrap.servers"),
        (&["-b", ","], "bootstrap.servers"),
        (&["-b", "host:port"], "bootstrap.servers"),
        (&["-b", "127.0.0.1:99999"], "bootstrap.servers"),
        (&["-F", "fixtures"], "fixtures"),
        (&["-F", "no-such.properties"], "no-such.properties"),
        (&["--shutdown-timeout", "18446744073709551615"], "shutdown.timeout.ms"),
        (&["--shutdown-timeout=-1"], "--shutdown-timeout"),
    ] {
        let ran = watched(example("orders").args(["topics", "describe"]).args(wrong)).with_code(2);
        assert!(ran.stderr.contains(told), "no {told}: {ran}");
    }
    let unknown = example("orders").args(["-X", "lingerms=5", "-X", "acks.all=5", "-X", "dump"]);
    let ran = watched(unknown).with_code(0);
    assert!(ran.stderr.contains("`lingerms`") && ran.stderr.contains("did you mean `linger.ms`"), "{ran}");
}

#[test]
fn an_address_where_nobody_is_ends_soon_with_the_address_and_the_hint() {
    for address in ["127.0.0.1:1", "no.such.host.invalid:9092", "[::1]:1"] {
        for program in [["orders", "topics", "describe"].as_slice(), &["delivery_producer"]] {
            let (name, rest) = program.split_first().expect("a name");
            let run = example(name).args(["-b", address]).args(IMPATIENT).args(rest);
            let ran = watched(run).with_code(1);
            assert!(ran.stderr.contains("NET-CONNECT: ") && ran.stderr.contains(address), "{ran}");
            assert!(ran.stderr.trim_end().ends_with("-- --listen 127.0.0.1:9092 --keep"), "{ran}");
        }
    }
}

#[track_caller]
fn endures(malice: Malice, told: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let address = serve(malice).to_string();
    for program in [["orders", "topics", "describe"].as_slice(), &["delivery_producer"], &["delivery_consumer", "-e"]] {
        let (name, rest) = program.split_first().expect("a name");
        let mut run = example(name).args(["-b", &address]).args(IMPATIENT).args(rest);
        if *name == "delivery_consumer" {
            run = run.arg("--store").arg(folder.path().join("delivery.redb"));
        }
        let ran = watched(run).with_code(1);
        assert!(ran.stderr.contains(&address), "{malice:?}: {ran}");
        assert!(ran.stderr.contains(told), "{malice:?}: no {told}: {ran}");
    }
}

#[test]
fn a_server_that_closes_or_speaks_another_language_is_told_to_be_no_kafka() {
    endures(Malice::Closes, "check that this address is a Kafka broker");
    endures(Malice::SpeaksHttp, "check that this address is a Kafka broker");
}

#[test]
fn a_server_that_never_answers_or_drips_is_given_up() {
    endures(Malice::Silent, "did not answer ApiVersions within 400 ms");
    endures(Malice::Drips, "did not answer ApiVersions within 400 ms");
}

#[test]
fn hostile_lengths_take_no_memory() {
    endures(Malice::HugeFrame, "NET-");
    endures(Malice::NegativeFrame, "NET-");
    endures(Malice::HugeArray, "NET-PROTOCOL: ");
    endures(Malice::Garbage, "NET-");
}

#[test]
fn a_long_stream_is_read_in_constant_memory() {
    let (short, long) = (4 << 20, 24 << 20);
    let peak = |bytes: usize| {
        let order = "{\"order_id\":\"1\",\"product_id\":\"2\",\"quantity\":3,\"type\":\"inventory\",\"timestamp\":\"5/30/2023\"}\n";
        let mut running = example("orders").args(["lint", "-"]).input(order.repeat(bytes / order.len())).start();
        let peak = peak_until_its_end(&mut running);
        running.finish(WORK).ok();
        peak
    };
    let (short_peak, long_peak) = (peak(short), peak(long));
    let more = long_peak.saturating_sub(short_peak);
    assert!(more < (long - short) as u64 / 1024 / 10, "{short_peak} kB, and {long_peak} kB for 6 times the stream");
}
