//! The membership of one classic group, as the broker keeps it.
//!
//! It is pure: time and fresh member ids are passed in, requests are tickets, and answers come out as a list. The rules are Apache Kafka's.
//!
//! ```text
//!            join, leave, expiry                all have joined, or time is up
//!  Empty ------------------------> Preparing ----------------------------------> Completing
//!    ^                               ^   |  nobody is left                            |
//!    +-------------------------------|---+                 the leader's assignment    |
//!                                    +------------------ Stable <--------------------+
//! ```

mod exchange;
mod rebalance;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;

pub(in crate::broker) use self::exchange::{Answer, Claim, Join, Joined, Synced, Ticket};
use crate::wire::kafka_error::KafkaError;

/// Members of one group, those included that were only given an id: a bound, where Kafka by default has none.
const MAX_MEMBERS: usize = 1000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::broker) enum Phase {
    Empty,
    Preparing,
    Completing,
    Stable,
}

impl Phase {
    /// Kafka's name, as its tools show it.
    pub(in crate::broker) fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::Preparing => "PreparingRebalance",
            Self::Completing => "CompletingRebalance",
            Self::Stable => "Stable",
        }
    }
}

#[derive(Clone, Debug)]
pub(in crate::broker) struct Member {
    pub(in crate::broker) instance: Option<String>,
    pub(in crate::broker) client_id: String,
    pub(in crate::broker) client_host: String,
    pub(in crate::broker) assignment: Bytes,
    session: Duration,
    rebalance: Duration,
    protocols: Vec<(String, Bytes)>,
    may_skip: bool,
    joining: Option<Ticket>,
    syncing: Option<Ticket>,
    /// Whether it has asked for its assignment in this generation.
    has_synced: bool,
    expires: Duration,
}

impl Member {
    /// What it tells the leader under this protocol.
    pub(in crate::broker) fn metadata(&self, protocol: &str) -> Option<&Bytes> {
        self.protocols.iter().find(|(name, _)| name == protocol).map(|(_, metadata)| metadata)
    }

    /// Whether it is shown to be alive by a request that waits.
    fn is_waiting(&self) -> bool {
        self.joining.is_some() || self.syncing.is_some()
    }
}

#[derive(Debug)]
pub(in crate::broker) struct Classic {
    phase: Phase,
    generation: i32,
    protocol_type: String,
    protocol: String,
    leader: String,
    members: BTreeMap<String, Member>,
    /// Ids that were given to members that have not come back with them, and until when they may.
    given: BTreeMap<String, Duration>,
    /// When Preparing ends even if not all have joined.
    join_until: Duration,
    /// Whether the first members are given time before a generation begins.
    is_first_wait: bool,
    /// When members that have not synced are removed.
    sync_until: Option<Duration>,
    /// How long a group that was empty waits for more members.
    first_wait: Duration,
    answers: Vec<(Ticket, Answer)>,
}

impl Classic {
    pub(super) fn new(first_wait: Duration) -> Self {
        Self {
            phase: Phase::Empty,
            generation: 0,
            protocol_type: String::new(),
            protocol: String::new(),
            leader: String::new(),
            members: BTreeMap::new(),
            given: BTreeMap::new(),
            join_until: Duration::ZERO,
            is_first_wait: false,
            sync_until: None,
            first_wait,
            answers: Vec::new(),
        }
    }

    pub(in crate::broker) fn is_empty(&self) -> bool {
        self.members.is_empty() && self.given.is_empty()
    }

    pub(in crate::broker) fn phase(&self) -> Phase {
        self.phase
    }

    pub(in crate::broker) fn generation(&self) -> i32 {
        self.generation
    }

    pub(in crate::broker) fn protocol_type(&self) -> &str {
        &self.protocol_type
    }

    /// The protocol of the current generation.
    pub(in crate::broker) fn protocol(&self) -> &str {
        &self.protocol
    }

    pub(in crate::broker) fn members(&self) -> impl Iterator<Item = (&str, &Member)> {
        self.members.iter().map(|(id, member)| (id.as_str(), member))
    }

    /// What is to be answered by now.
    pub(super) fn take_answers(&mut self) -> Vec<(Ticket, Answer)> {
        std::mem::take(&mut self.answers)
    }

    pub(in crate::broker) fn join(&mut self, now: Duration, join: Join) {
        if let Err(error) = self.admit(&join) {
            return self.refuse(&join, error);
        }
        let holder = join.instance.as_deref().and_then(|instance| self.holder(instance));
        match (join.member_id.is_empty(), holder) {
            (true, Some(old)) => self.replace(now, &old, join),
            (true, None) if join.takes_id && join.instance.is_none() => {
                self.given.insert(join.fresh_id.clone(), now + join.session);
                self.answers.push((join.ticket, Answer::NotJoined(KafkaError::MemberIdRequired, join.fresh_id)));
            }
            (true, None) => self.add(now, join.fresh_id.clone(), join),
            (false, _) if self.given.remove(&join.member_id).is_some() => self.add(now, join.member_id.clone(), join),
            (false, _) => self.rejoin(now, join),
        }
    }

