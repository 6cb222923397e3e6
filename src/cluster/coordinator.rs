//! The broker that keeps a group: found once, forgotten when it says that it is another.

use std::sync::{Mutex, PoisonError};

use super::{Cluster, Node, Purpose, refusal};
use crate::error::{Error, Result};
use crate::wire::connection::Connection;
use crate::wire::kafka_error::KafkaError;
use crate::wire::message::FindCoordinatorRequest;

/// The first version in which a request names several groups (KIP-699).
const MANY_COORDINATORS: i16 = 4;

/// The coordinator of one group, shared by all that speak with it.
#[derive(Debug)]
pub(crate) struct GroupCoordinator {
    cluster: Cluster,
    group: String,
    node: Mutex<Option<Node>>,
}

/// Why the coordinator is not known.
#[derive(Debug)]
pub(crate) enum Unfound {
    /// A broker was asked, and answered with this.
    Refused(KafkaError),
    /// No broker could be asked.
    Unreached(Error),
}

impl GroupCoordinator {
    /// The coordinator of `group`, which is looked for when it is needed.
    pub(crate) fn new(cluster: Cluster, group: String) -> Self {
        Self { cluster, group, node: Mutex::default() }
    }

    /// The cluster that the group is in.
    pub(crate) fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// The group's name.
    pub(crate) fn group(&self) -> &str {
        &self.group
    }

    /// A connection to the coordinator, which is looked for if it is not known.
    ///
    /// # Cancel safety
    /// Safe: it only asks.
    pub(crate) async fn connection(&self, purpose: Purpose) -> Result<Connection> {
        let node = match self.known() {
            Some(node) => node,
            None => self.find().await.map_err(Unfound::into_error)?,
        };
        let opened = self.cluster.connection(node, purpose).await;
        if opened.is_err() {
            self.forget();
        }
        opened
    }

    /// Asks any broker who the coordinator is.
    ///
    /// # Cancel safety
    /// Safe: it only asks.
    pub(crate) async fn find(&self) -> Result<Node, Unfound> {
        let connection = self.cluster.any_connection().await.map_err(Unfound::Unreached)?;
        let mut request = FindCoordinatorRequest::default();
        if connection.version_of::<FindCoordinatorRequest>().is_some_and(|version| version < MANY_COORDINATORS) {
            request.key.clone_from(&self.group);
        } else {
            request.coordinator_keys = vec![self.group.clone()];
        }
        let answer = connection.call(request).await.map_err(Unfound::Unreached)?;
        let found = answer.coordinators.into_iter().next().map(|found| (found.error_code, found.node_id));
        let (code, node) = found.unwrap_or((answer.error_code, answer.node_id));
        if let Some(error) = KafkaError::from_code(code) {
            return Err(Unfound::Refused(error));
        }
        self.set(Some(node));
        Ok(node)
    }

    /// It may be another by now: it is looked for again when it is needed.
    pub(crate) fn forget(&self) {
        self.set(None);
    }

    fn known(&self) -> Option<Node> {
        *self.node.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, node: Option<Node>) {
        *self.node.lock().unwrap_or_else(PoisonError::into_inner) = node;
    }
}

impl Unfound {
    /// The error that people are told.
    pub(crate) fn into_error(self) -> Error {
        match self {
            Self::Refused(error) => refusal(error, "the group's coordinator was asked for"),
            Self::Unreached(error) => error,
        }
    }
}
