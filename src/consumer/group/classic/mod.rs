//! A member by the classic protocol: the members join in generations, and one of them, the leader, assigns.
//!
//! ```text
//!            Start             answer               answer
//!   Idle ---------> Joining --------> [Planning] --> Syncing --------> Stable
//!                    ^   ^             (leader)         |                | a rebalance, or new partitions
//!       Yielding ----+   +---- Shedding <---------------+                |
//!          ^          (cooperative: gives back what moves)               |
//!          +--- eager: gives everything back --------------<-------------+--- cooperative: joins at once
//! ```
//! A member is cooperative only if every assignor that it offers is: with a mixed list any join may turn the group
//! eager, and what was kept until then would be owned twice.

mod farewell;
mod heartbeat;
mod join;
mod ownership;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::alarm::Alarm;
use super::complaint::{Cause, Complaint};
use super::coordinator::Coordinator;
use super::holding::Holding;
use super::member::{Commits, Credentials, Effect, Event, Member, Now, Settings, Tag};
use super::message::Answer;
use super::topics::Topics;
use crate::place::TopicPartition;
use crate::wire::kafka_error::KafkaError;

/// Where the member is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Phase {
    /// Not asked to join yet.
    Idle,
    /// Eager: the application gives everything back before the member joins.
    Yielding,
    /// JoinGroup is sent, or to be sent.
    Joining,
    /// The leader's assignor runs.
    Planning,
    /// SyncGroup is sent, or to be sent, with the plan of a leader.
    Syncing,
    /// The assignment is what is held.
    Stable,
    /// The application gives back what moves away; then the member joins again.
    Shedding,
    /// Left, because the application is too slow.
    Expired { is_back: bool },
    /// The application gives everything back before the member leaves.
    Settling { until: Duration, end: Duration },
    /// The farewell is sent, or to be sent.
    Leaving { end: Duration },
    /// The membership cannot go on; it can still be left.
    Failed,
    /// Over.
    Ended,
}

/// A request that is not answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Flight {
    tag: Tag,
    /// The life of the member that sent it.
    life: u64,
    sent: Duration,
    /// The identity that it carried: an answer about another one is stale.
    generation: i32,
    member_id: String,
    is_farewell: bool,
}

/// A member by the classic protocol.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Classic {
    settings: Settings,
    phase: Phase,
    /// As the coordinator gave it; empty before.
    member_id: String,
    /// -1 without one.
    generation: i32,
    /// The protocol that the group chose.
    protocol: Option<String>,
    is_leader: bool,
    /// Grows when the membership is lost or given up.
    life: u64,
    coordinator: Coordinator,
    joining: Option<Flight>,
    beating: Option<Flight>,
    last_tag: u64,
    next_beat: Duration,
    /// When the last request that proves the membership was sent.
    proven_at: Duration,
    holding: Holding,
    /// What the leader gave to this member.
    wanted: BTreeSet<TopicPartition>,
    #[serde(with = "super::message::blobs")]
    plan: Vec<(String, Bytes)>,
    /// Whether the group has moved on while the application gives partitions back.
    must_rejoin: bool,
    settle_by: Option<Duration>,
    topics: Topics,
    /// The topics of all members, with the partitions that the plan knew: the leader's.
    watched: BTreeSet<Arc<str>>,
    planned: BTreeMap<Arc<str>, i32>,
    refresh_at: Option<Duration>,
    refreshes: u32,
    commits: Commits,
    told: BTreeSet<(Cause, Option<i16>)>,
    alarm: Alarm,
}

