//! Answers to queries, a bounded page at a time.
//!
//! Each page is read in a transaction of its own, so that a slow reader holds nothing open: a
//! listing sees what is committed when each of its pages is read.

use std::ops::Bound;

use redb::{ReadTransaction, ReadableTable};

use super::again::applied_since;
use super::effect::table_of;
use super::fault::fault;
use super::format::{self, read_totals};
use super::inventory::Inventory;
use super::lives::Lives;
use super::memory::recover;
use super::office::backlog;
use super::overlay;
use super::shared::Shared;
use super::tables::{DEAD_LETTERS, LEDGER, ORIGINALS, POSITIONS, REQUESTED, STARTS, bytes_of, if_there};
use super::topics::Topics;
use super::trace::trace;
use super::verify::verify;
use crate::order::{DeliveryOrder, InventoryOrder};
use crate::store::dead_letter::{Letter, decode_original};
use crate::store::delivery_line::DeliveryLine;
use crate::store::inventory::{Stock, read_movement};
use crate::store::ledger::{Head, LedgerReader, Lines};
use crate::store::pack::Unpack;
use crate::store::rows::{
    after_moves, delivery_row, demand, instant, is_asked, letter_row, movement_row, original_row, stock_row,
};
use crate::store::standing::Standing;
use crate::store::{ADOPTED, BACKFILL, EventId, IdentityRow, PositionRow, Query, ReorderLevels, Row, Topic};
use crate::{Error, ErrorCode, Result};

/// How many rows a page has; one of the ledger has as many more as the last of its rows.
pub(super) const PAGE_ROWS: usize = 2_000;
/// How many rows of the ledger a page looks at, also when none of their orders is asked for.
const PAGE_LEDGER_ROWS: usize = 256;

/// Where the next page begins.
#[derive(Clone, Debug)]
pub(super) enum Cursor {
    After(String),
    Ledger((u64, u32)),
    Letter([u8; 16]),
    /// A row of a handler's own.
    Own(Vec<u8>),
}

/// Some rows of an answer, and where it goes on.
#[derive(Debug, Default)]
pub(super) struct Page {
    pub(super) rows: Vec<Row>,
    pub(super) next: Option<Cursor>,
}

impl From<Vec<Row>> for Page {
    fn from(rows: Vec<Row>) -> Self {
        Self { rows, next: None }
    }
}

/// One page of the answer to a query, from its begin or from a cursor.
pub(super) fn page(shared: &Shared, query: &Query, cursor: Option<&Cursor>) -> Result<Page> {
    shared.read(|transaction| match query {
        Query::Identity => identity(transaction).map(Page::from),
        Query::Stock { products } => {
            demand::<InventoryOrder>(shared.identity(), "stock")?;
            if products.is_empty() {
                stock(transaction, cursor)
            } else {
                stock_of(transaction, products).map(Page::from)
            }
        }
        Query::Movements { orders } => {
            demand::<InventoryOrder>(shared.identity(), "movements")?;
            movements(transaction, orders, cursor)
        }
        Query::Deliveries { orders } => {
            demand::<DeliveryOrder>(shared.identity(), "deliveries")?;
            deliveries(transaction, orders, cursor)
        }
        Query::Own { table } => overlay::rows(transaction, table, cursor),
        Query::DeadLetters { all } => letters(transaction, *all, cursor),
        Query::DeadLetter { id } => letter(transaction, *id).map(Page::from),
        Query::Positions => positions(transaction).map(Page::from),
        Query::AppliedSince { topic, partition, from } => {
            let counted = applied_since(shared, transaction, (topic, *partition), *from)?;
            Ok(vec![Row::AppliedSince(counted)].into())
        }
        Query::Trace { order } => trace(shared, transaction, order).map(Page::from),
        Query::Outbox => backlog(transaction).map(|backlog| vec![Row::Outbox(backlog)].into()),
        Query::Verify => verify(shared, transaction).map(|audit| vec![Row::Audit(audit)].into()),
    })
}

fn identity(transaction: &ReadTransaction) -> Result<Vec<Row>> {
    let Some((format, identity)) = format::read(transaction)? else { return Ok(Vec::new()) };
    Ok(vec![Row::Identity(IdentityRow {
        store: identity.name,
        group: identity.group,
        order_type: identity.order_type,
        format,
        process: std::process::id(),
    })])
}

