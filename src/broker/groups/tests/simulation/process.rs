//! One simulated process: the member's machine, what its driver remembers, what its application works on.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::plant::Plant;
use super::world::Happening;
use crate::consumer::group::classic::Classic;
use crate::consumer::group::member::{
    Commits, Credentials, Effect, Event, Incarnation, Lane, Member, Now, Partition, Partitions, Settings, Tag, Topic,
};
use crate::consumer::group::message::Call;
use crate::consumer::group::next_generation::NextGeneration;
use crate::wire::message::consumer_group_heartbeat::Assignment;

/// The two machines of ours.
#[derive(Debug)]
pub(super) enum Machine {
    Classic(Box<Classic>),
    Next(Box<NextGeneration>),
}

impl Machine {
    pub(super) fn new(is_next: bool, settings: Settings) -> Self {
        if is_next {
            Self::Next(Box::new(NextGeneration::new(settings)))
        } else {
            Self::Classic(Box::new(Classic::new(settings)))
        }
    }

    /// What it is, without its settings.
    pub(super) fn shown(&self) -> String {
        let all = format!("{self:?}");
        all.split_once("phase: ").map_or_else(|| all.clone(), |(_, rest)| rest.chars().take(400).collect())
    }

    fn take(&mut self, now: Now, event: Event) -> Vec<Effect> {
        match self {
            Self::Classic(machine) => machine.take(now, event),
            Self::Next(machine) => machine.take(now, event),
        }
    }
}

/// A partition that the application has.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) incarnation: Incarnation,
    /// The next offset to apply and the row's version; `None` until they were read.
    pub(super) row: Option<(i64, u64)>,
    pub(super) is_busy: bool,
    /// Since when it is to be given back.
    pub(super) revoked_at: Option<Duration>,
}

/// A request that is not answered.
#[derive(Clone, Debug)]
pub(super) struct Flying {
    pub(super) tag: Tag,
    pub(super) call: Call,
}

#[derive(Debug)]
pub(super) struct Process {
    pub(super) machine: Machine,
    pub(super) instance: Option<String>,
    /// It is killed, has left, or has failed.
    pub(super) is_over: bool,
    pub(super) is_leaving: bool,
    /// Stopped as by SIGSTOP: what happens to it waits.
    pub(super) stopped: Option<VecDeque<Happening>>,
    /// Where it believes the coordinator to be.
    pub(super) node: u32,
    pub(super) wake: Option<Duration>,
    /// When the last request on each connection arrives: those behind it come later.
    pub(super) arrivals: [Duration; 2],
    /// How many connections it has had before.
    pub(super) connections: u32,
    pub(super) requests: [Option<Flying>; 2],
    /// The partitions that it knows by metadata.
    pub(super) known: i32,
    pub(super) parts: BTreeMap<i32, Part>,
    pub(super) commits: Commits,
    /// The last credentials under which it could commit.
    pub(super) last_commits: Commits,
    /// Positions that the group shall know.
    pub(super) dirty: BTreeMap<i32, i64>,
    pub(super) committing: Option<u64>,
    pub(super) commit_count: u64,
    /// Assignments that it was told, for a bug that believes old ones.
    pub(super) told: Vec<Assignment>,
}

impl Process {
    pub(super) fn new(machine: Machine, instance: Option<String>) -> Self {
        Self {
            machine,
            instance,
            is_over: false,
            is_leaving: false,
            stopped: None,
            node: 0,
            wake: None,
            arrivals: Default::default(),
            connections: 0,
            requests: Default::default(),
            known: 0,
            parts: BTreeMap::new(),
            commits: Commits::Barred,
            last_commits: Commits::Barred,
            dirty: BTreeMap::new(),
            committing: None,
            commit_count: 0,
            told: Vec::new(),
        }
    }

    /// Hands an event to the machine; what it wants is distorted by the planted bug.
    pub(super) fn take(&mut self, now: Now, mut event: Event, plant: Option<Plant>) -> Vec<Effect> {
        let first = plant.and_then(|plant| plant.distort_event(self, &mut event));
        if let Event::Answered { tag, .. } | Event::Failed { tag, .. } = &event {
            for request in &mut self.requests {
                request.take_if(|flying| flying.tag == *tag);
            }
        }
        let mut effects: Vec<Effect> = Vec::new();
        for event in first.into_iter().chain([event]) {
            effects.extend(self.machine.take(now, event));
        }
        for effect in &mut effects {
            if let Some(plant) = plant {
                plant.distort_effect(effect);
            }
        }
        effects
    }

    /// Whether it waits for this request's answer.
    pub(super) fn awaits(&self, tag: Tag) -> bool {
        self.requests.iter().flatten().any(|flying| flying.tag == tag)
    }

    /// What it is in the group, while it waits for its assignment.
    pub(super) fn syncing(&self) -> Option<Credentials> {
        let Some(Flying { call: Call::Sync(sync), .. }) = &self.requests[index(Lane::Join)] else { return None };
        let (member_id, instance_id) = (sync.member_id.clone(), sync.group_instance_id.clone());
        Some(Credentials { member_id, epoch: sync.generation_id, instance_id })
    }

    /// Whether it is on its way into a generation.
    pub(super) fn is_joining(&self) -> bool {
        self.requests[index(Lane::Join)].is_some()
    }

    pub(super) fn is_live(&self) -> bool {
        !self.is_over && !self.is_leaving
    }

    /// The parts of one assignment.
    pub(super) fn of(&self, incarnation: Incarnation) -> Vec<i32> {
        let own = self.parts.iter().filter(|(_, part)| part.incarnation == incarnation);
        own.map(|(number, _)| *number).collect()
    }
}

pub(super) fn index(lane: Lane) -> usize {
    match lane {
        Lane::Heartbeat => 0,
        Lane::Join => 1,
    }
}

pub(super) fn topic() -> Topic {
    Topic { id: super::ORDERS, name: "orders".into() }
}

pub(super) fn partitions(numbers: impl IntoIterator<Item = i32>) -> Partitions {
    numbers.into_iter().map(|number| Partition { topic: topic(), number }).collect()
}
