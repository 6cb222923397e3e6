//! Events that leave the store, recorded in the transaction that causes them.
//!
//! A row refers to what it tells of, and a relay reads the rest from there: the deliveries that a transaction scheduled are
//! one row, not one an order. Each event has a key, and each key is in one of 64 shards: a relay works for some of them.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::pack::{Unpack, put_bytes, put_i64, put_u64};
use super::tidings::bit;
use super::{ALL_SHARDS, EventId};
use crate::Result;

const FORM: u8 = 1;
const DEAD_LETTER: u8 = 1;
const SCHEDULED: u8 = 2;
const MOVED: u8 = 3;
const RETURNED: u8 = 4;
const STOCK_ALERT: u8 = 5;
const OWN: u8 = 6;

/// An event that waits for the relay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutboxRow {
    /// A record was refused or set aside.
    DeadLetter {
        /// Its name.
        id: EventId,
        /// How often it has changed: a late repeat of an event is older than what the receiver knows.
        version: u32,
    },
    /// Deliveries were scheduled: all orders of some rows of the ledger, each at version 1.
    Scheduled {
        /// The transaction.
        transaction: u64,
        /// The first row's place in the transaction.
        first_row: u32,
        /// How many rows.
        rows: u32,
    },
    /// A delivery became what its history says at this version.
    Moved {
        /// The delivery.
        id: EventId,
        /// Counts its changes; 1 is told by [`OutboxRow::Scheduled`].
        version: u32,
    },
    /// A delivery was called off before it left: its goods go back into stock.
    Returned {
        /// The delivery.
        id: EventId,
    },
    /// A product's stock fell below its reorder level.
    StockAlert {
        /// The product.
        product_id: String,
        /// What was left.
        stock: i64,
        /// The level that it fell below.
        reorder_level: i64,
        /// How many movements the product had then: counts its changes.
        movements: u64,
        /// When, in milliseconds since 1970.
        at: i64,
    },
    /// A handler's own event.
    Own(Box<OwnEvent>),
}

/// An event that a handler added to the effect of its order.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnEvent {
    /// The name of the order's event.
    pub id: EventId,
    /// Which of the order's own events it is, from 0.
    pub number: u32,
    /// The topic that it goes to.
    pub topic: String,
    /// The record's key.
    pub key: Vec<u8>,
    /// The record's value.
    pub value: Vec<u8>,
}

impl fmt::Debug for OwnEvent {
    /// What it tells may be a customer's.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, number, topic, .. } = self;
        f.debug_struct("OwnEvent").field("id", id).field("number", number).field("topic", topic).finish_non_exhaustive()
    }
}

/// How many shards there are.
pub(crate) const SHARDS: u8 = 64;

/// The shard of an event's key, which never changes: FNV-1a, folded.
pub(crate) fn shard_of(key: &[u8]) -> u8 {
    let mix = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    let hash = key.iter().fold(0xcbf2_9ce4_8422_2325, mix);
    ((hash ^ hash >> 32) % u64::from(SHARDS)) as u8
}

impl OutboxRow {
    /// The shard of the key, for a row that has one key only.
    pub(crate) fn shard(&self) -> Option<u8> {
        match self {
            Self::Scheduled { .. } => None,
            Self::DeadLetter { id, .. } | Self::Moved { id, .. } | Self::Returned { id } => {
                Some(shard_of(id.as_bytes()))
            }
            Self::StockAlert { product_id, .. } => Some(shard_of(product_id.as_bytes())),
            Self::Own(event) => Some(shard_of(&event.key)),
        }
    }

    /// The topics that it goes to, a bit each.
    pub(crate) fn parts(&self) -> u8 {
        if matches!(self, Self::Scheduled { .. } | Self::Moved { .. }) { 0b11 } else { 0b01 }
    }

