//! What the simulated driver does with a machine's effects, and the application that works on partitions.

use std::collections::BTreeMap;
use std::time::Duration;

use super::plant::Plant;
use super::process::{Part, partitions, topic};
use super::world::{Happening, Refused, World};
use crate::consumer::group::assignor::{self, Assignor, Peer};
use crate::consumer::group::complaint::{Cause, Complaint};
use crate::consumer::group::member::{Commits, Credentials, Effect, Event, Incarnation, Named, Now, Partitions, Seen};
use crate::consumer::group::subscription::{Subscription, encode_assignment};
use crate::wire::kafka_error::KafkaError;

/// How long giving back waits for the commit.
const COMMIT_PATIENCE: Duration = Duration::from_millis(1500);

/// Until a commit is tried again.
const COMMIT_PAUSE: Duration = Duration::from_millis(200);

impl World {
    pub(super) fn tell(&mut self, who: usize, event: Event) {
        if let Event::Failed { tag, .. } = &event {
            if !self.processes[who].awaits(*tag) {
                return;
            }
            self.reconnect(who, *tag);
        }
        let now = Now { at: self.now, chance: self.random.u16(..) };
        self.note(|| format!("#{who} <- {event:?}"));
        let is_answer = matches!(event, Event::Answered { .. });
        let is_now = self.processes[who].syncing();
        let effects = self.processes[who].take(now, event, self.plant);
        if is_answer {
            self.check_losses(who, is_now, &effects);
        }
        for effect in effects {
            self.carry_out(who, effect);
        }
    }

    /// An answer costs a member its partitions only if the coordinator has put it out.
    fn check_losses(&mut self, who: usize, is_now: Option<Credentials>, effects: &[Effect]) {
        let gives_up = |complaint: &Complaint| matches!(complaint.cause, Cause::Silent | Cause::NotSettled);
        let is_own = effects.iter().any(|effect| matches!(effect, Effect::Warn(complaint) if gives_up(complaint)));
        let is_lost = effects.iter().any(|effect| matches!(effect, Effect::Lost { .. }));
        let process = &self.processes[who];
        let last = match &process.last_commits {
            Commits::As(credentials) => Some(credentials),
            Commits::Held | Commits::Barred => None,
        };
        let Some(credentials) = is_now.as_ref().or(last) else { return };
        if is_lost && !is_own && !process.is_leaving && self.coordinator.knows(credentials) {
            let detail = format!("#{who} {credentials:?}");
            self.breaks("nothing is lost without a cause", detail);
        }
    }

    fn carry_out(&mut self, who: usize, effect: Effect) {
        if !matches!(effect, Effect::WakeAt(_) | Effect::Send { .. }) {
            self.note(|| format!("#{who} -> {effect:?}"));
        }
        match effect {
            Effect::FindCoordinator => {
                let latency = self.latency();
                self.after(latency, Happening::FoundCoordinator { who });
            }
            Effect::Send { tag, lane, call, within } => self.send((who, tag), lane, call, within),
            Effect::WakeAt(at) => {
                self.processes[who].wake = Some(at);
                self.at(at, Happening::Wakes { who });
            }
            Effect::Assigned { incarnation, partitions, .. } => self.assigned(who, incarnation, &partitions),
            Effect::Revoked { incarnation, partitions } => self.revoked(who, incarnation, &partitions),
            Effect::Lost { incarnation, partitions } => self.lost(who, incarnation, &partitions),
            Effect::Commits(commits) => {
                let process = &mut self.processes[who];
                process.commits = commits.clone();
                if let Commits::As(_) = commits {
                    process.last_commits = commits;
                    self.after(Duration::ZERO, Happening::TriesCommit { who });
                }
            }
            Effect::RefreshMetadata { .. } => {
                let latency = self.latency();
                self.after(latency, Happening::ReadMetadata { who });
            }
            Effect::Plan { generation, assignor, members } => {
                let plan = plan(assignor, &members, self.processes[who].known);
                let time = self.millis(0..=10);
                self.after(time, Happening::Told { who, event: Event::Planned { generation, plan } });
            }
            Effect::Warn(_) => {}
            Effect::FallBack => self.breaks("no member falls back", format!("#{who}")),
            Effect::Fatal(complaint) => {
                if self.is_calm || !self.is_doubled(who) {
                    self.breaks("no member fails", format!("#{who}: {complaint:?}"));
                }
                self.processes[who].is_over = true;
            }
            Effect::Left => self.processes[who].is_over = true,
        }
    }

