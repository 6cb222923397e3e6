//! Moving from what a KIP-848 member holds to what the coordinator wants it to hold.
//!
//! ```text
//!  target --> revoke what is not in it --> released --> tell the coordinator --> confirmed --> assign what is new --> tell
//! ```
//! - What is told is what is held at that moment, never the target: the target may have moved on meanwhile.
//! - Nothing is assigned between a release and its confirmation. A partition that comes back in that time may be given to
//!   somebody else by the very heartbeat that tells of the release.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::super::complaint::Cause;
use super::super::member::{Commits, Effect, Incarnation, Now, Partition, Partitions, Topic};
use super::{NextGeneration, Phase};
use crate::gather::Gather;
use crate::place::TopicId;
use crate::wire::message::{Assignment, TopicPartitions};

/// The least wait between two questions for metadata.
const REFRESH_FLOOR: Duration = Duration::from_millis(100);

/// What the coordinator wants the member to hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Target(Option<BTreeMap<TopicId, BTreeSet<i32>>>);

impl Target {
    /// Reads an assignment: topics and partitions that stand twice count once, negative ones not at all.
    pub(super) fn new(assignment: Assignment) -> Self {
        let mut target = BTreeMap::<TopicId, BTreeSet<i32>>::new();
        for TopicPartitions { topic_id, partitions } in assignment.topic_partitions {
            target.entry(topic_id).or_default().extend(partitions.into_iter().filter(|number| *number >= 0));
        }
        Self(Some(target))
    }

    fn contains(&self, partition: &Partition) -> bool {
        let topics = self.0.as_ref();
        topics.and_then(|topics| topics.get(&partition.topic.id)).is_some_and(|held| held.contains(&partition.number))
    }

    /// Whether nothing is wanted, as far as we know.
    pub(super) fn is_empty(&self) -> bool {
        self.0.iter().flatten().all(|(_, numbers)| numbers.is_empty())
    }

    fn is_told(&self) -> bool {
        self.0.is_some()
    }
}

/// The wanted partitions by how much is known of them.
#[derive(Default)]
struct Resolved {
    known: Partitions,
    /// Identities that no metadata name, or whose partitions they do not have.
    unknown: BTreeSet<TopicId>,
    /// Topics that the member does not subscribe to.
    foreign: usize,
}

impl NextGeneration {
    /// Takes the next step, if one can be taken.
    pub(super) fn reconcile(&mut self, now: Now, out: &mut Vec<Effect>) {
        if self.phase == Phase::Inside {
            self.step(now, out);
        }
        // A new epoch is published after the assignment that came with it.
        if self.is_in() {
            let commits = Commits::As(self.credentials());
            self.may_commit(commits, out);
        }
    }

    fn step(&mut self, now: Now, out: &mut Vec<Effect>) {
        if self.target.is_told() && !self.holding.is_revoking() {
            let surplus = self.holding.partitions().into_iter().filter(|one| !self.target.contains(one)).gather();
            self.revoke(now, &surplus, out);
        }
        if !self.holding.is_revoking() && self.confirmed_releases == self.releases {
            self.add(now, out);
        }
    }

    fn revoke(&mut self, now: Now, surplus: &Partitions, out: &mut Vec<Effect>) {
        let revoked = self.holding.revoke(surplus);
        if !revoked.is_empty() {
            self.settle_by = Some(now.at.saturating_add(self.settings.rebalance_timeout));
            out.extend(revoked);
        }
    }

    fn add(&mut self, now: Now, out: &mut Vec<Effect>) {
        let resolved = self.resolve();
        if resolved.foreign > 0 {
            let detail = "it assigned a topic that the member does not subscribe to".to_owned();
            self.warn(Cause::Senseless, None, detail, out);
        }
        out.extend(self.holding.assign(resolved.known, self.epoch));
        if resolved.unknown.is_empty() {
            self.refresh_at = None;
            self.refreshes = 0;
        } else {
            self.refresh_at.get_or_insert(now.at);
        }
    }

    fn resolve(&self) -> Resolved {
        let by_id = self.topics.by_id();
        let mut resolved = Resolved::default();
        for (id, numbers) in self.target.0.iter().flatten() {
            let Some((name, count)) = by_id.get(id) else {
                resolved.unknown.insert(*id);
                continue;
            };
            if !self.settings.topics.contains(*name) {
                resolved.foreign += 1;
                continue;
            }
            let topic = Topic { id: *id, name: (*name).clone() };
            let (inside, beyond): (Vec<i32>, Vec<i32>) = numbers.iter().partition(|number| *number < count);
            resolved.known.extend(inside.into_iter().map(|number| Partition { topic: topic.clone(), number }));
            if !beyond.is_empty() {
                resolved.unknown.insert(*id);
            }
        }
        resolved
    }

    /// Asks for metadata while the coordinator knows more than we do.
    pub(super) fn refresh(&mut self, now: Now, out: &mut Vec<Effect>) {
        if self.phase != Phase::Inside || self.refresh_at.is_none_or(|at| at > now.at) {
            return;
        }
        let wait = self.settings.backoff.delay(self.refreshes, now.share()).max(REFRESH_FLOOR);
        self.refreshes = self.refreshes.saturating_add(1);
        self.refresh_at = Some(now.at.saturating_add(wait));
        let ids = self.resolve().unknown;
        out.push(Effect::RefreshMetadata { names: self.settings.topics.clone(), ids });
    }

    /// The application has begun with an assignment: when that was the last, the coordinator is told.
    pub(super) fn began(&mut self, incarnation: Incarnation) {
        let was_starting = self.holding.is_starting();
        self.holding.began(incarnation);
        self.is_ack_due |= was_starting && !self.holding.is_starting() && self.phase == Phase::Inside;
    }

    /// The application gave partitions back: when these were the last asked for, the coordinator is told.
    pub(super) fn released(&mut self, incarnation: Incarnation, partitions: &Partitions) {
        let was_revoking = self.holding.is_revoking();
        self.holding.release(incarnation, partitions);
        if was_revoking && !self.holding.is_revoking() {
            self.releases = self.releases.saturating_add(1);
            // Who leaves says so by its farewell.
            self.is_ack_due = self.phase == Phase::Inside;
            self.settle_by = None;
            self.idle_beats = 0;
        }
    }
}
