//! What the sender needs of a cluster, as a seam where tests put a scripted broker.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::Result;
use crate::cluster::{Cluster, Node, Purpose, View};
use crate::wire::connection::Connection;
use crate::wire::message::{ProduceRequest, ProduceResponse};

/// Where the leaders are, and ways to reach them.
pub(super) trait Brokers: Clone + Send + Sync + 'static {
    /// A way to one broker.
    type Link: Link;

    /// The latest metadata, and each newer one.
    fn views(&self) -> watch::Receiver<Arc<View>>;

    /// Asks for newer metadata.
    fn refresh(&self);

    /// Connects to a broker.
    fn link(&self, node: Node) -> impl Future<Output = Result<Self::Link>> + Send;
}

/// A way to one broker. Requests leave in the order of the first polls of their futures.
pub(super) trait Link: Clone + Send + Sync + 'static {
    /// Sends a request and waits for the answer.
    fn produce(
        &self,
        request: ProduceRequest,
        within: Duration,
    ) -> impl Future<Output = Result<ProduceResponse>> + Send + 'static;

    /// Whether it is of no more use.
    fn is_closed(&self) -> bool;

    /// Ends it: what is under way fails.
    fn close(&self);
}

impl Brokers for Cluster {
    type Link = Connection;

    fn views(&self) -> watch::Receiver<Arc<View>> {
        self.views()
    }

    fn refresh(&self) {
        self.refresh();
    }

    fn link(&self, node: Node) -> impl Future<Output = Result<Connection>> + Send {
        self.connection(node, Purpose::Produce)
    }
}

impl Link for Connection {
    fn produce(
        &self,
        request: ProduceRequest,
        within: Duration,
    ) -> impl Future<Output = Result<ProduceResponse>> + Send + 'static {
        self.call_within(request, within)
    }

    fn is_closed(&self) -> bool {
        self.is_closed()
    }

    fn close(&self) {
        self.close();
    }
}
