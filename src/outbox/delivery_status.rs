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
    /// Counts the changes of the delivery, from 1.
    pub(super) version: u32,
    /// The delivery's name.
    pub(super) delivery_id: &'a str,
    /// The order.
    pub(super) order_id: &'a str,
    /// What is delivered.
    pub(super) product_id: &'a str,
    /// How many pieces.
    pub(super) quantity: u32,
    /// What the delivery is now.
    #[cfg_attr(test, schemars(with = "super::schemas::StatusName"))]
    pub(super) status: &'a str,
    /// The day of delivery, as `YYYY-MM-DD`.
    pub(super) scheduled_for: &'a str,
    /// Since when it is so, in RFC 3339.
    pub(super) at: &'a str,
    /// Why, where somebody said so.
    pub(super) reason: Option<&'a str>,
}

/// Appends the event's value.
pub(super) fn write(told: &DeliveryTold, name: &str, out: &mut Vec<u8>) {
    let event = DeliveryStatus {
        event: "delivery_status",
        version: told.version,
        delivery_id: name,
        order_id: &told.order_id,
        product_id: &told.product_id,
        quantity: told.quantity,
        status: told.status.as_str(),
        scheduled_for: &told.scheduled_for.to_string(),
        at: &instant(told.at),
        reason: told.reason.as_deref(),
    };
    // Texts and numbers can always be written to memory.
    let _ = serde_json::to_writer(out, &event);
}
