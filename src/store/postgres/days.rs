//! Deliveries in PostgreSQL: each is a line of the ledger, and each day knows how many it has.
//!
//! Where a day has a capacity, one transaction at a time books days: it locks `capacity`, reads the days that it may take
//! and decides in memory. Without one, days are only counted.

use std::collections::BTreeMap;

use tokio_postgres::types::Type;

use super::effect::Effect;
use super::keeper::Keeper;
use super::link::{Link, count_of, get};
use super::moves::Moving;
use crate::Result;
use crate::order::DeliveryOrder;
use crate::store::decision::{At, Decision};
use crate::store::delivery_line::{DeliveryLine, NO_DAY};
use crate::store::ledger::LedgerWriter;
use crate::store::pack::Unpack;
use crate::store::schedule::Calendar;
use crate::store::{DeliveryPolicy, HORIZON_DAYS};

const LOCK: &str = "SELECT 1 FROM counters WHERE name = 'capacity' FOR UPDATE";
const READ: &str = "SELECT day, deliveries FROM days WHERE day >= $1 ORDER BY day";
const WRITE: &str = "INSERT INTO days (day, deliveries) SELECT * FROM unnest($1, $2)
                     ON CONFLICT (day) DO UPDATE SET deliveries = days.deliveries + excluded.deliveries";

/// Deliveries to customers.
#[derive(Debug)]
pub(super) struct Deliveries {
    policy: DeliveryPolicy,
    calendar: Calendar,
    /// What the days had before.
    stored: BTreeMap<i32, u32>,
    value: Vec<u8>,
}

impl Effect for Deliveries {
    type Order = DeliveryOrder;
    type Policy = DeliveryPolicy;
    const ANNOUNCED: bool = true;

    async fn load(link: Link<'_>, policy: &DeliveryPolicy, orders: &[(&DeliveryOrder, Option<i64>)]) -> Result<Self> {
        let mut stored = BTreeMap::new();
        let earliest = orders.iter().map(|(order, written)| policy.earliest(order.timestamp().date(), *written)).min();
        if let (Some(earliest), Some(_)) = (earliest, policy.daily_capacity) {
            let from = [(&earliest as _, Type::INT4)];
            let (_, rows) = futures::try_join!(link.rows(LOCK, &[]), link.rows(READ, &from))?;
            for row in rows {
                stored.insert(get(&row, 0)?, u32::try_from(count_of(&row, 1)?).unwrap_or(u32::MAX));
            }
        }
        Ok(Self { policy: *policy, calendar: Calendar::default(), stored, value: Vec::new() })
    }

    fn skip(line: &mut Unpack<'_>) -> Result<()> {
        DeliveryLine::read(line).map(drop)
    }

    fn begin_row(&mut self) {}

    fn decide(&mut self, order: &DeliveryOrder, at: At<'_>, row: &mut LedgerWriter) -> Result<Decision> {
        let earliest = self.policy.earliest(order.timestamp().date(), at.written);
        let stored = &self.stored;
        let booked = self.calendar.book(&self.policy, earliest, |day| Ok(stored.get(&day).copied().unwrap_or(0)))?;
        let Some(day) = booked else {
            let reason = format!("no day within {HORIZON_DAYS} days has capacity left");
            return Ok(Decision::Refused { code: NO_DAY, reason });
        };
        let out = row.order(at.offset, at.timestamp, at.identity, order.order_id());
        DeliveryLine::write(order, day, &mut self.value, out);
        Ok(Decision::Applied)
    }

    fn moves(keeper: &Keeper<Self>) -> Option<Keeper<Moving>> {
        Some(super::moves::keeper(keeper))
    }

    async fn write(&mut self, link: Link<'_>) -> Result<()> {
        let changed = self.calendar.take_changed();
        if changed.is_empty() {
            return Ok(());
        }
        let more = |(day, deliveries): (i32, u32)| {
            i64::from(deliveries) - i64::from(self.stored.get(&day).copied().unwrap_or(0))
        };
        let (days, more): (Vec<i32>, Vec<i64>) = changed.into_iter().map(|booked| (booked.0, more(booked))).unzip();
        link.run(WRITE, &[(&days, Type::INT4_ARRAY), (&more, Type::INT8_ARRAY)]).await
    }
}
