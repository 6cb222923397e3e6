//! The house rules as tests: who may import whom, names, sizes, and what must not be written.
//!
//! A rule is a function from a file to what is wrong with it. Each is tried on a planted violation first, which proves
//! that it can fail. An exception is written into the rule's list below, with its reason.
#![allow(clippy::expect_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod guarantees;
mod source;

use std::path::Path;

use source::Source;

type Rule = fn(&Source) -> Vec<String>;

/// Files of their own below everything: nothing of the crate is above them.
const GROUND: [&str; 6] = ["error", "place", "backoff", "gather", "shutdown", "plant"];

/// Who may import whom, beside itself and [`GROUND`]. The longest name that fits a file decides for it.
const MAY_IMPORT: [(&str, &[&str]); 24] = [
    ("error", &[]),
    ("place", &[]),
    ("backoff", &[]),
    ("gather", &[]),
    ("shutdown", &[]),
    ("config", &[]),
    ("order", &[]),
    ("flight", &["config"]),
    ("flight::replay", &["flight", "consumer", "outbox", "producer"]),
    ("telemetry", &["config"]),
    ("wire", &["config"]),
    ("cluster", &["config", "wire", "telemetry"]),
    ("producer", &["config", "flight", "order", "wire", "cluster", "telemetry"]),
    ("store", &["config", "order", "telemetry"]),
    ("consumer", &["config", "flight", "order", "wire", "cluster", "store", "telemetry"]),
    ("consumer::group", &["config", "flight", "wire", "cluster", "telemetry"]),
    ("scan", &["wire", "cluster", "store"]),
    ("audit", &["config", "order", "cluster", "store", "scan"]),
    ("outbox", &["config", "flight", "order", "wire", "cluster", "producer", "store", "consumer", "scan"]),
    ("trace", &["config", "order", "cluster", "store", "scan", "outbox"]),
    ("broker", &["config", "wire"]),
    ("testing", &["config", "order", "wire", "producer", "store", "consumer", "broker"]),
    ("plant", &[]),
    ("simulation", &["config", "order", "wire", "producer", "store", "consumer", "broker", "testing"]),
];

/// Parts that no other part of the crate may import, unless it says so in [`MAY_IMPORT`].
const NOBODY_IMPORTS: [&str; 2] = ["broker", "telemetry::http"];

/// What `lib.rs` gives again from `error`, so that every file may name it shortly.
const ERROR_NAMES: [&str; 4] = ["Error", "ErrorCode", "Result", "BoxError"];

/// Words that say nothing. If no better one comes, two things are in one type.
const VAGUE: [&str; 8] = ["util", "utils", "helper", "helpers", "common", "manager", "data", "info"];

const MAX_LINES: usize = 400;

/// Files that may be longer, and why.
const LONGER: [(&str, &str); 1] =
    [("src/broker/groups/classic.rs", "one state machine: its transitions are read together")];

/// Files whose purpose has an `and` that joins no two purposes.
const ONE_PURPOSE: [(&str, &str); 2] = [
    ("src/store/mod.rs", "effects and positions are kept together: that is the purpose"),
    ("src/wire/mod.rs", "to and from are one traffic"),
];

/// Files that read the wall clock, and what for: to tell a time, never to wait. A clock that jumps then disturbs nothing.
const WALL_CLOCK: [(&str, &str); 11] = [
    ("src/broker/clock.rs", "the timestamps that a broker gives records"),
    ("src/cluster/admin/groups/status.rs", "how old a group's lag is, for people"),
    ("src/consumer/control.rs", "how old the lag is, for people"),
    ("src/consumer/dispatch/handler.rs", "when an order failed first, for people"),
    ("src/consumer/dispatch/handler/aside.rs", "when a record was set aside, for people"),
    ("src/flight/files.rs", "the name of a recording"),
    ("src/flight/recorder.rs", "when a recording began, for people"),
    ("src/producer/records.rs", "the timestamps of records"),
    ("src/store/backfill.rs", "the timestamps of records from a file"),
    ("src/store/redb/engine.rs", "which timestamps lie in the future; when something was set aside"),
    ("src/store/postgres/transaction.rs", "as the embedded store's engine"),
];

