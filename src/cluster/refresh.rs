//! The task that keeps the metadata fresh.
//!
//! It asks when somebody demands it, and when the last answer is older than `metadata.max.age.ms`; after an answer that
//! brought nothing new it waits a little longer each time, so that no error makes it a flood.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use litemap::LiteMap;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::View;
use super::route::Routes;
use crate::backoff::Backoff;
use crate::config::{ClientConfig, properties};
use crate::error::{Error, ErrorCode, Result};
use crate::wire::message::{MetadataRequest, MetadataRequestTopic};

/// What becomes of a topic that does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// It is an error.
    Refuse,
    /// The broker may create it with its own defaults.
    Create,
}

/// The most topics that one client watches: a bound on the metadata's size, not on the cluster's.
const MAX_TOPICS: usize = 10_000;

pub(super) struct Refresher {
    routes: Arc<Routes>,
    watched: Mutex<LiteMap<Arc<str>, Missing>>,
    trouble: Mutex<Option<Arc<Error>>>,
    wanted: Notify,
    max_age: Duration,
    /// For how long the first metadata is asked for again.
    first_within: Duration,
    backoff: Backoff,
}

impl Refresher {
    pub(super) fn new(routes: Arc<Routes>, config: &ClientConfig) -> Self {
        Self {
            routes,
            watched: Mutex::default(),
            trouble: Mutex::default(),
            wanted: Notify::new(),
            max_age: config.millis(&properties::METADATA_MAX_AGE),
            first_within: config.millis(&properties::BOOTSTRAP_RETRY),
            backoff: Backoff::new(
                config.millis(&properties::RETRY_BACKOFF),
                config.millis(&properties::RETRY_BACKOFF_MAX),
            ),
        }
    }

    /// The cluster's brokers, without any topic.
    ///
    /// A broker that goes away between two answers says nothing about the others, so it is asked for again. Not for long
    /// (`bootstrap.retry.ms`): whoever gave a wrong address wants to know.
    pub(super) async fn first_view(&self) -> Result<View> {
        let (begun, mut failures) = (Instant::now(), 0);
        loop {
            match self.ask(&View::default()).await {
                Err(error) if error.is_retriable() && begun.elapsed() < self.first_within => {
                    tokio::time::sleep(self.backoff.delay(failures, fastrand::f64())).await;
                    failures += 1;
                }
                answered => return answered,
            }
        }
    }

    /// Asks for this topic from now on.
    pub(super) fn watch_topic(&self, name: &str, missing: Missing) -> Result<()> {
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        if watched.len() >= MAX_TOPICS && !watched.contains_key(name) {
            let sentence = format!("a client watches at most {MAX_TOPICS} topics");
            return Err(Error::new(ErrorCode::ConfigUnsupported, sentence));
        }
        watched.insert(name.into(), missing);
        Ok(())
    }

    /// Wants a newer view.
    pub(super) fn demand(&self) {
        self.wanted.notify_one();
    }

    pub(super) fn trouble(&self) -> Option<Arc<Error>> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Publishes views until told to stop.
    pub(super) async fn run(self: Arc<Self>, publish: watch::Sender<Arc<View>>, stop: CancellationToken) {
        let work = async {
            let mut fruitless = 0;
            loop {
                let _ = tokio::time::timeout(self.max_age, self.wanted.notified()).await;
                fruitless = if self.renew(&publish).await { 0 } else { fruitless + 1 };
                tokio::time::sleep(self.backoff.delay(fruitless, fastrand::f64())).await;
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = work => {}
        }
    }

    /// Asks once. Returns whether the answer was a new one; waiters are woken either way, to look again.
    async fn renew(&self, publish: &watch::Sender<Arc<View>>) -> bool {
        let old = publish.borrow().clone();
        let (new, trouble) = match self.ask(&old).await {
            Ok(view) => (Arc::new(view), None),
            Err(error) => {
                tracing::warn!(%error, "metadata cannot be had");
                (old.clone(), Some(Arc::new(error)))
            }
        };
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
        let changed = *new != *old;
        publish.send_replace(new);
        changed
    }

    async fn ask(&self, view: &View) -> Result<View> {
        let connection = self.routes.any(view).await?;
        let (create, look) = self.wanted_topics(view);
        let mut next = view.clone();
        for (names, allow_auto_topic_creation) in [(look, false), (create, true)] {
            if allow_auto_topic_creation && names.is_empty() {
                continue;
            }
            let topics = names
                .into_iter()
                .map(|name| MetadataRequestTopic { name: Some(name.to_string()), ..MetadataRequestTopic::default() });
            let request = MetadataRequest {
                topics: Some(topics.collect()),
                allow_auto_topic_creation,
                ..MetadataRequest::default()
            };
            next = next.merged(&connection.call(request).await?);
        }
        Ok(next)
    }

    /// The watched topics: those that the broker may create now, and those that are only looked at.
    fn wanted_topics(&self, view: &View) -> (Vec<Arc<str>>, Vec<Arc<str>>) {
        let watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        let creates = |name: &str, missing: Missing| {
            missing == Missing::Create && !matches!(view.topic(name), Some(super::TopicState::Known(_)))
        };
        let (create, look): (Vec<_>, Vec<_>) =
            watched.iter().partition(|&(name, missing)| creates(name.as_ref(), *missing));
        let names = |topics: Vec<(&Arc<str>, &Missing)>| topics.into_iter().map(|(name, _)| name.clone()).collect();
        (names(create), names(look))
    }
}
