//! Where each partition of an assignment begins.
//!
//! ```text
//!  positions (R3) --known-------------------------------+--> leader epoch still in the log? --> begin
//!        |                                              |            |
//!        +--never had one--> auto.offset.reset --write--+            +--> diverged: stop
//! ```
//! Before a partition begins, the store's claim on it is committed and answered.
//!
//! Nothing here waits: a partition that cannot begin now says why and is tried again later by the reader.

use std::collections::BTreeMap;
use std::sync::Arc;

use litemap::LiteMap;

use super::assignment::Found;
use super::builder::End;
use super::config::{Isolation, Reset};
use super::lookup::{Answers, Edge, EpochEnd, Lookup, alike};
use super::positions::{AtDeleted, Positions};
use crate::cluster::Cluster;
use crate::gather::Gather;
use crate::place::{Place, TopicPartition};
use crate::store::{Position, Start, Topic};
use crate::{Error, ErrorCode, Result};

/// Finds where partitions begin.
pub(crate) struct Starter {
    pub(crate) cluster: Cluster,
    pub(crate) positions: Arc<dyn Positions>,
    pub(crate) reset: Reset,
    pub(crate) isolation: Isolation,
}

/// Partitions that are to begin.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) topic: Topic,
    pub(crate) partitions: Vec<i32>,
    pub(crate) found: Found,
    /// Whether a position behind the log's end would be taken for the end that is to be reached.
    pub(crate) end: End,
    /// How many losses were heard of when they became ours.
    pub(crate) losses: u64,
}

/// What became of a partition that was to begin.
#[derive(Debug)]
pub(crate) enum Started {
    /// It begins here.
    At { position: Position },
    /// Not yet, because of this.
    Later(Error),
    /// Not before a person has decided.
    Stop(Error),
}

impl Started {
    fn failed(error: Error) -> Self {
        if error.is_retriable() { Self::Later(error) } else { Self::Stop(error) }
    }
}

impl Starter {
    /// Tries to begin all partitions of a job once.
    pub(crate) async fn start(&self, job: &Job) -> LiteMap<i32, Started> {
        let known = match self.positions.read(&job.topic, &job.partitions).await {
            Ok(known) => known,
            Err(error) => {
                let error = Arc::new(error);
                let failed = || Started::failed(alike(&error, "its position cannot be read"));
                return job.partitions.iter().map(|partition| (*partition, failed())).gather();
            }
        };
        let mut begun: Answers<Position> = Answers::new();
        let mut unknown = Vec::new();
        for partition in &job.partitions {
            match known.get(partition) {
                Some(position) => drop(begun.insert(*partition, Ok(position.clone()))),
                None => unknown.push(*partition),
            }
        }
        for (partition, answer) in self.resolve(job, &unknown).await {
            begun.insert(partition, answer);
        }
        self.validate(&job.topic, &mut begun).await;
        self.claim(&job.topic, &mut begun, job.losses).await;
        if job.end == End::AtStartsEnd {
            self.refuse_beyond(&job.topic, &mut begun).await;
        }
        let started = |begun: Result<Position>| begun.map_or_else(Started::failed, |position| Started::At { position });
        begun.into_iter().map(|(partition, begun)| (partition, started(begun))).gather()
    }

    /// Positions for partitions that never had one, written before anything is fetched, so that a crash does not
    /// resolve `latest` again further on.
    async fn resolve(&self, job: &Job, partitions: &[i32]) -> Answers<Position> {
        let policy = if job.found == Found::Later { Reset::Earliest } else { self.reset };
        let edge = match policy {
            _ if partitions.is_empty() => return Answers::new(),
            Reset::Earliest => Edge::First,
            Reset::Latest => Edge::End(self.isolation),
            Reset::Stop => {
                let stop = |partition: &i32| (*partition, Err(self.no_position(&job.topic, *partition)));
                return partitions.iter().map(stop).gather();
            }
        };
        let reason = match job.found {
            Found::Later => "the partition is new".to_owned(),
            Found::AtStart => format!("auto.offset.reset={}", policy.as_str()),
        };
        let mut resolved = Answers::new();
        for (partition, offset) in self.lookup(&job.topic).offsets(partitions, edge).await {
            let written = match offset {
                Ok(offset) => self.begin_at(&job.topic, partition, offset, &reason, job.losses).await,
                Err(error) => Err(error),
            };
            resolved.insert(partition, written);
        }
        resolved
    }