    /// Whether another process has, or had, the same lasting name.
    fn is_doubled(&self, who: usize) -> bool {
        let name = &self.processes[who].instance;
        let others = self.processes.iter().enumerate().filter(|(other, _)| *other != who);
        name.is_some() && others.into_iter().any(|(_, other)| other.instance == *name)
    }

    fn assigned(&mut self, who: usize, incarnation: Incarnation, partitions: &Partitions) {
        for number in partitions.iter().map(|partition| partition.number) {
            let part = Part { incarnation, row: None, is_busy: false, revoked_at: None };
            if self.processes[who].parts.insert(number, part).is_some() {
                self.breaks("nothing is assigned before it was given back", format!("#{who} {number}"));
            }
        }
        let time = self.millis(1..=30);
        self.after(time, Happening::Begins { who, incarnation });
    }

    fn revoked(&mut self, who: usize, incarnation: Incarnation, partitions: &Partitions) {
        let now = self.now;
        if !self.script.lets_revoke(who) {
            self.breaks("a static member's restart moves nothing", format!("#{who} {partitions:?}"));
        }
        for partition in partitions {
            let part = self.processes[who].parts.get_mut(&partition.number);
            match part.filter(|part| part.incarnation == incarnation) {
                Some(part) => part.revoked_at = Some(now),
                None => self.breaks("only what is held is revoked", format!("#{who} {partition:?}")),
            }
        }
        self.after(Duration::from_millis(1), Happening::Settles { who });
    }

    fn lost(&mut self, who: usize, incarnation: Incarnation, partitions: &Partitions) {
        if self.is_calm {
            self.breaks("nothing is lost while nothing goes wrong", format!("#{who} {partitions:?}"));
        }
        for partition in partitions {
            let part = self.processes[who].parts.remove(&partition.number);
            if part.is_none_or(|part| part.incarnation != incarnation) {
                self.breaks("only what is held is lost", format!("#{who} {partition:?}"));
            }
            self.forget(who, partition.number);
        }
    }

    /// Nothing of a partition may be committed any more.
    fn forget(&mut self, who: usize, number: i32) {
        if self.plant == Some(Plant::CommitAfterRevoke) {
            let (position, _) = self.store.row(number);
            self.processes[who].dirty.insert(number, position);
            self.after(Duration::ZERO, Happening::TriesCommit { who });
        } else {
            self.processes[who].dirty.remove(&number);
        }
    }

    pub(super) fn read_metadata(&mut self, who: usize) {
        let partitions = self.coordinator.partitions;
        self.processes[who].known = partitions;
        self.tell(who, Event::Metadata(vec![Seen { topic: topic(), partitions }]));
    }

    /// The application reads its positions (rule R3) and begins.
    pub(super) fn begin(&mut self, who: usize, incarnation: Incarnation) {
        for number in self.processes[who].of(incarnation) {
            let row = self.store.row(number);
            let process = &mut self.processes[who];
            if let Some(part) = process.parts.get_mut(&number) {
                part.row = Some(row);
                // The claim: the group shall know where this store stands.
                process.dirty.insert(number, row.0);
            }
        }
        self.after(Duration::ZERO, Happening::TriesCommit { who });
        self.tell(who, Event::Began { incarnation });
        self.after(Duration::ZERO, Happening::Works { who });
    }

    pub(super) fn work(&mut self, who: usize) {
        if self.processes[who].known != self.coordinator.partitions && self.chance(0.7) {
            self.read_metadata(who);
        }
        let idle = self.processes[who].parts.iter().filter(|(_, part)| !part.is_busy && part.revoked_at.is_none());
        let idle: Vec<_> = idle.filter_map(|(number, part)| Some((*number, part.incarnation, part.row?))).collect();
        for (number, incarnation, (next, version)) in idle {
            let end = self.ends.get(&number).copied().unwrap_or_default().min(next + 5);
            if next >= end {
                continue;
            }
            let is_slow = self.now < self.bad_until && self.chance(0.03);
            let time = if is_slow { self.millis(1000..=12_000) } else { self.millis(1..=60) };
            self.after(time, Happening::Applies { who, number, incarnation, version, records: (next, end) });
            if let Some(part) = self.processes[who].parts.get_mut(&number) {
                part.is_busy = true;
            }
        }
    }

