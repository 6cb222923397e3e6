//! Publishing a row of the outbox: which topics it goes to, and what is written there.
//!
//! ```text
//!  letter        --> <topic>-dlt | order_refusals
//!  deliveries    --> delivery_status, and customer_notifications or the notifier
//!  goods back    --> inventory_orders, as a receipt
//!  low stock     --> stock_alerts
//!  a handler's   --> the topic that it names
//! ```

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, stream};

use super::customer_notification::{self, CUSTOMER_NOTIFICATIONS};
use super::delivery_status::{self, DELIVERY_STATUS};
use super::notifier::{AnyNotifier, Notification};
use super::stock_alert::{self, STOCK_ALERTS};
use super::topics::Topics;
use crate::config::{ClientConfig, properties};
use crate::order::{IDENTITY_HEADER, InventoryOrder, Order};
use crate::place::Place;
use crate::producer::{OutgoingRecord, Pending, RecordProducer};
use crate::store::{DeliveryTold, LowStock, OwnEvent, Tidings, WaitingEvent, bit, shard_of};
use crate::wire::record_batch::Header;
use crate::{BoxError, Error, ErrorCode, Result};

/// The place of events that no topic gets.
const NOTIFIER: &str = "the notifier";

/// Where events go to.
pub(super) struct Post {
    pub(super) topics: Topics,
    notifier: Option<Arc<dyn AnyNotifier>>,
    /// `outbox.topics`.
    wanted: Vec<String>,
    /// `outbox.since`.
    since: i64,
    notify_timeout: Duration,
    notify_concurrency: usize,
}

impl Post {
    pub(super) fn new(topics: Topics, notifier: Option<Arc<dyn AnyNotifier>>, config: &ClientConfig) -> Self {
        let wanted = config.text(&properties::OUTBOX_TOPICS).split(',').map(|topic| topic.trim().to_owned());
        let concurrency = config.number(&properties::OUTBOX_NOTIFY_CONCURRENCY);
        Self {
            topics,
            notifier,
            wanted: wanted.collect(),
            since: i64::try_from(config.number(&properties::OUTBOX_SINCE)).unwrap_or(i64::MAX),
            notify_timeout: config.millis(&properties::OUTBOX_NOTIFY_TIMEOUT),
            notify_concurrency: usize::try_from(concurrency).unwrap_or(1),
        }
    }

    /// Where a part of a row goes to; none: nowhere, as nobody wants it.
    pub(super) fn topic(&self, tidings: &Tidings, part: u8) -> Option<String> {
        let happened = match tidings {
            Tidings::Letter(_) | Tidings::Scheduled(_) | Tidings::Own(_) => i64::MAX,
            Tidings::Moved(told) | Tidings::Returned(told) => told.at,
            Tidings::LowStock(low) => low.at,
        };
        if happened < self.since {
            return None;
        }
        let topic = match (tidings, part) {
            (Tidings::Letter(letter), _) => return Some(self.topics.of(letter)),
            (Tidings::Own(event), _) => return Some(event.topic.clone()),
            (Tidings::Scheduled(_) | Tidings::Moved(_), 0) => DELIVERY_STATUS,
            (Tidings::Scheduled(_) | Tidings::Moved(_), _) if self.notifier.is_some() => {
                return Some(NOTIFIER.to_owned());
            }
            (Tidings::Scheduled(_) | Tidings::Moved(_), _) => CUSTOMER_NOTIFICATIONS,
            (Tidings::Returned(_), _) => InventoryOrder::TOPIC,
            (Tidings::LowStock(_), _) => STOCK_ALERTS,
        };
        self.wanted.iter().any(|wanted| wanted == topic).then(|| topic.to_owned())
    }

    /// Accepts the events of a row's part, in these shards. They are written when all receipts are there.
    ///
    /// # Errors
    /// A topic cannot be made or written, or the producer takes nothing; some may have been accepted.
    pub(super) async fn post(&self, event: &WaitingEvent, part: u8, shards: u64) -> Result<Vec<Pending>> {
        match &event.tidings {
            Tidings::Letter(letter) => Ok(vec![self.topics.post(letter).await?]),
            Tidings::Scheduled(told) => {
                let is_ours =
                    |told: &&DeliveryTold| told.at >= self.since && bit(shard_of(told.id.as_bytes())) & shards != 0;
                let ours: Vec<&DeliveryTold> = told.iter().filter(is_ours).collect();
                if ours.is_empty() {
                    return Ok(Vec::new());
                }
                self.deliveries(&ours, part).await
            }
            Tidings::Moved(told) => self.deliveries(&[told], part).await,
            Tidings::Returned(told) => self.returned(told).await,
            Tidings::LowStock(low) => self.low_stock(low).await,
            Tidings::Own(event) => self.own(event).await,
        }
    }

