//! What a development broker is to be, before it starts.

use std::net::SocketAddr;

use super::{DevBroker, server};
use crate::shutdown::Tasks;
use crate::{Error, ErrorCode, Result};

/// Partitions of a topic that is created because a client named it.
const DEFAULT_PARTITIONS: i32 = 6;

/// Record bytes that the whole broker may hold: a broker that eats the machine's memory stops more than itself.
const DEFAULT_MEMORY_LIMIT: u64 = 4 << 30;

/// The settings of a [`DevBroker`].
#[derive(Clone, Debug)]
pub struct Builder {
    nodes: u16,
    listen: String,
    partitions: i32,
    auto_create: bool,
    memory_limit: u64,
    topics: Vec<(String, i32)>,
}

impl Builder {
    pub(super) fn new() -> Self {
        Self {
            nodes: 1,
            listen: "127.0.0.1:0".into(),
            partitions: DEFAULT_PARTITIONS,
            auto_create: true,
            memory_limit: DEFAULT_MEMORY_LIMIT,
            topics: Vec::new(),
        }
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
        self.listen = address.into();
        self
    }

    /// How many partitions a topic has that is created because a client named it (default 6).
    #[must_use]
    pub fn partitions(mut self, partitions: i32) -> Self {
        self.partitions = partitions;
        self
    }

    /// Whether a topic is created when a client first names it (default true, as Kafka's `auto.create.topics.enable`).
    #[must_use]
    pub fn auto_create(mut self, enabled: bool) -> Self {
        self.auto_create = enabled;
        self
    }

    /// How many bytes of records the broker holds before it refuses more (default 4 GiB).
    #[must_use]
    pub fn memory_limit(mut self, bytes: u64) -> Self {
        self.memory_limit = bytes;
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
    /// [`ErrorCode::ConfigValue`] for no nodes or no partitions, [`ErrorCode::Connect`] if an address cannot be listened on.
    ///
    /// # Cancel safety
    /// Nothing is left behind if the returned future is dropped.
    pub async fn start(self) -> Result<DevBroker> {
        self.check()?;
        let tasks = Tasks::new();
        let mut addresses: Vec<SocketAddr> = Vec::new();
        for _ in 0..self.nodes {
            let at = addresses.first().map_or_else(|| self.listen.clone(), |first| format!("{}:0", first.ip()));
            addresses.push(server::listen(&at, &tasks).await?);
        }
        Ok(DevBroker { addresses, tasks })
    }

    fn check(&self) -> Result<()> {
        let few = self.topics.iter().find(|(_, partitions)| *partitions < 1);
        if self.nodes == 0 || self.partitions < 1 || few.is_some() {
            return Err(Error::new(ErrorCode::ConfigValue, "a broker has at least one node, a topic one partition"));
        }
        Ok(())
    }
}
