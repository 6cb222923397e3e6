//! The event that tells systems which keep order statuses what a delivery has become.

use serde::Serialize;

use super::headers::instant;
use crate::store::DeliveryTold;

/// The topic of the events that tell what deliveries have become.
///
/// One event for each delivery and status: `version` counts the changes of the delivery, from 1, so that a late repeat is
/// recognised as older than what its receiver knows. The key is the delivery's name; the header `idempotency-key` is
/// `status:<name>:<version>`. `schemas/delivery_status.json` describes the value.
pub const DELIVERY_STATUS: &str = "delivery_status";

/// What a delivery has become.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct DeliveryStatus<'a> {
    /// Always `delivery_status`.
    pub(super) event: &'a str,
    #[serde(flatten)]
    pub(super) delivery: DeliveryNow<'a>,
}

/// A delivery after a change.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct DeliveryNow<'a> {
    /// Counts the changes of the delivery, from 1.
    version: u32,
    /// The delivery's name.
    delivery_id: &'a str,
    /// The order.
    order_id: &'a str,
    /// What is delivered.
    product_id: &'a str,
    /// How many pieces.
    quantity: u32,
    /// What the delivery is now.
    #[cfg_attr(test, schemars(with = "super::schemas::StatusName"))]
    status: &'a str,
    /// The day of delivery, as `YYYY-MM-DD`.
    scheduled_for: String,
    /// Since when it is so, in RFC 3339.
    at: String,
    /// Why, where somebody said so.
    reason: Option<&'a str>,
}

impl<'a> DeliveryNow<'a> {
    pub(super) fn of(told: &'a DeliveryTold, name: &'a str) -> Self {
        Self {
            version: told.version,
            delivery_id: name,
            order_id: &told.order_id,
            product_id: &told.product_id,
            quantity: told.quantity,
            status: told.status.as_str(),
            scheduled_for: told.scheduled_for.to_string(),
            at: instant(told.at),
            reason: told.reason.as_deref(),
        }
    }
}

/// Appends the event's value.
pub(super) fn write(told: &DeliveryTold, name: &str, out: &mut Vec<u8>) {
    let event = DeliveryStatus { event: "delivery_status", delivery: DeliveryNow::of(told, name) };
    // Texts and numbers can always be written to memory.
    let _ = serde_json::to_writer(out, &event);
}
