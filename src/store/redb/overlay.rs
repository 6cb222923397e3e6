//! What handlers add to their orders' effects, in redb: rows of their own, events.

use std::ops::Bound;

use redb::ReadTransaction;

use super::effect::Effect;
use super::fault::fault;
use super::page::{Cursor, PAGE_ROWS, Page};
use super::tables::{OVERLAY, if_there};
use super::transaction::Settling;
use crate::Result;
use crate::store::pack::Unpack;
use crate::store::{EventId, OutboxRow, Overlay, OverlayRow, OwnEvent, OwnRow, Row, Text, row_name};

impl<E: Effect> Settling<'_, '_, E> {
    /// Lays what a handler adds over what its order, whose event has this name, has just done.
    pub(super) fn lay(&mut self, id: EventId, overlay: Overlay) -> Result<()> {
        for OverlayRow { table, key, value } in overlay.rows {
            let name = row_name(&table, &key);
            match value {
                Some(value) => drop(self.tables.overlay.insert(name.as_slice(), value.as_slice()).map_err(fault)?),
                None => drop(self.tables.overlay.remove(name.as_slice()).map_err(fault)?),
            }
        }
        for (event, number) in overlay.events.into_iter().zip(0..) {
            let event = OwnEvent { id, number, topic: event.topic, key: event.key, value: event.value };
            self.desk().announce(OutboxRow::Own(Box::new(event)))?;
        }
        Ok(())
    }
}

/// One page of a table of a handler's own.
pub(super) fn rows(transaction: &ReadTransaction, table: &str, cursor: Option<&Cursor>) -> Result<Page> {
    let first = row_name(table, b"");
    let from = match cursor {
        Some(Cursor::Own(last)) => Bound::Excluded(last.as_slice()),
        _ => Bound::Included(first.as_slice()),
    };
    let mut page = Page::default();
    let Some(kept) = if_there(transaction, OVERLAY)? else { return Ok(page) };
    for row in kept.range::<&[u8]>((from, Bound::Unbounded)).map_err(fault)? {
        let (name, value) = row.map_err(fault)?;
        let mut read = Unpack::new(name.value(), "a row of a handler's own");
        if read.bytes()? != table.as_bytes() {
            break;
        }
        page.rows.push(Row::Own(OwnRow {
            table: table.to_owned(),
            key: Text::of(read.remaining()),
            value: Text::of(value.value()),
        }));
        if page.rows.len() == PAGE_ROWS {
            page.next = Some(Cursor::Own(name.value().to_vec()));
            break;
        }
    }
    Ok(page)
}
