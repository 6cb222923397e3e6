//! Tracing one order through a file: one walk over the ledger, in one transaction.

use redb::{ReadTransaction, ReadableTable};

use super::fault::fault;
use super::lives::Lives;
use super::shared::Shared;
use super::tables::{DEAD_LETTERS, LEDGER, ORIGINALS, OUTBOX, bytes_of};
use super::topics::Topics;
use crate::store::dead_letter::{Letter, decode_original};
use crate::store::outbox::Filed;
use crate::store::trace::Search;
use crate::store::{EventId, Row, Topic};
use crate::{Error, ErrorCode, Result};

/// What is known of an order.
pub(super) fn trace(shared: &Shared, transaction: &ReadTransaction, order: &str) -> Result<Vec<Row>> {
    let topics = Topics::load(transaction)?;
    let mut search = Search::new(shared.identity(), order);
    for row in transaction.open_table(LEDGER).map_err(fault)?.iter().map_err(fault)? {
        shared.go_on()?;
        let (key, value) = row.map_err(fault)?;
        search.row(key.value(), value.value(), |number| topic(&topics, number))?;
    }
    if let Some(lives) = Lives::of(transaction, &topics)? {
        for id in search.deliveries() {
            if let Some(life) = lives.life(id)? {
                search.life(id, life);
            }
        }
    }
    letters(shared, transaction, &topics, &mut search)?;
    for row in transaction.open_table(OUTBOX).map_err(fault)?.iter().map_err(fault)? {
        shared.go_on()?;
        let filed = Filed::decode(row.map_err(fault)?.1.value())?;
        search.waits(&filed.row, filed.row.left(filed.told), filed.at);
    }
    Ok(search.rows())
}

/// Letters whose record is still there are found by it, closed ones by the name of what was applied since.
fn letters(shared: &Shared, transaction: &ReadTransaction, topics: &Topics, search: &mut Search) -> Result<()> {
    let letters = transaction.open_table(DEAD_LETTERS).map_err(fault)?;
    let (mut ids, deliveries) = (search.ids(), search.deliveries());
    for row in transaction.open_table(ORIGINALS).map_err(fault)?.iter().map_err(fault)? {
        shared.go_on()?;
        let (key, value) = row.map_err(fault)?;
        if search.concerns(&decode_original(value.value())?, &deliveries) {
            ids.push(EventId::new(*key.value()));
        }
    }
    for id in ids {
        if let Some(letter) = bytes_of(&letters, id.as_bytes())?.map(|row| Letter::decode(&row)).transpose()? {
            search.letter(topic(topics, letter.first.topic)?, id, letter);
        }
    }
    Ok(())
}

fn topic(topics: &Topics, number: u32) -> Result<&Topic> {
    topics.get(number).ok_or_else(|| Error::new(ErrorCode::StoreCorrupt, "a row names a topic that the store has not"))
}
