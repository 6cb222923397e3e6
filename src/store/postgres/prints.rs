//! Finding deliveries by their names in PostgreSQL, without an index that scheduling would have to write.
//!
//! As in the embedded store, each row of the ledger has 4 bytes of each of its deliveries' names in `prints`. They are taken
//! by who moves deliveries next, some rows at a time, each time in a transaction of their own: a row of the ledger whose
//! prints are to be taken is in `unprinted`, from the transaction that wrote it.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use tokio_postgres::types::Type;

use super::keeper::{Keeper, within};
use super::link::{Link, get};
use super::moves::{LOCK, Moving};
use super::topics::Topics;
use crate::store::EventId;
use crate::store::delivery_line::DeliveryLine;
use crate::store::ledger::LedgerReader;
use crate::store::life::{Life, line_of};
use crate::store::prints::{Wanted, print_of};
use crate::{Error, ErrorCode, Result};

/// How many rows of the ledger get their prints in one transaction.
const STEP: i64 = 1_000;
/// How many rows of prints are read at once: some 2 MB.
const PAGE: i64 = 4_096;

/// The page is taken from `unprinted` alone: left to itself, the server may walk over the whole ledger for each.
const SOME: &str = "SELECT id, orders
    FROM (SELECT ledger FROM unprinted WHERE ledger > $1 ORDER BY ledger LIMIT $2) AS page
    JOIN ledger ON id = page.ledger ORDER BY id";
const NEWEST: &str = "SELECT id, orders
    FROM (SELECT ledger FROM unprinted WHERE ledger < $1 AND ledger <> ALL($3) ORDER BY ledger DESC LIMIT $2) AS page
    JOIN ledger ON id = page.ledger ORDER BY id DESC";
const WRITE: &str = "WITH gone AS (DELETE FROM unprinted WHERE ledger = ANY($1))
                     INSERT INTO prints (ledger, prints) SELECT * FROM unnest($1, $2)";
const READ: &str = "SELECT ledger, prints FROM prints WHERE ledger < $1 ORDER BY ledger DESC LIMIT $2";
const ROWS: &str = "SELECT id, orders FROM ledger WHERE id = ANY($1)";

impl Keeper<Moving> {
    /// Takes the prints of what was scheduled since somebody last looked for a delivery.
    pub(super) async fn take_prints(&self) -> Result<()> {
        // The entries of rows that are gone stay in the index for a while, and are not to be passed over by each step.
        let (mut tries, mut after) = (self.base.tries(), 0);
        loop {
            let tried = within(&self.base, self.take_some(after)).await;
            match tries.judge(tried).await {
                ControlFlow::Break(Ok(Some(last))) => (tries, after) = (self.base.tries(), last),
                ControlFlow::Break(Ok(None)) => return Ok(()),
                ControlFlow::Break(Err(error)) => return Err(error),
                ControlFlow::Continue(()) => {}
            }
        }
    }

    /// Takes some behind a row of the ledger. The last of them, if there may be more.
    async fn take_some(&self, after: i64) -> Result<Option<i64>> {
        let lease = self.base.lease().await?;
        let done = self.take_on(Link { client: lease.client()? }, after).await;
        self.base.end(lease, done).await
    }

    async fn take_on(&self, link: Link<'_>, after: i64) -> Result<Option<i64>> {
        let step = [(&after as _, Type::INT8), (&STEP as _, Type::INT8)];
        let ((), _, topics, rows) = futures::try_join!(
            link.plain(self.base.begin()),
            link.rows(LOCK, &[]),
            Topics::load(link),
            link.rows(SOME, &step)
        )?;
        let (mut numbers, mut prints) = (Vec::<i64>::with_capacity(rows.len()), Vec::with_capacity(rows.len()));
        for row in &rows {
            numbers.push(get(row, 0)?);
            let mut taken = Vec::new();
            each_delivery(get(row, 1)?, &topics, |_, id| taken.extend_from_slice(&print_of(id)))?;
            prints.push(taken);
        }
        if !rows.is_empty() {
            let written = [(&numbers as _, Type::INT8_ARRAY), (&prints as _, Type::BYTEA_ARRAY)];
            link.run(WRITE, &written).await?;
        }
        link.plain("COMMIT").await?;
        Ok(numbers.last().copied().filter(|_| rows.len() as i64 == STEP))
    }
}

