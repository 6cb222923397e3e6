//! What a store has to tell, read from the rows that its events refer to.
//!
//! ```text
//!  outbox row --> Tidings: a letter, deliveries, goods that come back, low stock --> relay --> Done: row, topic, shards
//! ```

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::delivery_line::DeliveryLine;
use super::ledger::{LedgerReader, Lines};
use super::rows::instant;
use super::schedule::date_of_day;
use super::{EventId, KnownDelivery, OwnEvent, SetAside, Status, Topic};
use crate::Result;

/// All shards, a bit each.
pub const ALL_SHARDS: u64 = u64::MAX;

/// A page of events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// What waits, in its order.
    pub events: Vec<WaitingEvent>,
    /// Events that tell of nothing any more: what they told of was closed, or a newer event tells of it.
    pub spent: Vec<u64>,
    /// Behind the last event that was looked at.
    pub until: Mark,
    /// Whether no event lies behind it.
    pub is_last: bool,
    /// Whether some were left out, because what comes before them was not let go yet.
    pub is_held: bool,
}

/// A place in an outbox, of which some stores have two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Among the events.
    pub event: u64,
    /// Among the deliveries that were scheduled, where these are kept apart.
    pub scheduled: u64,
}

/// A row that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitingEvent {
    /// Its number, which no other row has.
    pub number: u64,
    /// For each of its topics the shards in which it is to be told, a bit each. What goes to one topic has the first alone.
    pub left: [u64; 2],
    /// What it tells.
    pub tidings: Tidings,
}

/// What a row tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tidings {
    /// A record was refused or set aside.
    Letter(Box<SetAside>),
    /// Deliveries were scheduled, each for the first time: to whoever keeps statuses, and to the customers.
    Scheduled(Vec<DeliveryTold>),
    /// A delivery has moved: to the same.
    Moved(Box<DeliveryTold>),
    /// A delivery was called off: its goods are back.
    Returned(Box<DeliveryTold>),
    /// A product's stock fell below its reorder level.
    LowStock(LowStock),
    /// A handler's own event.
    Own(Box<OwnEvent>),
}

/// A delivery as it was at one version.
#[derive(Clone, PartialEq, Eq)]
pub struct DeliveryTold {
    /// Its name.
    pub id: EventId,
    /// Counts its changes, from 1.
    pub version: u32,
    /// The order.
    pub order_id: String,
    /// What is delivered.
    pub product_id: String,
    /// How many pieces.
    pub quantity: u32,
    /// What it is at this version.
    pub status: Status,
    /// The day of delivery.
    pub scheduled_for: chrono::NaiveDate,
    /// Since when it is so, in milliseconds since 1970.
    pub at: i64,
    /// Why, where somebody said so.
    pub reason: Option<String>,
    /// The whole order as a record's value, where it has a customer or an address.
    pub order: Option<Bytes>,
}

impl fmt::Debug for DeliveryTold {
    /// The order is left out: it names the customer. So is the reason, which people wrote.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeliveryTold")
            .field("id", &self.id)
            .field("version", &self.version)
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}

/// A product whose stock fell below its reorder level.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LowStock {
    /// The product.
    pub product_id: String,
    /// What was left.
    pub stock: i64,
    /// The level that it fell below.
    pub reorder_level: i64,
    /// How many movements the product had then.
    pub movements: u64,
    /// When, in milliseconds since 1970.
    pub at: i64,
}

/// A row is told to one of its topics, in some shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Done {
    /// The row.
    pub number: u64,
    /// Which of its topics: 0 or 1.
    pub part: u8,
    /// The shards, a bit each.
    pub shards: u64,
}

/// The shards that a relay may tell of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leases {
    /// Shards with their tokens: a token grows whenever a shard changes hands.
    pub shards: Vec<ShardLease>,
    /// For how long; `None`: there is no other relay.
    pub within: Option<Duration>,
}

/// One shard that a relay may tell of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShardLease {
    /// The shard, from 0 to 63.
    pub shard: u8,
    /// What must still be its token when something of it is let go.
    pub token: u64,
}

impl Leases {
    /// All shards, for ever: a store that serves one process.
    #[must_use]
    pub fn all() -> Self {
        Self { shards: (0..64).map(|shard| ShardLease { shard, token: 1 }).collect(), within: None }
    }

    /// The shards, a bit each.
    #[must_use]
    pub fn mask(&self) -> u64 {
        self.shards.iter().fold(0, |mask, lease| mask | bit(lease.shard))
    }

    /// Those that have the same token in both.
    #[must_use]
    pub fn kept(&self, before: &Self) -> u64 {
        let same = self.shards.iter().filter(|lease| before.shards.contains(lease));
        same.fold(0, |mask, lease| mask | bit(lease.shard))
    }
}

/// What an outbox holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backlog {
    /// How many rows wait: one for each event, but one for all deliveries that a transaction scheduled.
    pub rows: u64,
    /// When the oldest of them was written, in milliseconds since 1970.
    pub oldest: Option<i64>,
}

impl fmt::Display for Backlog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.rows, self.oldest) {
            (0, _) => f.write_str("nothing waits to be relayed"),
            (rows, None) => write!(f, "{rows} rows wait to be relayed"),
            (rows, Some(oldest)) => write!(f, "{rows} rows wait to be relayed, the oldest since {}", instant(oldest)),
        }
    }
}

/// The bit of a shard.
pub(crate) fn bit(shard: u8) -> u64 {
    1_u64.checked_shl(u32::from(shard)).unwrap_or(0)
}

/// A delivery as it was at a version; `None`: it has not come so far.
pub(crate) fn moved(known: KnownDelivery, version: u32) -> Option<DeliveryTold> {
    let place = usize::try_from(version.checked_sub(1)?).ok()?;
    let (life, reason) = known.history.into_iter().nth(place)?;
    Some(DeliveryTold {
        id: known.id,
        version,
        order_id: known.order_id,
        product_id: known.product_id,
        quantity: known.quantity,
        status: life.status,
        scheduled_for: known.scheduled_for,
        at: life.since,
        reason,
        order: known.order.map(Bytes::from),
    })
}

/// Appends the deliveries of a row of the ledger, as they were scheduled.
pub(crate) fn scheduled(row: &mut LedgerReader<'_>, topic: &Topic, told: &mut Vec<DeliveryTold>) -> Result<()> {
    let partition = row.head().partition;
    if row.head().lines != Lines::Orders {
        return Ok(());
    }
    while let Some(line) = row.line()? {
        let delivery = DeliveryLine::read(row.rest())?;
        told.push(DeliveryTold {
            id: line.event_id(topic, partition),
            version: 1,
            order_id: line.order_id.to_owned(),
            product_id: delivery.product_id.to_owned(),
            quantity: delivery.quantity,
            status: Status::Scheduled,
            scheduled_for: date_of_day(delivery.day),
            at: line.timestamp,
            reason: None,
            order: delivery.order.map(Bytes::copy_from_slice),
        });
    }
    Ok(())
}
