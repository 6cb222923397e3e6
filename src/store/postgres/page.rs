//! Answers to queries, a bounded page at a time.
//!
//! Each page is read in a transaction of its own, so that a slow reader holds nothing open.

use std::collections::BTreeMap;

use tokio_postgres::types::Type;

use super::base::Base;
use super::days::Deliveries;
use super::effect::Effect;
use super::letters::id_of;
use super::link::{Link, count_of, get};
use super::moves::name_of;
use super::office::backlog;
use super::overlay;
use super::positions::{self, column};
use super::stock::Inventory;
use super::topics::Topics;
use super::trace::trace;
use super::verify::verify;
use crate::Result;
use crate::order::{DeliveryOrder, InventoryOrder, Order};
use crate::store::dead_letter::{Letter, decode_original};
use crate::store::delivery_line::DeliveryLine;
use crate::store::inventory::{Stock, read_movement};
use crate::store::ledger::{Head, LedgerReader, Lines};
use crate::store::life::Life;
use crate::store::pack::Unpack;
use crate::store::ranges::Ranges;
use crate::store::rows::{
    after_moves, delivery_row, demand, instant, is_asked, letter_row, movement_row, original_row, stock_row,
};
use crate::store::standing::Standing;
use crate::store::{ADOPTED, AppliedSince, BACKFILL, EventId, IdentityRow, PositionRow, Query, Row, Topic};

/// How many rows a page has; one of the ledger has as many more as the last rows of it that were read.
pub(super) const PAGE_ROWS: i64 = 2_000;
/// How many rows of the ledger a page looks at, also where none of their orders is asked for.
const PAGE_LEDGER_ROWS: i64 = 256;
/// How many rows of the ledger a page reads at once: none of them is read in vain.
const STEP_LEDGER_ROWS: i64 = 64;

const STOCK: &str = "SELECT product, pieces, movements, last_movement FROM stock
                     WHERE movements > 0 AND product > $1 ORDER BY product LIMIT $2";
const STOCK_OF: &str = "SELECT product, pieces, movements, last_movement
                        FROM unnest($1) WITH ORDINALITY AS asked (product, place) JOIN stock USING (product)
                        WHERE movements > 0 ORDER BY place";
const LEDGER: &str = "SELECT id, orders FROM ledger WHERE id > $1 ORDER BY id LIMIT $2";
const LEDGER_OF: &str =
    "SELECT id, orders FROM ledger WHERE id > $1 AND topic = $3 AND partition = $4 ORDER BY id LIMIT $2";
const LETTERS: &str = "SELECT id, letter, EXISTS (SELECT FROM requested WHERE requested.id = dead_letters.id)
                       FROM dead_letters WHERE id > $1 AND (state = 0 OR $3) ORDER BY id LIMIT $2";
const LETTER: &str = "SELECT id, letter, record, EXISTS (SELECT FROM requested WHERE requested.id = dead_letters.id)
                      FROM dead_letters WHERE id = $1";
const LIVES: &str = "SELECT id, life FROM lives WHERE id = ANY($1)";
const STARTS: &str = "SELECT set_at, reason, closed FROM starts WHERE topic = $1 AND partition = $2 ORDER BY version";

/// Where the next page begins.
#[derive(Clone, Debug)]
pub(in crate::store) enum Cursor {
    After(String),
    Ledger(i64),
    Letter([u8; 16]),
    /// A row of a handler's own.
    Own(Vec<u8>),
}

/// Some rows of an answer, and where it goes on.
pub(super) type Page = (Vec<Row>, Option<Cursor>);

/// One page of the answer to a query, from its begin or from a cursor.
pub(in crate::store) async fn page(base: &Base, query: &Query, cursor: Option<&Cursor>) -> Result<Page> {
    match query {
        Query::Stock { .. } => demand::<InventoryOrder>(&base.identity, "stock")?,
        Query::Movements { .. } => demand::<InventoryOrder>(&base.identity, "movements")?,
        Query::Deliveries { .. } => demand::<DeliveryOrder>(&base.identity, "deliveries")?,
        _ => {}
    }
    let lease = base.lease().await?;
    let link = Link { client: lease.client()? };
    let read = async {
        link.plain(base.look()).await?;
        let page = answer(base, link, query, cursor).await?;
        link.plain("COMMIT").await?;
        Ok(page)
    };
    let read = read.await;
    base.end(lease, read).await
}

