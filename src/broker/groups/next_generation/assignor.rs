//! The broker's assignors: `uniform`, which moves little, with `range`, which keeps neighbours together.

use super::{Seen, Share};
use crate::broker::state::Refusal;
use crate::wire::kafka_error::KafkaError;

/// How partitions are shared out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Assignor {
    /// As many for each member as can be; who has a partition keeps it.
    Uniform,
    /// Of each topic one contiguous part for each member.
    Range,
}

/// A member as an assignor sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Subscriber<'a> {
    pub(super) id: &'a str,
    pub(super) instance: Option<&'a str>,
    pub(super) topics: &'a [String],
    /// What it was given before, in order.
    pub(super) current: &'a [Share],
}

impl Subscriber<'_> {
    fn wants(&self, topic: &Seen) -> bool {
        self.topics.binary_search(&topic.name).is_ok()
    }
}

impl Assignor {
    pub(super) fn named(name: &str) -> Result<Self, Refusal> {
        let unknown = || format!("ServerAssignor {name} is not supported. Supported assignors: uniform, range.");
        match name {
            "uniform" => Ok(Self::Uniform),
            "range" => Ok(Self::Range),
            _ => Err(Refusal::new(KafkaError::UnsupportedAssignor, unknown())),
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Range => "range",
        }
    }

    /// What each member shall have, in the order of the members.
    pub(super) fn assign(self, members: &[Subscriber<'_>], topics: &[Seen]) -> Vec<Vec<Share>> {
        match self {
            Self::Uniform => uniform(members, topics),
            Self::Range => range(members, topics),
        }
    }
}

fn uniform(members: &[Subscriber<'_>], topics: &[Seen]) -> Vec<Vec<Share>> {
    let mut plan = vec![Vec::<Share>::new(); members.len()];
    let mut free = Vec::new();
    for topic in topics {
        for share in (0..topic.partitions).map(|number| (topic.id, number)) {
            let keeps = |member: &Subscriber<'_>| member.wants(topic) && member.current.binary_search(&share).is_ok();
            match members.iter().position(keeps).and_then(|at| plan.get_mut(at)) {
                Some(kept) => kept.push(share),
                None => free.push((topic, share)),
            }
        }
    }
    for (topic, share) in free {
        if let Some(taker) = poorest(members, &mut plan, topic) {
            taker.push(share);
        }
    }
    // Each move makes the parts more equal, so there is a last one.
    while even_out(members, topics, &mut plan) {}
    plan
}

/// The smallest part of those that want the topic.
fn poorest<'a>(members: &[Subscriber<'_>], plan: &'a mut [Vec<Share>], topic: &Seen) -> Option<&'a mut Vec<Share>> {
    let wanting = plan.iter_mut().zip(members).filter(|(_, member)| member.wants(topic));
    wanting.map(|(part, _)| part).min_by_key(|part| part.len())
}

/// Moves one partition from a member to another that has at least two fewer, if there are such.
fn even_out(members: &[Subscriber<'_>], topics: &[Seen], plan: &mut [Vec<Share>]) -> bool {
    let mut richest: Vec<(usize, usize)> = plan.iter().map(Vec::len).enumerate().collect();
    richest.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    for (giver, count) in richest {
        for topic in topics {
            let last = plan.get(giver).and_then(|part| part.iter().rposition(|(id, _)| *id == topic.id));
            let is_worth_it = poorest(members, plan, topic).is_some_and(|part| part.len() + 1 < count);
            let Some(last) = last.filter(|_| is_worth_it) else { continue };
            let moved = plan.get_mut(giver).map(|part| part.remove(last));
            if let (Some(share), Some(taker)) = (moved, poorest(members, plan, topic)) {
                taker.push(share);
                return true;
            }
        }
    }
    false
}

fn range(members: &[Subscriber<'_>], topics: &[Seen]) -> Vec<Vec<Share>> {
    let mut plan = vec![Vec::<Share>::new(); members.len()];
    let mut order: Vec<usize> = (0..members.len()).collect();
    // Static members come first, by their names, so that a restart moves nothing.
    order.sort_by_key(|at| members.get(*at).map(|member| (member.instance.is_none(), member.instance, member.id)));
    for topic in topics {
        let wanting = |at: &usize| members.get(*at).is_some_and(|member| member.wants(topic));
        let wanting: Vec<usize> = order.iter().copied().filter(wanting).collect();
        let count = i32::try_from(wanting.len()).unwrap_or(i32::MAX).max(1);
        let (each, more) = (topic.partitions / count, topic.partitions % count);
        let mut next = 0;
        for (rank, at) in (0..).zip(wanting) {
            let end = next + each + i32::from(rank < more);
            if let Some(part) = plan.get_mut(at) {
                part.extend((next..end).map(|number| (topic.id, number)));
            }
            next = end;
        }
    }
    plan
}
