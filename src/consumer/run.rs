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
use litemap::LiteMap;
use tokio::time::Instant;

use super::assignment::{AllPartitions, Incarnation};
use super::builder::End;
use super::commit::Committer;
use super::config::ConsumerConfig;
use super::control::{Concern, Control, Wish};
use super::dispatch::{Dispatch, Step};
use super::positions::Positions;
use super::reader::{News, Reader, Surroundings, told};
use super::start::Starter;
use super::{Engine, Summary};
use crate::cluster::{Cluster, Missing};
use crate::config::properties;
use crate::{Error, ErrorCode, Result};

/// How long a topic that was just made may be unknown to a broker before a run until the end calls it missing.
const TOPIC_GRACE: Duration = Duration::from_secs(5);

/// A share of the shutdown timeout is kept for the last commit.
const COMMIT_SHARE: u32 = 4;

/// A consumer that is ready to run.
pub(crate) struct Run<D> {
    pub(crate) cluster: Cluster,
    pub(crate) topic: Arc<str>,
    pub(crate) config: Arc<ConsumerConfig>,
    pub(crate) control: Control,
    pub(crate) positions: Arc<dyn Positions>,
    pub(crate) committer: Arc<Committer>,
    pub(crate) dispatch: D,
    pub(crate) end: End,
    pub(crate) commits: Commits,
}

/// What the commits to Kafka are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Commits {
    /// Where the next run begins: an end without them is not clean.
    Positions,
    /// For lag tools only (rule R10).
    News,
}

impl<D: Dispatch> Engine for Run<D> {
    fn run<'s>(self: Box<Self>, stop: BoxFuture<'s, ()>) -> BoxFuture<'s, Result<Summary>>
    where
        D: 's,
    {
        async move { self.to_the_end(stop).await }.boxed()
    }
}

/// Why a run ends.
#[derive(Debug)]
pub(super) enum Ending {
    /// What was asked for is reached, or somebody asked to stop.
    Clean,
    /// Nothing can go on, or what was asked for cannot be reached.
    Failed(Error),
}

/// What a run has to do before it may end by itself.
#[derive(Debug, Default)]
struct Goal {
    /// The partitions that are to be settled up to an end, with it.
    ends: LiteMap<i32, i64>,
    /// Whether the ends are known.
    is_set: bool,
}

