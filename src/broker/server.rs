//! Serves the connections of one node, one request at a time on each.
//!
//! ```text
//!  accept -> connection: frame -> header -> dispatch (faults, API) -> answer, in the order of the requests
//!                          ^                                            |
//!                          +--------------------------------------------+
//! ```

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, DuplexStream};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;

use super::call::{Call, Close, Served};
use super::dispatch;
use super::faults::Verdict;
use super::frame::Frames;
use super::state::Shared;
use crate::shutdown::Tasks;
use crate::wire::message::RequestHeader;
use crate::{Error, ErrorCode, Result};

/// Connections of one node at a time; more are closed at once.
const MAX_CONNECTIONS: usize = 2048;

/// How long a connection may be idle, or a peer not read its answer, as Kafka's `connections.max.idle.ms`.
const IDLE: Duration = Duration::from_secs(600);

/// How long the connections of a node may take to end: they only have to notice the signal.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);

/// Bytes on the way in each direction of a connection in memory.
const PIPE: usize = 64 << 10;

/// How long accepting rests after it failed, so that a lack of file descriptors does not become a busy loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Takes an address to listen on.
pub(super) async fn bind(address: &str) -> Result<(TcpListener, SocketAddr)> {
    let refused = |error: io::Error| {
        Error::new(ErrorCode::Connect, format!("the development broker cannot listen on {address}")).caused_by(error)
    };
    let listener = TcpListener::bind(address).await.map_err(refused)?;
    let taken = listener.local_addr().map_err(refused)?;
    Ok((listener, taken))
}

/// Serves `node` on this listener, if it has one. Dropping or finishing the tasks closes the listener and all its connections.
pub(super) fn start(shared: Arc<Shared>, node: i32, listener: Option<TcpListener>) -> Tasks {
    let tasks = Tasks::new();
    if let Some(listener) = listener {
        tasks.spawn(accept(shared, node, listener, tasks.stop_signal()));
    }
    tasks
}

/// A connection in memory to `node`, which lives as long as these tasks of the node do.
pub(super) fn dial(shared: Arc<Shared>, node: i32, tasks: &Tasks) -> DuplexStream {
    let (client, server) = tokio::io::duplex(PIPE);
    let (read, write) = tokio::io::split(server);
    let serving = serve(Connection { shared, node, peer: "/in-memory".into() }, read, write);
    let stop = tasks.stop_signal();
    tasks.spawn(async move {
        stop.run_until_cancelled(serving).await;
    });
    client
}

async fn accept(shared: Arc<Shared>, node: i32, listener: TcpListener, stop: CancellationToken) {
    let connections = Tasks::new();
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
        let Ok((stream, peer)) = accepted else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let Ok(place) = room.clone().try_acquire_owned() else {
            tracing::warn!(node, %peer, "closed at once: there are {MAX_CONNECTIONS} connections");
            continue;
        };
        let serving =
            serve_tcp(Connection { shared: shared.clone(), node, peer: format!("/{}", peer.ip()).into() }, stream);
        let stop = connections.stop_signal();
        connections.spawn(async move {
            stop.run_until_cancelled(serving).await;
            drop(place);
        });
    }
    // The listener's port must be free before the connections end, so that a restart can take it.
    drop(listener);
    connections.finish(CLOSE_WITHIN).await;
}

struct Connection {
    shared: Arc<Shared>,
    node: i32,
    peer: Arc<str>,
}

impl Connection {
    fn call(&self, frame: Bytes, waiter: &Arc<Notify>) -> std::result::Result<Call, Close> {
        let (header, body) = RequestHeader::decode(frame)?;
        let unknown = || Close::Unanswerable(format!("API {} is not served", header.api_key));
        let api = header.api().ok_or_else(unknown)?;
        tracing::trace!(node = self.node, %api, version = header.api_version, client = header.client_id, "request");
        let (shared, node, peer, waiter) = (self.shared.clone(), self.node, self.peer.clone(), waiter.clone());
        Ok(Call { shared, node, peer, api, header, body, waiter })
    }
}

async fn serve_tcp(connection: Connection, mut stream: TcpStream) {
    // Without this a small answer waits for the peer's delayed acknowledgement of the one before.
    let _ = stream.set_nodelay(true);
    let (read, write) = stream.split();
    serve(connection, read, write).await;
}

async fn serve<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(connection: Connection, read: R, mut write: W) {
    let mut frames = Frames::new(read);
    let waiter = Arc::new(Notify::new());
    while let Ok(Ok(Some(frame))) = tokio::time::timeout(IDLE, frames.next()).await {
        let served = match connection.call(frame, &waiter) {
            Ok(call) => tokio::select! {
                biased;
                served = dispatch::serve(call) => served,
                () = frames.hang_up() => return,
            },
            Err(close) => Err(close),
        };
        match served {
            Ok(served) => {
                if !send(served, &mut write, &mut frames).await {
                    return;
                }
            }
            Err(Close::Fault(Verdict::Silence)) => return frames.discard().await,
            Err(Close::Fault(_)) => return,
            Err(Close::Unanswerable(why)) => {
                tracing::warn!(node = connection.node, peer = &*connection.peer, why, "a connection is closed");
                return;
            }
        }
    }
}

/// Sends an answer as the faults let it. False when the connection is to be closed.
async fn send<R, W>(served: Served, write: &mut W, frames: &mut Frames<R>) -> bool
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    match served.ruling.verdict {
        Verdict::CutAfter => return false,
        Verdict::SilenceAfter => {
            frames.discard().await;
            return false;
        }
        Verdict::DelayAnswer(time) => tokio::time::sleep(time).await,
        Verdict::HoldAnswer => served.ruling.uninstalled().await,
        _ => {}
    }
    if let Some(answer) = served.answer {
        let Ok(mut bytes) = answer.finish() else { return false };
        if !matches!(tokio::time::timeout(IDLE, write.write_all_buf(&mut bytes)).await, Ok(Ok(()))) {
            return false;
        }
    }
    if let Verdict::Throttle(time) = served.ruling.verdict {
        tokio::time::sleep(time).await;
    }
    true
}
