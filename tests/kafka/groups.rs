//! Members of ours in groups of Apache Kafka, among themselves or beside other clients.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::cluster::Servers;
use crate::console::{Printed, TOOL, Tool};
use crate::install;
use crate::ours;
use crate::shop::{File, WORK};
use crate::status;
use crate::support::program::{Program, Running, Signal};
use crate::support::{ndjson, wait};
use crate::{Case, Shared, case};

pub(crate) const CASES: &[Case] = &[
    case!(Java, two_members_share_a_group_of_the_newest_protocol_and_one_takes_over_what_the_other_leaves),
    case!(Java, two_members_share_a_classic_group_and_one_takes_over_what_the_other_leaves),
    case!(JavaAndPython, a_classic_group_of_four_kinds_of_clients_settles_and_gives_each_record_to_one_of_them),
    case!(JavaAndPython, a_cooperative_group_with_librdkafka_settles_and_gives_each_record_to_one_member),
    case!(JavaAndPython, a_group_of_the_newest_protocol_with_librdkafka_settles_and_gives_each_record_to_one_member),
    case!(Java, the_partitions_of_a_killed_member_are_taken_over_when_its_session_ends),
];

const PARTITIONS: u32 = 4;

/// Heartbeats in half a second. The sessions are long: who leaves without a word is missed.
const CLASSIC: [(&str, &str); 2] = [("heartbeat.interval.ms", "500"), ("session.timeout.ms", "10000")];
const LONG: Duration = Duration::from_secs(10);
const SHORT: Duration = Duration::from_secs(2);

/// Within this the one that stays has what the other leaves: a heartbeat, and a busy machine.
const SHARED_AGAIN: Duration = Duration::from_secs(3);

