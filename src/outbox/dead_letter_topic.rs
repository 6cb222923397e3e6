//! The dead letters of a consumer without a store: listed from their topic, published to be tried again.
//!
//! ```text
//!  <topic>-dlt --scan--> newest copy of each name --replay--> <topic>-retry --> the group's consumers by handler
//!                                    ^                             |
//!                                    +-- which are there already --+
//! ```
//! A record on the retry topic says of which record on the dead-letter topic it is the copy and for which group
//! (`dead-letter-replayed-from`, `dead-letter-replayed-for`): that is what a second replay goes by, so no position and no group
//! of its own is kept. It holds for as long as the retry topic keeps its records, which it does at least as long as the
//! dead-letter topic unless it is given a shorter retention. Two replays at the same time may publish a record twice: without
//! a store all is at least once.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use litemap::LiteMap;

use super::headers::Header;
use super::told::{Told, kept};
use crate::cluster::admin::{NewTopic, create_topics, find_topic};
use crate::cluster::{Cluster, TopicView};
use crate::config::ClientConfig;
use crate::consumer::EventIdentity;
use crate::consumer::retry_topic::{DEAD, REPLAYED_FOR, REPLAYED_FROM, RETRY};
use crate::order::{DeliveryOrder, IDENTITY_HEADER, InventoryOrder, Order, Violation};
use crate::place::TopicPartition;
use crate::producer::{OutgoingRecord, RecordProducer};
use crate::scan::{Found, Scan};
use crate::store::{DeadLetterRow, DeadLetterState, EventId, OriginalRow, Rehearsal, ReplayRow, Replayed, Topic};
use crate::wire::record_batch::Header as WireHeader;
use crate::{Error, ErrorCode, Result};

/// The dead letters that one group left on a topic, for `orders dlq --topic`.
#[derive(Debug)]
pub struct DeadLetterTopic {
    cluster: Cluster,
    topic: Arc<TopicView>,
    group: String,
}

/// The record on the dead-letter topic that is the newest copy of a dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Spot {
    partition: i32,
    offset: i64,
}

/// A dead letter as it was written last.
struct Newest {
    spot: Spot,
    row: DeadLetterRow,
}

impl DeadLetterTopic {
    /// Reaches the cluster and finds the topic, whose name ends with `-dlt`.
    ///
    /// # Errors
    /// [`ErrorCode::ConfigValue`] for another name; [`ErrorCode::UnknownTopic`] if it does not exist, and as
    /// [`Cluster::connect`].
    ///
    /// # Cancel safety
    /// Dropping the future closes what was opened.
    pub async fn open(config: &ClientConfig, topic: &str, group: &str) -> Result<Self> {
        if topic.strip_suffix(DEAD).is_none_or(str::is_empty) {
            return Err(Error::new(ErrorCode::ConfigValue, format!("`{topic}` is no dead-letter topic"))
                .remedy(format!("its name is that of the orders' topic and `{DEAD}`")));
        }
        let cluster = Cluster::connect(config).await?;
        let topic = find_topic(&cluster, topic).await?;
        Ok(Self { cluster, topic, group: group.to_owned() })
    }

    /// The topic that replays go to.
    #[must_use]
    pub fn retry_topic(&self) -> String {
        format!("{}{RETRY}", self.home())
    }

    /// The topic whose dead letters these are.
    fn home(&self) -> &str {
        self.topic.name.strip_suffix(DEAD).unwrap_or(&self.topic.name)
    }

    /// The newest copy of each dead letter of the group, in the order of the topic. One that was replayed and has not failed
    /// since is `replayed`.
    ///
    /// # Errors
    /// What a broker answers, after repeats up to `default.api.timeout.ms`; [`ErrorCode::Batch`] for what cannot be read.
    ///
    /// # Cancel safety
    /// Safe: it only reads.
    pub async fn letters(&self) -> Result<Vec<DeadLetterRow>> {
        let mut newest: Vec<Newest> = self.newest().await?.into_iter().map(|(_, newest)| newest).collect();
        newest.sort_by_key(|newest| newest.spot);
        Ok(newest.into_iter().map(|newest| newest.row).collect())
    }

