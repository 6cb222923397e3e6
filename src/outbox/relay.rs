//! The task that publishes a store's events as they come: it does what [`Rounds`] decides.
//!
//! ```text
//!  store --lease, pages, news--> Rounds --publish--> topics, notifier
//!    ^                             |  ^                 |
//!    +---- let go, under tokens ---+  +---- receipts ---+        something stays: health says why
//! ```

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::desk::{Desk, machine_page};
use super::post::Post;
use super::rounds::{Effect, Event, Fault, Hand, Leased, Rounds, Seen};
use crate::backoff::Backoff;
use crate::config::{ClientConfig, properties};
use crate::consumer::companion::Companion;
use crate::consumer::{Concern, Control};
use crate::error::told;
use crate::producer::Pending;
use crate::shutdown::Tasks;
use crate::store::{BackOffice, Backlog, Done, Mark, SetAside, Tidings};
use crate::{Error, ErrorCode, Result};

/// A lease is renewed when one part in so many of it has passed.
const RENEWAL_SHARE: u32 = 3;
/// How often the outbox is measured while there is something in it.
const MEASURED: Duration = Duration::from_secs(2);
/// How long giving the shards back may take; otherwise they are free when the lease ends.
const LEAVE_WITHIN: Duration = Duration::from_secs(2);

/// Relays beside a consumer's run.
pub(super) struct Relay {
    work: Arc<Work>,
    tasks: Tasks,
}

struct Work {
    office: Arc<dyn BackOffice>,
    post: Post,
    control: Control,
    backoff: Backoff,
    /// The name under which shards are leased.
    name: u128,
    /// `outbox.lease.ms`.
    lease: Duration,
    /// `outbox.poll.ms`.
    poll: Duration,
    /// `outbox.hand.bytes`.
    hand_bytes: u64,
    began: Instant,
    /// What stays in the store, and why.
    stays: Mutex<Stays>,
}

#[derive(Clone, Debug, Default)]
struct Stays {
    rows: u64,
    why: Option<String>,
}

impl Relay {
    pub(super) fn new(office: Arc<dyn BackOffice>, post: Post, control: Control, config: &ClientConfig) -> Self {
        let (first, longest) =
            (config.millis(&properties::RETRY_BACKOFF), config.millis(&properties::RETRY_BACKOFF_MAX));
        let work = Work {
            office,
            post,
            control,
            backoff: Backoff::new(first, longest),
            name: fastrand::u128(..),
            lease: config.millis(&properties::OUTBOX_LEASE),
            poll: config.millis(&properties::OUTBOX_POLL),
            hand_bytes: config.number(&properties::OUTBOX_HAND_BYTES),
            began: Instant::now(),
            stays: Mutex::default(),
        };
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
            self.work.post.topics.close();
            if ended && stays.rows == 0 {
                return Ok(());
            }
            let how_many = match stays.rows {
                0 => "some".to_owned(),
                rows => rows.to_string(),
            };
            let why = stays.why.unwrap_or_else(|| format!("the time of {} ms was up", within.as_millis()));
            let sentence = format!("{how_many} rows of the outbox were not relayed: {why}");
            Err(Error::new(ErrorCode::Timeout, sentence).remedy("the store has them, and the next run relays them"))
        }
        .boxed()
    }
}