    fn admit(&self, join: &Join) -> Result<(), KafkaError> {
        let all_know = |name: &str| self.members.values().all(|member| member.metadata(name).is_some());
        let shares = join.protocols.iter().any(|(name, _)| all_know(name));
        let same_type = self.members.is_empty() || join.protocol_type == self.protocol_type;
        if join.protocol_type.is_empty() || !shares || !same_type {
            return Err(KafkaError::InconsistentGroupProtocol);
        }
        if join.member_id.is_empty() && self.members.len() + self.given.len() >= MAX_MEMBERS {
            return Err(KafkaError::GroupMaxSizeReached);
        }
        Ok(())
    }

    fn refuse(&mut self, join: &Join, error: KafkaError) {
        self.answers.push((join.ticket, Answer::NotJoined(error, join.member_id.clone())));
    }

    /// The member that has this instance id.
    fn holder(&self, instance: &str) -> Option<String> {
        let held = |member: &Member| member.instance.as_deref() == Some(instance);
        self.members.iter().find(|(_, member)| held(member)).map(|(id, _)| id.clone())
    }

    fn add(&mut self, now: Duration, id: String, join: Join) {
        if self.members.is_empty() {
            self.protocol_type.clone_from(&join.protocol_type);
        }
        self.members.insert(id, Self::member(now, join));
        self.prepare(now);
    }

    fn member(now: Duration, join: Join) -> Member {
        Member {
            instance: join.instance,
            client_id: join.client_id,
            client_host: join.client_host,
            assignment: Bytes::new(),
            session: join.session,
            rebalance: join.rebalance,
            protocols: join.protocols,
            may_skip: join.may_skip,
            joining: Some(join.ticket),
            syncing: None,
            has_synced: false,
            expires: now + join.session,
        }
    }

    fn rejoin(&mut self, now: Duration, join: Join) {
        let id = join.member_id.clone();
        if let Err(error) = self.check_member(&id, join.instance.as_deref()) {
            return self.refuse(&join, error);
        }
        let Some(known) = self.members.get_mut(&id) else { return };
        let is_same = known.protocols == join.protocols;
        let stays = match self.phase {
            Phase::Completing => is_same,
            Phase::Stable => is_same && self.leader != id,
            Phase::Empty | Phase::Preparing => false,
        };
        if stays {
            known.expires = now + join.session;
            let joined = self.joined(&id, false);
            return self.answers.push((join.ticket, Answer::Joined(joined)));
        }
        if let Some(ticket) = known.joining.take() {
            // The client has given that request up, or it would not ask again.
            self.answers.push((ticket, Answer::NotJoined(KafkaError::RebalanceInProgress, id.clone())));
        }
        let assignment = std::mem::take(&mut known.assignment);
        let syncing = known.syncing;
        *known = Member { assignment, syncing, ..Self::member(now, join) };
        self.prepare(now);
    }

    /// A static member's new process takes the place of its old one, whose id is no longer good.
    fn replace(&mut self, now: Duration, old: &str, join: Join) {
        let Some(before) = self.members.remove(old) else { return };
        self.fail(old, &before, KafkaError::FencedInstanceId);
        let (id, ticket) = (join.fresh_id.clone(), join.ticket);
        let leader_before = self.leader.clone();
        if self.leader == old {
            self.leader.clone_from(&id);
        }
        let mut member = Self::member(now, join);
        let is_same = member.metadata(&self.protocol).is_some_and(|told| before.metadata(&self.protocol) == Some(told));
        if self.phase != Phase::Stable || !is_same {
            self.members.insert(id, member);
            return self.prepare(now);
        }
        (member.joining, member.assignment, member.has_synced) = (None, before.assignment, true);
        let may_skip = member.may_skip;
        self.members.insert(id.clone(), member);
        let mut joined = self.joined(&id, may_skip);
        if !may_skip {
            // It must not take itself for a leader that has an assignment to make.
            (joined.leader, joined.members) = (leader_before, Vec::new());
        }
        self.answers.push((ticket, Answer::Joined(joined)));
    }

