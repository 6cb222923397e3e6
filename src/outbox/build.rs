//! Building consumers together with what relays their dead letters.

use std::sync::Arc;

use super::notifier::{AnyNotifier, Notifier};
use super::post::Post;
use super::relay::Relay;
use super::topics::Topics;
use crate::Result;
use crate::consumer::companion::{Companion, Company};
use crate::consumer::{ByHandler, ConsumerBuilder, Handler, InStore, OrderConsumer};
use crate::order::Order;
use crate::store::{BackOffice, Store};

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
        Box::pin(self.build_with(|office, company| relay(office, company, None))).await
    }

    /// Has customers told by this notifier instead of the topic `customer_notifications`.
    pub fn notifier(self, notifier: impl Notifier) -> ConsumerBuilder<O, Notifying<S>> {
        let work = Notifying { store: self.work, notifier: Arc::new(notifier) };
        ConsumerBuilder { options: self.options, work }
    }
}

/// As [`InStore`], with a notifier of your own.
pub struct Notifying<S> {
    store: InStore<S>,
    notifier: Arc<dyn AnyNotifier>,
}

impl<O: Order, S: Store<O>> ConsumerBuilder<O, Notifying<S>> {
    /// As without a notifier: checks the settings and reaches the cluster.
    ///
    /// # Errors
    /// As without a notifier.
    ///
    /// # Cancel safety
    /// Nothing has begun.
    pub async fn build(self) -> Result<OrderConsumer<O>> {
        let Notifying { store, notifier } = self.work;
        let consumer = ConsumerBuilder { options: self.options, work: store };
        consumer.build_with(|office, company| relay(office, company, Some(notifier))).await
    }
}

fn relay(office: Arc<dyn BackOffice>, company: Company, notifier: Option<Arc<dyn AnyNotifier>>) -> Box<dyn Companion> {
    let Company { cluster, topic, group, control } = company;
    let config = cluster.config().clone();
    let post = Post::new(Topics::new(cluster, topic, group), notifier, &config);
    Box::new(Relay::new(office, post, control, &config))
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
