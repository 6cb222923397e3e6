//! Static members of ours: what restarts with its name has its place again, and nobody else has its name.

use std::time::Duration;

use crate::cluster::Servers;
use crate::members::{
    CLASSIC, LONG, MISSED_SOON, SHARED_AGAIN, SHORT, assert_commits_never_went_back, await_all, await_each_once,
    await_more, await_shares, end, end_all, owned, pauses, prepare, shares,
};
use crate::ours;
use crate::shop::{File, WORK};
use crate::support::program::{Running, Signal};
use crate::{Case, Shared, case};

pub(crate) const CASES: &[Case] = &[
    case!(Java, a_rolling_restart_of_three_static_members_under_load_pauses_no_key_for_more_than_three_seconds),
    case!(Java, a_static_member_that_was_killed_has_its_partitions_again),
    case!(Java, of_two_processes_with_one_name_one_is_told_so_and_the_other_goes_on),
];

const NAMES: [&str; 3] = ["till-1", "till-2", "till-3"];

/// How long a restart may keep the orders of any key waiting.
const PAUSE: Duration = Duration::from_secs(3);

fn named<'a>(protocol: &'a str, name: &'a str) -> Vec<(&'a str, &'a str)> {
    [CLASSIC.as_slice(), &[("group.protocol", protocol), ("group.instance.id", name)]].concat()
}

fn a_rolling_restart_of_three_static_members_under_load_pauses_no_key_for_more_than_three_seconds(shared: &Shared) {
    for protocol in Servers::group_protocols() {
        let (cluster, topic) = (shared.cluster(), format!("statics-rolling-{protocol}"));
        prepare(cluster, &topic, 6, LONG);
        let start = |name| ours::member(cluster, &topic, name, &named(protocol, name));
        let mut members: Vec<Running> = NAMES.into_iter().map(start).collect();
        await_shares("each has a third", WORK, &refs(&members), &[2, 2, 2]);
        let load = cluster.producer(&topic, &topic).args(["--rate", "300"]).input(File::of(60_000, 60).ndjson).start();
        await_more("orders come", 100, &refs(&members));
        let before: Vec<_> = members.iter().map(owned).collect();
        let mut gone = Vec::new();
        for (index, name) in NAMES.into_iter().enumerate() {
            let told: Vec<_> = members.iter().map(|member| shares(member).len()).collect();
            gone.push(end(members.remove(index)));
            // Two heartbeats long the group could move what is not there: a hundred orders a second come to each.
            await_more("the others go on", 100, &refs(&members));
            members.insert(index, start(name));
            await_more("orders come", 100, &refs(&members));
            let after: Vec<_> = members.iter().map(owned).collect();
            assert_eq!(after, before, "{protocol}: each has what it had");
            for other in (0..NAMES.len()).filter(|other| *other != index) {
                let others = shares(&members[other]);
                assert_eq!(others.len(), told[other], "{protocol}: nothing of the others moves: {others:?}");
            }
        }
        load.signal(Signal::Terminate);
        load.finish(WORK).ok();
        let given = await_each_once(cluster, &topic, &gone, &refs(&members));
        let pauses = pauses(&given);
        let longest = pauses.values().max().copied().expect("orders were given");
        println!("{topic}: {} orders of {} keys, the longest pause {longest:?}", given.len(), pauses.len());
        assert!(pauses.len() == 60 && longest <= PAUSE, "{protocol}: {pauses:?}");
        end_all(members);
        assert_commits_never_went_back(cluster, &[topic]);
    }
}

fn refs(members: &[Running]) -> Vec<&Running> {
    members.iter().collect()
}

/// The classic protocol gives the place to whoever has the name; KIP-848 has it wait until the killed one's session ends.
fn a_static_member_that_was_killed_has_its_partitions_again(shared: &Shared) {
    for protocol in Servers::group_protocols() {
        let (cluster, topic) = (shared.cluster(), format!("statics-killed-{protocol}"));
        prepare(cluster, &topic, 4, SHORT);
        let settings = |name| [named(protocol, name).as_slice(), &MISSED_SOON].concat();
        let [stays, killed] = ["stays", "killed"].map(|name| ours::member(cluster, &topic, name, &settings(name)));
        await_shares("both have a half", WORK, &[&stays, &killed], &[2, 2]);
        killed.signal(Signal::Kill);
        let gone = killed.stdout();
        let again = ours::member(cluster, &topic, "again", &settings("killed"));
        let taken = await_shares("both have a half again", SHORT + SHARED_AGAIN, &[&stays, &again], &[2, 2]);
        println!("{topic}: in its place again after {taken:?}, with sessions of {SHORT:?}");
        cluster.send(&topic, &File::of(400, 40), &[]);
        await_all(cluster, &topic, &[gone], &[&stays, &again]);
        end_all([stays, again]);
    }
}

fn of_two_processes_with_one_name_one_is_told_so_and_the_other_goes_on(shared: &Shared) {
    for protocol in Servers::group_protocols() {
        let (cluster, topic) = (shared.cluster(), format!("statics-twice-{protocol}"));
        prepare(cluster, &topic, 4, LONG);
        let settings = [named(protocol, "till-1").as_slice(), &MISSED_SOON].concat();
        let first = ours::member(cluster, &topic, "first", &settings);
        await_shares("the first has all", WORK, &[&first], &[4]);
        cluster.send(&topic, &File::of(200, 40), &[]);
        await_each_once(cluster, &topic, &[], &[&first]);
        let second = ours::member(cluster, &topic, "second", &settings);
        // KIP-848 refuses the newcomer, once the session of a process that crashed would have ended; the classic protocol
        // fences the old one.
        let (told, stays) = if *protocol == "consumer" { (second, first) } else { (first, second) };
        let failed = told.await_stdout("one is told", WORK, |line| line.contains("failed"));
        assert!(failed.contains("another process uses the same group.instance.id"), "{protocol}: {failed}");
        assert!(failed.contains("give each process a group.instance.id of its own"), "{protocol}: {failed}");
        let gone = told.finish(WORK).with_code(1);
        await_shares("the other has all", SHARED_AGAIN, &[&stays], &[4]);
        cluster.producer(&topic, "after").input(File::of(200, 40).ndjson).run(WORK).ok();
        let gone: Vec<_> = gone.stdout.lines().map(str::to_owned).collect();
        await_each_once(cluster, &topic, &[gone], &[&stays]);
        end(stays);
        assert_commits_never_went_back(cluster, &[topic]);
    }
}
