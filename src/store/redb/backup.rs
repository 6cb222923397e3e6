//! A copy of a store as it is committed, while it is held and written.
//!
//! Everything is read in one transaction and written to a file beside the wanted one, which takes its name when it is
//! whole and synced.

use std::path::{Path, PathBuf};

use redb::{Database, Key, ReadTransaction, ReadableTable, TableDefinition, Value, WriteTransaction};

use super::deliveries::Deliveries;
use super::effect::table_of;
use super::fault::fault;
use super::inventory::Inventory;
use super::shared::Shared;
use super::tables::{
    CHUNKS, DEAD_LETTERS, FAILURES, LEDGER, LIVES, META, OPAQUE, OPAQUE_AGE, ORIGINALS, OUTBOX, OVERLAY, POSITIONS,
    PRINTS, REQUESTED, SOURCES, STARTS, TOPICS, if_there,
};
use crate::order::{InventoryOrder, Order};
use crate::store::{BackupRow, Row};
use crate::{Error, ErrorCode, Result};

/// Writes the copy.
pub(super) fn back_up(shared: &Shared, to: &Path) -> Result<Vec<Row>> {
    if to.try_exists().unwrap_or(true) {
        return Err(
            Error::new(ErrorCode::Input, format!("{} exists already", to.display())).remedy("name another file")
        );
    }
    let part = PathBuf::from(format!("{}.part", to.display()));
    let copied = copy(shared, &part).and_then(|rows| {
        std::fs::rename(&part, to).map_err(|cause| unwritable(to).caused_by(cause))?;
        let bytes = std::fs::metadata(to).map_or(0, |found| found.len());
        Ok(vec![Row::Backup(BackupRow { to: to.display().to_string(), rows, bytes })])
    });
    if copied.is_err() && std::fs::remove_file(&part).is_err() {
        tracing::debug!(path = %part.display(), "what was copied was not removed");
    }
    copied
}

fn copy(shared: &Shared, part: &Path) -> Result<u64> {
    let database = Database::create(part).map_err(|cause| unwritable(part).caused_by(cause))?;
    let effect = match shared.identity().order_type == InventoryOrder::TYPE {
        true => table_of::<Inventory>(),
        false => table_of::<Deliveries>(),
    };
    let transaction = database.begin_write().map_err(fault)?;
    let rows = shared.read(|from| {
        let copy = Copy { shared, from, to: &transaction };
        let counts = [
            copy.table(META)?,
            copy.table(TOPICS)?,
            copy.table(POSITIONS)?,
            copy.table(STARTS)?,
            copy.table(FAILURES)?,
            copy.table(LEDGER)?,
            copy.table(SOURCES)?,
            copy.table(CHUNKS)?,
            copy.table(OPAQUE)?,
            copy.table(OPAQUE_AGE)?,
            copy.table(DEAD_LETTERS)?,
            copy.table(ORIGINALS)?,
            copy.table(OUTBOX)?,
            copy.table(LIVES)?,
            copy.table(PRINTS)?,
            copy.table(OVERLAY)?,
            copy.table(REQUESTED)?,
            copy.table(effect)?,
        ];
        Ok(counts.into_iter().fold(0, u64::saturating_add))
    })?;
    transaction.commit().map_err(fault)?;
    database.close().map_err(fault)?;
    Ok(rows)
}

struct Copy<'a> {
    shared: &'a Shared,
    from: &'a ReadTransaction,
    to: &'a WriteTransaction,
}

impl Copy<'_> {
    fn table<K: Key + 'static, V: Value + 'static>(&self, table: TableDefinition<'_, K, V>) -> Result<u64> {
        let Some(from) = if_there(self.from, table)? else { return Ok(0) };
        let mut to = self.to.open_table(table).map_err(fault)?;
        let mut rows = 0_u64;
        for row in from.iter().map_err(fault)? {
            self.shared.go_on()?;
            let (key, value) = row.map_err(fault)?;
            to.insert(key.value(), value.value()).map_err(fault)?;
            rows += 1;
        }
        Ok(rows)
    }
}

fn unwritable(path: &Path) -> Error {
    Error::new(ErrorCode::Input, format!("{} cannot be written", path.display()))
}
