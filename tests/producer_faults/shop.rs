//! A producer on a broker, and the orders that it was given.

use std::time::Duration;

use orderflow::broker::DevBroker;
use orderflow::config::ClientConfig;
use orderflow::order::{InventoryOrder, Order};
use orderflow::producer::{InventoryProducer, OrderProducer, Pending};

use crate::log::Told;

pub(crate) const TOPIC: &str = "inventory_orders";

/// Longer than the default of `delivery.timeout.ms`, by which every order has its outcome.
const LONGEST: Duration = Duration::from_secs(150);

/// Four orders fill a batch, so that several are on the way.
pub(crate) const SMALL: (&str, &str) = ("batch.size", "1024");

/// A broker of `nodes` nodes whose topic has `partitions` partitions.
pub(crate) async fn broker(nodes: u16, partitions: i32) -> DevBroker {
    DevBroker::builder().nodes(nodes).topic(TOPIC, partitions).start().await.unwrap()
}

/// Short pauses between tries, and these settings.
pub(crate) fn config(broker: &DevBroker, settings: &[(&str, &str)]) -> ClientConfig {
    let quick = [
        ("retry.backoff.ms", "2"),
        ("retry.backoff.max.ms", "20"),
        ("reconnect.backoff.ms", "2"),
        ("reconnect.backoff.max.ms", "20"),
    ];
    quick.iter().chain(settings).fold(broker.config(), |config, (key, value)| config.set(key, *value).unwrap())
}

pub(crate) async fn producer(broker: &DevBroker, settings: &[(&str, &str)]) -> InventoryProducer {
    InventoryProducer::connect(&config(broker, settings)).await.unwrap()
}

/// Order number `n`, whose id sorts as `n` does and makes it about 250 bytes.
pub(crate) fn order(n: usize, product: &str) -> InventoryOrder {
    InventoryOrder::new(&format!("{n:0>100}"), product, 1, "5/30/2023").unwrap()
}

/// An order on its way.
pub(crate) struct Sent {
    key: String,
    order_id: String,
    pending: Pending,
}

pub(crate) async fn enqueue(producer: &InventoryProducer, n: usize, product: &str) -> Sent {
    let order = order(n, product);
    accept(producer, &order, order.order_id()).await
}

/// Accepts an order of any type.
pub(crate) async fn accept<O: Order>(producer: &OrderProducer<O>, order: &O, order_id: &str) -> Sent {
    let key = String::from_utf8(order.key().to_vec()).unwrap();
    let pending = producer.enqueue(order).await.unwrap();
    Sent { key, order_id: order_id.to_owned(), pending }
}

/// Accepts these orders, of seven products in turn.
pub(crate) async fn enqueue_all(producer: &InventoryProducer, numbers: std::ops::Range<usize>) -> Vec<Sent> {
    let mut sent = Vec::new();
    for n in numbers {
        sent.push(enqueue(producer, n, &format!("p{}", n % 7)).await);
    }
    sent
}

/// Waits for what becomes of them.
pub(crate) async fn told(sent: Vec<Sent>) -> Vec<Told> {
    let mut told = Vec::new();
    for Sent { key, order_id, pending } in sent {
        let result = tokio::time::timeout(LONGEST, pending).await.expect("every order has its outcome in time");
        told.push(Told { key, order_id, result });
    }
    told
}

/// Sends one order and waits for what becomes of it.
pub(crate) async fn send(producer: &InventoryProducer, n: usize) -> Told {
    told(vec![enqueue(producer, n, "p0").await]).await.remove(0)
}