    /// One of them, with its record.
    ///
    /// # Errors
    /// [`ErrorCode::Input`] if there is none of this name, and as [`DeadLetterTopic::letters`].
    ///
    /// # Cancel safety
    /// Safe: it only reads.
    pub async fn letter(&self, id: EventId) -> Result<OriginalRow> {
        let none = || Error::new(ErrorCode::Input, format!("there is no dead letter {id} of group {}", self.group));
        let Newest { spot, row } = self.newest().await?.remove(&id).ok_or_else(none)?;
        let mut scan = Scan::begin(&self.cluster, self.topic.clone()).await?;
        while let Some(page) = scan.page().await? {
            if let Some(found) = page.iter().find(|found| Spot::of(found) == spot) {
                return Ok(Told::of(found).original_row(row));
            }
        }
        Err(none())
    }

    /// Begins to try these again, in the order of the topic.
    ///
    /// # Errors
    /// As [`DeadLetterTopic::letters`]; the retry topic cannot be made or written.
    ///
    /// # Cancel safety
    /// The retry topic may have been made.
    pub async fn replay(&self, ids: &[EventId], rehearsal: Rehearsal) -> Result<Replay<'_>> {
        let newest = self.newest().await?;
        let mut wanted: BTreeSet<EventId> = ids.iter().copied().collect();
        let unknown = ids.iter().find(|id| !newest.contains_key(*id));
        if let Some(unknown) = unknown {
            let sentence = format!("there is no dead letter {unknown} of group {}", self.group);
            return Err(Error::new(ErrorCode::Input, sentence));
        }
        let mut spots = Vec::new();
        for (id, newest) in newest {
            if wanted.remove(&id) {
                spots.push((newest.spot, id, newest.row.replayed));
            }
        }
        spots.sort_unstable();
        let home = find_topic(&self.cluster, self.home()).await.ok();
        let producer = match rehearsal {
            Rehearsal::Plan => None,
            Rehearsal::Real => Some(self.producer().await?),
        };
        let scan = Scan::begin(&self.cluster, self.topic.clone()).await?;
        Ok(Replay { letters: self, spots, home, producer, scan, page: Vec::new().into_iter() })
    }

    /// Ends the connections.
    pub async fn close(self) {
        self.cluster.close().await;
    }

    /// The newest copy of each dead letter of the group.
    async fn newest(&self) -> Result<LiteMap<EventId, Newest>> {
        let replayed = self.replayed().await?;
        let named = Topic::new(self.topic.id, self.topic.name.clone());
        let mut newest: LiteMap<EventId, Newest> = LiteMap::new();
        let mut scan = Scan::begin(&self.cluster, self.topic.clone()).await?;
        while let Some(page) = scan.page().await? {
            for found in &page {
                let told = Told::of(found);
                if told.group().is_some_and(|group| group != self.group) {
                    continue;
                }
                let (spot, mut row) = (Spot::of(found), told.row(&named));
                row.replayed = replayed.contains(&spot);
                if row.replayed {
                    row.state = DeadLetterState::Replayed;
                }
                let at = |newest: &Newest| (newest.row.last_failed.clone(), newest.spot);
                let is_older = newest.get(&row.id).is_some_and(|known| at(known) > (row.last_failed.clone(), spot));
                if !is_older {
                    newest.insert(row.id, Newest { spot, row });
                }
            }
        }
        Ok(newest)
    }

    /// Of which records the retry topic has copies for the group.
    async fn replayed(&self) -> Result<BTreeSet<Spot>> {
        let mut replayed = BTreeSet::new();
        let retry = match find_topic(&self.cluster, &self.retry_topic()).await {
            Ok(retry) => retry,
            Err(error) if error.code() == ErrorCode::UnknownTopic => return Ok(replayed),
            Err(error) => return Err(error),
        };
        let mut scan = Scan::begin(&self.cluster, retry).await?;
        while let Some(page) = scan.page().await? {
            for found in &page {
                let header = |wanted: &str| {
                    let named = found.original.headers.iter().find(|(name, _)| name == wanted.as_bytes())?;
                    std::str::from_utf8(named.1.as_ref()?).ok()
                };
                if header(REPLAYED_FOR) == Some(&self.group) {
                    replayed.extend(header(REPLAYED_FROM).and_then(|mark| self.spot(mark)));
                }
            }
        }
        Ok(replayed)
    }

    /// How a record on the retry topic says of which one on this topic it is the copy. A topic made anew has other marks.
    fn mark(&self, Spot { partition, offset }: Spot) -> String {
        format!("{}/{partition}/{offset}", self.topic.id)
    }

    fn spot(&self, mark: &str) -> Option<Spot> {
        let mut parts = mark.split('/');
        let is_ours = parts.next()? == self.topic.id.to_string();
        let (partition, offset) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        is_ours.then_some(Spot { partition, offset })
    }

    /// The producer to the retry topic, which is made with as many partitions as the dead-letter topic has.
    async fn producer(&self) -> Result<RecordProducer> {
        let retry = self.retry_topic();
        if find_topic(&self.cluster, &retry).await.is_err() {
            let partitions = i32::try_from(self.topic.partitions.len()).ok();
            create_topics(&self.cluster, &[NewTopic { partitions, ..NewTopic::named(&*retry) }]).await?;
        }
        RecordProducer::over(&self.cluster, &retry).await
    }
}

