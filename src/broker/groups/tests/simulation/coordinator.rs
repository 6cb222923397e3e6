//! The coordinator of the simulated group: the development broker's machines behind a door that can be shut.

use std::collections::BTreeMap;
use std::time::Duration;

use super::ORDERS;
use super::plant::Plant;
use crate::broker::groups::classic::{Answer as Reply, Claim, Classic, Join, Ticket};
use crate::broker::groups::membership::Membership;
use crate::broker::groups::next_generation::{Catalogue, NextGeneration, Peer, Times};
use crate::broker::join_group;
use crate::consumer::group::member::{Credentials, Tag};
use crate::consumer::group::message::{Answer, Call};
use crate::consumer::group::subscription::decode_assignment;
use crate::place::TopicId;
use crate::wire::kafka_error::KafkaError;
use crate::wire::message::{
    ConsumerGroupHeartbeatResponse, HeartbeatResponse, JoinGroupRequest, LeaveGroupResponse, SyncGroupRequest,
    SyncGroupResponse,
};

/// Whom an answer goes to.
pub(super) type Address = (usize, Tag);

pub(super) struct Coordinator {
    /// The node that the group lives on.
    pub(super) node: u32,
    pub(super) down_until: Duration,
    pub(super) loading_until: Duration,
    pub(super) partitions: i32,
    pub(super) members: Membership,
    pub(super) committed: BTreeMap<i32, i64>,
    waiting: BTreeMap<Ticket, Address>,
    last_ticket: u64,
    plant: Option<Plant>,
}

struct Topics(i32);

impl Catalogue for Topics {
    fn find(&self, name: &str) -> Option<(TopicId, i32)> {
        (name == "orders").then_some((ORDERS, self.0))
    }
}

impl Coordinator {
    pub(super) fn new(is_next: bool, session: Duration, heartbeat: Duration, plant: Option<Plant>) -> Self {
        let times = Times { session, heartbeat, assignment: Duration::ZERO };
        let members = if is_next {
            Membership::NextGeneration(NextGeneration::new(times))
        } else {
            Membership::Classic(Classic::new(Duration::ZERO))
        };
        Self {
            node: 1,
            down_until: Duration::ZERO,
            loading_until: Duration::ZERO,
            partitions: 4,
            members,
            committed: BTreeMap::new(),
            waiting: BTreeMap::new(),
            last_ticket: 0,
            plant,
        }
    }

    /// Why a request to `node` is refused before anybody looks at it.
    pub(super) fn refusal(&self, now: Duration, node: u32) -> Option<KafkaError> {
        if node != self.node {
            return Some(KafkaError::NotCoordinator);
        }
        (now < self.loading_until).then_some(KafkaError::CoordinatorLoadInProgress)
    }

    /// Forgets who waits, as a node does that goes away; they are told by their connections.
    pub(super) fn drop_waiting(&mut self) -> Vec<Address> {
        if let Membership::Classic(classic) = &mut self.members {
            classic.refuse_waiting(KafkaError::NotCoordinator);
            classic.take_answers();
        }
        std::mem::take(&mut self.waiting).into_values().collect()
    }

    /// Moves to the next node: who waits is sent there.
    pub(super) fn move_on(&mut self) -> Vec<(Address, Answer)> {
        self.node += 1;
        if let Membership::Classic(classic) = &mut self.members {
            classic.refuse_waiting(KafkaError::NotCoordinator);
        }
        self.answers()
    }

