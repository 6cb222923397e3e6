//! Entering a generation of a classic group: JoinGroup, the leader's plan, SyncGroup.

use std::time::Duration;

use bytes::Bytes;

use super::super::assignor::Assignor;
use super::super::complaint::Cause;
use super::super::member::{Commits, Effect, Lane, Named, Now};
use super::super::message::Call;
use super::super::subscription::{Subscription, decode_assignment, encode_assignment};
use super::{Classic, Flight, Phase};
use crate::Result;
use crate::gather::Gather;
use crate::place::TopicPartition;
use crate::wire::kafka_error::KafkaError;
use crate::wire::message::{
    JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse, JoinGroupResponseMember, SyncGroupRequest,
    SyncGroupRequestAssignment, SyncGroupResponse,
};

/// JoinGroup and SyncGroup wait at the broker for the other members; this much more is for the network.
const PARKING_MARGIN: Duration = Duration::from_secs(5);

/// How often a full group is asked again.
const FULL_TRIES: u32 = 10;

const PROTOCOL_TYPE: &str = "consumer";

impl Classic {
    /// Whether a request waits for the join's connection.
    pub(super) fn join_is_wanted(&self) -> bool {
        matches!(self.phase, Phase::Joining | Phase::Syncing) && self.joining.is_none()
    }

    pub(super) fn send_join(&mut self, now: Now, out: &mut Vec<Effect>) {
        if !self.join_is_wanted() || !self.coordinator.is_ready(now) {
            return;
        }
        let call = match self.phase {
            Phase::Syncing => Call::Sync(self.sync_request()),
            _ => {
                let held = if self.generation < 0 { Commits::Barred } else { Commits::Held };
                self.may_commit(held, out);
                match self.join_request() {
                    Ok(request) => Call::Join(request),
                    Err(_) => return self.fail(Cause::Senseless, None, out),
                }
            }
        };
        let flight = self.flight(now, false);
        let within = self.settings.rebalance_timeout.saturating_add(PARKING_MARGIN);
        let within = within.max(self.settings.request_timeout);
        out.push(Effect::Send { tag: flight.tag, lane: Lane::Join, call, within });
        self.joining = Some(flight);
    }

    fn join_request(&self) -> Result<JoinGroupRequest> {
        let settings = &self.settings;
        let subscription = self.subscription();
        let protocol = |assignor: &Assignor| {
            let metadata = subscription.encode_for(*assignor)?;
            Ok(JoinGroupRequestProtocol { name: assignor.name().to_owned(), metadata })
        };
        Ok(JoinGroupRequest {
            group_id: settings.group.clone(),
            session_timeout_ms: millis(settings.session_timeout),
            rebalance_timeout_ms: millis(settings.rebalance_timeout),
            member_id: self.member_id.clone(),
            group_instance_id: settings.instance_id.clone(),
            protocol_type: PROTOCOL_TYPE.to_owned(),
            protocols: settings.assignors.iter().map(protocol).collect::<Result<_>>()?,
            ..Default::default()
        })
    }

    /// What the member says of itself. An eager one owns nothing by now.
    fn subscription(&self) -> Subscription {
        let owned = self.holding.partitions().into_iter();
        let owned = owned.map(|held| TopicPartition::new(held.topic.name, held.number)).gather();
        let generation = Some(self.generation).filter(|generation| *generation >= 0);
        let rack = self.settings.rack.as_deref().map(Into::into);
        let subscription = Subscription { rack, ..Subscription::to(self.settings.topics.iter().cloned()) };
        subscription.owning(owned, generation)
    }

    fn sync_request(&self) -> SyncGroupRequest {
        let entry = |(member_id, assignment): &(String, Bytes)| SyncGroupRequestAssignment {
            member_id: member_id.clone(),
            assignment: assignment.clone(),
        };
        SyncGroupRequest {
            group_id: self.settings.group.clone(),
            generation_id: self.generation,
            member_id: self.member_id.clone(),
            group_instance_id: self.settings.instance_id.clone(),
            protocol_type: Some(PROTOCOL_TYPE.to_owned()),
            protocol_name: self.protocol.clone(),
            assignments: self.plan.iter().map(entry).collect(),
        }
    }

    pub(super) fn joined(&mut self, now: Now, flight: &Flight, answer: JoinGroupResponse, out: &mut Vec<Effect>) {
        if let Some(error) = KafkaError::from_code(answer.error_code) {
            return self.join_refused(now, error, answer.member_id, out);
        }
        let protocol = answer.protocol_name.unwrap_or_default();
        let assignor = self.settings.assignors.iter().copied().find(|assignor| assignor.name() == protocol);
        let Some(assignor) = assignor.filter(|_| answer.generation_id >= 0 && !answer.member_id.is_empty()) else {
            self.warn(Cause::Senseless, None, out);
            return self.coordinator.hold(now);
        };
        self.prove(flight);
        self.member_id = answer.member_id;
        self.generation = answer.generation_id;
        self.protocol = Some(protocol);
        // A coordinator that assigns by itself (a group that KIP-848 members are in) names no leader.
        self.is_leader = answer.leader == self.member_id;
        self.next_beat = now.at.saturating_add(self.settings.heartbeat_interval);
        if self.phase != Phase::Joining {
            return;
        }
        self.plan.clear();
        self.phase = Phase::Syncing;
        if self.is_leader {
            let named = |member: JoinGroupResponseMember| {
                let (member_id, instance_id) = (member.member_id, member.group_instance_id);
                (Named { member_id, instance_id }, member.metadata)
            };
            let members: Vec<(Named, Bytes)> = answer.members.into_iter().map(named).collect();
            self.watch(&members, out);
            if !answer.skip_assignment {
                self.phase = Phase::Planning;
                // Each member must get an entry, also from an assignor that forgets some.
                let nothing = encode_assignment(&Default::default()).unwrap_or_default();
                self.plan = members.iter().map(|(named, _)| (named.member_id.clone(), nothing.clone())).collect();
                out.push(Effect::Plan { generation: self.generation, assignor, members });
            }
        }
    }

