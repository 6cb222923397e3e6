//! What inventory orders do to stock.
//!
//! A receipt adds, an issue subtracts and is refused if stock would go below zero. Pure: the decision
//! is taken in the order of the batch, on the stock that the orders before it left.

use super::OutboxRow;
use super::pack::{Unpack, put_bytes, put_i64, put_u64};
use crate::order::{InventoryOrder, Movement};
use crate::{Error, ErrorCode, Result};

/// The code of a refused issue.
pub const INSUFFICIENT: &str = "STK-INSUFFICIENT";

/// What is kept of a product.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stock {
    pub(crate) pieces: i64,
    pub(crate) movements: u64,
    /// The timestamp of the last movement, in milliseconds since 1970.
    pub(crate) last: i64,
}

impl Stock {
    /// The stock after a movement, or how many pieces are missing.
    pub(crate) fn after(self, quantity: i64, timestamp: i64) -> Result<Self, Shortage> {
        let pieces = self.pieces.saturating_add(quantity);
        if pieces < 0 && quantity < 0 {
            return Err(Shortage { stock: self.pieces, asked: quantity.saturating_neg() });
        }
        Ok(Self { pieces, movements: self.movements.saturating_add(1), last: timestamp })
    }

    pub(crate) fn encode(&self) -> [u8; 24] {
        let mut row = [0; 24];
        let numbers = [self.pieces.to_le_bytes(), self.movements.to_le_bytes(), self.last.to_le_bytes()];
        row.iter_mut().zip(numbers.as_flattened()).for_each(|(place, byte)| *place = *byte);
        row
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        let mut row = Unpack::new(bytes, "a product's stock");
        let stock = Self {
            pieces: i64::from_le_bytes(row.array()?),
            movements: u64::from_le_bytes(row.array()?),
            last: i64::from_le_bytes(row.array()?),
        };
        row.end()?;
        Ok(stock)
    }
}

/// An issue of more pieces than there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{asked} pieces are asked for and {stock} are in stock")]
pub(crate) struct Shortage {
    stock: i64,
    asked: i64,
}

/// How many pieces an order brings in, or takes out if negative.
pub(crate) fn quantity_of(order: &InventoryOrder) -> i64 {
    match order.movement() {
        Movement::Receipt => i64::from(order.quantity()),
        Movement::Issue => -i64::from(order.quantity()),
    }
}

/// The event of a product whose stock fell below its level.
pub(crate) fn low_stock(order: &InventoryOrder, stock: Stock, level: Option<i64>, at: i64) -> OutboxRow {
    OutboxRow::StockAlert {
        product_id: order.product_id().to_owned(),
        stock: stock.pieces,
        reorder_level: level.unwrap_or(0),
        movements: stock.movements,
        at,
    }
}

/// What a movement adds to its line of the ledger. A product is written out once a row, at the index that it then has.
pub(crate) fn put_movement(product: Result<u32, &str>, quantity: i64, out: &mut Vec<u8>) {
    match product {
        Ok(index) => put_u64(u64::from(index).saturating_add(1), out),
        Err(name) => {
            put_u64(0, out);
            put_bytes(name.as_bytes(), out);
        }
    }
    put_i64(quantity, out);
}

/// Reads what [`put_movement`] wrote; `products` are those that the row has told of.
pub(crate) fn read_movement<'a>(row: &mut Unpack<'a>, products: &mut Vec<&'a str>) -> Result<(&'a str, i64)> {
    let product = match row.u64()?.checked_sub(1) {
        None => {
            let product = row.text()?;
            products.push(product);
            product
        }
        Some(index) => {
            let known = usize::try_from(index).ok().and_then(|index| products.get(index));
            known.copied().ok_or_else(|| Error::new(ErrorCode::StoreCorrupt, "a movement names no product"))?
        }
    };
    Ok((product, row.i64()?))
}

/// Passes over what [`put_movement`] wrote.
pub(crate) fn skip_movement(row: &mut Unpack<'_>) -> Result<()> {
    if row.u64()? == 0 {
        row.bytes()?;
    }
    row.i64().map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issue_beyond_the_stock_is_refused_and_one_of_all_of_it_is_not() {
        let stock = Stock::default().after(35, 1).unwrap();
        assert_eq!(stock.after(-35, 2).unwrap(), Stock { pieces: 0, movements: 2, last: 2 });
        let short = stock.after(-36, 2).unwrap_err();
        assert_eq!(short.to_string(), "36 pieces are asked for and 35 are in stock");
    }

    #[test]
    fn a_product_is_written_once_a_row() {
        let mut out = Vec::new();
        put_movement(Err("02758"), 35, &mut out);
        put_movement(Err("9"), 1, &mut out);
        put_movement(Ok(0), -5, &mut out);
        let (mut row, mut products) = (Unpack::new(&out, "a row"), Vec::new());
        let mut next = || read_movement(&mut row, &mut products).unwrap();
        assert_eq!([next(), next(), next()], [("02758", 35), ("9", 1), ("02758", -5)]);
        assert!(read_movement(&mut Unpack::new(&[3, 0], "a row"), &mut Vec::new()).is_err());
    }

    #[test]
    fn stock_is_read_as_it_was_written() {
        let stock = Stock { pieces: -1, movements: u64::MAX, last: i64::MIN };
        assert_eq!(Stock::decode(&stock.encode()).unwrap(), stock);
        assert!(Stock::decode(&[0; 23]).is_err());
    }
}
