//! What the broker knows: nodes, topics, groups, and how much it holds.
//!
//! As in the cluster that it stands for, one state is seen by all nodes. One lock guards it; no file holds the lock across an await, and
//! checksums are computed before it is taken.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use litemap::LiteMap;
use tokio::time::Instant;

use super::builder::Settings;
use super::faults::Faults;
use super::fetch_session::Sessions;
use super::groups::Groups;
use super::topic::{Partition, Topic, Topics};
use super::topic_config::TopicConfig;
use crate::place::TopicId;
use crate::wire::kafka_error::KafkaError;
use crate::{Error, ErrorCode};

/// The name of every development cluster.
pub(super) const CLUSTER_ID: &str = "orderflow-dev-broker";

/// Partitions of all topics together, so that one request cannot take the machine's memory.
const MAX_PARTITIONS: usize = 100_000;

/// What all connections share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) settings: Settings,
    pub(super) faults: Arc<Faults>,
    sessions: Mutex<Sessions>,
    started: Instant,
    state: Mutex<State>,
}

/// What changes.
#[derive(Debug)]
pub(super) struct State {
    pub(super) nodes: LiteMap<i32, Node>,
    pub(super) topics: Topics,
    pub(super) groups: Groups,
    /// Record bytes held by all logs.
    pub(super) held: u64,
    next_producer_id: i64,
    random: fastrand::Rng,
}

/// One node.
#[derive(Clone, Copy, Debug)]
pub(super) struct Node {
    pub(super) address: SocketAddr,
    pub(super) is_up: bool,
}

/// Why a topic cannot be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) error: KafkaError,
    pub(super) message: String,
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::new(ErrorCode::ConfigValue, refusal.message)
    }
}

impl Node {
    /// The address that clients are told. Where it listens on every address, loopback is the one that is sure.
    pub(super) fn told(&self) -> SocketAddr {
        let ip = match self.address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        SocketAddr::new(ip, self.address.port())
    }
}

impl Refusal {
    pub(super) fn new(error: KafkaError, message: impl Into<String>) -> Self {
        Self { error, message: message.into() }
    }
}