/// A topic with a group of its name whose members are heard of soon.
fn prepare(cluster: &Servers, topic: &str, session: Duration) {
    cluster.create_topic(topic, PARTITIONS);
    if Servers::group_protocols().contains(&"consumer") {
        let alter = cluster.tool(Tool::Configs).args(["--alter", "--entity-type", "groups", "--entity-name", topic]);
        let quick = format!("consumer.heartbeat.interval.ms=500,consumer.session.timeout.ms={}", session.as_millis());
        alter.args(["--add-config", &quick]).run(TOOL).ok();
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
    let number = |line: &Value, name: &str| line[name].as_i64().expect("a number");
    let given = |line: &String| match Printed::parse(line) {
        Some(printed) => Some((i64::from(printed.partition), printed.offset)),
        None if line.contains("offset") => {
            let line = &ndjson::parse([line.as_str()])[0];
            Some((number(line, "partition"), number(line, "offset")))
        }
        None => None,
    };
    lines.iter().filter_map(given).collect()
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

/// Whether the group is `Consumer` (KIP-848) or `Classic`, as Kafka's own tool tells it.
fn kind(cluster: &Servers, group: &str) -> String {
    let listed = cluster.tool(Tool::ConsumerGroups).args(["--list", "--type"]).run(TOOL).ok();
    let mut lines = listed.stdout.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let line = lines.find(|columns| columns.first() == Some(&group)).unwrap_or_else(|| panic!("{listed}"));
    line[1].to_owned()
}

fn end(member: Running) {
    member.signal(Signal::Terminate);
    member.finish(WORK).ok();
}

fn two_members_share_and_one_takes_over(cluster: &Servers, topic: &str, settings: &[(&str, &str)]) {
    prepare(cluster, topic, LONG);
    let first = ours::member(cluster, topic, "first", settings);
    await_shares("the first has all", WORK, &[&first], &[4]);
    // Orders come and are in hand while the second comes, and while it leaves.
    let file = File::of(4000, 40);
    let sending = cluster.producer(topic, "while one comes").input(file.ndjson.as_str()).start();
    let second = ours::member(cluster, topic, "second", settings);
    let joined = await_shares("both have a half", WORK, &[&first, &second], &[2, 2]);
    sending.finish(WORK).ok();
    await_each_once(cluster, topic, 4000, &[&first, &second]);
    assert_eq!(owners(cluster, topic), owners_of(&[("first", &first), ("second", &second)]));
    assert_eq!(cluster.members(topic), 2);
    let is_newest =
        Servers::group_protocols().contains(&"consumer") && !settings.contains(&("group.protocol", "classic"));
    assert_eq!(kind(cluster, topic), if is_newest { "Consumer" } else { "Classic" });

    let before = given(&second.stdout()).len();
    let sending = cluster.producer(topic, "while one leaves").input(file.ndjson.as_str()).start();
    wait::until("orders are in hand", WORK, || (given(&second.stdout()).len() > before).then_some(()));
    second.signal(Signal::Terminate);
    let taken = await_shares("the one that stays has all", SHARED_AGAIN, &[&first], &[4]);
    let everything = owners_of(&[("first", &first)]);
    assert_eq!((owners(cluster, topic), cluster.members(topic)), (everything, 1));
    println!("{topic}: shared {joined:?} after the second was there, taken over in {taken:?}");
    sending.finish(WORK).ok();
    await_each_once(cluster, topic, 8000, &[&first, &second]);
    second.finish(WORK).ok();
    end(first);
    assert!(is_empty(cluster, topic));
    assert_eq!(cluster.lag(topic, topic), 0);
}

fn two_members_share_a_group_of_the_newest_protocol_and_one_takes_over_what_the_other_leaves(shared: &Shared) {
    two_members_share_and_one_takes_over(shared.cluster(), "groups-auto", &CLASSIC);
}

fn two_members_share_a_classic_group_and_one_takes_over_what_the_other_leaves(shared: &Shared) {
    let classic = [CLASSIC.as_slice(), &[("group.protocol", "classic")]].concat();
    two_members_share_and_one_takes_over(shared.cluster(), "groups-classic", &classic);
}

/// A client of Python that reads until it is told to end.
fn reader(cluster: &Servers, client: &str, topic: &str, strategy: &str) -> Running {
    let python = install::python().unwrap_or_else(|lacking| panic!("{lacking}"));
    let program = Program::new(python).arg(install::here("python/reader.py")).arg(&cluster.bootstrap);
    let reader = program.args([client, topic, topic, strategy]).start();
    reader.await_stdout("the client reads", WORK, |line| line.contains("owns"));
    reader
}

/// Ours named `ours`, each of the others by its client's name: all of them have a share, which ours goes on with when the
/// others have left. Whatever was written in the meantime was given once.
fn ours_beside(cluster: &Servers, topic: &str, settings: &[(&str, &str)], others: Vec<(&str, Running)>) {
    let ours = ours::member(cluster, topic, "ours", settings);
    let names: BTreeSet<&str> = others.iter().map(|(name, _)| *name).chain(["ours"]).collect();
    let share = PARTITIONS as usize / names.len();
    let settled = |look: &BTreeMap<i64, String>| {
        let owns = |name: &&str| look.values().filter(|owner| owner == name).count() == share;
        names.iter().all(owns).then_some(())
    };
    wait::until_or(WORK, || settled(&owners(cluster, topic))).unwrap_or_else(|| {
        panic!("in vain: {:?}, {:?}, {others:?}", owners(cluster, topic), ours.stderr());
    });
    assert_eq!(owners(cluster, topic).values().filter(|owner| *owner == "ours").count(), owned(&ours).len());
    let file = File::of(600, 30);
    cluster.send(topic, &file, &[]);
    let all: Vec<_> = others.iter().map(|(_, other)| other).chain([&ours]).collect();
    await_each_once(cluster, topic, 600, &all);
    assert!(all.iter().all(|member| !given(&member.stdout()).is_empty()), "each member is given some");
    let since = Instant::now();
    for (_, other) in &others {
        other.signal(Signal::Terminate);
    }
    await_shares("ours has all", WORK, &[&ours], &[PARTITIONS as usize]);
    let taken = since.elapsed();
    println!("{topic}: ours has what the others left after {taken:?}");
    cluster.producer(topic, "alone").input(file.ndjson.as_str()).run(WORK).ok();
    await_each_once(cluster, topic, 1200, &all);
    end(ours);
    wait::until("the group is empty", WORK, || is_empty(cluster, topic).then_some(()));
    assert_eq!(cluster.lag(topic, topic), 0);
}

fn a_classic_group_of_four_kinds_of_clients_settles_and_gives_each_record_to_one_of_them(shared: &Shared) {
    let (cluster, topic) = (shared.cluster(), "groups-four");
    prepare(cluster, topic, LONG);
    let python = ["kafka-python", "librdkafka"].map(|client| (client, reader(cluster, client, topic, "range")));
    let console = cluster.printing_consumer(topic).args(["--group", topic]).start();
    let others = python.into_iter().chain([("console-consumer", console)]).collect();
    let classic = [CLASSIC.as_slice(), &[("group.protocol", "classic")]].concat();
    ours_beside(cluster, topic, &classic, others);
}

fn a_cooperative_group_with_librdkafka_settles_and_gives_each_record_to_one_member(shared: &Shared) {
    let (cluster, topic) = (shared.cluster(), "groups-cooperative");
    prepare(cluster, topic, LONG);
    let others = vec![("librdkafka", reader(cluster, "librdkafka", topic, "cooperative-sticky"))];
    let cooperative = [("group.protocol", "classic"), ("partition.assignment.strategy", "cooperative-sticky")];
    ours_beside(cluster, topic, &[CLASSIC.as_slice(), &cooperative].concat(), others);
}

fn a_group_of_the_newest_protocol_with_librdkafka_settles_and_gives_each_record_to_one_member(shared: &Shared) {
    if !Servers::group_protocols().contains(&"consumer") {
        return;
    }
    let (cluster, topic) = (shared.cluster(), "groups-848");
    prepare(cluster, topic, LONG);
    let others = vec![("librdkafka-848", reader(cluster, "librdkafka-848", topic, "range"))];
    ours_beside(cluster, topic, &[("group.protocol", "consumer")], others);
}

fn the_partitions_of_a_killed_member_are_taken_over_when_its_session_ends(shared: &Shared) {
    for protocol in Servers::group_protocols() {
        let (cluster, topic) = (shared.cluster(), format!("groups-killed-{protocol}"));
        prepare(cluster, &topic, SHORT);
        let settings = [CLASSIC.as_slice(), &[("session.timeout.ms", "2000"), ("group.protocol", protocol)]].concat();
        let [stays, killed] = ["stays", "killed"].map(|name| ours::member(cluster, &topic, name, &settings));
        await_shares("both have a half", WORK, &[&stays, &killed], &[2, 2]);
        killed.signal(Signal::Kill);
        let taken = await_shares("the one that stays has all", SHORT + SHARED_AGAIN, &[&stays], &[4]);
        println!("{topic}: taken over {taken:?} after the kill, with sessions of {SHORT:?}");
        cluster.send(&topic, &File::of(600, 30), &[]);
        await_each_once(cluster, &topic, 600, &[&stays, &killed]);
        end(stays);
        assert!(is_empty(cluster, &topic));
    }
}
