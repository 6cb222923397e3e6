//! Groups: their committed offsets and their members.
//!
//! ```text
//!  JoinGroup, SyncGroup, ... -> Groups -> Classic (pure) ---------> answers -> the requests that wait for them
//!  ConsumerGroupHeartbeat ------> |  ---> NextGeneration (pure) --> the answer
//!                                 ^
//!                     clock ------+   sessions and rebalances that time ends
//! ```

pub(super) mod classic;
pub(super) mod clock;
pub(super) mod membership;
pub(super) mod next_generation;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, oneshot};

use self::classic::{Answer, Classic, Ticket};
use self::membership::Membership;
use self::next_generation::{NextGeneration, Times};
use crate::broker::state::Refusal;
use crate::wire::kafka_error::KafkaError;

/// Groups at a time. Console tools make one each time they run.
const MAX_GROUPS: usize = 10_000;

/// An offset that a group committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Committed {
    pub(super) offset: i64,
    pub(super) leader_epoch: i32,
    pub(super) metadata: String,
}

/// One group.
#[derive(Debug)]
pub(super) struct Group {
    /// By topic and partition.
    pub(super) offsets: BTreeMap<(String, i32), Committed>,
    pub(super) membership: Membership,
}

/// Whether a request may make a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Joins {
    Yes,
    No,
}

/// All groups, with the requests that wait for an answer.
#[derive(Debug)]
pub(super) struct Groups {
    by_id: BTreeMap<String, Group>,
    /// Groups that were moved by hand, and to which node.
    moved: BTreeMap<String, i32>,
    waiting: HashMap<Ticket, oneshot::Sender<Answer>>,
    next_ticket: u64,
    first_wait: Duration,
    times: Times,
    /// When the clock will look next.
    armed: Option<Duration>,
    clock: Arc<Notify>,
}

impl Groups {
    pub(super) fn new(first_wait: Duration, times: Times) -> Self {
        Self {
            times,
            by_id: BTreeMap::new(),
            moved: BTreeMap::new(),
            waiting: HashMap::new(),
            next_ticket: 0,
            first_wait,
            armed: None,
            clock: Arc::default(),
        }
    }

    pub(super) fn get(&self, group: &str) -> Option<&Group> {
        self.by_id.get(group)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &Group)> {
        self.by_id.iter().map(|(id, group)| (id.as_str(), group))
    }

    /// The group, made if it is not there.
    pub(super) fn open(&mut self, group: &str) -> Result<&mut Group, KafkaError> {
        if group.is_empty() {
            return Err(KafkaError::InvalidGroupId);
        }
        if self.by_id.len() >= MAX_GROUPS && !self.by_id.contains_key(group) {
            tracing::error!("the development broker has its limit of {MAX_GROUPS} groups");
            return Err(KafkaError::GroupMaxSizeReached);
        }
        let first_wait = self.first_wait;
        let membership = || Membership::Classic(Classic::new(first_wait));
        let make = || Group { offsets: BTreeMap::new(), membership: membership() };
        Ok(self.by_id.entry(group.to_owned()).or_insert_with(make))
    }

    /// The group as one whose members elect a leader: a KIP-848 group that has no members becomes one.
    pub(super) fn open_classic(&mut self, group: &str) -> Result<(), KafkaError> {
        let first_wait = self.first_wait;
        let membership = &mut self.open(group)?.membership;
        match membership {
            Membership::Classic(_) => {}
            Membership::NextGeneration(next) if next.is_empty() => {
                *membership = Membership::Classic(Classic::new(first_wait));
            }
            // Apache Kafka takes such a member in; a development broker has no groups that are on their way.
            Membership::NextGeneration(_) => return Err(KafkaError::InconsistentGroupProtocol),
        }
        Ok(())
    }

    /// Lets something happen to a KIP-848 group. When somebody joins, the group is made, or made of an empty classic one.
    pub(super) fn act_next<T>(
        &mut self,
        group: &str,
        joins: Joins,
        act: impl FnOnce(&mut NextGeneration) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let times = self.times;
        let missing = || Refusal::new(KafkaError::GroupIdNotFound, format!("Group {group} not found."));
        if joins == Joins::Yes {
            self.open(group).map_err(|error| Refusal::new(error, error.meaning()))?;
        }
        let membership = &mut self.by_id.get_mut(group).ok_or_else(missing)?.membership;
        if joins == Joins::Yes && membership.classic().is_some_and(Classic::is_empty) {
            *membership = Membership::NextGeneration(NextGeneration::new(times));
        }
        let Membership::NextGeneration(next) = membership else {
            let why = format!("Group {group} is not a consumer group.");
            return Err(Refusal::new(KafkaError::GroupIdNotFound, why));
        };
        let outcome = act(next);
        let deadline = next.next_deadline();
        self.arm(deadline);
        outcome
    }

    /// Forgets a group with its offsets.
    pub(super) fn remove(&mut self, group: &str) {
        self.by_id.remove(group);
    }

    /// Where a group was moved to by hand.
    pub(super) fn moved_to(&self, group: &str) -> Option<i32> {
        self.moved.get(group).copied()
    }

    /// Moves a group to another node. What waits at the old one is refused.
    pub(super) fn move_to(&mut self, group: &str, node: i32) {
        self.moved.insert(group.to_owned(), node);
        self.act(group, |membership| membership.refuse_waiting(KafkaError::NotCoordinator));
    }

    /// Forgets what was committed for a topic that is gone.
    pub(super) fn forget_topic(&mut self, topic: &str) {
        for group in self.by_id.values_mut() {
            group.offsets.retain(|(name, _), _| name != topic);
        }
    }

    /// A ticket, and where its answer will come.
    pub(super) fn ticket(&mut self) -> (Ticket, oneshot::Receiver<Answer>) {
        self.next_ticket += 1;
        let ticket = Ticket(self.next_ticket);
        let (sender, receiver) = oneshot::channel();
        self.waiting.insert(ticket, sender);
        (ticket, receiver)
    }

    /// Lets something happen to a classic group's members, and hands out the answers that come of it. `None` if there is no such group.
    pub(super) fn act<T>(&mut self, group: &str, act: impl FnOnce(&mut Classic) -> T) -> Option<T> {
        let Membership::Classic(classic) = &mut self.by_id.get_mut(group)?.membership else { return None };
        let outcome = act(classic);
        let (answers, deadline) = (classic.take_answers(), classic.next_deadline());
        self.hand_out(answers);
        self.arm(deadline);
        Some(outcome)
    }

    /// Wakes the clock if it would look too late.
    fn arm(&mut self, deadline: Option<Duration>) {
        if deadline.is_some_and(|deadline| self.armed.is_none_or(|armed| deadline < armed)) {
            self.clock.notify_one();
        }
    }

    fn hand_out(&mut self, answers: Vec<(Ticket, Answer)>) {
        for (ticket, answer) in answers {
            if let Some(waiting) = self.waiting.remove(&ticket) {
                // Nobody listens any more when the client has closed its connection.
                let _ = waiting.send(answer);
            }
        }
    }

    /// Does what time has made due, and says when to look again.
    fn tick(&mut self, now: Duration) -> Option<Duration> {
        let mut answers = Vec::new();
        for group in self.by_id.values_mut() {
            let membership = &mut group.membership;
            if membership.next_deadline().is_some_and(|deadline| deadline <= now) {
                membership.tick(now);
                answers.extend(membership.take_answers());
            }
        }
        self.hand_out(answers);
        self.armed = self.by_id.values().filter_map(|group| group.membership.next_deadline()).min();
        self.armed
    }
}
