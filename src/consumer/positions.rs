//! Where positions are kept: in a store, or in Kafka.
//!
//! With a store its rows are the truth, read after the assignment (rule R3), and Kafka's offsets are only
//! looked at to see that no other store has the group. Without one, Kafka's offsets are the truth.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::FutureExt;
use futures::future::BoxFuture;
use litemap::LiteMap;

use super::claim::{Claim, NOT_BEGUN, Newer, Takeover};
use super::commit::{Committed, GroupOffsets, Note};
use crate::cluster::admin::groups::Commit;
use crate::gather::Gather;
use crate::order::Order;
use crate::place::{Place, TopicPartition};
use crate::store::{ADOPTED, Position, Settled, Start, Store, Topic};
use crate::wire::kafka_error::KafkaError;
use crate::{Error, ErrorCode, Result};

/// Where positions are kept.
pub(crate) trait Positions: Send + Sync {
    /// Whether this consumer may work for the group; asked before it joins, and before each further try.
    fn admit(&self) -> BoxFuture<'_, Result<()>>;

    /// Says beside the group's offsets whose these positions are, before their first effect. Returns what was refused.
    /// Nothing is said once there were more than so many losses.
    fn claim<'a>(
        &'a self,
        topic: &'a Topic,
        positions: &'a BTreeMap<i32, Position>,
        losses: u64,
    ) -> BoxFuture<'a, Result<Vec<(i32, Error)>>>;

    /// The positions of these partitions; those that never had one are left out.
    fn read<'a>(&'a self, topic: &'a Topic, partitions: &'a [i32]) -> BoxFuture<'a, Result<BTreeMap<i32, Position>>>;

    /// How far the group is by what it has committed. A store knows its own positions better than old commits of them,
    /// and a commit of an older topic of this name says nothing.
    fn reached<'a>(
        &'a self,
        topic: &'a Topic,
        committed: LiteMap<i32, Committed>,
    ) -> BoxFuture<'a, Result<LiteMap<i32, i64>>>;

    /// Writes the resolved start of a partition that never had a position, unless there were more than so many losses: a
    /// place that was found under an older membership may be behind what another member has committed since.
    fn write<'a>(&'a self, topic: &'a Topic, start: Start, losses: u64) -> BoxFuture<'a, Result<Position>>;

    /// What becomes of a partition whose log has lost what was to be read next.
    fn at_deleted(&self) -> AtDeleted;

    /// What a person does about a partition that cannot go on from where it stands.
    fn way_out(&self, at: &TopicPartition) -> String;
}

/// The way out where positions are in a store.
pub(crate) fn set_position(at: &TopicPartition) -> String {
    format!("once you know why, `orders positions set {} {} OFFSET --reason R --store W`", at.topic, at.partition)
}

/// What becomes of a partition whose log begins after its position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AtDeleted {
    /// It stops: a person decides.
    Stop,
    /// `auto.offset.reset` decides.
    Reset,
}

/// Positions in a store, beside the effects.
pub(crate) struct StorePositions<O, S> {
    store: Arc<S>,
    claim: Claim,
    /// Whether this process has claimed partitions: what is committed later than it has is not of its own past.
    has_worked: AtomicBool,
    order: PhantomData<fn() -> O>,
}

impl<O: Order, S: Store<O>> StorePositions<O, S> {
    pub(crate) fn new(store: Arc<S>, claim: Claim) -> Self {
        Self { store, claim, has_worked: AtomicBool::new(false), order: PhantomData }
    }

    /// The commits of later versions of this store. The store is read after them: it is never behind its own commits.
    async fn newer(&self, commits: &[Commit]) -> Result<Vec<Newer>> {
        let (mut newer, mut read) = (Vec::new(), None::<(Topic, BTreeMap<i32, Position>)>);
        for commit in commits {
            let Some((topic, version)) = self.claim.told_of(commit) else { continue };
            let positions = match &mut read {
                Some((known, positions)) if *known == topic => positions,
                other => &mut other.insert((topic.clone(), self.store.positions(&topic).await?)).1,
            };
            let own = positions.get(&commit.at.partition).cloned();
            if version > own.as_ref().map_or(0, |own| own.version) {
                newer.push(Newer { at: commit.at.clone(), committed: (version, commit.offset), own });
            }
        }
        Ok(newer)
    }

    /// The position of a partition that this store took over and has not begun yet, written as its own.
    async fn begin_adopted(&self, topic: &Topic, partition: i32, committed: &Committed) -> Result<Position> {
        let (next, leader_epoch) = (committed.offset, committed.leader_epoch);
        let reason = if next == 0 { REBUILT } else { ADOPTED }.to_owned();
        let start = Start { partition, expected: 0, token: fastrand::u128(..), next, leader_epoch, reason };
        self.store.set_position(topic, start).await.map_err(|error| match error.code() {
            ErrorCode::StoreConflict => error.retriable(),
            _ => error,
        })
    }
}

/// Why a position is where it is, for the audit.
const REBUILT: &str = "the beginning of the log";

