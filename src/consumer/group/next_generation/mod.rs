//! A member by KIP-848: the coordinator assigns, and a heartbeat carries everything.
//!
//! ```text
//!            Start            epoch > 0                Leave               released, or too late
//!   Idle ----------> Joining ----------> Inside ----------------> Settling --------------------> Leaving --> Ended
//!                     ^   ^               |  |
//!                     |   +-- lost -------+  +-- too slow --> Expired (left; joins again when the application is back)
//!                     +-- Probing, Replacing: an earlier registration of ours is in the way
//! ```
//! `Inside` is stable, reconciling and acknowledging at once: what is left to do shows in what is held and in the target.

mod errors;
mod farewell;
mod heartbeat;
mod reconcile;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use self::heartbeat::Flight;
use self::reconcile::Target;
use super::alarm::Alarm;
use super::complaint::{Cause, Complaint};
use super::coordinator::Coordinator;
use super::holding::Holding;
use super::member::{Commits, Credentials, Effect, Event, Member, Now, Settings};
use super::topics::Topics;
use crate::wire::kafka_error::KafkaError;

/// Where the member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Phase {
    /// Not asked to join yet.
    Idle,
    /// Epoch 0 is sent, or to be sent.
    Joining,
    /// A farewell for a while tells whether the registration in our way is our own.
    Probing,
    /// The old id is told to leave; then a fresh one joins.
    Replacing,
    /// In the group.
    Inside,
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

/// A member by KIP-848.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct NextGeneration {
    settings: Settings,
    phase: Phase,
    member_id: String,
    /// How many ids the member has had before this one.
    renamed: u32,
    /// The last epoch received in this life; 0 when the member is not in.
    epoch: i32,
    /// Grows when the membership is lost or given up: answers of an earlier life mean nothing.
    life: u64,
    has_been_in: bool,
    /// Whether the coordinator may know this member id.
    is_registered: bool,
    /// Losses in a row, without a heartbeat that succeeded between.
    fences: u32,
    /// Since when the lasting name has been in our way.
    held_up_since: Option<Duration>,
    coordinator: Coordinator,
    flight: Option<Flight>,
    last_tag: u64,
    interval: Duration,
    next_beat: Duration,
    /// Heartbeats since the member has owned nothing.
    idle_beats: u32,
    /// When the last heartbeat that succeeded was sent.
    proven_at: Duration,
    /// Whether the next heartbeat must say everything.
    is_doubtful: bool,
    /// Whether what is held must be told at once.
    is_ack_due: bool,
    holding: Holding,
    target: Target,
    /// Times that the application gave something back, and how many of them the coordinator has confirmed.
    releases: u64,
    confirmed_releases: u64,
    /// When a revocation that is not settled counts as a loss.
    settle_by: Option<Duration>,
    topics: Topics,
    /// When metadata are asked for again, and how often they were without effect.
    refresh_at: Option<Duration>,
    refreshes: u32,
    commits: Commits,
    told: BTreeSet<(Cause, Option<i16>)>,
    alarm: Alarm,
}

