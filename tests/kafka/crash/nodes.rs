//! The nodes under faults: who is down, paused or on the way up; one ailment at a time.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::faults::Fault;
use crate::cluster::Cluster;
use crate::console::{TOOL, Tool};
use crate::support::program::Running;
use crate::support::wait;

/// A node that has been started is up within this, among all that works meanwhile.
const UP: Duration = Duration::from_secs(120);

/// How long may it take until every node is well, once nothing more befalls them.
const HEALED: Duration = Duration::from_secs(240);

/// The `client.id` of every program of the shop, which a quota is put on.
pub(super) const CLIENT: &str = "besieged";

/// What is wrong with the one node that is not well.
#[derive(Clone, Copy, Debug)]
enum Ailment {
    Dead(usize, Instant),
    Leaving(usize),
    Paused(usize, Instant),
    Rising(usize, Instant),
}

/// A cluster with at most one node that is not well.
pub(super) struct Nodes {
    pub(super) cluster: Cluster,
    ailment: Option<Ailment>,
    /// Nodes that are still to be restarted, when the others are in step.
    rolling: VecDeque<usize>,
    looked: Instant,
    quota: Option<Instant>,
    tools: Vec<Running>,
}

impl Nodes {
    pub(super) fn start() -> Self {
        // The death of a node is noticed in three seconds, not nine.
        let soon = ["broker.session.timeout.ms=3000", "broker.heartbeat.interval.ms=500"];
        let cluster = Cluster::start(3, &soon);
        Self {
            cluster,
            ailment: None,
            rolling: VecDeque::new(),
            looked: Instant::now(),
            quota: None,
            tools: Vec::new(),
        }
    }

    /// Whether another of them may be broken.
    pub(super) fn are_well(&self) -> bool {
        self.ailment.is_none() && self.rolling.is_empty() && self.quota.is_none() && self.tools.is_empty()
    }

    pub(super) fn suffer(&mut self, fault: Fault) {
        let now = Instant::now();
        match fault {
            Fault::KillNode(node, away) => {
                self.cluster.node(node).kill();
                self.ailment = Some(Ailment::Dead(node, now + away));
            }
            Fault::PauseNode(node, away) => {
                self.cluster.node(node).pause();
                self.ailment = Some(Ailment::Paused(node, now + away));
            }
            Fault::RollNodes => self.rolling = (1..=3).collect(),
            Fault::Quota(bytes, lasts) => self.limit(bytes, now + lasts),
            Fault::KillProgram(..) | Fault::StopProgram(..) => {}
        }
    }

    fn limit(&mut self, bytes: u32, until: Instant) {
        self.quota = Some(until);
        self.alter(["--add-config", &format!("producer_byte_rate={bytes},consumer_byte_rate={bytes}")]);
    }

    fn alter(&mut self, change: [&str; 2]) {
        let client = ["--entity-type", "clients", "--entity-name", CLIENT];
        let alter = self.cluster.tool(Tool::Configs).arg("--alter").args(change).args(client);
        self.tools.push(alter.start());
    }

    /// What is due by now: nodes wake, start again, leave in their turn.
    pub(super) fn go_on(&mut self) {
        let now = Instant::now();
        self.ailment = self.ailment.and_then(|ailment| self.after(ailment, now));
        if self.ailment.is_none() && now > self.looked + Duration::from_secs(2) && !self.rolling.is_empty() {
            if self.cluster.is_in_step()
                && let Some(node) = self.rolling.pop_front()
            {
                self.cluster.node(node).leave();
                self.ailment = Some(Ailment::Leaving(node));
            }
            self.looked = Instant::now();
        }
        self.finish_tools();
        // Not before it is there.
        if self.tools.is_empty() && self.quota.is_some_and(|until| now > until) {
            self.quota = None;
            self.alter(["--delete-config", "producer_byte_rate,consumer_byte_rate"]);
        }
    }

    /// A quota that is still being taken away would take the next one with it.
    fn finish_tools(&mut self) {
        for mut tool in std::mem::take(&mut self.tools) {
            if tool.is_running() {
                self.tools.push(tool);
            } else {
                tool.finish(TOOL).ok();
            }
        }
    }

    fn after(&mut self, ailment: Ailment, now: Instant) -> Option<Ailment> {
        match ailment {
            Ailment::Dead(node, until) if now > until => {
                self.cluster.node(node).launch();
                Some(Ailment::Rising(node, now))
            }
            Ailment::Leaving(node) if self.cluster.node(node).has_left() => Some(Ailment::Dead(node, now)),
            Ailment::Paused(node, until) if now > until => {
                self.cluster.node(node).resume();
                None
            }
            Ailment::Rising(node, _) if self.cluster.node(node).is_open() => None,
            Ailment::Rising(node, since) => {
                assert!(now < since + UP, "node {node} is not up: {}", self.cluster.node(node).log());
                Some(ailment)
            }
            Ailment::Dead(..) | Ailment::Leaving(_) | Ailment::Paused(..) => Some(ailment),
        }
    }

    /// Ends what is under way, and waits for the tools as well.
    pub(super) fn heal(&mut self) {
        wait::until("the nodes are well", HEALED, || {
            self.go_on();
            self.are_well().then_some(())
        });
    }
}
