//! Which broker to ask: metadata, leaders, coordinators, connections.
//!
//! One task keeps the metadata and publishes each new [`View`]; everybody else reads the latest one. Whoever finds it
//! wrong says so ([`Cluster::mark_stale`]) and goes on when a newer one arrives.
//!
//! ```text
//!  producer, consumer, admin --- topic(), mark_stale() ---> refresher --- Metadata ---> any broker
//!            ^                                                  |
//!            +------------------- View (latest) <---------------+
//! ```
//!
//! # What clients get wrong here
//! | mistake | the test that holds us to better |
//! |---|---|
//! | a connection for each partition | `fifty_partitions_of_a_broker_share_one_connection_for_each_purpose` |
//! | a leader that moved unseen is dialled for ever | `a_leader_that_moved_before_anybody_connected_to_it_is_found_after_a_refusal` |
//! | a partition that had no leader, or came later, is never asked for again | `a_topic_whose_leaders_are_not_known_yet_is_asked_for_until_they_are`, `partitions_that_are_added_are_in_the_next_view_and_a_deleted_topic_is_not_made_again` |
//! | the addresses that were given are forgotten after the first answer | `brokers_that_all_moved_are_found_again_through_the_address_that_was_given` |
//! | one silent address holds up all | `an_address_that_accepts_and_is_silent_does_not_keep_the_next_from_being_asked`, `silent_addresses_cost_no_timeout_while_one_answers` |
//! | the addresses that were given are needed for ever | `the_address_that_was_given_may_go_while_a_broker_is_known` |
//! | a name is resolved once | `a_cluster_whose_name_leads_elsewhere_is_found_there` |
//! | a stuck connection stays in use | `a_connection_that_went_silent_is_replaced_and_the_question_asked_again` |
//! | looking at a topic makes it | `a_topic_that_does_not_exist_is_refused_unless_it_may_be_created` |

pub mod admin;
mod coordinator;
mod metadata;
mod refresh;
mod refusal;
mod route;
#[cfg(test)]
mod tests;

use futures::FutureExt;
use futures::future::BoxFuture;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::config::{ClientConfig, properties};
use crate::error::{Error, ErrorCode, Result};
use crate::place::{Place, TopicPartition};
use crate::shutdown::Tasks;
use crate::wire::connection::Connection;

pub(crate) use coordinator::{GroupCoordinator, Unfound};
pub use metadata::{Leader, PartitionView, TopicState, TopicView, View};
pub use refresh::Missing;
use refresh::Refresher;
pub use refusal::refusal;
use route::Routes;
pub use route::{Node, Purpose};

/// A Kafka cluster as one client sees it. Clones share metadata and connections.
#[derive(Clone)]
pub struct Cluster(Arc<Shared>);

struct Shared {
    routes: Arc<Routes>,
    refresher: Arc<Refresher>,
    view: watch::Receiver<Arc<View>>,
    config: ClientConfig,
    tasks: Tasks,
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").field("view", &*self.view()).finish_non_exhaustive()
    }
}

impl Cluster {
    /// Connects to the first broker of `bootstrap.servers` that answers, and learns the others from it.
    ///
    /// # Errors
    /// [`ErrorCode::ConfigValue`] for an address list that is none; [`ErrorCode::Connect`] if no broker answers: each
    /// address is tried once. [`ErrorCode::BrokerTooOld`] or [`ErrorCode::Protocol`] if what answers cannot be used.
    ///
    /// # Cancel safety
    /// Dropping the future closes what was opened.
    pub async fn connect(config: &ClientConfig) -> Result<Self> {
        Self::reach(config).await
    }

