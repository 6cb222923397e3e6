//! Members of ours in groups of Apache Kafka, among themselves or beside other clients.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::cluster::Servers;
use crate::console::{TOOL, Tool};
use crate::install;
use crate::members::{
    CLASSIC, Given, LONG, MISSED_SOON, SHARED_AGAIN, SHORT, await_all, await_each_once, await_more, await_shares, end,
    given, is_empty, owned, prepare, shares,
};
use crate::ours;
use crate::shop::{File, WORK};
use crate::status;
use crate::support::program::{Program, Running, Signal};
use crate::support::wait;
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

/// Whether the group is `Consumer` (KIP-848) or `Classic`, as Kafka's own tool tells it.
fn kind(cluster: &Servers, group: &str) -> String {
    let listed = cluster.tool(Tool::ConsumerGroups).args(["--list", "--type"]).run(TOOL).ok();
    let mut lines = listed.stdout.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let line = lines.find(|columns| columns.first() == Some(&group)).unwrap_or_else(|| panic!("{listed}"));
    line[1].to_owned()
}

fn two_members_share_and_one_takes_over(cluster: &Servers, topic: &str, settings: &[(&str, &str)]) {
    prepare(cluster, topic, PARTITIONS, LONG);
    let first = ours::member(cluster, topic, "first", settings);
    await_shares("the first has all", WORK, &[&first], &[4]);
    // Orders come and are in hand while the second comes, and while it leaves.
    let file = File::of(4000, 40);
    let sending = cluster.producer(topic, "while one comes").input(file.ndjson.as_str()).start();
    let second = ours::member(cluster, topic, "second", settings);
    let joined = await_shares("both have a half", WORK, &[&first, &second], &[2, 2]);
    sending.finish(WORK).ok();
    await_each_once(cluster, topic, &[], &[&first, &second]);
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
    await_each_once(cluster, topic, &[], &[&first, &second]);
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
pub(crate) fn reader(cluster: &Servers, client: &str, topic: &str, strategy: &str) -> Running {
    let python = install::python().unwrap_or_else(|lacking| panic!("{lacking}"));
    let program = Program::new(python).arg(install::here("python/reader.py")).arg(&cluster.bootstrap);
    let reader = program.args([client, topic, topic, strategy]).start();
    reader.await_stdout("the client reads", WORK, |line| line.contains("owns"));
    reader
}

/// Ours beside members of other clients, each by its client's name.
struct Mixed<'a> {
    cluster: &'a Servers,
    topic: &'a str,
    settings: Vec<(&'a str, &'a str)>,
    others: Vec<(&'a str, Running)>,
    gone: Vec<Vec<String>>,
}

impl Mixed<'_> {
    fn others(&self) -> Vec<&Running> {
        self.others.iter().map(|(_, other)| other).collect()
    }

    /// Starts ours, and waits until all members have an equal share.
    fn start_ours(&self) -> Running {
        let ours = ours::member(self.cluster, self.topic, "ours", &self.settings);
        let names: BTreeSet<&str> = self.others.iter().map(|(name, _)| *name).chain(["ours"]).collect();
        let share = PARTITIONS as usize / names.len();
        let settled = |look: &BTreeMap<i64, String>| {
            let owns = |name: &&str| look.values().filter(|owner| owner == name).count() == share;
            names.iter().all(owns).then_some(())
        };
        wait::until_or(WORK, || settled(&owners(self.cluster, self.topic))).unwrap_or_else(|| {
            panic!("in vain: {:?}, {:?}, {:?}", owners(self.cluster, self.topic), ours.stderr(), self.others);
        });
        assert_eq!(owned(&ours).len(), share);
        ours
    }

    /// Tells ours to end, and waits until the others are given orders of each partition that it had.
    fn await_others_take_over(&mut self, ours: Running, signal: Signal, within: Duration) {
        await_more("orders are in hand", 20, &[&ours]);
        let had = owned(&ours);
        let of_others = || given(&self.others().iter().flat_map(|other| other.stdout()).collect::<Vec<_>>());
        let before: Vec<_> = of_others().iter().map(|one| (one.partition, one.offset)).collect();
        let since = Instant::now();
        ours.signal(signal);
        let taken = || {
            let of_others = of_others();
            let is_new = |one: &&Given| !before.contains(&(one.partition, one.offset));
            let new: BTreeSet<_> = of_others.iter().filter(is_new).map(|one| one.partition).collect();
            had.iter().all(|partition| new.contains(partition)).then_some(())
        };
        wait::until_or(within, taken).unwrap_or_else(|| {
            let told: Vec<_> = self.others.iter().map(|(name, other)| (name, shares(other), other.stderr())).collect();
            panic!("waited {within:?} in vain until the others are given orders of {had:?}: {told:?}")
        });
        println!("{}: the others go on {:?} after {signal:?} to ours", self.topic, since.elapsed());
        self.gone.push(ours.finish(WORK).stdout.lines().map(str::to_owned).collect());
    }

    /// All of them have a share, which the others go on with when ours is gone, and ours when the others are.
    fn come_and_go(mut self) {
        let (cluster, topic) = (self.cluster, self.topic);
        let ours = self.start_ours();
        let file = File::of(600, 30);
        cluster.send(topic, &file, &[]);
        let all: Vec<_> = self.others().into_iter().chain([&ours]).collect();
        await_each_once(cluster, topic, &[], &all);
        assert!(all.iter().all(|member| !given(&member.stdout()).is_empty()), "each member is given some");

        let load = cluster.producer(topic, "load").args(["--rate", "100"]).input(File::of(60_000, 30).ndjson).start();
        self.await_others_take_over(ours, Signal::Terminate, SHARED_AGAIN);
        let ours = self.start_ours();
        self.await_others_take_over(ours, Signal::Kill, SHORT + SHARED_AGAIN);
        let ours = self.start_ours();
        let since = Instant::now();
        self.others().iter().for_each(|other| other.signal(Signal::Terminate));
        await_shares("ours has all", WORK, &[&ours], &[PARTITIONS as usize]);
        println!("{topic}: ours has what the others left after {:?}", since.elapsed());
        await_more("ours goes on", 100, &[&ours]);
        load.signal(Signal::Terminate);
        load.finish(WORK).ok();
        let all: Vec<_> = self.others().into_iter().chain([&ours]).collect();
        await_all(cluster, topic, &self.gone, &all);
        end(ours);
        wait::until("the group is empty", WORK, || is_empty(cluster, topic).then_some(()));
        assert_eq!(cluster.lag(topic, topic), 0);
    }
}