    /// Refuses what a member waits for that is gone, or gone on.
    fn fail(&mut self, id: &str, member: &Member, error: KafkaError) {
        let joining = member.joining.map(|ticket| (ticket, Answer::NotJoined(error, id.to_owned())));
        let syncing = member.syncing.map(|ticket| (ticket, Answer::NotSynced(error)));
        self.answers.extend(joining.into_iter().chain(syncing));
    }

    fn joined(&self, id: &str, skips: bool) -> Joined {
        let leads = self.leader == id;
        let told = |member: &Member| member.metadata(&self.protocol).cloned().unwrap_or_default();
        let members = self.members.iter().map(|(id, member)| (id.clone(), member.instance.clone(), told(member)));
        Joined {
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            member_id: id.to_owned(),
            skip_assignment: leads && skips,
            members: if leads { members.collect() } else { Vec::new() },
        }
    }

    fn check_member(&self, id: &str, instance: Option<&str>) -> Result<(), KafkaError> {
        if let Some(instance) = instance {
            match self.holder(instance) {
                Some(holder) if holder != id => return Err(KafkaError::FencedInstanceId),
                Some(_) => {}
                None => return Err(KafkaError::UnknownMemberId),
            }
        }
        self.members.contains_key(id).then_some(()).ok_or(KafkaError::UnknownMemberId)
    }

    fn check(&self, claim: &Claim<'_>) -> Result<(), KafkaError> {
        self.check_member(claim.member_id, claim.instance)?;
        (claim.generation == self.generation).then_some(()).ok_or(KafkaError::IllegalGeneration)
    }

    /// A member asks for its assignment; the leader brings all of them.
    pub(in crate::broker) fn sync(
        &mut self,
        now: Duration,
        ticket: Ticket,
        claim: &Claim<'_>,
        assignments: Vec<(String, Bytes)>,
    ) {
        let phase = match (self.check(claim), self.phase) {
            (Err(error), _) => Err(error),
            (Ok(()), Phase::Preparing) => Err(KafkaError::RebalanceInProgress),
            (Ok(()), phase) => Ok(phase),
        };
        let member = self.members.get_mut(claim.member_id);
        let (phase, member) = match (phase, member) {
            (Ok(phase), Some(member)) => (phase, member),
            (Ok(_), None) => return self.answers.push((ticket, Answer::NotSynced(KafkaError::UnknownMemberId))),
            (Err(error), _) => return self.answers.push((ticket, Answer::NotSynced(error))),
        };
        (member.expires, member.has_synced) = (now + member.session, true);
        if let Some(earlier) = member.syncing.replace(ticket) {
            self.answers.push((earlier, Answer::NotSynced(KafkaError::RebalanceInProgress)));
        }
        if phase == Phase::Completing && self.leader == claim.member_id {
            self.assign(assignments);
        }
        if self.phase == Phase::Stable {
            self.answer_syncs(now);
        }
    }

    fn assign(&mut self, assignments: Vec<(String, Bytes)>) {
        for (id, assignment) in assignments {
            if let Some(member) = self.members.get_mut(&id) {
                member.assignment = assignment;
            }
        }
        self.phase = Phase::Stable;
    }

    pub(in crate::broker) fn heartbeat(&mut self, now: Duration, claim: &Claim<'_>) -> Result<(), KafkaError> {
        self.check(claim)?;
        self.refresh(now, claim.member_id);
        if self.phase == Phase::Preparing { Err(KafkaError::RebalanceInProgress) } else { Ok(()) }
    }

    fn refresh(&mut self, now: Duration, id: &str) {
        if let Some(member) = self.members.get_mut(id) {
            member.expires = now + member.session;
        }
    }

    /// Whether whoever claims this may commit offsets.
    pub(in crate::broker) fn commit(&mut self, now: Duration, claim: &Claim<'_>) -> Result<(), KafkaError> {
        if claim.generation < 0 && self.phase == Phase::Empty {
            return Ok(());
        }
        if claim.generation >= 0 && self.generation == 0 && self.members.is_empty() {
            return Err(KafkaError::IllegalGeneration);
        }
        self.check(claim)?;
        self.refresh(now, claim.member_id);
        if self.phase == Phase::Completing { Err(KafkaError::RebalanceInProgress) } else { Ok(()) }
    }

    pub(in crate::broker) fn leave(
        &mut self,
        now: Duration,
        id: &str,
        instance: Option<&str>,
    ) -> Result<(), KafkaError> {
        let id = match instance.and_then(|instance| self.holder(instance)) {
            Some(holder) if id.is_empty() => holder,
            Some(_) | None => id.to_owned(),
        };
        if self.given.remove(&id).is_some() {
            self.complete_if_all_joined(now);
            return Ok(());
        }
        self.check_member(&id, instance)?;
        self.remove(now, &id, KafkaError::UnknownMemberId);
        Ok(())
    }
}
