//! One run of a consumer, from its topic's metadata to its clean end.
//!
//! ```text
//!  stop, wishes ----+
//!  reader.next() ---+--> loop --> dispatch.begin, feed, retire
//!  dispatch.step() -+        \--> reader.restart, stall, stop        end reached, limit, stop --> finish
//! ```

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::time::Instant;

use super::Summary;
use super::assignment::{Assignment, Incarnation};
use super::builder::End;
use super::commit::{Committer, GroupOffsets, Pace};
use super::companion::Companion;
use super::config::ConsumerConfig;
use super::control::{Concern, Control, Wish};
use super::dispatch::{Dispatch, Step};
use super::goal::{Goal, Group};
use super::group::session::{Membership, Session};
use super::patience::Patience;
use super::positions::Positions;
use super::reader::{News, Reader, Surroundings};
use super::standstill::Standstills;
use super::start::Starter;
use crate::cluster::{Cluster, Missing, TopicState, TopicView};
use crate::config::properties;
use crate::error::told;
use crate::flight::{Because, Witness};
use crate::store::{Steering, Topic};
use crate::{Error, ErrorCode, Result};

/// How long a topic that was just made may be unknown to a broker before a run until the end calls it missing.
const TOPIC_GRACE: Duration = Duration::from_secs(5);

/// How often it is looked whether everything moves on.
const LOOK_ROUND: Duration = Duration::from_secs(1);

/// A consumer that is ready to run.
pub(crate) struct Run {
    pub(crate) cluster: Cluster,
    pub(crate) topic: Arc<str>,
    pub(crate) config: Arc<ConsumerConfig>,
    pub(crate) control: Control,
    pub(crate) positions: Arc<dyn Positions>,
    pub(crate) offsets: Arc<GroupOffsets>,
    pub(crate) committer: Arc<Committer>,
    /// Until the run has begun.
    pub(crate) membership: Option<(Membership, Session)>,
    pub(crate) dispatch: Box<dyn Dispatch>,
    pub(crate) companion: Option<Box<dyn Companion>>,
    pub(crate) _wheel: Option<Arc<dyn Steering>>,
    pub(crate) end: End,
    pub(crate) commits: Commits,
    pub(crate) _witness: Witness,
}

/// What the commits to Kafka are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Commits {
    /// Where the next run begins: an end without them is not clean.
    Positions,
    /// For lag tools only (rule R10).
    News,
}

/// Why a run ends.
#[derive(Debug)]
pub(super) enum Ending {
    /// What was asked for is reached, or somebody asked to stop.
    Clean,
    /// Nothing can go on, or what was asked for cannot be reached.
    Failed(Error),
}

/// What one run keeps in mind.
pub(super) struct Course {
    goal: Option<Goal>,
    /// What is to be given back once it is settled and committed.
    pub(super) revoked: Vec<(Incarnation, Vec<i32>)>,
    patience: Patience,
    pub(super) standstills: Standstills,
    pub(super) paused: bool,
    draining: bool,
}

impl Course {
    fn new(goal: Option<Goal>, patience: Patience) -> Self {
        Self {
            goal,
            revoked: Vec::new(),
            patience,
            standstills: Standstills::default(),
            paused: false,
            draining: false,
        }
    }
}

