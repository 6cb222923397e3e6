//! Groups of ours while the brokers that coordinate them die or restart.

use std::time::{Duration, Instant};

use crate::cluster::{Cluster, Servers};
use crate::members::{
    assert_commits_never_went_back, await_each_once, await_more, await_shares, end_all, pauses, prepare, shares,
};
use crate::ours;
use crate::shop::{File, WORK};
use crate::support::program::{Running, Signal};
use crate::support::wait;
use crate::{Case, Shared, case};

pub(crate) const CASES: &[Case] = &[case!(
    Java,
    a_coordinator_that_comes_back_on_another_port_and_a_rolling_restart_of_three_nodes_cost_no_order_and_no_membership
)];

/// The death of a node is noticed in three seconds, not nine.
const NOTICED_SOON: [&str; 2] = ["broker.session.timeout.ms=3000", "broker.heartbeat.interval.ms=500"];

/// Longer than it takes the cluster to find another coordinator.
const SESSION: Duration = Duration::from_secs(30);
const SESSION_MS: &str = "30000";

/// A group under load.
struct Group {
    topic: String,
    members: [Running; 2],
    load: Running,
}

impl Group {
    fn start(cluster: &Servers, protocol: &str) -> Self {
        let topic = format!("nodes-{protocol}");
        prepare(cluster, &topic, 4, SESSION);
        let settings =
            [("group.protocol", protocol), ("session.timeout.ms", SESSION_MS), ("heartbeat.interval.ms", "500")];
        let members = ["first", "second"].map(|name| ours::member(cluster, &topic, name, &settings));
        await_shares("both have a half", WORK, &members.each_ref(), &[2, 2]);
        let load = cluster.producer(&topic, &topic).args(["--rate", "60"]);
        let load = load.input(File::of(60_000, 40).ndjson).start();
        Self { topic, members, load }
    }

    fn await_more(&self, what: &str) {
        await_more(what, 60, &self.members.each_ref());
    }

    /// Ends the load; each order was given once, by a member that has never lost what it had.
    fn end(self, cluster: &Servers) -> String {
        let Self { topic, members, load } = self;
        load.signal(Signal::Terminate);
        load.finish(WORK).ok();
        let given = await_each_once(cluster, &topic, &[], &members.each_ref());
        let longest = pauses(&given).values().max().copied().unwrap_or_default();
        println!("{topic}: {} orders, the longest pause {longest:?}", given.len());
        for member in &members {
            let shares = shares(member);
            let had = shares.iter().position(|share| share.len() == 2).expect("a half");
            assert_eq!(shares.len(), had + 1, "{topic}: nothing moves: {shares:?}");
        }
        end_all(members);
        topic
    }
}

fn a_coordinator_that_comes_back_on_another_port_and_a_rolling_restart_of_three_nodes_cost_no_order_and_no_membership(
    _: &Shared,
) {
    let mut cluster = Cluster::start(3, &NOTICED_SOON);
    let groups: Vec<_> = Servers::group_protocols().iter().map(|protocol| Group::start(&cluster, protocol)).collect();
    let more = |what: &str| groups.iter().for_each(|group| group.await_more(what));
    more("orders come");
    // Of one group by death; of the other, if it is another node, by its restart.
    let coordinator = cluster.coordinator(&groups[groups.len() - 1].topic);
    let begun = Instant::now();
    cluster.node(coordinator).kill();
    more("orders come without the coordinator");
    // Its old address stays among those that the clients were given.
    cluster.node(coordinator).move_port();
    back_in_step(&mut cluster, coordinator);
    for node in 1..=3 {
        cluster.node(node).term();
        more("orders come while a node restarts");
        back_in_step(&mut cluster, node);
    }
    more("orders come in the end");
    println!("nodes: died and restarted within {:?}", begun.elapsed());
    let topics: Vec<_> = groups.into_iter().map(|group| group.end(&cluster)).collect();
    assert_commits_never_went_back(&cluster, &topics);
}

/// Starts a node again, and waits until the next one may stop.
fn back_in_step(cluster: &mut Cluster, node: usize) {
    cluster.node(node).restart();
    wait::until("all copies are in step", WORK, || cluster.is_in_step().then_some(()));
}
