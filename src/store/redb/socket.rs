//! The Unix socket beside a store, on which the process that holds it answers others.
//!
//! ```text
//!  -> {"verify":null} or {"stock":{"products":["02758"]}}        one line, at most 4 MB
//!  -> {"discard":{"id":"...","reason":"..."}}                   an operation, likewise
//!  <- {"row":{"stock":{...}}}                                    a line a row
//!  <- {"end":null} or {"error":{"code":"STO-FOREIGN","message":"..."}}
//! ```
//! Only the same user may connect (mode 0600). Whoever holds the store's lock may replace the socket
//! of a process that was killed; anything else of that name is left alone.

use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::page::page;
use super::shared::Shared;
use crate::store::{BackOffice, Operation, Query, Row};
use crate::{Error, ErrorCode, Result};

/// How many others may ask at a time; more wait to be accepted.
const CALLERS: usize = 8;
/// The longest question: an operation may bring a mended order.
const QUESTION_BYTES: u64 = 4 << 20;
/// The longest row: a dead letter with its record.
const ROW_BYTES: u64 = 64 << 20;
/// How many rows a caller takes at a time.
const ROWS_AT_ONCE: usize = 1_000;
/// How long a process is waited for that should answer a connection, or ask after it.
const HELLO: Duration = Duration::from_secs(5);
/// How long a row is waited for: an audit reads everything before its only row.
const ANSWER: Duration = Duration::from_secs(900);
/// How long a page may wait for a caller that does not read.
const PATIENCE: Duration = Duration::from_secs(900);
/// The pause after a connection could not be accepted, as when file descriptors have run out.
const PAUSE: Duration = Duration::from_millis(100);

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Row(Box<Row>),
    End(()),
    Error { code: String, message: String },
}

/// Where the socket of a store is.
pub(super) fn socket_path(store: &Path) -> PathBuf {
    let mut name = store.as_os_str().to_owned();
    name.push(".sock");
    name.into()
}

/// The socket beside a store, made by the process that holds the store's lock.
///
/// # Errors
/// The path is too long for a socket, or something else has its name.
pub(super) fn listen(path: &Path) -> io::Result<UnixListener> {
    let address = socket2::SockAddr::unix(path)?;
    match std::fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => std::fs::remove_file(path)?,
        Ok(_) => return Err(io::Error::new(io::ErrorKind::AlreadyExists, "something else has the socket's name")),
        Err(_) => {}
    }
    let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None)?;
    socket.bind(&address)?;
    // Nobody can connect before it listens, and then the mode is set.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    socket.listen(CALLERS as i32)?;
    socket.set_nonblocking(true)?;
    UnixListener::from_std(socket.into())
}

/// Who answers what.
#[derive(Clone)]
pub(super) struct Desk {
    pub(super) shared: Arc<Shared>,
    pub(super) office: Arc<dyn BackOffice>,
}

/// Answers until it is told to stop; then the socket is removed.
pub(super) async fn serve(desk: Desk, listener: UnixListener, path: PathBuf, stop: CancellationToken) {
    let ours = std::fs::symlink_metadata(&path).map(|found| (found.dev(), found.ino())).ok();
    let free = Arc::new(Semaphore::new(CALLERS));
    let mut callers = JoinSet::new();
    let serving = async {
        loop {
            let Ok(permit) = Arc::clone(&free).acquire_owned().await else { return };
            while callers.try_join_next().is_some() {}
            let Ok((stream, _)) = listener.accept().await else {
                tokio::time::sleep(PAUSE).await;
                continue;
            };
            let desk = desk.clone();
            callers.spawn(async move {
                if let Err(error) = answer(desk, BufReader::new(stream)).await {
                    tracing::debug!(%error, "a caller of the store's socket went away");
                }
                drop(permit);
            });
        }
    };
    let _ = stop.run_until_cancelled(serving).await;
    callers.shutdown().await;
    // While the listener is open its inode cannot be another's, so a socket that took its place is left alone.
    let now = std::fs::symlink_metadata(&path).map(|found| (found.dev(), found.ino())).ok();
    if now.is_some() && now == ours && std::fs::remove_file(&path).is_err() {
        tracing::debug!(path = %path.display(), "the store's socket was not removed");
    }
    drop(listener);
}

