//! What the reader does about metadata, answers and finished jobs.

use std::time::Duration;

use futures::FutureExt;
use litemap::LiteMap;

use super::super::assignment::{Found, Incarnation};
use super::super::builder::End;
use super::super::control::Concern;
use super::super::fetch::{Event, Fetched, Refusal, Stretch};
use super::super::start::{Job, Outside, Started};
use super::slot::Standing;
use super::{Done, News, Reader};
use crate::cluster::{TopicState, refusal};
use crate::error::told;
use crate::place::{Place, TopicPartition};
use crate::store::{Position, Topic};
use crate::wire::kafka_error::KafkaError;
use crate::{Error, ErrorCode, Result};

impl Reader {
    /// Takes the latest metadata into account.
    pub(super) fn observe(&mut self) {
        let state = self.views.borrow_and_update().topic(&self.around.topic).cloned();
        match state {
            Some(TopicState::Known(_)) => self.around.control.relieve(Concern::Topic),
            Some(TopicState::Failed(error)) => {
                let sentence = format!("topic {}: {}", self.around.topic, error.meaning());
                if !self.around.control.has(Concern::Topic) {
                    tracing::warn!("{sentence}");
                }
                self.around.control.concern(Concern::Topic, sentence);
                self.around.cluster.refresh();
            }
            None => self.around.cluster.refresh(),
        }
        self.follow_leaders();
    }

    /// Finds where partitions begin.
    pub(super) fn begin(
        &mut self,
        topic: Topic,
        incarnation: Incarnation,
        found: Found,
        partitions: Vec<i32>,
        end: End,
    ) {
        let wait = match self.start_failures {
            0 => Duration::ZERO,
            failures => self.around.config.backoff.delay(failures - 1, fastrand::f64()),
        };
        let starter = self.starter.clone();
        let job = Job { topic, partitions, found, end, losses: self.losses };
        let start = async move {
            if !wait.is_zero() {
                tokio::time::sleep(wait).await;
            }
            let started = starter.start(&job).await;
            Done::Started { incarnation, end: job.end, started }
        };
        self.jobs.push(start.boxed());
    }

    pub(super) fn finished(&mut self, done: Done) {
        match done {
            Done::Started { incarnation, end, started } => self.started(incarnation, end, started),
            Done::Checked { partition, stretch, outcome } if self.is_current(partition, stretch) => match outcome {
                Ok(()) => self.place_checked(partition),
                Err(error) if error.is_retriable() => self.place_later(partition, &told(&error)),
                Err(error) => self.fail(partition, error),
            },
            Done::Ranged { partition, stretch, outcome } if self.is_current(partition, stretch) => match outcome {
                Ok(Outside::Inside) => {
                    self.place_later(partition, "its broker calls an offset outside the log that is not")
                }
                Ok(Outside::GoOn(next)) => self.go_on(partition, next),
                Err(error) if error.is_retriable() => self.place_later(partition, &told(&error)),
                Err(error) => self.fail(partition, error),
            },
            Done::Moved { partition, stretch, outcome } if self.is_current(partition, stretch) => match outcome {
                Ok(position) => self.begun(partition, position),
                Err(error) if error.is_retriable() => self.place_later(partition, &told(&error)),
                Err(error) => self.fail(partition, error),
            },
            Done::Waited { partition, stretch } if self.is_current(partition, stretch) => self.place(partition),
            Done::Checked { .. } | Done::Ranged { .. } | Done::Moved { .. } | Done::Waited { .. } => {}
        }
    }

    fn is_current(&self, partition: i32, stretch: Stretch) -> bool {
        self.slots.get(&partition).is_some_and(|slot| slot.stretch == stretch)
    }

    fn started(&mut self, incarnation: Incarnation, end: End, started: LiteMap<i32, Started>) {
        let mut later: LiteMap<Found, (Topic, Vec<i32>)> = LiteMap::new();
        for (partition, started) in started {
            let Some(slot) = self.slots.get(&partition) else { continue };
            if slot.incarnation != incarnation || slot.standing != Standing::Starting {
                continue;
            }
            match started {
                Started::At { position } => self.begun(partition, position),
                Started::Stop(error) if !self.looks_again(&error) => self.fail(partition, error),
                Started::Later(error) | Started::Stop(error) => {
                    let reason = format!("partition {partition} cannot begin: {}", told(&error));
                    tracing::warn!(partition, error = told(&error), "a partition cannot begin yet");
                    later.entry(slot.found).or_insert((slot.topic.clone(), Vec::new())).1.push(partition);
                    self.around.control.concern(Concern::Partition(partition), reason);
                }
            }
        }
        if later.is_empty() {
            self.start_failures = 0;
            self.tell_started(incarnation);
        }
        for (found, (topic, partitions)) in later {
            self.start_failures = self.start_failures.saturating_add(1);
            self.begin(topic, incarnation, found, partitions, end);
        }
    }

    /// Another store's group may become free: that is looked at again, unless the run is to end by itself.
    fn looks_again(&self, error: &Error) -> bool {
        error.code() == ErrorCode::StoreClaimed && self.around.end == End::Never
    }

