//! A store with its effect: each call is one transaction, tried again where that helps.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio_postgres::types::Type;

use super::base::Base;
use super::effect::Effect;
use super::fault::late;
use super::handle::Engine;
use super::link::{Link, stored};
use super::positions::{self, Written, column};
use super::replay::replays;
use super::transaction::{Terms, Told, conflict, now, settle};
use crate::store::standing::Meeting;
use crate::store::{Applied, BackOffice, Batch, Position, Settled, Start, Topic};
use crate::{Error, ErrorCode, Result};

const STARTED: &str = "INSERT INTO starts (topic, partition, version, set_at, reason, closed)
                       VALUES ($1, $2, $3, $4, $5, $6)";

/// Partitions, the epoch under which they were given to this process, and whether that is confirmed.
pub(super) type Claim<'a> = (&'a [i32], i32, bool);

/// The effect of one order type in one store.
#[derive(Debug)]
pub(super) struct Keeper<E: Effect> {
    pub(super) base: Arc<Base>,
    pub(super) policy: E::Policy,
}

impl<E: Effect> Keeper<E> {
    pub(super) fn terms(&self) -> Terms<'_, E> {
        let max_bytes = self.base.settings.dead_letters_max_bytes;
        Terms { begin: self.base.begin(), owner: self.base.owner, policy: &self.policy, max_bytes, now: now() }
    }

    /// Tries a batch until it is settled, refused, or nothing more is to be tried.
    async fn settle(&self, batch: &Batch<E::Order>) -> Result<Applied> {
        let mut tries = self.base.tries();
        let (applied, told) = loop {
            let tried = within(&self.base, self.try_batch(batch)).await;
            if let ControlFlow::Break(done) = tries.judge(tried).await {
                break done?;
            }
        };
        self.tell(told);
        if E::ANNOUNCED {
            self.base.news.send_modify(|_| {});
        }
        self.forget_some().await;
        Ok(applied)
    }

    async fn try_batch(&self, batch: &Batch<E::Order>) -> Result<Told<Applied>> {
        let topic = self.base.topic(&batch.topic).await?;
        let replays = if E::ANNOUNCED { self.base.topic(&replays()).await? } else { topic };
        let lease = self.base.lease().await?;
        let done = settle(Link { client: lease.client()? }, &self.terms(), (topic, replays), batch).await;
        self.base.end(lease, done).await
    }

    /// Sets a position on purpose, closes the account of the way to it and begins another.
    async fn try_start(&self, topic: &Topic, start: &Start) -> Result<Position> {
        let number = self.base.topic(topic).await?;
        let lease = self.base.lease().await?;
        let done = self.start_on(Link { client: lease.client()? }, (topic, number), start).await;
        self.base.end(lease, done).await
    }

    async fn start_on(&self, link: Link<'_>, (topic, number): (&Topic, u32), start: &Start) -> Result<Position> {
        let partitions = [start.partition];
        let ((), stands) =
            futures::try_join!(link.plain(self.base.begin()), positions::lock(link, number, &partitions))?;
        let lost = || Error::new(ErrorCode::StoreIo, "a position was not locked").retriable();
        let before = &stands.get(&start.partition).ok_or_else(lost)?.standing;
        match before.meet(start.expected, start.token, (start.next, &Settled::new())) {
            Meeting::Repeated => {
                link.plain("ROLLBACK").await?;
                return Ok(before.position.clone());
            }
            Meeting::Conflict => {
                return Err(conflict(topic, start.partition, (before.position.version, start.expected)));
            }
            Meeting::Fresh => {}
        }
        let standing = before.starting(start.next, start.leader_epoch, start.token);
        let position = standing.position.clone();
        let mut closed = Vec::new();
        before.encode(&mut closed);
        let (topic, version, now) = (column(number), stored(position.version), now());
        let reason = start.reason.replace('\0', "\u{fffd}");
        let values = [
            (&topic as _, Type::INT4),
            (&start.partition as _, Type::INT4),
            (&version as _, Type::INT8),
            (&now as _, Type::INT8),
            (&reason as _, Type::TEXT),
            (&closed as _, Type::BYTEA),
        ];
        let written = [Written { partition: start.partition, standing, log_time: i64::MIN, identities: 0 }];
        let ((), (), ()) = futures::try_join!(
            link.run(STARTED, &values),
            positions::write(link, number, &written),
            link.plain("COMMIT")
        )?;
        Ok(position)
    }

    async fn try_claim(&self, topic: &Topic, (partitions, epoch, is_confirmed): Claim<'_>) -> Result<Vec<i32>> {
        let number = self.base.topic(topic).await?;
        let lease = self.base.lease().await?;
        let link = Link { client: lease.client()? };
        let claimed = async {
            let ((), stands) =
                futures::try_join!(link.plain(self.base.begin()), positions::lock(link, number, partitions))?;
            let owner = self.base.owner;
            let is_left = |stand: &&positions::Stand| {
                !is_confirmed && stand.foreign(owner).is_some_and(|foreign| foreign >= epoch)
            };
            let (left, taken): (Vec<_>, Vec<_>) = stands.values().partition(is_left);
            let [left, taken] = [left, taken].map(|stands| stands.iter().map(|stand| stand.partition).collect());
            let taken: Vec<i32> = taken;
            futures::try_join!(positions::claim(link, number, &taken, (owner, epoch)), link.plain("COMMIT"))?;
            Ok(left)
        };
        let claimed = claimed.await;
        self.base.end(lease, claimed).await
    }

    async fn try_positions(&self, topic: &Topic) -> Result<BTreeMap<i32, Position>> {
        let number = self.base.topic(topic).await?;
        let lease = self.base.lease().await?;
        let link = Link { client: lease.client()? };
        let read = async {
            let ((), read, ()) =
                futures::try_join!(link.plain(self.base.look()), positions::read(link, number), link.plain("COMMIT"))?;
            Ok(read)
        };
        let read = read.await;
        self.base.end(lease, read).await
    }

    pub(super) fn tell(&self, told: Option<u64>) {
        if let Some(told) = told {
            self.base.news.send_if_modified(|before| told > std::mem::replace(before, told.max(*before)));
        }
    }
}