    /// Writes the position of a partition that has none in a store.
    pub(crate) async fn begin_at(
        &self,
        topic: &Topic,
        partition: i32,
        next: i64,
        reason: &str,
        losses: u64,
    ) -> Result<Position> {
        let token = fastrand::u128(..);
        let start = Start { partition, expected: 0, token, next, leader_epoch: -1, reason: reason.to_owned() };
        match self.positions.write(topic, start, losses).await {
            // Somebody else wrote it meanwhile: theirs is read at the next try.
            Err(error) if error.code() == ErrorCode::StoreConflict => Err(error.retriable()),
            written => written,
        }
    }

    /// Stops partitions whose log is not the one that was read before (KIP-320).
    async fn validate(&self, topic: &Topic, begun: &mut Answers<Position>) {
        let epoch = |position: &Position| (position.leader_epoch >= 0).then_some(position.leader_epoch);
        let known = begun.iter().filter_map(|(partition, begun)| Some((*partition, epoch(begun.as_ref().ok()?)?)));
        let asked: LiteMap<i32, i32> = known.gather();
        if asked.is_empty() {
            return;
        }
        for (partition, answer) in self.lookup(topic).epoch_ends(&asked).await {
            let Some(Ok(position)) = begun.get(&partition) else { continue };
            let at = TopicPartition::new(topic.name.clone(), partition);
            let judged = answer.and_then(|end| self.judge(&at, position.next, position.leader_epoch, end));
            if let Err(error) = judged {
                begun.insert(partition, Err(error));
            }
        }
    }

    /// Lets the group know whose positions these are. A claim that is not answered holds the partition up.
    async fn claim(&self, topic: &Topic, begun: &mut Answers<Position>, losses: u64) {
        let held = begun.iter().filter_map(|(partition, begun)| Some((*partition, begun.as_ref().ok()?.clone())));
        let held: BTreeMap<i32, Position> = held.gather();
        if held.is_empty() {
            return;
        }
        match self.positions.claim(topic, &held, losses).await {
            Ok(refused) => refused.into_iter().for_each(|(partition, error)| drop(begun.insert(partition, Err(error)))),
            Err(error) => {
                let error = Arc::new(error);
                let failed = || alike(&error, "its claim on the group cannot be committed");
                held.into_keys().for_each(|partition| drop(begun.insert(partition, Err(failed()))));
            }
        }
    }

    /// A position beyond the log's end is not an end that is reached (rule R12).
    async fn refuse_beyond(&self, topic: &Topic, begun: &mut Answers<Position>) {
        let known: Vec<i32> = begun.iter().filter(|(_, begun)| begun.is_ok()).map(|(part, _)| *part).collect();
        for (partition, end) in self.lookup(topic).offsets(&known, Edge::End(self.isolation)).await {
            let Some(Ok(position)) = begun.get(&partition) else { continue };
            let judged = match end {
                Ok(end) if position.next > end => self.out_of_range(topic, partition, position.next).await.map(drop),
                Ok(_) => Ok(()),
                Err(error) => Err(error),
            };
            if let Err(error) = judged {
                begun.insert(partition, Err(error));
            }
        }
    }

    /// Whether what was read up to `next`, under `epoch`, is still what the partition's leader has.
    pub(crate) async fn validate_one(&self, topic: &Topic, partition: i32, next: i64, epoch: i32) -> Result<()> {
        let asked = [(partition, epoch)].into_iter().gather();
        let at = TopicPartition::new(topic.name.clone(), partition);
        match self.lookup(topic).epoch_ends(&asked).await.remove(&partition) {
            Some(answer) => self.judge(&at, next, epoch, answer?),
            None => Ok(()),
        }
    }

    fn judge(&self, at: &TopicPartition, next: i64, epoch: i32, end: EpochEnd) -> Result<()> {
        judge(at, next, epoch, end).map_err(|diverged| diverged.remedy(self.positions.way_out(at)))
    }

