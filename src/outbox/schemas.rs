//! What other teams may rely on: the form of every event, generated from its type.
//!
//! The copies in `schemas/` are what was promised. A type whose schema differs from its copy fails the test; where the new
//! one still takes all that the old one took, `ORDERFLOW_WRITE_SCHEMAS=1 cargo test schemas` writes it down.

#![expect(dead_code, reason = "the types are there for their schemas")]

mod compatible;

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::Serialize;
use serde_json::Value;

use self::compatible::breaks;
use super::customer_notification::CustomerNotification;
use super::delivery_status::DeliveryStatus;
use super::refusal::Refused;
use super::stock_alert::StockAlert;
use crate::order::generate::{Generate, Generator};
use crate::order::{DeliveryOrder, DeliveryUpdate, InventoryOrder, Order};
use crate::store::Status;

/// What a delivery can be.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum StatusName {
    Scheduled,
    OutForDelivery,
    Delivered,
    Failed,
    Cancelled,
}

/// A customer, as an order names one. Further members are kept as they are.
#[derive(Serialize, JsonSchema)]
pub(super) struct CustomerValue {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    phone: Option<String>,
}

/// Where goods go. Further members are kept as they are.
#[derive(Serialize, JsonSchema)]
pub(super) struct AddressValue {
    #[serde(skip_serializing_if = "Option::is_none")]
    line1: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line2: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    city: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    region: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    postal_code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    country: Option<String>,
}

