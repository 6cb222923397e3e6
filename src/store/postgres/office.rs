//! The back office of a PostgreSQL store.
//!
//! Which process tells of an event is said by the lease on its shard ([`super::shards`]). Events become visible in the order
//! of their numbers; deliveries that were scheduled have no such order, so a page that leaves none of them out comes before
//! the moves that were made by then.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, Weak};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::watch;
use tokio_postgres::Row as DatabaseRow;
use tokio_postgres::types::Type;

use super::effect::Effect;
use super::keeper::{Keeper, within};
use super::link::{Link, count_of, get, stored};
use super::moves;
use super::shards::{self, MOVES, SCHEDULED};
use super::topics::Topics;
use crate::store::dead_letter::{Letter, decode_original};
use crate::store::ledger::LedgerReader;
use crate::store::life::Life;
use crate::store::moves::check_reason;
use crate::store::tidings::{moved, scheduled};
use crate::store::{
    BACKFILL, BackOffice, Backlog, Done, EventId, KnownDelivery, Leases, LowStock, Mark, Moves, Operation, Origin,
    Original, OutboxRow, Replays, Row, SetAside, Steering, Tidings, Waiting, WaitingEvent,
};
use crate::{Error, ErrorCode, Result};

/// How many rows of the outbox a page looks at.
const PAGE_ROWS: i64 = 256;
/// How many rows of scheduled deliveries a page looks at: each has those of one partition in one transaction.
const PAGE_SCHEDULED: i64 = 16;
/// With so many bytes of records a page takes no further one.
const PAGE_BYTES: u64 = 1 << 20;

const WAITING: &str = "SELECT event, told, tidings, dead_letters.letter, record, life, orders
                       FROM outbox LEFT JOIN dead_letters ON dead_letters.id = outbox.letter
                       LEFT JOIN lives ON lives.id = outbox.delivery LEFT JOIN ledger ON ledger.id = lives.row
                       WHERE event > $1 AND ($2 >> shard) & 1 = 1 ORDER BY event LIMIT $3";
const SCHEDULED_ROWS: &str = "SELECT page.id, ~status_told & $2, ~customers_told & $2, orders
    FROM (SELECT * FROM scheduled WHERE id > $1 AND ~(status_told & customers_told) & $2 <> 0 ORDER BY id LIMIT $3) AS page
    JOIN ledger USING (topic, partition, version) ORDER BY page.id, part";
const EARLIER: &str =
    "SELECT EXISTS (SELECT FROM scheduled WHERE id <= $1 AND ~(status_told & customers_told) & $2 <> 0)";
const BACKLOG: &str =
    "SELECT count(*), min(at) FROM (SELECT at FROM outbox UNION ALL SELECT at FROM scheduled) AS waiting";