/// Bounds one try. What it asked for may be done all the same.
pub(super) async fn within<T>(base: &Base, work: impl Future<Output = Result<T>>) -> Result<T> {
    let tried = tokio::time::timeout(base.settings.transaction_timeout, work).await;
    tried.unwrap_or_else(|_| Err(late("the transaction was not answered in time")))
}

impl<E: Effect> Engine<E::Order> for Keeper<E> {
    fn positions<'a>(&'a self, topic: &'a Topic) -> BoxFuture<'a, Result<BTreeMap<i32, Position>>> {
        let work = async move {
            let mut tries = self.base.tries();
            loop {
                let tried = within(&self.base, self.try_positions(topic)).await;
                if let ControlFlow::Break(done) = tries.judge(tried).await {
                    return done;
                }
            }
        };
        work.boxed()
    }

    fn apply<'a>(&'a self, batch: &'a Batch<E::Order>) -> BoxFuture<'a, Result<Applied>> {
        self.settle(batch).boxed()
    }

    fn start<'a>(&'a self, topic: &'a Topic, start: &'a Start) -> BoxFuture<'a, Result<Position>> {
        let work = async move {
            let mut tries = self.base.tries();
            loop {
                let tried = within(&self.base, self.try_start(topic, start)).await;
                if let ControlFlow::Break(done) = tries.judge(tried).await {
                    return done;
                }
            }
        };
        work.boxed()
    }

    fn claim<'a>(&'a self, topic: &'a Topic, claim: Claim<'a>) -> BoxFuture<'a, Result<Vec<i32>>> {
        let work = async move {
            let mut tries = self.base.tries();
            loop {
                let tried = within(&self.base, self.try_claim(topic, claim)).await;
                if let ControlFlow::Break(done) = tries.judge(tried).await {
                    return done;
                }
            }
        };
        work.boxed()
    }

    fn office(self: Arc<Self>) -> Arc<dyn BackOffice> {
        self
    }
}