async fn answer(desk: Desk, mut stream: BufReader<UnixStream>) -> io::Result<()> {
    let Desk { shared, office } = desk;
    let mut question = Vec::new();
    timeout(HELLO, (&mut stream).take(QUESTION_BYTES).read_until(b'\n', &mut question)).await??;
    let query: Query = match serde_json::from_slice(&question) {
        Ok(query) => query,
        // A process that only looks whether somebody answers says nothing.
        Err(_) if question.is_empty() => return Ok(()),
        Err(error) if error.is_data() && serde_json::from_slice::<Operation>(&question).is_ok() => {
            return operate(&*office, &question, &mut stream).await;
        }
        Err(error) => return send(&mut stream, &[refusal("the question cannot be read", &error)]).await,
    };
    let query = Arc::new(query);
    let mut cursor = None;
    loop {
        let (asked, of) = (Arc::clone(&query), Arc::clone(&shared));
        let read = tokio::task::spawn_blocking(move || page(&of, &asked, cursor.as_ref())).await;
        let (mut lines, next) = match read.map_err(io::Error::other)? {
            Ok(page) => (page.rows.into_iter().map(|row| Line::Row(Box::new(row))).collect(), page.next),
            Err(error) => {
                let code = error.code().as_str().to_owned();
                (vec![Line::Error { code, message: error.to_string() }], None)
            }
        };
        if next.is_none() && !matches!(lines.last(), Some(Line::Error { .. })) {
            lines.push(Line::End(()));
        }
        send(&mut stream, &lines).await?;
        cursor = next;
        if cursor.is_none() {
            return Ok(());
        }
    }
}

/// Does what an operator asks for, and tells what was done.
async fn operate(office: &dyn BackOffice, question: &[u8], stream: &mut BufReader<UnixStream>) -> io::Result<()> {
    let operation: Operation = serde_json::from_slice(question).map_err(io::Error::other)?;
    let lines: Vec<Line> = match office.operate(operation).await {
        Ok(rows) => rows.into_iter().map(|row| Line::Row(Box::new(row))).chain([Line::End(())]).collect(),
        Err(error) => vec![Line::Error { code: error.code().as_str().to_owned(), message: error.to_string() }],
    };
    send(stream, &lines).await
}

fn refusal(sentence: &str, cause: &dyn std::error::Error) -> Line {
    Line::Error { code: ErrorCode::Protocol.as_str().to_owned(), message: format!("{sentence}: {cause}") }
}

async fn send(stream: &mut BufReader<UnixStream>, lines: &[Line]) -> io::Result<()> {
    let mut bytes = Vec::new();
    for line in lines {
        serde_json::to_writer(&mut bytes, line).map_err(io::Error::other)?;
        bytes.push(b'\n');
    }
    timeout(PATIENCE, stream.write_all(&bytes)).await?
}

/// A process that asks.
#[derive(Debug)]
pub(super) struct Caller {
    stream: BufReader<UnixStream>,
    ended: bool,
}

impl Caller {
    /// Connects to the process that holds a store.
    pub(super) async fn connect(socket: &Path) -> Result<Self> {
        let stream = timeout(HELLO, UnixStream::connect(socket)).await.map_err(unreachable)?.map_err(unreachable)?;
        Ok(Self { stream: BufReader::new(stream), ended: false })
    }

    pub(super) async fn ask(&mut self, query: &impl Serialize) -> Result<()> {
        let mut question = serde_json::to_vec(query).map_err(unreachable)?;
        question.push(b'\n');
        timeout(HELLO, self.stream.write_all(&question)).await.map_err(unreachable)?.map_err(unreachable)
    }

    /// Some rows; `None`: there are no more.
    pub(super) async fn page(&mut self) -> Result<Option<Vec<Row>>> {
        if self.ended {
            return Ok(None);
        }
        let mut rows = Vec::new();
        while rows.len() < ROWS_AT_ONCE {
            match self.line().await? {
                Line::Row(row) => rows.push(*row),
                Line::Error { code, message } => return Err(told(&code, message)),
                Line::End(()) => {
                    self.ended = true;
                    break;
                }
            }
        }
        Ok(Some(rows))
    }

    async fn line(&mut self) -> Result<Line> {
        let mut bytes = Vec::new();
        let mut bounded = (&mut self.stream).take(ROW_BYTES);
        timeout(ANSWER, bounded.read_until(b'\n', &mut bytes)).await.map_err(unreachable)?.map_err(unreachable)?;
        serde_json::from_slice(&bytes).map_err(unreachable)
    }
}

fn unreachable(cause: impl Into<crate::BoxError>) -> Error {
    Error::new(ErrorCode::StoreIo, "the process that holds the store does not answer").caused_by(cause).retriable()
}

/// The error that the other process told.
fn told(code: &str, message: String) -> Error {
    let known = [
        ErrorCode::StoreForeign,
        ErrorCode::StoreCorrupt,
        ErrorCode::Closed,
        ErrorCode::Protocol,
        ErrorCode::UnknownTopic,
        ErrorCode::Input,
        ErrorCode::ConfigValue,
        ErrorCode::ConfigUnsupported,
    ];
    let code = known.into_iter().find(|known| known.as_str() == code).unwrap_or(ErrorCode::StoreIo);
    let sentence = message.strip_prefix(&format!("{code}: ")).map(ToOwned::to_owned);
    Error::new(code, sentence.unwrap_or(message))
}