impl<E: Effect> BackOffice for Keeper<E> {
    fn lease(&self, relay: u128, time: Duration, balance: bool) -> BoxFuture<'_, Result<Leases>> {
        let work = async move {
            let lease = self.base.lease().await?;
            let taken =
                shards::lease(Link { client: lease.client()? }, self.base.begin(), (relay, time), balance).await;
            self.base.end(lease, taken).await
        };
        async move { within(&self.base, work).await }.boxed()
    }

    fn leave(&self, relay: u128) -> BoxFuture<'_, Result<()>> {
        let work = async move {
            let lease = self.base.lease().await?;
            let left = shards::leave(Link { client: lease.client()? }, self.base.begin(), relay).await;
            self.base.end(lease, left).await
        };
        async move { within(&self.base, work).await }.boxed()
    }

    fn waiting(&self, after: Mark, shards: u64) -> BoxFuture<'_, Result<Waiting>> {
        self.page_of_events(after, shards as i64).boxed()
    }

    fn published(&self, events: Vec<Done>, leases: Leases) -> BoxFuture<'_, Result<u64>> {
        let work = async move {
            let lease = self.base.lease().await?;
            let done = shards::let_go(Link { client: lease.client()? }, self.base.begin(), &events, &leases).await;
            self.base.end(lease, done).await
        };
        work.boxed()
    }

    fn backlog(&self) -> BoxFuture<'_, Result<Backlog>> {
        let work = async move {
            let lease = self.base.lease().await?;
            let link = Link { client: lease.client()? };
            let read = async { futures::try_join!(link.plain(self.base.look()), backlog(link), link.plain("COMMIT")) };
            let read = read.await;
            let ((), backlog, ()) = self.base.end(lease, read).await?;
            Ok(backlog)
        };
        work.boxed()
    }

    fn news(&self) -> watch::Receiver<u64> {
        self.base.news.subscribe()
    }

    fn operate(&self, operation: Operation) -> BoxFuture<'_, Result<Vec<Row>>> {
        let work = async move {
            match operation {
                Operation::Move { delivery, to, reason } => {
                    check_reason(reason.as_deref())?;
                    let sentence = "the store keeps no deliveries that could be moved";
                    let moves = E::moves(self).ok_or_else(|| Error::new(ErrorCode::StoreForeign, sentence))?;
                    Ok(vec![Row::Moved(moves.move_now(delivery, to, reason).await?)])
                }
                Operation::Pause { topic, partition } => self.steer()?.answer_pause(topic, partition),
                Operation::Resume { topic, partition } => self.steer()?.answer_resume(topic, partition),
                Operation::Flight { to } => self.steer()?.answer_flight(to).await,
                Operation::Backup { .. } => {
                    let sentence = "a database is not copied by this command";
                    Err(Error::new(ErrorCode::ConfigUnsupported, sentence)
                        .remedy("use pg_dump, or the server's own backups"))
                }
                Operation::Replay { .. } | Operation::Fix { .. } | Operation::Discard { .. } => {
                    self.operate_all_letters(operation).await
                }
            }
        };
        work.boxed()
    }

    fn obey(&self, steering: Weak<dyn Steering>) {
        *self.base.steering.lock().unwrap_or_else(PoisonError::into_inner) = Some(steering);
    }

    fn moves(&self) -> Option<Arc<dyn Moves>> {
        E::moves(self).map(|moves| Arc::new(moves) as Arc<dyn Moves>)
    }

    fn replays(&self) -> Option<Arc<dyn Replays>> {
        Some(Arc::new(Self { base: Arc::clone(&self.base), policy: self.policy.clone() }))
    }

    fn path(&self) -> Option<PathBuf> {
        None
    }
}

impl<E: Effect> Keeper<E> {
    /// One state of the database: the deliveries behind the mark, then the events behind it.
    async fn page_of_events(&self, after: Mark, shards: i64) -> Result<Waiting> {
        let lease = self.base.lease().await?;
        let link = Link { client: lease.client()? };
        let ours = (&shards as _, Type::INT8);
        let (event, id) = (stored(after.event), stored(after.scheduled));
        let paging = [(&event as _, Type::INT8), ours.clone(), (&PAGE_ROWS as _, Type::INT8)];
        let earlier = [(&id as _, Type::INT8), ours.clone()];
        let behind = [(&id as _, Type::INT8), ours.clone(), (&PAGE_SCHEDULED as _, Type::INT8)];
        let read = async {
            futures::try_join!(
                link.plain(self.base.look()),
                Topics::load(link),
                link.rows(SCHEDULED_ROWS, &behind),
                link.rows(EARLIER, &earlier),
                link.rows(WAITING, &paging),
                link.plain("COMMIT")
            )
        };
        let read = read.await;
        let ((), topics, deliveries, earlier, rows, ()) = self.base.end(lease, read).await?;
        let mut page = Waiting { until: after, ..Waiting::default() };
        let all = add_scheduled(&mut page, &topics, &deliveries)?;
        let has_earlier = earlier.first().map_or(Ok(false), |row| get(row, 0))?;
        let last = add_events(&mut page, &topics, &rows, all && !has_earlier)?;
        page.is_last = all && last;
        Ok(page)
    }

    pub(super) fn steer(&self) -> Result<Arc<dyn Steering>> {
        let named = self.base.steering.lock().unwrap_or_else(PoisonError::into_inner).as_ref().and_then(Weak::upgrade);
        let nobody = || Error::new(ErrorCode::Closed, "no running consumer of this process has the store");
        named.ok_or_else(nobody)
    }
}

/// How many rows wait, and since when.
pub(super) async fn backlog(link: Link<'_>) -> Result<Backlog> {
    let rows = link.rows(BACKLOG, &[]).await?;
    let Some(row) = rows.first() else { return Ok(Backlog::default()) };
    Ok(Backlog { rows: count_of(row, 0)?, oldest: get(row, 1)? })
}