    fn begun(&mut self, partition: i32, position: Position) {
        let Some(slot) = self.slots.get_mut(&partition) else { return };
        slot.next = position.next;
        slot.epoch = position.leader_epoch;
        slot.stalled = false;
        slot.trouble = None;
        let topic = slot.topic.clone();
        self.around.control.relieve(Concern::Partition(partition));
        self.news.push_back(News::Begun { topic, partition, position });
        // The epoch was compared when the position was read.
        self.place_checked(partition);
    }

    /// What a fetch task says.
    pub(super) fn heard(&mut self, event: Event) {
        match event {
            Event::Fetched(fetched) => self.fetched(fetched),
            Event::Refused { partition, stretch, at, refusal } => {
                if self.is_current(partition, stretch) {
                    self.refused(partition, at, refusal);
                }
            }
            Event::Broker { node, trouble: Some(error) } => {
                let reason = told(&error);
                tracing::warn!(node, reason, "a broker cannot be fetched from");
                self.around.control.concern(Concern::Broker(node), format!("broker {node}: {reason}"));
                self.around.cluster.refresh();
            }
            Event::Broker { node, trouble: None } => self.around.control.relieve(Concern::Broker(node)),
        }
    }

    fn fetched(&mut self, mut fetched: Fetched) {
        let Some(slot) = self.slots.get_mut(&fetched.partition) else { return };
        if slot.stretch != fetched.stretch {
            return;
        }
        slot.next = fetched.next;
        slot.epoch = fetched.leader_epoch.unwrap_or(slot.epoch);
        slot.failures = 0;
        slot.trouble = None;
        let (partition, next) = (fetched.partition, fetched.next);
        let fault = fetched.fault.take();
        self.news.push_back(News::Fetched(fetched));
        if let Some(fault) = fault {
            let at = Place::record(&self.at(partition), next);
            let remedy = damaged(&self.starter.positions.way_out(&self.at(partition)));
            let error = Error::new(ErrorCode::Batch, "a batch cannot be read, so the partition stops").at(at);
            self.fail(partition, error.remedy(remedy).caused_by(fault));
        }
    }

    fn refused(&mut self, partition: i32, next: i64, refused: Refusal) {
        let at = self.at(partition);
        match refused {
            Refusal::TooLarge => {
                let sentence = "a batch is larger than a fetch may be";
                let error = Error::new(ErrorCode::TooLarge, sentence).at(Place::record(&at, next));
                self.fail(partition, error.remedy("raise fetch.max.bytes"));
            }
            Refusal::Answered(KafkaError::OffsetOutOfRange) => self.find_range(partition, next),
            Refusal::Answered(error) if error.is_retriable() => {
                tracing::debug!(partition, next, error = error.name(), "a fetch was refused");
                if error.needs_metadata() {
                    self.around.cluster.mark_stale(&at);
                }
                self.place_later(partition, error.meaning());
            }
            Refusal::Answered(error) => {
                self.fail(partition, refusal(error, "records were asked for").at(Place::record(&at, next)));
            }
        }
    }

    /// Asks again after a wait that grows with each refusal in a row.
    fn place_later(&mut self, partition: i32, why: &str) {
        self.release(partition);
        let stretch = self.set_standing(partition, Standing::Checking);
        let Some(slot) = self.slots.get_mut(&partition) else { return };
        let wait = self.around.config.backoff.delay(slot.failures, fastrand::f64());
        slot.failures = slot.failures.saturating_add(1);
        slot.meets(why);
        let waited = async move {
            tokio::time::sleep(wait).await;
            Done::Waited { partition, stretch }
        };
        self.jobs.push(waited.boxed());
    }

    fn find_range(&mut self, partition: i32, next: i64) {
        self.release(partition);
        let stretch = self.set_standing(partition, Standing::Checking);
        let Some(slot) = self.slots.get(&partition) else { return };
        let (starter, topic) = (self.starter.clone(), slot.topic.clone());
        let range = async move {
            let outcome = starter.out_of_range(&topic, partition, next).await;
            Done::Ranged { partition, stretch, outcome }
        };
        self.jobs.push(range.boxed());
    }

    /// Goes on elsewhere, as `auto.offset.reset` says; the new position is written first.
    fn go_on(&mut self, partition: i32, next: i64) {
        let reset = self.around.config.reset.as_str();
        let stretch = self.set_standing(partition, Standing::Checking);
        let Some(slot) = self.slots.get(&partition) else { return };
        tracing::warn!(partition, from = slot.next, to = next, reset, "records were deleted before they were read");
        let (starter, topic, losses) = (self.starter.clone(), slot.topic.clone(), self.losses);
        let reason = format!("auto.offset.reset={reset}: the log had lost what was next");
        let moved = async move {
            let outcome: Result<Position> = starter.begin_at(&topic, partition, next, &reason, losses).await;
            Done::Moved { partition, stretch, outcome }
        };
        self.jobs.push(moved.boxed());
    }

    fn fail(&mut self, partition: i32, error: Error) {
        // A store that has stopped has stopped for all partitions.
        if error.code() == ErrorCode::StoreIo {
            return self.news.push_back(News::Failed(error));
        }
        self.release(partition);
        self.set_standing(partition, Standing::Stopped);
        self.news.push_back(News::Stopped { partition, error });
    }

    fn at(&self, partition: i32) -> TopicPartition {
        TopicPartition::new(self.around.topic.clone(), partition)
    }
}

/// What to do about a batch that cannot be read.
pub(crate) fn damaged(way_out: &str) -> String {
    format!("the log is damaged there, go on behind it: {way_out}")
}
