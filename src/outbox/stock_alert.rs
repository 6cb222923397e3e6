//! The event that tells whoever buys goods that a product runs low.

use serde::Serialize;

use super::headers::instant;
use crate::store::LowStock;

/// The topic of the events that tell of products which run low.
///
/// One event each time that a product's stock falls below its reorder level, so that restocking can begin by itself. The key
/// is the product; the header `idempotency-key` is `stock:<product>:<version>`. `schemas/stock_alert.json` describes the
/// value.
pub const STOCK_ALERTS: &str = "stock_alerts";

/// A product runs low.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct StockAlert<'a> {
    /// Always `stock_alert`.
    pub(super) event: &'a str,
    /// How many movements the product had when it fell below the level: a later alert has more.
    pub(super) version: u64,
    /// The product.
    pub(super) product_id: &'a str,
    /// How many pieces were left.
    pub(super) stock: i64,
    /// The level that the stock fell below.
    pub(super) reorder_level: i64,
    /// When the order that took the pieces was written, in RFC 3339.
    pub(super) at: &'a str,
}

/// Appends the event's value.
pub(super) fn write(low: &LowStock, out: &mut Vec<u8>) {
    let event = StockAlert {
        event: "stock_alert",
        version: low.movements,
        product_id: &low.product_id,
        stock: low.stock,
        reorder_level: low.reorder_level,
        at: &instant(low.at),
    };
    // Texts and numbers can always be written to memory.
    let _ = serde_json::to_writer(out, &event);
}