async fn answer(base: &Base, link: Link<'_>, query: &Query, cursor: Option<&Cursor>) -> Result<Page> {
    match query {
        Query::Identity => Ok((vec![identity(base)], None)),
        Query::Stock { products } if products.is_empty() => stock(link, cursor).await,
        Query::Stock { products } => {
            let rows = link.rows(STOCK_OF, &[(products, Type::TEXT_ARRAY)]).await?;
            Ok((rows.iter().map(product).collect::<Result<_>>()?, None))
        }
        Query::Movements { orders } => movements(link, orders, cursor).await,
        Query::Deliveries { orders } => deliveries(link, orders, cursor).await,
        Query::DeadLetters { all } => letters(link, *all, cursor).await,
        Query::DeadLetter { id } => Ok((letter(link, *id).await?, None)),
        Query::Own { table } => overlay::rows(link, table, cursor).await,
        Query::Positions => Ok((positions_of(link).await?, None)),
        Query::AppliedSince { topic, partition, from } => {
            let is_inventory = base.identity.order_type == InventoryOrder::TYPE;
            let counted = match is_inventory {
                true => applied_since::<Inventory>(link, (topic, *partition), *from).await?,
                false => applied_since::<Deliveries>(link, (topic, *partition), *from).await?,
            };
            Ok((vec![Row::AppliedSince(counted)], None))
        }
        Query::Trace { order } => Ok((trace(base, link, order).await?, None)),
        Query::Outbox => Ok((vec![Row::Outbox(backlog(link).await?)], None)),
        Query::Verify => Ok((vec![Row::Audit(verify(base, link).await?)], None)),
    }
}

fn identity(base: &Base) -> Row {
    Row::Identity(IdentityRow {
        store: base.identity.name.clone(),
        group: base.identity.group.clone(),
        order_type: base.identity.order_type.clone(),
        format: base.format,
        process: std::process::id(),
    })
}

async fn stock(link: Link<'_>, cursor: Option<&Cursor>) -> Result<Page> {
    let after = match cursor {
        Some(Cursor::After(product)) => product.as_str(),
        _ => "",
    };
    let rows = link.rows(STOCK, &[(&after, Type::TEXT), (&PAGE_ROWS, Type::INT8)]).await?;
    let next = rows.last().filter(|_| rows.len() as i64 == PAGE_ROWS).map(|row| get(row, 0)).transpose()?;
    Ok((rows.iter().map(product).collect::<Result<_>>()?, next.map(Cursor::After)))
}

fn product(row: &tokio_postgres::Row) -> Result<Row> {
    let stock = Stock { pieces: get(row, 1)?, movements: count_of(row, 2)?, last: get(row, 3)? };
    Ok(stock_row(get(row, 0)?, &stock))
}

async fn movements(link: Link<'_>, orders: &[String], cursor: Option<&Cursor>) -> Result<Page> {
    ledger(link, cursor, |topic, row, rows| {
        let (head, mut told) = (row.head(), Vec::new());
        while let Some(line) = row.line()? {
            let (product, quantity) = read_movement(row.rest(), &mut told)?;
            if is_asked(orders, line.order_id) {
                rows.push(movement_row(topic, head, &line, (product, quantity)));
            }
        }
        Ok(())
    })
    .await
}

async fn deliveries(link: Link<'_>, orders: &[String], cursor: Option<&Cursor>) -> Result<Page> {
    let (rows, next) = scheduled(link, orders, cursor).await?;
    Ok((as_they_are(link, rows).await?, next))
}