/// Dead letters that are being tried again.
pub struct Replay<'t> {
    letters: &'t DeadLetterTopic,
    /// What is still to be done, in the order of the topic; whether each was replayed before.
    spots: Vec<(Spot, EventId, bool)>,
    /// The topic whose dead letters these are.
    home: Option<Arc<TopicView>>,
    /// None for a plan.
    producer: Option<RecordProducer>,
    scan: Scan,
    page: std::vec::IntoIter<Found>,
}

impl Replay<'_> {
    /// Tries the next ones, at most `most`; none: all are done. What is published is acknowledged by all in-sync replicas.
    ///
    /// # Errors
    /// The topic cannot be read. What cannot be written is a row that says so.
    ///
    /// # Cancel safety
    /// Some may be published. Whoever replays again sees which.
    pub async fn next(&mut self, most: usize) -> Result<Vec<ReplayRow>> {
        let (mut rows, mut posted) = (Vec::new(), Vec::new());
        while rows.len() + posted.len() < most {
            let Some(found) = self.page.next() else {
                if !self.turn().await? {
                    break;
                }
                continue;
            };
            let Ok(at) = self.spots.binary_search_by_key(&Spot::of(&found), |(spot, ..)| *spot) else { continue };
            let Some((_, id, replayed)) = self.spots.get(at).copied() else { continue };
            if let Some((did, reason)) = self.obstacle(&found, replayed) {
                rows.push(ReplayRow { id, did, reason });
                continue;
            }
            match self.post(&found).await {
                None => rows.push(ReplayRow { id, did: Replayed::Apply, reason: String::new() }),
                Some(Ok(pending)) => posted.push((id, pending)),
                Some(Err(error)) => rows.push(failed(id, &error)),
            }
        }
        for (id, pending) in posted {
            rows.push(match pending.await {
                Ok(_) => ReplayRow { id, did: Replayed::Apply, reason: String::new() },
                Err(error) => failed(id, &error),
            });
        }
        Ok(rows)
    }

    /// Ends the producer.
    ///
    /// # Errors
    /// Something was not written in time.
    ///
    /// # Cancel safety
    /// What is not written yet may not be.
    pub async fn close(self) -> Result<()> {
        match self.producer {
            Some(producer) => producer.close().await,
            None => Ok(()),
        }
    }

    /// Turns to the next page. Returns whether there is one.
    async fn turn(&mut self) -> Result<bool> {
        match self.scan.page().await? {
            None => Ok(false),
            Some(page) => {
                self.page = page.into_iter();
                Ok(true)
            }
        }
    }

    /// Why it is not published.
    fn obstacle(&self, found: &Found, replayed: bool) -> Option<(Replayed, String)> {
        if replayed {
            let sentence = format!("it is on {} already, and has not failed since", self.letters.retry_topic());
            return Some((Replayed::Duplicate, sentence));
        }
        if let Some(bytes) = Told::of(found).left_out() {
            let sentence = format!("its record was too large for the topic: {bytes} bytes are in the store only");
            return Some((Replayed::Fail, sentence));
        }
        let breaks = match self.letters.home() {
            InventoryOrder::TOPIC => broken::<InventoryOrder>(found),
            DeliveryOrder::TOPIC => broken::<DeliveryOrder>(found),
            _ => None,
        };
        breaks.map(|violation| (Replayed::Fail, violation.to_string()))
    }

    /// Publishes the record; `None`: it is a plan.
    async fn post(&self, found: &Found) -> Option<Result<crate::producer::Pending>> {
        let producer = self.producer.as_ref()?;
        let headers = self.headers(found);
        let headers: Vec<WireHeader<'_>> =
            headers.iter().map(|(key, value)| WireHeader { key, value: value.as_deref() }).collect();
        let (key, value) = (found.original.key.as_deref(), found.original.value.as_deref());
        // Records of one key stay in their order; those without one stay in their partition.
        let is_there = usize::try_from(found.partition).is_ok_and(|at| at < producer.partition_count());
        let partition = (key.is_none() && is_there).then_some(found.partition);
        Some(producer.enqueue(OutgoingRecord { partition, key, value, headers: &headers, timestamp: None }).await)
    }

    /// The record's own headers, those of its first failure, and ours. An order without an identity gets the one that it had:
    /// its first place.
    fn headers(&self, found: &Found) -> Vec<Header> {
        let told = Told::of(found);
        let mut headers: Vec<Header> = kept(&found.original.headers).cloned().collect();
        let mut add = |name: &'static str, value: String| {
            headers.push((Bytes::from_static(name.as_bytes()), Some(value.into())));
        };
        let has_identity = found.original.headers.iter().any(|(name, _)| name == IDENTITY_HEADER.as_bytes());
        if !has_identity {
            let topic = Topic::new(self.letters.topic.id, self.letters.topic.name.clone());
            add(IDENTITY_HEADER, self.first_place(&told).unwrap_or_else(|| told.id(&topic).to_string()));
        }
        add(REPLAYED_FOR, self.letters.group.clone());
        add(REPLAYED_FROM, self.letters.mark(Spot::of(found)));
        headers
    }

    /// The first place as a handler was told it, if that topic is still the one that it was.
    fn first_place(&self, told: &Told<'_>) -> Option<String> {
        let (topic, partition, offset) = told.origin()?;
        let home = self.home.as_ref().filter(|home| *home.name == *topic)?;
        let is_same = told.id(&Topic::new(home.id, home.name.clone()))
            == EventId::of(None, &Topic::new(home.id, home.name.clone()), partition, offset);
        let at = TopicPartition::new(home.name.clone(), partition);
        is_same.then(|| EventIdentity::Place { topic: home.id, at: &at, offset }.to_string())
    }
}

impl std::fmt::Debug for Replay<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Replay").field("topic", &self.letters.topic.name).finish_non_exhaustive()
    }
}

impl Spot {
    fn of(found: &Found) -> Self {
        Self { partition: found.partition, offset: found.offset }
    }
}

fn failed(id: EventId, error: &Error) -> ReplayRow {
    ReplayRow { id, did: Replayed::Fail, reason: crate::error::told(error) }
}

/// The rule that the record breaks: it would fail again.
fn broken<O: Order>(found: &Found) -> Option<Violation> {
    let value = found.original.value.clone();
    value.ok_or_else(Violation::value_missing).and_then(|value| O::decode(&value)).err()
}
