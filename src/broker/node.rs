//! Starting or stopping nodes while the broker runs.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use litemap::LiteMap;
use tokio::io::DuplexStream;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::builder::NOBODY;
use super::server;
use super::state::{Node, Shared};
use crate::shutdown::Tasks;
use crate::{Error, ErrorCode, Result};

/// How long stopping waits for a node's tasks. They only have to notice the signal.
const STOP_WITHIN: Duration = Duration::from_secs(5);

/// Where a node listens when it starts again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Port {
    Same,
    Another,
}

/// The tasks of the nodes that are up, and of the whole broker.
#[derive(Debug, Default)]
pub(super) struct Running {
    nodes: Mutex<LiteMap<i32, Tasks>>,
    broker: Tasks,
}

impl Running {
    /// Starts a task that runs as long as the broker.
    pub(super) fn spawn<F>(&self, task: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.broker.spawn(task(self.broker.stop_signal()));
    }

    fn tasks(&self) -> MutexGuard<'_, LiteMap<i32, Tasks>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn start(&self, shared: &Arc<Shared>, node: i32, listener: Option<TcpListener>) {
        self.tasks().insert(node, server::start(shared.clone(), node, listener));
    }

    pub(super) fn dial(&self, shared: &Arc<Shared>, node: i32) -> Result<DuplexStream> {
        let down = || Error::new(ErrorCode::Connect, format!("node {node} is not up")).retriable();
        Ok(server::dial(shared.clone(), node, self.tasks().get(&node).ok_or_else(down)?))
    }

    pub(super) async fn stop(&self, shared: &Arc<Shared>, node: i32) -> Result<()> {
        let known = known(shared, node)?;
        shared.state().set_node(node, Node { is_up: false, ..known });
        let tasks = self.tasks().remove(&node);
        if let Some(tasks) = tasks {
            tasks.finish(STOP_WITHIN).await;
        }
        shared.sessions().clear_node(node);
        Ok(())
    }

    pub(super) async fn resume(&self, shared: &Arc<Shared>, node: i32, port: Port) -> Result<()> {
        let known = known(shared, node)?;
        if known.is_up {
            return Err(Error::new(ErrorCode::ConfigValue, format!("node {node} is up")));
        }
        let (listener, address) = match known.address.ip() == NOBODY.ip() {
            true => (None, made_up(shared, known, port)),
            false => listen_again(known, port).await?,
        };
        shared.state().set_node(node, Node { address, is_up: true });
        self.start(shared, node, listener);
        Ok(())
    }

    pub(super) async fn finish(&self) {
        let all = std::mem::take(&mut *self.tasks());
        let all = all.values().chain([&self.broker]);
        futures::future::join_all(all.map(|tasks| tasks.finish(STOP_WITHIN))).await;
    }
}

fn known(shared: &Shared, node: i32) -> Result<Node> {
    let unknown = || Error::new(ErrorCode::ConfigValue, format!("there is no node {node}"));
    shared.state().nodes.get(&node).copied().ok_or_else(unknown)
}

async fn listen_again(known: Node, port: Port) -> Result<(Option<TcpListener>, SocketAddr)> {
    let address = match port {
        Port::Same => known.address,
        Port::Another => SocketAddr::new(known.address.ip(), 0),
    };
    let (listener, taken) = server::bind(&address.to_string()).await?;
    Ok((Some(listener), taken))
}

fn made_up(shared: &Shared, known: Node, port: Port) -> SocketAddr {
    match port {
        Port::Same => known.address,
        Port::Another => {
            let highest = shared.state().nodes.values().map(|node| node.address.port()).max();
            SocketAddr::new(known.address.ip(), highest.unwrap_or_default().wrapping_add(1))
        }
    }
}
