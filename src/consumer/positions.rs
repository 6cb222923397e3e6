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
    async fn refuse_another_store(&self, topic: &Topic, partitions: &[i32]) -> Result<()> {
        let own = &self.store.identity().name;
        for (partition, committed) in self.offsets.read(&topic.name, partitions).await? {
            let Note::Store { name, version } = Note::read(&committed.text, committed.offset) else { continue };
            if name != *own {
                let group = self.offsets.group();
                let sentence = format!("group {group} belongs to the store {name} (version {version}), not to {own}");
                return Err(Error::new(ErrorCode::StoreForeign, sentence)
                    .at(Place::partition(&TopicPartition::new(topic.name.clone(), partition)))
                    .remedy("use that store, or give this one a group of its own"));
            }
        }
        Ok(())
    }
}

impl<O: Order, S: Store<O>> Positions for StorePositions<O, S> {
    fn read<'a>(&'a self, topic: &'a Topic, partitions: &'a [i32]) -> BoxFuture<'a, Result<BTreeMap<i32, Position>>> {
        async move {
            self.refuse_another_store(topic, partitions).await?;
            self.store.positions(topic).await
        }
        .boxed()
    }

    fn write<'a>(&'a self, topic: &'a Topic, start: Start) -> BoxFuture<'a, Result<Position>> {
        self.store.set_position(topic, start).boxed()
    }

    fn at_deleted(&self) -> AtDeleted {
        AtDeleted::Stop
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
