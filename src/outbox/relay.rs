//! The task that publishes a store's events as they come: it does what [`Rounds`] decides.
//!
//! ```text
//!  store --pages, news--> Rounds --publish--> topics
//!    ^                      |  ^                 |
//!    +------ let go --------+  +--- receipts ----+        something stays: health says why
//! ```

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use super::rounds::{Effect, Event, Fault, Page, Rounds, Row};
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

/// The letters of a page, and what became of those that the producer took.
#[derive(Default)]
struct Desk {
    letters: Vec<(u64, SetAside)>,
    posted: Vec<(u64, Pending)>,
    /// What failed first in this round.
    why: Option<String>,
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
        news.mark_unchanged();
        let mut rounds = self.control.flights().recorder().watch(Rounds::default(), None);
        let (mut desk, mut events) = (Desk::default(), VecDeque::from([Event::News]));
        while let Some(event) = events.pop_front() {
            for effect in rounds.step(event) {
                match effect {
                    Effect::Read(after) => events.push_back(self.read(&mut desk, after).await),
                    Effect::Publish(number) => events.push_back(self.publish(&mut desk, number).await),
                    Effect::Await => self.receipts(&mut desk, &mut events).await,
                    Effect::LetGo(gone) => events.push_back(self.let_go(&mut desk, gone).await),
                    Effect::Stay(events) => self.tell(&desk, usize::try_from(events).unwrap_or(usize::MAX)),
                    Effect::Wait(failures) => {
                        self.stays().why = desk.why.take();
                        self.control.concern(Concern::Outbox, self.complaint());
                        tracing::warn!(failures, reason = self.complaint(), "the outbox is not relayed");
                        tokio::time::sleep(self.backoff.delay(failures, fastrand::f64())).await;
                        news.mark_unchanged();
                        events.push_back(Event::Due);
                    }
                    Effect::Rest => {
                        self.control.relieve(Concern::Outbox);
                        events.push_back(tokio::select! {
                            biased;
                            changed = news.changed() => if changed.is_ok() { Event::News } else { Event::Stopped },
                            () = stop.cancelled() => Event::Stopped,
                        });
                    }
                    Effect::End => return,
                }
            }
        }
    }

    fn complaint(&self) -> String {
        let stays = self.stays().clone();
        format!("{} dead letters or refusals wait to be relayed: {}", stays.events, stays.why.unwrap_or_default())
    }

    fn tell(&self, desk: &Desk, events: usize) {
        *self.stays() = Stays { events, why: desk.why.clone() };
    }

    async fn read(&self, desk: &mut Desk, after: u64) -> Event {
        match self.office.waiting(after).await {
            Ok(Waiting { letters, spent, until, is_last }) => {
                let row = |(number, letter): &(u64, SetAside)| Row { number: *number, topic: self.topics.of(letter) };
                let rows = letters.iter().map(row).collect();
                desk.letters = letters;
                desk.posted.clear();
                Event::Page(Page { rows, spent, until, is_last })
            }
            Err(error) => desk.store_failed(&error),
        }
    }

    async fn publish(&self, desk: &mut Desk, number: u64) -> Event {
        let Some((_, letter)) = desk.letters.iter().find(|(known, _)| *known == number) else {
            return Event::Unwritten(number, Fault::Record);
        };
        let accepted = match self.topics.post(letter).await {
            Err(error) if error.code() == ErrorCode::TooLarge => self.in_brief(letter, &error).await,
            accepted => accepted,
        };
        match accepted {
            Ok(pending) => {
                desk.posted.push((number, pending));
                Event::Accepted(number)
            }
            Err(error) => desk.unwritten(number, &error),
        }
    }

    async fn receipts(&self, desk: &mut Desk, events: &mut VecDeque<Event>) {
        for (number, pending) in std::mem::take(&mut desk.posted) {
            let letter = desk.letters.iter().find(|(known, _)| *known == number).map(|(_, letter)| letter);
            let written = match (pending.await, letter) {
                (Err(error), Some(letter)) if error.code() == ErrorCode::TooLarge => {
                    match self.in_brief(letter, &error).await {
                        Ok(pending) => pending.await,
                        Err(error) => Err(error),
                    }
                }
                (written, _) => written,
            };
            events.push_back(match written {
                Ok(_) => Event::Written(number),
                Err(error) => desk.unwritten(number, &error),
            });
        }
    }

    async fn let_go(&self, desk: &mut Desk, gone: Vec<u64>) -> Event {
        match self.office.published(gone).await {
            Ok(()) => Event::Gone,
            Err(error) => desk.store_failed(&error),
        }
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

impl Desk {
    fn unwritten(&mut self, number: u64, error: &Error) -> Event {
        self.why.get_or_insert_with(|| told(error));
        // A record that is too large says nothing about the others.
        let is_alone = error.code() == ErrorCode::TooLarge;
        Event::Unwritten(number, if is_alone { Fault::Record } else { Fault::Topic })
    }

    fn store_failed(&mut self, error: &Error) -> Event {
        self.why.get_or_insert_with(|| told(error));
        Event::Failed(if error.code() == ErrorCode::Closed { Fault::Closed } else { Fault::Store })
    }
}
