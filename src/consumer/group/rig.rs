//! A bench for membership machines: virtual time, requests that wait for an answer, effects that are kept.

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use super::complaint::Complaint;
use super::member::{
    Effect, Event, Fallback, Incarnation, Lane, Member, Now, Partition, Partitions, Seen, Settings, Silence, Tag, Topic,
};
use super::message::{Answer, Call};
use crate::backoff::Backoff;
use crate::place::TopicId;

pub(super) const ORDERS: TopicId = TopicId::new([1; 16]);

pub(super) const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(super) fn topic() -> Topic {
    Topic { id: ORDERS, name: "orders".into() }
}

/// Partitions of the topic `orders`.
pub(super) fn orders(numbers: impl IntoIterator<Item = i32>) -> Partitions {
    numbers.into_iter().map(|number| Partition { topic: topic(), number }).collect()
}

pub(super) fn settings() -> Settings {
    Settings {
        group: "shipping".into(),
        member_id: "m".into(),
        instance_id: None,
        rack: None,
        topics: [Arc::from("orders")].into(),
        server_assignor: None,
        assignors: vec![],
        session_timeout: seconds(45),
        rebalance_timeout: seconds(300),
        heartbeat_interval: seconds(3),
        request_timeout: seconds(30),
        backoff: Backoff::new(Duration::from_millis(100), seconds(1)),
        fallback: Fallback::Classic,
    }
}

/// A member on the bench.
pub(super) struct Rig<M> {
    pub(super) member: M,
    pub(super) now: Duration,
    wake: Option<Duration>,
    /// Requests without an answer, the oldest first.
    pub(super) flying: VecDeque<(Tag, Lane, Call)>,
    /// Effects that no test has looked at.
    pub(super) log: Vec<Effect>,
    /// What the application has, by assignment.
    pub(super) held: BTreeMap<Incarnation, Partitions>,
}

impl<M: Member + Debug> Rig<M> {
    /// A member that has found its coordinator; metadata know `orders` with 4 partitions.
    pub(super) fn started(member: M) -> Self {
        let mut rig = Self::idle(member);
        rig.see(4);
        rig.take(Event::Start);
        rig.take(Event::CoordinatorFound);
        rig
    }

    pub(super) fn idle(member: M) -> Self {
        let (flying, log, held) = Default::default();
        Self { member, now: Duration::ZERO, wake: None, flying, log, held }
    }

    pub(super) fn see(&mut self, partitions: i32) {
        self.take(Event::Metadata(vec![Seen { topic: topic(), partitions }]));
    }

    /// Hands one event over, checks what every machine must keep at every step, and keeps the effects.
    pub(super) fn take(&mut self, event: Event) -> Vec<Effect> {
        let said = format!("{event:?}");
        let effects = self.member.take(Now { at: self.now, chance: 0 }, event);
        for effect in &effects {
            self.keep(effect, &said);
        }
        self.log.extend(effects.iter().cloned());
        effects
    }

    fn keep(&mut self, effect: &Effect, said: &str) {
        match effect {
            Effect::Send { tag, lane, call, within } => {
                assert!(!within.is_zero());
                let doubled = self.flying.iter().any(|(_, other, _)| other == lane);
                assert!(!doubled, "two requests in flight on {lane:?} after {said}: {:?}", self.member);
                self.flying.push_back((*tag, *lane, call.clone()));
            }
            Effect::WakeAt(at) => {
                assert!(*at > self.now, "a wake in the past after {said}: {:?}", self.member);
                self.wake = Some(*at);
            }
            Effect::Assigned { incarnation, partitions, .. } => {
                let twice = self.held.values().any(|held| !held.is_disjoint(partitions));
                assert!(!twice, "assigned before it was given back after {said}: {:?}", self.member);
                assert!(self.held.insert(*incarnation, partitions.clone()).is_none(), "an incarnation twice");
            }
            Effect::Lost { incarnation, partitions } => self.drop(*incarnation, partitions),
            Effect::FindCoordinator | Effect::Revoked { .. } | Effect::Commits(_) => {}
            Effect::RefreshMetadata { .. } | Effect::Plan { .. } | Effect::FallBack => {}
            Effect::Warn(_) | Effect::Fatal(_) | Effect::Left => {}
        }
    }

