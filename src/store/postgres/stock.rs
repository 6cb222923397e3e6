//! Stock in PostgreSQL: the products of a transaction are locked by name, summed in memory and written at once.

use std::collections::HashMap;

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::effect::Effect;
use super::link::{Link, count_of, get, stored};
use crate::order::InventoryOrder;
use crate::store::decision::{At, Decision};
use crate::store::inventory::{INSUFFICIENT, Stock, low_stock, put_movement, quantity_of, skip_movement};
use crate::store::ledger::LedgerWriter;
use crate::store::pack::Unpack;
use crate::store::reorder::has_crossed;
use crate::store::{OutboxRow, ReorderLevels};
use crate::{Error, ErrorCode, Result};

const LOCK: &str = "SELECT product, pieces, movements, last_movement FROM stock
                    WHERE product = ANY($1) ORDER BY product FOR NO KEY UPDATE";
/// A product without movements is shown nowhere.
const MAKE: &str = "INSERT INTO stock (product, pieces, movements, last_movement)
                    SELECT product, 0, 0, 0 FROM unnest($1) AS new (product) ON CONFLICT DO NOTHING";
const WRITE: &str = "UPDATE stock SET pieces = new.pieces, movements = new.movements, last_movement = new.last_movement
                     FROM unnest($1, $2, $3, $4) AS new (product, pieces, movements, last_movement)
                     WHERE stock.product = new.product";

/// Receipts and issues of products.
#[derive(Debug, Default)]
pub(super) struct Inventory {
    products: HashMap<String, Product>,
    /// Counts the ledger's rows, so that a product knows whether the row has told of it.
    row: u64,
    row_products: u32,
    levels: ReorderLevels,
    /// Products that fell below their level in this transaction.
    low: Vec<OutboxRow>,
}

#[derive(Clone, Copy, Debug)]
struct Product {
    stock: Stock,
    changed: bool,
    /// The product's reorder level.
    level: Option<i64>,
    /// The row that told of the product last, and at which index.
    told: (u64, u32),
}

impl Inventory {
    fn know(&mut self, rows: &[Row]) -> Result<()> {
        for row in rows {
            let stock = Stock { pieces: get(row, 1)?, movements: count_of(row, 2)?, last: get(row, 3)? };
            let name: String = get(row, 0)?;
            let level = self.levels.of(&name);
            self.products.insert(name, Product { stock, changed: false, level, told: (0, 0) });
        }
        Ok(())
    }
}

impl Effect for Inventory {
    type Order = InventoryOrder;
    type Policy = ReorderLevels;
    const ANNOUNCED: bool = false;

    async fn load(link: Link<'_>, levels: &ReorderLevels, orders: &[(&InventoryOrder, Option<i64>)]) -> Result<Self> {
        let mut effect = Self { levels: levels.clone(), ..Self::default() };
        let mut products: Vec<&str> = orders.iter().map(|(order, _)| order.product_id()).collect();
        products.sort_unstable();
        products.dedup();
        if products.is_empty() {
            return Ok(effect);
        }
        effect.know(&link.rows(LOCK, &[(&products, Type::TEXT_ARRAY)]).await?)?;
        products.retain(|product| !effect.products.contains_key(*product));
        if !products.is_empty() {
            let names = [(&products as _, Type::TEXT_ARRAY)];
            let ((), rows) = futures::try_join!(link.run(MAKE, &names), link.rows(LOCK, &names))?;
            effect.know(&rows)?;
        }
        Ok(effect)
    }

    fn skip(line: &mut Unpack<'_>) -> Result<()> {
        skip_movement(line)
    }

    fn take_tidings(&mut self) -> Vec<OutboxRow> {
        std::mem::take(&mut self.low)
    }

    fn begin_row(&mut self) {
        self.row += 1;
        self.row_products = 0;
    }

    fn decide(&mut self, order: &InventoryOrder, at: At<'_>, row: &mut LedgerWriter) -> Result<Decision> {
        let (this_row, next_index) = (self.row, self.row_products);
        let quantity = quantity_of(order);
        let lost = || Error::new(ErrorCode::Internal, "a product was not locked");
        let product = self.products.get_mut(order.product_id()).ok_or_else(lost)?;
        let before = product.stock.pieces;
        product.stock = match product.stock.after(quantity, at.timestamp) {
            Ok(stock) => stock,
            Err(shortage) => return Ok(Decision::Refused { code: INSUFFICIENT, reason: shortage.to_string() }),
        };
        product.changed = true;
        if has_crossed(product.level, before, product.stock.pieces) {
            self.low.push(low_stock(order, product.stock, product.level, at.timestamp));
        }
        let known = if product.told.0 == this_row {
            Ok(product.told.1)
        } else {
            product.told = (this_row, next_index);
            Err(order.product_id())
        };
        self.row_products += u32::from(known.is_err());
        put_movement(known, quantity, row.order(at.offset, at.timestamp, at.identity, order.order_id()));
        Ok(Decision::Applied)
    }

    async fn write(&mut self, link: Link<'_>) -> Result<()> {
        let changed = || self.products.iter().filter(|(_, product)| product.changed);
        let products: Vec<&str> = changed().map(|(name, _)| name.as_str()).collect();
        if products.is_empty() {
            return Ok(());
        }
        let numbers =
            |of: fn(&Stock) -> i64| -> Vec<i64> { changed().map(|(_, product)| of(&product.stock)).collect() };
        let (pieces, movements) = (numbers(|stock| stock.pieces), numbers(|stock| stored(stock.movements)));
        let last = numbers(|stock| stock.last);
        link.run(
            WRITE,
            &[
                (&products, Type::TEXT_ARRAY),
                (&pieces, Type::INT8_ARRAY),
                (&movements, Type::INT8_ARRAY),
                (&last, Type::INT8_ARRAY),
            ],
        )
        .await
    }
}
