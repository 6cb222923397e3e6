//! The back office of a PostgreSQL store.
//!
//! Any process of the group relays any event: an event that two of them publish has one name, and its receiver drops the
//! second. Events become visible in the order of their numbers, so a relay that goes on from a number misses none.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, Weak};

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::watch;
use tokio_postgres::types::Type;

use super::effect::Effect;
use super::keeper::Keeper;
use super::letters::id_of;
use super::link::{Link, count_of, get, stored};
use super::topics::Topics;
use crate::store::dead_letter::{Letter, decode_original};
use crate::store::{
    BACKFILL, BackOffice, EventId, Operation, Origin, Original, Row, SetAside, SteeredRow, Steering, Waiting,
};
use crate::{Error, ErrorCode, Result};

/// How many rows of the outbox a page looks at.
const PAGE_ROWS: i64 = 256;
/// With so many bytes of records a page takes no further one.
const PAGE_BYTES: u64 = 1 << 20;

const WAITING: &str = "SELECT event, outbox.letter, version, dead_letters.letter, record
                       FROM outbox LEFT JOIN dead_letters ON id = outbox.letter WHERE event > $1 ORDER BY event LIMIT $2";
const PUBLISHED: &str = "DELETE FROM outbox WHERE event = ANY($1)";

impl<E: Effect> BackOffice for Keeper<E> {
    fn waiting(&self, after: u64) -> BoxFuture<'_, Result<Waiting>> {
        self.page_of_events(after).boxed()
    }

    fn published(&self, events: Vec<u64>) -> BoxFuture<'_, Result<()>> {
        let work = async move {
            let mut events: Vec<i64> = events.into_iter().map(stored).collect();
            events.sort_unstable();
            let lease = self.base.lease().await?;
            let link = Link { client: lease.client()? };
            let gone = [(&events as _, Type::INT8_ARRAY)];
            let done =
                futures::try_join!(link.plain(self.base.begin()), link.run(PUBLISHED, &gone), link.plain("COMMIT"));
            self.base.end(lease, done.map(drop)).await
        };
        work.boxed()
    }

    fn news(&self) -> watch::Receiver<u64> {
        self.base.news.subscribe()
    }

    fn operate(&self, operation: Operation) -> BoxFuture<'_, Result<Vec<Row>>> {
        let work = async move {
            match operation {
                Operation::Pause { topic, partition } => {
                    self.steer()?.pause(&topic, partition)?;
                    Ok(vec![Row::Steered(SteeredRow { topic, partition, paused: true, reason: None })])
                }
                Operation::Resume { topic, partition } => {
                    let reason = self.steer()?.resume(&topic, partition)?;
                    Ok(vec![Row::Steered(SteeredRow { topic, partition, paused: reason.is_some(), reason })])
                }
                Operation::Flight { to } => {
                    let steering = self.steer()?;
                    let written = tokio::task::spawn_blocking(move || steering.write_flight(to.as_deref())).await;
                    let lost = |error| Error::new(ErrorCode::Internal, "a recording was not written").caused_by(error);
                    Ok(vec![Row::Flight(written.map_err(lost)??)])
                }
                Operation::Backup { .. } => {
                    let sentence = "a database is not copied by this command";
                    Err(Error::new(ErrorCode::ConfigUnsupported, sentence)
                        .remedy("use pg_dump, or the server's own backups"))
                }
                Operation::Replay { .. } | Operation::Fix { .. } | Operation::Discard { .. } => {
                    self.operate_letters(operation).await
                }
            }
        };
        work.boxed()
    }

    fn obey(&self, steering: Weak<dyn Steering>) {
        *self.base.steering.lock().unwrap_or_else(PoisonError::into_inner) = Some(steering);
    }

    fn path(&self) -> Option<PathBuf> {
        None
    }
}

impl<E: Effect> Keeper<E> {
    async fn page_of_events(&self, after: u64) -> Result<Waiting> {
        let lease = self.base.lease().await?;
        let link = Link { client: lease.client()? };
        let (from, most) = (stored(after), PAGE_ROWS);
        let paging = [(&from as _, Type::INT8), (&most as _, Type::INT8)];
        let read = futures::try_join!(
            link.plain(self.base.look()),
            Topics::load(link),
            link.rows(WAITING, &paging),
            link.plain("COMMIT")
        );
        let ((), topics, rows, ()) = self.base.end(lease, read).await?;
        let (mut page, mut bytes) = (Waiting { until: after, is_last: true, ..Waiting::default() }, 0_u64);
        for row in &rows {
            if bytes >= PAGE_BYTES {
                page.is_last = false;
                return Ok(page);
            }
            let (event, id) = (count_of(row, 0)?, id_of(get(row, 1)?)?);
            page.until = event;
            let version = u32::try_from(get::<i32>(row, 2)?).unwrap_or(0);
            let letter = get::<Option<&[u8]>>(row, 3)?.map(Letter::decode).transpose()?;
            let newest = letter.filter(|letter| letter.is_open() && letter.version == version);
            let (Some(letter), Some(record)) = (newest, get::<Option<&[u8]>>(row, 4)?) else {
                page.spent.push(event);
                continue;
            };
            bytes = bytes.saturating_add(letter.bytes);
            page.letters.push((event, set_aside(&topics, id, letter, decode_original(record)?)?));
        }
        page.is_last = (rows.len() as i64) < PAGE_ROWS;
        Ok(page)
    }

    fn steer(&self) -> Result<Arc<dyn Steering>> {
        let named = self.base.steering.lock().unwrap_or_else(PoisonError::into_inner).as_ref().and_then(Weak::upgrade);
        let nobody = || Error::new(ErrorCode::Closed, "no running consumer of this process has the store");
        named.ok_or_else(nobody)
    }
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