    /// The leader looks after the topics of all members.
    fn watch(&mut self, members: &[(Named, Bytes)], out: &mut Vec<Effect>) {
        let subscriptions = members.iter().filter_map(|(_, metadata)| Subscription::decode(metadata).ok());
        self.watched = subscriptions.flat_map(|subscription| subscription.topics).gather();
        self.watched.extend(self.settings.topics.iter().cloned());
        self.planned = self.topics.counts(&self.watched);
        if self.planned.len() < self.watched.len() {
            out.push(Effect::RefreshMetadata { names: self.watched.clone(), ids: Default::default() });
        }
    }

    /// The assignor is done.
    pub(super) fn planned(&mut self, generation: i32, plan: Vec<(String, Bytes)>) {
        if self.phase != Phase::Planning || generation != self.generation {
            return;
        }
        for (member_id, assignment) in plan {
            if let Some(entry) = self.plan.iter_mut().find(|(id, _)| *id == member_id) {
                entry.1 = assignment;
            }
        }
        self.phase = Phase::Syncing;
    }

    pub(super) fn synced(&mut self, now: Now, flight: &Flight, answer: SyncGroupResponse, out: &mut Vec<Effect>) {
        if self.phase != Phase::Syncing {
            return;
        }
        if let Some(error) = KafkaError::from_code(answer.error_code) {
            return self.sync_refused(now, error, out);
        }
        let Ok(wanted) = decode_assignment(&answer.assignment) else {
            self.warn(Cause::Senseless, None, out);
            self.coordinator.hold(now);
            return self.rejoin(now, out);
        };
        self.prove(flight);
        self.coordinator.succeeded();
        self.told.clear();
        self.plan.clear();
        self.wanted = wanted;
        if now.at >= self.proven_at.saturating_add(self.settings.session_timeout) {
            return self.lose_and_rejoin(now, out);
        }
        self.apply(now, out);
    }

    fn join_refused(&mut self, now: Now, error: KafkaError, given: String, out: &mut Vec<Effect>) {
        match error {
            KafkaError::MemberIdRequired if self.member_id.is_empty() && !given.is_empty() => self.member_id = given,
            KafkaError::GroupMaxSizeReached if self.coordinator.failures() < FULL_TRIES => {
                self.warn(Cause::Full, Some(error), out);
                self.coordinator.hold(now);
            }
            KafkaError::UnknownMemberId => {
                self.member_id.clear();
                self.lose_and_rejoin(now, out);
            }
            KafkaError::IllegalGeneration => self.lose_and_rejoin(now, out),
            other => self.refused(now, other, out),
        }
    }

    fn sync_refused(&mut self, now: Now, error: KafkaError, out: &mut Vec<Effect>) {
        match error {
            KafkaError::RebalanceInProgress => return self.rejoin(now, out),
            KafkaError::UnknownMemberId => self.member_id.clear(),
            KafkaError::IllegalGeneration => {}
            other => {
                self.refused(now, other, out);
                return if self.phase == Phase::Syncing {
                    self.rejoin(now, out)
                };
            }
        }
        self.lose_and_rejoin(now, out);
    }

    /// What JoinGroup and SyncGroup answer alike.
    fn refused(&mut self, now: Now, error: KafkaError, out: &mut Vec<Effect>) {
        let cause = match error {
            KafkaError::CoordinatorLoadInProgress | KafkaError::RebalanceInProgress => {
                return self.coordinator.hold(now);
            }
            moved if moved.needs_coordinator() => return self.coordinator.moved(now),
            KafkaError::FencedInstanceId => Cause::InstanceTaken,
            KafkaError::InconsistentGroupProtocol => Cause::NoSharedAssignor,
            KafkaError::InvalidSessionTimeout | KafkaError::InvalidGroupId | KafkaError::InvalidRequest => {
                Cause::Refused
            }
            KafkaError::GroupMaxSizeReached => Cause::Full,
            KafkaError::UnsupportedVersion => Cause::NotOffered,
            denied if denied.is_denial() => Cause::Denied,
            _ => {
                self.warn(Cause::Unwell, Some(error), out);
                return self.coordinator.hold(now);
            }
        };
        self.fail(cause, Some(error), out);
    }

    /// The join's request has no answer that can be used.
    pub(super) fn unjoined(&mut self, now: Now, out: &mut Vec<Effect>) {
        self.coordinator.hold(now);
        if self.phase == Phase::Syncing {
            self.rejoin(now, out);
        }
    }
}

fn millis(time: Duration) -> i32 {
    i32::try_from(time.as_millis()).unwrap_or(i32::MAX)
}