/// Deliveries after what they have made of themselves.
async fn as_they_are(link: Link<'_>, rows: Vec<Row>) -> Result<Vec<Row>> {
    let name = |row: &Row| match row {
        Row::Delivery(row) => Some(row.delivery_id.as_bytes().to_vec()),
        _ => None,
    };
    let names: Vec<Vec<u8>> = rows.iter().filter_map(name).collect();
    let mut lives = BTreeMap::new();
    for row in &link.rows(LIVES, &[(&names, Type::BYTEA_ARRAY)]).await? {
        lives.insert(name_of(get(row, 0)?)?, Life::decode(get(row, 1)?)?);
    }
    let moved = rows.into_iter().map(|row| match row {
        Row::Delivery(row) => match lives.get(&row.delivery_id) {
            Some(life) => after_moves(row, life).map(Row::Delivery),
            None => Ok(Row::Delivery(row)),
        },
        other => Ok(other),
    });
    moved.collect()
}

async fn scheduled(link: Link<'_>, orders: &[String], cursor: Option<&Cursor>) -> Result<Page> {
    ledger(link, cursor, |topic, row, rows| {
        let Head { partition, lines, .. } = row.head();
        while lines == Lines::Orders
            && let Some(line) = row.line()?
        {
            let delivery = DeliveryLine::read(row.rest())?;
            if is_asked(orders, line.order_id) {
                rows.push(Row::Delivery(delivery_row(topic, partition, &line, &delivery)));
            }
        }
        Ok(())
    })
    .await
}

