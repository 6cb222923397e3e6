//! Deliveries in redb: each is a line of the ledger, and each day knows how many it has.

use redb::{ReadableTable, Table};

use super::effect::{Effect, EffectTable, Written};
use super::fault::fault;
use super::prints::{catch_up, search};
use super::transaction::Settling;
use crate::order::{DeliveryOrder, DeliveryUpdate};
use crate::store::decision::{At, Decision};
use crate::store::delivery_line::{DeliveryLine, NO_DAY};
use crate::store::ledger::{LedgerReader, LedgerWriter};
use crate::store::life::Life;
use crate::store::pack::Unpack;
use crate::store::schedule::Calendar;
use crate::store::{Applied, Batch, DeliveryPolicy, EventId, HORIZON_DAYS, Move, MoveRow};
use crate::{Error, ErrorCode, Result};

/// Deliveries to customers.
#[derive(Debug)]
pub(super) struct Deliveries {
    policy: DeliveryPolicy,
    calendar: Calendar,
    value: Vec<u8>,
    /// Deliveries that were found for the transaction under way, by name.
    found: Vec<(EventId, Life)>,
}

impl Deliveries {
    /// Those of these names that have no life yet are looked for, all at once.
    fn look_for(settling: &mut Settling<'_, '_, Self>, mut wanted: Vec<EventId>) -> Result<()> {
        wanted.sort_unstable();
        wanted.dedup();
        let mut strangers = Vec::new();
        for id in wanted {
            if settling.tables.lives.get(id.as_bytes().as_slice()).map_err(fault)?.is_none() {
                strangers.push(id);
            }
        }
        settling.memory.effect.found = match strangers.is_empty() {
            true => Vec::new(),
            false => {
                catch_up(settling.tables, &settling.memory.topics)?;
                search(settling.tables, &settling.memory.topics, strangers)?
            }
        };
        Ok(())
    }

    /// The delivery of this name, if it was looked for and is there.
    pub(super) fn found(&self, id: EventId) -> Option<&Life> {
        self.found.iter().find(|(found, _)| *found == id).map(|(_, life)| life)
    }

    /// A day has one delivery less.
    pub(super) fn give_back(&mut self, day: i32, table: &impl EffectTable) -> Result<()> {
        self.calendar.give_back(&self.policy, day, |day| deliveries_on(table, day))
    }
}

impl Effect for Deliveries {
    type Order = DeliveryOrder;
    type Policy = DeliveryPolicy;
    const TABLE: &'static str = "days";
    const ANNOUNCED: bool = true;

    fn new(policy: &DeliveryPolicy) -> Self {
        Self { policy: *policy, calendar: Calendar::default(), value: Vec::new(), found: Vec::new() }
    }

    fn recover(&mut self, _row: &mut LedgerReader<'_>, _table: &impl EffectTable) -> Result<()> {
        Err(Error::new(ErrorCode::StoreCorrupt, "the ledger has deliveries that the calendar does not know of"))
    }

    fn skip(line: &mut Unpack<'_>) -> Result<()> {
        DeliveryLine::read(line).map(drop)
    }

    fn begin_row(&mut self) {}

    fn decide(
        &mut self,
        order: &DeliveryOrder,
        at: At<'_>,
        table: &impl EffectTable,
        row: &mut LedgerWriter,
    ) -> Result<Decision> {
        let earliest = self.policy.earliest(order.timestamp().date(), at.written);
        let day = self.calendar.book(&self.policy, earliest, |day| deliveries_on(table, day))?;
        let Some(day) = day else {
            let reason = format!("no day within {HORIZON_DAYS} days has capacity left");
            return Ok(Decision::Refused { code: NO_DAY, reason });
        };
        let out = row.order(at.offset, at.timestamp, at.identity, order.order_id());
        DeliveryLine::write(order, day, &mut self.value, out);
        Ok(Decision::Applied)
    }

    fn write(&mut self, table: &mut Table<'_, &'static [u8], &'static [u8]>) -> Result<Written> {
        for (day, deliveries) in self.calendar.take_changed() {
            table.insert(day_key(day).as_slice(), deliveries.to_le_bytes().as_slice()).map_err(fault)?;
        }
        self.found.clear();
        Ok(Written::Folded)
    }

    fn updates(settling: Settling<'_, '_, Self>, batch: Batch<DeliveryUpdate>) -> Result<Applied> {
        settling.batch(batch)
    }

    fn find(settling: &mut Settling<'_, '_, Self>, deliveries: Vec<EventId>) -> Result<()> {
        Self::look_for(settling, deliveries)
    }

    fn update(
        settling: &mut Settling<'_, '_, Self>,
        update: &DeliveryUpdate,
        at: At<'_>,
        row: &mut LedgerWriter,
    ) -> Result<Decision> {
        settling.update(update, at, row)
    }

    fn move_now(settling: Settling<'_, '_, Self>, delivery: EventId, asked: Move) -> Result<MoveRow> {
        settling.by_command(delivery, asked)
    }
}

/// How many deliveries the table has on a day.
pub(super) fn deliveries_on(table: &impl EffectTable, day: i32) -> Result<u32> {
    let row = table.get(day_key(day).as_slice()).map_err(fault)?;
    row.map_or(Ok(0), |row| read_deliveries(row.value()))
}

/// The value of a day's row.
pub(super) fn read_deliveries(bytes: &[u8]) -> Result<u32> {
    let mut row = Unpack::new(bytes, "a day of deliveries");
    Ok(u32::from_le_bytes(row.array()?))
}

/// The key of a day's row: ascending with the day.
fn day_key(day: i32) -> [u8; 4] {
    (day as u32 ^ 1 << 31).to_be_bytes()
}

/// The day of a key that [`day_key`] made.
pub(super) fn day_of_key(key: &[u8]) -> Result<i32> {
    let mut row = Unpack::new(key, "a day of deliveries");
    Ok((u32::from_be_bytes(row.array()?) ^ 1 << 31) as i32)
}
