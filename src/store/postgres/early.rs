//! Updates of deliveries that came before their orders.
//!
//! An update whose delivery is not there is an open letter with the delivery's name. Who schedules deliveries reads these
//! letters first, and makes in the same transaction the moves of what it has scheduled. The other process may be about to
//! commit, so each looks once more in the end, under a lock:
//!
//! ```text
//!  schedules:  begin, what waits? ... write all, lock (shared): does anything new wait for these?  COMMIT
//!  sets aside: begin, is it there? ... write all, lock (alone): has it come?                       COMMIT
//! ```
//! Who finds that the other was first gives its own work up and does it again. The lock is the last that is taken, for the
//! time of a commit: whoever has it waits for nobody. It is the transaction's, so it needs no session.

use std::collections::{HashMap, HashSet};

use tokio_postgres::types::Type;

use super::effect::Effect;
use super::letters::id_of;
use super::link::{Link, get};
use super::moves::{LOCK, name_of};
use super::positions;
use crate::Result;
use crate::store::{BACKFILL, EventId};

/// How many waiting letters are read beforehand; where there are more, those of the transaction's deliveries are looked up.
const KNOWN_MAX: i64 = 1_000;

/// With the count of what was ever set aside: whatever is not among these grows it.
const WAITING: &str = "SELECT value, delivery, id FROM counters LEFT JOIN (
                         SELECT delivery, id FROM dead_letters
                         WHERE state = 0 AND code = 'DLV-UNKNOWN' AND delivery IS NOT NULL LIMIT $1
                       ) AS early ON true WHERE name = 'early'";
const WAITING_FOR: &str = "SELECT delivery, id FROM dead_letters
                           WHERE state = 0 AND code = 'DLV-UNKNOWN' AND delivery = ANY($1)";
const SHARED: &str = "SELECT pg_advisory_xact_lock_shared(hashtextextended('orderflow early ' || current_schema(), 0))";
const ALONE: &str = "SELECT pg_advisory_xact_lock(hashtextextended('orderflow early ' || current_schema(), 0))";
/// Takes the logarithm of zero where something new waits.
const CHECK: &str = "SELECT ln(CASE WHEN value = $1 THEN 1 WHEN $2 IS NULL THEN 0
                       WHEN EXISTS (SELECT FROM dead_letters WHERE state = 0 AND code = 'DLV-UNKNOWN'
                                    AND delivery = ANY($2) AND id <> ALL($3)) THEN 0 ELSE 1 END)
                     FROM counters WHERE name = 'early'";
const COUNT: &str = "UPDATE counters SET value = value + 1 WHERE name = 'early'";

/// What waits for deliveries, in a transaction that schedules some.
#[derive(Debug, Default)]
pub(super) struct Early {
    /// How many were ever set aside; none: nothing is scheduled here.
    count: Option<i64>,
    /// Letters by delivery.
    waiting: HashMap<EventId, Vec<EventId>>,
    too_many: bool,
    seen: HashSet<EventId>,
    /// What was scheduled, where anything waits.
    scheduled: Vec<EventId>,
    arrived: Vec<EventId>,
}

impl Early {
    /// Reads what waits, if the effect is one of deliveries.
    pub(super) async fn load<E: Effect>(link: Link<'_>) -> Result<Self> {
        let mut early = Self::default();
        if !E::ANNOUNCED {
            return Ok(early);
        }
        for row in &link.rows(WAITING, &[(&KNOWN_MAX, Type::INT8)]).await? {
            early.count = Some(get(row, 0)?);
            if let Some(delivery) = get::<Option<&[u8]>>(row, 1)? {
                early.await_delivery(name_of(delivery)?, id_of(get(row, 2)?)?);
            }
        }
        early.too_many = early.seen.len() as i64 >= KNOWN_MAX;
        Ok(early)
    }

    /// Whether anything waits.
    pub(super) fn is_awaited(&self) -> bool {
        !self.seen.is_empty()
    }

    /// Keeps what waits for these deliveries. Where there is any it locks what moves lock, and the position of replays,
    /// which is asked for first of all: so locks are taken in one order.
    pub(super) async fn expect(&mut self, link: Link<'_>, deliveries: &[EventId], replays: u32) -> Result<()> {
        if self.too_many {
            let names = bytes_of(deliveries);
            self.waiting.clear();
            for row in &link.rows(WAITING_FOR, &[(&names, Type::BYTEA_ARRAY)]).await? {
                self.await_delivery(name_of(get(row, 0)?)?, id_of(get(row, 1)?)?);
            }
        }
        if deliveries.iter().any(|delivery| self.waiting.contains_key(delivery)) {
            futures::try_join!(positions::lock(link, replays, &[BACKFILL]), link.rows(LOCK, &[]))?;
        }
        Ok(())
    }

    fn await_delivery(&mut self, delivery: EventId, letter: EventId) {
        self.seen.insert(letter);
        self.waiting.entry(delivery).or_default().push(letter);
    }

    /// A delivery is scheduled.
    pub(super) fn arrive(&mut self, delivery: EventId) {
        self.scheduled.push(delivery);
        self.arrived.extend(self.waiting.remove(&delivery).unwrap_or_default());
    }

    /// The letters whose deliveries have come.
    pub(super) fn take_arrived(&mut self) -> Vec<EventId> {
        std::mem::take(&mut self.arrived)
    }

    /// Fails, so that the transaction is done again, if something waits by now for what was scheduled. The commit is to follow.
    pub(super) async fn check(&self, link: Link<'_>) -> Result<()> {
        let Some(count) = self.count else { return Ok(()) };
        let scheduled = self.is_awaited().then(|| bytes_of(&self.scheduled));
        let seen = bytes_of(self.seen.iter());
        let asked = [(&count as _, Type::INT8), (&scheduled as _, Type::BYTEA_ARRAY), (&seen as _, Type::BYTEA_ARRAY)];
        futures::try_join!(link.rows(SHARED, &[]), link.rows(CHECK, &asked)).map(drop)
    }
}

/// Waits until nobody is about to commit deliveries, and keeps others from it until the transaction ends, which has set
/// aside updates of deliveries that are not there.
pub(super) async fn alone(link: Link<'_>) -> Result<()> {
    futures::try_join!(link.rows(ALONE, &[]), link.run(COUNT, &[])).map(drop)
}

fn bytes_of<'a>(ids: impl IntoIterator<Item = &'a EventId>) -> Vec<&'a [u8]> {
    ids.into_iter().map(|id| id.as_bytes().as_slice()).collect()
}