    /// The application's transaction ends, perhaps long after the partition went elsewhere (rules R2, R7).
    pub(super) fn apply(
        &mut self,
        who: usize,
        number: i32,
        incarnation: Incarnation,
        version: u64,
        records: std::ops::Range<i64>,
    ) {
        let held = self.processes[who].parts.get(&number).is_some_and(|part| part.incarnation == incarnation);
        if !held && self.chance(0.5) {
            return;
        }
        let end = records.end;
        let applied = self.store.apply(number, version, records, self.plant);
        self.note(|| format!("#{who} applies {number} to {end}, held {held}: {applied:?}"));
        if let Err(detail) = applied {
            return self.breaks("every record is applied once", format!("#{who} {detail}"));
        }
        if !held {
            return;
        }
        // Who loses the race goes on from the row (rule R8).
        let row = self.store.row(number);
        let process = &mut self.processes[who];
        if let Some(part) = process.parts.get_mut(&number) {
            (part.row, part.is_busy) = (Some(row), false);
        }
        process.dirty.insert(number, row.0);
        self.after(Duration::ZERO, Happening::TriesCommit { who });
        self.after(Duration::from_millis(1), Happening::Settles { who });
        self.after(Duration::from_millis(1), Happening::Works { who });
    }

    pub(super) fn try_commit(&mut self, who: usize) {
        let process = &mut self.processes[who];
        let Commits::As(credentials) = process.commits.clone() else { return };
        if process.committing.is_some() || process.dirty.is_empty() {
            return;
        }
        let offsets = std::mem::take(&mut process.dirty);
        if let Some(gone) = offsets.keys().find(|number| !process.parts.contains_key(number)) {
            let detail = format!("#{who} partition {gone}");
            return self.breaks("no commit after lost or given back", detail);
        }
        self.send_commit(who, credentials, offsets);
    }

    pub(super) fn committed(
        &mut self,
        who: usize,
        serial: u64,
        offsets: BTreeMap<i32, i64>,
        outcome: Result<(), Refused>,
    ) {
        let process = &mut self.processes[who];
        if process.committing.take_if(|committing| *committing == serial).is_none() {
            return;
        }
        if outcome.is_err() {
            for (number, offset) in offsets {
                if process.parts.contains_key(&number) {
                    process.dirty.entry(number).or_insert(offset);
                }
            }
        }
        if let Err(Refused::Error(credentials, error)) = outcome
            && !matches!(error, KafkaError::NotCoordinator | KafkaError::CoordinatorLoadInProgress)
        {
            self.tell(who, Event::CommitRefused { credentials, error: error.code() });
        }
        self.after(COMMIT_PAUSE, Happening::TriesCommit { who });
        self.after(Duration::ZERO, Happening::Settles { who });
    }

    /// Gives back what is settled and committed (rule R6).
    pub(super) fn settle(&mut self, who: usize) {
        let process = &self.processes[who];
        let revoked = process.parts.iter().filter_map(|(number, part)| Some((*number, part.clone(), part.revoked_at?)));
        for (number, part, since) in revoked.collect::<Vec<_>>() {
            let process = &self.processes[who];
            let may_commit = process.commits != Commits::Barred && self.now < since + COMMIT_PATIENCE;
            let is_due = process.committing.is_some() || process.dirty.contains_key(&number);
            let forgets = self.plant == Some(Plant::ReleaseForgotten);
            if part.is_busy || (is_due && may_commit) || forgets {
                self.after(Duration::from_millis(50), Happening::Settles { who });
                self.after(Duration::ZERO, Happening::TriesCommit { who });
                return;
            }
            if !self.processes[who].parts.contains_key(&number) {
                continue;
            }
            self.processes[who].parts.remove(&number);
            self.forget(who, number);
            let partitions = partitions([number]);
            self.tell(who, Event::Released { incarnation: part.incarnation, partitions });
        }
    }
}

/// What the leader's assignor makes of the members.
fn plan(assignor: Assignor, members: &[(Named, bytes::Bytes)], known: i32) -> Vec<(String, bytes::Bytes)> {
    let peer = |(named, metadata): &(Named, bytes::Bytes)| Peer {
        id: named.member_id.as_str().into(),
        instance: named.instance_id.as_deref().map(Into::into),
        subscription: Subscription::decode(metadata).unwrap(),
    };
    let peers: Vec<Peer> = members.iter().map(peer).collect();
    let topics = [("orders".into(), known)].into();
    let plan = assignor::plan(assignor, &peers, &topics);
    plan.iter().map(|(id, partitions)| (id.to_string(), encode_assignment(partitions).unwrap())).collect()
}
