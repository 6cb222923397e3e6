//! What deliveries add to the lines of the ledger.

use super::EventId;
use super::delivery::Lifecycle;
use super::life::{byte_of, status_of};
use super::pack::{Unpack, put_bytes, put_i64, put_optional, put_u64};
use crate::Result;
use crate::order::{DeliveryOrder, Order, Status};

/// The code of an order for which no day has capacity left.
pub(crate) const NO_DAY: &str = "DLV-NO-DAY";

/// A delivery in the ledger.
#[derive(Debug)]
pub(crate) struct DeliveryLine<'a> {
    pub(crate) product_id: &'a str,
    pub(crate) quantity: u32,
    /// The day of delivery, counted from 1970-01-01.
    pub(crate) day: i32,
    /// The whole order, where it says to whom the goods go.
    pub(crate) order: Option<&'a [u8]>,
}

impl<'a> DeliveryLine<'a> {
    pub(crate) fn read(row: &mut Unpack<'a>) -> Result<Self> {
        Ok(Self { product_id: row.text()?, quantity: row.u32()?, day: row.i32()?, order: row.optional()? })
    }

    /// Appends what an order adds; `value` is a buffer.
    pub(crate) fn write(order: &DeliveryOrder, day: i32, value: &mut Vec<u8>, out: &mut Vec<u8>) {
        put_bytes(order.product_id().as_bytes(), out);
        put_u64(u64::from(order.quantity()), out);
        put_i64(i64::from(day), out);
        let has_particulars = order.customer().is_some() || order.delivery_address().is_some();
        if has_particulars {
            value.clear();
            order.encode(value);
        }
        put_optional(has_particulars.then_some(value.as_slice()), out);
    }
}

/// A move in the ledger.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct MoveLine {
    pub(crate) delivery: EventId,
    pub(crate) to: Status,
    /// The delivery's version after it.
    pub(crate) version: u32,
}

impl MoveLine {
    /// The line of a move that led here.
    pub(crate) const fn of(delivery: EventId, life: Lifecycle) -> Self {
        Self { delivery, to: life.status, version: life.version }
    }

    pub(crate) fn read(row: &mut Unpack<'_>) -> Result<Self> {
        let delivery = EventId::new(row.array()?);
        let to = status_of(row.byte()?).ok_or_else(|| row.broken())?;
        Ok(Self { delivery, to, version: row.u32()? })
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.delivery.as_bytes());
        out.push(byte_of(self.to));
        put_u64(u64::from(self.version), out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_move_is_read_as_it_was_written() {
        let line = MoveLine { delivery: EventId::new([7; 16]), to: Status::Failed, version: 300 };
        let mut row = Vec::new();
        line.write(&mut row);
        assert_eq!(MoveLine::read(&mut Unpack::new(&row, "a row")).unwrap(), line);
        assert!(MoveLine::read(&mut Unpack::new(&row[..17], "a row")).is_err());
    }
}