    pub(super) fn handle(&mut self, now: Duration, from: Address, call: Call) -> Vec<(Address, Answer)> {
        let answer = match (&mut self.members, call) {
            (Membership::NextGeneration(next), Call::ConsumerHeartbeat(mut request)) => {
                if self.plant == Some(Plant::StaleEpochAccepted) && request.member_epoch > 0 {
                    let known = next.standings().into_iter().find(|(id, _)| *id == request.member_id);
                    request.member_epoch =
                        known.map_or(request.member_epoch, |(_, standing)| standing.epochs[0].max(1));
                }
                if self.plant == Some(Plant::ClaimsBelieved) && request.topic_partitions.is_none() {
                    request.topic_partitions = Some(Vec::new());
                }
                let peer = Peer { client_id: "c", client_host: "/h" };
                let answer = next.heartbeat(now, &request, peer, &Topics(self.partitions));
                let refused = |code: i16| ConsumerGroupHeartbeatResponse { error_code: code, ..Default::default() };
                Some(Answer::ConsumerHeartbeat(answer.unwrap_or_else(|refusal| refused(refusal.error.code()))))
            }
            (Membership::Classic(classic), Call::Heartbeat(request)) => {
                let instance = request.group_instance_id.as_deref();
                let claim = Claim { member_id: &request.member_id, instance, generation: request.generation_id };
                let error_code = classic.heartbeat(now, &claim).err().map_or(0, KafkaError::code);
                Some(Answer::Heartbeat(HeartbeatResponse { error_code, ..Default::default() }))
            }
            (Membership::Classic(classic), Call::Leave(request)) => {
                for member in &request.members {
                    let _ = classic.leave(now, &member.member_id, member.group_instance_id.as_deref());
                }
                Some(Answer::Leave(LeaveGroupResponse::default()))
            }
            (_, Call::Join(request)) => {
                self.join(now, from, request);
                None
            }
            (_, Call::Sync(request)) => {
                self.sync(now, from, &request);
                None
            }
            (members, call) => panic!("{call:?} to {members:?}"),
        };
        answer.map(|answer| (from, answer)).into_iter().chain(self.answers()).collect()
    }

    fn ticket(&mut self, from: Address) -> Ticket {
        self.last_ticket += 1;
        self.waiting.insert(Ticket(self.last_ticket), from);
        Ticket(self.last_ticket)
    }

    fn join(&mut self, now: Duration, from: Address, request: JoinGroupRequest) {
        let ticket = self.ticket(from);
        let Membership::Classic(classic) = &mut self.members else { return };
        let millis = |time: i32| Duration::from_millis(time.try_into().unwrap());
        classic.join(
            now,
            Join {
                ticket,
                member_id: request.member_id,
                fresh_id: format!("id-{}", ticket.0),
                instance: request.group_instance_id,
                client_id: "c".into(),
                client_host: "/h".into(),
                session: millis(request.session_timeout_ms),
                rebalance: millis(request.rebalance_timeout_ms),
                protocol_type: request.protocol_type,
                protocols: request.protocols.into_iter().map(|one| (one.name, one.metadata)).collect(),
                takes_id: true,
                may_skip: true,
            },
        );
    }

    fn sync(&mut self, now: Duration, from: Address, request: &SyncGroupRequest) {
        let ticket = self.ticket(from);
        let Membership::Classic(classic) = &mut self.members else { return };
        let claim = Claim {
            member_id: &request.member_id,
            instance: request.group_instance_id.as_deref(),
            generation: request.generation_id,
        };
        let plan = request.assignments.iter().map(|one| (one.member_id.clone(), one.assignment.clone()));
        classic.sync(now, ticket, &claim, plan.collect());
    }

    /// What is to be answered by now, to those who still wait.
    fn answers(&mut self) -> Vec<(Address, Answer)> {
        let answers = self.members.take_answers().into_iter();
        let addressed = answers.filter_map(|(ticket, reply)| Some((self.waiting.remove(&ticket)?, reply)));
        addressed.map(|(address, reply)| (address, answer(reply))).collect()
    }

    pub(super) fn tick(&mut self, now: Duration) -> Vec<(Address, Answer)> {
        self.members.tick(now);
        self.answers()
    }

