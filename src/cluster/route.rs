//! The open connections: one a node and purpose.
//!
//! A broker answers one connection in order, so that a long poll holds up all behind it: purposes that must not wait
//! for each other have connections of their own.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use litemap::LiteMap;
use tokio::time::Instant;

use super::View;
use crate::backoff::Backoff;
use crate::config::{Address, ClientConfig, properties};
use crate::error::{Error, ErrorCode, Result};
use crate::wire::connection::{Connection, ConnectionSettings};

/// A broker's number.
pub type Node = i32;

/// The node of an address that was given, not learnt: its number is unknown.
const BOOTSTRAP: Node = -1;

/// How long one broker may take to answer before the next one is asked as well.
const HEAD_START: Duration = Duration::from_millis(500);

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Purpose {
    /// Produce requests.
    Produce,
    /// Fetch requests, which wait at the broker.
    Fetch,
    /// Commits and heartbeats of a group.
    Coordinator,
    /// JoinGroup and SyncGroup, which wait at the coordinator for the other members.
    Join,
    /// Everything else.
    Control,
}

/// Dials and keeps connections.
pub(super) struct Routes {
    bootstrap: Vec<Address>,
    control: ConnectionSettings,
    fetch: ConnectionSettings,
    backoff: Backoff,
    links: Mutex<LiteMap<(Node, Purpose), Link>>,
}

#[derive(Default)]
struct Link {
    open: Option<Connection>,
    failures: u32,
    not_before: Option<Instant>,
}

impl Routes {
    pub(super) fn new(config: &ClientConfig) -> Result<Self> {
        Ok(Self {
            bootstrap: config.bootstrap()?,
            control: ConnectionSettings::control(config),
            fetch: ConnectionSettings::fetch(config),
            backoff: Backoff::new(
                config.millis(&properties::RECONNECT_BACKOFF),
                config.millis(&properties::RECONNECT_BACKOFF_MAX),
            ),
            links: Mutex::default(),
        })
    }

    /// The open connection to `node`, or a new one. A broker that just failed is not dialled again at once.
    pub(super) async fn connection(&self, node: Node, address: &Address, purpose: Purpose) -> Result<Connection> {
        let key = (node, purpose);
        let wait = match self.with(key, |link| (link.live(address), link.not_before)) {
            (Some(open), _) => return Ok(open),
            (None, not_before) => not_before,
        };
        if let Some(until) = wait {
            tokio::time::sleep_until(until).await;
        }
        let settings = if purpose == Purpose::Fetch { &self.fetch } else { &self.control };
        let dialled = Connection::open(address, settings).await;
        self.with(key, |link| match dialled {
            // Somebody else may have dialled meanwhile: then theirs serves all.
            Ok(new) => Ok(link.live(address).unwrap_or_else(|| link.opened(new))),
            Err(error) => {
                link.not_before = Some(Instant::now() + self.backoff.delay(link.failures, fastrand::f64()));
                link.failures = link.failures.saturating_add(1);
                Err(error)
            }
        })
    }

    /// A connection to some broker: an open one, else whichever answers first of those known, then of those given.
    ///
    /// One that is silent holds nobody up: after [`HEAD_START`] the next one is dialled as well.
    pub(super) async fn any(&self, view: &View) -> Result<Connection> {
        if let Some(open) = self.any_open(view) {
            return Ok(open);
        }
        let mut known: Vec<(Node, &Address)> = view.brokers().iter().map(|(node, address)| (*node, address)).collect();
        fastrand::shuffle(&mut known);
        let given = self.bootstrap.iter().map(|address| (BOOTSTRAP, address));
        let mut waiting = known.into_iter().chain(given);
        let (mut dialling, mut failures) = (FuturesUnordered::new(), Vec::new());
        loop {
            let next = waiting.next();
            let is_last = next.is_none();
            dialling.extend(next.map(|(node, address)| self.connection(node, address, Purpose::Control)));
            let answered = async {
                match is_last {
                    true => Ok(dialling.next().await),
                    false => tokio::time::timeout(HEAD_START, dialling.next()).await,
                }
            };
            match answered.await {
                Ok(Some(Ok(open))) => return Ok(open),
                Ok(Some(Err(error))) => failures.push(error),
                Ok(None) if is_last => return Err(none_answers(failures)),
                Ok(None) | Err(_) => {}
            }
        }
    }

    fn any_open(&self, view: &View) -> Option<Connection> {
        let open = |node: Node, address: &Address| self.with((node, Purpose::Control), |link| link.live(address));
        let known = view.brokers().iter().find_map(|(node, address)| open(*node, address));
        known.or_else(|| self.bootstrap.iter().find_map(|address| open(BOOTSTRAP, address)))
    }

    pub(super) fn close(&self) {
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        for open in links.values().filter_map(|link| link.open.as_ref()) {
            open.close();
        }
        links.clear();
    }

    fn with<T>(&self, key: (Node, Purpose), act: impl FnOnce(&mut Link) -> T) -> T {
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        act(links.entry(key).or_default())
    }
}

impl Link {
    /// The open connection, if it still leads to where the node is now.
    fn live(&self, address: &Address) -> Option<Connection> {
        self.open.as_ref().filter(|open| !open.is_closed() && open.address() == address).cloned()
    }

    fn opened(&mut self, connection: Connection) -> Connection {
        *self = Self { open: Some(connection.clone()), failures: 0, not_before: None };
        connection
    }
}

/// One error for all. Where no address is of any use another try does not mend it, and the first one says why.
fn none_answers(mut failures: Vec<Error>) -> Error {
    if !failures.is_empty() && failures.iter().all(|error| !error.is_retriable()) {
        return failures.swap_remove(0);
    }
    let reasons: Vec<String> = failures.iter().map(ToString::to_string).collect();
    Error::new(ErrorCode::Connect, format!("no broker answers: {}", reasons.join("; "))).retriable()
}
