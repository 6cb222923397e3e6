//! A topic of the development broker, with its partitions and who leads them.

use std::sync::{Arc, Weak};

use litemap::LiteMap;
use tokio::sync::Notify;

use super::log::PartitionLog;
use super::topic_config::TopicConfig;
use crate::place::TopicId;
use crate::wire::kafka_error::KafkaError;

/// A topic.
#[derive(Debug)]
pub(super) struct Topic {
    pub(super) id: TopicId,
    pub(super) name: Arc<str>,
    pub(super) config: TopicConfig,
    pub(super) partitions: Vec<Partition>,
}

/// A partition. There is one copy of its log, whatever the number of replicas that are told.
#[derive(Debug)]
pub(super) struct Partition {
    /// The node that leads it; none while all its replicas are down.
    pub(super) leader: Option<i32>,
    pub(super) leader_epoch: i32,
    /// The nodes that would keep a copy, the preferred leader first.
    pub(super) replicas: Vec<i32>,
    pub(super) log: PartitionLog,
    waiting: Vec<Weak<Notify>>,
}

impl Topic {
    pub(super) fn partition(&self, index: i32) -> Option<&Partition> {
        self.partitions.get(usize::try_from(index).ok()?)
    }

    pub(super) fn partition_mut(&mut self, index: i32) -> Option<&mut Partition> {
        self.partitions.get_mut(usize::try_from(index).ok()?)
    }

    /// Whether the name is one that Kafka allows.
    pub(super) fn is_legal_name(name: &str) -> bool {
        let legal = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '.' | '_' | '-');
        (1..=249).contains(&name.len()) && name != "." && name != ".." && name.chars().all(legal)
    }
}

impl Partition {
    /// An empty partition on these nodes, led by the first.
    pub(super) fn new(replicas: Vec<i32>) -> Self {
        let mut log = PartitionLog::default();
        log.begin_epoch(0);
        Self { leader: replicas.first().copied(), leader_epoch: 0, replicas, log, waiting: Vec::new() }
    }

    /// Gives the partition to another leader, or to none. A leader that stays itself gets no new epoch.
    pub(super) fn lead(&mut self, leader: Option<i32>) {
        if self.leader == leader {
            return;
        }
        self.leader = leader;
        self.begin_epoch();
    }

    pub(super) fn begin_epoch(&mut self) {
        self.leader_epoch += 1;
        self.log.begin_epoch(self.leader_epoch);
        self.wake();
    }

    /// Checks the leader epoch that a client believes in, if it tells one (KIP-320).
    pub(super) fn check_epoch(&self, believed: i32) -> Result<(), KafkaError> {
        match believed {
            -1 => Ok(()),
            older if older < self.leader_epoch => Err(KafkaError::FencedLeaderEpoch),
            newer if newer > self.leader_epoch => Err(KafkaError::UnknownLeaderEpoch),
            _ => Ok(()),
        }
    }

    /// Has `waiter` notified at the next change. One that is gone is forgotten on the way.
    pub(super) fn watch(&mut self, waiter: &Arc<Notify>) {
        self.waiting.retain(|other| other.strong_count() > 0 && other.as_ptr() != Arc::as_ptr(waiter));
        self.waiting.push(Arc::downgrade(waiter));
    }

    /// Notifies those who wait for a change.
    pub(super) fn wake(&mut self) {
        for waiter in self.waiting.drain(..).filter_map(|waiter| waiter.upgrade()) {
            waiter.notify_one();
        }
    }
}

impl Drop for Partition {
    /// Who waits for a partition of a deleted topic finds out that it is gone.
    fn drop(&mut self) {
        self.wake();
    }
}

/// All topics, by name and by identity.
#[derive(Debug, Default)]
pub(super) struct Topics {
    by_name: LiteMap<Arc<str>, Topic>,
    names: LiteMap<TopicId, Arc<str>>,
}

impl Topics {
    pub(super) fn get(&self, name: &str) -> Option<&Topic> {
        self.by_name.get(name)
    }

    pub(super) fn get_mut(&mut self, name: &str) -> Option<&mut Topic> {
        self.by_name.get_mut(name)
    }

    pub(super) fn by_id(&self, id: TopicId) -> Option<&Topic> {
        self.by_name.get(self.names.get(&id)?)
    }

    pub(super) fn by_id_mut(&mut self, id: TopicId) -> Option<&mut Topic> {
        self.by_name.get_mut(self.names.get(&id)?)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Topic> {
        self.by_name.values()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Topic> {
        self.by_name.iter_mut().map(|(_, topic)| topic)
    }

    pub(super) fn partition_count(&self) -> usize {
        self.iter().map(|topic| topic.partitions.len()).sum()
    }

    pub(super) fn insert(&mut self, topic: Topic) {
        self.names.insert(topic.id, topic.name.clone());
        self.by_name.insert(topic.name.clone(), topic);
    }

    pub(super) fn remove(&mut self, name: &str) -> Option<Topic> {
        let topic = self.by_name.remove(name)?;
        self.names.remove(&topic.id);
        Some(topic)
    }
}
