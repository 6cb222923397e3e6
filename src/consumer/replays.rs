//! Asking a handler about dead letters whose replay is requested, beside the run of a store that it takes part in.
//!
//! ```text
//!  store --requested, a page--> in hand --key free--> validator, handler --Reply--> store: one transaction
//!    ^  news, outbox.poll.ms                 ^             |
//!    |                                       +--- again ---+ back-off
//!    +--- what the end of the run cuts short stays requested
//! ```
//! No row is in hand twice. Rows of one key are asked about one after the other; nothing is promised against the orders that
//! the log brings meanwhile.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::FutureExt;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use tokio::sync::{Semaphore, oneshot, watch};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::companion::Companion;
use super::config::{ConsumerConfig, RetryConfig};
use super::control::{Concern, Control};
use super::delivered::Origin;
use super::dispatch::handler::call::{Answer, panicked};
use super::record::RecordBytes;
use super::retry::Verdict;
use super::{Concurrency, Delivered, Failure, Outcome};
use crate::backoff::Backoff;
use crate::config::{ClientConfig, properties};
use crate::error::told;
use crate::order::{Order, Violation};
use crate::place::TopicPartition;
use crate::shutdown::Tasks;
use crate::store::{EventId, Overlay, Replays, Reply, Requested, Said};
use crate::wire::record_batch::{Header, RecordFields};
use crate::{Error, ErrorCode, Result};

/// How many rows are in hand at most.
const HANDS: usize = 64;

/// Where requested rows come from.
pub(crate) struct Source {
    pub(crate) replays: Arc<dyn Replays>,
    /// Changes when rows may have been requested.
    pub(crate) news: watch::Receiver<u64>,
}

/// Makes what asks about requested rows.
pub(crate) type MakeAsking = Box<dyn FnOnce(Source, Terms, Control) -> Box<dyn Companion> + Send>;

/// What the asking goes by.
pub(crate) struct Terms {
    pub(crate) concurrency: Concurrency,
    pub(crate) retry: RetryConfig,
    /// Between two tries of a store that fails.
    pub(crate) backoff: Backoff,
    /// `outbox.poll.ms`: how often a store is looked at that others write as well.
    pub(crate) poll: Duration,
    /// `max.poll.interval.ms`: how long one call may take.
    pub(crate) longest: Duration,
}

impl Terms {
    pub(crate) fn read(settings: &ClientConfig, config: &ConsumerConfig, concurrency: Concurrency) -> Self {
        let (poll, longest) =
            (settings.millis(&properties::OUTBOX_POLL), settings.millis(&properties::MAX_POLL_INTERVAL));
        Self { concurrency, retry: config.retry, backoff: config.backoff, poll, longest }
    }
}

/// Asks about requested rows beside a run.
pub(crate) struct Asking<O, C> {
    work: Option<Work<O, C>>,
    is_done: Arc<AtomicBool>,
    tasks: Tasks,
    ending: CancellationToken,
    ended: Option<oneshot::Receiver<()>>,
}

struct Work<O, C> {
    replays: Arc<dyn Replays>,
    news: watch::Receiver<u64>,
    /// Calls that may be under way.
    free: Semaphore,
    /// Replies are settled one after the other: they have the orders of the log share the store with them.
    settling: Semaphore,
    call: C,
    terms: Terms,
    control: Control,
    is_done: Arc<AtomicBool>,
    ending: CancellationToken,
    order: PhantomData<fn() -> O>,
}

impl<O, C> Asking<O, C> {
    /// Nothing is asked yet.
    pub(crate) fn new(source: Source, call: C, terms: Terms, control: Control) -> Self {
        let Source { replays, news } = source;
        let limit = match terms.concurrency {
            Concurrency::InOrder => 1,
            Concurrency::PerKey(orders) => orders,
        };
        let (is_done, ending) = (Arc::new(AtomicBool::new(false)), CancellationToken::new());
        let free = Semaphore::new(limit.min(HANDS));
        let (done, end, order) = (is_done.clone(), ending.clone(), PhantomData);
        let settling = Semaphore::new(1);
        let work = Work { replays, news, free, settling, call, terms, control, is_done: done, ending: end, order };
        Self { work: Some(work), is_done, tasks: Tasks::new(), ending, ended: None }
    }
}

