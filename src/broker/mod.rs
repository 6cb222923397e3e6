//! The in-process development broker: enough of Kafka for programs and tests to run without a cluster.
//!
//! It keeps everything **in memory** and forgets it when it ends: never for production.
//! It speaks to our own clients, to Kafka's console tools, to kafka-python and to librdkafka, over real sockets on loopback,
//! as one node or as several in one process. It names no client library: messages and batches are [`crate::wire`]'s.
//!
//! ```text
//!  socket -> server (one request at a time) -> faults -> one file an API -> state (topics, leaders) -> log (raw batches)
//!                                                                       \-> groups (offsets, membership)
//! ```
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! use orderflow::broker::DevBroker;
//! let broker = DevBroker::builder().nodes(3).topic("orders", 12).start().await?;
//! assert_eq!(broker.bootstrap().split(',').count(), 3);
//! broker.shutdown().await;
//! # Ok::<(), orderflow::Error>(()) }).unwrap();
//! ```

mod answer;
mod api_versions;
mod builder;
mod call;
mod clock;
mod consumer_group_describe;
mod consumer_group_heartbeat;
mod create_partitions;
mod create_topics;
mod delete_groups;
mod delete_records;
mod delete_topics;
mod describe_cluster;
mod describe_configs;
mod describe_groups;
mod dispatch;
mod faults;
mod fetch;
mod fetch_answer;
mod fetch_session;
mod find_coordinator;
mod frame;
mod groups;
mod heartbeat;
mod history;
mod init_producer_id;
mod join_group;
mod leave_group;
mod list_groups;
mod list_offsets;
mod log;
mod metadata;
mod node;
mod offset_commit;
mod offset_delete;
mod offset_fetch;
mod offset_for_leader_epoch;
mod produce;
#[cfg(test)]
mod sample;
mod server;
mod state;
mod sync_group;
mod topic;
mod topic_config;
mod verbs;

use futures::FutureExt;
use futures::future::BoxFuture;
use std::sync::Arc;

use tokio::io::DuplexStream;
use tokio::net::TcpListener;

pub use self::builder::Builder;
pub use self::faults::{Installed, Rule, Verdict};
pub use self::history::{Forgotten, Records};
use self::node::Running;
use self::state::Shared;
pub use self::verbs::Spot;
use crate::config::{Address, ClientConfig, Inside};
use crate::{Error, ErrorCode, Result};

/// A running development broker. Dropping it tells it to stop; [`DevBroker::shutdown`] also waits until it has.
///
/// Its nodes are numbered from 1.
#[derive(Debug)]
pub struct DevBroker {
    shared: Arc<Shared>,
    running: Arc<Running>,
}

impl DevBroker {
    /// Starts one node on a free port of 127.0.0.1 that creates topics of 6 partitions when they are first named.
    ///
    /// # Errors
    /// [`ErrorCode::Connect`] if no port can be listened on.
    ///
    /// # Cancel safety
    /// Nothing is left behind if the returned future is dropped.
    pub async fn start() -> Result<Self> {
        Self::builder().start().await
    }

