//! Building consumers together with what relays their dead letters.

use std::sync::Arc;

use super::relay::Relay;
use super::topics::Topics;
use crate::Result;
use crate::backoff::Backoff;
use crate::config::properties;
use crate::consumer::companion::Company;
use crate::consumer::{ByHandler, ConsumerBuilder, Handler, InStore, OrderConsumer};
use crate::order::Order;
use crate::store::Store;

impl<O: Order, S: Store<O>> ConsumerBuilder<O, InStore<S>> {
    /// Checks the settings and reaches the cluster.
    ///
    /// What the store sets aside is relayed while the consumer runs, and before its end, as [`crate::outbox`] says.
    ///
    /// # Errors
    /// [`ConfigValue`](crate::ErrorCode::ConfigValue) for settings that cannot be,
    /// [`StoreForeign`](crate::ErrorCode::StoreForeign) if the store belongs to another group or order type,
    /// [`Connect`](crate::ErrorCode::Connect) if no broker can be reached.
    ///
    /// # Cancel safety
    /// Nothing has begun.
    pub async fn build(self) -> Result<OrderConsumer<O>> {
        self.build_with(|office, company| {
            let Company { cluster, topic, group, control } = company;
            let config = cluster.config();
            let (first, longest) =
                (config.millis(&properties::RETRY_BACKOFF), config.millis(&properties::RETRY_BACKOFF_MAX));
            let topics = Topics::new(cluster, topic, group);
            Box::new(Relay::new(office, topics, control, Backoff::new(first, longest)))
        })
        .await
    }
}

impl<O: Order, H: Handler<O>> ConsumerBuilder<O, ByHandler<H>> {
    /// Checks the settings and reaches the cluster.
    ///
    /// What the handler rejects or cannot finish, and what is no order, is written to `<topic>-dlt` before the position
    /// moves past it, as [`crate::outbox`] says. Where that is refused, the partition stops.
    ///
    /// # Errors
    /// [`ConfigValue`](crate::ErrorCode::ConfigValue) for settings that cannot be or a group that is not given,
    /// [`Connect`](crate::ErrorCode::Connect) if no broker can be reached.
    ///
    /// # Cancel safety
    /// Nothing has begun.
    pub async fn build(self) -> Result<OrderConsumer<O>> {
        self.build_with(|Company { cluster, topic, group, .. }| Arc::new(Topics::new(cluster, topic, group))).await
    }
}
