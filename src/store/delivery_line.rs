//! What a delivery adds to its line of the ledger.

use super::pack::{Unpack, put_bytes, put_i64, put_optional, put_u64};
use crate::Result;
use crate::order::{DeliveryOrder, Order};

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