impl Run {
    /// Runs to the end. The future is boxed here, so that it is compiled with this crate and not once more in each that
    /// awaits it from generic code.
    pub(crate) fn run<'s>(self: Box<Self>, stop: BoxFuture<'s, ()>) -> BoxFuture<'s, Result<Summary>> {
        self.to_the_end(stop).boxed()
    }

    async fn to_the_end(mut self: Box<Self>, stop: BoxFuture<'_, ()>) -> Result<Summary> {
        let mut stop = stop.fuse();
        let Some(membership) = self.membership.take() else {
            return Err(Error::new(ErrorCode::Closed, "the consumer has run already"));
        };
        let mut reader = self.reader(membership);
        self.companion.iter_mut().for_each(|companion| companion.begin());
        let ending = tokio::select! {
            biased;
            () = &mut stop => Ending::Clean,
            ending = self.work(&mut reader) => ending,
        };
        let finished = self.finish(reader).await;
        self.control.concern(Concern::Running, "the consumer has ended");
        match (ending, finished) {
            (Ending::Failed(error), _) => Err(error),
            (Ending::Clean, finished) => finished.map(|()| self.control.summary()),
        }
    }

    fn reader(&self, (membership, mut session): (Membership, Session)) -> Reader {
        let positions = self.positions.clone();
        session.ask(Arc::new(move || {
            let positions = positions.clone();
            async move { positions.admit().await }.boxed()
        }));
        let starter = Starter {
            cluster: self.cluster.clone(),
            positions: self.positions.clone(),
            reset: self.config.reset,
            isolation: self.config.isolation,
        };
        let around = Surroundings {
            cluster: self.cluster.clone(),
            topic: self.topic.clone(),
            config: self.config.clone(),
            control: self.control.clone(),
            end: self.end,
            request_timeout: self.cluster.config().millis(&properties::REQUEST_TIMEOUT),
        };
        Reader::new(around, Assignment::new(membership, session), Arc::new(starter))
    }

    async fn work(&mut self, reader: &mut Reader) -> Ending {
        let topic = match self.find_topic().await {
            Ok(topic) => topic,
            Err(error) => return Ending::Failed(error),
        };
        if let Some(ending) = self.be_admitted().await {
            return ending;
        }
        let goal = match self.find_goal(&topic).await {
            Ok(goal) => goal,
            Err(error) => return Ending::Failed(error),
        };
        self.control.relieve(Concern::Running);
        reader.join(&Topic::new(topic.id, topic.name.clone()), topic.partition_count());
        let patience = Patience::new(self.cluster.config().millis(&properties::MAX_POLL_INTERVAL));
        self.go(reader, Course::new(goal, patience)).await
    }

    async fn go(&mut self, reader: &mut Reader, mut course: Course) -> Ending {
        let mut wishes = self.control.wishes();
        wishes.mark_changed();
        let mut look = tokio::time::interval(self.config.api_timeout.max(Duration::from_millis(1)));
        look.reset();
        let mut clock = tokio::time::interval(course.patience.pace());
        let mut round = tokio::time::interval(LOOK_ROUND);
        let mut seen = self.control.summary();
        loop {
            let drained = course.draining && self.dispatch.is_drained();
            let reached = self.is_reached(&course) && self.companion.as_ref().is_none_or(|beside| beside.is_done());
            if self.dispatch.is_limit_reached() || reached || drained {
                return Ending::Clean;
            }
            let ending = tokio::select! {
                news = reader.next() => self.take(news, &mut course),
                step = self.dispatch.step() => self.follow(step, reader),
                Ok(()) = wishes.changed() => {
                    let wishes = wishes.borrow_and_update().clone();
                    course.draining = wishes.wish == Wish::Drain;
                    course.paused = wishes.wish == Wish::Pause;
                    reader.set_paused(wishes.wish != Wish::Run);
                    self.hold(&wishes);
                    None
                }
                () = self.committer.answered(), if !course.revoked.is_empty() => None,
                () = changed(&mut course.goal) => None,
                _ = round.tick() => {
                    self.dispatch.record();
                    self.look_round(reader, &mut course);
                    None
                }
                _ = clock.tick() => self.be_patient(reader, &mut course.patience),
                _ = look.tick() => self.stuck(std::mem::replace(&mut seen, self.control.summary())),
            };
            if let Some(ending) = ending {
                return ending;
            }
            if !course.revoked.is_empty() {
                self.release(reader, &mut course);
            }
        }
    }

    /// Waits for the topic to exist. A run until the end does not wait long: nothing would ever end it. Any other does not wait
    /// for a partition without a leader: the others need not stand still because of it.
    async fn find_topic(&mut self) -> Result<Arc<TopicView>> {
        let begun = Instant::now();
        loop {
            let found = self.cluster.topic(&self.topic, Missing::Refuse, self.config.backoff.delay(9, 0.0)).await;
            let error = match found {
                Ok(topic) => return Ok(topic),
                Err(error) => error,
            };
            if self.end == End::Never
                && let Some(TopicState::Known(topic)) = self.cluster.view().topic(&self.topic)
            {
                return Ok(topic.clone());
            }
            let patience = match self.end {
                End::Never => Duration::MAX,
                End::AtStartsEnd if error.code() == ErrorCode::UnknownTopic => TOPIC_GRACE,
                End::AtStartsEnd => self.config.api_timeout,
            };
            if begun.elapsed() >= patience || (!error.is_retriable() && error.code() != ErrorCode::UnknownTopic) {
                return Err(error);
            }
            self.control.concern(Concern::Topic, told(&error));
            tokio::time::sleep(self.config.backoff.delay(0, fastrand::f64())).await;
        }
    }

    /// The ends that a run until the end is to reach.
    async fn find_goal(&mut self, topic: &TopicView) -> Result<Option<Goal>> {
        if self.end == End::Never {
            return Ok(None);
        }
        let (begun, isolation) = (Instant::now(), self.config.isolation);
        let mut failures = 0;
        loop {
            let group = Group {
                topic: Topic::new(topic.id, topic.name.clone()),
                offsets: self.offsets.clone(),
                positions: self.positions.clone(),
            };
            match Goal::find(&self.cluster, group, topic.partition_count(), isolation).await {
                Ok(goal) => return Ok(Some(goal)),
                Err(error) if !error.is_retriable() || begun.elapsed() >= self.config.api_timeout => return Err(error),
                Err(error) => self.control.concern(Concern::Running, told(&error)),
            }
            self.cluster.refresh();
            tokio::time::sleep(self.config.backoff.delay(failures, fastrand::f64())).await;
            failures = failures.saturating_add(1);
        }
    }

    fn take(&mut self, news: News, course: &mut Course) -> Option<Ending> {
        match news {
            News::Begun { topic, partition, position } => {
                self.committer.admit(partition);
                course.goal.iter_mut().for_each(|goal| goal.begun(partition));
                self.dispatch.begin(topic, partition, position);
            }
            News::Fetched(fetched) => self.dispatch.feed(fetched),
            News::Joined => course.goal.iter_mut().for_each(Goal::joined),
            News::Assigned { partitions } => course.goal.iter_mut().for_each(|goal| goal.gained(&partitions)),
            News::Lost { incarnation, partitions } => {
                self.control.flights().trouble(Because::Fence);
                self.committer.lost(&partitions);
                for partition in &partitions {
                    self.dispatch.retire(*partition);
                    // It may have begun between the loss and here.
                    self.control.forget_partition(*partition);
                }
                course.goal.iter_mut().for_each(|goal| goal.gave_up(&partitions));
                for (_, revoked) in course.revoked.iter_mut().filter(|(revoked, _)| *revoked == incarnation) {
                    revoked.retain(|partition| !partitions.contains(partition));
                }
                course.revoked.retain(|(_, partitions)| !partitions.is_empty());
            }
            News::Revoked { incarnation, partitions } => {
                partitions.iter().for_each(|partition| self.dispatch.retire(*partition));
                self.committer.set_pace(Pace::AtOnce);
                course.revoked.push((incarnation, partitions));
            }
            News::Stopped { partition, error } => return self.stopped(partition, error),
            News::Failed(error) => return Some(Ending::Failed(error)),
            News::Left => {}
        }
        None
    }

    fn follow(&mut self, step: Step, reader: &mut Reader) -> Option<Ending> {
        match step {
            Step::Done => {}
            Step::Restart { partition } => reader.restart(partition),
            Step::Stalled { partition, next } => reader.stall(partition, next),
            Step::Resumed { partition } => reader.resume(partition),
            Step::Stopped { partition, error } => {
                reader.stop(partition);
                return self.stopped(partition, error);
            }
            Step::Tripped { partition, error } => return self.tripped(partition, error),
            Step::Failed(error) => return Some(Ending::Failed(error)),
        }
        None
    }

    fn is_reached(&self, course: &Course) -> bool {
        course.goal.as_ref().is_some_and(|goal| goal.is_reached(|partition| self.dispatch.position(partition)))
    }

    /// A run until the end that makes no headway for `default.api.timeout.ms` and is not ready will not get there.
    fn stuck(&self, before: Summary) -> Option<Ending> {
        let health = self.control.health();
        let is_busy = self.companion.as_ref().is_some_and(|beside| !beside.is_done());
        let stuck = self.end == End::AtStartsEnd && !health.is_ready() && !is_busy && before == self.control.summary();
        stuck.then(|| {
            let waited = self.config.api_timeout.as_millis();
            let sentence = format!("the end was not reached: no headway in {waited} ms: {health}");
            Ending::Failed(Error::new(ErrorCode::Timeout, sentence))
        })
    }

    /// Gives up what was revoked, once it is settled and committed (rule R6).
    fn release(&mut self, reader: &mut Reader, course: &mut Course) {
        let clear = |(_, partitions): &mut (Incarnation, Vec<i32>)| {
            partitions.iter().all(|partition| self.dispatch.is_clear(*partition) && !self.committer.has(*partition))
        };
        let settled: Vec<_> = course.revoked.extract_if(.., clear).collect();
        for (incarnation, partitions) in settled {
            partitions.iter().for_each(|partition| self.committer.forget(*partition));
            course.goal.iter_mut().for_each(|goal| goal.gave_up(&partitions));
            reader.released(incarnation, &partitions);
        }
        if course.revoked.is_empty() {
            self.committer.set_pace(Pace::Steady);
        }
    }
}

async fn changed(goal: &mut Option<Goal>) {
    match goal {
        Some(goal) => goal.changed().await,
        None => std::future::pending().await,
    }
}