    /// For each of its topics the shards that are left, where these bits say which topics have it.
    pub(crate) fn left(&self, told: u8) -> [u64; 2] {
        let shards = self.shard().map_or(ALL_SHARDS, bit);
        [0b01, 0b10].map(|part| if self.parts() & !told & part == 0 { 0 } else { shards })
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.push(FORM);
        match self {
            Self::DeadLetter { id, version } => {
                out.push(DEAD_LETTER);
                out.extend_from_slice(id.as_bytes());
                put_u64(u64::from(*version), out);
            }
            Self::Scheduled { transaction, first_row, rows } => {
                out.push(SCHEDULED);
                put_u64(*transaction, out);
                put_u64(u64::from(*first_row), out);
                put_u64(u64::from(*rows), out);
            }
            Self::Moved { id, version } => {
                out.push(MOVED);
                out.extend_from_slice(id.as_bytes());
                put_u64(u64::from(*version), out);
            }
            Self::Returned { id } => {
                out.push(RETURNED);
                out.extend_from_slice(id.as_bytes());
            }
            Self::StockAlert { product_id, stock, reorder_level, movements, at } => {
                out.push(STOCK_ALERT);
                put_bytes(product_id.as_bytes(), out);
                [*stock, *reorder_level, *at].into_iter().for_each(|number| put_i64(number, out));
                put_u64(*movements, out);
            }
            Self::Own(event) => {
                out.push(OWN);
                out.extend_from_slice(event.id.as_bytes());
                put_u64(u64::from(event.number), out);
                [event.topic.as_bytes(), &event.key, &event.value].into_iter().for_each(|bytes| put_bytes(bytes, out));
            }
        }
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        let mut row = Unpack::new(bytes, "a row of the outbox");
        let read = match (row.byte()?, row.byte()?) {
            (FORM, DEAD_LETTER) => Self::DeadLetter { id: EventId::new(row.array()?), version: row.u32()? },
            (FORM, SCHEDULED) => Self::Scheduled { transaction: row.u64()?, first_row: row.u32()?, rows: row.u32()? },
            (FORM, MOVED) => Self::Moved { id: EventId::new(row.array()?), version: row.u32()? },
            (FORM, RETURNED) => Self::Returned { id: EventId::new(row.array()?) },
            (FORM, STOCK_ALERT) => {
                let product_id = row.text()?.to_owned();
                let (stock, reorder_level, at) = (row.i64()?, row.i64()?, row.i64()?);
                Self::StockAlert { product_id, stock, reorder_level, movements: row.u64()?, at }
            }
            (FORM, OWN) => {
                let (id, number) = (EventId::new(row.array()?), row.u32()?);
                let (topic, key) = (row.text()?.to_owned(), row.bytes()?.to_vec());
                Self::Own(Box::new(OwnEvent { id, number, topic, key, value: row.bytes()?.to_vec() }))
            }
            _ => return Err(row.broken()),
        };
        row.end()?;
        Ok(read)
    }
}

/// A row as the outbox keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Filed {
    /// When it was written, in milliseconds since 1970.
    pub(crate) at: i64,
    /// Which of its events are told already, a bit each: some rows are told to several topics.
    pub(crate) told: u8,
    pub(crate) row: OutboxRow,
}

impl Filed {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_i64(self.at, out);
        out.push(self.told);
        self.row.encode(out);
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        // Earlier rows say neither when they were written nor who was told. No time that a row says begins as they do.
        if bytes.first() == Some(&FORM) {
            return Ok(Self { at: 0, told: 0, row: OutboxRow::decode(bytes)? });
        }
        let mut row = Unpack::new(bytes, "a row of the outbox");
        Ok(Self { at: row.i64()?, told: row.byte()?, row: OutboxRow::decode(row.remaining())? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_read_as_it_was_written() {
        for event in [
            OutboxRow::DeadLetter { id: EventId::new([7; 16]), version: 3 },
            OutboxRow::Scheduled { transaction: 1 << 40, first_row: 5, rows: 300 },
            OutboxRow::Moved { id: EventId::new([8; 16]), version: 2 },
            OutboxRow::Returned { id: EventId::new([9; 16]) },
            OutboxRow::StockAlert {
                product_id: "02758".into(),
                stock: 4,
                reorder_level: 5,
                movements: 1 << 33,
                at: -1,
            },
            OutboxRow::Own(Box::new(OwnEvent {
                id: EventId::new([6; 16]),
                number: 1,
                topic: "carrier_bookings".into(),
                key: b"97537".to_vec(),
                value: Vec::new(),
            })),
        ] {
            let (mut row, filed) = (Vec::new(), Filed { at: 1 << 41, told: 2, row: event });
            filed.encode(&mut row);
            assert_eq!(Filed::decode(&row).unwrap(), filed);
            (0..row.len()).for_each(|cut| assert!(Filed::decode(&row[..cut]).is_err()));
            let mut earlier = Vec::new();
            filed.row.encode(&mut earlier);
            assert_eq!(Filed::decode(&earlier).unwrap(), Filed { at: 0, told: 0, row: filed.row });
        }
    }
}
