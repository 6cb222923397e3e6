//! The task that fetches from one broker.
//!
//! It holds a position for each partition, asks for all of them in one session, walks over the headers
//! of what comes and asks again, while the records are still to be decoded elsewhere. What waits to be
//! settled is bounded by [`Prefetch`]; a full one stops the fetching (G5).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use litemap::LiteMap;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::prefetch::Prefetch;
use super::session::{Ask, FetchSession, Reply, Wanted};
use super::walk::walk;
use super::{Event, Fetched, Flow, Refusal, Target, Targets};
use crate::backoff::Backoff;
use crate::cluster::{Cluster, Purpose};
use crate::consumer::config::{FetchConfig, Isolation};
use crate::gather::Gather;
use crate::place::TopicId;
use crate::wire::kafka_error::KafkaError;
use crate::wire::message::{
    FetchPartition, FetchRequest, FetchResponse, FetchTopic, FetchableTopicResponse, ForgottenTopic, PartitionData,
};
use crate::wire::record_batch::BatchReader;
use crate::{ErrorCode, Result};

/// A partition of a topic; topics of one name are told apart by their identity.
type Key = (TopicId, i32);

/// Fetches from one broker until it is told to stop.
pub(crate) struct FetchTask {
    pub(crate) node: i32,
    pub(crate) cluster: Cluster,
    pub(crate) topic: Arc<str>,
    pub(crate) config: FetchConfig,
    pub(crate) isolation: Isolation,
    pub(crate) request_timeout: Duration,
    pub(crate) backoff: Backoff,
    pub(crate) targets: Arc<Targets>,
    pub(crate) prefetch: Arc<Prefetch>,
    pub(crate) events: mpsc::Sender<Event>,
}

/// Where the task stands in one partition.
#[derive(Debug)]
struct Place {
    target: Target,
    next: i64,
    max_bytes: usize,
    /// The end that was told last, so that only news are told.
    end: Option<i64>,
    /// The end that an earlier stretch was told. A broker's session does not repeat it to the next one.
    known: Option<i64>,
    /// The broker refused it: nothing is asked until the reader places it anew.
    refused: bool,
}

/// What drives the task from request to request.
struct Run {
    session: FetchSession<Key>,
    places: LiteMap<Key, Place>,
    failures: u32,
}

/// The reader is gone, so nobody wants what is fetched.
struct Unwanted;