impl Shared {
    pub(super) fn new(settings: Settings, nodes: LiteMap<i32, Node>) -> Self {
        let random = fastrand::Rng::new();
        let groups = Groups::new(settings.first_join_wait, settings.next_generation);
        let state = State { nodes, topics: Topics::default(), groups, held: 0, next_producer_id: 1000, random };
        let (faults, sessions, started) = (Arc::default(), Mutex::default(), Instant::now());
        Self { settings, faults, sessions, started, state: Mutex::new(state) }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere leaves the state as it was between two requests, or the test that caused it has failed anyway.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The time since the broker started.
    pub(super) fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// The instant at this time since the broker started.
    pub(super) fn time(&self, since: Duration) -> Instant {
        self.started + since
    }

    pub(super) fn sessions(&self) -> MutexGuard<'_, Sessions> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// A producer id that nobody has.
    pub(super) fn new_producer_id(&mut self) -> i64 {
        self.next_producer_id += 1;
        self.next_producer_id
    }

    /// Where names come from that must differ.
    pub(super) fn random(&mut self) -> &mut fastrand::Rng {
        &mut self.random
    }

    /// The node that keeps a group: the one that its name falls to, or the next that is up.
    pub(super) fn coordinator(&self, group: &str) -> Option<i32> {
        if let Some(moved) = self.groups.moved_to(group).filter(|node| self.is_up(*node)) {
            return Some(moved);
        }
        let hash = group.bytes().fold(0usize, |hash, byte| hash.wrapping_mul(31).wrapping_add(byte.into()));
        let order = self.nodes.keys().copied().cycle().skip(hash % self.nodes.len().max(1)).take(self.nodes.len());
        order.into_iter().find(|node| self.is_up(*node))
    }

    /// Whether `node` keeps the group.
    pub(super) fn check_coordinator(&self, node: i32, group: &str) -> Result<(), KafkaError> {
        match self.coordinator(group) {
            _ if group.is_empty() => Err(KafkaError::InvalidGroupId),
            Some(coordinator) if coordinator == node => Ok(()),
            Some(_) | None => Err(KafkaError::NotCoordinator),
        }
    }

    /// Nodes that are up.
    pub(super) fn live(&self) -> impl Iterator<Item = (i32, Node)> {
        self.nodes.iter().filter(|(_, node)| node.is_up).map(|(id, node)| (*id, *node))
    }

    fn is_up(&self, node: i32) -> bool {
        self.nodes.get(&node).is_some_and(|node| node.is_up)
    }

    /// The node that takes administrative requests.
    pub(super) fn controller(&self) -> i32 {
        self.live().next().map_or(-1, |(id, _)| id)
    }

    /// Replicas that a topic has by default: three where there are as many nodes, as most clusters have.
    pub(super) fn default_replication(&self) -> usize {
        self.nodes.len().min(3)
    }

    /// The replicas of partition `index`, spread so that each node leads its share.
    fn replicas(&self, index: usize, replication: usize) -> Vec<i32> {
        self.nodes.keys().copied().cycle().skip(index % self.nodes.len().max(1)).take(replication).collect()
    }

    /// Makes a topic.
    pub(super) fn create_topic(
        &mut self,
        name: &str,
        partitions: i32,
        replication: usize,
        config: TopicConfig,
    ) -> Result<TopicId, Refusal> {
        self.check_new_topic(name, partitions, replication)?;
        let name: Arc<str> = name.into();
        let count = usize::try_from(partitions).unwrap_or_default();
        let partitions = (0..count).map(|index| Partition::new(self.replicas(index, replication))).collect();
        let id = self.new_topic_id();
        self.topics.insert(Topic { id, name: name.clone(), config, partitions });
        self.settle_leaders();
        Ok(id)
    }

    pub(super) fn check_new_topic(&self, name: &str, partitions: i32, replication: usize) -> Result<(), Refusal> {
        if !Topic::is_legal_name(name) {
            let message =
                format!("Topic name `{name}` is illegal: 1 to 249 of ASCII letters, digits, '.', '_' and '-'.");
            return Err(Refusal::new(KafkaError::InvalidTopicException, message));
        }
        if self.topics.get(name).is_some() {
            return Err(Refusal::new(KafkaError::TopicAlreadyExists, format!("Topic '{name}' already exists.")));
        }
        if !(1..=self.nodes.len()).contains(&replication) {
            let message = format!("Replication factor {replication} with {} nodes.", self.nodes.len());
            return Err(Refusal::new(KafkaError::InvalidReplicationFactor, message));
        }
        self.check_partitions(partitions, 0)
    }

    /// Whether a topic that has `present` partitions may have `wanted`.
    pub(super) fn check_partitions(&self, wanted: i32, present: usize) -> Result<(), Refusal> {
        let refused = |message: String| Err(Refusal::new(KafkaError::InvalidPartitions, message));
        let Some(wanted) = usize::try_from(wanted).ok().filter(|wanted| *wanted > 0) else {
            return refused("Number of partitions must be larger than 0.".into());
        };
        if self.topics.partition_count().saturating_sub(present).saturating_add(wanted) > MAX_PARTITIONS {
            return refused(format!("The development broker has {MAX_PARTITIONS} partitions at most."));
        }
        Ok(())
    }

    /// Adds partitions to a topic until it has `count`.
    pub(super) fn grow_topic(&mut self, name: &str, count: i32) {
        let Some(topic) = self.topics.get(name) else { return };
        let present = topic.partitions.len();
        let replication = topic.partitions.first().map_or(1, |partition| partition.replicas.len());
        let wanted = usize::try_from(count).unwrap_or_default();
        let more: Vec<_> = (present..wanted).map(|index| Partition::new(self.replicas(index, replication))).collect();
        if let Some(topic) = self.topics.get_mut(name) {
            topic.partitions.extend(more);
        }
        self.settle_leaders();
    }

    /// Changes a partition, keeps count of what the broker holds, and wakes those who wait for it.
    pub(super) fn change<T>(&mut self, topic: &str, index: i32, change: impl FnOnce(&mut Partition) -> T) -> Option<T> {
        let topic = self.topics.get_mut(topic)?;
        let keeps = topic.config.retention_bytes;
        let partition = topic.partition_mut(index)?;
        let before = partition.log.bytes();
        let changed = change(partition);
        if let Some(keeps) = keeps {
            partition.log.shrink_to(keeps);
        }
        partition.wake();
        self.held = (self.held + partition.log.bytes()).saturating_sub(before);
        Some(changed)
    }

    /// Makes a topic with the broker's defaults and these settings.
    pub(super) fn create(
        &mut self,
        name: &str,
        partitions: i32,
        config: std::collections::BTreeMap<String, String>,
    ) -> Result<TopicId, Refusal> {
        let config = TopicConfig::new(config).map_err(|why| Refusal::new(KafkaError::InvalidConfig, why))?;
        self.create_topic(name, partitions, self.default_replication(), config)
    }

    /// Deletes a topic with all that it holds.
    pub(super) fn delete_topic(&mut self, name: &str) -> Option<Topic> {
        let topic = self.topics.remove(name)?;
        self.groups.forget_topic(name);
        self.held -= topic.partitions.iter().map(|partition| partition.log.bytes()).sum::<u64>();
        Some(topic)
    }

    fn new_topic_id(&mut self) -> TopicId {
        let mut id = [0; 16];
        self.random.fill(&mut id);
        // Version 4, variant 1, as every Kafka client expects of a UUID.
        let [_, _, _, _, _, _, version, _, variant, ..] = &mut id;
        (*version, *variant) = (*version & 0x0f | 0x40, *variant & 0x3f | 0x80);
        TopicId::new(id)
    }

    /// The replicas that are up.
    pub(super) fn in_sync(&self, partition: &Partition) -> Vec<i32> {
        partition.replicas.iter().copied().filter(|node| self.is_up(*node)).collect()
    }

    /// Notes that a node is up or down, and has the partitions led by nodes that are up, as far as there are any.
    pub(super) fn set_node(&mut self, id: i32, node: Node) {
        self.nodes.insert(id, node);
        self.settle_leaders();
    }

    fn settle_leaders(&mut self) {
        let nodes = &self.nodes;
        let is_up = |node: &i32| nodes.get(node).is_some_and(|node| node.is_up);
        for partition in self.topics.iter_mut().flat_map(|topic| &mut topic.partitions) {
            if !partition.leader.as_ref().is_some_and(is_up) {
                let next = partition.replicas.iter().find(|node| is_up(node)).copied();
                partition.lead(next);
            }
        }
    }
}