    /// Where to go on in a partition whose broker says that `next` is outside its log.
    pub(crate) async fn out_of_range(&self, topic: &Topic, partition: i32, next: i64) -> Result<Outside> {
        let lookup = self.lookup(topic);
        let missing = || Error::new(ErrorCode::Protocol, "the broker told no offset").retriable();
        let first = lookup.offsets(&[partition], Edge::First).await.remove(&partition).ok_or_else(missing)??;
        let edge = Edge::End(Isolation::ReadUncommitted);
        let end = lookup.offsets(&[partition], edge).await.remove(&partition).ok_or_else(missing)??;
        let at = TopicPartition::new(topic.name.clone(), partition);
        let stop = |error: Error| Err(error.at(Place::record(&at, next)).remedy(self.positions.way_out(&at)));
        if (first..=end).contains(&next) {
            return Ok(Outside::Inside);
        }
        if next > end {
            return stop(beyond(next, end));
        }
        match (self.positions.at_deleted(), self.reset) {
            (AtDeleted::Reset, Reset::Earliest) => Ok(Outside::GoOn(first)),
            (AtDeleted::Reset, Reset::Latest) => Ok(Outside::GoOn(end)),
            (AtDeleted::Stop, _) | (AtDeleted::Reset, Reset::Stop) => stop(before(next, first)),
        }
    }

    fn no_position(&self, topic: &Topic, partition: i32) -> Error {
        let at = TopicPartition::new(topic.name.clone(), partition);
        Error::new(ErrorCode::OffsetOutOfRange, "the partition has no position, and auto.offset.reset is none")
            .at(Place::partition(&at))
            .remedy(self.positions.way_out(&at))
    }

    fn lookup<'s>(&'s self, topic: &'s Topic) -> Lookup<'s> {
        Lookup { cluster: &self.cluster, topic: &topic.name }
    }
}

/// What to do with a position that a broker called outside its log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outside {
    /// It is inside by now: ask again.
    Inside,
    /// Go on from this offset, by `auto.offset.reset`.
    GoOn(i64),
}

/// Compares what was read, up to `next` and last under `epoch`, with where the leader's log has that epoch's end.
fn judge(at: &TopicPartition, next: i64, epoch: i32, end: EpochEnd) -> Result<()> {
    let known = end.epoch >= 0 && end.end >= 0;
    if known && end.end >= next {
        return Ok(());
    }
    let sentence = if known {
        let lost = next.saturating_sub(end.end);
        format!("leader epoch {epoch} ends at {} in the log: {lost} offsets that were read before are gone", end.end)
    } else {
        format!("the log knows no leader epoch {epoch}, under which it was read before")
    };
    Err(Error::new(ErrorCode::Diverged, sentence).at(Place::record(at, next)))
}

/// The log has lost what is next.
fn before(next: i64, first: i64) -> Error {
    let gone = first.saturating_sub(next);
    let sentence = format!("the log begins at {first}: {gone} offsets were deleted before they were read");
    Error::new(ErrorCode::OffsetOutOfRange, sentence)
}

/// The log was cut, or is another one.
fn beyond(next: i64, end: i64) -> Error {
    let sentence = format!("the log ends at {end}, before the position {next}: it was cut, or this is another cluster");
    Error::new(ErrorCode::OffsetOutOfRange, sentence)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(next: i64, epoch: i32, end: i64) -> Result<()> {
        judge(&TopicPartition::new("orders", 3), next, 5, EpochEnd { epoch, end })
    }

    #[test]
    fn a_log_that_still_has_what_was_read_goes_on() {
        assert!(judged(40, 5, 40).is_ok());
        assert!(judged(40, 5, 90).is_ok());
        assert!(judged(40, 4, 41).is_ok());
    }

    #[test]
    fn a_log_that_lost_what_was_read_stops_the_partition_and_says_how_much() {
        let error = judged(40, 4, 33).unwrap_err();
        assert_eq!(error.code(), ErrorCode::Diverged);
        assert!(error.to_string().contains("7 offsets"), "{error}");
        assert!(!error.is_retriable());
        assert!(judged(40, -1, -1).unwrap_err().to_string().contains("no leader epoch 5"));
    }
}
