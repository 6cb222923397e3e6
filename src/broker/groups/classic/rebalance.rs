//! How a group comes from one generation to the next.

use std::time::Duration;

use bytes::Bytes;

use super::{Answer, Classic, Member, Phase, Synced};
use crate::wire::kafka_error::KafkaError;

impl Classic {
    /// Begins a rebalance, if none is under way, and ends it if nobody is missing.
    pub(super) fn prepare(&mut self, now: Duration) {
        if self.phase != Phase::Preparing {
            self.fail_syncs(KafkaError::RebalanceInProgress);
            self.is_first_wait = self.phase == Phase::Empty && !self.first_wait.is_zero();
            self.join_until = now + if self.is_first_wait { self.first_wait } else { self.longest_rebalance() };
            (self.phase, self.sync_until) = (Phase::Preparing, None);
        }
        self.complete_if_all_joined(now);
    }

    fn longest_rebalance(&self) -> Duration {
        self.members.values().map(|member| member.rebalance).max().unwrap_or_default()
    }

    pub(super) fn complete_if_all_joined(&mut self, now: Duration) {
        let all = self.members.values().all(|member| member.joining.is_some()) && self.given.is_empty();
        if self.phase == Phase::Preparing && all && !self.is_first_wait {
            self.complete(now);
        }
    }

    /// Begins the next generation with those who have joined. Static members may be late, dynamic ones are out.
    fn complete(&mut self, now: Duration) {
        self.is_first_wait = false;
        self.members.retain(|_, member| member.joining.is_some() || member.instance.is_some());
        let first = self.members.iter().find(|(_, member)| member.joining.is_some()).map(|(id, _)| id.clone());
        let leads = |member: &Member| member.joining.is_some();
        match (first, self.members.get(&self.leader).is_some_and(leads)) {
            (Some(first), false) => self.leader = first,
            (Some(_), true) => {}
            (None, _) if self.members.is_empty() => return self.become_empty(),
            (None, _) => return self.join_until = now + self.longest_rebalance(),
        }
        self.generation += 1;
        self.protocol = self.vote();
        self.phase = Phase::Completing;
        self.sync_until = Some(now + self.longest_rebalance());
        self.answer_joins(now);
    }

    fn become_empty(&mut self) {
        self.generation += 1;
        self.phase = Phase::Empty;
        self.sync_until = None;
        self.protocol.clear();
        self.leader.clear();
    }

    /// The protocol that most members prefer, among those that all know; the leader's order decides between equals.
    fn vote(&self) -> String {
        let shared = |name: &str| self.members.values().all(|member| member.metadata(name).is_some());
        let preferred =
            |member: &Member| member.protocols.iter().map(|(name, _)| name.clone()).find(|name| shared(name));
        let votes: Vec<String> = self.members.values().filter_map(preferred).collect();
        let count = |name: &str| votes.iter().filter(|vote| *vote == name).count();
        let leaders = self.members.get(&self.leader).map(|leader| leader.protocols.as_slice()).unwrap_or_default();
        // Of equals the last is taken, so the leader's order is walked from its end.
        let best =
            leaders.iter().rev().map(|(name, _)| name).filter(|name| shared(name)).max_by_key(|name| count(name));
        best.cloned().unwrap_or_default()
    }

    fn answer_joins(&mut self, now: Duration) {
        let ids: Vec<String> = self.members.keys().cloned().collect();
        for id in ids {
            let joined = self.joined(&id, false);
            let Some(member) = self.members.get_mut(&id) else { continue };
            (member.assignment, member.has_synced) = (Bytes::new(), false);
            if let Some(ticket) = member.joining.take() {
                member.expires = now + member.session;
                self.answers.push((ticket, Answer::Joined(joined)));
            }
        }
    }

    pub(super) fn answer_syncs(&mut self, now: Duration) {
        for member in self.members.values_mut() {
            let Some(ticket) = member.syncing.take() else { continue };
            member.expires = now + member.session;
            let (protocol_type, protocol) = (self.protocol_type.clone(), self.protocol.clone());
            let synced = Synced { protocol_type, protocol, assignment: member.assignment.clone() };
            self.answers.push((ticket, Answer::Synced(synced)));
        }
        if self.members.values().all(|member| member.has_synced) {
            self.sync_until = None;
        }
    }

    fn fail_syncs(&mut self, error: KafkaError) {
        for member in self.members.values_mut() {
            self.answers.extend(member.syncing.take().map(|ticket| (ticket, Answer::NotSynced(error))));
        }
    }

    /// Takes a member out, with what it waits for.
    pub(super) fn remove(&mut self, now: Duration, id: &str, error: KafkaError) {
        let Some(member) = self.members.remove(id) else { return };
        self.fail(id, &member, error);
        self.prepare(now);
    }

    /// Refuses all that waits, as a coordinator does that is one no longer. The members stay.
    pub(in crate::broker) fn refuse_waiting(&mut self, error: KafkaError) {
        self.fail_syncs(error);
        for (id, member) in &mut self.members {
            let refused = member.joining.take().map(|ticket| (ticket, Answer::NotJoined(error, id.clone())));
            self.answers.extend(refused);
        }
    }

    /// When time next changes something.
    pub(in crate::broker) fn next_deadline(&self) -> Option<Duration> {
        let sessions = self.members.values().filter(|member| !member.is_waiting()).map(|member| member.expires);
        let joins = (self.phase == Phase::Preparing).then_some(self.join_until);
        sessions.chain(self.given.values().copied()).chain(joins).chain(self.sync_until).min()
    }

    /// Does what time has made due.
    pub(in crate::broker) fn tick(&mut self, now: Duration) {
        self.given.retain(|_, until| *until > now);
        self.complete_if_all_joined(now);
        self.remove_all(now, |member| !member.is_waiting() && member.expires <= now);
        if self.sync_until.is_some_and(|until| until <= now) {
            self.sync_until = None;
            self.remove_all(now, |member| !member.has_synced);
        }
        if self.phase == Phase::Preparing && self.join_until <= now {
            self.complete(now);
        }
    }

    fn remove_all(&mut self, now: Duration, is_out: impl Fn(&Member) -> bool) {
        let out = self.members.iter().filter(|(_, member)| is_out(member)).map(|(id, _)| id.clone());
        for id in out.collect::<Vec<_>>() {
            self.remove(now, &id, KafkaError::UnknownMemberId);
        }
    }
}
