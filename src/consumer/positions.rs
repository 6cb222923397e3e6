//! Where positions are kept: in a store, or in Kafka.
//!
//! With a store its rows are the truth, read after the assignment (rule R3), and Kafka's offsets are only
//! looked at to see that no other store has the group. Without one, Kafka's offsets are the truth.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;

use super::commit::{Committed, GroupOffsets, Note};
use crate::order::Order;
use crate::place::{Place, TopicPartition};
use crate::store::{Position, Settled, Start, Store, Topic};
use crate::wire::kafka_error::KafkaError;
use crate::{Error, ErrorCode, Result};

/// Where positions are kept.
pub(crate) trait Positions: Send + Sync {
    /// The positions of these partitions; those that never had one are left out.
    fn read<'a>(&'a self, topic: &'a Topic, partitions: &'a [i32]) -> BoxFuture<'a, Result<BTreeMap<i32, Position>>>;

    /// Writes the resolved start of a partition that never had a position.
    fn write<'a>(&'a self, topic: &'a Topic, start: Start) -> BoxFuture<'a, Result<Position>>;

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
    offsets: Arc<GroupOffsets>,
    order: PhantomData<fn() -> O>,
}

impl<O: Order, S: Store<O>> StorePositions<O, S> {
    pub(crate) fn new(store: Arc<S>, offsets: Arc<GroupOffsets>) -> Self {
        Self { store, offsets, order: PhantomData }
    }

    /// Refuses to work where the group's commits name another store: its effects are there.
    fn refuse_another_store(&self, topic: &Topic, committed: &BTreeMap<i32, Committed>) -> Result<()> {
        let own = &self.store.identity().name;
        for (partition, committed) in committed {
            let Note::Store { name, version } = Note::read(&committed.text, committed.offset) else { continue };
            if name != *own {
                let group = self.offsets.group();
                let sentence = format!("group {group} belongs to the store {name} (version {version}), not to {own}");
                return Err(Error::new(ErrorCode::StoreForeign, sentence)
                    .at(Place::partition(&TopicPartition::new(topic.name.clone(), *partition)))
                    .remedy("use that store, or give this one a group of its own"));
            }
        }
        Ok(())
    }
}

impl<O: Order, S: Store<O>> Positions for StorePositions<O, S> {
    fn read<'a>(&'a self, topic: &'a Topic, partitions: &'a [i32]) -> BoxFuture<'a, Result<BTreeMap<i32, Position>>> {
        async move {
            let committed = self.offsets.read(&topic.name, partitions).await?;
            self.refuse_another_store(topic, &committed)?;
            let positions = self.store.positions(topic).await?;
            for (partition, committed) in &committed {
                if let Some(position) = positions.get(partition)
                    && let Some(sentence) = reset_from_outside(topic, *partition, committed, position)
                {
                    tracing::warn!(partition, "{sentence}");
                }
            }
            Ok(positions)
        }
        .boxed()
    }

    fn write<'a>(&'a self, topic: &'a Topic, start: Start) -> BoxFuture<'a, Result<Position>> {
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
            Ok(known.collect())
        }
        .boxed()
    }

    fn write<'a>(&'a self, topic: &'a Topic, start: Start) -> BoxFuture<'a, Result<Position>> {
        async move {
            let Start { partition, next, leader_epoch, .. } = start;
            let text = Note::Topic { id: topic.id, settled: Settled::new() }.write(next);
            let commits = BTreeMap::from([(partition, Committed { offset: next, leader_epoch, text })]);
            match self.offsets.write(&topic.name, &commits).await?.remove(&partition) {
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

/// What is told where somebody else committed another offset than the store's for the group: the store has the effects,
/// so it goes on from its own.
fn reset_from_outside(topic: &Topic, partition: i32, committed: &Committed, position: &Position) -> Option<String> {
    let is_ours = match Note::read(&committed.text, committed.offset) {
        // An older version is usual: commits follow the store.
        Note::Store { version, .. } => version != position.version,
        Note::None | Note::Topic { .. } => false,
    };
    let (there, here) = (committed.offset, position.next);
    (!is_ours && there != here).then(|| {
        let name = &topic.name;
        format!(
            "somebody set the group's offset in {name}/{partition} to {there}, but the store stands at {here} and goes \
             on from there; to move it, `orders positions set {name} {partition} {there} --reason R --store W`"
        )
    })
}

/// The position that a commit means; `None` if it was made in another topic of this name (rule R11).
fn position(committed: Committed, topic: &Topic) -> Option<Position> {
    let settled = match Note::read(&committed.text, committed.offset) {
        Note::Topic { id, .. } if id != topic.id => return None,
        Note::Topic { settled, .. } => settled,
        Note::None | Note::Store { .. } => Settled::new(),
    };
    Some(Position { next: committed.offset, settled, leader_epoch: committed.leader_epoch, ..Position::default() })
}

fn refused(error: KafkaError, topic: &Topic, partition: i32) -> Error {
    crate::cluster::refusal(error, "the first position was to be committed")
        .at(Place::partition(&TopicPartition::new(topic.name.clone(), partition)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::place::TopicId;

    fn told(offset: i64, text: &str) -> Option<String> {
        let topic = Topic::new(TopicId::NONE, "orders");
        let committed = Committed { offset, leader_epoch: -1, text: text.to_owned() };
        reset_from_outside(&topic, 2, &committed, &Position { next: 40, version: 7, ..Position::default() })
    }

    #[test]
    fn an_offset_that_somebody_else_committed_is_told_with_the_command_that_follows_it() {
        for text in ["", "reset by an operator", "of1 store redb:0123 7"] {
            let sentence = told(30, text).unwrap();
            assert!(sentence.contains("`orders positions set orders 2 30 --reason R --store W`"), "{sentence}");
        }
    }

    #[test]
    fn our_own_commits_and_those_that_agree_are_not_told_of() {
        assert_eq!(told(30, "of1 store redb:0123 6"), None);
        assert_eq!(told(40, "of1 store redb:0123 7"), None);
        assert_eq!(told(40, ""), None);
    }
}
