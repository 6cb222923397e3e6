//! Tracing one order through the tables.
//!
//! Rows of the ledger and records of letters have an order's number as it is, so the server itself looks for it: what travels
//! is what has the number.

use tokio_postgres::types::Type;

use super::base::Base;
use super::letters::id_of;
use super::link::{Link, count_of, get, stored};
use super::moves::name_of;
use super::positions::column;
use super::topics::Topics;
use crate::Result;
use crate::store::dead_letter::{Letter, decode_original};
use crate::store::life::Life;
use crate::store::trace::{MOST, Search, is_plain};
use crate::store::{OutboxRow, Row};

/// The places of moves are told of so many deliveries: each is one more look at each row.
const MOVED_MOST: usize = 16;

const LINES: &str = "SELECT id, orders FROM ledger WHERE get_byte(orders, 0) = 1 AND position($1 IN orders) > 0
                     ORDER BY id LIMIT $2";
const LIVES: &str = "SELECT id, life FROM lives WHERE id = ANY($1)";
const MOVES: &str = "SELECT id, orders FROM ledger WHERE get_byte(orders, 0) = 2
                     AND EXISTS (SELECT FROM unnest($1) AS moved (name) WHERE position(name IN orders) > 0) ORDER BY id";
const LETTERS: &str = "SELECT id, letter, record FROM dead_letters WHERE id = ANY($1)
                       OR EXISTS (SELECT FROM unnest($2) AS asked (text) WHERE position(text IN record) > 0)";
const OUTBOX: &str = "SELECT told, tidings, at FROM outbox WHERE delivery = ANY($1) OR letter = ANY($2)";
const SCHEDULED: &str = "SELECT topic, partition, version, ~status_told, ~customers_told, at FROM scheduled
                         JOIN unnest($1, $2, $3) AS asked (topic, partition, version) USING (topic, partition, version)";

/// What is known of an order.
pub(super) async fn trace(base: &Base, link: Link<'_>, order: &str) -> Result<Vec<Row>> {
    let topics = Topics::load(link).await?;
    let mut search = Search::new(&base.identity, order);
    let (text, most) = (order.as_bytes(), MOST as i64 + 1);
    for row in &link.rows(LINES, &[(&text, Type::BYTEA), (&most, Type::INT8)]).await? {
        search.row((count_of(row, 0)?, 0), get(row, 1)?, |topic| topics.get(topic))?;
    }
    lives(link, &topics, &mut search).await?;
    letters(link, &topics, order, &mut search).await?;
    waiting(link, &mut search).await?;
    Ok(search.rows())
}

/// What became of the deliveries that have moved, and where these moves were told.
async fn lives(link: Link<'_>, topics: &Topics, search: &mut Search) -> Result<()> {
    let ids = search.deliveries();
    let names: Vec<&[u8]> = ids.iter().map(|id| id.as_bytes().as_slice()).collect();
    let mut moved = Vec::new();
    for row in &link.rows(LIVES, &[(&names, Type::BYTEA_ARRAY)]).await? {
        let name: Vec<u8> = get(row, 0)?;
        search.life(name_of(&name)?, Life::decode(get(row, 1)?)?);
        moved.push(name);
    }
    if moved.is_empty() || moved.len() > MOVED_MOST {
        return Ok(());
    }
    for row in &link.rows(MOVES, &[(&moved, Type::BYTEA_ARRAY)]).await? {
        search.row((count_of(row, 0)?, 0), get(row, 1)?, |topic| topics.get(topic))?;
    }
    Ok(())
}

/// Letters whose record is still there are found by it, closed ones by the name of what was applied since.
async fn letters(link: Link<'_>, topics: &Topics, order: &str, search: &mut Search) -> Result<()> {
    let (ids, deliveries) = (search.ids(), search.deliveries());
    let names: Vec<&[u8]> = ids.iter().map(|id| id.as_bytes().as_slice()).collect();
    // What JSON writes in several ways is looked for here, in every record.
    let text = if is_plain(order) { order.as_bytes().to_vec() } else { Vec::new() };
    let texts: Vec<Vec<u8>> =
        [text].into_iter().chain(deliveries.iter().map(|id| id.to_string().into_bytes())).collect();
    for row in &link.rows(LETTERS, &[(&names, Type::BYTEA_ARRAY), (&texts, Type::BYTEA_ARRAY)]).await? {
        let (id, letter) = (id_of(get(row, 0)?)?, Letter::decode(get(row, 1)?)?);
        let original = get::<Option<&[u8]>>(row, 2)?.map(decode_original).transpose()?;
        if ids.contains(&id) || original.is_some_and(|original| search.concerns(&original, &deliveries)) {
            search.letter(topics.get(letter.first.topic)?, id, letter);
        }
    }
    Ok(())
}

/// What of all this waits in the outbox.
async fn waiting(link: Link<'_>, search: &mut Search) -> Result<()> {
    let (deliveries, letters) = (search.deliveries(), search.letter_ids());
    let names =
        |ids: &[crate::store::EventId]| -> Vec<Vec<u8>> { ids.iter().map(|id| id.as_bytes().to_vec()).collect() };
    let (deliveries, letters) = (names(&deliveries), names(&letters));
    let asked = [(&deliveries as _, Type::BYTEA_ARRAY), (&letters as _, Type::BYTEA_ARRAY)];
    for row in &link.rows(OUTBOX, &asked).await? {
        let (told, event) = (u8::try_from(get::<i16>(row, 0)?).unwrap_or(0), OutboxRow::decode(get(row, 1)?)?);
        search.waits(&event, event.left(told), get(row, 2)?);
    }
    let versions = search.versions();
    let topics: Vec<i32> = versions.iter().map(|(topic, ..)| column(*topic)).collect();
    let partitions: Vec<i32> = versions.iter().map(|(_, partition, _)| *partition).collect();
    let versions: Vec<i64> = versions.iter().map(|(.., version)| stored(*version)).collect();
    let asked =
        [(&topics as _, Type::INT4_ARRAY), (&partitions as _, Type::INT4_ARRAY), (&versions as _, Type::INT8_ARRAY)];
    for row in &link.rows(SCHEDULED, &asked).await? {
        let topic = u32::try_from(get::<i32>(row, 0)?).unwrap_or(u32::MAX);
        let left = [get::<i64>(row, 3)? as u64, get::<i64>(row, 4)? as u64];
        search.waits_of((topic, get(row, 1)?, count_of(row, 2)?), left, get(row, 5)?);
    }
    Ok(())
}
