//! Inventory orders: goods that come in or go out.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::codec::fast::Plain;
use super::codec::{self, Build, Core, Sink};
use super::validate::{Draft, Kind};
use super::{Identity, Order, OrderTime, Violation};

/// Which way goods move.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Movement {
    /// Stock comes in.
    #[default]
    Receipt,
    /// Stock goes out.
    Issue,
}

impl Movement {
    /// The field's value: `receipt` or `issue`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Receipt => "receipt",
            Self::Issue => "issue",
        }
    }

    pub(super) fn read(text: &[u8]) -> Option<Self> {
        match text {
            b"receipt" => Some(Self::Receipt),
            b"issue" => Some(Self::Issue),
            _ => None,
        }
    }
}

impl fmt::Display for Movement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A movement of one product's stock. Its key is `product_id`, so that one product's movements stay in order.
///
/// ```
/// use orderflow::order::{InventoryOrder, Movement, Order};
/// let order = InventoryOrder::new("97537", "02758", 35, "5/30/2023")?.with_movement(Movement::Issue);
/// let mut value = Vec::new();
/// order.encode(&mut value);
/// assert_eq!(
///     String::from_utf8(value).unwrap(),
///     r#"{"order_id":"97537","product_id":"02758","quantity":35,"type":"inventory","timestamp":"5/30/2023","movement":"issue"}"#
/// );
/// # Ok::<(), orderflow::order::Violation>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct InventoryOrder {
    core: Core,
    movement: Option<Movement>,
}

impl InventoryOrder {
    /// A receipt of `quantity` pieces of `product_id`.
    ///
    /// # Errors
    /// The first rule that an argument breaks.
    pub fn new(order_id: &str, product_id: &str, quantity: u32, timestamp: &str) -> Result<Self, Violation> {
        Ok(Self::of_core(Core::new(order_id, product_id, quantity, timestamp)?))
    }

    /// Says which way the goods move.
    #[must_use]
    pub fn with_movement(mut self, movement: Movement) -> Self {
        self.movement = Some(movement);
        self
    }

    /// Which way the goods move: a receipt, unless told otherwise.
    #[must_use]
    pub fn movement(&self) -> Movement {
        self.movement.unwrap_or_default()
    }

    pub(super) fn of_core(core: Core) -> Self {
        Self { core, movement: None }
    }

    fn write(&self, sink: &mut impl Sink) {
        self.core.write_known(b",\"type\":\"inventory\",\"timestamp\":\"", sink);
        if let Some(movement) = self.movement {
            sink.put(b",\"movement\":\"");
            sink.put(movement.as_str().as_bytes());
            sink.put(b"\"");
        }
        self.core.write_rest(sink);
    }
}

impl Build for InventoryOrder {
    const KIND: Kind = Kind::Inventory;

    #[inline]
    fn of_plain(plain: Plain<'_>) -> Self {
        Self { core: Core::of_plain(&plain), movement: plain.movement }
    }

    fn of_draft(draft: Draft) -> Self {
        Self { core: draft.core, movement: draft.movement }
    }
}

codec::core_accessors!(InventoryOrder);

impl Order for InventoryOrder {
    const TYPE: &'static str = "inventory";
    const TOPIC: &'static str = "inventory_orders";

    fn key(&self) -> &[u8] {
        self.core.product_id.as_bytes()
    }

    codec::core_order_methods!();
}

impl fmt::Debug for InventoryOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shape = f.debug_struct("InventoryOrder");
        self.core.debug_fields(&mut shape);
        shape.field("movement", &self.movement()).finish()
    }
}
