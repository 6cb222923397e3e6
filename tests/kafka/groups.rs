//! Members of ours in groups of Apache Kafka: alone among themselves, beside other clients.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::cluster::Servers;
use crate::console::{TOOL, Tool};
use crate::ours;
use crate::shop::{File, WORK};
use crate::status;
use crate::support::program::{Running, Signal};
use crate::support::{ndjson, wait};
use crate::{Case, Shared, case};

pub(crate) const CASES: &[Case] = &[
    case!(Java, two_members_share_a_group_of_the_newest_protocol_and_one_takes_over_what_the_other_leaves),
    case!(Java, two_members_share_a_classic_group_and_one_takes_over_what_the_other_leaves),
];

const PARTITIONS: u32 = 4;

/// Heartbeats in half a second; sessions that end two seconds after the last.
const QUICK: &str = "consumer.heartbeat.interval.ms=500,consumer.session.timeout.ms=2000";
const QUICK_CLASSIC: [(&str, &str); 2] = [("heartbeat.interval.ms", "500"), ("session.timeout.ms", "2000")];

/// Within this the one that stays has what the other leaves: a heartbeat, and a busy machine.
const SHARED_AGAIN: Duration = Duration::from_secs(3);

/// A topic with a group of its name whose members are heard of soon.
fn prepare(cluster: &Servers, topic: &str) {
    cluster.create_topic(topic, PARTITIONS);
    if Servers::group_protocols().contains(&"consumer") {
        let alter = cluster.tool(Tool::Configs).args(["--alter", "--entity-type", "groups", "--entity-name", topic]);
        alter.args(["--add-config", QUICK]).run(TOOL).ok();
    }
}

/// The partitions that a member has now.
fn owned(member: &Running) -> Vec<i64> {
    let lines = member.stdout();
    let last = lines.iter().rev().find(|line| line.contains("owns")).expect("a share is told first");
    let told = ndjson::parse([last.as_str()]);
    let mut owned: Vec<_> = told[0]["owns"].as_array().expect("partitions").iter().filter_map(Value::as_i64).collect();
    owned.sort_unstable();
    owned
}

#[track_caller]
fn await_shares(what: &str, within: Duration, members: &[&Running], shares: &[usize]) -> Duration {
    let since = Instant::now();
    let look = || {
        let mut owned: Vec<_> = members.iter().map(|member| owned(member)).collect();
        let mut counts: Vec<_> = owned.iter().map(Vec::len).collect();
        counts.sort_unstable();
        owned.sort();
        let mut all = owned.concat();
        all.sort_unstable();
        (counts == shares && all == (0..i64::from(PARTITIONS)).collect::<Vec<_>>()).then_some(())
    };
    wait::until_or(within, look).unwrap_or_else(|| {
        let owned: Vec<_> = members.iter().map(|member| (owned(member), member.stderr())).collect();
        panic!("waited {within:?} in vain until {what}: {owned:?}")
    });
    since.elapsed()
}

/// Partition and client, as Kafka's own tool tells them.
fn owners(cluster: &Servers, group: &str) -> BTreeMap<i64, String> {
    let rows = status::by_the_tool(cluster, group);
    rows.into_iter().map(|row| (row[0].parse().expect("a partition"), row[6].clone())).collect()
}

fn owners_of(members: &[(&str, &Running)]) -> BTreeMap<i64, String> {
    let of =
        |(name, member): &(&str, &Running)| owned(member).into_iter().map(|one| (one, (*name).to_owned())).collect();
    members.iter().flat_map(|member| -> Vec<_> { of(member) }).collect()
}

/// Each record that a member was given, as it came: partition and offset.
fn given(lines: &[String]) -> Vec<(i64, i64)> {
    let given = lines.iter().filter(|line| line.contains("offset"));
    let number = |line: &Value, name: &str| line[name].as_i64().expect("a number");
    let lines = ndjson::parse(given.map(String::as_str));
    lines.iter().map(|line| (number(line, "partition"), number(line, "offset"))).collect()
}

/// Waits until the members were given `count` records, and demands that each record was given once, and in order.
#[track_caller]
fn await_each_once(cluster: &Servers, topic: &str, count: usize, members: &[&Running]) {
    let lines = || members.iter().map(|member| given(&member.stdout())).collect::<Vec<_>>();
    let all = wait::until_or(WORK, || Some(lines()).filter(|all| all.iter().map(Vec::len).sum::<usize>() >= count));
    let all = all.unwrap_or_else(|| panic!("{} of {count} records", lines().concat().len()));
    let mut expected = Vec::new();
    for (partition, end) in cluster.ends(topic) {
        expected.extend((0..end).map(|offset| (i64::from(partition), offset)));
        for of_member in &all {
            let offsets = of_member.iter().filter(|(given, _)| *given == i64::from(partition));
            assert!(offsets.is_sorted(), "partition {partition} is given in order");
        }
    }
    let mut given = all.concat();
    given.sort_unstable();
    assert_eq!(given, expected, "each record is given once");
}

fn is_empty(cluster: &Servers, group: &str) -> bool {
    let describe = cluster.tool(Tool::ConsumerGroups).args(["--describe", "--state", "--group", group]);
    describe.run(TOOL).ok().stdout.lines().any(|line| line.starts_with(group) && line.contains("Empty"))
}

fn end(member: Running) {
    member.signal(Signal::Terminate);
    member.finish(WORK).ok();
}

fn two_members_share_and_one_takes_over(cluster: &Servers, topic: &str, settings: &[(&str, &str)]) {
    prepare(cluster, topic);
    let first = ours::member(cluster, topic, "first", settings);
    await_shares("the first has all", WORK, &[&first], &[4]);
    let second = ours::member(cluster, topic, "second", settings);
    let joined = await_shares("both have a half", WORK, &[&first, &second], &[2, 2]);
    assert_eq!(owners(cluster, topic), owners_of(&[("first", &first), ("second", &second)]));
    assert_eq!(cluster.members(topic), 2);
    let file = File::of(600, 30);
    cluster.send(topic, &file, &[]);
    await_each_once(cluster, topic, 600, &[&first, &second]);

    // Orders come while the second leaves.
    let sending = cluster.producer(topic, "while one leaves").input(file.ndjson.as_str()).start();
    second.signal(Signal::Terminate);
    let taken = await_shares("the one that stays has all", SHARED_AGAIN, &[&first], &[4]);
    let everything = owners_of(&[("first", &first)]);
    assert_eq!((owners(cluster, topic), cluster.members(topic)), (everything, 1));
    println!("{topic}: shared {joined:?} after the second was there, taken over in {taken:?}");
    sending.finish(WORK).ok();
    await_each_once(cluster, topic, 1200, &[&first, &second]);
    second.finish(WORK).ok();
    end(first);
    assert!(is_empty(cluster, topic));
    assert_eq!(cluster.lag(topic, topic), 0);
}

fn two_members_share_a_group_of_the_newest_protocol_and_one_takes_over_what_the_other_leaves(shared: &Shared) {
    two_members_share_and_one_takes_over(shared.cluster(), "groups-auto", &QUICK_CLASSIC);
}

fn two_members_share_a_classic_group_and_one_takes_over_what_the_other_leaves(shared: &Shared) {
    let classic = [QUICK_CLASSIC.as_slice(), &[("group.protocol", "classic")]].concat();
    two_members_share_and_one_takes_over(shared.cluster(), "groups-classic", &classic);
}