/// Adds deliveries to a page. Returns whether there were no more.
fn add_scheduled(page: &mut Waiting, topics: &Topics, rows: &[DatabaseRow]) -> Result<bool> {
    let mut found = 0;
    for same in rows.chunk_by(|row, next| row.try_get::<_, i64>(0).ok() == next.try_get::<_, i64>(0).ok()) {
        let Some(first) = same.first() else { continue };
        let (id, mut told) = (count_of(first, 0)?, Vec::new());
        for row in same {
            let mut row = LedgerReader::new(get(row, 3)?)?;
            let topic = topics.get(row.head().topic)?;
            scheduled(&mut row, topic, &mut told)?;
        }
        let left = [get::<i64>(first, 1)? as u64, get::<i64>(first, 2)? as u64];
        page.events.push(WaitingEvent { number: id | SCHEDULED, left, tidings: Tidings::Scheduled(told) });
        page.until.scheduled = id;
        found += 1;
    }
    Ok(found < PAGE_SCHEDULED)
}

/// Adds events to a page; moves too unless deliveries come before them. Returns whether there were no more.
fn add_events(page: &mut Waiting, topics: &Topics, rows: &[DatabaseRow], with_moves: bool) -> Result<bool> {
    let mut bytes = 0_u64;
    for row in rows {
        if bytes >= PAGE_BYTES {
            return Ok(false);
        }
        let (event, told) = (count_of(row, 0)?, u8::try_from(get::<i16>(row, 1)?).unwrap_or(0));
        page.until.event = event;
        let tidings = OutboxRow::decode(get(row, 2)?)?;
        let left = tidings.left(told);
        let tidings = match tidings {
            OutboxRow::DeadLetter { id, version } => {
                let letter = get::<Option<&[u8]>>(row, 3)?.map(Letter::decode).transpose()?;
                let newest = letter.filter(|letter| letter.is_open() && letter.version == version);
                let (Some(letter), Some(record)) = (newest, get::<Option<&[u8]>>(row, 4)?) else {
                    page.spent.push(event);
                    continue;
                };
                bytes = bytes.saturating_add(letter.bytes);
                Tidings::Letter(Box::new(set_aside(topics, id, letter, decode_original(record)?)?))
            }
            OutboxRow::Own(event) => {
                bytes = bytes.saturating_add(event.value.len() as u64);
                Tidings::Own(event)
            }
            OutboxRow::StockAlert { product_id, stock, reorder_level, movements, at } => {
                Tidings::LowStock(LowStock { product_id, stock, reorder_level, movements, at })
            }
            _ if !with_moves => {
                page.is_held = true;
                continue;
            }
            OutboxRow::Moved { id, version } => match known(topics, id, row)?.and_then(|known| moved(known, version)) {
                Some(told) => Tidings::Moved(Box::new(told)),
                None => {
                    page.spent.push(event | MOVES);
                    continue;
                }
            },
            OutboxRow::Returned { id } => {
                let now = |known: KnownDelivery| {
                    let version = known.life.version;
                    moved(known, version)
                };
                match known(topics, id, row)?.and_then(now) {
                    Some(told) => Tidings::Returned(Box::new(told)),
                    None => {
                        page.spent.push(event);
                        continue;
                    }
                }
            }
            OutboxRow::Scheduled { .. } => continue,
        };
        let number = if matches!(tidings, Tidings::Moved(_)) { event | MOVES } else { event };
        page.events.push(WaitingEvent { number, left, tidings });
    }
    Ok((rows.len() as i64) < PAGE_ROWS)
}

/// What is known of a delivery that has moved.
fn known(topics: &Topics, id: EventId, row: &DatabaseRow) -> Result<Option<KnownDelivery>> {
    let Some(life) = get::<Option<&[u8]>>(row, 5)? else { return Ok(None) };
    moves::known(topics, id, &Life::decode(life)?, get(row, 6)?).map(Some)
}

fn set_aside(topics: &Topics, id: EventId, letter: Letter, original: Original) -> Result<SetAside> {
    let spot = letter.first;
    let topic = topics.get(spot.topic)?.name.clone();
    let in_log = spot.partition != BACKFILL;
    Ok(SetAside {
        id,
        version: letter.version,
        kind: letter.kind,
        code: letter.code,
        reason: letter.reason,
        origin: in_log.then_some(Origin { topic, partition: spot.partition, offset: spot.offset }),
        timestamp: letter.timestamp,
        attempts: letter.attempts,
        first_failed: letter.failed.0,
        last_failed: letter.failed.1,
        original,
    })
}
