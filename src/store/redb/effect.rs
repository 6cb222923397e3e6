//! What an order type does to its store, behind one seam.

use std::fmt;

use redb::{ReadableTable, Table, TableDefinition};

use super::tables::Blobs;
use crate::Result;
use crate::order::{Identity, Order};
use crate::store::OutboxRow;
use crate::store::ledger::{LedgerReader, LedgerWriter};
use crate::store::pack::Unpack;

/// The effect's own table, for reading.
pub(super) trait EffectTable: ReadableTable<&'static [u8], &'static [u8]> {}

impl<T: ReadableTable<&'static [u8], &'static [u8]>> EffectTable for T {}

/// The effect of one order type: decided order by order in memory, written once a transaction.
pub(super) trait Effect: fmt::Debug + Send + Sized + 'static {
    /// The orders.
    type Order: Order;
    /// How the effect is to be decided.
    type Policy: Clone + fmt::Debug + Default + Send + Sync + 'static;
    /// The name of the effect's table.
    const TABLE: &'static str;
    /// Whether each row of the ledger is an event for the outbox.
    const ANNOUNCED: bool;

    /// An effect with nothing in memory.
    fn new(policy: &Self::Policy) -> Self;

    /// Takes in a row of the ledger that the effect's table does not know of yet.
    fn recover(&mut self, row: &mut LedgerReader<'_>, table: &impl EffectTable) -> Result<()>;

    /// Passes over what the effect added to a line of the ledger.
    fn skip(line: &mut Unpack<'_>) -> Result<()>;

    /// Another row of the ledger begins.
    fn begin_row(&mut self);

    /// Decides one order: applied, with its line in the ledger, or refused.
    fn decide(
        &mut self,
        order: &Self::Order,
        at: At<'_>,
        table: &impl EffectTable,
        row: &mut LedgerWriter,
    ) -> Result<Decision>;

    /// What the transaction has to tell beside its ledger.
    fn take_tidings(&mut self) -> Vec<OutboxRow> {
        Vec::new()
    }

    /// Ends a transaction. Returns whether the table now knows of everything that is in the ledger.
    fn write(&mut self, table: &mut Table<'_, &'static [u8], &'static [u8]>) -> Result<Written>;
}

/// Where an order is, and when.
#[derive(Clone, Copy, Debug)]
pub(super) struct At<'a> {
    pub(super) identity: Option<&'a Identity>,
    pub(super) offset: i64,
    /// The record's timestamp.
    pub(super) timestamp: i64,
    /// The day's instant that counts: the record's timestamp unless it is far ahead; none for a backfilled order.
    pub(super) written: Option<i64>,
}

/// What became of one order.
#[derive(Debug)]
pub(super) enum Decision {
    /// Its line is in the ledger.
    Applied,
    /// The business says no.
    Refused {
        /// The stable code.
        code: &'static str,
        /// A sentence for people.
        reason: String,
    },
}

/// How far the effect's table is, after a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    /// It knows of everything.
    Folded,
    /// What changed is in memory and can be recovered from the ledger.
    Pending,
}

/// The effect's table in a store's file.
pub(super) const fn table_of<E: Effect>() -> Blobs {
    TableDefinition::new(E::TABLE)
}
