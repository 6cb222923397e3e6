//! Balances partitions, leaving each where it is unless the balance asks for it.
//!
//! ```text
//!  keep      every member keeps what it claims best and still subscribes to
//!  fill      every other partition goes to its least loaded subscriber
//!  level     along chains a -> b -> c of subscriptions in common, from a loaded member to one with at least two less:
//!            first by partitions that nobody keeps, then by any
//! ```
//!
//! Without such a chain no plan is more even, however the subscriptions differ. What `level` may move first is what no
//! member keeps, so that the second round of a rebalance, with some partitions free and the others where the first round
//! left them, moves nothing that is owned.
#![allow(
    clippy::indexing_slicing,
    reason = "members and topics are numbered here, and the tables made for all of them"
)]

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::sync::Arc;

use super::claims::Claims;
use super::{Peer, Plan, Topics};
use crate::gather::Gather;
use crate::place::TopicPartition;

/// The plan for members that stand in order.
pub(super) fn plan(peers: &[&Peer], topics: &Topics, claims: &Claims) -> Plan {
    let mut table = Table::new(peers, topics);
    table.keep(peers, claims);
    table.fill();
    table.level(Movable::Free);
    table.level(Movable::All);
    table.into_plan(peers)
}

/// Which partitions a chain may move.
#[derive(Clone, Copy, PartialEq)]
enum Movable {
    /// Those that their holder did not keep.
    Free,
    /// All.
    All,
}

/// Who holds what while a plan is made. Members and topics go by their numbers.
struct Table<'a> {
    topics: Vec<(&'a Arc<str>, i32)>,
    /// For each topic, who subscribes.
    subscribers: Vec<Vec<usize>>,
    members: Vec<Holding>,
    /// For each topic and partition, the member that keeps it.
    home: Vec<BTreeMap<i32, usize>>,
}

/// What one member holds.
#[derive(Clone, Default)]
struct Holding {
    load: usize,
    /// By topic: what it had before, and what it gets.
    kept: BTreeMap<usize, BTreeSet<i32>>,
    got: BTreeMap<usize, BTreeSet<i32>>,
}

/// A partition of `topic` passes from `giver` to the next in the chain.
struct Link {
    giver: usize,
    topic: usize,
    taker: usize,
}

impl<'a> Table<'a> {
    fn new(peers: &[&Peer], topics: &'a Topics) -> Self {
        let topics: Vec<_> = topics.iter().map(|(topic, count)| (topic, *count)).collect();
        let subscribed = |topic: &Arc<str>| {
            let wants = |(_, peer): &(usize, &&Peer)| peer.subscription.topics.contains(topic);
            peers.iter().enumerate().filter(wants).map(|(member, _)| member).collect()
        };
        Self {
            subscribers: topics.iter().map(|(topic, _)| subscribed(topic)).collect(),
            members: vec![Holding::default(); peers.len()],
            home: vec![BTreeMap::new(); topics.len()],
            topics,
        }
    }

    fn keep(&mut self, peers: &[&Peer], claims: &Claims) {
        let numbers: BTreeMap<&str, usize> = peers.iter().enumerate().map(|(at, peer)| (&*peer.id, at)).gather();
        for (topic, (name, count)) in self.topics.iter().enumerate() {
            for partition in 0..*count {
                let owner = claims.owner(&TopicPartition::new((*name).clone(), partition));
                let Some(member) = owner.and_then(|owner| numbers.get(&**owner)).copied() else { continue };
                if self.subscribers[topic].contains(&member) {
                    self.home[topic].insert(partition, member);
                    self.members[member].put(topic, partition, true);
                }
            }
        }
    }

    /// Topics with few subscribers come first, while there is room to even out what they force.
    fn fill(&mut self) {
        let mut order: Vec<usize> = (0..self.topics.len()).collect();
        order.sort_by_key(|topic| self.subscribers[*topic].len());
        for topic in order {
            for partition in 0..self.topics[topic].1 {
                let least = self.subscribers[topic].iter().min_by_key(|member| self.members[**member].load);
                let Some(least) = least.copied() else { break };
                if !self.home[topic].contains_key(&partition) {
                    self.members[least].put(topic, partition, false);
                }
            }
        }
    }