impl FetchTask {
    /// Runs until `stop`, or until the reader is gone.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let mut run = Run { session: FetchSession::new(), places: LiteMap::new(), failures: 0 };
        tokio::select! {
            () = stop.cancelled() => {}
            Unwanted = self.fetch_on(&mut run) => {}
        }
    }

    async fn fetch_on(&self, run: &mut Run) -> Unwanted {
        loop {
            run.follow(&self.targets, self.config.max_partition_bytes);
            if run.places.values().all(Place::is_silent) {
                // A broker that nothing is wanted of is no trouble, even if it never comes back.
                if let Err(unwanted) = self.recovered(run).await {
                    return unwanted;
                }
                self.targets.changed.notified().await;
                continue;
            }
            let room = self.prefetch.room(self.config.ask_bytes).await;
            run.follow(&self.targets, self.config.max_partition_bytes);
            if let Err(unwanted) = self.repeat_ends(run).await {
                return unwanted;
            }
            self.targets.turn();
            let answer = self.fetch(run, room).await;
            self.targets.turn();
            let told = match answer {
                Ok(answer) => self.take(run, answer).await,
                Err(error) if error.code() == ErrorCode::TooLarge => self.isolate(run).await,
                Err(error) => {
                    run.session.lost();
                    run.failures = run.failures.saturating_add(1);
                    self.tell(Event::Broker { node: self.node, trouble: Some(error) }).await
                }
            };
            if let Err(unwanted) = told {
                return unwanted;
            }
            if run.failures > 0 {
                tokio::time::sleep(self.backoff.delay(run.failures - 1, fastrand::f64())).await;
            }
        }
    }

    /// Tells new stretches the ends that the broker's session takes for told.
    async fn repeat_ends(&self, run: &mut Run) -> Result<(), Unwanted> {
        for ((_, partition), place) in &mut run.places {
            if let Some(known) = place.known.take() {
                place.end = Some(known);
                self.tell(Event::Fetched(place.nothing(*partition, known))).await?;
            }
        }
        Ok(())
    }

    async fn fetch(&self, run: &mut Run, room: usize) -> Result<FetchResponse> {
        let connection = self.cluster.connection(self.node, Purpose::Fetch).await?;
        let ask = run.session.ask(&run.wanted());
        let request = self.request(ask, room);
        connection.call_within(request, self.config.max_wait.saturating_add(self.request_timeout)).await
    }

    /// An answer was larger than any that is taken: a broker sends its first batch whole, however large. Asked one by
    /// one, the partition that has it stops alone.
    async fn isolate(&self, run: &mut Run) -> Result<(), Unwanted> {
        run.session.lost();
        for (key, wanted) in run.wanted() {
            let room = self.prefetch.room(self.config.ask_bytes).await;
            let answer = async {
                let connection = self.cluster.connection(self.node, Purpose::Fetch).await?;
                let request = FetchRequest { max_wait_ms: 0, ..self.request(Ask::alone(key, wanted), room) };
                connection.call_within(request, self.request_timeout).await
            };
            match answer.await {
                Ok(answer) if answer.error_code == 0 => self.read(run, answer).await?,
                Ok(_) => {}
                Err(error) if error.code() == ErrorCode::TooLarge => {
                    if let Some(place) = run.places.get_mut(&key) {
                        let refused = place.refuse(key.1, Refusal::TooLarge);
                        self.tell(refused).await?;
                    }
                }
                Err(error) => {
                    run.failures = run.failures.saturating_add(1);
                    return self.tell(Event::Broker { node: self.node, trouble: Some(error) }).await;
                }
            }
        }
        Ok(())
    }

    fn request(&self, ask: Ask<Key>, room: usize) -> FetchRequest {
        let mut topics: Vec<FetchTopic> = Vec::new();
        for ((id, partition), wanted) in ask.wanted {
            let part = FetchPartition {
                partition,
                current_leader_epoch: wanted.leader_epoch,
                fetch_offset: wanted.offset,
                partition_max_bytes: wanted.max_bytes,
                ..FetchPartition::default()
            };
            match topics.iter_mut().find(|topic| topic.topic_id == id) {
                Some(topic) => topic.partitions.push(part),
                None => {
                    topics.push(FetchTopic { topic: self.topic.to_string(), topic_id: id, partitions: vec![part] });
                }
            }
        }
        let forgotten = ask.forgotten.into_iter().map(|(topic_id, partition)| ForgottenTopic {
            topic: self.topic.to_string(),
            topic_id,
            partitions: vec![partition],
        });
        FetchRequest {
            max_wait_ms: millis(self.config.max_wait),
            min_bytes: self.config.min_bytes,
            max_bytes: number(room),
            isolation_level: self.isolation.level(),
            session_id: ask.session_id,
            session_epoch: ask.session_epoch,
            topics,
            forgotten_topics_data: forgotten.collect(),
            ..FetchRequest::default()
        }
    }

    async fn take(&self, run: &mut Run, answer: FetchResponse) -> Result<(), Unwanted> {
        if run.session.answered(answer.session_id, answer.error_code) == Reply::AskAgain {
            run.failures = run.failures.saturating_add(1);
            let error = KafkaError::from_code(answer.error_code);
            tracing::debug!(node = self.node, ?error, "the fetch session begins anew");
            if error.is_some_and(KafkaError::needs_metadata) {
                self.cluster.refresh();
            }
            return Ok(());
        }
        self.recovered(run).await?;
        self.read(run, answer).await
    }

    async fn recovered(&self, run: &mut Run) -> Result<(), Unwanted> {
        if std::mem::take(&mut run.failures) > 0 {
            self.tell(Event::Broker { node: self.node, trouble: None }).await?;
        }
        Ok(())
    }

    async fn read(&self, run: &mut Run, answer: FetchResponse) -> Result<(), Unwanted> {
        let bytes = answer.responses.iter().flat_map(|topic| &topic.partitions);
        let bytes = bytes.map(|part| part.records.as_ref().map_or(0, Bytes::len)).sum();
        let hold = (bytes > 0).then(|| self.prefetch.hold(bytes));
        for topic in answer.responses {
            for part in topic.partitions.iter() {
                let Some((key, place)) = run.place(&topic, part.partition_index) else { continue };
                if let Some(event) = place.take(key.1, part, self.isolation, self.config.max_bytes) {
                    let event = match event {
                        Event::Fetched(fetched) => Event::Fetched(Fetched { hold: hold.clone(), ..fetched }),
                        other => other,
                    };
                    self.tell(event).await?;
                }
            }
        }
        if answer.throttle_time_ms > 0 {
            let wait = u64::try_from(answer.throttle_time_ms).unwrap_or(0);
            tokio::time::sleep(Duration::from_millis(wait).min(self.request_timeout)).await;
        }
        Ok(())
    }

    async fn tell(&self, event: Event) -> Result<(), Unwanted> {
        self.events.send(event).await.map_err(|_| Unwanted)
    }
}