fn each_delivery(row: &[u8], topics: &Topics, mut visit: impl FnMut(u32, EventId)) -> Result<()> {
    let mut row = LedgerReader::new(row)?;
    let (topic, partition) = (topics.get(row.head().topic)?, row.head().partition);
    let mut place = 0;
    while let Some(line) = row.line()? {
        visit(place, line.event_id(topic, partition));
        DeliveryLine::read(row.rest())?;
        place += 1;
    }
    Ok(())
}

/// Looks for deliveries, newest first. Those that are there, as they were scheduled; `seen` are the rows of the ledger that
/// were looked at whose prints are still to be taken.
pub(super) async fn search(link: Link<'_>, ids: Vec<EventId>, seen: &mut Vec<i64>) -> Result<Vec<(EventId, Life)>> {
    let (mut wanted, mut found, mut before) = (Wanted::new(ids), Vec::new(), i64::MAX);
    let topics = Topics::load(link).await?;
    among_the_newest(link, &topics, (&mut wanted, &mut found), seen).await?;
    while !wanted.is_empty() {
        let rows = link.rows(READ, &[(&before, Type::INT8), (&PAGE, Type::INT8)]).await?;
        let mut met: BTreeMap<i64, Vec<usize>> = BTreeMap::new();
        for row in &rows {
            before = get(row, 0)?;
            let places = wanted.met(get(row, 1)?);
            if !places.is_empty() {
                met.insert(before, places);
            }
        }
        let numbers: Vec<i64> = met.keys().copied().collect();
        if !numbers.is_empty() {
            for row in &link.rows(ROWS, &[(&numbers, Type::INT8_ARRAY)]).await? {
                let number: i64 = get(row, 0)?;
                for place in met.remove(&number).unwrap_or_default() {
                    look_at(&topics, (number, get(row, 1)?), place, (&mut wanted, &mut found))?;
                }
            }
        }
        if (rows.len() as i64) < PAGE {
            break;
        }
    }
    Ok(found)
}

/// Whether one of these has been scheduled, where `seen` is what [`search`] has looked at in the same transaction.
pub(super) async fn has_come(link: Link<'_>, ids: Vec<EventId>, seen: &mut Vec<i64>) -> Result<bool> {
    let (mut wanted, mut found) = (Wanted::new(ids), Vec::new());
    let topics = Topics::load(link).await?;
    among_the_newest(link, &topics, (&mut wanted, &mut found), seen).await?;
    Ok(!found.is_empty())
}

/// What was scheduled since the prints were taken, newest first.
async fn among_the_newest(
    link: Link<'_>,
    topics: &Topics,
    (wanted, found): (&mut Wanted, &mut Vec<(EventId, Life)>),
    seen: &mut Vec<i64>,
) -> Result<()> {
    let (mut before, earlier) = (i64::MAX, seen.clone());
    while !wanted.is_empty() {
        let asked = [(&before as _, Type::INT8), (&STEP as _, Type::INT8), (&earlier as _, Type::INT8_ARRAY)];
        let rows = link.rows(NEWEST, &asked).await?;
        for row in &rows {
            let mut places = Vec::new();
            before = get(row, 0)?;
            seen.push(before);
            each_delivery(get(row, 1)?, topics, |place, id| {
                if !wanted.met(&print_of(id)).is_empty() {
                    places.push(place as usize);
                }
            })?;
            for place in places {
                look_at(topics, (before, get(row, 1)?), place, (wanted, found))?;
            }
        }
        if (rows.len() as i64) < STEP {
            break;
        }
    }
    Ok(())
}

fn look_at(
    topics: &Topics,
    (number, row): (i64, &[u8]),
    place: usize,
    (wanted, found): (&mut Wanted, &mut Vec<(EventId, Life)>),
) -> Result<()> {
    let line = u32::try_from(place).unwrap_or(u32::MAX);
    let delivery = line_of(row, line, |topic| topics.get(topic))?;
    if wanted.take(delivery.id) {
        let broken = |_| Error::new(ErrorCode::StoreCorrupt, "a row of the ledger has a negative number");
        let at = (u64::try_from(number).map_err(broken)?, 0);
        let (day, scheduled) = (delivery.day, delivery.timestamp);
        found.push((delivery.id, Life { row: at, line, day, scheduled, moves: Vec::new() }));
    }
    Ok(())
}
