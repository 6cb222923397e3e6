//! The simulated world: one schedule of happenings in virtual time, decided by a seed.
//!
//! ```text
//!  happening -> process (machine -> effects) -> network -> coordinator (machine -> answers) -> network -> happening
//!                  |                                            |
//!                  +--------------> judge: invariants <---------+
//! ```

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::coordinator::{Address, Coordinator};
use super::plant::Plant;
use super::process::Process;
use super::script::Script;
use super::store::Store;
use crate::consumer::group::member::{Credentials, Event, Incarnation, Lane, Silence};
use crate::consumer::group::message::{Answer, Call};
use crate::wire::kafka_error::KafkaError;

/// The last lines that are shown when an invariant is broken.
const TRACE: usize = 200;

/// What can happen.
#[derive(Clone, Debug)]
pub(super) enum Happening {
    /// A request reaches the node that it was sent to.
    Arrives {
        from: Address,
        lane: Lane,
        node: u32,
        connection: u32,
        call: Call,
        answer: Fate,
    },
    /// A commit reaches the node that it was sent to.
    Commits {
        who: usize,
        node: u32,
        connection: u32,
        serial: u64,
        credentials: Credentials,
        offsets: BTreeMap<i32, i64>,
        answer: Fate,
    },
    /// A process learns something.
    Told {
        who: usize,
        event: Event,
    },
    /// A commit is answered, or not.
    Committed {
        who: usize,
        serial: u64,
        offsets: BTreeMap<i32, i64>,
        outcome: Result<(), Refused>,
    },
    FoundCoordinator {
        who: usize,
    },
    ReadMetadata {
        who: usize,
    },
    Begins {
        who: usize,
        incarnation: Incarnation,
    },
    Works {
        who: usize,
    },
    Applies {
        who: usize,
        number: i32,
        incarnation: Incarnation,
        version: u64,
        records: (i64, i64),
    },
    Settles {
        who: usize,
    },
    TriesCommit {
        who: usize,
    },
    CoordinatorTick,
    Produces,
    /// The next step of the script.
    Script,
    Wakes {
        who: usize,
    },
    /// A process that was stopped goes on.
    Continues {
        who: usize,
    },
}

/// Why a commit did not go through.
#[derive(Clone, Debug)]
pub(super) enum Refused {
    Error(Credentials, KafkaError),
    Silence,
}

/// What becomes of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Comes,
    ComesTwice,
    Lost,
}

/// An invariant that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Broken {
    /// Its name.
    pub(super) invariant: &'static str,
    pub(super) detail: String,
}

pub(super) struct World {
    pub(super) now: Duration,
    pub(super) random: fastrand::Rng,
    queue: BTreeMap<(Duration, u64), Happening>,
    scheduled: u64,
    pub(super) coordinator: Coordinator,
    ticks_at: Option<Duration>,
    pub(super) processes: Vec<Process>,
    pub(super) store: Store,
    /// Where each partition's log ends.
    pub(super) ends: BTreeMap<i32, i64>,
    pub(super) plant: Option<Plant>,
    /// Until when the network is bad.
    pub(super) bad_until: Duration,
    /// Whether nothing goes wrong any more, so that nobody may lose anything.
    pub(super) is_calm: bool,
    pub(super) script: Script,
    pub(super) broken: Option<Broken>,
    /// What happened last, if it is kept: to write it down takes longer than all else.
    trace: Option<VecDeque<String>>,
}