/// Files that may wait real time, and why.
const MAY_SLEEP: [(&str, &str); 3] = [
    ("tests/kafka/ours.rs", "a process of its own whose handler takes long: that is what its case is about"),
    ("tests/support/wait.rs", "the one place that waits between two looks at a condition, within a deadline"),
    ("src/producer/tests/model.rs", "it plays a cluster; the tests that use it pause the clock"),
];

fn excepted(list: &[(&str, &str)], source: &Source) -> bool {
    list.iter().any(|(path, reason)| *path == source.path && !reason.is_empty())
}

fn within(path: &str, module: &str) -> bool {
    path.strip_prefix(module).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

fn imports_flow_one_way(source: &Source) -> Vec<String> {
    let Some(module) = source.module() else { return Vec::new() };
    let layer = MAY_IMPORT.iter().filter(|(layer, _)| within(&module, layer)).max_by_key(|(layer, _)| layer.len());
    let Some((layer, allowed)) = layer else {
        return vec![format!("`{module}` has no place in MAY_IMPORT")];
    };
    let forbidden = |path: &String| {
        let own = within(path, layer);
        let error = ERROR_NAMES.iter().any(|name| within(path, name)) && *layer != "place";
        let ground = GROUND.iter().any(|ground| within(path, ground)) && !GROUND.contains(layer);
        let ground = ground || (*layer == "error" && within(path, "place"));
        let below = allowed.iter().any(|layer| within(path, layer));
        let closed = NOBODY_IMPORTS
            .iter()
            .any(|closed| within(path, closed) && !within(&module, closed) && !allowed.contains(closed));
        closed || !(own || error || ground || below)
    };
    source.crate_paths().into_iter().filter(forbidden).map(|path| format!("{layer} must not import {path}")).collect()
}

fn only_wire_names_rskafka(source: &Source) -> Vec<String> {
    let named = source.code.contains("rskafka") && !source.path.starts_with("src/wire/");
    named.then(|| "rskafka is named in src/wire only".to_owned()).into_iter().collect()
}

/// The words of `CamelCase` or `snake_case`, in lower case.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    for letter in name.chars() {
        if !letter.is_lowercase() && words.last().is_some_and(|word| !word.is_empty()) {
            words.push(String::new());
        }
        if letter.is_alphabetic() {
            words.last_mut().expect("never empty").extend(letter.to_lowercase());
        }
    }
    words
}

fn names_say_something(source: &Source) -> Vec<String> {
    let is_vague = |name: &&str| words(name).iter().any(|word| VAGUE.contains(&word.as_str()));
    let stems = source.path.trim_end_matches(".rs").split('/');
    let declared = ["struct ", "enum ", "trait ", "type ", "mod "].into_iter().flat_map(|keyword| {
        source.code.match_indices(keyword).filter_map(move |(at, _)| {
            let alone = !source.code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
            alone.then(|| source.code[at + keyword.len()..].split(|c: char| !c.is_alphanumeric() && c != '_').next())?
        })
    });
    // Kafka's own message schemas name their parts, and ours are the same names.
    let schema = source.path.starts_with("src/wire/message") || source.path.starts_with("src/broker");
    let declared = declared.filter(|_| !schema);
    stems.chain(declared).filter(is_vague).map(|name| format!("`{name}` says nothing")).collect()
}

fn the_first_line_is_one_purpose(source: &Source) -> Vec<String> {
    let first = source.text.lines().next().unwrap_or_default();
    let Some(purpose) = first.strip_prefix("//! ") else {
        return vec!["the first line is no `//!` sentence of purpose".to_owned()];
    };
    // `A, B and C` enumerates, and so does what follows a colon; a bare `and` says that the file has two purposes.
    let joins = purpose.split_once(" and ").is_some_and(|(before, _)| !before.contains([',', ':', '.']));
    let two = joins && !excepted(&ONE_PURPOSE, source);
    let ends =
        source.text.lines().take_while(|line| line.strip_prefix("//! ").is_some()).any(|l| l.ends_with(['.', '!']));
    let problems = [(two, "the purpose needs an `and`: two files?"), (!ends, "the purpose is no sentence")];
    problems.into_iter().filter(|(wrong, _)| *wrong).map(|(_, why)| format!("{why} ({purpose})")).collect()
}

