//! What a development broker is to be, before it starts.

use futures::FutureExt;
use futures::future::BoxFuture;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;

use super::groups::next_generation::Times;
use super::state::{Node, Shared};
use super::{DevBroker, server};
use crate::gather::Gather;
use crate::{Error, ErrorCode, Result};

/// Partitions of a topic that is created because a client named it.
const DEFAULT_PARTITIONS: i32 = 6;

/// Record bytes that the whole broker may hold: a broker that eats the machine's memory stops more than itself.
const DEFAULT_MEMORY_LIMIT: u64 = 4 << 30;

/// How long a KIP-848 member may be silent.
const DEFAULT_SESSION: Duration = Duration::from_secs(45);

/// How often it shows that it is alive: sooner than Kafka's 5 s, so that a group in a test settles soon.
const DEFAULT_HEARTBEAT: Duration = Duration::from_millis(500);

/// Where a node is that listens nowhere: an address for examples (RFC 5737), which no machine has.
pub(super) const NOBODY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 9092);

/// The settings of a [`DevBroker`].
#[derive(Clone, Debug)]
pub struct Builder {
    nodes: u16,
    listen: Option<String>,
    topics: Vec<(String, i32)>,
    settings: Settings,
}

/// What the running broker goes by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    pub(super) partitions: i32,
    pub(super) auto_create: bool,
    pub(super) memory_limit: u64,
    pub(super) first_join_wait: Duration,
    pub(super) group_protocols: GroupProtocols,
    pub(super) next_generation: Times,
}

/// Which group protocols the broker speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GroupProtocols {
    /// As before Apache Kafka 4.0.
    ClassicOnly,
    Both,
}

impl Builder {
    pub(super) fn new() -> Self {
        Self {
            nodes: 1,
            listen: Some("127.0.0.1:0".into()),
            topics: Vec::new(),
            settings: Settings {
                partitions: DEFAULT_PARTITIONS,
                auto_create: true,
                memory_limit: DEFAULT_MEMORY_LIMIT,
                first_join_wait: Duration::ZERO,
                group_protocols: GroupProtocols::Both,
                next_generation: Times {
                    session: DEFAULT_SESSION,
                    heartbeat: DEFAULT_HEARTBEAT,
                    assignment: Duration::ZERO,
                },
            },
        }
    }

    #[cfg(test)]
    pub(super) fn settings(&self) -> Settings {
        self.settings
    }

    /// How many nodes there are, each with a listener of its own (default 1).
    #[must_use]
    pub fn nodes(mut self, nodes: u16) -> Self {
        self.nodes = nodes;
        self
    }

    /// Where the first node listens (default `127.0.0.1:0`, a free port). The others take free ports of the same host.
    #[must_use]
    pub fn listen(mut self, address: impl Into<String>) -> Self {
        self.listen = Some(address.into());
        self
    }

    /// Listens nowhere: only [`DevBroker::dial`] and clients of [`DevBroker::config_inside`] reach the nodes, whose addresses are
    /// made up. Nothing on the machine can take the port of a node that is down.
    #[must_use]
    pub fn in_memory(mut self) -> Self {
        self.listen = None;
        self
    }

    /// How many partitions a topic has that is created because a client named it (default 6).
    #[must_use]
    pub fn partitions(mut self, partitions: i32) -> Self {
        self.settings.partitions = partitions;
        self
    }

    /// Whether a topic is created when a client first names it (default true, as Kafka's `auto.create.topics.enable`).
    #[must_use]
    pub fn auto_create(mut self, enabled: bool) -> Self {
        self.settings.auto_create = enabled;
        self
    }

    /// How many bytes of records the broker holds before it refuses more (default 4 GiB).
    #[must_use]
    pub fn memory_limit(mut self, bytes: u64) -> Self {
        self.settings.memory_limit = bytes;
        self
    }