/// An order of either type, or whatever else was refused.
#[derive(Serialize, JsonSchema)]
pub(super) struct OrderValue {}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum MovementName {
    Receipt,
    Issue,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum InventoryType {
    Inventory,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum DeliveryType {
    Delivery,
}

/// Goods come into stock, or go out of it. Further members are kept as they are.
#[derive(Serialize, JsonSchema)]
struct InventoryOrderValue {
    /// Not unique: one order can have several products. Leading zeros count.
    order_id: String,
    /// The product. Leading zeros count.
    product_id: String,
    /// How many pieces.
    #[schemars(range(min = 1, max = 1_000_000))]
    quantity: u32,
    r#type: InventoryType,
    /// `M/D/YYYY`, or a date or date-time of ISO 8601.
    timestamp: String,
    /// `receipt` unless it says otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    movement: Option<MovementName>,
}

/// Goods go to a customer. Further members are kept as they are.
#[derive(Serialize, JsonSchema)]
struct DeliveryOrderValue {
    /// Not unique: one order can have several products. Leading zeros count.
    order_id: String,
    /// The product. Leading zeros count.
    product_id: String,
    /// How many pieces.
    #[schemars(range(min = 1, max = 1_000_000))]
    quantity: u32,
    r#type: DeliveryType,
    /// `M/D/YYYY`, or a date or date-time of ISO 8601.
    timestamp: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    customer: Option<CustomerValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delivery_address: Option<AddressValue>,
}

/// What a logistics partner says of one delivery. Further members are kept as they are.
#[derive(Serialize, JsonSchema)]
struct DeliveryUpdateValue {
    /// The delivery's name: 32 hexadecimal digits.
    delivery_id: String,
    status: StatusName,
    /// When it happened, in RFC 3339 with the offset from UTC.
    time: String,
    /// Why, at most 1,000 bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// The headers of a dead letter in the dialect `text`: each is text, numbers in decimal.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
struct DeadLetterHeaders {
    /// The cause, as a stable code.
    dead_letter_code: String,
    /// The cause, as a sentence of at most 1,024 bytes.
    dead_letter_reason: String,
    /// The topic of the first copy that failed; a backfilled order has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    dead_letter_topic: Option<String>,
    /// Its partition.
    #[serde(skip_serializing_if = "Option::is_none")]
    dead_letter_partition: Option<String>,
    /// Its offset.
    #[serde(skip_serializing_if = "Option::is_none")]
    dead_letter_offset: Option<String>,
    /// Its timestamp, in RFC 3339.
    dead_letter_timestamp: String,
    /// The group in which it failed first.
    dead_letter_group: String,
    /// How often it was tried in all.
    dead_letter_attempts: String,
    /// When it failed first, in RFC 3339.
    dead_letter_first_failed: String,
    /// When it failed last, in RFC 3339.
    dead_letter_last_failed: String,
    /// Its name in the store.
    dead_letter_id: String,
    /// How often it has changed.
    dead_letter_version: String,
    /// How many bytes of the record are left out, where it was too large for the topic.
    #[serde(skip_serializing_if = "Option::is_none")]
    dead_letter_left_out: Option<String>,
}

fn of<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().for_serialize();
    settings.into_generator().into_root_schema_for::<T>().to_value()
}

/// Every event, by the name of its file.
fn all() -> Vec<(&'static str, Value)> {
    vec![
        ("customer_notification", of::<CustomerNotification<'_>>()),
        ("dead_letter_headers", of::<DeadLetterHeaders>()),
        ("delivery_order", of::<DeliveryOrderValue>()),
        ("delivery_status", of::<DeliveryStatus<'_>>()),
        ("delivery_update", of::<DeliveryUpdateValue>()),
        ("inventory_order", of::<InventoryOrderValue>()),
        ("order_refused", of::<Refused<'_>>()),
        ("stock_alert", of::<StockAlert<'_>>()),
    ]
}

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas").join(format!("{name}.json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schemas_that_are_kept_are_those_of_the_types_and_no_change_breaks_what_was_promised() {
        let may_write = std::env::var_os("ORDERFLOW_WRITE_SCHEMAS").is_some();
        for (name, schema) in all() {
            let kept = std::fs::read_to_string(file(name)).ok();
            let promised = kept.as_deref().map(|kept| serde_json::from_str::<Value>(kept).unwrap());
            let broken = promised.map(|promised| breaks(&promised, &schema)).unwrap_or_default();
            assert!(broken.is_empty(), "schemas/{name}.json promises more than the type keeps: {broken:#?}");
            let text = format!("{}\n", serde_json::to_string_pretty(&schema).unwrap());
            if may_write {
                std::fs::write(file(name), text).unwrap();
            } else {
                let remedy = "ORDERFLOW_WRITE_SCHEMAS=1 cargo test schemas";
                assert_eq!(kept.as_deref(), Some(&*text), "schemas/{name}.json is not that of the type: {remedy}");
            }
        }
    }

    #[test]
    fn no_schema_is_kept_of_what_is_no_event() {
        let update = DeliveryUpdate::new(&"0a".repeat(16), Status::Failed, "2026-11-24T08:30:00Z").unwrap();
        for update in [update.clone(), update.with_reason("nobody was there").unwrap()] {
            let mut value = Vec::new();
            update.encode(&mut value);
            fits(&value, &of::<DeliveryUpdateValue>());
        }
        let names: Vec<String> = all().iter().map(|(name, _)| format!("{name}.json")).collect();
        for entry in std::fs::read_dir(file("x").parent().unwrap()).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            assert!(names.contains(&name), "schemas/{name}");
        }
    }

    /// The members that a schema has, and those that must be there.
    fn members(schema: &Value) -> (Vec<String>, Vec<String>) {
        let all = schema["properties"].as_object().unwrap().keys().cloned().collect();
        let required = schema["required"].as_array().map(Vec::as_slice).unwrap_or_default();
        (all, required.iter().map(|name| name.as_str().unwrap().to_owned()).collect())
    }

    fn fits(value: &[u8], schema: &Value) {
        let value: Value = serde_json::from_slice(value).unwrap();
        let (all, required) = members(schema);
        let has: Vec<&String> = value.as_object().unwrap().keys().collect();
        assert!(has.iter().all(|name| all.contains(name)), "{value} has more than {all:?}");
        assert!(required.iter().all(|name| has.contains(&name)), "{value} has less than {required:?}");
    }

    #[test]
    fn what_is_written_fits_its_schema() {
        fn orders<O: Generate>(schema: &Value) {
            let mut value = Vec::new();
            for order in Generator::<O>::new(7).take(200) {
                value.clear();
                order.encode(&mut value);
                fits(&value, schema);
            }
        }
        orders::<InventoryOrder>(&of::<InventoryOrderValue>());
        orders::<DeliveryOrder>(&of::<DeliveryOrderValue>());
        let names: Vec<String> = Status::ALL.iter().map(|status| serde_json::to_string(status).unwrap()).collect();
        let schema = of::<StatusName>();
        let told: Vec<String> = schema["enum"].as_array().unwrap().iter().map(Value::to_string).collect();
        assert_eq!(names, told);
    }
}