impl<D: Dispatch> Run<D> {
    async fn to_the_end(mut self: Box<Self>, stop: BoxFuture<'_, ()>) -> Result<Summary> {
        let mut stop = stop.fuse();
        let mut reader = self.reader();
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

    fn reader(&self) -> Reader {
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
        Reader::new(around, Box::new(AllPartitions::default()), Arc::new(starter))
    }

    async fn work(&mut self, reader: &mut Reader) -> Ending {
        if let Err(error) = self.find_topic().await {
            return Ending::Failed(error);
        }
        if let Some(ending) = self.be_admitted().await {
            return ending;
        }
        self.control.relieve(Concern::Running);
        let mut goal = Goal::default();
        let mut wishes = self.control.wishes();
        wishes.mark_changed();
        let mut draining = false;
        let mut revoked: Vec<(Incarnation, Vec<i32>)> = Vec::new();
        let mut look = tokio::time::interval(self.config.api_timeout.max(Duration::from_millis(1)));
        look.reset();
        let mut seen = self.control.summary();
        loop {
            if self.dispatch.is_limit_reached() || self.is_reached(&goal) || (draining && self.dispatch.is_drained()) {
                return Ending::Clean;
            }
            let ending = tokio::select! {
                news = reader.next() => self.take(news, &mut goal, &mut revoked),
                step = self.dispatch.step() => self.follow(step, reader),
                Ok(()) = wishes.changed() => {
                    let wish = *wishes.borrow_and_update();
                    draining = wish == Wish::Drain;
                    reader.set_paused(wish != Wish::Run);
                    self.dispatch.set_holding(wish == Wish::Pause);
                    None
                }
                _ = look.tick() => self.stuck(std::mem::replace(&mut seen, self.control.summary())),
            };
            if let Some(ending) = ending {
                return ending;
            }
            self.release(reader, &mut revoked).await;
        }
    }

    /// Waits for the topic to exist. A run until the end does not wait long: nothing would ever end it.
    async fn find_topic(&mut self) -> Result<()> {
        let begun = Instant::now();
        loop {
            let found = self.cluster.topic(&self.topic, Missing::Refuse, self.config.backoff.delay(9, 0.0)).await;
            let Err(error) = found else { return Ok(()) };
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

    fn take(&mut self, news: News, goal: &mut Goal, revoked: &mut Vec<(Incarnation, Vec<i32>)>) -> Option<Ending> {
        match news {
            News::Begun { topic, partition, position, end } => {
                if let Some(end) = end {
                    goal.ends.insert(partition, end);
                }
                self.dispatch.begin(topic, partition, position);
            }
            News::Fetched(fetched) => self.dispatch.feed(fetched),
            News::Assigned { partitions } => goal.expect(self.end, &partitions),
            News::Lost { partition } => {
                goal.ends.remove(&partition);
                self.committer.forget(partition);
                self.dispatch.retire(partition);
            }
            News::Revoked { incarnation, partitions } => {
                partitions.iter().for_each(|partition| self.dispatch.retire(*partition));
                revoked.push((incarnation, partitions));
            }
            News::Stopped { partition, error } => return self.stopped(partition, error),
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
            Step::Failed(error) => return Some(Ending::Failed(error)),
        }
        None
    }

    /// A partition cannot go on. The others do, unless the run is to reach all ends.
    fn stopped(&mut self, partition: i32, error: Error) -> Option<Ending> {
        let reason = told(&error);
        tracing::error!(partition, reason, "a partition stops");
        self.control.concern(Concern::Partition(partition), format!("partition {partition} has stopped: {reason}"));
        (self.end == End::AtStartsEnd).then_some(Ending::Failed(error))
    }

    fn is_reached(&self, goal: &Goal) -> bool {
        let reached = |(partition, end): (&i32, &i64)| self.dispatch.position(*partition).is_some_and(|at| at >= *end);
        goal.is_set && goal.ends.iter().all(reached)
    }

    /// A run until the end that makes no headway for `default.api.timeout.ms` and is not ready will not get there.
    fn stuck(&self, before: Summary) -> Option<Ending> {
        let health = self.control.health();
        let stuck = self.end == End::AtStartsEnd && !health.is_ready() && before == self.control.summary();
        stuck.then(|| {
            let waited = self.config.api_timeout.as_millis();
            let sentence = format!("the end was not reached: no headway in {waited} ms: {health}");
            Ending::Failed(Error::new(ErrorCode::Timeout, sentence))
        })
    }

    /// Gives up what was revoked, once it is settled and committed (rule R6).
    async fn release(&mut self, reader: &mut Reader, revoked: &mut Vec<(Incarnation, Vec<i32>)>) {
        let clear = |(_, partitions): &mut (Incarnation, Vec<i32>)| {
            partitions.iter().all(|partition| self.dispatch.is_clear(*partition))
        };
        let settled: Vec<_> = revoked.extract_if(.., clear).collect();
        for (incarnation, partitions) in settled {
            self.committer.flush(self.config.api_timeout).await;
            reader.released(incarnation, partitions);
        }
    }

    /// The clean end (G7): nothing more is read, what is in hand is finished and committed, within the timeout.
    async fn finish(&mut self, mut reader: Reader) -> Result<()> {
        let within = self.config.shutdown_timeout;
        let deadline = Instant::now() + within;
        self.dispatch.finish();
        let idle = async {
            while !self.dispatch.is_idle() {
                if let Step::Failed(error) = self.dispatch.step().await {
                    return Err(error);
                }
            }
            Ok(())
        };
        let (idle, ()) = tokio::join!(
            tokio::time::timeout(within - within / COMMIT_SHARE, idle),
            reader.finish(within - within / COMMIT_SHARE),
        );
        let committed = self.committer.flush(deadline.saturating_duration_since(Instant::now())).await;
        self.committer.finish(deadline.saturating_duration_since(Instant::now())).await;
        self.dispatch.close().await?;
        match idle {
            Ok(finished) => finished?,
            Err(_) => return Err(cut_short("orders in hand were not finished", within)),
        }
        match (committed, self.commits) {
            (true, _) => Ok(()),
            (false, Commits::Positions) => Err(cut_short("positions were not committed", within)),
            (false, Commits::News) => {
                tracing::warn!("positions were not committed to Kafka; the store has them");
                Ok(())
            }
        }
    }
}

impl Goal {
    /// The ends of these partitions are to be reached, as soon as they are known.
    fn expect(&mut self, end: End, partitions: &[i32]) {
        if end == End::AtStartsEnd && !self.is_set {
            self.is_set = true;
            self.ends = partitions.iter().map(|partition| (*partition, i64::MAX)).collect();
        }
    }
}

fn cut_short(what: &str, within: Duration) -> Error {
    let sentence = format!("the stop was cut short after {} ms: {what}", within.as_millis());
    Error::new(ErrorCode::Timeout, sentence).remedy("they come again with the next run; raise shutdown.timeout.ms")
}
