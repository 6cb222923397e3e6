//! What a classic member gives back or takes: everything before a join (eager), or what moves after it (cooperative).

use std::time::Duration;

use super::super::member::{Commits, Effect, Now, Partitions};
use super::{Classic, Phase};
use crate::gather::Gather;

/// Learning of a rebalance takes up to a heartbeat, answering it takes this much.
const YIELD_MARGIN: Duration = Duration::from_secs(1);

/// A cooperative group's second round is noticed this soon.
const EARLY_BEAT: Duration = Duration::from_millis(500);

/// The least wait between two questions for metadata.
const REFRESH_FLOOR: Duration = Duration::from_millis(100);

impl Classic {
    /// Goes into the next generation.
    pub(super) fn rejoin(&mut self, now: Now, out: &mut Vec<Effect>) {
        if self.is_cooperative() && !self.holding.is_revoking() {
            self.phase = Phase::Joining;
        } else {
            let all = if self.is_cooperative() { Partitions::new() } else { self.holding.partitions() };
            out.extend(self.holding.revoke(&all));
            self.settle_by = Some(self.deadline(now));
            self.phase = Phase::Yielding;
        }
    }

    fn deadline(&self, now: Now) -> Duration {
        let late = self.settings.heartbeat_interval.saturating_add(YIELD_MARGIN);
        let timeout = self.settings.rebalance_timeout;
        now.at.saturating_add(timeout.saturating_sub(late).max(timeout / 2))
    }

    /// Moves from what is held to what the leader gave.
    pub(super) fn apply(&mut self, now: Now, out: &mut Vec<Effect>) {
        let surplus = self.surplus();
        let revoked = self.holding.revoke(&surplus);
        self.may_commit(Commits::As(self.credentials()), out);
        if revoked.is_empty() {
            self.phase = Phase::Stable;
            self.add(now, out);
        } else {
            out.extend(revoked);
            self.settle_by = Some(self.deadline(now));
            self.must_rejoin |= self.is_cooperative();
            self.phase = Phase::Shedding;
        }
        if self.is_cooperative() {
            self.next_beat = self.next_beat.min(now.at.saturating_add(EARLY_BEAT));
        }
    }

    /// What is held and was not given, or belongs to a topic that was made anew.
    fn surplus(&self) -> Partitions {
        let is_wanted = |held: &super::super::member::Partition| {
            let at = crate::place::TopicPartition { topic: held.topic.name.clone(), partition: held.number };
            let known = self.topics.named(&held.topic.name, held.number);
            self.wanted.contains(&at) && known.is_none_or(|known| known.topic.id == held.topic.id)
        };
        self.holding.partitions().into_iter().filter(|held| !is_wanted(held)).gather()
    }

    /// Takes what is new, as far as metadata know it.
    fn add(&mut self, now: Now, out: &mut Vec<Effect>) {
        let known = self.wanted.iter().filter_map(|at| self.topics.named(&at.topic, at.partition));
        let known: Partitions = known.gather();
        let is_complete = known.len() == self.wanted.len();
        out.extend(self.holding.assign(known, self.generation));
        if is_complete {
            self.refresh_at = None;
            self.refreshes = 0;
        } else {
            self.refresh_at.get_or_insert(now.at);
        }
    }

    /// Metadata changed: what was unknown is taken.
    pub(super) fn look_around(&mut self, now: Now, out: &mut Vec<Effect>) {
        if self.phase == Phase::Stable && !self.is_plan_outdated() {
            self.apply(now, out);
        }
    }

    /// Whether topics have changed since the plan was asked for.
    fn is_plan_outdated(&self) -> bool {
        self.is_leader && self.topics.counts(&self.watched) != self.planned
    }

    /// A leader plans again when topics have changed, also if they did so before the group was stable.
    pub(super) fn look_after_plan(&mut self, now: Now, out: &mut Vec<Effect>) {
        if self.phase == Phase::Stable && self.is_plan_outdated() {
            self.rejoin(now, out);
            self.end_shedding(now, out);
        }
    }

    /// Asks for metadata while the leader knows more than we do.
    pub(super) fn refresh(&mut self, now: Now, out: &mut Vec<Effect>) {
        if self.phase != Phase::Stable {
            self.refresh_at = None;
        }
        if self.refresh_at.is_none_or(|at| at > now.at) {
            return;
        }
        let wait = self.settings.backoff.delay(self.refreshes, now.share()).max(REFRESH_FLOOR);
        self.refreshes = self.refreshes.saturating_add(1);
        self.refresh_at = Some(now.at.saturating_add(wait));
        let mut names = self.watched.clone();
        names.extend(self.wanted.iter().map(|at| at.topic.clone()));
        out.push(Effect::RefreshMetadata { names, ids: Default::default() });
    }

    /// Goes on where the application has given back what it was asked for.
    pub(super) fn end_shedding(&mut self, now: Now, out: &mut Vec<Effect>) {
        if self.holding.is_revoking() {
            return;
        }
        match self.phase {
            Phase::Yielding => {
                self.settle_by = None;
                self.phase = Phase::Joining;
            }
            Phase::Shedding => {
                self.settle_by = None;
                self.phase = Phase::Stable;
                self.add(now, out);
                if std::mem::take(&mut self.must_rejoin) {
                    self.rejoin(now, out);
                }
            }
            _ => {}
        }
    }
}
