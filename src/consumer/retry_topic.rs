//! Reading a topic's retry topic beside it: there is what was a dead letter and is tried again.
//!
//! `orders dlq replay` publishes to `<topic>-retry`. A consumer by handler reads that topic too, as a second member of its
//! group, so that its positions, its waits and its breakers have nothing to do with those of the topic. It does so from the
//! topic's beginning, whatever `auto.offset.reset` says: what stands there was asked for.
//!
//! ```text
//!  orders        --Run----------------------------+--> handler
//!                   \ companion: is it there? --> |
//!  orders-retry  --Run, a second member ----------+
//! ```
//! A record that was replayed for another group is passed over.
//!
//! A consumer with a store of deliveries reads `delivery_updates` in the same way ([`super::updates`]).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::OrderConsumer;
use super::builder::End;
use super::companion::Companion;
use super::control::{Concern, Control};
use super::run::Run;
use crate::backoff::Backoff;
use crate::cluster::{Cluster, Missing, TopicState};
use crate::error::told;
use crate::shutdown::Tasks;
use crate::store::EventId;
use crate::{Error, ErrorCode, Result};

/// What the name of a topic ends with whose records are another's, tried again.
pub(crate) const RETRY: &str = "-retry";
/// What a dead-letter topic's name ends with.
pub(crate) const DEAD: &str = "-dlt";

/// Says for which group a record was replayed.
pub(crate) const REPLAYED_FOR: &str = "dead-letter-replayed-for";
/// Says of which record on the dead-letter topic a replayed one is the copy.
pub(crate) const REPLAYED_FROM: &str = "dead-letter-replayed-from";
/// Says under which name a record was set aside.
pub(crate) const NAME: &str = "dead-letter-id";

/// The longest between two looks whether the topic has been made.
const LOOK: Duration = Duration::from_secs(10);

/// How long a run without headway is waited for.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at how far the run is; and how long a topic is looked for that need not be there.
const GLANCE: Duration = Duration::from_millis(200);

/// What a look for the topic came to.
enum Found {
    Topic,
    Nothing,
}

/// Whether the records of this topic are another's, tried again.
pub(crate) fn is_retry(topic: &str) -> bool {
    topic.ends_with(RETRY)
}

/// Whether a record was replayed for another group than this one.
pub(crate) fn is_for_another<'a>(group: &str, mut replayed_for: impl Iterator<Item = Option<&'a [u8]>>) -> bool {
    replayed_for.next().flatten().is_some_and(|named| named != group.as_bytes())
}

/// The name under which a record was set aside before it was replayed.
pub(crate) fn name_of<'a>(mut headers: impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)>) -> Option<EventId> {
    let (_, value) = headers.find(|(name, _)| *name == NAME.as_bytes())?;
    std::str::from_utf8(value?).ok()?.parse().ok()
}

/// Makes a consumer of the retry topic. It has connections of its own: a broker answers the requests of one connection in
/// turn, so that two members who wait there to join would wait for each other.
pub(crate) type Make = Box<dyn Fn() -> BoxFuture<'static, Result<(Box<Run>, Control)>> + Send + Sync>;

/// How a topic is read beside another one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    /// What it is called.
    pub(crate) name: &'static str,
    pub(crate) begins: Begins,
    pub(crate) counts: Counts,
    pub(crate) end: End,
}

/// Whether what is settled beside counts as settled by the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Counts {
    Together,
    Apart,
}

/// When the reading begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Begins {
    /// As soon as the topic is there.
    AtOnce,
    /// Not before the run has settled what its own topic had.
    AfterTheRun,
}

impl Terms {
    /// As dead letters are read that are tried again.
    pub(crate) const RETRY: Self =
        Self { name: "the retry topic", begins: Begins::AtOnce, counts: Counts::Together, end: End::Never };
}

/// Reads the retry topic for as long as a run reads the topic.
pub(crate) struct RetryTopic {
    terms: Terms,
    is_done: Arc<AtomicBool>,
    work: Option<Work>,
    tasks: Tasks,
    ending: CancellationToken,
    ended: Option<oneshot::Receiver<Result<()>>>,
}

/// What the reading takes.
struct Work {
    terms: Terms,
    cluster: Cluster,
    topic: Arc<str>,
    control: Control,
    backoff: Backoff,
    make: Make,
}

impl RetryTopic {
    /// Nothing is read yet. `control` is the run's that this one stands beside.
    pub(crate) fn new(
        terms: Terms,
        cluster: Cluster,
        topic: Arc<str>,
        (control, backoff): (Control, Backoff),
        make: Make,
    ) -> Self {
        let work = Some(Work { terms, cluster, topic, control, backoff, make });
        let is_done = Arc::new(AtomicBool::new(terms.end == End::Never));
        Self { terms, is_done, work, tasks: Tasks::new(), ending: CancellationToken::new(), ended: None }
    }
}

