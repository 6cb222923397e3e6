//! What befalls the group: first troubles that the seed decides, then calm, in which members come and go.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::GROUP;
use super::process::{Machine, Process};
use super::world::{Happening, World};
use crate::backoff::Backoff;
use crate::consumer::group::assignor::Assignor;
use crate::consumer::group::member::{Event, Fallback, Settings};

const SESSION: Duration = Duration::from_secs(6);
const REBALANCE: Duration = Duration::from_secs(8);

/// How long troubles last.
const TURMOIL: Duration = Duration::from_secs(20);

/// From the last trouble until all is well again: a join whose answer was lost is given up after the rebalance timeout
/// and 5 s; then a session may have to end, and a lasting name to be free, which waits a session and 5 s more.
const RECOVERY: Duration = Duration::from_secs(60);

/// From a member's coming or going until all is well.
const HANDOVER: Duration = Duration::from_secs(6);

/// Processes that are alive at a time.
const MOST: usize = 5;

/// Which protocol the group speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Next,
    Eager,
    Mixed,
    Cooperative,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Start,
    Turmoil,
    /// All must be well by then.
    Recovering(Duration),
    Over,
}

/// What happens in calm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Calm {
    Comes,
    Goes,
    Grows,
    /// A static member ends, and comes back under its name.
    Restarts,
}

/// A static member that restarts in calm, which moves nothing.
#[derive(Clone, Debug)]
struct Restart {
    before: usize,
    name: String,
    is_back: bool,
}

#[derive(Debug)]
pub(super) struct Script {
    kind: Kind,
    stage: Stage,
    calm: VecDeque<Calm>,
    restart: Option<Restart>,
}

impl Script {
    pub(super) fn new(seed: u64, random: &mut fastrand::Rng) -> Self {
        let kind = [Kind::Next, Kind::Cooperative, Kind::Eager, Kind::Mixed][usize::try_from(seed % 4).unwrap()];
        let mut calm = vec![Calm::Comes, Calm::Goes, Calm::Grows, Calm::Restarts, Calm::Comes, Calm::Goes];
        random.shuffle(&mut calm);
        Self { kind, stage: Stage::Start, calm: calm.into(), restart: None }
    }

    pub(super) fn is_next(&self) -> bool {
        self.kind == Kind::Next
    }

    pub(super) fn session(&self) -> Duration {
        SESSION
    }

    pub(super) fn is_over(&self) -> bool {
        self.stage == Stage::Over
    }

    pub(super) fn produces(&self) -> bool {
        self.stage == Stage::Turmoil
    }

    /// Whether a member may be asked for what it has.
    pub(super) fn lets_revoke(&self, who: usize) -> bool {
        self.restart.as_ref().is_none_or(|restart| restart.before == who)
    }

    fn assignors(&self) -> Vec<Assignor> {
        match self.kind {
            Kind::Next => Vec::new(),
            Kind::Eager => vec![Assignor::RoundRobin],
            Kind::Mixed => vec![Assignor::Range, Assignor::CooperativeSticky],
            Kind::Cooperative => vec![Assignor::CooperativeSticky],
        }
    }
}

impl World {
    pub(super) fn follow_script(&mut self) {
        match self.script.stage {
            Stage::Start => {
                for _ in 0..self.random.usize(1..=3) {
                    self.start(None);
                }
                self.script.stage = Stage::Turmoil;
                self.after(Duration::from_secs(1), Happening::Script);
            }
            Stage::Turmoil if self.now < TURMOIL => {
                self.trouble();
                let pause = self.millis(100..=3000);
                self.after(pause, Happening::Script);
            }
            Stage::Turmoil => {
                self.heal();
                self.script.stage = Stage::Recovering(self.now + RECOVERY);
                self.after(Duration::ZERO, Happening::Script);
            }
            Stage::Recovering(by) => {
                self.bring_back();
                match self.missing() {
                    None => self.next_calm(),
                    Some(missing) if self.now >= by => {
                        let invariant = "progress resumes in bounded time";
                        self.breaks(invariant, format!("{missing}, {} s late", (self.now - by).as_secs()));
                    }
                    Some(_) => {}
                }
                self.after(Duration::from_millis(100), Happening::Script);
            }
            Stage::Over => {}
        }
    }