fn files_are_short(source: &Source) -> Vec<String> {
    let lines = source.text.lines().count();
    let long = lines > MAX_LINES && !excepted(&LONGER, source);
    long.then(|| format!("{lines} lines: split it by idea, or give a reason in LONGER")).into_iter().collect()
}

fn nothing_is_left_unfinished(source: &Source) -> Vec<String> {
    let marks = ["todo!", "dbg!", "unimplemented!"];
    marks.into_iter().filter(|mark| source.code.contains(mark)).map(|mark| format!("`{mark}` is left")).collect()
}

fn tests_do_not_sleep(source: &Source) -> Vec<String> {
    // Everything there runs on one paused clock.
    let simulated = source.path.starts_with("src/simulation/");
    let paused = simulated || source.tests().contains("start_paused") || source.tests().contains("time::pause()");
    let real = source.tests().contains("thread::sleep(") || (source.tests().contains("sleep(") && !paused);
    let wrong = real && !excepted(&MAY_SLEEP, source);
    wrong.then(|| "waits real time: pause the clock, or wait on a condition".to_owned()).into_iter().collect()
}

fn allowances_have_reasons(source: &Source) -> Vec<String> {
    let openings = ["#[allow(", "#![allow(", "#[expect(", "#![expect("].into_iter();
    let found = openings.flat_map(|opening| source.code.match_indices(opening));
    let bare = found.filter(|(at, _)| {
        let end = source.code[*at..].find(")]").map_or(source.code.len(), |end| at + end);
        !source.code[*at..end].contains("reason")
    });
    bare.map(|(at, _)| format!("line {}: no reason", source.code[..at].matches('\n').count() + 1)).collect()
}

/// `a_refused_send_does_not_release_the_wait` says what holds; `test_send` and `send` do not.
fn tests_are_named_by_outcome(source: &Source) -> Vec<String> {
    let names = source.code.match_indices("test]\n").filter_map(|(at, mark)| {
        let (_, after) = source.code[at + mark.len()..].split_once("fn ")?;
        after.split('(').next()
    });
    let wordless = names
        .filter(|name| !name.starts_with('$'))
        .filter(|name| name.starts_with("test_") || name.split('_').count() < 3);
    wordless.map(|name| format!("`{name}` is no sentence of outcome")).collect()
}

fn no_machine_is_named(source: &Source) -> Vec<String> {
    let places = ["home", "root", "work", "Users"].map(|folder| format!("/{folder}/"));
    let named = |line: &&str| {
        let path =
            |place: &String| line.find(place).is_some_and(|at| line[..at].ends_with(['"', '\'', ' ', '(', '`', '=']));
        places.iter().any(path)
    };
    source.text.lines().filter(named).map(|line| format!("a machine's path: {}", line.trim())).collect()
}

fn the_wall_clock_tells_times_and_nothing_waits_for_it(source: &Source) -> Vec<String> {
    let reads = source.path.starts_with("src/")
        && ["SystemTime::now", "Utc::now", "Local::now"].iter().any(|clock| source.shipped().contains(clock));
    let wrong = reads && !excepted(&WALL_CLOCK, source);
    wrong.then(|| "it reads the wall clock: say in WALL_CLOCK which time it tells".to_owned()).into_iter().collect()
}

/// Every rule.
const RULES: [(&str, Rule); 11] = [
    ("imports flow one way", imports_flow_one_way),
    ("only src/wire names rskafka", only_wire_names_rskafka),
    ("names say something", names_say_something),
    ("the first line is one purpose", the_first_line_is_one_purpose),
    ("files are short", files_are_short),
    ("nothing is left unfinished", nothing_is_left_unfinished),
    ("tests do not sleep", tests_do_not_sleep),
    ("allowances have reasons", allowances_have_reasons),
    ("the wall clock tells times only", the_wall_clock_tells_times_and_nothing_waits_for_it),
    ("no machine is named", no_machine_is_named),
    ("tests are named by outcome", tests_are_named_by_outcome),
];

