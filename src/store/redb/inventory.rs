//! Stock in redb: summed in memory, folded into its table from time to time.
//!
//! ```text
//!  order -> product in memory -> line in the ledger     (every transaction)
//!                 |
//!                 +-> the table of stock                (from time to time)
//! ```
//! The ledger is durable and holds every movement, so the table may lag behind it: what it does not
//! know of yet is read back from the ledger when the store is opened. A product that moves often is
//! so written once in many transactions; one search and one write of the tree for each product and
//! transaction would cost more than everything else together.

use std::collections::{BTreeMap, HashMap};

use redb::Table;

use super::effect::{Effect, EffectTable, Written};
use super::fault::fault;
use crate::Result;
use crate::gather::Gather;
use crate::order::InventoryOrder;
use crate::store::decision::{At, Decision};
use crate::store::inventory::{
    INSUFFICIENT, Stock, low_stock, put_movement, quantity_of, read_movement, skip_movement,
};
use crate::store::ledger::{LedgerReader, LedgerWriter};
use crate::store::pack::Unpack;
use crate::store::reorder::has_crossed;
use crate::store::{OutboxRow, ReorderLevels};

/// After so many orders the table is brought up to date: reading them back takes some 20 ms.
const FOLD_ORDERS: u64 = 200_000;
/// ... and not before there were so many for each product that changed, so that writing it is shared by them.
const FOLD_ORDERS_A_PRODUCT: u64 = 4;
/// After so many transactions, each of which has at least one row in the ledger.
const FOLD_TRANSACTIONS: u64 = 4_096;
/// How many products are in memory at most after a transaction, some 100 bytes each.
const FOLD_PRODUCTS: usize = 131_072;

/// Receipts and issues of products.
#[derive(Debug, Default)]
pub(super) struct Inventory {
    products: HashMap<Box<str>, Product>,
    /// Counts the ledger's rows, so that a product knows whether the row has told of it.
    row: u64,
    row_products: u32,
    orders: u64,
    /// How many products the table does not know the stock of.
    changed: u64,
    transactions: u64,
    levels: ReorderLevels,
    /// Products that fell below their level in this transaction.
    low: Vec<OutboxRow>,
}

#[derive(Clone, Copy, Debug)]
struct Product {
    stock: Stock,
    /// Whether the table does not know of this yet.
    changed: bool,
    /// The product's reorder level.
    level: Option<i64>,
    /// The row that told of the product last, and at which index.
    told: (u64, u32),
}

impl Inventory {
    fn product(&mut self, name: &str, table: &impl EffectTable) -> Result<&mut Product> {
        if !self.products.contains_key(name) {
            let row = table.get(name.as_bytes()).map_err(fault)?;
            let stock = row.map(|row| Stock::decode(row.value())).transpose()?.unwrap_or_default();
            let level = self.levels.of(name);
            self.products.insert(name.into(), Product { stock, changed: false, level, told: (0, 0) });
        }
        let lost = || crate::Error::new(crate::ErrorCode::Internal, "a product was lost from memory");
        self.products.get_mut(name).ok_or_else(lost)
    }

    /// The products of which the table does not know the newest stock.
    pub(super) fn into_changed(self) -> BTreeMap<Box<str>, Stock> {
        let changed = self.products.into_iter().filter(|(_, product)| product.changed);
        changed.map(|(name, product)| (name, product.stock)).gather()
    }

    fn is_due(&self) -> bool {
        self.orders >= FOLD_ORDERS.max(self.changed.saturating_mul(FOLD_ORDERS_A_PRODUCT))
            || self.transactions >= FOLD_TRANSACTIONS
            || self.products.len() >= FOLD_PRODUCTS
    }
}

impl Effect for Inventory {
    type Order = InventoryOrder;
    type Policy = ReorderLevels;
    const TABLE: &'static str = "stock";
    const ANNOUNCED: bool = false;

    fn new(levels: &ReorderLevels) -> Self {
        Self { levels: levels.clone(), ..Self::default() }
    }

    fn take_tidings(&mut self) -> Vec<OutboxRow> {
        std::mem::take(&mut self.low)
    }

    fn recover(&mut self, row: &mut LedgerReader<'_>, table: &impl EffectTable) -> Result<()> {
        let mut told = Vec::new();
        while let Some(line) = row.line()? {
            let (name, quantity) = read_movement(row.rest(), &mut told)?;
            let product = self.product(name, table)?;
            product.stock = product.stock.after(quantity, line.timestamp).unwrap_or(product.stock);
            let first = !std::mem::replace(&mut product.changed, true);
            self.changed += u64::from(first);
            self.orders += 1;
        }
        // A transaction has several rows, so this is too many at worst.
        self.transactions += 1;
        Ok(())
    }

    fn skip(line: &mut Unpack<'_>) -> Result<()> {
        skip_movement(line)
    }

    fn begin_row(&mut self) {
        self.row += 1;
        self.row_products = 0;
    }

    fn decide(
        &mut self,
        order: &InventoryOrder,
        at: At<'_>,
        table: &impl EffectTable,
        row: &mut LedgerWriter,
    ) -> Result<Decision> {
        let (this_row, next_index) = (self.row, self.row_products);
        let quantity = quantity_of(order);
        let product = self.product(order.product_id(), table)?;
        let before = product.stock.pieces;
        product.stock = match product.stock.after(quantity, at.timestamp) {
            Ok(stock) => stock,
            Err(shortage) => return Ok(Decision::Refused { code: INSUFFICIENT, reason: shortage.to_string() }),
        };
        let low = has_crossed(product.level, before, product.stock.pieces)
            .then(|| low_stock(order, product.stock, product.level, at.timestamp));
        let first = !std::mem::replace(&mut product.changed, true);
        let known = if product.told.0 == this_row {
            Ok(product.told.1)
        } else {
            product.told = (this_row, next_index);
            Err(order.product_id())
        };
        self.row_products += u32::from(known.is_err());
        self.low.extend(low);
        self.changed += u64::from(first);
        self.orders += 1;
        put_movement(known, quantity, row.order(at.offset, at.timestamp, at.identity, order.order_id()));
        Ok(Decision::Applied)
    }

    fn write(&mut self, table: &mut Table<'_, &'static [u8], &'static [u8]>) -> Result<Written> {
        self.transactions += 1;
        if !self.is_due() {
            return Ok(Written::Pending);
        }
        let mut changed: Vec<_> = self.products.iter_mut().filter(|(_, product)| product.changed).collect();
        // In the tree's order each of its pages is changed once.
        changed.sort_unstable_by_key(|(name, _)| &***name);
        for (name, product) in changed {
            table.insert(name.as_bytes(), product.stock.encode().as_slice()).map_err(fault)?;
            product.changed = false;
        }
        if self.products.len() >= FOLD_PRODUCTS {
            self.products.clear();
        }
        (self.orders, self.changed, self.transactions) = (0, 0, 0);
        Ok(Written::Folded)
    }
}
