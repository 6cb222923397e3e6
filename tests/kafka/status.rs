//! `orders status` beside `kafka-consumer-groups --describe`, with other clients as the members.

use serde_json::Value;

use crate::cluster::Servers;
use crate::console::{TOOL, Tool};
use crate::install;
use crate::shop::WORK;
use crate::support::example::example;
use crate::support::ndjson;
use crate::support::program::{Finished, Program, Running, Signal};
use crate::support::wait;
use crate::{Case, Shared, case};

pub(crate) const CASES: &[Case] = &[
    case!(JavaAndPython, the_status_of_a_group_of_other_clients_is_what_kafkas_own_tool_tells),
    case!(JavaAndPython, a_group_of_two_protocols_is_told),
];

/// A client of Python as a member that has read some records and reads no more.
pub(crate) fn member(cluster: &Servers, client: &str, topic: &str, count: usize) -> Running {
    let python = install::python().unwrap_or_else(|lacking| panic!("{lacking}"));
    let program = Program::new(python).arg(install::here("python/member.py")).arg(&cluster.bootstrap);
    let member = program.args([client, topic, topic, &count.to_string()]).start();
    member.await_stdout("the member has committed", WORK, |line| line.contains(client));
    member
}

fn status(cluster: &Servers, group: &str) -> (Vec<Value>, Finished) {
    let status = example("orders").args(["status", "--json", "-b", &cluster.bootstrap, "-g", group]);
    let told = status.args(["--within", "2"]).run(WORK).ok();
    (ndjson::parse(told.stdout.lines()), told)
}

/// Partition, position, end, lag, member, host, client: of the tool's line, as text.
pub(crate) fn by_the_tool(cluster: &Servers, group: &str) -> Vec<Vec<String>> {
    let said = cluster.tool(Tool::ConsumerGroups).args(["--describe", "--group", group]).run(TOOL).ok();
    let lines = said.stdout.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let mut rows: Vec<Vec<String>> = lines
        .filter(|columns| columns.first() == Some(&group) && columns.len() == 9)
        .map(|columns| columns[2..].iter().map(|column| column.trim_start_matches('/').to_owned()).collect())
        .collect();
    rows.sort();
    rows
}

fn by_us(rows: &[Value]) -> Vec<Vec<String>> {
    let text = |value: &Value| match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let columns = ["partition", "position", "end", "lag", "member", "host", "client_id"];
    rows.iter().map(|row| columns.iter().map(|column| text(&row[column])).collect()).collect()
}

fn lines(count: usize) -> Vec<String> {
    (0..count).map(|index| format!("key-{}\tvalue {index}", index % 7)).collect()
}

fn the_status_of_a_group_of_other_clients_is_what_kafkas_own_tool_tells(shared: &Shared) {
    let cluster = shared.cluster();
    let modern = Servers::group_protocols().contains(&"consumer").then_some(("librdkafka-848", "KIP-848"));
    for (client, version) in [("kafka-python", "client 3.0.12"), ("librdkafka", "classic")].into_iter().chain(modern) {
        let topic = format!("status-{client}");
        cluster.create_topic(&topic, 2);
        cluster.console_produce(&topic, &lines(40), &[]);
        let member = member(cluster, client, &topic, 10);
        let (rows, told) = status(cluster, &topic);
        assert_eq!(by_us(&rows), by_the_tool(cluster, &topic), "{client}: {told}");
        let lag = |row: &Value| row["lag"].as_i64();
        assert!(rows.iter().filter_map(lag).sum::<i64>() <= 30, "{client}: {told}");
        for row in &rows {
            let is_behind = lag(row) != Some(0);
            assert_eq!(row["verdict"], if is_behind { "STALLED" } else { "OK" }, "{client}: {told}");
            assert_eq!(row["state"], "Stable", "{client}: {told}");
            let age = row["lag_seconds"].as_f64();
            assert!(row["lag"].is_null() || age.is_some_and(|age| age < 300.0 && (age > 0.0) == is_behind), "{told}");
        }
        assert!(
            told.stderr.contains(version) && told.stderr.contains("has made no progress there"),
            "{client}: {told}"
        );
        member.signal(Signal::Kill);
        drop(member);
        wait::until("the killed member's session ends", WORK, || {
            let (rows, told) = status(cluster, &topic);
            let stopped = rows.iter().all(|row| row["verdict"] == "STOPPED" && row["member"].is_null());
            (stopped && told.stderr.contains("has no members")).then_some(())
        });
    }
    let unknown = example("orders").args(["status", "-b", &cluster.bootstrap, "-g", "nobody"]).run(WORK).with_code(1);
    assert!(unknown.stderr.contains("BRK-GROUP"), "{unknown}");
}

fn a_group_of_two_protocols_is_told(shared: &Shared) {
    if !Servers::group_protocols().contains(&"consumer") {
        return;
    }
    let (cluster, topic) = (shared.cluster(), "status-mixed");
    cluster.create_topic(topic, 4);
    cluster.console_produce(topic, &lines(40), &[]);
    let _modern = member(cluster, "librdkafka-848", topic, 0);
    let _classic = member(cluster, "librdkafka", topic, 0);
    let told = wait::until("each member owns two partitions", WORK, || {
        let (rows, told) = status(cluster, topic);
        let mut members: Vec<_> = rows.iter().filter_map(|row| row["member"].as_str()).collect();
        members.dedup();
        members.sort_unstable();
        members.dedup();
        (members.len() == 2).then_some(told)
    });
    let sentence = "warning: two protocols in one group: 1 classic members, 1 by KIP-848";
    assert!(told.stderr.contains(sentence), "{told}");
    assert!(told.stderr.contains("2 versions of the client rdkafka: KIP-848; classic"), "{told}");
}
