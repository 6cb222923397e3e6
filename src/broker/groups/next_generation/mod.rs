//! The membership of one KIP-848 group, as the broker keeps it.
//!
//! It is pure: time, fresh member ids and what topics there are come from outside. The rules are Apache Kafka's.
//!
//! ```text
//!  heartbeat -> admission -> what changed? --> group epoch + 1 --> target (assignor) --> reconcile --> answer
//!                 |                                  ^                                     ^
//!              refused          members that leave, or whose time is up       what others still hold is waited for
//! ```
//! A partition is given to a member only when nobody holds it: what a member was given counts as held until the member
//! has acknowledged its revocation, has left, or was fenced, whatever it claims to own.

mod admission;
mod assignor;
mod describe;
mod reconcile;
#[cfg(test)]
mod tests;

use std::time::Duration;

use self::assignor::{Assignor, Subscriber};
use crate::broker::state::Refusal;
use crate::place::TopicId;
use crate::wire::kafka_error::KafkaError;
use crate::wire::message::consumer_group_heartbeat::{Assignment, TopicPartitions};
use crate::wire::message::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};

/// Members of one group: a bound, where Kafka by default has none.
const MAX_MEMBERS: usize = 1000;

/// The epoch of a static member that has left for a while.
const AWAY: i32 = -2;

/// A partition, by its topic's identity.
pub(in crate::broker) type Share = (TopicId, i32);

/// What topics there are.
pub(in crate::broker) trait Catalogue {
    /// The identity and the number of partitions of a topic.
    fn find(&self, name: &str) -> Option<(TopicId, i32)>;
}

/// What the broker tells members, and how long it waits for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::broker) struct Times {
    /// How long a member may be silent.
    pub(in crate::broker) session: Duration,
    /// How often members show that they are alive.
    pub(in crate::broker) heartbeat: Duration,
    /// The least time between two assignments.
    pub(in crate::broker) assignment: Duration,
}

/// Who sends a heartbeat.
#[derive(Clone, Copy, Debug)]
pub(in crate::broker) struct Peer<'a> {
    pub(in crate::broker) client_id: &'a str,
    pub(in crate::broker) client_host: &'a str,
}

/// A topic that the group is subscribed to.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    name: String,
    id: TopicId,
    partitions: i32,
}

/// How far a member is on its way to its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    /// It has what it shall have.
    Stable,
    /// It shall give partitions back first.
    Unrevoked,
    /// It waits for partitions that others hold.
    Unreleased,
}

#[derive(Clone, Debug)]
pub(in crate::broker) struct Member {
    id: String,
    instance: Option<String>,
    rack: Option<String>,
    client_id: String,
    client_host: String,
    /// In their order, each once.
    topics: Vec<String>,
    assignor: Option<Assignor>,
    rebalance: Duration,
    epoch: i32,
    previous_epoch: i32,
    progress: Progress,
    /// What it may own, and since which epoch (KIP-1251).
    assigned: Vec<(Share, i32)>,
    /// What it shall give back; nobody else gets it before.
    revoking: Vec<(Share, i32)>,
    target: Vec<Share>,
    expires: Duration,
    /// Until when it may give back what it shall.
    revoke_by: Option<Duration>,
}

#[derive(Debug)]
pub(in crate::broker) struct NextGeneration {
    times: Times,
    /// Counts changes of members, subscriptions and topics.
    epoch: i32,
    /// The epoch that the targets were made for.
    target_epoch: i32,
    targeted_at: Option<Duration>,
    /// The topics subscribed to, as they were when the epoch was raised last.
    seen: Vec<Seen>,
    /// In the order of their ids.
    members: Vec<Member>,
}

impl NextGeneration {
    pub(in crate::broker) fn new(times: Times) -> Self {
        Self { times, epoch: 0, target_epoch: 0, targeted_at: None, seen: Vec::new(), members: Vec::new() }
    }

    pub(in crate::broker) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    fn member(&self, id: &str) -> Option<&Member> {
        self.members.iter().find(|member| member.id == id)
    }

    fn holder(&self, instance: &str) -> Option<&Member> {
        self.members.iter().find(|member| member.instance.as_deref() == Some(instance))
    }