    /// A process starts, perhaps under a lasting name.
    fn start(&mut self, instance: Option<String>) {
        let who = self.processes.len();
        let name = instance.or_else(|| self.chance(0.3).then(|| format!("instance-{who}")));
        let settings = Settings {
            group: GROUP.into(),
            member_id: format!("p{who}"),
            instance_id: name.clone(),
            rack: None,
            topics: [Arc::from("orders")].into(),
            server_assignor: None,
            assignors: self.script.assignors(),
            session_timeout: SESSION,
            rebalance_timeout: REBALANCE,
            heartbeat_interval: Duration::from_millis(1000),
            request_timeout: Duration::from_secs(5),
            backoff: Backoff::new(Duration::from_millis(100), Duration::from_secs(1)),
            fallback: Fallback::Refused,
        };
        self.processes.push(Process::new(Machine::new(self.script.is_next(), settings), name));
        let time = self.millis(0..=500);
        self.after(time, Happening::ReadMetadata { who });
        self.after(time, Happening::Told { who, event: Event::Start });
    }

    /// Somebody who is alive and awake.
    fn somebody(&mut self) -> Option<usize> {
        let live = self.processes.iter().enumerate().filter(|(_, one)| one.is_live() && one.stopped.is_none());
        let live: Vec<usize> = live.map(|(who, _)| who).collect();
        (!live.is_empty()).then(|| live[self.random.usize(..live.len())])
    }

    fn trouble(&mut self) {
        let live = self.processes.iter().filter(|one| one.is_live()).count();
        let somebody = self.somebody();
        match (self.random.u32(..10), somebody) {
            (0 | 1, _) => self.bad_until = self.now + self.millis(500..=5000),
            (2, _) => {
                self.coordinator.loading_until = self.now + self.millis(0..=1000);
                let answers = self.coordinator.move_on();
                self.deliver(answers, super::world::Fate::Comes);
                self.note(|| "the coordinator moves".into());
            }
            (3, _) => {
                self.coordinator.down_until = self.now + self.millis(200..=3000);
                self.coordinator.loading_until = self.coordinator.down_until + self.millis(0..=500);
                self.break_connections();
                self.note(|| "the coordinator's node restarts".into());
            }
            (4, Some(who)) => {
                self.processes[who].stopped = Some(VecDeque::new());
                let time = self.millis(100..=10_000);
                self.after(time, Happening::Continues { who });
                self.note(|| format!("#{who} is stopped for {time:?}"));
            }
            (5, Some(who)) => {
                self.processes[who].is_over = true;
                let instance = self.processes[who].instance.clone();
                self.note(|| format!("#{who} is killed"));
                self.start(instance);
            }
            (6, _) if live < MOST => self.start(None),
            (7, Some(who)) if live > 1 => {
                let instance = self.processes[who].instance.clone();
                self.leave(who);
                if instance.is_some() && self.random.bool() {
                    self.start(instance);
                }
            }
            (8, _) if self.coordinator.partitions < 10 => self.coordinator.partitions += 1,
            (9, Some(who)) => {
                self.tell(who, Event::TooSlow);
                let time = self.millis(200..=3000);
                self.after(time, Happening::Told { who, event: Event::Back });
            }
            (_, Some(who)) if live < MOST && self.processes[who].instance.is_some() => {
                let instance = self.processes[who].instance.clone();
                self.note(|| format!("a second {instance:?}"));
                self.start(instance);
            }
            _ => {}
        }
    }

    /// Starts the process again that has ended.
    fn bring_back(&mut self) {
        let Some(restart) = &mut self.script.restart else { return };
        if self.processes[restart.before].is_over && !restart.is_back {
            restart.is_back = true;
            let name = restart.name.clone();
            self.start(Some(name));
        }
    }