fn stock(transaction: &ReadTransaction, cursor: Option<&Cursor>) -> Result<Page> {
    let after = match cursor {
        Some(Cursor::After(product)) => Bound::Excluded(product.as_str()),
        _ => Bound::Unbounded,
    };
    let table = transaction.open_table(table_of::<Inventory>()).map_err(fault)?;
    // What the table does not know of yet takes the place of what it knows.
    let mut products =
        recover::<Inventory>(transaction, &ReorderLevels::default(), &read_totals(transaction)?)?.into_changed();
    let from = (after.map(str::as_bytes), Bound::Unbounded);
    let mut last = None;
    for (row, at) in table.range::<&[u8]>(from).map_err(fault)?.zip(1..=PAGE_ROWS) {
        let (name, value) = row.map_err(fault)?;
        let name = text(name.value())?;
        if !products.contains_key(name) {
            products.insert(name.into(), Stock::decode(value.value())?);
        }
        last = (at == PAGE_ROWS).then(|| name.to_owned());
    }
    let end = last.as_deref().map_or(Bound::Unbounded, Bound::Included);
    let mut rest = products.range::<str, _>((after, end));
    let rows: Vec<Row> = rest.by_ref().take(PAGE_ROWS).map(|(name, stock)| stock_row(name, stock)).collect();
    let shown = match rows.last() {
        Some(Row::Stock(row)) if rest.next().is_some() => Some(row.product_id.clone()),
        _ => last,
    };
    Ok(Page { rows, next: shown.map(Cursor::After) })
}

fn stock_of(transaction: &ReadTransaction, products: &[String]) -> Result<Vec<Row>> {
    let table = transaction.open_table(table_of::<Inventory>()).map_err(fault)?;
    let changed =
        recover::<Inventory>(transaction, &ReorderLevels::default(), &read_totals(transaction)?)?.into_changed();
    let mut rows = Vec::new();
    for name in products {
        let kept = || bytes_of(&table, name.as_bytes())?.map(|row| Stock::decode(&row)).transpose();
        let stock = match changed.get(name.as_str()) {
            Some(stock) => Some(*stock),
            None => kept()?,
        };
        rows.extend(stock.map(|stock| stock_row(name, &stock)));
    }
    Ok(rows)
}

fn movements(transaction: &ReadTransaction, orders: &[String], cursor: Option<&Cursor>) -> Result<Page> {
    ledger(transaction, cursor, |topic, row, rows| {
        let (head, mut told) = (row.head(), Vec::new());
        while let Some(line) = row.line()? {
            let (product, quantity) = read_movement(row.rest(), &mut told)?;
            if is_asked(orders, line.order_id) {
                rows.push(movement_row(topic, head, &line, (product, quantity)));
            }
        }
        Ok(())
    })
}

fn deliveries(transaction: &ReadTransaction, orders: &[String], cursor: Option<&Cursor>) -> Result<Page> {
    let topics = Topics::load(transaction)?;
    let lives = Lives::of(transaction, &topics)?;
    ledger(transaction, cursor, |topic, row, rows| {
        let Head { partition, lines, .. } = row.head();
        while lines == Lines::Orders
            && let Some(line) = row.line()?
        {
            let delivery = DeliveryLine::read(row.rest())?;
            if is_asked(orders, line.order_id) {
                let scheduled = delivery_row(topic, partition, &line, &delivery);
                let life = match &lives {
                    Some(lives) => lives.life(scheduled.delivery_id)?,
                    None => None,
                };
                rows.push(Row::Delivery(match life {
                    Some(life) => after_moves(scheduled, &life)?,
                    None => scheduled,
                }));
            }
        }
        Ok(())
    })
}

