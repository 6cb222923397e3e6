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

mod builder;
mod server;

use std::net::SocketAddr;
use std::time::Duration;

pub use self::builder::Builder;
use crate::Result;
use crate::shutdown::Tasks;

/// How long [`DevBroker::shutdown`] waits for its tasks. They only have to notice the signal.
const SHUTDOWN_WITHIN: Duration = Duration::from_secs(5);

/// A running development broker. Dropping it tells it to stop; [`DevBroker::shutdown`] also waits until it has.
///
/// Its nodes are numbered from 1.
#[derive(Debug)]
pub struct DevBroker {
    addresses: Vec<SocketAddr>,
    tasks: Tasks,
}

impl DevBroker {
    /// Starts one node on a free port of 127.0.0.1 that creates topics of 6 partitions when they are first named.
    ///
    /// # Errors
    /// [`crate::ErrorCode::Connect`] if no port can be listened on.
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

    /// The addresses of all nodes, as `bootstrap.servers` wants them.
    #[must_use]
    pub fn bootstrap(&self) -> String {
        self.addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
    }

    /// Stops all nodes, closes their connections, and waits for that, at most five seconds.
    ///
    /// # Cancel safety
    /// The nodes stop even if the returned future is dropped.
    pub async fn shutdown(self) {
        self.tasks.finish(SHUTDOWN_WITHIN).await;
    }
}