    /// A member joins, shows that it is alive, tells what it has given back, or leaves.
    pub(in crate::broker) fn heartbeat(
        &mut self,
        now: Duration,
        request: &ConsumerGroupHeartbeatRequest,
        peer: Peer<'_>,
        topics: &dyn Catalogue,
    ) -> Result<ConsumerGroupHeartbeatResponse, Refusal> {
        admission::check(request)?;
        if request.member_epoch < 0 {
            return self.leave(request);
        }
        let owned = request.topic_partitions.as_deref().map(shares);
        let mut member = self.admit(request, owned.as_deref())?;
        let (is_changed, before) = (member.update(request, peer), member.shares());
        self.put(member);
        self.raise(is_changed, topics);
        self.retarget(now);
        let (held, target_epoch, session) = (self.held(), self.target_epoch, self.times.session);
        let found = self.members.iter_mut().find(|member| member.id == request.member_id);
        let member = found.ok_or_else(|| Refusal::new(KafkaError::UnknownMemberId, "the member is gone"))?;
        member.reconcile(now, target_epoch, &held, owned.as_deref());
        member.expires = now + session;
        let told = is_full(request) || member.shares() != before;
        Ok(ConsumerGroupHeartbeatResponse {
            member_id: Some(member.id.clone()),
            member_epoch: member.epoch,
            heartbeat_interval_ms: i32::try_from(self.times.heartbeat.as_millis()).unwrap_or(i32::MAX),
            assignment: told.then(|| Assignment { topic_partitions: by_topic(&member.shares()) }),
            ..Default::default()
        })
    }

    /// Keeps a member in place of the one that has its id.
    fn put(&mut self, member: Member) {
        match self.members.binary_search_by(|other| other.id.cmp(&member.id)) {
            Ok(at) => self.members.splice(at..=at, [member]).for_each(drop),
            Err(at) => self.members.insert(at, member),
        }
    }

    fn leave(&mut self, request: &ConsumerGroupHeartbeatRequest) -> Result<ConsumerGroupHeartbeatResponse, Refusal> {
        let member = match request.instance_id.as_deref() {
            Some(instance) => self.owner(instance, &request.member_id)?,
            None => self.member(&request.member_id).ok_or_else(|| admission::unknown(&request.member_id))?,
        };
        let id = member.id.clone();
        if request.member_epoch == AWAY {
            // It is expected back; what it was to give back, its end has given back.
            for member in self.members.iter_mut().filter(|member| member.id == id) {
                (member.epoch, member.progress, member.revoke_by) = (AWAY, Progress::Stable, None);
                member.revoking.clear();
            }
        } else {
            self.remove(&id);
        }
        let (member_id, member_epoch) = (Some(id), request.member_epoch);
        Ok(ConsumerGroupHeartbeatResponse { member_id, member_epoch, ..Default::default() })
    }

    /// Takes a member out: what it held is free at once.
    fn remove(&mut self, id: &str) {
        self.members.retain(|member| member.id != id);
        self.epoch += 1;
        let members = &self.members;
        self.seen.retain(|topic| members.iter().any(|member| member.topics.contains(&topic.name)));
    }

    /// Raises the epoch if a subscription has changed, or a topic subscribed to.
    fn raise(&mut self, is_changed: bool, topics: &dyn Catalogue) {
        let mut names: Vec<&String> = self.members.iter().flat_map(|member| &member.topics).collect();
        names.sort_unstable();
        names.dedup();
        let see = |name: &&String| {
            let (id, partitions) = topics.find(name)?;
            Some(Seen { name: (*name).clone(), id, partitions })
        };
        let seen: Vec<Seen> = names.iter().filter_map(see).collect();
        if is_changed || seen != self.seen || self.epoch == 0 {
            self.epoch += 1;
            self.seen = seen;
        }
    }

    /// Makes the targets of this epoch, unless the last ones are too young.
    fn retarget(&mut self, now: Duration) {
        let is_early = self.targeted_at.is_some_and(|at| now < at + self.times.assignment);
        if self.target_epoch == self.epoch || is_early {
            return;
        }
        let subscribers: Vec<Subscriber<'_>> = self.members.iter().map(Member::subscriber).collect();
        let plan = self.assignor().assign(&subscribers, &self.seen);
        for (member, mut target) in self.members.iter_mut().zip(plan) {
            target.sort_unstable();
            member.target = target;
        }
        (self.target_epoch, self.targeted_at) = (self.epoch, Some(now));
    }