    /// How long a group that was empty waits for more members before its first generation (default 0; Kafka's
    /// `group.initial.rebalance.delay.ms` is 3 s).
    #[must_use]
    pub fn first_join_wait(mut self, wait: Duration) -> Self {
        self.settings.first_join_wait = wait;
        self
    }

    /// How long a KIP-848 member may be silent before it is out of its group (default 45 s, as Kafka's
    /// `group.consumer.session.timeout.ms`). Members of classic groups say so themselves.
    #[must_use]
    pub fn group_session(mut self, timeout: Duration) -> Self {
        self.settings.next_generation.session = timeout;
        self
    }

    /// How often KIP-848 members are told to show that they are alive, in whole milliseconds (default 500 ms; Kafka's
    /// `group.consumer.heartbeat.interval.ms` is 5 s).
    #[must_use]
    pub fn group_heartbeat(mut self, interval: Duration) -> Self {
        self.settings.next_generation.heartbeat = interval;
        self
    }

    /// The least time between two assignments of a KIP-848 group (default 0; Kafka's
    /// `group.consumer.assignment.interval.ms` is 1 s, within which a newcomer is given nothing).
    #[must_use]
    pub fn group_assignment_interval(mut self, interval: Duration) -> Self {
        self.settings.next_generation.assignment = interval;
        self
    }

    /// A broker that does not know KIP-848, as before Apache Kafka 4.0: `group.protocol=auto` then joins as a classic member.
    #[must_use]
    pub fn classic_groups_only(mut self) -> Self {
        self.settings.group_protocols = GroupProtocols::ClassicOnly;
        self
    }

    /// A topic that is there from the start.
    #[must_use]
    pub fn topic(mut self, name: impl Into<String>, partitions: i32) -> Self {
        self.topics.push((name.into(), partitions));
        self
    }

    /// Starts the broker.
    ///
    /// # Errors
    /// [`ErrorCode::ConfigValue`] for no nodes, no partitions or an illegal topic name, [`ErrorCode::Connect`] if an address cannot be
    /// listened on.
    ///
    /// # Cancel safety
    /// Nothing is left behind if the returned future is dropped.
    pub async fn start(self) -> Result<DevBroker> {
        self.started().await
    }

    /// Boxed, so that it is compiled here and not with whoever awaits it.
    fn started(self) -> BoxFuture<'static, Result<DevBroker>> {
        let started = async move {
            if self.nodes == 0 || self.settings.partitions < 1 {
                return Err(Error::new(
                    ErrorCode::ConfigValue,
                    "a broker has at least one node, a topic one partition",
                ));
            }
            let listeners = self.listeners().await?;
            let nodes = (1..).zip(&listeners).map(|(id, (_, address))| (id, Node { address: *address, is_up: true }));
            let shared = Arc::new(Shared::new(self.settings, nodes.gather()));
            for (name, partitions) in &self.topics {
                shared.state().create(name, *partitions, BTreeMap::new())?;
            }
            Ok(DevBroker::new(shared, listeners.into_iter().map(|(listener, _)| listener)))
        };
        started.boxed()
    }

    /// One for each node, with its address.
    async fn listeners(&self) -> Result<Vec<(Option<TcpListener>, SocketAddr)>> {
        let Some(first) = &self.listen else {
            let made_up = |node| SocketAddr::new(NOBODY.ip(), NOBODY.port().wrapping_add(node));
            return Ok((0..self.nodes).map(|node| (None, made_up(node))).collect());
        };
        let mut listeners: Vec<(Option<TcpListener>, SocketAddr)> = Vec::new();
        for _ in 0..self.nodes {
            let host = listeners.first().map(|(_, first)| first.ip());
            let address = host.map_or_else(|| first.clone(), |host| SocketAddr::new(host, 0).to_string());
            let (listener, taken) = server::bind(&address).await?;
            listeners.push((Some(listener), taken));
        }
        Ok(listeners)
    }
}
