//! What a test does to a running broker's topics, logs and groups, beside what clients may ask for.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};

use super::DevBroker;
use super::groups::Committed;
use super::log::{Incoming, Stored};
use super::topic::Partition;
use crate::gather::Gather;
use crate::place::TopicId;
use crate::wire::record_batch::{BatchReader, set_place};
use crate::{Error, ErrorCode, Result};

/// Where an injected batch goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spot {
    /// Behind the last record.
    Next,
    /// At this offset, or behind the last record if that is later. What is between is a hole, as the log cleaner leaves it.
    At(i64),
}

impl DevBroker {
    /// Makes a topic with these settings, by Kafka's names.
    ///
    /// # Errors
    /// [`ErrorCode::ConfigValue`] if there is one of that name, the name is illegal, or a setting is not known.
    pub fn create_topic(&self, name: &str, partitions: i32, settings: &[(&str, &str)]) -> Result<TopicId> {
        let settings = settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        Ok(self.shared.state().create(name, partitions, settings.gather::<BTreeMap<_, _>>())?)
    }

    /// Deletes a topic with all that it holds.
    ///
    /// # Errors
    /// [`ErrorCode::UnknownTopic`] if there is no such topic.
    pub fn delete_topic(&self, name: &str) -> Result<()> {
        let deleted = self.shared.state().delete_topic(name);
        deleted.map(drop).ok_or_else(|| Error::new(ErrorCode::UnknownTopic, format!("there is no topic {name}")))
    }

    /// Gives a topic more partitions, until it has `count`.
    ///
    /// # Errors
    /// [`ErrorCode::UnknownTopic`] if there is no such topic, [`ErrorCode::ConfigValue`] if there would be too many.
    pub fn add_partitions(&self, topic: &str, count: i32) -> Result<()> {
        let mut state = self.shared.state();
        let known = state.topics.get(topic).map(|topic| topic.partitions.len());
        let unknown = || Error::new(ErrorCode::UnknownTopic, format!("there is no topic {topic}"));
        state.check_partitions(count, known.ok_or_else(unknown)?)?;
        state.grow_topic(topic, count);
        Ok(())
    }

    /// The first offset that a partition holds, and the one behind its last.
    ///
    /// # Errors
    /// [`ErrorCode::UnknownTopic`] if there is no such partition.
    pub fn offsets(&self, topic: &str, partition: i32) -> Result<std::ops::Range<i64>> {
        self.look(topic, partition, |partition| partition.log.start()..partition.log.end())
    }

    /// A partition's batches as a consumer would get them, oldest first.
    ///
    /// # Errors
    /// [`ErrorCode::UnknownTopic`] if there is no such partition.
    pub fn batches(&self, topic: &str, partition: i32) -> Result<Vec<Bytes>> {
        let whole = |batch: &Stored| {
            let mut bytes = BytesMut::from(&batch.prefix()[..]);
            bytes.extend_from_slice(&batch.body());
            bytes.freeze()
        };
        self.look(topic, partition, |partition| partition.log.read(0, i64::MAX).map(whole).collect())
    }

    /// Appends a batch that no client may write (a transaction's, a marker, one with holes) and returns its first offset. Producer ids in
    /// it are noted, but not judged.
    ///
    /// # Errors
    /// [`ErrorCode::Batch`] if the bytes are no whole batch, [`ErrorCode::UnknownTopic`] if there is no such partition.
    pub fn inject(&self, topic: &str, partition: i32, batch: Bytes, spot: Spot) -> Result<i64> {
        let none = || Error::new(ErrorCode::Batch, "there is no whole batch");
        // A producer of markers does not know the offset, and a base offset of its own would only be in the way.
        let mut bytes = BytesMut::from(&batch[..]);
        set_place(&mut bytes, 0, 0);
        let incoming = Incoming::new(&BatchReader::new(bytes.freeze()).next().ok_or_else(none)??);
        self.change(topic, partition, |partition| {
            let offset = match spot {
                Spot::Next => partition.log.end(),
                Spot::At(offset) => offset,
            };
            partition.log.inject(incoming, offset, partition.leader_epoch)
        })
    }

