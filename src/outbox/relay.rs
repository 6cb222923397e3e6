//! The task that publishes a store's events as they come.
//!
//! ```text
//!  news, start, a failure's wait --> round: page by page, waiting() -> post -> receipts -> published()
//!                                      | all gone: ready again        | something stays: health says why
//! ```
//! A round tries every event once, so one that cannot be written holds up no other.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use super::topics::Topics;
use crate::backoff::Backoff;
use crate::consumer::companion::Companion;
use crate::consumer::{Concern, Control};
use crate::error::told;
use crate::producer::Pending;
use crate::shutdown::Tasks;
use crate::store::{BackOffice, SetAside, Waiting};
use crate::{Error, ErrorCode, Result};

/// Relays beside a consumer's run.
pub(super) struct Relay {
    work: Arc<Work>,
    tasks: Tasks,
}

struct Work {
    office: Arc<dyn BackOffice>,
    topics: Topics,
    control: Control,
    backoff: Backoff,
    /// What stays in the store, and why.
    stays: Mutex<Stays>,
}

#[derive(Clone, Debug, Default)]
struct Stays {
    events: usize,
    why: Option<String>,
}

/// What could not be published in one round.
#[derive(Default)]
struct Failed {
    /// These take nothing now.
    topics: Vec<String>,
    first: Option<Error>,
}

impl Failed {
    fn note(&mut self, topic: String, error: Error) {
        // A record that is too large says nothing about the others.
        if error.code() != ErrorCode::TooLarge && !self.topics.contains(&topic) {
            self.topics.push(topic);
        }
        self.first.get_or_insert(error);
    }
}

impl Relay {
    pub(super) fn new(office: Arc<dyn BackOffice>, topics: Topics, control: Control, backoff: Backoff) -> Self {
        let work = Work { office, topics, control, backoff, stays: Mutex::default() };
        Self { work: Arc::new(work), tasks: Tasks::new() }
    }
}

impl Companion for Relay {
    fn begin(&mut self) {
        self.tasks.spawn(self.work.clone().run(self.tasks.stop_signal()));
    }

    fn finish(&mut self, within: Duration) -> BoxFuture<'_, Result<()>> {
        async move {
            let ended = self.tasks.finish(within).await;
            let stays = self.work.stays().clone();
            self.work.topics.close();
            if ended && stays.events == 0 {
                return Ok(());
            }
            let how_many = match stays.events {
                0 => "some".to_owned(),
                events => events.to_string(),
            };
            let why = stays.why.unwrap_or_else(|| format!("the time of {} ms was up", within.as_millis()));
            let sentence = format!("{how_many} dead letters or refusals were not relayed: {why}");
            Err(Error::new(ErrorCode::Timeout, sentence).remedy("the store has them, and the next run relays them"))
        }
        .boxed()
    }
}

impl Work {
    async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut news = self.office.news();
        let (mut done, mut failures) = (0, 0_u32);
        loop {
            news.mark_unchanged();
            match self.round(&mut done).await {
                Err(error) if error.code() == ErrorCode::Closed => return,
                Err(error) => {
                    self.stays().why.get_or_insert_with(|| told(&error));
                    failures = failures.saturating_add(1);
                    self.control.concern(Concern::Outbox, self.complaint());
                    tracing::warn!(failures, reason = self.complaint(), "the outbox is not relayed");
                    tokio::time::sleep(self.backoff.delay(failures - 1, fastrand::f64())).await;
                }
                Ok(()) => {
                    failures = 0;
                    self.control.relieve(Concern::Outbox);
                    tokio::select! {
                        biased;
                        changed = news.changed() => if changed.is_err() { return },
                        () = stop.cancelled() => return,
                    }
                }
            }
        }
    }

    fn complaint(&self) -> String {
        let stays = self.stays().clone();
        format!("{} dead letters or refusals wait to be relayed: {}", stays.events, stays.why.unwrap_or_default())
    }

    /// Tries every event behind number `done` once, and moves that over those that are gone.
    async fn round(&self, done: &mut u64) -> Result<()> {
        let (mut at, mut left, mut failed) = (*done, 0, Failed::default());
        let mut first_left = None;
        loop {
            let page = self.office.waiting(at).await?;
            let (is_last, until) = (page.is_last, page.until);
            let stay = self.publish(page, &mut failed).await?;
            left += stay.len();
            first_left = first_left.or(stay.first().copied());
            at = until;
            if is_last {
                break;
            }
        }
        *done = first_left.map_or(at, |first| first.saturating_sub(1));
        *self.stays() = Stays { events: left, why: failed.first.as_ref().map(told) };
        failed.first.map_or(Ok(()), Err)
    }

    /// Publishes a page. Returns the events that stay.
    async fn publish(&self, page: Waiting, failed: &mut Failed) -> Result<Vec<u64>> {
        let (mut gone, mut stay, mut posted) = (page.spent, Vec::new(), Vec::new());
        for (event, letter) in &page.letters {
            let topic = self.topics.of(letter);
            if failed.topics.contains(&topic) {
                stay.push(*event);
                continue;
            }
            let accepted = match self.topics.post(letter).await {
                Err(error) if error.code() == ErrorCode::TooLarge => self.in_brief(letter, &error).await,
                accepted => accepted,
            };
            match accepted {
                Ok(pending) => posted.push((*event, letter, topic, pending)),
                Err(error) => {
                    stay.push(*event);
                    failed.note(topic, error);
                }
            }
        }
        for (event, letter, topic, pending) in posted {
            let written = match pending.await {
                Err(error) if error.code() == ErrorCode::TooLarge => match self.in_brief(letter, &error).await {
                    Ok(pending) => pending.await,
                    Err(error) => Err(error),
                },
                written => written,
            };
            match written {
                Ok(_) => gone.push(event),
                Err(error) => {
                    stay.push(event);
                    failed.note(topic, error);
                }
            }
        }
        if !gone.is_empty() {
            self.office.published(gone).await?;
        }
        stay.sort_unstable();
        Ok(stay)
    }

    /// A record that is too large for its topic is told of without its bytes, which the store keeps: nobody can make it
    /// smaller, so it would stay for ever.
    async fn in_brief(&self, letter: &SetAside, refused: &Error) -> Result<Pending> {
        let (id, topic) = (letter.id, self.topics.of(letter));
        tracing::warn!(
            %id, topic, refused = told(refused),
            "a dead letter or refusal is too large for its topic, which tells of it without its record; the store has \
             that: `orders dlq show {id} --store W`; raise max.request.size here and max.message.bytes of the topic"
        );
        self.topics.post_in_brief(letter).await
    }

    fn stays(&self) -> std::sync::MutexGuard<'_, Stays> {
        self.stays.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