async fn ledger(
    link: Link<'_>,
    cursor: Option<&Cursor>,
    mut read: impl FnMut(&Topic, &mut LedgerReader<'_>, &mut Vec<Row>) -> Result<()> + Send,
) -> Result<Page> {
    let mut after = match cursor {
        Some(Cursor::Ledger(id)) => *id,
        _ => 0,
    };
    let topics = Topics::load(link).await?;
    let (mut rows, mut looked_at) = (Vec::new(), 0);
    while (rows.len() as i64) < PAGE_ROWS && looked_at < PAGE_LEDGER_ROWS {
        let kept = link.rows(LEDGER, &[(&after, Type::INT8), (&STEP_LEDGER_ROWS, Type::INT8)]).await?;
        for row in &kept {
            after = get(row, 0)?;
            let mut row = LedgerReader::new(get(row, 1)?)?;
            read(topics.get(row.head().topic)?, &mut row, &mut rows)?;
        }
        looked_at += kept.len() as i64;
        if (kept.len() as i64) < STEP_LEDGER_ROWS {
            return Ok((rows, None));
        }
    }
    Ok((rows, Some(Cursor::Ledger(after))))
}

/// Walks over the ledger in the transaction, or over one partition of it.
pub(super) async fn each_row(
    link: Link<'_>,
    only: Option<(u32, i32)>,
    mut visit: impl FnMut(&mut LedgerReader<'_>) -> Result<()> + Send,
) -> Result<()> {
    let mut after = 0_i64;
    loop {
        let most = PAGE_LEDGER_ROWS;
        let paging = [(&after as _, Type::INT8), (&most as _, Type::INT8)];
        let rows = match only {
            None => link.rows(LEDGER, &paging).await?,
            Some((topic, partition)) => {
                let topic = column(topic);
                let [from, most] = paging;
                link.rows(LEDGER_OF, &[from, most, (&topic, Type::INT4), (&partition, Type::INT4)]).await?
            }
        };
        for row in &rows {
            visit(&mut LedgerReader::new(get(row, 1)?)?)?;
        }
        match rows.last() {
            Some(last) => after = get(last, 0)?,
            None => return Ok(()),
        }
    }
}

async fn letters(link: Link<'_>, all: bool, cursor: Option<&Cursor>) -> Result<Page> {
    let after: &[u8] = match cursor {
        Some(Cursor::Letter(id)) => id,
        _ => &[],
    };
    let topics = Topics::load(link).await?;
    let asked = [(&after as _, Type::BYTEA), (&PAGE_ROWS as _, Type::INT8), (&all as _, Type::BOOL)];
    let kept = link.rows(LETTERS, &asked).await?;
    let mut last = None;
    let rows = kept.iter().map(|row| {
        let (id, letter) = (id_of(get(row, 0)?)?, Letter::decode(get(row, 1)?)?);
        last = Some(*id.as_bytes());
        Ok(Row::DeadLetter(letter_row(topics.get(letter.first.topic)?, id, letter, get(row, 2)?)))
    });
    let rows = rows.collect::<Result<Vec<_>>>()?;
    let is_full = kept.len() as i64 == PAGE_ROWS;
    Ok((rows, last.filter(|_| is_full).map(Cursor::Letter)))
}

async fn letter(link: Link<'_>, id: EventId) -> Result<Vec<Row>> {
    let name = id.as_bytes().as_slice();
    let rows = link.rows(LETTER, &[(&name, Type::BYTEA)]).await?;
    let Some(row) = rows.first() else { return Ok(Vec::new()) };
    let letter = Letter::decode(get(row, 1)?)?;
    let original = get::<Option<&[u8]>>(row, 2)?.map(decode_original).transpose()?.unwrap_or_default();
    let topics = Topics::load(link).await?;
    Ok(vec![original_row(topics.get(letter.first.topic)?, id, (letter, get(row, 3)?), &original)])
}

async fn positions_of(link: Link<'_>) -> Result<Vec<Row>> {
    let topics = Topics::load(link).await?;
    let mut rows = Vec::new();
    for stand in positions::all(link).await? {
        let Standing { position, first, counts, .. } = stand.standing;
        let number = column(stand.topic);
        let starts = link.rows(STARTS, &[(&number, Type::INT4), (&stand.partition, Type::INT4)]).await?;
        let (set_at, reason) = starts.last().map(set_by).transpose()?.unzip();
        let topic = topics.get(stand.topic)?;
        rows.push(Row::Position(PositionRow {
            topic: topic.name.to_string(),
            partition: (stand.partition != BACKFILL).then_some(stand.partition),
            first,
            position: position.next,
            ahead: position.settled.len(),
            leader_epoch: position.leader_epoch,
            version: position.version,
            counts,
            topic_id: topic.id.to_string(),
            set_at,
            reason,
            adopted: adopted_at(&starts, first)?,
        }));
    }
    Ok(rows)
}

/// When and why a position was set on purpose.
fn set_by(start: &tokio_postgres::Row) -> Result<(String, String)> {
    Ok((instant(get(start, 0)?), get(start, 1)?))
}

/// Where a partition was taken over: what the next start's account says of where this one began, or `first`.
fn adopted_at(starts: &[tokio_postgres::Row], first: i64) -> Result<Option<i64>> {
    let mut adopted = false;
    for row in starts {
        if adopted {
            return Ok(Some(Standing::decode(get(row, 2)?)?.first));
        }
        adopted = get::<&str>(row, 1)?.starts_with(ADOPTED);
    }
    Ok(adopted.then_some(first))
}

/// Counts the places in a partition, from an offset on, whose order was applied: each once, however often it was.
async fn applied_since<E: Effect>(
    link: Link<'_>,
    (topic, partition): (&Topic, i32),
    from: i64,
) -> Result<AppliedSince> {
    let Some(number) = Topics::load(link).await?.find(topic) else { return Ok(AppliedSince::default()) };
    let (mut known, mut nameless) = (Ranges::new(), Ranges::new());
    each_row(link, Some((number, partition)), |row| {
        while let Some(line) = row.line()? {
            if line.offset >= from {
                let found = if line.identity.is_some() { &mut known } else { &mut nameless };
                found.insert(line.offset, line.offset.saturating_add(1));
            }
            row.skip(skip::<E>)?;
        }
        Ok(())
    })
    .await?;
    Ok(AppliedSince { with_identity: known.count(), without_identity: nameless.count() })
}

fn skip<E: Effect>(line: &mut Unpack<'_>) -> Result<()> {
    E::skip(line)
}