    /// Deletes a partition's records before `offset`, as retention does.
    ///
    /// # Errors
    /// [`ErrorCode::UnknownTopic`] if there is no such partition.
    pub fn delete_before(&self, topic: &str, partition: i32, offset: i64) -> Result<()> {
        self.change(topic, partition, |partition| partition.log.delete_before(offset))
    }

    /// Loses a partition's batches from the one that holds `offset` on and begins a new leader epoch, as an unclean election does.
    ///
    /// # Errors
    /// [`ErrorCode::UnknownTopic`] if there is no such partition.
    pub fn truncate(&self, topic: &str, partition: i32, offset: i64) -> Result<()> {
        self.change(topic, partition, |partition| {
            partition.log.truncate(offset);
            partition.begin_epoch();
        })
    }

    /// Begins a new leader epoch under the same leader.
    ///
    /// # Errors
    /// [`ErrorCode::UnknownTopic`] if there is no such partition.
    pub fn bump_epoch(&self, topic: &str, partition: i32) -> Result<()> {
        self.change(topic, partition, Partition::begin_epoch)
    }

    /// Forgets all fetch sessions.
    pub fn forget_fetch_sessions(&self) {
        self.shared.sessions().clear();
    }

    /// The offset that a group committed.
    #[must_use]
    pub fn committed(&self, group: &str, topic: &str, partition: i32) -> Option<i64> {
        let state = self.shared.state();
        let committed = state.groups.get(group)?.offsets.get(&(topic.to_owned(), partition))?;
        Some(committed.offset)
    }

    /// Commits an offset for a group, with a text beside it, whoever its members are.
    ///
    /// # Errors
    /// [`ErrorCode::UnknownTopic`] if there is no such partition.
    pub fn commit(&self, group: &str, topic: &str, partition: i32, offset: i64, text: &str) -> Result<()> {
        self.look(topic, partition, |_| ())?;
        let committed = Committed { offset, leader_epoch: -1, metadata: text.to_owned() };
        let mut state = self.shared.state();
        let group = state.groups.open(group).map_err(|error| Error::new(ErrorCode::Broker, error.meaning()))?;
        group.offsets.insert((topic.to_owned(), partition), committed);
        Ok(())
    }

    /// The text beside the offset that a group committed.
    #[must_use]
    pub fn committed_text(&self, group: &str, topic: &str, partition: i32) -> Option<String> {
        let state = self.shared.state();
        let committed = state.groups.get(group)?.offsets.get(&(topic.to_owned(), partition))?;
        Some(committed.metadata.clone())
    }

    /// The node that keeps a group.
    #[must_use]
    pub fn coordinator(&self, group: &str) -> Option<i32> {
        self.shared.state().coordinator(group)
    }

    /// Moves a group to another node, with its members and offsets. Requests that wait at the old one are refused.
    pub fn move_coordinator(&self, group: &str, node: i32) {
        self.shared.state().groups.move_to(group, node);
    }

    fn look<T>(&self, topic: &str, partition: i32, look: impl FnOnce(&Partition) -> T) -> Result<T> {
        let state = self.shared.state();
        let found = state.topics.get(topic).and_then(|topic| topic.partition(partition));
        found.map(look).ok_or_else(|| unknown(topic, partition))
    }

    pub(super) fn change<T>(&self, topic: &str, partition: i32, change: impl FnOnce(&mut Partition) -> T) -> Result<T> {
        let changed = self.shared.state().change(topic, partition, change);
        changed.ok_or_else(|| unknown(topic, partition))
    }
}

fn unknown(topic: &str, partition: i32) -> Error {
    Error::new(ErrorCode::UnknownTopic, format!("there is no partition {topic}/{partition}"))
}