    fn leave(&mut self, who: usize) {
        self.processes[who].is_leaving = true;
        self.tell(who, Event::Leave { within: Duration::from_secs(4) });
    }

    /// A process that was stopped finds all that happened to it meanwhile.
    pub(super) fn go_on(&mut self, who: usize) {
        for happening in self.processes[who].stopped.take().into_iter().flatten() {
            self.after(Duration::ZERO, happening);
        }
    }

    fn heal(&mut self) {
        self.note(|| "no more troubles".into());
        self.bad_until = self.now;
        self.coordinator.down_until = self.coordinator.down_until.min(self.now);
        self.coordinator.loading_until = self.coordinator.loading_until.min(self.now);
        for who in 0..self.processes.len() {
            self.go_on(who);
        }
        self.start(None);
    }

    /// The next thing that happens in calm.
    fn next_calm(&mut self) {
        self.is_calm = true;
        self.script.restart = None;
        let Some(calm) = self.script.calm.pop_front() else {
            self.script.stage = Stage::Over;
            return;
        };
        self.note(|| format!("in calm: {calm:?}"));
        let mut within = HANDOVER;
        match calm {
            Calm::Comes => self.start(None),
            Calm::Restarts => {
                let mut named = self.processes.iter().enumerate().filter(|(_, one)| one.is_live());
                let found = named.find_map(|(who, one)| Some((who, one.instance.clone()?)));
                if let Some((before, name)) = found {
                    self.script.restart = Some(Restart { before, name, is_back: false });
                    self.leave(before);
                }
            }
            Calm::Grows => self.coordinator.partitions += 1,
            Calm::Goes => {
                let live = self.processes.iter().filter(|one| one.is_live()).count();
                if let Some(who) = self.somebody().filter(|_| live > 1) {
                    // A static member is expected back until its session ends.
                    within += if self.processes[who].instance.is_some() { SESSION } else { Duration::ZERO };
                    self.leave(who);
                }
            }
        }
        for number in self.all() {
            *self.ends.entry(number).or_default() += 3;
        }
        self.script.stage = Stage::Recovering(self.now + within);
    }

    /// What is not well yet.
    fn missing(&self) -> Option<String> {
        let live: Vec<_> = self.processes.iter().enumerate().filter(|(_, one)| !one.is_over).collect();
        if let Some((who, _)) = live.iter().find(|(_, one)| one.is_leaving) {
            return Some(format!("#{who} has not left"));
        }
        if let Some((who, _)) = live.iter().find(|(_, one)| one.is_joining()) {
            return Some(format!("#{who} is joining"));
        }
        let ready = |one: &Process| -> Vec<i32> {
            let ready = one.parts.iter().filter(|(_, part)| part.row.is_some() && part.revoked_at.is_none());
            ready.map(|(number, _)| *number).collect()
        };
        // One that is in two hands has an owner who does not know yet that it is out.
        let mut owned: Vec<i32> = live.iter().flat_map(|(_, one)| ready(one)).collect();
        owned.sort_unstable();
        if !owned.iter().copied().eq(self.all()) {
            return Some(format!("owned are only {owned:?}"));
        }
        let behind = |number: &i32| {
            let end = self.ends.get(number).copied().unwrap_or_default();
            let committed = self.coordinator.committed.get(number).copied().unwrap_or_default();
            self.store.row(*number).0 != end || committed != end
        };
        if let Some(number) = self.all().into_iter().find(behind) {
            let (row, committed) = (self.store.row(number), self.coordinator.committed.get(&number));
            return Some(format!("partition {number} is behind: row {row:?}, committed {committed:?}"));
        }
        let (state, ids) = (self.coordinator.members.state(), self.coordinator.ids());
        let machines = || live.iter().map(|(who, one)| format!("#{who} {}\n", one.machine.shown())).collect::<String>();
        let is_well = state == "Stable" && ids.len() == live.len();
        (!is_well).then(|| format!("the group is {state} with {ids:?}, alive are\n{}", machines()))
    }
}