fn a_classic_group_of_four_kinds_of_clients_settles_and_gives_each_record_to_one_of_them(shared: &Shared) {
    let (cluster, topic) = (shared.cluster(), "groups-four");
    prepare(cluster, topic, PARTITIONS, LONG);
    let python = ["kafka-python", "librdkafka"].map(|client| (client, reader(cluster, client, topic, "range")));
    let console = cluster.printing_consumer(topic).args(["--group", topic]).start();
    let others = python.into_iter().chain([("console-consumer", console)]).collect();
    let settings = [CLASSIC.as_slice(), &MISSED_SOON, &[("group.protocol", "classic")]].concat();
    Mixed { cluster, topic, settings, others, gone: Vec::new() }.come_and_go();
}

fn a_cooperative_group_with_librdkafka_settles_and_gives_each_record_to_one_member(shared: &Shared) {
    let (cluster, topic) = (shared.cluster(), "groups-cooperative");
    prepare(cluster, topic, PARTITIONS, LONG);
    let others = vec![("librdkafka", reader(cluster, "librdkafka", topic, "cooperative-sticky"))];
    let cooperative = [("group.protocol", "classic"), ("partition.assignment.strategy", "cooperative-sticky")];
    let settings = [CLASSIC.as_slice(), &MISSED_SOON, &cooperative].concat();
    Mixed { cluster, topic, settings, others, gone: Vec::new() }.come_and_go();
}

fn a_group_of_the_newest_protocol_with_librdkafka_settles_and_gives_each_record_to_one_member(shared: &Shared) {
    if !Servers::group_protocols().contains(&"consumer") {
        return;
    }
    let (cluster, topic) = (shared.cluster(), "groups-848");
    prepare(cluster, topic, PARTITIONS, SHORT);
    let others = vec![("librdkafka-848", reader(cluster, "librdkafka-848", topic, "range"))];
    let settings = [CLASSIC.as_slice(), &MISSED_SOON, &[("group.protocol", "consumer")]].concat();
    Mixed { cluster, topic, settings, others, gone: Vec::new() }.come_and_go();
}

fn the_partitions_of_a_killed_member_are_taken_over_when_its_session_ends(shared: &Shared) {
    for protocol in Servers::group_protocols() {
        let (cluster, topic) = (shared.cluster(), format!("groups-killed-{protocol}"));
        prepare(cluster, &topic, PARTITIONS, SHORT);
        let settings = [CLASSIC.as_slice(), &MISSED_SOON, &[("group.protocol", protocol)]].concat();
        let [stays, killed] = ["stays", "killed"].map(|name| ours::member(cluster, &topic, name, &settings));
        await_shares("both have a half", WORK, &[&stays, &killed], &[2, 2]);
        killed.signal(Signal::Kill);
        let taken = await_shares("the one that stays has all", SHORT + SHARED_AGAIN, &[&stays], &[4]);
        println!("{topic}: taken over {taken:?} after the kill, with sessions of {SHORT:?}");
        cluster.send(&topic, &File::of(600, 30), &[]);
        await_each_once(cluster, &topic, &[], &[&stays, &killed]);
        end(stays);
        assert!(is_empty(cluster, &topic));
    }
}