impl Classic {
    /// A member that has not joined.
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            phase: Phase::Idle,
            member_id: String::new(),
            generation: -1,
            protocol: None,
            is_leader: false,
            life: 0,
            coordinator: Coordinator::new(settings.backoff),
            joining: None,
            beating: None,
            last_tag: 0,
            next_beat: Duration::ZERO,
            proven_at: Duration::ZERO,
            holding: Holding::default(),
            wanted: BTreeSet::new(),
            plan: Vec::new(),
            must_rejoin: false,
            settle_by: None,
            topics: Topics::default(),
            watched: BTreeSet::new(),
            planned: BTreeMap::new(),
            refresh_at: None,
            refreshes: 0,
            commits: Commits::Barred,
            told: BTreeSet::new(),
            alarm: Alarm::default(),
            settings,
        }
    }

    fn is_cooperative(&self) -> bool {
        self.settings.assignors.iter().all(|assignor| assignor.is_cooperative())
    }

    fn heard(&mut self, now: Now, event: Event, out: &mut Vec<Effect>) {
        match event {
            Event::Start if self.phase == Phase::Idle => self.phase = Phase::Joining,
            Event::Start => {}
            Event::Metadata(seen) => {
                self.topics.replace(seen);
                self.look_around(now, out);
            }
            Event::CoordinatorFound => self.coordinator.found(),
            Event::CoordinatorLost { error } => self.coordinator_lost(now, error, out),
            Event::Answered { tag, answer } => self.answered(now, tag, answer, out),
            Event::Failed { tag, .. } => self.failed(now, tag, out),
            Event::Tick => self.alarm.went_off(),
            Event::Began { incarnation } => self.holding.began(incarnation),
            Event::Released { incarnation, partitions } => self.holding.release(incarnation, &partitions),
            Event::Planned { generation, plan } => self.planned(generation, plan),
            Event::CommitRefused { credentials, error } => self.commit_refused(now, &credentials, error, out),
            Event::TooSlow => self.expire(out),
            Event::Back => self.back(),
            Event::StepAside => self.step_aside(out),
            Event::Leave { within } => self.leave(now, within, out),
        }
    }

    fn coordinator_lost(&mut self, now: Now, error: Option<i16>, out: &mut Vec<Effect>) {
        let error = error.and_then(KafkaError::from_code);
        match error {
            Some(denied) if denied.is_denial() => self.fail(Cause::Denied, error, out),
            Some(KafkaError::InvalidGroupId) => self.fail(Cause::Refused, error, out),
            _ => self.coordinator.lost(now),
        }
    }

    fn answered(&mut self, now: Now, tag: Tag, answer: Answer, out: &mut Vec<Effect>) {
        if let Some(flight) = self.joining.take_if(|flight| flight.tag == tag) {
            match answer {
                _ if flight.life != self.life => {}
                Answer::Join(answer) => self.joined(now, &flight, answer, out),
                Answer::Sync(answer) => self.synced(now, &flight, answer, out),
                _ => self.unjoined(now, out),
            }
        } else if let Some(flight) = self.beating.take_if(|flight| flight.tag == tag) {
            match answer {
                _ if flight.is_farewell => self.said_farewell(),
                Answer::Heartbeat(answer) if flight.life == self.life => {
                    self.beaten(now, &flight, KafkaError::from_code(answer.error_code), out);
                }
                _ => {}
            }
        }
    }

    fn failed(&mut self, now: Now, tag: Tag, out: &mut Vec<Effect>) {
        if let Some(flight) = self.joining.take_if(|flight| flight.tag == tag) {
            self.coordinator.lost(now);
            if flight.life == self.life {
                self.unjoined(now, out);
            }
        } else if let Some(flight) = self.beating.take_if(|flight| flight.tag == tag) {
            self.coordinator.lost(now);
            self.next_beat = now.at;
            if flight.is_farewell {
                self.said_farewell();
            }
        }
    }

    /// Does what the time demands.
    fn pass(&mut self, now: Now, out: &mut Vec<Effect>) {
        if self.phase == Phase::Idle {
            return;
        }
        self.fence_itself(now, out);
        self.end_waits(now, out);
        if !matches!(self.phase, Phase::Ended | Phase::Failed) {
            self.look_after_plan(now, out);
            self.refresh(now, out);
            // Who has nothing to send does not seek: a search that nobody makes would never end.
            out.extend(self.wants_to_send().then(|| self.coordinator.seek(now)).flatten());
            self.send_join(now, out);
            self.send_beat(now, out);
        }
        self.wake(now, out);
    }

    fn wants_to_send(&self) -> bool {
        self.join_is_wanted() || self.beat_is_wanted() || self.farewell_is_wanted()
    }

    /// The identity is gone with all that was held under it.
    fn lose(&mut self, out: &mut Vec<Effect>) {
        out.extend(self.holding.lose_all());
        self.may_commit(Commits::Barred, out);
        self.life = self.life.saturating_add(1);
        self.generation = -1;
        self.is_leader = false;
        self.wanted.clear();
        self.plan.clear();
        self.must_rejoin = false;
        self.settle_by = None;
        self.refresh_at = None;
    }

    fn lose_and_rejoin(&mut self, now: Now, out: &mut Vec<Effect>) {
        self.lose(out);
        self.coordinator.hold(now);
        self.phase = match self.phase {
            Phase::Settling { end, .. } | Phase::Leaving { end } => Phase::Leaving { end },
            _ => Phase::Joining,
        };
    }

    fn flight(&mut self, now: Now, is_farewell: bool) -> Flight {
        self.last_tag = self.last_tag.saturating_add(1);
        let (life, sent, generation, member_id) = (self.life, now.at, self.generation, self.member_id.clone());
        Flight { tag: Tag(self.last_tag), life, sent, generation, member_id, is_farewell }
    }

    fn credentials(&self) -> Credentials {
        let instance_id = self.settings.instance_id.clone();
        Credentials { member_id: self.member_id.clone(), epoch: self.generation, instance_id }
    }

    fn may_commit(&mut self, commits: Commits, out: &mut Vec<Effect>) {
        if self.commits != commits {
            self.commits = commits.clone();
            out.push(Effect::Commits(commits));
        }
    }

    /// Tells people once, until a request succeeds again.
    fn warn(&mut self, cause: Cause, error: Option<KafkaError>, out: &mut Vec<Effect>) {
        if self.told.insert((cause, error.map(KafkaError::code))) {
            out.push(Effect::Warn(self.complaint(cause, error)));
        }
    }

    fn fail(&mut self, cause: Cause, error: Option<KafkaError>, out: &mut Vec<Effect>) {
        self.lose(out);
        match self.phase {
            Phase::Failed => {}
            // Who leaves anyway need not end for a second reason.
            Phase::Settling { end, .. } | Phase::Leaving { end } => {
                self.warn(cause, error, out);
                self.member_id.clear();
                self.phase = Phase::Leaving { end };
            }
            _ => {
                if cause == Cause::InstanceTaken {
                    self.member_id.clear();
                }
                self.phase = Phase::Failed;
                out.push(Effect::Fatal(self.complaint(cause, error)));
            }
        }
    }

    fn complaint(&self, cause: Cause, error: Option<KafkaError>) -> Complaint {
        let detail = self.settings.instance_id.as_ref().map(|name| format!("group.instance.id {name}"));
        let (group, detail) = (self.settings.group.clone(), detail.unwrap_or_default());
        Complaint { cause, group, error: error.map(KafkaError::code), detail }
    }

    fn wake(&mut self, now: Now, out: &mut Vec<Effect>) {
        let until = match self.phase {
            Phase::Settling { until, .. } | Phase::Leaving { end: until } => Some(until),
            Phase::Failed | Phase::Ended => return,
            _ => None,
        };
        let silent = (!self.holding.is_empty()).then(|| self.proven_at.saturating_add(self.settings.session_timeout));
        let beat = (self.beating.is_none() && self.beat_is_wanted()).then_some(self.next_beat);
        let waits = [until, silent, beat, self.settle_by, self.refresh_at, self.coordinator.wake(now)];
        self.alarm.set(now, waits, out);
    }
}

impl Member for Classic {
    fn take(&mut self, now: Now, event: Event) -> Vec<Effect> {
        let mut out = Vec::new();
        if self.phase != Phase::Ended {
            self.heard(now, event, &mut out);
            self.pass(now, &mut out);
        }
        out
    }
}
