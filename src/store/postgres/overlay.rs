//! What handlers add to their orders' effects, in PostgreSQL: rows of their own, events.

use std::collections::BTreeMap;

use tokio_postgres::types::Type;

use super::link::{Link, get};
use super::page::{Cursor, PAGE_ROWS, Page};
use crate::Result;
use crate::store::{EventId, OutboxRow, Overlay, OverlayRow, OwnEvent, OwnRow, Row, Text, row_name};

const PUT: &str = "INSERT INTO overlay (name, value) SELECT * FROM unnest($1, $2)
                   ON CONFLICT (name) DO UPDATE SET value = excluded.value";
const REMOVE: &str = "DELETE FROM overlay WHERE name = ANY($1)";
const READ: &str = "SELECT name, value FROM overlay
                    WHERE name > $1 AND substring(name FOR $3) = $2 ORDER BY name LIMIT $4";
/// Locks those rows that are there, in the one order of all transactions.
const LOCK: &str = "SELECT 1 FROM overlay WHERE name = ANY($1) ORDER BY name FOR UPDATE";

/// What the handlers of a transaction's orders add.
#[derive(Debug, Default)]
pub(super) struct Laid {
    /// By name, which is the order in which rows are locked. None: the row goes.
    rows: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    pub(super) events: Vec<OutboxRow>,
}

impl Laid {
    /// Takes in what a handler adds to the effect of its order, whose event has this name.
    pub(super) fn lay(&mut self, id: EventId, overlay: &Overlay) {
        for OverlayRow { table, key, value } in &overlay.rows {
            self.rows.insert(row_name(table, key), value.clone());
        }
        for (event, number) in overlay.events.iter().cloned().zip(0..) {
            let event = OwnEvent { id, number, topic: event.topic, key: event.key, value: event.value };
            self.events.push(OutboxRow::Own(Box::new(event)));
        }
    }

    /// Writes the rows.
    pub(super) async fn write(&self, link: Link<'_>) -> Result<()> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let names: Vec<&[u8]> = self.rows.keys().map(Vec::as_slice).collect();
        let kept = || self.rows.iter().filter_map(|(name, value)| Some((name.as_slice(), value.as_deref()?)));
        let (put, values): (Vec<&[u8]>, Vec<&[u8]>) = kept().unzip();
        let gone: Vec<&[u8]> =
            self.rows.iter().filter(|(_, value)| value.is_none()).map(|(name, _)| &name[..]).collect();
        let (names, gone) = ([(&names as _, Type::BYTEA_ARRAY)], [(&gone as _, Type::BYTEA_ARRAY)]);
        let rows = [(&put as _, Type::BYTEA_ARRAY), (&values as _, Type::BYTEA_ARRAY)];
        futures::try_join!(link.run(LOCK, &names), link.run(REMOVE, &gone), link.run(PUT, &rows)).map(drop)
    }
}

/// One page of a table of a handler's own.
pub(super) async fn rows(link: Link<'_>, table: &str, cursor: Option<&Cursor>) -> Result<Page> {
    let prefix = row_name(table, b"");
    let (after, length) = match cursor {
        Some(Cursor::Own(last)) => (last.clone(), prefix.len() as i32),
        _ => (Vec::new(), prefix.len() as i32),
    };
    let values = [
        (&after as _, Type::BYTEA),
        (&prefix as _, Type::BYTEA),
        (&length as _, Type::INT4),
        (&PAGE_ROWS as _, Type::INT8),
    ];
    let (mut page, mut last) = (Vec::new(), None);
    for row in link.rows(READ, &values).await? {
        let name: Vec<u8> = get(&row, 0)?;
        let key = Text::of(name.get(prefix.len()..).unwrap_or_default());
        page.push(Row::Own(OwnRow { table: table.to_owned(), key, value: Text::of(get(&row, 1)?) }));
        last = Some(name);
    }
    let next = last.filter(|_| page.len() as i64 == PAGE_ROWS).map(Cursor::Own);
    Ok((page, next))
}
