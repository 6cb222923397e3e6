//! Relaying what leaves a store: dead letters, refusals, what becomes of deliveries, products that run low.
//!
//! A store records what happened in the transaction that moves the position; the relay publishes it afterwards, at
//! least once, and lets the row go when every in-sync replica has the record. Nothing but the relay waits for it. It
//! stands above producer and consumer, which do not know of each other.
//!
//! ```text
//!  store: outbox row --Relay--> <topic>-dlt             dead letters: the record as it was, with headers that say why
//!                          |--> order_refusals          refusals: an event in JSON
//!                          |--> delivery_status         what a delivery has become
//!                          |--> customer_notifications  the same for the customer, or a notifier instead
//!                          |--> stock_alerts            products that fell below their reorder level
//!                          \--> inventory_orders        goods of deliveries that were called off
//!  <topic>-dlt --DeadLetterTopic--> <topic>-retry  dead letters of consumers without a store, to be tried again
//! ```
//!
//! Every event has a stable `idempotency-key`, and `schemas/` its JSON Schema; `docs/shop.md` says what a receiver must do.
//! Where several processes work on one database each relays the events of some keys, for as long as it has the lease.
//!
//! # Dead-letter topics
//! The dead letters of `orders`, and of `orders-retry`, go to `orders-dlt`, which is made on demand with as many partitions
//! as the topic has: to the partition that they come from where there is one, else by their key. Key, value and headers are
//! those of the record, byte for byte and in their order; ours follow. `dead_letters.headers` chooses them:
//!
//! | `text` | `spring` | says |
//! |---|---|---|
//! | `dead-letter-code` | `kafka_dlt-exception-fqcn` | the cause, as a stable code |
//! | `dead-letter-reason` | `kafka_dlt-exception-message` | the cause, as a sentence of at most 1,024 bytes |
//! | `dead-letter-topic` | `kafka_dlt-original-topic` | the topic of the first copy that failed |
//! | `dead-letter-partition` | `kafka_dlt-original-partition` | its partition; `spring`: 4 bytes, big-endian |
//! | `dead-letter-offset` | `kafka_dlt-original-offset` | its offset; `spring`: 8 bytes |
//! | `dead-letter-timestamp` | `kafka_dlt-original-timestamp` | its timestamp, in RFC 3339; `spring`: 8 bytes, milliseconds |
//! | `dead-letter-group` | `kafka_dlt-original-consumer-group` | the group in which it failed first |
//! | `dead-letter-attempts` | `retry_topic-attempts` | how often it was tried in all; `spring`: 4 bytes |
//! | `dead-letter-first-failed` | - | when it failed first, in RFC 3339 |
//! | `dead-letter-last-failed` | - | when it failed last |
//! | `dead-letter-id` | `dead-letter-id` | its name in the store: `orders dlq show ID` |
//! | `dead-letter-version` | `dead-letter-version` | how often it has changed: with the id the key of this copy |
//!
//! A consumer without a store writes a dead letter before its position moves past the record; if it cannot be written the
//! partition waits or stops.
//! A record that is too large for its topic (`max.request.size` here, `max.message.bytes` there) is told of without its key,
//! value and headers, and `dead-letter-left-out` says how many bytes these have; the store keeps them (`orders dlq show ID`).
//! A consumer without a store stops the partition instead.
//! A record that brings such headers of an earlier failure keeps its first origin, and its attempts add up.
//! What was set aside without a store is published to `<topic>-retry` by [`DeadLetterTopic::replay`] (`orders dlq replay --topic`).
//! A topic that cannot be written leaves the rows in the store; the consumer's health says so, and the end of a run.

mod build;
mod customer_notification;
mod dead_letter_topic;
mod delivery_status;
mod desk;
mod headers;
mod letterbox;
mod notifier;
mod post;
mod refusal;
mod relay;
pub(crate) mod rounds;
#[cfg(test)]
mod schemas;
mod stock_alert;
mod told;
mod topics;

pub use self::build::Notifying;
pub use self::customer_notification::CUSTOMER_NOTIFICATIONS;
pub use self::dead_letter_topic::{DeadLetterTopic, Replay};
pub use self::delivery_status::DELIVERY_STATUS;
pub use self::notifier::{LogNotifier, Notification, Notifier};
pub use self::refusal::REFUSALS;
pub use self::stock_alert::STOCK_ALERTS;
