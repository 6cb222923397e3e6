//! The event from which a customer is told what became of a delivery.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::delivery_status::DeliveryNow;
use crate::store::DeliveryTold;

/// The topic of the events from which customers are told.
///
/// One event for each delivery and status, under the delivery's name as key; the header `idempotency-key` is
/// `notification:<name>:<version>`. It has the customer and the address as the order has them, so whoever may read the topic
/// may read them. `schemas/customer_notification.json` describes the value.
pub const CUSTOMER_NOTIFICATIONS: &str = "customer_notifications";

/// What a customer is told.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct CustomerNotification<'a> {
    /// Always `customer_notification`.
    pub(super) event: &'a str,
    #[serde(flatten)]
    pub(super) delivery: DeliveryNow<'a>,
    /// The customer as the order has it; null: the order names none.
    #[cfg_attr(test, schemars(with = "Option<super::schemas::CustomerValue>"))]
    pub(super) customer: Option<&'a RawValue>,
    /// Where the goods go, as the order has it; null: the order does not say.
    #[cfg_attr(test, schemars(with = "Option<super::schemas::AddressValue>"))]
    pub(super) delivery_address: Option<&'a RawValue>,
}

/// The members of an order that tell of people.
#[derive(Default, Deserialize)]
struct Particulars<'a> {
    #[serde(borrow, default)]
    customer: Option<&'a RawValue>,
    #[serde(borrow, default)]
    delivery_address: Option<&'a RawValue>,
}

/// Appends the event's value.
pub(super) fn write(told: &DeliveryTold, name: &str, out: &mut Vec<u8>) {
    let order = told.order.as_deref();
    // What the store keeps was written by this library; an order that cannot be read has no customer to be told.
    let particulars: Particulars<'_> = order.and_then(|order| serde_json::from_slice(order).ok()).unwrap_or_default();
    let event = CustomerNotification {
        event: "customer_notification",
        delivery: DeliveryNow::of(told, name),
        customer: particulars.customer,
        delivery_address: particulars.delivery_address,
    };
    // Texts and numbers can always be written to memory.
    let _ = serde_json::to_writer(out, &event);
}