    async fn deliveries(&self, told: &[&DeliveryTold], part: u8) -> Result<Vec<Pending>> {
        match (&self.notifier, part) {
            (_, 0) => self.write(DELIVERY_STATUS, told, "status", delivery_status::write).await,
            (None, _) => self.write(CUSTOMER_NOTIFICATIONS, told, "notification", customer_notification::write).await,
            (Some(notifier), _) => self.notify(notifier, told).await.map(|()| Vec::new()),
        }
    }

    async fn write(
        &self,
        topic: &str,
        told: &[&DeliveryTold],
        kind: &str,
        write: fn(&DeliveryTold, &str, &mut Vec<u8>),
    ) -> Result<Vec<Pending>> {
        let producer = self.topics.producer_of(topic).await?;
        let (mut pending, mut value, mut key) = (Vec::with_capacity(told.len()), Vec::new(), Vec::new());
        for told in told {
            let name = told.id.to_string();
            value.clear();
            write(told, &name, &mut value);
            key.clear();
            let mut version = itoa::Buffer::new();
            for part in [kind, ":", &name, ":", version.format(told.version)] {
                key.extend_from_slice(part.as_bytes());
            }
            pending.push(accept(&producer, (name.as_bytes(), &value), &key).await?);
        }
        Ok(pending)
    }

    async fn notify(&self, notifier: &Arc<dyn AnyNotifier>, told: &[&DeliveryTold]) -> Result<()> {
        let mut calls: Vec<BoxFuture<'_, Result<()>>> = Vec::with_capacity(told.len());
        for told in told {
            calls.push(self.call(notifier.clone(), notification(told)).boxed());
        }
        let mut calls = stream::iter(calls).buffer_unordered(self.notify_concurrency.max(1));
        while let Some(called) = calls.next().await {
            called?;
        }
        Ok(())
    }

    async fn call(&self, notifier: Arc<dyn AnyNotifier>, notification: Notification) -> Result<()> {
        let called = tokio::time::timeout(self.notify_timeout, notifier.notify(&notification)).await;
        called.unwrap_or_else(|_| Err(BoxError::from("it took too long"))).map_err(|error| {
            let key = &notification.idempotency_key;
            Error::new(ErrorCode::Handler, format!("the notifier did not tell {key}: {error}")).retriable()
        })
    }

    async fn returned(&self, told: &DeliveryTold) -> Result<Vec<Pending>> {
        let date = chrono::DateTime::from_timestamp_millis(told.at).unwrap_or_default().date_naive().to_string();
        let order = InventoryOrder::new(&told.order_id, &told.product_id, told.quantity, &date);
        let order = order.map_err(|error| Error::new(ErrorCode::Order, "a return is no order").caused_by(error))?;
        let mut value = Vec::new();
        order.encode(&mut value);
        let producer = self.topics.producer_of(InventoryOrder::TOPIC).await?;
        let key = format!("{}:return", told.id);
        Ok(vec![accept(&producer, (order.key(), &value), key.as_bytes()).await?])
    }

    async fn low_stock(&self, low: &LowStock) -> Result<Vec<Pending>> {
        let producer = self.topics.producer_of(STOCK_ALERTS).await?;
        let mut value = Vec::new();
        stock_alert::write(low, &mut value);
        let key = format!("stock:{}:{}", low.product_id, low.movements);
        Ok(vec![accept(&producer, (low.product_id.as_bytes(), &value), key.as_bytes()).await?])
    }

    async fn own(&self, event: &OwnEvent) -> Result<Vec<Pending>> {
        let producer = self.topics.producer_of(&event.topic).await?;
        let identity = format!("{}:{}", event.id, event.number);
        let headers = [Header { key: IDENTITY_HEADER.as_bytes(), value: Some(identity.as_bytes()) }];
        Ok(vec![put(&producer, (&event.key, &event.value), &headers).await?])
    }
}

async fn accept(producer: &RecordProducer, (key, value): (&[u8], &[u8]), identity: &[u8]) -> Result<Pending> {
    let headers = [
        Header { key: IDENTITY_HEADER.as_bytes(), value: Some(identity) },
        Header { key: b"content-type", value: Some(b"application/json") },
    ];
    put(producer, (key, value), &headers).await
}

async fn put(producer: &RecordProducer, (key, value): (&[u8], &[u8]), headers: &[Header<'_>]) -> Result<Pending> {
    let record = OutgoingRecord { key: Some(key), value: Some(value), headers, ..OutgoingRecord::default() };
    producer.enqueue(record).await.map_err(|error| error.at(Place::topic(producer.topic().clone())))
}

fn notification(told: &DeliveryTold) -> Notification {
    let (name, mut value) = (told.id.to_string(), Vec::new());
    customer_notification::write(told, &name, &mut value);
    Notification {
        delivery: told.id,
        version: told.version,
        order_id: told.order_id.clone(),
        status: told.status,
        idempotency_key: format!("notification:{name}:{}", told.version),
        value: Bytes::from(value),
    }
}