impl Work {
    async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut news = self.office.news();
        news.mark_unchanged();
        let mut rounds = self.control.flights().recorder().watch(Rounds::of(self.hand_bytes), None);
        let (mut desk, mut events) = (Desk::default(), VecDeque::from([Event::News]));
        while let Some(event) = events.pop_front() {
            for effect in rounds.step(Seen { at: self.now(), event }) {
                match effect {
                    Effect::Lease(balance) => events.push_back(self.lease(&mut desk, balance).await),
                    Effect::Read(after, shards, hand) => {
                        events.push_back(self.read(&mut desk, (after, shards), hand).await);
                    }
                    Effect::Publish(number, part, shards) => {
                        events.push_back(self.publish(&mut desk, (number, part), shards).await);
                    }
                    Effect::Await => self.receipts(&mut desk, &mut events).await,
                    Effect::Linger(until) => events.push_back(self.linger(until, &mut news, &stop).await),
                    Effect::LetGo(gone) => events.push_back(self.let_go(&mut desk, gone).await),
                    Effect::Stay(rows) => self.tell(&desk, rows),
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
                        events.push_back(self.rest(&desk, &mut news, &stop).await);
                    }
                    Effect::End => return self.leave(&desk).await,
                }
            }
        }
    }

    /// Waits for news or for the end; a store that others write as well is looked at from time to time.
    async fn rest(&self, desk: &Desk, news: &mut watch::Receiver<u64>, stop: &CancellationToken) -> Event {
        let poll = async {
            match desk.leases.within {
                Some(_) => tokio::time::sleep(self.poll).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            changed = news.changed() => if changed.is_ok() { Event::News } else { Event::Stopped },
            () = stop.cancelled() => Event::Stopped,
            () = poll => Event::Due,
        }
    }

    /// Waits for news until a moment, in milliseconds since the relay began.
    async fn linger(&self, until: u64, news: &mut watch::Receiver<u64>, stop: &CancellationToken) -> Event {
        let until = tokio::time::sleep_until(self.began + Duration::from_millis(until));
        tokio::select! {
            biased;
            () = stop.cancelled() => Event::Stopped,
            changed = news.changed() => if changed.is_ok() { Event::News } else { Event::Stopped },
            () = until => Event::Due,
        }
    }

    async fn leave(&self, desk: &Desk) {
        if desk.leases.within.is_none() {
            return;
        }
        let left = tokio::time::timeout(LEAVE_WITHIN, self.office.leave(self.name)).await;
        if !matches!(left, Ok(Ok(()))) {
            tracing::debug!("the shards of the outbox were not given back; they are free when the lease ends");
        }
    }

    fn complaint(&self) -> String {
        let stays = self.stays().clone();
        let oldest = match self.control.outbox().oldest {
            Some(at) => format!(" (the oldest since {})", super::headers::instant(at)),
            None => String::new(),
        };
        let Stays { rows, why } = stays;
        format!("{rows} rows of the outbox wait to be relayed: {}{oldest}", why.unwrap_or_default())
    }

    fn tell(&self, desk: &Desk, rows: u64) {
        *self.stays() = Stays { rows, why: desk.why.clone() };
        if rows == 0 {
            self.control.note_outbox(Backlog::default());
        }
    }

    /// Milliseconds since the relay began.
    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    async fn lease(&self, desk: &mut Desk, balance: bool) -> Event {
        // The time of a lease counts from before it was asked for.
        let asked = self.now();
        match self.office.lease(self.name, self.lease, balance).await {
            Ok(leases) => {
                let renew_after = leases.within.map(|within| within / RENEWAL_SHARE);
                let renew_at = renew_after.map_or(u64::MAX, |after| {
                    asked.saturating_add(u64::try_from(after.as_millis()).unwrap_or(u64::MAX))
                });
                let (shards, kept) = (leases.mask(), leases.kept(&desk.leases));
                desk.leases = leases;
                Event::Leased(Leased { shards, kept, renew_at })
            }
            Err(error) => desk.store_failed(&error),
        }
    }

    async fn read(&self, desk: &mut Desk, (after, shards): (Mark, u64), hand: Hand) -> Event {
        self.measure(desk).await;
        if hand == Hand::New {
            desk.begin_hand();
        }
        match self.office.waiting(after, shards).await {
            Ok(waiting) => {
                let is_shared = desk.leases.within.is_some();
                let page = machine_page(&waiting, is_shared, |tidings, part| self.post.topic(tidings, part));
                desk.events.extend(waiting.events);
                Event::Page(page)
            }
            Err(error) => desk.store_failed(&error),
        }
    }

    async fn measure(&self, desk: &mut Desk) {
        if desk.measured.is_some_and(|at| at.elapsed() < MEASURED) {
            return;
        }
        desk.measured = Some(Instant::now());
        if let Ok(backlog) = self.office.backlog().await {
            self.control.note_outbox(backlog);
        }
    }

    async fn publish(&self, desk: &mut Desk, (number, part): (u64, u8), shards: u64) -> Event {
        let Some(event) = desk.place(number).and_then(|place| desk.events.get(place)) else {
            return Event::Unwritten(number, part, Fault::Record);
        };
        let accepted = match (self.post.post(event, part, shards).await, &event.tidings) {
            (Err(error), Tidings::Letter(letter)) if error.code() == ErrorCode::TooLarge => {
                self.in_brief(letter, &error).await.map(|pending| vec![pending])
            }
            (accepted, _) => accepted,
        };
        match accepted {
            Ok(pending) => {
                desk.posted.push(((number, part), pending));
                Event::Accepted(number, part)
            }
            Err(error) => desk.unwritten((number, part), &error),
        }
    }

    async fn receipts(&self, desk: &mut Desk, events: &mut VecDeque<Event>) {
        for ((number, part), pending) in std::mem::take(&mut desk.posted) {
            let (mut written, events_of_row) = (Ok(()), pending.len());
            for receipt in pending {
                written = written.and(receipt.await.map(drop));
            }
            let event = desk.place(number).and_then(|place| desk.events.get(place));
            let written = match (written, event.map(|event| &event.tidings)) {
                (Err(error), Some(Tidings::Letter(letter))) if error.code() == ErrorCode::TooLarge => {
                    match self.in_brief(letter, &error).await {
                        Ok(pending) => pending.await.map(drop),
                        Err(error) => Err(error),
                    }
                }
                (written, _) => written,
            };
            let topic = event.and_then(|event| self.post.topic(&event.tidings, part));
            events.push_back(match written {
                Ok(()) => {
                    self.count(topic, events_of_row);
                    Event::Written(number, part)
                }
                Err(error) => desk.unwritten((number, part), &error),
            });
        }
    }

    fn count(&self, topic: Option<String>, events: usize) {
        if let Some(topic) = topic {
            self.control.note_relayed(&topic, events as u64);
        }
    }

    async fn let_go(&self, desk: &mut Desk, gone: Vec<Done>) -> Event {
        match self.office.published(gone, desk.under.clone()).await {
            Ok(lost) => Event::Gone(lost),
            Err(error) => desk.store_failed(&error),
        }
    }

    /// A record that is too large for its topic is told of without its bytes, which the store keeps: nobody can make it
    /// smaller, so it would stay for ever.
    async fn in_brief(&self, letter: &SetAside, refused: &Error) -> Result<Pending> {
        let (id, topic) = (letter.id, self.post.topics.of(letter));
        tracing::warn!(
            %id, topic, refused = told(refused),
            "a dead letter or refusal is too large for its topic, which tells of it without its record; the store has \
             that: `orders dlq show {id} --store W`; raise max.request.size here and max.message.bytes of the topic"
        );
        self.post.topics.post_in_brief(letter).await
    }

    fn stays(&self) -> std::sync::MutexGuard<'_, Stays> {
        self.stays.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