impl Companion for RetryTopic {
    fn begin(&mut self) {
        let Some(work) = self.work.take() else { return };
        let (tell, ended) = oneshot::channel();
        self.ended = Some(ended);
        let (ending, dropped, is_done) = (self.ending.clone(), self.tasks.stop_signal(), self.is_done.clone());
        self.tasks.spawn(async move {
            tokio::select! {
                biased;
                () = dropped.cancelled() => {}
                ended = work.read(&ending) => {
                    drop(tell.send(ended));
                    is_done.store(true, Ordering::Release);
                }
            }
        });
    }

    fn is_done(&self) -> bool {
        self.is_done.load(Ordering::Acquire)
    }

    fn ending(&mut self) {
        self.ending.cancel();
    }

    fn finish(&mut self, within: Duration) -> BoxFuture<'_, Result<()>> {
        async move {
            self.ending.cancel();
            let Some(ended) = self.ended.take() else { return Ok(()) };
            let ended = tokio::time::timeout(within, ended).await;
            self.tasks.finish(Duration::ZERO).await;
            match ended {
                Ok(Ok(ended)) => ended,
                Ok(Err(_)) => Err(Error::new(ErrorCode::Internal, format!("the reading of {} ended", self.terms.name))),
                Err(_) => {
                    let (name, waited) = (self.terms.name, within.as_millis());
                    let sentence = format!("the records of {name} were not finished in {waited} ms");
                    Err(Error::new(ErrorCode::Timeout, sentence).remedy("they come again with the next run"))
                }
            }
        }
        .boxed()
    }
}

impl Work {
    /// Reads until `ending`, or until the run is drained. What fails is told and begun again.
    async fn read(self, ending: &CancellationToken) -> Result<()> {
        let mut failures = 0;
        loop {
            match ending.run_until_cancelled(self.until_it_may_be_read()).await {
                None | Some(Found::Nothing) => return Ok(()),
                Some(Found::Topic) => {}
            }
            let Some(made) = ending.run_until_cancelled((self.make)()).await else { return Ok(()) };
            let ended = match made {
                Ok((engine, control)) => {
                    tracing::info!(topic = %self.topic, "{} is read, too", self.terms.name);
                    self.control.stand_beside(self.topic.clone(), control, self.terms.counts);
                    engine.run(Box::pin(ending.cancelled())).await.map(drop)
                }
                Err(error) => Err(error),
            };
            match ended {
                Err(error) if !ending.is_cancelled() && self.terms.end == End::Never => {
                    let reason = format!("{} is not read: {}", self.topic, told(&error));
                    tracing::warn!("{reason}");
                    self.control.concern(Concern::RetryTopic, reason);
                }
                ended => return ended,
            }
            let wait = tokio::time::sleep(self.backoff.delay(failures, fastrand::f64()));
            failures = failures.saturating_add(1);
            if ending.run_until_cancelled(wait).await.is_none() {
                return Ok(());
            }
            self.control.relieve(Concern::RetryTopic);
        }
    }

    async fn until_it_may_be_read(&self) -> Found {
        let is_there = match self.terms.end {
            End::Never => true,
            End::AtStartsEnd => self.cluster.topic(&self.topic, Missing::Refuse, GLANCE).await.is_ok(),
        };
        if !is_there {
            return Found::Nothing;
        }
        self.until_it_is_there().await;
        if self.terms.begins == Begins::AfterTheRun {
            self.until_the_run_has_caught_up().await;
        }
        Found::Topic
    }

    /// Waits until the run has settled what its topic has, or makes no headway. A member that has no partitions is not
    /// waited for.
    async fn until_the_run_has_caught_up(&self) {
        let (mut seen, mut moved) = (self.control.summary(), Instant::now());
        loop {
            let (lag, summary) = (self.control.lag(), self.control.summary());
            if summary != seen {
                (seen, moved) = (summary, Instant::now());
            }
            let is_at_end = !lag.is_empty() && lag.iter().all(|lag| lag.records() == Some(0));
            let patience = if lag.is_empty() { LOOK } else { PATIENCE };
            if is_at_end || moved.elapsed() >= patience {
                return;
            }
            tokio::time::sleep(GLANCE).await;
        }
    }

    /// Waits for the topic to be made. One that may not be seen is taken for none: most groups have none.
    async fn until_it_is_there(&self) {
        let mut views = self.cluster.views();
        if let Err(error) = self.cluster.watch(&self.topic) {
            tracing::warn!(%error, topic = %self.topic, "{} cannot be watched", self.terms.name);
        }
        self.cluster.refresh();
        while !matches!(views.borrow_and_update().topic(&self.topic), Some(TopicState::Known(_))) {
            match tokio::time::timeout(LOOK, views.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => std::future::pending().await,
                Err(_) => self.cluster.refresh(),
            }
        }
    }
}

impl<O> OrderConsumer<O> {
    /// What runs, and its handle.
    pub(crate) fn into_parts(self) -> (Box<Run>, Control) {
        (self.engine, self.control)
    }
}