impl World {
    pub(super) fn new(seed: u64, plant: Option<Plant>) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let script = Script::new(seed, &mut random);
        let (session, heartbeat) = (script.session(), Duration::from_millis(500));
        let coordinator = Coordinator::new(script.is_next(), session, heartbeat, plant);
        Self {
            now: Duration::ZERO,
            random,
            queue: BTreeMap::new(),
            scheduled: 0,
            coordinator,
            ticks_at: None,
            processes: Vec::new(),
            store: Store::default(),
            ends: BTreeMap::new(),
            plant,
            bad_until: Duration::ZERO,
            is_calm: false,
            script,
            broken: None,
            trace: None,
        }
    }

    /// Keeps what happens, to be shown if an invariant is broken.
    pub(super) fn traced(self) -> Self {
        Self { trace: Some(VecDeque::new()), ..self }
    }

    /// Lets everything happen. The invariant that was broken, with what went before.
    pub(super) fn run(mut self) -> Result<(), (Broken, Vec<String>)> {
        self.after(Duration::ZERO, Happening::Script);
        self.after(Duration::ZERO, Happening::Produces);
        while let Some(((at, _), happening)) = self.queue.pop_first() {
            if self.script.is_over() {
                break;
            }
            self.now = at;
            // Nothing else changes who owns what.
            let is_membership = matches!(
                happening,
                Happening::Arrives { .. } | Happening::Told { .. } | Happening::CoordinatorTick | Happening::Script
            );
            self.happen(happening);
            if is_membership {
                self.judge();
            }
            if let Some(broken) = self.broken.take() {
                return Err((broken, self.trace.unwrap_or_default().into()));
            }
        }
        Ok(())
    }

    pub(super) fn at(&mut self, at: Duration, happening: Happening) {
        self.scheduled += 1;
        self.queue.insert((at.max(self.now), self.scheduled), happening);
    }

    pub(super) fn after(&mut self, wait: Duration, happening: Happening) {
        self.at(self.now + wait, happening);
    }

    pub(super) fn note(&mut self, line: impl FnOnce() -> String) {
        let Some(trace) = &mut self.trace else { return };
        if trace.len() >= TRACE {
            trace.pop_front();
        }
        trace.push_back(format!("{:>9.3} {}", self.now.as_secs_f64(), line()));
    }

    pub(super) fn breaks(&mut self, invariant: &'static str, detail: String) {
        self.broken.get_or_insert(Broken { invariant, detail });
    }

    pub(super) fn millis(&mut self, range: std::ops::RangeInclusive<u64>) -> Duration {
        Duration::from_millis(self.random.u64(range))
    }

    pub(super) fn chance(&mut self, share: f64) -> bool {
        self.random.f64() < share
    }

    fn happen(&mut self, happening: Happening) {
        if let Some(who) = subject(&happening) {
            let process = &mut self.processes[who];
            if process.is_over {
                return;
            }
            if let Some(waiting) = &mut process.stopped {
                return waiting.push_back(happening);
            }
        }
        match happening {
            Happening::Arrives { from: (who, _), connection, call: Call::ConsumerHeartbeat(_), .. }
                if connection != self.processes[who].connections => {}
            Happening::Arrives { from, lane, node, call, answer, .. } => self.arrives(from, lane, node, call, answer),
            Happening::Commits { who, connection, .. } if connection != self.processes[who].connections => {}
            Happening::Commits { who, node, serial, credentials, offsets, answer, .. } => {
                self.commit_arrives((who, serial), node, credentials, offsets, answer);
            }
            Happening::Told { who, event } => self.tell(who, event),
            Happening::Committed { who, serial, offsets, outcome } => self.committed(who, serial, offsets, outcome),
            Happening::FoundCoordinator { who } => self.look_for_coordinator(who),
            Happening::ReadMetadata { who } => self.read_metadata(who),
            Happening::Begins { who, incarnation } => self.begin(who, incarnation),
            Happening::Works { who } => self.work(who),
            Happening::Applies { who, number, incarnation, version, records } => {
                self.apply(who, number, incarnation, version, records.0..records.1);
            }
            Happening::Settles { who } => self.settle(who),
            Happening::TriesCommit { who } => self.try_commit(who),
            Happening::CoordinatorTick => self.tick_coordinator(),
            Happening::Produces => self.produce(),
            Happening::Script => self.follow_script(),
            Happening::Continues { who } => self.go_on(who),
            Happening::Wakes { who } => {
                if self.processes[who].wake.take_if(|wake| *wake <= self.now).is_some() {
                    self.tell(who, Event::Tick);
                }
            }
        }
    }

    fn tick_coordinator(&mut self) {
        self.ticks_at = None;
        if self.now < self.coordinator.down_until {
            return self.arm_coordinator();
        }
        let answers = self.coordinator.tick(self.now);
        self.deliver(answers, Fate::Comes);
    }

    pub(super) fn arm_coordinator(&mut self) {
        let Some(deadline) = self.coordinator.members.next_deadline() else { return };
        let at = deadline.max(self.coordinator.down_until);
        if self.ticks_at.is_none_or(|ticks| at < ticks || ticks <= self.now) {
            self.ticks_at = Some(at);
            self.at(at, Happening::CoordinatorTick);
        }
    }

    fn produce(&mut self) {
        if self.script.produces() {
            for number in 0..self.coordinator.partitions {
                *self.ends.entry(number).or_default() += self.random.i64(0..=1);
            }
        }
        for who in 0..self.processes.len() {
            self.after(Duration::ZERO, Happening::Works { who });
        }
        self.after(Duration::from_millis(200), Happening::Produces);
    }

    /// Says an event to a process whose request will not be answered.
    pub(super) fn fail(&mut self, (who, tag): Address, after: Duration, silence: Silence) {
        self.after(after, Happening::Told { who, event: Event::Failed { tag, silence } });
    }

    pub(super) fn deliver(&mut self, answers: Vec<(Address, Answer)>, fate: Fate) {
        for ((who, tag), answer) in answers {
            self.answer((who, tag), answer, fate);
        }
        self.arm_coordinator();
    }

    /// The numbers of all partitions.
    pub(super) fn all(&self) -> BTreeSet<i32> {
        (0..self.coordinator.partitions).collect()
    }
}

/// The process that a happening belongs to, which must be awake for it.
fn subject(happening: &Happening) -> Option<usize> {
    match happening {
        Happening::Told { who, .. }
        | Happening::Committed { who, .. }
        | Happening::FoundCoordinator { who }
        | Happening::ReadMetadata { who }
        | Happening::Begins { who, .. }
        | Happening::Works { who }
        | Happening::Applies { who, .. }
        | Happening::Settles { who }
        | Happening::TriesCommit { who }
        | Happening::Wakes { who } => Some(*who),
        Happening::Arrives { .. }
        | Happening::Commits { .. }
        | Happening::CoordinatorTick
        | Happening::Produces
        | Happening::Continues { .. }
        | Happening::Script => None,
    }
}