fn ledger(
    transaction: &ReadTransaction,
    cursor: Option<&Cursor>,
    mut read: impl FnMut(&Topic, &mut LedgerReader<'_>, &mut Vec<Row>) -> Result<()>,
) -> Result<Page> {
    let from = match cursor {
        Some(Cursor::Ledger(key)) => *key,
        _ => (0, 0),
    };
    let topics = Topics::load(transaction)?;
    let table = transaction.open_table(LEDGER).map_err(fault)?;
    let mut rows = Vec::new();
    for (row, looked_at) in table.range(from..).map_err(fault)?.zip(0..) {
        let (key, value) = row.map_err(fault)?;
        if rows.len() >= PAGE_ROWS || looked_at == PAGE_LEDGER_ROWS {
            return Ok(Page { rows, next: Some(Cursor::Ledger(key.value())) });
        }
        let mut row = LedgerReader::new(value.value())?;
        read(topic(&topics, row.head().topic)?, &mut row, &mut rows)?;
    }
    Ok(rows.into())
}

fn letters(transaction: &ReadTransaction, all: bool, cursor: Option<&Cursor>) -> Result<Page> {
    let from = match cursor {
        Some(Cursor::Letter(key)) => *key,
        _ => [0; 16],
    };
    let topics = Topics::load(transaction)?;
    let table = transaction.open_table(DEAD_LETTERS).map_err(fault)?;
    let requests = if_there(transaction, REQUESTED)?;
    let mut rows = Vec::new();
    for (row, looked_at) in table.range::<&[u8; 16]>(&from..).map_err(fault)?.zip(0..) {
        let (key, value) = row.map_err(fault)?;
        if looked_at == PAGE_ROWS {
            return Ok(Page { rows, next: Some(Cursor::Letter(*key.value())) });
        }
        let letter = Letter::decode(value.value())?;
        if all || letter.is_open() {
            let from = topic(&topics, letter.first.topic)?;
            let is_requested = is_requested(requests.as_ref(), key.value())?;
            rows.push(Row::DeadLetter(letter_row(from, EventId::new(*key.value()), letter, is_requested)));
        }
    }
    Ok(rows.into())
}

fn letter(transaction: &ReadTransaction, id: EventId) -> Result<Vec<Row>> {
    let table = transaction.open_table(DEAD_LETTERS).map_err(fault)?;
    let Some(row) = bytes_of(&table, id.as_bytes())? else { return Ok(Vec::new()) };
    let letter = Letter::decode(&row)?;
    let kept = bytes_of(&transaction.open_table(ORIGINALS).map_err(fault)?, id.as_bytes())?;
    let original = kept.map(|row| decode_original(&row)).transpose()?.unwrap_or_default();
    let topics = Topics::load(transaction)?;
    let from = topic(&topics, letter.first.topic)?;
    let is_requested = is_requested(if_there(transaction, REQUESTED)?.as_ref(), id.as_bytes())?;
    Ok(vec![original_row(from, id, (letter, is_requested), &original)])
}

fn is_requested(
    requests: Option<&impl ReadableTable<&'static [u8; 16], &'static [u8]>>,
    id: &[u8; 16],
) -> Result<bool> {
    Ok(requests.map(|requests| requests.get(id).map_err(fault)).transpose()?.flatten().is_some())
}

fn positions(transaction: &ReadTransaction) -> Result<Vec<Row>> {
    let topics = Topics::load(transaction)?;
    let table = transaction.open_table(POSITIONS).map_err(fault)?;
    let starts = transaction.open_table(STARTS).map_err(fault)?;
    let rows = table.iter().map_err(fault)?.map(|row| {
        let (key, value) = row.map_err(fault)?;
        let (number, partition) = key.value();
        let Standing { position, first, counts, .. } = Standing::decode(value.value())?;
        let topic = topic(&topics, number)?;
        let start = starts.range((number, partition, 0)..=(number, partition, u64::MAX)).map_err(fault)?.next_back();
        let (set_at, reason) = start.map(|row| read_start(row.map_err(fault)?.1.value())).transpose()?.unzip();
        let adopted = adopted_at(&starts, (number, partition), first)?;
        Ok(Row::Position(PositionRow {
            topic: topic.name.to_string(),
            partition: (partition != BACKFILL).then_some(partition),
            first,
            position: position.next,
            ahead: position.settled.len(),
            leader_epoch: position.leader_epoch,
            version: position.version,
            counts,
            topic_id: topic.id.to_string(),
            set_at,
            reason,
            adopted,
        }))
    });
    rows.collect()
}

/// Where a partition was taken over: what the next start's account says of where this one began, or `first`.
fn adopted_at(
    starts: &impl ReadableTable<(u32, i32, u64), &'static [u8]>,
    (topic, partition): (u32, i32),
    first: i64,
) -> Result<Option<i64>> {
    let mut adopted = false;
    for row in starts.range((topic, partition, 0)..=(topic, partition, u64::MAX)).map_err(fault)? {
        let (_, value) = row.map_err(fault)?;
        let mut start = Unpack::new(value.value(), "a start");
        start.i64()?;
        let reason = start.bytes()?.starts_with(ADOPTED.as_bytes());
        if adopted {
            // Each start keeps the account that it closed.
            return Ok(Some(Standing::decode(start.remaining())?.first));
        }
        adopted = reason;
    }
    Ok(adopted.then_some(first))
}

/// When and why a position was set on purpose.
fn read_start(row: &[u8]) -> Result<(String, String)> {
    let mut row = Unpack::new(row, "a start");
    Ok((instant(row.i64()?), String::from_utf8_lossy(row.bytes()?).into_owned()))
}

fn topic(topics: &Topics, number: u32) -> Result<&Topic> {
    topics.get(number).ok_or_else(|| Error::new(ErrorCode::StoreCorrupt, "a row names a topic that the store has not"))
}

fn text(bytes: &[u8]) -> Result<&str> {
    let broken = |_| Error::new(ErrorCode::StoreCorrupt, "a product's name is no text");
    std::str::from_utf8(bytes).map_err(broken)
}
