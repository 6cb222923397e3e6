//! What an order type does to its store, behind one seam.

use std::fmt;

use redb::{ReadableTable, Table, TableDefinition};

use super::tables::Blobs;
use super::transaction::Settling;
use crate::order::{DeliveryUpdate, Order};
use crate::store::dead_letter::About;
use crate::store::decision::{At, Decision};
use crate::store::ledger::{LedgerReader, LedgerWriter};
use crate::store::pack::Unpack;
use crate::store::{Applied, Batch, EventId, Move, MoveRow, OutboxRow};
use crate::{Error, ErrorCode, Result};

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

    /// Settles updates of deliveries. An effect without deliveries refuses them, as all that follows.
    fn updates(settling: Settling<'_, '_, Self>, batch: Batch<DeliveryUpdate>) -> Result<Applied> {
        drop((settling, batch));
        Err(nothing_moves())
    }

    /// Finds the deliveries that are about to be moved.
    fn find(settling: &mut Settling<'_, '_, Self>, deliveries: Vec<EventId>) -> Result<()> {
        drop((settling, deliveries));
        Err(nothing_moves())
    }

    /// Makes the move of an update whose delivery was looked for, with its line in the ledger.
    fn update(
        settling: &mut Settling<'_, '_, Self>,
        update: &DeliveryUpdate,
        at: At<'_>,
        row: &mut LedgerWriter,
    ) -> Result<Decision> {
        let _ = (settling, update, at, row);
        Err(nothing_moves())
    }

    /// Makes a move that an operator asks for.
    fn move_now(settling: Settling<'_, '_, Self>, delivery: EventId, asked: Move) -> Result<MoveRow> {
        drop((settling, delivery, asked));
        Err(nothing_moves())
    }
}

fn nothing_moves() -> Error {
    Error::new(ErrorCode::StoreForeign, "the store keeps no deliveries that could be moved")
}

/// How records of one kind are settled in a store with this effect.
pub(super) trait Settles<O: Order>: Effect {
    /// What the letters and the ledger's lines of such records are about.
    const ABOUT: About;

    /// Makes ready what all records of a batch need.
    fn prepare(settling: &mut Settling<'_, '_, Self>, batch: &Batch<O>) -> Result<()>;

    /// Decides one record: applied, with its line in the ledger, or refused.
    fn settle(settling: &mut Settling<'_, '_, Self>, order: &O, at: At<'_>, row: &mut LedgerWriter)
    -> Result<Decision>;
}

impl<E: Effect> Settles<E::Order> for E {
    const ABOUT: About = About::Order;

    #[inline]
    fn prepare(_: &mut Settling<'_, '_, Self>, _: &Batch<E::Order>) -> Result<()> {
        Ok(())
    }

    #[inline]
    fn settle(
        settling: &mut Settling<'_, '_, Self>,
        order: &E::Order,
        at: At<'_>,
        row: &mut LedgerWriter,
    ) -> Result<Decision> {
        settling.memory.effect.decide(order, at, &settling.tables.effect, row)
    }
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