    /// Boxed, so that it is compiled here and not with whoever awaits it.
    fn reach(config: &ClientConfig) -> BoxFuture<'_, Result<Self>> {
        let reached = async move {
            let routes = Arc::new(Routes::new(config)?);
            let refresher = Arc::new(Refresher::new(routes.clone(), config));
            let first = refresher.first_view().await?;
            let (publish, view) = watch::channel(Arc::new(first));
            let tasks = Tasks::new();
            tasks.spawn(refresher.clone().run(publish, tasks.stop_signal()));
            Ok(Self(Arc::new(Shared { routes, refresher, view, config: config.clone(), tasks })))
        };
        reached.boxed()
    }

    /// The settings that it was made with.
    #[must_use]
    pub fn config(&self) -> &ClientConfig {
        &self.0.config
    }

    /// The latest metadata.
    #[must_use]
    pub fn view(&self) -> Arc<View> {
        self.0.view.borrow().clone()
    }

    /// Tells of each new view: `changed().await`, then [`Cluster::view`].
    #[must_use]
    pub fn views(&self) -> watch::Receiver<Arc<View>> {
        self.0.view.clone()
    }

    /// What is known of a topic, asking for it if need be; it waits until every partition has a leader, or `within`.
    ///
    /// `missing` says what becomes of a topic that does not exist. [`Missing::Create`] is obeyed by brokers that have
    /// `auto.create.topics.enable`.
    ///
    /// # Errors
    /// [`ErrorCode::UnknownTopic`] if it does not exist, [`ErrorCode::Denied`] if it may not be seen,
    /// [`ErrorCode::Timeout`] if its leaders are not known in time.
    ///
    /// # Cancel safety
    /// Safe: it only reads.
    pub async fn topic(&self, name: &str, missing: Missing, within: Duration) -> Result<Arc<TopicView>> {
        let deadline = Instant::now() + within;
        let mut views = self.views();
        self.0.refresher.watch_topic(name, missing)?;
        loop {
            let state = views.borrow_and_update().topic(name).cloned();
            match &state {
                Some(TopicState::Known(topic)) if topic.has_all_leaders() => return Ok(topic.clone()),
                Some(TopicState::Failed(error)) if !error.is_retriable() => {
                    return Err(refusal(*error, "the broker was asked for the topic").at(Place::topic(name)));
                }
                _ => self.0.refresher.demand(),
            }
            match tokio::time::timeout_at(deadline, views.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Err(closed()),
                Err(_) => return Err(self.late(name, state)),
            }
        }
    }

    /// Keeps the views up to date about a topic, which is not made if it does not exist.
    ///
    /// # Errors
    /// [`ErrorCode::ConfigUnsupported`] for more topics than one client watches.
    pub(crate) fn watch(&self, name: &str) -> Result<()> {
        self.0.refresher.watch_topic(name, Missing::Refuse)
    }

    fn late(&self, name: &str, state: Option<TopicState>) -> Error {
        let error = match (state, self.trouble()) {
            (_, Some(trouble)) => Error::new(ErrorCode::Timeout, "no broker answers").caused_by(trouble.to_string()),
            (Some(TopicState::Failed(error)), None) => refusal(error, "the broker was asked for the topic"),
            (Some(TopicState::Known(_)), None) => Error::new(ErrorCode::Timeout, "a partition has no leader"),
            (None, None) => Error::new(ErrorCode::Timeout, "the topic is not known in time"),
        };
        error.at(Place::topic(name)).retriable()
    }

    /// The leader of a partition in the latest view.
    #[must_use]
    pub fn leader(&self, at: &TopicPartition) -> Option<Leader> {
        self.0.view.borrow().leader(&at.topic, at.partition)
    }

    /// Says that the view of this topic is wrong or old: a newer one is asked for, at most every `retry.backoff.ms`.
    pub fn mark_stale(&self, _at: &TopicPartition) {
        self.0.refresher.demand();
    }

    /// Asks for a newer view of everything.
    pub fn refresh(&self) {
        self.0.refresher.demand();
    }

    /// Why the latest metadata could not be had, if so.
    #[must_use]
    pub fn trouble(&self) -> Option<Arc<Error>> {
        self.0.refresher.trouble()
    }

    /// A connection to a node: the one that is open, or a new one. Failed dials are spaced by `reconnect.backoff.ms`.
    ///
    /// # Errors
    /// As [`Connection::open`]; [`ErrorCode::Connect`] also for a node that the metadata does not name.
    ///
    /// # Cancel safety
    /// Safe: a connection that was being made is closed.
    pub async fn connection(&self, node: Node, purpose: Purpose) -> Result<Connection> {
        let address = self.0.view.borrow().brokers().get(&node).cloned();
        let Some(address) = address else {
            self.0.refresher.demand();
            return Err(Error::new(ErrorCode::Connect, format!("broker {node} is not known")).retriable());
        };
        let opened = self.0.routes.connection(node, &address, purpose).await;
        if opened.is_err() {
            self.0.refresher.demand();
        }
        opened.map_err(passing)
    }

    /// A connection to any broker, for requests that each can answer.
    ///
    /// # Errors
    /// [`ErrorCode::Connect`] if none can be reached.
    ///
    /// # Cancel safety
    /// Safe, as [`Cluster::connection`].
    pub async fn any_connection(&self) -> Result<Connection> {
        let view = self.view();
        self.0.routes.any(&view).await.map_err(passing)
    }

    /// Stops the metadata task and closes all connections.
    ///
    /// # Cancel safety
    /// What was told to stop stays told.
    pub async fn close(&self) {
        self.0.tasks.finish(self.0.config.millis(&properties::REQUEST_TIMEOUT)).await;
        self.0.routes.close();
    }
}

/// What answers at a broker's address without being one may be there for a while only: a proxy whose broker is away, or
/// another host that has the address now. Brokers have answered before, so it is no wrong setting.
fn passing(error: Error) -> Error {
    if error.code() == ErrorCode::Protocol { error.retriable() } else { error }
}

fn closed() -> Error {
    Error::new(ErrorCode::Closed, "the cluster handle is closed")
}