impl<O: Order, S: Store<O>> Positions for StorePositions<O, S> {
    fn admit(&self) -> BoxFuture<'_, Result<()>> {
        async move {
            match self.claim.takeover() {
                Takeover::Refused => {
                    let commits = self.claim.demand().await?;
                    let newer = self.newer(&commits).await?;
                    self.claim.take_back(&newer, self.has_worked.load(Ordering::Relaxed)).await
                }
                Takeover::Adopt => {
                    let commits = self.claim.commits().await?;
                    let newer = self.newer(&commits).await?;
                    self.claim.adopt(commits, &newer).await
                }
                Takeover::Rebuild => {
                    let seen = self.claim.seen()?;
                    let own = self.store.positions(&Topic::new(seen.id, seen.name.clone())).await?;
                    self.claim.rebuild(&seen, &own).await
                }
            }
        }
        .boxed()
    }

    fn claim<'a>(
        &'a self,
        topic: &'a Topic,
        positions: &'a BTreeMap<i32, Position>,
        losses: u64,
    ) -> BoxFuture<'a, Result<Vec<(i32, Error)>>> {
        self.has_worked.store(true, Ordering::Relaxed);
        async move {
            let (partitions, epoch) = (positions.keys().copied().collect::<Vec<_>>(), self.claim.offsets.epoch());
            let mut left = match epoch {
                Some(epoch) => self.store.claim(topic, &partitions, epoch, false).await?,
                None => Vec::new(),
            };
            let refused = self.claim.stake(topic, positions, losses).await?;
            // The coordinator has taken this member's commit after the store had said who is there: that is no older epoch
            // then, but one of a group that was made anew, or of a member in whose place this one is.
            left.retain(|partition| refused.iter().all(|(other, _)| other != partition));
            if let Some(epoch) = epoch.filter(|_| !left.is_empty()) {
                tracing::warn!(partitions = ?left, epoch, "the group's epochs are not above those of the partitions' last claims");
                self.store.claim(topic, &left, epoch, true).await?;
            }
            Ok(refused)
        }
        .boxed()
    }

    fn read<'a>(&'a self, topic: &'a Topic, partitions: &'a [i32]) -> BoxFuture<'a, Result<BTreeMap<i32, Position>>> {
        async move {
            let committed = self.claim.offsets.read(&topic.name, partitions).await?;
            let mut positions = self.store.positions(topic).await?;
            for (partition, committed) in &committed {
                let at = TopicPartition::new(topic.name.clone(), *partition);
                self.claim.refuse_another(&at, committed.offset, &committed.text)?;
                let own = positions.get(partition);
                if let Some(sentence) = read_elsewhere(topic, *partition, committed, own) {
                    tracing::warn!(partition, "{sentence}");
                }
                if own.is_none() && is_not_begun(committed) {
                    positions.insert(*partition, self.begin_adopted(topic, *partition, committed).await?);
                }
                if let (Some(own), Note::Store { tried, tripped, .. }) =
                    (positions.get_mut(partition), Note::read(&committed.text, committed.offset))
                {
                    let is_open = |offset: i64| offset >= own.next && !own.settled.contains(offset);
                    own.tried = tried.into_iter().filter(|tried| is_open(tried.offset)).collect();
                    own.tripped = tripped.filter(|offset| is_open(*offset));
                }
            }
            Ok(positions)
        }
        .boxed()
    }

    fn reached<'a>(
        &'a self,
        topic: &'a Topic,
        committed: LiteMap<i32, Committed>,
    ) -> BoxFuture<'a, Result<LiteMap<i32, i64>>> {
        async move {
            let own = self.store.positions(topic).await?;
            let reached = committed.into_iter().filter_map(|(partition, committed)| {
                let reached = reached_by_store(&committed, own.get(&partition))?;
                Some((partition, reached))
            });
            Ok(reached.gather())
        }
        .boxed()
    }

    // Its version guards it.
    fn write<'a>(&'a self, topic: &'a Topic, start: Start, _losses: u64) -> BoxFuture<'a, Result<Position>> {
        self.store.set_position(topic, start).boxed()
    }

    fn at_deleted(&self) -> AtDeleted {
        AtDeleted::Stop
    }

    fn way_out(&self, at: &TopicPartition) -> String {
        set_position(at)
    }
}

/// Positions in Kafka, as the group's committed offsets.
pub(crate) struct KafkaPositions {
    offsets: Arc<GroupOffsets>,
}

impl KafkaPositions {
    pub(crate) fn new(offsets: Arc<GroupOffsets>) -> Self {
        Self { offsets }
    }
}

