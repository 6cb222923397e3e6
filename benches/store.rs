//! What an order costs in the embedded store, synced to disk at each commit.
//!
//! Each sample is one batch of 6 partitions into a store that grows. `cargo bench --bench store`
//! gives the time on the clock, disk included; with `STORE_BENCH_ORDERS=1000000` in the environment
//! it runs so many orders once instead and tells processor time, bytes on disk and peak memory.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a bench stops at its first surprise, and tells people what it measured"
)]

use std::path::Path;
use std::time::Instant;

use divan::Bencher;
use divan::counter::ItemsCount;
use orderflow::order::generate::{Generate, Generator};
use orderflow::order::{DeliveryOrder, Identity, InventoryOrder, Order, Source};
use orderflow::place::TopicId;
use orderflow::store::{Batch, Entry, Part, Position, RedbDeliveries, RedbInventory, Settled, Store, Topic, Work};

const PARTITIONS: i32 = 6;

fn main() {
    match std::env::var("STORE_BENCH_ORDERS").ok().and_then(|orders| orders.parse().ok()) {
        Some(orders) => long_runs(orders),
        None => divan::main(),
    }
}

/// Batches of orders as a consumer of all partitions makes them.
struct Feed<O> {
    orders: Generator<O>,
    source: Source,
    index: u64,
    positions: Vec<Position>,
}

impl<O: Order + Generate> Feed<O> {
    fn new() -> Self {
        let positions = (0..PARTITIONS).map(|_| Position::default()).collect();
        Self { orders: Generator::new(7), source: Source::of_digest([7; 32]), index: 0, positions }
    }

    fn batch(&mut self, size: usize) -> Batch<O> {
        let mut entries: Vec<Vec<Entry<O>>> = (0..PARTITIONS).map(|_| Vec::with_capacity(size / 5)).collect();
        for order in self.orders.by_ref().take(size) {
            let partition = order.key().iter().fold(0_usize, |hash, byte| hash * 31 + usize::from(*byte)) % 6;
            let offset = self.positions[partition].next + entries[partition].len() as i64;
            let identity = Identity::numbered(self.source, self.index).ok();
            let timestamp = 1_700_000_000_000 + self.index as i64;
            entries[partition].push(Entry { offset, timestamp, identity, work: Work::Apply(order) });
            self.index += 1;
        }
        let parts = (0..PARTITIONS).zip(entries).map(|(partition, entries)| {
            let at = &self.positions[partition as usize];
            let next = at.next + entries.len() as i64;
            Part { partition, expected: at.version, token: 1, next, settled: Settled::new(), leader_epoch: 0, entries }
        });
        Batch { topic: Topic::new(TopicId::new([1; 16]), O::TOPIC), parts: parts.collect() }
    }

    async fn apply(&mut self, store: &impl Store<O>, batch: Batch<O>) {
        for part in store.apply(batch).await.unwrap().parts {
            self.positions[part.partition as usize] = part.position;
        }
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

#[divan::bench(args = [1, 500, 5_000, 20_000], sample_count = 40, sample_size = 1)]
fn inventory(bencher: Bencher<'_, '_>, size: usize) {
    let (folder, runtime) = (tempfile::tempdir().unwrap(), runtime());
    let _entered = runtime.enter();
    let store = RedbInventory::open(folder.path().join("bench.redb"), "bench").unwrap();
    let feed = std::cell::RefCell::new(Feed::<InventoryOrder>::new());
    bencher.counter(ItemsCount::new(size)).with_inputs(|| feed.borrow_mut().batch(size)).bench_local_values(|batch| {
        runtime.block_on(feed.borrow_mut().apply(&store, batch));
    });
    runtime.block_on(store.close()).unwrap();
}

#[divan::bench(args = [5_000], sample_count = 40, sample_size = 1)]
fn deliveries(bencher: Bencher<'_, '_>, size: usize) {
    let (folder, runtime) = (tempfile::tempdir().unwrap(), runtime());
    let _entered = runtime.enter();
    let store = RedbDeliveries::open(folder.path().join("bench.redb"), "bench").unwrap();
    let feed = std::cell::RefCell::new(Feed::<DeliveryOrder>::new());
    bencher.counter(ItemsCount::new(size)).with_inputs(|| feed.borrow_mut().batch(size)).bench_local_values(|batch| {
        runtime.block_on(feed.borrow_mut().apply(&store, batch));
    });
    runtime.block_on(store.close()).unwrap();
}

fn long_runs(orders: usize) {
    for size in [5_000, 20_000] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("inventory.redb");
        let runtime = runtime();
        let _entered = runtime.enter();
        let store = RedbInventory::open(&path, "bench").unwrap();
        runtime.block_on(long_run(&format!("inventory, batches of {size}"), &store, &path, (orders, size)));
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("delivery.redb");
    let runtime = runtime();
    let _entered = runtime.enter();
    let store = RedbDeliveries::open(&path, "bench").unwrap();
    runtime.block_on(long_run("deliveries, batches of 5000", &store, &path, (orders, 5_000)));
}

async fn long_run<O: Order + Generate>(name: &str, store: &impl Store<O>, path: &Path, (orders, size): (usize, usize)) {
    // Making the orders up is no work of the store.
    let (mut rehearsal, began) = (Feed::<O>::new(), processor_seconds());
    (0..orders / size).for_each(|_| drop(rehearsal.batch(size)));
    let rehearsed = processor_seconds() - began;

    let (mut feed, began, mut clock) = (Feed::<O>::new(), processor_seconds(), 0.0);
    for _ in 0..orders / size {
        let batch = feed.batch(size);
        let began = Instant::now();
        feed.apply(store, batch).await;
        clock += began.elapsed().as_secs_f64();
    }
    let processor = processor_seconds() - began - rehearsed;
    store.close().await.unwrap();
    let each = |total: f64| total * 1e6 / orders as f64;
    let bytes = path.metadata().unwrap().len() as f64 / orders as f64;
    println!(
        "{name}: {:.2} us an order on the clock, {:.2} us of processor, {bytes:.1} bytes on disk, peak memory {} MB",
        each(clock),
        each(processor),
        peak_megabytes()
    );
}

/// User and system time of the process, to a hundredth of a second.
fn processor_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks = after_name.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok());
    ticks.sum::<f64>() / 100.0
}

fn peak_megabytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) / 1_024
}