impl Run {
    /// Takes over what the reader wants now. A stretch that goes on keeps its position.
    fn follow(&mut self, targets: &Targets, max_bytes: usize) {
        let targets = targets.lock();
        let is_wanted = |(id, partition): &Key| targets.get(partition).is_some_and(|target| target.topic == *id);
        self.places.retain(|key, _| is_wanted(key));
        for (partition, target) in targets.iter() {
            let begin =
                |known| Place { target: *target, next: target.from, max_bytes, end: None, known, refused: false };
            let place = self.places.entry((target.topic, *partition)).or_insert_with(|| begin(None));
            if place.target.stretch == target.stretch {
                place.target = *target;
            } else {
                *place = begin(place.end.or(place.known));
            }
        }
    }

    fn wanted(&self) -> LiteMap<Key, Wanted> {
        let asked = self.places.iter().filter(|(_, place)| !place.is_silent());
        let want = |place: &Place| Wanted {
            offset: place.next,
            leader_epoch: place.target.leader_epoch,
            max_bytes: number(place.max_bytes),
        };
        asked.map(|(key, place)| (*key, want(place))).gather()
    }

    /// The place that an answer belongs to. Up to version 12 an answer names the topic, and no identity.
    fn place(&mut self, topic: &FetchableTopicResponse, partition: i32) -> Option<(Key, &mut Place)> {
        let key = match topic.topic_id {
            TopicId::NONE => self.places.keys().copied().find(|key| key.1 == partition)?,
            id => (id, partition),
        };
        if !self.session.knows(key) {
            return None;
        }
        self.places.get_mut(&key).filter(|place| !place.is_silent()).map(|place| (key, place))
    }
}

impl Place {
    fn is_silent(&self) -> bool {
        self.refused || self.target.flow == Flow::Paused
    }

    fn refuse(&mut self, partition: i32, refusal: Refusal) -> Event {
        self.refused = true;
        Event::Refused { partition, stretch: self.target.stretch, at: self.next, refusal }
    }

    /// No records, only where the partition ends.
    fn nothing(&self, partition: i32, end: i64) -> Fetched {
        Fetched {
            partition,
            stretch: self.target.stretch,
            batches: BatchReader::new(Bytes::new()),
            from: self.next,
            next: self.next,
            leader_epoch: None,
            aborted: Vec::new(),
            fault: None,
            end,
            hold: None,
        }
    }

    fn take(&mut self, partition: i32, part: &PartitionData, isolation: Isolation, most: usize) -> Option<Event> {
        if let Some(error) = KafkaError::from_code(part.error_code) {
            return Some(self.refuse(partition, Refusal::Answered(error)));
        }
        let records = part.records.clone().unwrap_or_default();
        let walked = walk(&records, self.next);
        if walked.batches == 0 && walked.missing > 0 {
            return self.ask_for_more(partition, records.len().saturating_add(walked.missing), most);
        }
        let end = match isolation {
            Isolation::ReadCommitted if part.last_stable_offset >= 0 => part.last_stable_offset,
            Isolation::ReadCommitted | Isolation::ReadUncommitted => part.high_watermark,
        };
        let news = self.end.replace(end) != Some(end);
        if !news && walked.batches == 0 && walked.fault.is_none() {
            return None;
        }
        let from = std::mem::replace(&mut self.next, walked.next);
        self.refused = walked.fault.is_some();
        let aborted = part.aborted_transactions.iter().flatten();
        Some(Event::Fetched(Fetched {
            partition,
            stretch: self.target.stretch,
            batches: BatchReader::new(records),
            from,
            next: walked.next,
            leader_epoch: walked.leader_epoch,
            aborted: aborted.map(|aborted| (aborted.producer_id, aborted.first_offset)).collect(),
            fault: walked.fault,
            end,
            hold: None,
        }))
    }

    /// Not even one batch fitted in what was asked for.
    fn ask_for_more(&mut self, partition: i32, needed: usize, most: usize) -> Option<Event> {
        if needed > most {
            return Some(self.refuse(partition, Refusal::TooLarge));
        }
        self.max_bytes = self.max_bytes.saturating_mul(2).max(needed).min(most);
        None
    }
}

fn number(bytes: usize) -> i32 {
    i32::try_from(bytes).unwrap_or(i32::MAX)
}

fn millis(span: Duration) -> i32 {
    i32::try_from(span.as_millis()).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests;
