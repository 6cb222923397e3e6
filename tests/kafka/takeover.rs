//! Members of ours that fall behind or stand still: others go on in their place, and they come back.

use std::time::Duration;

use crate::cluster::{Cluster, Servers};
use crate::members::{
    CLASSIC, LONG, MISSED_SOON, SHARED_AGAIN, SHORT, assert_commits_never_went_back, await_all, await_more,
    await_shares, end_all, given, owned, prepare, shares,
};
use crate::ours;
use crate::shop::{File, WORK};
use crate::support::program::{Running, Signal};
use crate::support::{ndjson, wait};
use crate::{Case, Shared, case};

pub(crate) const CASES: &[Case] = &[
    case!(Java, a_member_with_an_order_that_takes_too_long_leaves_says_which_it_is_and_comes_back),
    case!(Java, a_member_that_stood_still_beyond_its_session_changes_nothing_when_it_wakes),
    case!(Java, a_member_that_hears_nothing_of_its_coordinator_for_its_session_gives_everything_up_and_comes_back),
];

/// How long a handler may take, and how long one of its orders takes.
const PATIENCE: Duration = Duration::from_secs(2);
const TOO_LONG: Duration = Duration::from_secs(8);

/// What is written while members come and go, until it is ended.
fn load(cluster: &Servers, topic: &str) -> Running {
    cluster.producer(topic, topic).args(["--rate", "400"]).input(File::of(60_000, 40).ndjson).start()
}

fn a_member_with_an_order_that_takes_too_long_leaves_says_which_it_is_and_comes_back(shared: &Shared) {
    for protocol in Servers::group_protocols() {
        let (cluster, topic) = (shared.cluster(), format!("takeover-slow-{protocol}"));
        prepare(cluster, &topic, 4, LONG);
        let patience = PATIENCE.as_millis().to_string();
        let own = [("group.protocol", *protocol), ("max.poll.interval.ms", patience.as_str())];
        let settings = [CLASSIC.as_slice(), &own].concat();
        let quick = ours::member(cluster, &topic, "quick", &settings);
        let slow = ours::slow_member(cluster, &topic, "slow", &settings, TOO_LONG);
        await_shares("both have a half", WORK, &[&quick, &slow], &[2, 2]);
        let load = load(cluster, &topic);
        let line = slow.await_stdout("it begins with the order", WORK, |line| line.starts_with("{\"slow\""));
        let taken = await_shares("the quick one has all", PATIENCE + SHARED_AGAIN, &[&quick], &[4]);
        let order = &ndjson::parse([line.as_str()])[0]["slow"];
        let told = format!("the order at offset {} of {topic}/{}", order["offset"], order["partition"]);
        slow.await_stdout("it says which order holds it", SHARED_AGAIN, |line| {
            line.starts_with("{\"health\"") && line.contains(&told)
        });
        wait::until("it has left with all that it had", SHARED_AGAIN, || owned(&slow).is_empty().then_some(()));
        let is_same = |one: &crate::members::Given| {
            Some((one.partition, one.offset)) == order["partition"].as_i64().zip(order["offset"].as_i64())
        };
        wait::until("the quick one deals with the order", SHARED_AGAIN, || {
            given(&quick.stdout()).iter().any(is_same).then_some(())
        });
        let back = await_shares("both have a half again", WORK, &[&quick, &slow], &[2, 2]);
        println!("{topic}: taken over {taken:?} after the slow order began, back {back:?} after that");
        await_more("both work", 100, &[&quick, &slow]);
        load.signal(Signal::Terminate);
        load.finish(WORK).ok();
        await_all(cluster, &topic, &[], &[&quick, &slow]);
        end_all([quick, slow]);
        assert_commits_never_went_back(cluster, &[topic]);
    }
}

fn a_member_that_stood_still_beyond_its_session_changes_nothing_when_it_wakes(shared: &Shared) {
    for protocol in Servers::group_protocols() {
        let (cluster, topic) = (shared.cluster(), format!("takeover-zombie-{protocol}"));
        prepare(cluster, &topic, 4, SHORT);
        // Commits are rare, so that it stands still with some that it has not made.
        let own = [("group.protocol", *protocol), ("auto.commit.interval.ms", "700")];
        let settings = [CLASSIC.as_slice(), &MISSED_SOON, &own].concat();
        let [stays, zombie] = ["stays", "zombie"].map(|name| ours::member(cluster, &topic, name, &settings));
        await_shares("both have a half", WORK, &[&stays, &zombie], &[2, 2]);
        let load = load(cluster, &topic);
        await_more("orders come", 500, &[&stays, &zombie]);
        zombie.signal(Signal::Stop);
        let taken = await_shares("the one that stays has all", SHORT + SHARED_AGAIN, &[&stays], &[4]);
        await_more("it deals with all", 500, &[&stays]);
        let (lives, had) = (shares(&zombie).len(), given(&zombie.stdout()).len());
        zombie.signal(Signal::Continue);
        let back = await_shares("both have a half again", WORK, &[&stays, &zombie], &[2, 2]);
        let after = &shares(&zombie)[lives..];
        assert_eq!(after.first().map(Vec::len), Some(0), "{protocol}: it takes itself for lost first: {after:?}");
        println!("{topic}: taken over {taken:?} after it stopped, back {back:?} after it woke; it had {had}");
        await_more("both work", 500, &[&stays, &zombie]);
        load.signal(Signal::Terminate);
        load.finish(WORK).ok();
        await_all(cluster, &topic, &[], &[&stays, &zombie]);
        end_all([stays, zombie]);
        assert_commits_never_went_back(cluster, &[topic]);
    }
}

/// The only node stands still, so nobody but the member itself can say that its session is over.
fn a_member_that_hears_nothing_of_its_coordinator_for_its_session_gives_everything_up_and_comes_back(_: &Shared) {
    let mut cluster = Cluster::start(1, &[]);
    let start = |protocol: &&'static str| {
        let topic = format!("takeover-silent-{protocol}");
        prepare(&cluster, &topic, 4, SHORT);
        let settings = [CLASSIC.as_slice(), &MISSED_SOON, &[("group.protocol", protocol)]].concat();
        let member = ours::member(&cluster, &topic, "alone", &settings);
        await_shares("it has all", WORK, &[&member], &[4]);
        cluster.send(&topic, &File::of(200, 40), &[]);
        await_all(&cluster, &topic, &[], &[&member]);
        (topic, member)
    };
    let members: Vec<_> = Servers::group_protocols().iter().map(start).collect();
    cluster.node(1).pause();
    for (topic, member) in &members {
        let lost = || owned(member).is_empty().then_some(());
        wait::until(&format!("{topic}: it takes itself for lost"), SHORT + SHARED_AGAIN, lost);
        let told = |line: &str| line.starts_with("{\"health\"") && line.contains("the consumer is not in its group");
        member.await_stdout("it says so", SHARED_AGAIN, told);
    }
    cluster.node(1).resume();
    for (topic, member) in &members {
        await_shares("it has all again", WORK, &[member], &[4]);
        cluster.producer(topic, "after").input(File::of(200, 40).ndjson).run(WORK).ok();
        await_all(&cluster, topic, &[], &[member]);
    }
    let (topics, members): (Vec<_>, Vec<_>) = members.into_iter().unzip();
    end_all(members);
    assert_commits_never_went_back(&cluster, &topics);
}
