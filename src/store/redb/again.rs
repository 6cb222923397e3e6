//! What a move of a position back would do again.

use redb::ReadTransaction;

use super::deliveries::Deliveries;
use super::effect::Effect;
use super::fault::fault;
use super::inventory::Inventory;
use super::shared::Shared;
use super::tables::LEDGER;
use super::topics::Topics;
use crate::Result;
use crate::order::{InventoryOrder, Order};
use crate::store::ledger::LedgerReader;
use crate::store::ranges::Ranges;
use crate::store::{AppliedSince, Topic};

/// Counts the places in a partition, from an offset on, whose order was applied: each once, however often it was.
pub(super) fn applied_since(
    shared: &Shared,
    transaction: &ReadTransaction,
    (topic, partition): (&Topic, i32),
    from: i64,
) -> Result<AppliedSince> {
    let Some(number) = Topics::load(transaction)?.find(topic) else { return Ok(AppliedSince::default()) };
    let is_inventory = shared.identity().order_type == InventoryOrder::TYPE;
    let (mut known, mut nameless) = (Ranges::new(), Ranges::new());
    for row in transaction.open_table(LEDGER).map_err(fault)?.range::<(u64, u32)>(..).map_err(fault)? {
        shared.go_on()?;
        let (_, value) = row.map_err(fault)?;
        let mut row = LedgerReader::new(value.value())?;
        if (row.head().topic, row.head().partition) != (number, partition) {
            continue;
        }
        while let Some(line) = row.line()? {
            if line.offset >= from {
                let found = if line.identity.is_some() { &mut known } else { &mut nameless };
                found.insert(line.offset, line.offset.saturating_add(1));
            }
            row.skip(if is_inventory { Inventory::skip } else { Deliveries::skip })?;
        }
    }
    Ok(AppliedSince { with_identity: known.count(), without_identity: nameless.count() })
}
