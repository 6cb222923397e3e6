//! The heartbeats of a classic member, with what else proves that it is alive or out.
//!
//! An answer speaks of the identity that its request carried. When the member has got another generation or id since, a
//! refusal is old news. While a JoinGroup is on its way the generation may have changed at the broker already, on the
//! other connection: then only that request's answer decides.

use super::super::complaint::Cause;
use super::super::member::{Credentials, Effect, Lane, Now};
use super::super::message::Call;
use super::{Classic, Flight, Phase};
use crate::wire::kafka_error::KafkaError;
use crate::wire::message::HeartbeatRequest;

impl Classic {
    /// Whether the coordinator expects heartbeats. While a join is parked it does not; partitions that are kept
    /// meanwhile need the proof.
    pub(super) fn beat_is_wanted(&self) -> bool {
        let is_in = match self.phase {
            Phase::Joining => !self.holding.is_empty(),
            Phase::Yielding | Phase::Planning | Phase::Syncing | Phase::Stable | Phase::Shedding => true,
            Phase::Settling { .. } => true,
            _ => false,
        };
        is_in && self.generation >= 0 && !self.member_id.is_empty()
    }

    /// Sends the heartbeat or the farewell that is due, unless one is in flight.
    pub(super) fn send_beat(&mut self, now: Now, out: &mut Vec<Effect>) {
        if self.beating.is_some() || !self.coordinator.is_ready(now) {
            return;
        }
        let is_farewell = self.farewell_is_wanted();
        let call = if is_farewell {
            Call::Leave(self.leave_request())
        } else if self.beat_is_wanted() && now.at >= self.next_beat {
            Call::Heartbeat(HeartbeatRequest {
                group_id: self.settings.group.clone(),
                generation_id: self.generation,
                member_id: self.member_id.clone(),
                group_instance_id: self.settings.instance_id.clone(),
            })
        } else {
            return;
        };
        let flight = self.flight(now, is_farewell);
        // Three tries fit into a session.
        let within = self.settings.request_timeout.min(self.settings.session_timeout / 3);
        out.push(Effect::Send { tag: flight.tag, lane: Lane::Heartbeat, call, within });
        self.beating = Some(flight);
    }

    /// The coordinator took a request of the member for good.
    pub(super) fn prove(&mut self, flight: &Flight) {
        self.proven_at = self.proven_at.max(flight.sent);
    }

    pub(super) fn beaten(&mut self, now: Now, flight: &Flight, error: Option<KafkaError>, out: &mut Vec<Effect>) {
        self.next_beat = now.at.saturating_add(self.settings.heartbeat_interval);
        match error {
            None | Some(KafkaError::RebalanceInProgress) => {
                // A rebalance in progress refreshes the session too.
                self.prove(flight);
                self.coordinator.succeeded();
                self.told.clear();
            }
            Some(moved) if moved.needs_coordinator() => {
                self.next_beat = now.at;
                self.coordinator.moved(now);
            }
            Some(KafkaError::CoordinatorLoadInProgress) => self.coordinator.hold(now),
            Some(KafkaError::GroupAuthorizationFailed) => return self.fail(Cause::Denied, error, out),
            Some(_) => {}
        }
        let is_current = flight.generation == self.generation && flight.member_id == self.member_id;
        if let Some(error) = error.filter(|_| is_current) {
            self.doubt(now, error, out);
        }
    }

    /// A commit was refused: it may say that the member is out.
    pub(super) fn commit_refused(&mut self, now: Now, carried: &Credentials, error: i16, out: &mut Vec<Effect>) {
        let is_current = carried.epoch == self.generation && carried.member_id == self.member_id;
        if let Some(error) = KafkaError::from_code(error).filter(|_| is_current) {
            self.doubt(now, error, out);
        }
    }

    /// An error that speaks of the present identity.
    fn doubt(&mut self, now: Now, error: KafkaError, out: &mut Vec<Effect>) {
        let is_in = matches!(
            self.phase,
            Phase::Yielding
                | Phase::Planning
                | Phase::Syncing
                | Phase::Stable
                | Phase::Shedding
                | Phase::Settling { .. }
        );
        match error {
            _ if !is_in => {}
            KafkaError::RebalanceInProgress => match self.phase {
                Phase::Stable | Phase::Planning => self.rejoin(now, out),
                Phase::Shedding => self.must_rejoin = true,
                _ => {}
            },
            KafkaError::UnknownMemberId => {
                self.member_id.clear();
                self.lose_and_rejoin(now, out);
            }
            KafkaError::IllegalGeneration => self.lose_and_rejoin(now, out),
            KafkaError::FencedInstanceId => self.fail(Cause::InstanceTaken, Some(error), out),
            other if other.needs_coordinator() || other == KafkaError::CoordinatorLoadInProgress => {}
            other => self.warn(Cause::Unwell, Some(other), out),
        }
    }

    /// Takes the membership for lost when the coordinator must have done so.
    pub(super) fn fence_itself(&mut self, now: Now, out: &mut Vec<Effect>) {
        let is_silent = now.at >= self.proven_at.saturating_add(self.settings.session_timeout);
        if is_silent && !self.holding.is_empty() {
            self.warn(Cause::Silent, None, out);
            self.lose_and_rejoin(now, out);
        }
        if self.settle_by.is_some_and(|by| now.at >= by) {
            self.settle_by = None;
            self.warn(Cause::NotSettled, None, out);
            out.extend(self.holding.lose_revoking());
        }
    }
}
