//! What publishing an order costs, from the typed order to its receipt.
//!
//! `cargo bench --bench producer`; items per second are orders. The development broker runs on a thread of its own, so the time
//! is the producer's as long as the broker keeps up.

#![allow(missing_docs, reason = "a benchmark has no callers")]
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on must stop")]

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use orderflow::broker::DevBroker;
use orderflow::order::{InventoryOrder, Order};
use orderflow::producer::InventoryProducer;
use tokio::runtime::{Builder, Runtime};

const ORDERS: usize = 100_000;
const CODECS: [&str; 2] = ["none", "lz4"];

fn orders() -> Vec<InventoryOrder> {
    let mut random = fastrand::Rng::with_seed(7);
    let order = |_| {
        let (order, product) = (format!("{:05}", random.u32(0..100_000)), format!("{:05}", random.u32(0..3000)));
        InventoryOrder::new(&order, &product, random.u32(1..100), &format!("5/{}/2023", random.u32(1..28))).unwrap()
    };
    (0..ORDERS).map(order).collect()
}

/// A broker on one runtime, a producer to it on another, which the calling thread runs.
struct Pair {
    client: Runtime,
    producer: InventoryProducer,
    _broker: DevBroker,
    _server: Runtime,
}

impl Pair {
    fn new(compression: &str) -> Self {
        let server = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let broker = server.block_on(DevBroker::builder().topic("inventory_orders", 6).start()).unwrap();
        let client = Builder::new_current_thread().enable_all().build().unwrap();
        let config = broker.config().set("compression.type", compression).unwrap();
        let producer = client.block_on(InventoryProducer::connect(&config)).unwrap();
        Self { client, producer, _broker: broker, _server: server }
    }
}

/// As whoever only wants to know that all is written.
#[divan::bench(args = CODECS, sample_count = 10, sample_size = 1)]
fn enqueue_and_flush(bencher: Bencher, compression: &str) {
    let (pair, orders) = (Pair::new(compression), orders());
    bencher.counter(ItemsCount::new(ORDERS)).bench_local(|| {
        pair.client.block_on(async {
            for order in &orders {
                drop(pair.producer.enqueue(order).await.unwrap());
            }
            pair.producer.flush().await.unwrap();
        });
    });
}

/// As whoever keeps each order's receipt.
#[divan::bench(args = CODECS, sample_count = 10, sample_size = 1)]
fn enqueue_and_await_receipts(bencher: Bencher, compression: &str) {
    let (pair, orders) = (Pair::new(compression), orders());
    bencher.counter(ItemsCount::new(ORDERS)).bench_local(|| {
        pair.client.block_on(async {
            let mut pendings = Vec::with_capacity(ORDERS);
            for order in &orders {
                pendings.push(pair.producer.enqueue(order).await.unwrap());
            }
            for pending in pendings {
                black_box(pending.await.unwrap());
            }
        });
    });
}

/// The part of it that no producer can do without.
#[divan::bench(sample_count = 10, sample_size = 1)]
fn encode_alone(bencher: Bencher) {
    let orders = orders();
    let mut out = Vec::with_capacity(1 << 20);
    bencher.counter(ItemsCount::new(ORDERS)).bench_local(|| {
        for order in &orders {
            if out.len() > 1_000_000 {
                out.clear();
            }
            order.encode(black_box(&mut out));
        }
    });
}

fn main() {
    divan::main();
}
