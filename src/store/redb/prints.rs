//! Finding deliveries by their names, without an index that scheduling would have to write.
//!
//! A delivery's name is a digest, so an index by it would take one write at a random place of the tree for each order. Most
//! deliveries of most days are never asked for by name, and those that are come many at a time. So each row of the ledger
//! has 4 bytes of each of its deliveries' names here, written when somebody next looks for one; a whole batch is looked for
//! in one walk from the newest row back, which ends with the last that is found.
//!
//! ```text
//!  ledger:  (7, 0) 120 deliveries   (7, 1) 118   (8, 0) 121 ...        written when they are scheduled
//!  prints:  (7, 0) 480 bytes        (7, 1) 472   | (8, 0) follows      written by the next move
//!              <---- walk: print met? -> its line in the ledger, whole name compared
//! ```
//! A million deliveries are 4 MB here.

use redb::ReadableTable;

use super::fault::fault;
use super::tables::{Tables, bytes_of};
use super::topics::Topics;
use crate::store::delivery_line::DeliveryLine;
use crate::store::ledger::{LedgerReader, Lines};
use crate::store::life::{Life, line_of};
use crate::store::pack::Unpack;
use crate::store::prints::{PRINT_BYTES, Wanted, print_of};
use crate::store::{EventId, Topic};
use crate::{Error, ErrorCode, Result};

/// The name of the row that says up to where the ledger has its prints.
const UNTIL: &str = "prints";
const KEY_BYTES: usize = 12;

/// Takes the prints of what was scheduled since somebody last looked for a delivery.
pub(super) fn catch_up(tables: &mut Tables<'_>, topics: &Topics) -> Result<()> {
    let until = tables.meta.get(UNTIL).map_err(fault)?.map(|row| row_of(row.value())).transpose()?;
    let from = until.map_or((0, 0), |(transaction, row)| (transaction, row.saturating_add(1)));
    let (mut last, mut prints) = (None, Vec::new());
    for row in tables.ledger.range(from..).map_err(fault)? {
        let (key, value) = row.map_err(fault)?;
        let key = key_of(key.value());
        last = Some(key);
        prints.clear();
        print(value.value(), topics, &mut prints)?;
        if !prints.is_empty() {
            tables.prints.insert(key.as_slice(), prints.as_slice()).map_err(fault)?;
        }
    }
    if let Some(key) = last {
        tables.meta.insert(UNTIL, key.as_slice()).map_err(fault)?;
    }
    Ok(())
}

/// The prints of a row's deliveries; of a row of moves there are none.
fn print(row: &[u8], topics: &Topics, prints: &mut Vec<u8>) -> Result<()> {
    let mut row = LedgerReader::new(row)?;
    if row.head().lines != Lines::Orders {
        return Ok(());
    }
    let (topic, partition) = (topic(topics, row.head().topic)?, row.head().partition);
    while let Some(line) = row.line()? {
        prints.extend_from_slice(&print_of(line.event_id(topic, partition)));
        DeliveryLine::read(row.rest())?;
    }
    Ok(())
}

/// Looks for deliveries, newest first. Those that are there, as they were scheduled.
pub(super) fn search(tables: &Tables<'_>, topics: &Topics, ids: Vec<EventId>) -> Result<Vec<(EventId, Life)>> {
    let (mut wanted, mut found) = (Wanted::new(ids), Vec::new());
    for row in tables.prints.iter().map_err(fault)?.rev() {
        if wanted.is_empty() {
            break;
        }
        let (key, prints) = row.map_err(fault)?;
        for line in wanted.met(prints.value()) {
            let at = row_of(key.value())?;
            let lost = || Error::new(ErrorCode::StoreCorrupt, "a delivery's row of the ledger is not there");
            let row = bytes_of(&tables.ledger, at)?.ok_or_else(lost)?;
            let line = u32::try_from(line).unwrap_or(u32::MAX);
            let delivery = line_of(&row, line, |number| topic(topics, number))?;
            if wanted.take(delivery.id) {
                let (day, scheduled) = (delivery.day, delivery.timestamp);
                found.push((delivery.id, Life { row: at, line, day, scheduled, moves: Vec::new() }));
            }
        }
    }
    Ok(found)
}

fn topic(topics: &Topics, number: u32) -> Result<&Topic> {
    topics.get(number).ok_or_else(|| Error::new(ErrorCode::StoreCorrupt, "a row names a topic that the store has not"))
}

fn key_of((transaction, row): (u64, u32)) -> [u8; KEY_BYTES] {
    let mut key = [0; KEY_BYTES];
    let (high, low) = key.split_at_mut(8);
    high.copy_from_slice(&transaction.to_be_bytes());
    low.copy_from_slice(&row.to_be_bytes());
    key
}

fn row_of(key: &[u8]) -> Result<(u64, u32)> {
    let mut key = Unpack::new(key, "a row of prints");
    Ok((u64::from_be_bytes(key.array()?), u32::from_be_bytes(key.array()?)))
}

const _: () = assert!(PRINT_BYTES == 4, "the figures above are those of 4 bytes");