impl NextGeneration {
    /// A member that has not joined.
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            phase: Phase::Idle,
            member_id: settings.member_id.clone(),
            renamed: 0,
            epoch: 0,
            life: 0,
            has_been_in: false,
            is_registered: false,
            fences: 0,
            held_up_since: None,
            coordinator: Coordinator::new(settings.backoff),
            flight: None,
            last_tag: 0,
            interval: settings.heartbeat_interval,
            next_beat: Duration::ZERO,
            idle_beats: 0,
            proven_at: Duration::ZERO,
            is_doubtful: false,
            is_ack_due: false,
            holding: Holding::default(),
            target: Target::default(),
            releases: 0,
            confirmed_releases: 0,
            settle_by: None,
            topics: Topics::default(),
            refresh_at: None,
            refreshes: 0,
            commits: Commits::Barred,
            told: BTreeSet::new(),
            alarm: Alarm::default(),
            settings,
        }
    }

    fn is_in(&self) -> bool {
        matches!(self.phase, Phase::Inside | Phase::Settling { .. })
    }

    fn heard(&mut self, now: Now, event: Event, out: &mut Vec<Effect>) {
        match event {
            Event::Start if self.phase == Phase::Idle => self.phase = Phase::Joining,
            Event::Metadata(seen) => self.topics.replace(seen),
            Event::CoordinatorFound => self.coordinator.found(),
            Event::CoordinatorLost { error } => self.coordinator_lost(now, error, out),
            Event::Answered { tag, answer } => self.answered(now, tag, answer, out),
            Event::Failed { tag, .. } => self.failed(now, tag),
            Event::Tick => self.alarm.went_off(),
            Event::Began { incarnation } => self.began(incarnation),
            Event::Released { incarnation, partitions } => self.released(incarnation, &partitions),
            Event::TooSlow => self.expire(out),
            Event::Back => self.back(now),
            Event::StepAside => self.step_aside(now, out),
            Event::Leave { within } => self.leave(now, within, out),
            // A classic group's; and a refused commit, about which the next heartbeat decides.
            Event::Start | Event::Planned { .. } | Event::CommitRefused { .. } => {}
        }
    }

    fn coordinator_lost(&mut self, now: Now, error: Option<i16>, out: &mut Vec<Effect>) {
        let error = error.and_then(KafkaError::from_code);
        match error {
            Some(denied) if denied.is_denial() => self.fail(Cause::Denied, error, String::new(), out),
            Some(KafkaError::InvalidGroupId) => self.fail(Cause::Refused, error, String::new(), out),
            _ => {
                self.is_doubtful = true;
                self.coordinator.lost(now);
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
        if self.phase != Phase::Ended && self.phase != Phase::Failed {
            self.reconcile(now, out);
            self.refresh(now, out);
            // Who has nothing to send does not seek: a search that nobody makes would never end.
            out.extend(self.wants_to_send().then(|| self.coordinator.seek(now)).flatten());
            self.send(now, out);
        }
        self.wake(now, out);
    }

    /// Takes the membership for lost when the coordinator must have done so (its session timeout), or will
    /// (the rebalance timeout).
    fn fence_itself(&mut self, now: Now, out: &mut Vec<Effect>) {
        if !self.is_in() {
            return;
        }
        let is_silent = now.at >= self.proven_at.saturating_add(self.settings.session_timeout);
        let is_late = self.settle_by.is_some_and(|by| now.at >= by) && self.phase == Phase::Inside;
        if is_silent || is_late {
            self.warn(if is_silent { Cause::Silent } else { Cause::NotSettled }, None, String::new(), out);
            self.fenced(now, out);
        }
    }

    /// The partitions are gone; the next life begins.
    fn lose(&mut self, out: &mut Vec<Effect>) {
        out.extend(self.holding.lose_all());
        self.may_commit(Commits::Barred, out);
        self.life = self.life.saturating_add(1);
        self.epoch = 0;
        self.target = Target::default();
        self.is_doubtful = false;
        self.is_ack_due = false;
        self.releases = 0;
        self.confirmed_releases = 0;
        self.settle_by = None;
        self.refresh_at = None;
        self.idle_beats = 0;
    }

    /// Lost, to be joined again after a wait; the second time in a row under a fresh id.
    fn fenced(&mut self, now: Now, out: &mut Vec<Effect>) {
        self.fences = self.fences.saturating_add(1);
        // Brokers before the fix of KAFKA-19233 refuse epoch 0 of a member whose epoch they know to be higher.
        let again = if self.fences >= 2 { Phase::Replacing } else { Phase::Joining };
        self.lose_and_go(now, again, out);
    }

    fn lose_and_go(&mut self, now: Now, again: Phase, out: &mut Vec<Effect>) {
        self.lose(out);
        self.coordinator.hold(now);
        self.next_beat = now.at;
        self.phase = match self.phase {
            Phase::Settling { end, .. } | Phase::Leaving { end } => Phase::Leaving { end },
            _ => again,
        };
    }

    /// A fresh id, which nobody knows.
    fn rename(&mut self) {
        self.renamed = self.renamed.saturating_add(1);
        self.member_id = format!("{}.{}", self.settings.member_id, self.renamed);
        self.is_registered = false;
    }

    fn may_commit(&mut self, commits: Commits, out: &mut Vec<Effect>) {
        if self.commits != commits {
            self.commits = commits.clone();
            out.push(Effect::Commits(commits));
        }
    }

    fn credentials(&self) -> Credentials {
        let instance_id = self.settings.instance_id.clone();
        Credentials { member_id: self.member_id.clone(), epoch: self.epoch, instance_id }
    }

    /// Tells people once, until a heartbeat succeeds again.
    fn warn(&mut self, cause: Cause, error: Option<KafkaError>, detail: String, out: &mut Vec<Effect>) {
        if self.told.insert((cause, error.map(KafkaError::code))) {
            out.push(Effect::Warn(self.complaint(cause, error, detail)));
        }
    }

    fn fail(&mut self, cause: Cause, error: Option<KafkaError>, detail: String, out: &mut Vec<Effect>) {
        self.lose(out);
        match self.phase {
            Phase::Failed => {}
            // Who leaves anyway need not end for a second reason.
            Phase::Settling { end, .. } | Phase::Leaving { end } => {
                self.warn(cause, error, detail, out);
                self.is_registered = false;
                self.phase = Phase::Leaving { end };
            }
            _ => {
                self.phase = Phase::Failed;
                out.push(Effect::Fatal(self.complaint(cause, error, detail)));
            }
        }
    }

    fn complaint(&self, cause: Cause, error: Option<KafkaError>, detail: String) -> Complaint {
        Complaint { cause, group: self.settings.group.clone(), error: error.map(KafkaError::code), detail }
    }

    fn wake(&mut self, now: Now, out: &mut Vec<Effect>) {
        let in_group = self.is_in();
        let until = match self.phase {
            Phase::Settling { until, .. } | Phase::Leaving { end: until } => Some(until),
            Phase::Failed | Phase::Ended => return,
            _ => None,
        };
        let silent = in_group.then(|| self.proven_at.saturating_add(self.settings.session_timeout));
        let waits = [until, silent, self.settle_by, self.refresh_at, self.send_at(), self.coordinator.wake(now)];
        self.alarm.set(now, waits, out);
    }
}

impl Member for NextGeneration {
    fn take(&mut self, now: Now, event: Event) -> Vec<Effect> {
        let mut out = Vec::new();
        if self.phase != Phase::Ended {
            self.heard(now, event, &mut out);
            self.pass(now, &mut out);
        }
        out
    }
}