    fn drop(&mut self, incarnation: Incarnation, partitions: &Partitions) {
        let held = self.held.get_mut(&incarnation).expect("lost what was never assigned");
        assert!(partitions.is_subset(held), "lost what was not held");
        held.retain(|partition| !partitions.contains(partition));
    }

    /// Lets time pass, waking the member as it asked.
    pub(super) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        let mut ticks = 0;
        while let Some(wake) = self.wake.filter(|wake| *wake <= end) {
            self.wake = None;
            self.now = wake;
            self.take(Event::Tick);
            ticks += 1;
            assert!(ticks < 10_000, "the member spins: {:?}", self.member);
        }
        self.now = end;
        self.take(Event::Tick);
    }

    /// The request in flight on a connection.
    pub(super) fn call(&self, lane: Lane) -> Option<&Call> {
        self.flying.iter().find(|(_, other, _)| *other == lane).map(|(_, _, call)| call)
    }

    pub(super) fn landed(&mut self, lane: Lane) -> Tag {
        let at = self.flying.iter().position(|(_, other, _)| *other == lane);
        let at = at.unwrap_or_else(|| panic!("nothing in flight on {lane:?}: {:?}", self.member));
        self.flying.remove(at).unwrap().0
    }

    pub(super) fn answer(&mut self, lane: Lane, answer: Answer) -> Vec<Effect> {
        let tag = self.landed(lane);
        self.take(Event::Answered { tag, answer })
    }

    /// The request in flight is cut off; the coordinator is found again as soon as it is looked for.
    pub(super) fn cut(&mut self, lane: Lane) {
        let tag = self.landed(lane);
        self.take(Event::Failed { tag, silence: Silence::Disconnected });
    }

    /// Says that a coordinator was found, if one is looked for.
    pub(super) fn find(&mut self) {
        self.pass(seconds(2));
        if self.took(|effect| matches!(effect, Effect::FindCoordinator)) > 0 {
            self.take(Event::CoordinatorFound);
        }
    }

    /// How many effects of a kind there were since the last look at all.
    pub(super) fn took(&self, is: impl Fn(&Effect) -> bool) -> usize {
        self.log.iter().filter(|effect| is(effect)).count()
    }

    /// The effects since the last look, without those about time, commits and requests.
    pub(super) fn news(&mut self) -> Vec<Effect> {
        let quiet = |effect: &Effect| {
            matches!(effect, Effect::WakeAt(_) | Effect::Send { .. } | Effect::Commits(_) | Effect::FindCoordinator)
        };
        self.log.drain(..).filter(|effect| !quiet(effect)).collect()
    }

    /// The application begins with all that it was assigned.
    pub(super) fn begin(&mut self) {
        for incarnation in self.held.keys().copied().collect::<Vec<_>>() {
            self.take(Event::Began { incarnation });
        }
    }

    /// The application gives partitions of `orders` back.
    pub(super) fn release(&mut self, numbers: impl IntoIterator<Item = i32>) {
        let wanted = orders(numbers);
        for (incarnation, held) in self.held.clone() {
            let partitions: Partitions = held.intersection(&wanted).cloned().collect();
            if !partitions.is_empty() {
                self.drop(incarnation, &partitions);
                self.take(Event::Released { incarnation, partitions });
            }
        }
    }

    /// The one complaint that ended the membership.
    pub(super) fn fatal(&self) -> &Complaint {
        let mut fatal = self.log.iter().filter_map(|effect| match effect {
            Effect::Fatal(complaint) => Some(complaint),
            _ => None,
        });
        let first = fatal.next().unwrap_or_else(|| panic!("not fatal: {:?}", self.log));
        assert!(fatal.next().is_none(), "fatal twice");
        first
    }
}
