//! Who may be a member of a KIP-848 group: what each heartbeat must say, and which epochs are believed.
//!
//! | epoch | believed of |
//! |---|---|
//! | 0 | a newcomer, or a member that begins again; of a static one only when its name is free or away (-2) |
//! | the member's | everybody |
//! | the member's previous one | who owns no more than it was given: the answer with the new epoch was lost |
//! | another | nobody: FENCED_MEMBER_EPOCH |

use std::time::Duration;

use super::assignor::Assignor;
use super::{AWAY, MAX_MEMBERS, Member, NextGeneration, Peer, Progress, Share};
use crate::broker::state::Refusal;
use crate::wire::kafka_error::KafkaError;
use crate::wire::message::ConsumerGroupHeartbeatRequest;

/// Refuses a request that contradicts itself.
pub(super) fn check(request: &ConsumerGroupHeartbeatRequest) -> Result<(), Refusal> {
    let names_nothing =
        request.subscribed_topic_names.is_none() && request.subscribed_topic_regex.as_deref().unwrap_or("").is_empty();
    let is_empty = |text: &Option<String>| text.as_deref() == Some("");
    let owns = request.topic_partitions.as_ref().is_none_or(|owned| !owned.is_empty());
    let faults = [
        (request.group_id.is_empty(), "GroupId can't be empty."),
        (request.member_id.is_empty(), "MemberId can't be empty."),
        (is_empty(&request.instance_id), "InstanceId can't be empty."),
        (is_empty(&request.rack_id), "RackId can't be empty."),
        (request.member_epoch < AWAY, "MemberEpoch is invalid."),
        (request.member_epoch == AWAY && request.instance_id.is_none(), "InstanceId can't be null."),
    ];
    let joining = [
        (request.rebalance_timeout_ms == -1, "RebalanceTimeoutMs must be provided in first request."),
        (owns, "TopicPartitions must be empty when (re-)joining."),
        (names_nothing, "Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining."),
    ];
    let joining = joining.into_iter().filter(|_| request.member_epoch == 0);
    if let Some((_, why)) = faults.into_iter().chain(joining).find(|(is_wrong, _)| *is_wrong) {
        return Err(Refusal::new(KafkaError::InvalidRequest, why));
    }
    if request.subscribed_topic_regex.as_deref().is_some_and(|pattern| !pattern.is_empty()) {
        let why = "the development broker reads no patterns: subscribe by names";
        return Err(Refusal::new(KafkaError::InvalidRegularExpression, why));
    }
    request.server_assignor.as_deref().map_or(Ok(()), |name| Assignor::named(name).map(drop))
}

pub(super) fn unknown(member_id: &str) -> Refusal {
    Refusal::new(KafkaError::UnknownMemberId, format!("Member {member_id} is not a member of the group."))
}

fn fenced(member: &Member) -> Refusal {
    let why =
        format!("Member {} is at epoch {}. It must abandon all its partitions and rejoin.", member.id, member.epoch);
    Refusal::new(KafkaError::FencedMemberEpoch, why)
}

impl NextGeneration {
    /// The member that a heartbeat comes from, which may be a new one.
    pub(super) fn admit(
        &mut self,
        request: &ConsumerGroupHeartbeatRequest,
        owned: Option<&[Share]>,
    ) -> Result<Member, Refusal> {
        let (id, epoch) = (&request.member_id, request.member_epoch);
        let known = match request.instance_id.as_deref() {
            Some(instance) if epoch > 0 => Some(self.owner(instance, id)?.clone()),
            Some(instance) if self.holder(instance).is_some() => return self.take_over(instance, id),
            Some(_) | None => self.member(id).cloned(),
        };
        match known {
            Some(member) => member.believe(epoch, owned).map(|()| member),
            None if epoch > 0 => Err(unknown(id)),
            None if self.members.len() >= MAX_MEMBERS => {
                Err(Refusal::new(KafkaError::GroupMaxSizeReached, format!("The group has {MAX_MEMBERS} members.")))
            }
            None => Ok(Member::new(id.clone())),
        }
    }

    /// The static member of this name, if `id` is its id.
    pub(super) fn owner(&self, instance: &str, id: &str) -> Result<&Member, Refusal> {
        let unknown = || Refusal::new(KafkaError::UnknownMemberId, format!("Instance id {instance} is unknown."));
        let holder = self.holder(instance).ok_or_else(unknown)?;
        if holder.id != id {
            let why = format!("Static member {id} with instance id {instance} was fenced by {}.", holder.id);
            return Err(Refusal::new(KafkaError::FencedInstanceId, why));
        }
        Ok(holder)
    }

    /// A new process takes the place of a static member that is away.
    fn take_over(&mut self, instance: &str, id: &str) -> Result<Member, Refusal> {
        let at = self.members.iter().position(|member| member.instance.as_deref() == Some(instance));
        let is_away = |at: &usize| self.members.get(*at).is_some_and(|member| member.epoch == AWAY);
        let Some(at) = at.filter(is_away) else {
            let why =
                format!("Static member {id} with instance id {instance} cannot join: another member holds the name.");
            return Err(Refusal::new(KafkaError::UnreleasedInstanceId, why));
        };
        let before = self.members.remove(at);
        Ok(Member { id: id.to_owned(), epoch: 0, previous_epoch: 0, ..before })
    }
}

impl Member {
    fn new(id: String) -> Self {
        Self {
            id,
            instance: None,
            rack: None,
            client_id: String::new(),
            client_host: String::new(),
            topics: Vec::new(),
            assignor: None,
            rebalance: Duration::ZERO,
            epoch: 0,
            previous_epoch: 0,
            progress: Progress::Stable,
            assigned: Vec::new(),
            revoking: Vec::new(),
            target: Vec::new(),
            expires: Duration::ZERO,
            revoke_by: None,
        }
    }

    /// Whether a member with this epoch is up to date, or only lacks our last answer.
    fn believe(&self, epoch: i32, owned: Option<&[Share]>) -> Result<(), Refusal> {
        let given = |share: &Share| self.assigned.iter().any(|(assigned, _)| assigned == share);
        let lacks_an_answer = epoch == self.previous_epoch && owned.is_some_and(|owned| owned.iter().all(given));
        // Epoch 0 begins again (KAFKA-19233).
        let is_believed = epoch == 0 || epoch == self.epoch || (epoch < self.epoch && lacks_an_answer);
        is_believed.then_some(()).ok_or_else(|| fenced(self))
    }

    /// Takes over what the heartbeat says. Whether the subscription has changed.
    pub(super) fn update(&mut self, request: &ConsumerGroupHeartbeatRequest, peer: Peer<'_>) -> bool {
        peer.client_id.clone_into(&mut self.client_id);
        peer.client_host.clone_into(&mut self.client_host);
        self.instance = request.instance_id.clone().or(self.instance.take());
        self.rack = request.rack_id.clone().or(self.rack.take());
        if let Ok(millis) = u64::try_from(request.rebalance_timeout_ms) {
            self.rebalance = Duration::from_millis(millis);
        }
        if let Some(assignor) = request.server_assignor.as_deref() {
            self.assignor = Assignor::named(assignor).ok();
        }
        let Some(mut topics) = request.subscribed_topic_names.clone() else { return false };
        topics.sort_unstable();
        topics.dedup();
        let is_changed = topics != self.topics;
        self.topics = topics;
        is_changed
    }
}
