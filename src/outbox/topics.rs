//! The topics that events go to, made when the first event needs them.

use std::sync::{Arc, Mutex, PoisonError};

use litemap::LiteMap;

use super::headers::{Dialect, Header};
use super::refusal::{REFUSALS, event};
use crate::cluster::admin::{NewTopic, create_topics};
use crate::cluster::{Cluster, Missing, TopicView};
use crate::config::properties;
use crate::consumer::retry_topic::{DEAD, RETRY};
use crate::place::Place;
use crate::producer::{OutgoingRecord, Pending, RecordProducer};
use crate::store::{DeadLetterKind, Original, SetAside};
use crate::wire::record_batch::Header as WireHeader;
use crate::{Error, ErrorCode, Result};

/// Writes events to their topics. Clones share the producers.
#[derive(Clone)]
pub(super) struct Topics {
    cluster: Cluster,
    /// The topic whose dead letters those are that come from no topic.
    home: Arc<str>,
    group: Arc<str>,
    dialect: Dialect,
    producers: Arc<Mutex<LiteMap<String, RecordProducer>>>,
}

impl Topics {
    pub(super) fn new(cluster: Cluster, home: Arc<str>, group: Arc<str>) -> Self {
        let dialect = match cluster.config().choice(&properties::DEAD_LETTERS_HEADERS).as_str() {
            "spring" => Dialect::Spring,
            _ => Dialect::Text,
        };
        Self { cluster, home, group, dialect, producers: Arc::default() }
    }

    /// The topic that tells of a record.
    pub(super) fn of(&self, letter: &SetAside) -> String {
        match letter.kind {
            DeadLetterKind::DeadLetter => dead_letter_topic(self.source(letter)),
            DeadLetterKind::Refused => REFUSALS.to_owned(),
        }
    }

    fn source<'a>(&'a self, letter: &'a SetAside) -> &'a str {
        letter.origin.as_ref().map_or(&self.home, |origin| &origin.topic)
    }

    /// Accepts a record for its topic. It is written when the receipt is there.
    ///
    /// # Errors
    /// The topic cannot be made or written, or the producer takes nothing.
    pub(super) async fn post(&self, letter: &SetAside) -> Result<Pending> {
        match letter.kind {
            DeadLetterKind::DeadLetter => {
                let headers = self.dialect.headers(letter, &self.group);
                let Original { key, value, .. } = &letter.original;
                self.write(letter, (key.as_deref(), value.as_deref()), &headers).await
            }
            DeadLetterKind::Refused => {
                let (value, headers) = event(letter, &self.group, letter.original.value.as_deref());
                self.write(letter, (letter.original.key.as_deref(), Some(&value)), &headers).await
            }
        }
    }

    /// As [`Topics::post`], for a record that is too large for its topic: all that is told of it, without the record itself.
    pub(super) async fn post_in_brief(&self, letter: &SetAside) -> Result<Pending> {
        match letter.kind {
            DeadLetterKind::DeadLetter => {
                let headers = self.dialect.headers_in_brief(letter, &self.group);
                self.write(letter, (None, None), &headers).await
            }
            DeadLetterKind::Refused => {
                let (value, headers) = event(letter, &self.group, None);
                self.write(letter, (None, Some(&value)), &headers).await
            }
        }
    }

    async fn write(
        &self,
        letter: &SetAside,
        (key, value): (Option<&[u8]>, Option<&[u8]>),
        headers: &[Header],
    ) -> Result<Pending> {
        let producer = self.producer(&self.of(letter), self.source(letter)).await?;
        let there = |partition: &i32| usize::try_from(*partition).is_ok_and(|at| at < producer.partition_count());
        let origin = letter.origin.as_ref().filter(|_| letter.kind == DeadLetterKind::DeadLetter);
        let partition = origin.map(|origin| origin.partition).filter(there);
        let headers: Vec<WireHeader<'_>> = headers.iter().map(borrowed).collect();
        producer.enqueue(OutgoingRecord { partition, key, value, headers: &headers, timestamp: None }).await
    }

    /// The producer to one of the shop's topics, which is made like the orders' if it does not exist.
    ///
    /// # Errors
    /// The topic cannot be made or written.
    pub(super) async fn producer_of(&self, topic: &str) -> Result<RecordProducer> {
        self.producer(topic, &self.home).await
    }

    /// The producer to a topic, which is made like `source` if it does not exist.
    async fn producer(&self, topic: &str, source: &str) -> Result<RecordProducer> {
        let known = self.lock().get(topic).cloned();
        if let Some(producer) = known {
            return Ok(producer);
        }
        self.demand(topic, source).await?;
        let producer = RecordProducer::over(&self.cluster, topic).await?;
        // Somebody else may have made one meanwhile, which has records under way already.
        Ok(self.lock().entry(topic.to_owned()).or_insert(producer).clone())
    }

    /// Makes the topic unless it exists. Whoever may not make topics may still write to one that is there.
    async fn demand(&self, topic: &str, source: &str) -> Result<()> {
        let partitions = match self.find(source).await {
            Ok(source) => i32::try_from(source.partitions.len()).ok(),
            Err(error) if error.code() == ErrorCode::UnknownTopic => None,
            // A topic keeps the number of partitions that it is made with, so a guess would stay.
            Err(_) if self.find(topic).await.is_ok() => return Ok(()),
            Err(error) => {
                let sentence = "the topic is not there, and how many partitions it needs is not known";
                return Err(kept(Error::new(error.code(), sentence), error, topic));
            }
        };
        let made = create_topics(&self.cluster, &[NewTopic { partitions, ..NewTopic::named(topic) }]).await;
        let Err(refused) = made else { return Ok(()) };
        if refused.is_retriable() || self.find(topic).await.is_err() {
            let error = Error::new(refused.code(), "the topic is not there, and cannot be made");
            return Err(kept(error, refused, topic));
        }
        Ok(())
    }

    /// A topic that is there. One that is not would be waited for, so the wait is short.
    async fn find(&self, topic: &str) -> Result<Arc<TopicView>> {
        let within = self.cluster.config().millis(&properties::RETRY_BACKOFF_MAX);
        self.cluster.topic(topic, Missing::Refuse, within).await
    }

    /// Forgets the producers, which end then.
    pub(super) fn close(&self) {
        let producers = std::mem::take(&mut *self.lock());
        drop(producers);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, LiteMap<String, RecordProducer>> {
        self.producers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The error about a topic, for as long as its cause lasts.
fn kept(error: Error, cause: Error, topic: &str) -> Error {
    let error = if cause.is_retriable() { error.retriable() } else { error };
    error.at(Place::topic(topic)).caused_by(cause)
}

/// Where the dead letters of a topic go.
pub(super) fn dead_letter_topic(topic: &str) -> String {
    format!("{}{DEAD}", topic.strip_suffix(RETRY).unwrap_or(topic))
}

fn borrowed((key, value): &Header) -> WireHeader<'_> {
    WireHeader { key, value: value.as_deref() }
}
