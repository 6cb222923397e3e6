//! Events that leave the store, recorded in the transaction that causes them.
//!
//! A row refers to what it tells of, and a relay reads the rest from there: the deliveries that a
//! transaction scheduled are one row, not one an order.

use serde::{Deserialize, Serialize};

use super::EventId;
use super::pack::{Unpack, put_u64};
use crate::Result;

const FORM: u8 = 1;
const DEAD_LETTER: u8 = 1;
const SCHEDULED: u8 = 2;

/// An event that waits for the relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
}

impl OutboxRow {
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
        }
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        let mut row = Unpack::new(bytes, "a row of the outbox");
        let read = match (row.byte()?, row.byte()?) {
            (FORM, DEAD_LETTER) => Self::DeadLetter { id: EventId::new(row.array()?), version: row.u32()? },
            (FORM, SCHEDULED) => Self::Scheduled { transaction: row.u64()?, first_row: row.u32()?, rows: row.u32()? },
            _ => return Err(row.broken()),
        };
        row.end()?;
        Ok(read)
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
        ] {
            let mut row = Vec::new();
            event.encode(&mut row);
            assert_eq!(OutboxRow::decode(&row).unwrap(), event);
            (0..row.len()).for_each(|cut| assert!(OutboxRow::decode(&row[..cut]).is_err()));
        }
    }
}