impl<O, C, F> Companion for Asking<O, C>
where
    O: Order,
    C: Fn(Delivered<O>) -> F + Send + Sync + 'static,
    F: Future<Output = Answer> + Send + 'static,
{
    fn begin(&mut self) {
        let Some(work) = self.work.take() else { return };
        let (tell, ended) = oneshot::channel();
        self.ended = Some(ended);
        let dropped = self.tasks.stop_signal();
        self.tasks.spawn(async move {
            tokio::select! {
                biased;
                () = dropped.cancelled() => {}
                () = work.run() => drop(tell.send(())),
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
            let ended = timeout(within, ended).await;
            self.tasks.finish(Duration::ZERO).await;
            if matches!(ended, Ok(Ok(()))) {
                return Ok(());
            }
            let sentence = format!("a requested dead letter was not finished in {} ms", within.as_millis());
            Err(Error::new(ErrorCode::Timeout, sentence)
                .remedy("it stays requested, and comes again with the next run"))
        }
        .boxed()
    }
}

impl<O, C, F> Work<O, C>
where
    O: Order,
    C: Fn(Delivered<O>) -> F + Send + Sync + 'static,
    F: Future<Output = Answer> + Send + 'static,
{
    /// Everything is polled together: who has a connection of the store must be able to give it back.
    async fn run(self) {
        let (mut news, mut failures) = (self.news.clone(), 0);
        let (mut in_hand, mut asked) = (BTreeMap::new(), FuturesUnordered::new());
        let mut looking = None::<BoxFuture<'_, Option<Vec<Requested>>>>;
        news.mark_changed();
        while !self.ending.is_cancelled() || !asked.is_empty() {
            let may_look = in_hand.len() < HANDS && !self.ending.is_cancelled();
            if may_look && looking.is_none() && news.has_changed().unwrap_or(true) {
                news.mark_unchanged();
                looking = Some(self.look(in_hand.keys().copied().collect(), failures).boxed());
            }
            let may_rest = may_look && looking.is_none();
            tokio::select! {
                Some(id) = asked.next(), if !asked.is_empty() => {
                    in_hand.remove(&id);
                    news.mark_changed();
                }
                Some(rows) = looked(&mut looking) => {
                    looking = None;
                    failures = if rows.is_some() { 0 } else { failures.saturating_add(1) };
                    match rows {
                        Some(rows) => {
                            asked.extend(take(&mut in_hand, rows).into_iter().map(|row| self.ask(row)));
                            self.is_done.store(in_hand.is_empty(), Ordering::Release);
                        }
                        None => news.mark_changed(),
                    }
                }
                () = self.ending.cancelled(), if !self.ending.is_cancelled() => {}
                changed = news.changed(), if may_rest => match changed {
                    Ok(()) => news.mark_changed(),
                    // The store is closed.
                    Err(_) => return,
                },
                () = sleep(self.terms.poll), if may_rest => news.mark_changed(),
            }
        }
    }

    /// Reads requested rows that are not in hand, as many as there is room for. `None`: it failed, and has waited.
    async fn look(&self, except: Vec<EventId>, failures: u32) -> Option<Vec<Requested>> {
        match self.replays.requested(&except, HANDS.saturating_sub(except.len())).await {
            Ok(rows) => {
                self.control.relieve(Concern::Replays);
                Some(rows)
            }
            Err(error) => {
                self.trouble("requested dead letters cannot be read", &error, failures).await;
                None
            }
        }
    }

    /// Asks about a row until it is settled, or the run ends.
    async fn ask(&self, row: Requested) -> EventId {
        let id = row.id;
        if let Some((said, tries)) = self.said(&row).await {
            self.settle(Reply { id, request: row.request, tries, said }).await;
        }
        id
    }

    /// What the handler says of a row in the end, in so many tries. `None`: the run ends before.
    async fn said(&self, row: &Requested) -> Option<(Said, u32)> {
        let first = match delivered::<O>(row) {
            Ok(order) => order,
            Err(violation) => {
                return Some((Said::SetAside(violation.code().as_str().into(), violation.to_string()), 1));
            }
        };
        let (mut attempt, mut failing) = (1_u32, None::<Instant>);
        loop {
            let free = self.ending.run_until_cancelled(self.free.acquire()).await?.ok()?;
            let (answer, overlay) = self.call(Delivered { attempt, ..first.clone() }).await;
            drop(free);
            let since = failing.map_or(Duration::ZERO, |failing| failing.elapsed());
            let said = match self.terms.retry.judge(answer, (attempt, since), fastrand::f64()) {
                Verdict::Done => Said::Done(overlay.unwrap_or_default()),
                Verdict::Refused(code) => Said::Refuse(code),
                Verdict::Failed(code, error) => Said::SetAside(code.into(), told(&error)),
                Verdict::Again { after, .. } => {
                    failing.get_or_insert_with(Instant::now);
                    attempt = attempt.saturating_add(1);
                    self.ending.run_until_cancelled(sleep(after)).await?;
                    continue;
                }
            };
            return Some((said, attempt));
        }
    }

    async fn call(&self, order: Delivered<O>) -> (Result<Outcome, Failure>, Option<Box<Overlay>>) {
        let called = AssertUnwindSafe(async { (self.call)(order).await }).catch_unwind();
        match timeout(self.terms.longest, called).await {
            Ok(Ok(Ok((outcome, overlay)))) => (Ok(outcome), overlay),
            Ok(Ok(Err(failure))) => (Err(failure), None),
            Ok(Err(panic)) => (Err(panicked(&*panic)), None),
            Err(_) => {
                let sentence = "the handler had a requested order for longer than max.poll.interval.ms";
                (Err(Failure::retriable(sentence)), None)
            }
        }
    }

    /// Settles a row. A store that fails is given the same reply again: it settles a request once.
    async fn settle(&self, reply: Reply) {
        let (mut failures, _one) = (0, self.settling.acquire().await);
        loop {
            match self.replays.settle(reply.clone()).await {
                Ok(row) => {
                    self.control.relieve(Concern::Replays);
                    tracing::info!(id = %row.id, did = ?row.did, row.reason, "a requested dead letter was tried again");
                    return;
                }
                Err(error) if error.code() == ErrorCode::Closed => return,
                Err(error) => self.trouble("a requested dead letter cannot be settled", &error, failures).await,
            }
            failures = failures.saturating_add(1);
        }
    }

    /// Waits after a failure. A run that is to end by itself does not wait for what cannot be done.
    async fn trouble(&self, what: &str, error: &Error, failures: u32) {
        self.is_done.store(true, Ordering::Release);
        let reason = format!("{what}: {}", told(error));
        tracing::warn!(reason, "the store fails");
        self.control.concern(Concern::Replays, reason);
        sleep(self.terms.backoff.delay(failures, fastrand::f64())).await;
    }
}

/// What was read, if something is being read.
async fn looked(looking: &mut Option<BoxFuture<'_, Option<Vec<Requested>>>>) -> Option<Option<Vec<Requested>>> {
    match looking {
        Some(looking) => Some(looking.await),
        None => std::future::pending().await,
    }
}

/// Takes rows in hand whose keys are not.
fn take(in_hand: &mut BTreeMap<EventId, Option<Vec<u8>>>, mut rows: Vec<Requested>) -> Vec<Requested> {
    rows.retain(|row| {
        let key = row.original.key.as_ref().map(|key| key.to_vec());
        let is_free = !in_hand.values().any(|other| *other == key);
        if is_free {
            in_hand.insert(row.id, key);
        }
        is_free
    });
    rows
}

/// The order of a row, as its handler is given it for the first time.
fn delivered<O: Order>(row: &Requested) -> Result<Delivered<O>, Violation> {
    let value = row.value()?;
    let mut order = O::decode(value)?;
    if let Some(identity) = &row.identity {
        order.set_identity(identity.clone());
    }
    let headers = row.original.headers.iter().map(|(key, value)| Header { key, value: value.as_deref() });
    let mut body = Vec::new();
    RecordFields::write(&mut body, row.original.key.as_deref(), Some(value), &headers.collect::<Vec<_>>());
    let at = TopicPartition::new(row.topic.name.clone(), row.partition);
    let origin = Arc::new(Origin { id: row.topic.id, at });
    let record = RecordBytes::new(body.into());
    Ok(Delivered { order, record, origin, offset: row.offset, timestamp: row.timestamp, attempt: 1 })
}
