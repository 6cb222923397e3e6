//! The tables of a store's file.

use redb::{
    Key, ReadOnlyTable, ReadTransaction, ReadableTable, Table, TableDefinition, TableError, Value, WriteTransaction,
};

use super::fault::fault;
use crate::Result;

/// Bytes by bytes.
pub(super) type Blobs = TableDefinition<'static, &'static [u8], &'static [u8]>;
/// A row by its event's name.
pub(super) type ByEvent = TableDefinition<'static, &'static [u8; 16], &'static [u8]>;

/// What the store is, and its totals, by name.
pub(super) const META: TableDefinition<&str, &[u8]> = TableDefinition::new("meta");
/// Topics by the store's number.
pub(super) const TOPICS: TableDefinition<u32, &[u8]> = TableDefinition::new("topics");
/// Standings by topic and partition.
pub(super) const POSITIONS: TableDefinition<(u32, i32), &[u8]> = TableDefinition::new("positions");
/// Every position set on purpose, by topic, partition and the version it gave, with the account it closed.
pub(super) const STARTS: TableDefinition<(u32, i32, u64), &[u8]> = TableDefinition::new("starts");
/// What failed in the last write of a partition that had failures, by topic and partition.
pub(super) const FAILURES: TableDefinition<(u32, i32), &[u8]> = TableDefinition::new("failures");
/// Packed rows by transaction and place in it.
pub(super) const LEDGER: TableDefinition<(u64, u32), &[u8]> = TableDefinition::new("ledger");
/// Sources of numbered identities by their characters.
pub(super) const SOURCES: Blobs = TableDefinition::new("sources");
/// Chunks of numbered identities by source and number.
pub(super) const CHUNKS: TableDefinition<&[u8; CHUNK_KEY], &[u8]> = TableDefinition::new("chunks");
/// Opaque identities.
pub(super) const OPAQUE: TableDefinition<&[u8], ()> = TableDefinition::new("opaque");
/// The opaque identities of one transaction, so that the oldest can be found.
pub(super) const OPAQUE_AGE: TableDefinition<u64, &[u8]> = TableDefinition::new("opaque_age");
/// Dead letters and refusals.
pub(super) const DEAD_LETTERS: ByEvent = TableDefinition::new("dead_letters");
/// The records that they came from.
pub(super) const ORIGINALS: ByEvent = TableDefinition::new("originals");
/// Events that wait for the relay, in their order.
pub(super) const OUTBOX: TableDefinition<u64, &[u8]> = TableDefinition::new("outbox");

/// Deliveries that have moved, by their names.
pub(super) const LIVES: Blobs = TableDefinition::new("lives");
/// Fingerprints of deliveries, by the row of the ledger that has them.
pub(super) const PRINTS: Blobs = TableDefinition::new("prints");

/// Rows of handlers' own, by table and key.
pub(super) const OVERLAY: Blobs = TableDefinition::new("overlay");

/// What is requested of dead letters, by their names.
pub(super) const REQUESTED: ByEvent = TableDefinition::new("requested");

/// 22 characters of the source, filled up with zeros, and 4 bytes of the number.
pub(super) const CHUNK_KEY: usize = 26;

/// All tables, open in one transaction.
pub(super) struct Tables<'t> {
    pub(super) meta: Table<'t, &'static str, &'static [u8]>,
    pub(super) topics: Table<'t, u32, &'static [u8]>,
    pub(super) positions: Table<'t, (u32, i32), &'static [u8]>,
    pub(super) failures: Table<'t, (u32, i32), &'static [u8]>,
    pub(super) starts: Table<'t, (u32, i32, u64), &'static [u8]>,
    pub(super) ledger: Table<'t, (u64, u32), &'static [u8]>,
    pub(super) sources: Table<'t, &'static [u8], &'static [u8]>,
    pub(super) chunks: Table<'t, &'static [u8; CHUNK_KEY], &'static [u8]>,
    pub(super) opaque: Table<'t, &'static [u8], ()>,
    pub(super) opaque_age: Table<'t, u64, &'static [u8]>,
    pub(super) dead_letters: Table<'t, &'static [u8; 16], &'static [u8]>,
    pub(super) originals: Table<'t, &'static [u8; 16], &'static [u8]>,
    pub(super) outbox: Table<'t, u64, &'static [u8]>,
    pub(super) lives: Table<'t, &'static [u8], &'static [u8]>,
    pub(super) prints: Table<'t, &'static [u8], &'static [u8]>,
    pub(super) overlay: Table<'t, &'static [u8], &'static [u8]>,
    pub(super) requested: Table<'t, &'static [u8; 16], &'static [u8]>,
    /// What the order type's effect keeps.
    pub(super) effect: Table<'t, &'static [u8], &'static [u8]>,
}

impl<'t> Tables<'t> {
    /// Opens every table, making those that are missing; `effect` names the effect's.
    pub(super) fn open(transaction: &'t WriteTransaction, effect: Blobs) -> Result<Self> {
        Ok(Self {
            meta: transaction.open_table(META).map_err(fault)?,
            topics: transaction.open_table(TOPICS).map_err(fault)?,
            positions: transaction.open_table(POSITIONS).map_err(fault)?,
            failures: transaction.open_table(FAILURES).map_err(fault)?,
            starts: transaction.open_table(STARTS).map_err(fault)?,
            ledger: transaction.open_table(LEDGER).map_err(fault)?,
            sources: transaction.open_table(SOURCES).map_err(fault)?,
            chunks: transaction.open_table(CHUNKS).map_err(fault)?,
            opaque: transaction.open_table(OPAQUE).map_err(fault)?,
            opaque_age: transaction.open_table(OPAQUE_AGE).map_err(fault)?,
            dead_letters: transaction.open_table(DEAD_LETTERS).map_err(fault)?,
            originals: transaction.open_table(ORIGINALS).map_err(fault)?,
            outbox: transaction.open_table(OUTBOX).map_err(fault)?,
            lives: transaction.open_table(LIVES).map_err(fault)?,
            prints: transaction.open_table(PRINTS).map_err(fault)?,
            overlay: transaction.open_table(OVERLAY).map_err(fault)?,
            requested: transaction.open_table(REQUESTED).map_err(fault)?,
            effect: transaction.open_table(effect).map_err(fault)?,
        })
    }
}

/// A table that came with a later release; `None`: the store was last written by an earlier one.
pub(super) fn if_there<K: Key + 'static, V: Value + 'static>(
    transaction: &ReadTransaction,
    table: TableDefinition<'_, K, V>,
) -> Result<Option<ReadOnlyTable<K, V>>> {
    match transaction.open_table(table) {
        Ok(table) => Ok(Some(table)),
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(fault(error)),
    }
}

/// The row of this name in the table of totals and names.
pub(super) fn read_meta(transaction: &ReadTransaction, name: &str) -> Result<Option<Vec<u8>>> {
    let table = transaction.open_table(META).map_err(fault)?;
    let row = table.get(name).map_err(fault)?;
    Ok(row.map(|row| row.value().to_vec()))
}

/// The bytes of a row, if there is one.
pub(super) fn bytes_of<'a, K: Key + 'static>(
    table: &impl ReadableTable<K, &'static [u8]>,
    key: K::SelfType<'a>,
) -> Result<Option<Vec<u8>>> {
    let row = table.get(key).map_err(fault)?;
    Ok(row.map(|row| row.value().to_vec()))
}
