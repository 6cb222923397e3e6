//! Administrative requests: topics, offsets and groups.

pub mod groups;
mod offsets;
mod topics;

use std::future::Future;
use std::sync::Arc;

use tokio::time::Instant;

use super::{Cluster, Missing, TopicView};
use crate::backoff::Backoff;
use crate::config::properties;
use crate::error::{ErrorCode, Result};
use crate::place::Place;

pub use offsets::{OffsetSpec, list_offsets};
pub use topics::{Creation, NewTopic, TopicDescription, create_topics, describe_topic};

/// Finds a topic that may not be there, of which the brokers have `retry.backoff.max.ms` to agree that it is. That none of them
/// has answered yet says nothing: they are waited for, at most `default.api.timeout.ms`.
pub(crate) async fn find_topic(cluster: &Cluster, name: &str) -> Result<Arc<TopicView>> {
    let config = cluster.config();
    let deadline = Instant::now() + config.millis(&properties::API_TIMEOUT);
    loop {
        match cluster.topic(name, Missing::Refuse, config.millis(&properties::RETRY_BACKOFF_MAX)).await {
            Err(error) if error.code() == ErrorCode::Timeout && Instant::now() < deadline => {}
            found => return found.map_err(|error| error.at(Place::topic(name))),
        }
    }
}

/// Repeats `attempt` while its error says that another try may help, at most `default.api.timeout.ms`. The metadata is
/// renewed in between, because a moved leader is the usual cause.
pub(crate) async fn persist<T, A, F>(cluster: &Cluster, attempt: A) -> Result<T>
where
    A: Fn() -> F,
    F: Future<Output = Result<T>>,
{
    let config = cluster.config();
    let deadline = Instant::now() + config.millis(&properties::API_TIMEOUT);
    let backoff =
        Backoff::new(config.millis(&properties::RETRY_BACKOFF), config.millis(&properties::RETRY_BACKOFF_MAX));
    let mut failures = 0;
    loop {
        let outcome = attempt().await;
        let next = Instant::now() + backoff.delay(failures, fastrand::f64());
        match outcome {
            Err(error) if error.is_retriable() && next < deadline => cluster.refresh(),
            outcome => return outcome,
        }
        tokio::time::sleep_until(next).await;
        failures += 1;
    }
}