/// For every rule, files that break it.
const PLANTED: [(Rule, &str, &str); 16] = [
    (imports_flow_one_way, "src/wire/tls.rs", "use crate::{error::Error, cluster::Cluster};"),
    (imports_flow_one_way, "src/store/mod.rs", "fn f() { crate::broker::start(); }"),
    (imports_flow_one_way, "src/consumer/group/member.rs", "use super::super::{ledger::Ledger};"),
    (imports_flow_one_way, "src/order/mod.rs", "use crate::InventoryProducer;"),
    (imports_flow_one_way, "src/junk.rs", "//! A module without a place."),
    (only_wire_names_rskafka, "src/cluster/mod.rs", "use rskafka::client;"),
    (names_say_something, "src/place.rs", "pub struct OrderInfo;"),
    (names_say_something, "src/order/helpers.rs", "//! Parts."),
    (the_first_line_is_one_purpose, "src/a.rs", "//! Parses and sends orders."),
    (nothing_is_left_unfinished, "src/a.rs", "fn f() { todo!() }"),
    (tests_do_not_sleep, "tests/a.rs", "fn f() { std::thread::sleep(SECOND) }"),
    (allowances_have_reasons, "src/a.rs", "#[allow(dead_code)]\nfn f() {}"),
    (the_wall_clock_tells_times_and_nothing_waits_for_it, "src/a.rs", "fn late() { SystemTime::now() > deadline }"),
    (no_machine_is_named, "src/a.rs", "const HOME: &str = \"/home/me\";"),
    (tests_are_named_by_outcome, "tests/a.rs", "#[test]\nfn test_send() {}"),
    (files_are_short, "src/a.rs", ""),
];

/// What the rules must not mistake for a violation.
const INNOCENT: [(&str, &str); 4] = [
    ("src/store/mod.rs", "//! Keeps what `crate::broker` is not.\nconst S: &str = \"crate::broker rskafka todo!\";"),
    (
        "src/consumer/group/member.rs",
        "//! One member.\nuse super::session::Session;\nuse crate::{Error, wire::message::X};",
    ),
    (
        "src/order/mod.rs",
        "//! What an order is: `a, b and c`.\n#[cfg(test)]\nmod tests { use crate::broker::DevBroker; }",
    ),
    (
        "src/cluster/metadata.rs",
        "//! Metadata.\n#[expect(dead_code, reason = \"no\")]\nstruct Metadata;\nstruct Dated;",
    ),
];

#[test]
fn every_rule_catches_its_planted_violations() {
    for (rule, path, text) in PLANTED {
        let text = if text.is_empty() { "\n".repeat(MAX_LINES + 1) } else { text.to_owned() };
        assert!(!rule(&Source::new(path, &text)).is_empty(), "passed: {path}: {text}");
    }
    for (name, rule) in RULES {
        assert!(
            PLANTED.iter().any(|(planted, ..)| std::ptr::fn_addr_eq(*planted, rule)),
            "nothing is planted for: {name}"
        );
    }
}

#[test]
fn no_rule_is_broken_by_innocent_code() {
    for (path, text) in INNOCENT {
        for (name, rule) in RULES {
            assert_eq!(rule(&Source::new(path, text)), Vec::<String>::new(), "{name}: {path}");
        }
    }
}

#[test]
fn the_house_rules_hold() {
    let sources = source::all(Path::new(env!("CARGO_MANIFEST_DIR")));
    assert!(sources.len() > 10, "the project's files were not found");
    let mut broken = Vec::new();
    for source in sources.iter().filter(|source| !source.path.starts_with("tests/house_rules/")) {
        let rust = source.path.ends_with(".rs");
        for (name, rule) in RULES.into_iter().filter(|(name, _)| rust || *name == "no machine is named") {
            broken.extend(rule(source).into_iter().map(|problem| format!("{}: {name}: {problem}", source.path)));
        }
    }
    broken.sort();
    assert!(broken.is_empty(), "{} broken house rules:\n{}", broken.len(), broken.join("\n"));
}