    /// Moves partitions along chains, the most loaded member first, until no chain is left. A member without a chain gets
    /// none later: a chain of another that is no more loaded would have been reached from it too.
    fn level(&mut self, movable: Movable) {
        let mut heap: BinaryHeap<_> =
            self.members.iter().enumerate().map(|(member, holding)| (holding.load, Reverse(member))).collect();
        let mut done = vec![false; self.members.len()];
        while let Some((load, Reverse(member))) = heap.pop() {
            if done[member] || load != self.members[member].load {
                continue; // An entry from before its load changed.
            }
            let Some((taker, chain)) = self.chain(member, movable) else {
                done[member] = true;
                continue;
            };
            for link in chain {
                self.hand_over(&link, movable);
            }
            heap.extend([member, taker].map(|changed| (self.members[changed].load, Reverse(changed))));
        }
    }

    /// A shortest chain from `from` to a member with at least two partitions less, the least loaded of that distance;
    /// its links from the end to the beginning, so that each taker has given before it takes.
    fn chain(&self, from: usize, movable: Movable) -> Option<(usize, Vec<Link>)> {
        let enough = self.members[from].load.checked_sub(2)?;
        let mut reached: BTreeMap<usize, Option<(usize, usize)>> = [(from, None)].into_iter().gather();
        let mut opened = vec![false; self.topics.len()];
        let mut row = vec![from];
        while !row.is_empty() {
            let mut next = Vec::new();
            for giver in row {
                for topic in self.members[giver].topics(movable) {
                    if std::mem::replace(&mut opened[topic], true) {
                        continue;
                    }
                    for taker in &self.subscribers[topic] {
                        reached.entry(*taker).or_insert_with(|| {
                            next.push(*taker);
                            Some((giver, topic))
                        });
                    }
                }
            }
            let least = next.iter().copied().min_by_key(|member| self.members[*member].load);
            if let Some(taker) = least.filter(|member| self.members[*member].load <= enough) {
                return Some((taker, links(&reached, taker)));
            }
            row = next;
        }
        None
    }

    fn hand_over(&mut self, link: &Link, movable: Movable) {
        let home = &self.home[link.topic];
        let returns = |partition: &i32| home.get(partition) == Some(&link.taker);
        let Some(partition) = self.members[link.giver].take(link.topic, movable, returns) else { return };
        let kept = self.home[link.topic].get(&partition) == Some(&link.taker);
        self.members[link.taker].put(link.topic, partition, kept);
    }

    fn into_plan(self, peers: &[&Peer]) -> Plan {
        let mut plan = Plan::new();
        for (peer, holding) in peers.iter().zip(self.members) {
            let all = holding.kept.into_iter().chain(holding.got);
            let named = all.flat_map(|(topic, partitions)| {
                let name = self.topics[topic].0;
                partitions.into_iter().map(move |partition| TopicPartition::new(name.clone(), partition))
            });
            plan.entry(peer.id.clone()).or_default().extend(named);
        }
        plan
    }
}

impl Holding {
    fn put(&mut self, topic: usize, partition: i32, kept: bool) {
        let side = if kept { &mut self.kept } else { &mut self.got };
        self.load += usize::from(side.entry(topic).or_default().insert(partition));
    }

    /// The topics of which it holds a partition that may move; those of which it would lose nothing come first.
    fn topics(&self, movable: Movable) -> impl Iterator<Item = usize> {
        let kept = (movable == Movable::All).then_some(&self.kept);
        let holds = |(topic, partitions): (&usize, &BTreeSet<i32>)| (!partitions.is_empty()).then_some(*topic);
        self.got.iter().chain(kept.into_iter().flatten()).filter_map(holds)
    }

    /// Gives up one partition of a topic: rather one that returns to where it was, rather one that it did not keep, rather
    /// a high number.
    fn take(&mut self, topic: usize, movable: Movable, returns: impl Fn(&i32) -> bool) -> Option<i32> {
        let got = self.got.get(&topic).into_iter().flatten();
        let kept = self.kept.get(&topic).into_iter().flatten().filter(|_| movable == Movable::All);
        let free = got.map(|partition| (returns(partition), true, *partition));
        let (_, is_free, partition) = free.chain(kept.map(|partition| (false, false, *partition))).max()?;
        let side = if is_free { &mut self.got } else { &mut self.kept };
        self.load -= usize::from(side.get_mut(&topic).is_some_and(|held| held.remove(&partition)));
        Some(partition)
    }
}

fn links(reached: &BTreeMap<usize, Option<(usize, usize)>>, end: usize) -> Vec<Link> {
    let mut chain = Vec::new();
    let mut taker = end;
    while let Some(Some((giver, topic))) = reached.get(&taker).copied() {
        chain.push(Link { giver, topic, taker });
        taker = giver;
    }
    chain
}