impl Positions for KafkaPositions {
    /// Members without a store may share a group with whomever they like.
    fn admit(&self) -> BoxFuture<'_, Result<()>> {
        async { Ok(()) }.boxed()
    }

    fn claim<'a>(
        &'a self,
        _topic: &'a Topic,
        _positions: &'a BTreeMap<i32, Position>,
        _losses: u64,
    ) -> BoxFuture<'a, Result<Vec<(i32, Error)>>> {
        async { Ok(Vec::new()) }.boxed()
    }

    fn read<'a>(&'a self, topic: &'a Topic, partitions: &'a [i32]) -> BoxFuture<'a, Result<BTreeMap<i32, Position>>> {
        async move {
            let committed = self.offsets.read(&topic.name, partitions).await?;
            let known = committed.into_iter().filter_map(|(partition, committed)| {
                let position = position(committed, topic);
                if position.is_none() {
                    tracing::warn!(topic = %topic.name, partition, "the commit is of an older topic of this name");
                }
                Some((partition, position?))
            });
            Ok(known.gather())
        }
        .boxed()
    }

    fn reached<'a>(
        &'a self,
        topic: &'a Topic,
        committed: LiteMap<i32, Committed>,
    ) -> BoxFuture<'a, Result<LiteMap<i32, i64>>> {
        let known = committed.into_iter();
        let known = known.filter_map(|(partition, committed)| Some((partition, position(committed, topic)?.next)));
        let reached = known.gather();
        async { Ok(reached) }.boxed()
    }

    fn write<'a>(&'a self, topic: &'a Topic, start: Start, losses: u64) -> BoxFuture<'a, Result<Position>> {
        async move {
            let Start { partition, next, leader_epoch, .. } = start;
            let text =
                Note::Topic { id: topic.id, settled: Settled::new(), tried: Vec::new(), tripped: None }.write(next);
            let commits = [(partition, Committed { offset: next, leader_epoch, text })].into_iter().gather();
            match self.offsets.write(&topic.name, &commits, Some(losses)).await?.remove(&partition) {
                None => Ok(Position { next, leader_epoch, ..Position::default() }),
                Some(error) => Err(refused(error, topic, partition)),
            }
        }
        .boxed()
    }

    fn at_deleted(&self) -> AtDeleted {
        AtDeleted::Reset
    }

    fn way_out(&self, at: &TopicPartition) -> String {
        let TopicPartition { topic, partition } = at;
        let group = self.offsets.group();
        format!(
            "once you know why, `kafka-consumer-groups --group {group} --topic {topic}:{partition} --reset-offsets \
             --to-offset OFFSET --execute`"
        )
    }
}

/// Whether a store claimed the partition and has not begun it.
fn is_not_begun(committed: &Committed) -> bool {
    matches!(Note::read(&committed.text, committed.offset), Note::Store { version: NOT_BEGUN, .. })
}

/// How far a commit says that a group with a store is, whose own position is this.
fn reached_by_store(committed: &Committed, own: Option<&Position>) -> Option<i64> {
    match Note::read(&committed.text, committed.offset) {
        Note::Store { .. } => own.map(|own| own.next),
        Note::None | Note::Topic { .. } => Some(committed.offset),
    }
}

/// What is told where somebody else committed another offset than the store's for the group: the store has the effects,
/// so it goes on from its own, or begins where it has none.
fn read_elsewhere(topic: &Topic, partition: i32, committed: &Committed, own: Option<&Position>) -> Option<String> {
    let is_ours = match Note::read(&committed.text, committed.offset) {
        // An older version is usual: commits follow the store.
        Note::Store { version, .. } => own.is_none_or(|own| version != own.version),
        Note::None | Note::Topic { .. } => false,
    };
    let (name, there, here) = (&topic.name, committed.offset, own.map_or(0, |own| own.next));
    if is_ours || there == here {
        return None;
    }
    let what = if own.is_none() {
        format!(
            "the offsets of {name}/{partition} up to {there} were read by a member of the group that does not feed this store, \
             or were passed over by hand: the store has nothing of this partition and begins it where `auto.offset.reset` \
             says; to leave them out"
        )
    } else if there > here {
        let between = there.saturating_sub(here);
        format!(
            "{between} offsets of {name}/{partition}, up to {there}, were read by a member of the group that does not feed \
             this store, or were passed over by hand: the store stands at {here} and applies them now; to leave them out"
        )
    } else {
        format!(
            "somebody set the group's offset in {name}/{partition} to {there}, but the store stands at {here} and goes on \
             from there; to move it"
        )
    };
    Some(format!("{what}, `orders positions set {name} {partition} {there} --reason R --store W`"))
}

/// The position that a commit means; `None` if it was made in another topic of this name (rule R11).
fn position(committed: Committed, topic: &Topic) -> Option<Position> {
    let (settled, tried, tripped) = match Note::read(&committed.text, committed.offset) {
        Note::Topic { id, .. } if id != topic.id => return None,
        Note::Topic { settled, tried, tripped, .. } => (settled, tried, tripped),
        Note::None | Note::Store { .. } => Default::default(),
    };
    #[cfg(test)]
    let settled = if crate::plant::is(crate::plant::Plant::SettledForgotten) { Settled::new() } else { settled };
    let leader_epoch = committed.leader_epoch;
    Some(Position { next: committed.offset, settled, leader_epoch, tried, tripped, ..Position::default() })
}

fn refused(error: KafkaError, topic: &Topic, partition: i32) -> Error {
    crate::cluster::refusal(error, "the first position was to be committed")
        .at(Place::partition(&TopicPartition::new(topic.name.clone(), partition)))
}

#[cfg(test)]
mod tests;