    /// Takes a commit, and tells which of its partitions are another member's.
    pub(super) fn commit(
        &mut self,
        now: Duration,
        credentials: &Credentials,
        offsets: &BTreeMap<i32, i64>,
    ) -> Result<Vec<i32>, KafkaError> {
        let (id, instance) = (credentials.member_id.as_str(), credentials.instance_id.as_deref());
        let checked = match &mut self.members {
            Membership::Classic(classic) => {
                classic.commit(now, &Claim { member_id: id, instance, generation: credentials.epoch })
            }
            Membership::NextGeneration(next) => {
                let mut each =
                    offsets.keys().map(|number| next.commit(id, credentials.epoch, 9, Some((ORDERS, *number))));
                each.find(Result::is_err).unwrap_or(Ok(()))
            }
        };
        if self.plant != Some(Plant::StaleEpochAccepted) {
            checked?;
        }
        self.committed.extend(offsets);
        let others = self.ids().into_iter().filter(|other| other != id);
        let others: Vec<i32> = others.flat_map(|other| self.owned(&other)).collect();
        Ok(offsets.keys().copied().filter(|number| others.contains(number)).collect())
    }

    /// What a member owns as the coordinator sees it.
    fn owned(&self, id: &str) -> Vec<i32> {
        match &self.members {
            Membership::NextGeneration(next) => {
                let found = next.standings().into_iter().find(|(member, _)| member == id);
                found.map(|(_, standing)| standing.held).unwrap_or_default()
            }
            Membership::Classic(classic) => {
                let found = classic.members().find(|(member, _)| *member == id);
                let assignment = found.map(|(_, member)| member.assignment.clone()).unwrap_or_default();
                decode_assignment(&assignment).unwrap().into_iter().map(|at| at.partition).collect()
            }
        }
    }

    /// Whether a member with these credentials is in the group, as the coordinator sees it.
    pub(super) fn knows(&self, credentials: &Credentials) -> bool {
        match &self.members {
            Membership::NextGeneration(next) => {
                let found = next.standings().into_iter().find(|(id, _)| *id == credentials.member_id);
                found.is_some_and(|(_, standing)| standing.epochs.contains(&credentials.epoch))
            }
            Membership::Classic(classic) => {
                let is_in = classic.members().any(|(id, _)| id == credentials.member_id);
                is_in && classic.generation() == credentials.epoch
            }
        }
    }

    /// Partitions that the coordinator gave to two members.
    pub(super) fn shared(&self) -> Vec<i32> {
        let mut all: Vec<i32> = self.ids().iter().flat_map(|id| self.owned(id)).collect();
        all.sort_unstable();
        all.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect()
    }

    /// The members' ids.
    pub(super) fn ids(&self) -> Vec<String> {
        match &self.members {
            Membership::NextGeneration(next) => next.standings().into_iter().map(|(id, _)| id).collect(),
            Membership::Classic(classic) => classic.members().map(|(id, _)| id.to_owned()).collect(),
        }
    }
}

fn answer(reply: Reply) -> Answer {
    match reply {
        Reply::Joined(joined) => Answer::Join(join_group::response(joined)),
        Reply::NotJoined(error, id) => Answer::Join(join_group::refused(id, error)),
        Reply::Synced(synced) => Answer::Sync(SyncGroupResponse {
            protocol_type: Some(synced.protocol_type),
            protocol_name: Some(synced.protocol),
            assignment: synced.assignment,
            ..Default::default()
        }),
        Reply::NotSynced(error) => Answer::Sync(SyncGroupResponse { error_code: error.code(), ..Default::default() }),
    }
}

/// The answer that refuses a call.
pub(super) fn refused(call: &Call, error: KafkaError) -> Answer {
    let error_code = error.code();
    match call {
        Call::ConsumerHeartbeat(_) => {
            Answer::ConsumerHeartbeat(ConsumerGroupHeartbeatResponse { error_code, ..Default::default() })
        }
        Call::Join(request) => Answer::Join(join_group::refused(request.member_id.clone(), error)),
        Call::Sync(_) => Answer::Sync(SyncGroupResponse { error_code, ..Default::default() }),
        Call::Heartbeat(_) => Answer::Heartbeat(HeartbeatResponse { error_code, ..Default::default() }),
        Call::Leave(_) => Answer::Leave(LeaveGroupResponse { error_code, ..Default::default() }),
    }
}