    /// The assignor that most members want, or the broker's first.
    fn assignor(&self) -> Assignor {
        let votes = |wanted: Assignor| self.members.iter().filter(|member| member.assignor == Some(wanted)).count();
        if votes(Assignor::Range) > votes(Assignor::Uniform) { Assignor::Range } else { Assignor::Uniform }
    }

    /// What nobody may be given, in order.
    fn held(&self) -> Vec<Share> {
        let held = self.members.iter().flat_map(|member| member.assigned.iter().chain(&member.revoking));
        let mut held: Vec<Share> = held.map(|(share, _)| *share).collect();
        held.sort_unstable();
        held
    }

    /// Whether somebody may commit the offset of a partition; `share` is `None` for a topic that is not known.
    pub(in crate::broker) fn commit(
        &self,
        member_id: &str,
        epoch: i32,
        version: i16,
        share: Option<Share>,
    ) -> Result<(), KafkaError> {
        if epoch < 0 && self.is_empty() {
            return Ok(());
        }
        let member = self.member(member_id).ok_or(KafkaError::UnknownMemberId)?;
        if version < 9 {
            return Err(KafkaError::UnsupportedVersion);
        }
        let is_current = epoch == member.epoch || (epoch < member.epoch && member.has_had(share, epoch));
        is_current.then_some(()).ok_or(KafkaError::StaleMemberEpoch)
    }

    /// Whether somebody may read the group's offsets; without an id anybody may.
    pub(in crate::broker) fn may_read(&self, member_id: Option<&str>, epoch: i32) -> Result<(), KafkaError> {
        let Some(id) = member_id.filter(|id| !id.is_empty() || epoch >= 0) else { return Ok(()) };
        let member = self.member(id).ok_or(KafkaError::UnknownMemberId)?;
        (epoch == member.epoch).then_some(()).ok_or(KafkaError::StaleMemberEpoch)
    }

    /// Whether a member is subscribed to a topic.
    pub(in crate::broker) fn is_subscribed(&self, topic: &str) -> bool {
        self.members.iter().any(|member| member.topics.iter().any(|name| name == topic))
    }

    /// When time next changes something.
    pub(in crate::broker) fn next_deadline(&self) -> Option<Duration> {
        self.members.iter().map(Member::deadline).min()
    }

    /// Does what time has made due: members that were silent, or did not give back, are out.
    pub(in crate::broker) fn tick(&mut self, now: Duration) {
        let out: Vec<String> =
            self.members.iter().filter(|member| member.deadline() <= now).map(|member| member.id.clone()).collect();
        for id in out {
            self.remove(&id);
        }
    }
}

impl Member {
    fn deadline(&self) -> Duration {
        self.revoke_by.map_or(self.expires, |by| by.min(self.expires))
    }

    fn shares(&self) -> Vec<Share> {
        self.assigned.iter().map(|(share, _)| *share).collect()
    }

    /// Whether it has had a partition without a break since an epoch that is not after `epoch`.
    fn has_had(&self, share: Option<Share>, epoch: i32) -> bool {
        let mut had = self.assigned.iter().chain(&self.revoking);
        had.any(|(held, since)| Some(*held) == share && *since <= epoch)
    }

    fn subscriber(&self) -> Subscriber<'_> {
        Subscriber { id: &self.id, instance: self.instance.as_deref(), topics: &self.topics, current: &self.target }
    }
}

/// Whether a request says everything, so that its answer does.
fn is_full(request: &ConsumerGroupHeartbeatRequest) -> bool {
    let names = request.subscribed_topic_names.is_some() || request.subscribed_topic_regex.is_some();
    let all = request.rebalance_timeout_ms != -1 && names && request.topic_partitions.is_some();
    request.member_epoch == 0 || all
}

fn shares(topics: &[TopicPartitions]) -> Vec<Share> {
    topics.iter().flat_map(|topic| topic.partitions.iter().map(|number| (topic.topic_id, *number))).collect()
}

/// Partitions in their order, by topic.
fn by_topic(shares: &[Share]) -> Vec<TopicPartitions> {
    let mut topics = Vec::<TopicPartitions>::new();
    for (topic_id, number) in shares.iter().copied() {
        match topics.last_mut().filter(|last| last.topic_id == topic_id) {
            Some(last) => last.partitions.push(number),
            None => topics.push(TopicPartitions { topic_id, partitions: vec![number] }),
        }
    }
    topics
}