    /// A broker to be configured before it starts.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::new()
    }

    fn new(shared: Arc<Shared>, listeners: impl Iterator<Item = Option<TcpListener>>) -> Self {
        tracing::info!("the development broker starts: it keeps everything in memory and is never for production");
        let running = Arc::new(Running::default());
        running.spawn(|stop| groups::clock::run(shared.clone(), stop));
        for (node, listener) in (1..).zip(listeners) {
            running.start(&shared, node, listener);
        }
        Self { shared, running }
    }

    /// The addresses of all nodes that are up, as `bootstrap.servers` wants them.
    #[must_use]
    pub fn bootstrap(&self) -> String {
        let state = self.shared.state();
        let addresses = state.live().map(|(_, node)| node.told().to_string());
        addresses.collect::<Vec<_>>().join(",")
    }

    /// The settings of a client of this broker; everything else has its default.
    #[must_use]
    pub fn config(&self) -> ClientConfig {
        ClientConfig::new(self.bootstrap())
    }

    /// A connection to a node that needs no socket. On a paused tokio clock everything that the broker waits for passes in virtual
    /// time: delays, throttles, sessions, long polls.
    ///
    /// # Errors
    /// [`ErrorCode::Connect`] if there is no such node or it is down.
    pub fn dial(&self, node: i32) -> Result<DuplexStream> {
        self.running.dial(&self.shared, node)
    }

    /// The settings of a client that reaches this broker without a socket. On a paused tokio clock everything between the two
    /// passes in virtual time; a client that outlives the broker cannot reach it any more.
    #[must_use]
    pub fn config_inside(&self) -> ClientConfig {
        let (shared, running) = (Arc::downgrade(&self.shared), Arc::downgrade(&self.running));
        let inside = Inside::new(move |address: &Address| {
            let nobody = || Error::new(ErrorCode::Connect, format!("{address} cannot be reached")).retriable();
            let (shared, running) = shared.upgrade().zip(running.upgrade()).ok_or_else(nobody)?;
            let (told, up) = (address.to_string(), shared.state().live().collect::<Vec<_>>());
            let node = up.into_iter().find(|(_, node)| node.told().to_string() == told).map(|(id, _)| id);
            running.dial(&shared, node.ok_or_else(nobody)?)
        });
        self.config().through(inside)
    }

    /// Puts a fault on requests until the returned guard is dropped. Of several rules the first that matches decides.
    pub fn install(&self, rule: Rule) -> Installed {
        self.shared.faults.install(rule)
    }

    /// Gives a partition to another leader, in a new leader epoch.
    ///
    /// # Errors
    /// [`ErrorCode::UnknownTopic`] if there is no such partition, [`ErrorCode::ConfigValue`] if the node does not keep it or is down.
    pub fn move_leader(&self, topic: &str, partition: i32, node: i32) -> Result<()> {
        let mut state = self.shared.state();
        let unknown = || Error::new(ErrorCode::UnknownTopic, format!("there is no partition {topic}/{partition}"));
        let found = state.topics.get(topic).and_then(|topic| topic.partition(partition)).ok_or_else(unknown)?;
        if !state.in_sync(found).contains(&node) {
            let message = format!("node {node} is down, or does not keep {topic}/{partition}");
            return Err(Error::new(ErrorCode::ConfigValue, message));
        }
        state.change(topic, partition, |partition| partition.lead(Some(node))).ok_or_else(unknown)
    }

    /// Stops a node: its connections are closed, and the partitions that it led go to others that keep them, or to nobody.
    ///
    /// # Errors
    /// [`ErrorCode::ConfigValue`] if there is no such node.
    ///
    /// # Cancel safety
    /// The node stops even if the returned future is dropped.
    pub async fn stop(&self, node: i32) -> Result<()> {
        self.running.stop(&self.shared, node).await
    }

    /// Starts a node that was stopped, at the address that it had.
    ///
    /// # Errors
    /// [`ErrorCode::ConfigValue`] if there is no such node or it is up, [`ErrorCode::Connect`] if its port is taken.
    ///
    /// # Cancel safety
    /// The node is either up or down if the returned future is dropped.
    pub async fn resume(&self, node: i32) -> Result<()> {
        self.running.resume(&self.shared, node, node::Port::Same).await
    }

    /// Stops a node and starts it again at the same address. What the broker keeps, it keeps.
    ///
    /// # Errors
    /// As [`DevBroker::stop`] and [`DevBroker::resume`].
    ///
    /// # Cancel safety
    /// The node may be down if the returned future is dropped.
    pub async fn restart(&self, node: i32) -> Result<()> {
        self.stop(node).await?;
        self.resume(node).await
    }

    /// Stops a node and starts it again on another free port, as an orchestrator does that gives a pod a new address.
    ///
    /// # Errors
    /// As [`DevBroker::restart`].
    ///
    /// # Cancel safety
    /// The node may be down if the returned future is dropped.
    pub async fn change_port(&self, node: i32) -> Result<()> {
        self.stop(node).await?;
        self.running.resume(&self.shared, node, node::Port::Another).await
    }

    /// Stops all nodes, closes their connections, and waits for that, at most five seconds.
    ///
    /// # Cancel safety
    /// The nodes stop even if the returned future is dropped.
    pub async fn shutdown(self) {
        self.finished().await;
    }

    /// Boxed, so that it is compiled here and not with whoever awaits it.
    fn finished(self) -> BoxFuture<'static, ()> {
        async move { self.running.finish().await }.boxed()
    }
}
