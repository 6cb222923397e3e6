//! What an order costs: made up, written, read, and found in a file.
//!
//! `cargo bench --bench order`; figures are for each order where the bench says so in its counter.

use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use orderflow::order::generate::{Generate, Generator};
use orderflow::order::{DeliveryOrder, EntryReader, InventoryOrder, OrderReader, Source, digest_of};

const ORDERS: usize = 10_000;

fn main() {
    divan::main();
}

fn orders<O: Generate>() -> Vec<O> {
    Generator::new(7).take(ORDERS).collect()
}

fn values<O: Generate>() -> Vec<Vec<u8>> {
    let value = |order: O| {
        let mut value = Vec::with_capacity(order.encoded_len());
        order.encode(&mut value);
        value
    };
    orders::<O>().into_iter().map(value).collect()
}

/// The values as Python's `json.dumps` spaces them.
fn spaced(values: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let space =
        |value: Vec<u8>| String::from_utf8_lossy(&value).replace("\":", "\": ").replace(",\"", ", \"").into_bytes();
    values.into_iter().map(space).collect()
}

#[divan::bench(types = [InventoryOrder, DeliveryOrder])]
fn generate<O: Generate>(bencher: Bencher) {
    let mut generator = Generator::<O>::new(7);
    bencher.counter(ItemsCount::new(ORDERS)).bench_local(|| {
        for order in generator.by_ref().take(ORDERS) {
            black_box(order);
        }
    });
}

#[divan::bench(types = [InventoryOrder, DeliveryOrder])]
fn encode<O: Generate>(bencher: Bencher) {
    let orders = orders::<O>();
    let mut batch = Vec::with_capacity(ORDERS * 400);
    bencher.counter(ItemsCount::new(ORDERS)).bench_local(|| {
        batch.clear();
        for order in &orders {
            black_box(order).encode(&mut batch);
        }
        black_box(batch.len())
    });
}

#[divan::bench(types = [InventoryOrder, DeliveryOrder])]
fn encoded_len<O: Generate>(bencher: Bencher) {
    let orders = orders::<O>();
    bencher
        .counter(ItemsCount::new(ORDERS))
        .bench_local(|| orders.iter().map(|order| black_box(order).encoded_len()).sum::<usize>());
}

#[divan::bench(types = [InventoryOrder, DeliveryOrder])]
fn decode<O: Generate>(bencher: Bencher) {
    decode_all::<O>(bencher, values::<O>());
}

#[divan::bench(types = [InventoryOrder, DeliveryOrder])]
fn decode_spaced<O: Generate>(bencher: Bencher) {
    decode_all::<O>(bencher, spaced(values::<O>()));
}

#[divan::bench(types = [InventoryOrder, DeliveryOrder])]
fn decode_unusual_order_of_fields<O: Generate>(bencher: Bencher) {
    let turned = |value: Vec<u8>| String::from_utf8_lossy(&value).replacen('{', "{\"x\":1,", 1).into_bytes();
    decode_all::<O>(bencher, values::<O>().into_iter().map(turned).collect());
}

fn decode_all<O: Generate>(bencher: Bencher, values: Vec<Vec<u8>>) {
    bencher.counter(ItemsCount::new(ORDERS)).bench_local(|| {
        for value in &values {
            let _ = black_box(O::decode(black_box(value)));
        }
    });
}

fn lines() -> Vec<u8> {
    spaced(values::<InventoryOrder>()).join(&b'\n')
}

fn array() -> Vec<u8> {
    [&b"[\n  "[..], &spaced(values::<InventoryOrder>()).join(&b",\n  "[..]), b"\n]\n"].concat()
}

#[divan::bench(args = ["lines", "array"])]
fn entries(bencher: Bencher, format: &str) {
    let file = if format == "lines" { lines() } else { array() };
    bencher.counter(ItemsCount::new(ORDERS)).counter(BytesCount::new(file.len())).bench_local(|| {
        let mut entries = EntryReader::new(&file[..]);
        while let Ok(Some(entry)) = entries.next_entry() {
            black_box(entry.bytes());
        }
    });
}

#[divan::bench(args = ["lines", "array"])]
fn orders_of_a_file(bencher: Bencher, format: &str) {
    let file = if format == "lines" { lines() } else { array() };
    let source = Source::of_digest([7; 32]);
    bencher.counter(ItemsCount::new(ORDERS)).counter(BytesCount::new(file.len())).bench_local(|| {
        for entry in OrderReader::<InventoryOrder, _>::new(&file[..]).with_source(source) {
            let _ = black_box(entry);
        }
    });
}

#[divan::bench(args = ["lines", "array"])]
fn filter_the_other_type(bencher: Bencher, format: &str) {
    let file = if format == "lines" { lines() } else { array() };
    bencher.counter(ItemsCount::new(ORDERS)).bench_local(|| {
        for entry in OrderReader::<DeliveryOrder, _>::new(&file[..]) {
            let _ = black_box(entry);
        }
    });
}

#[divan::bench]
fn digest(bencher: Bencher) {
    let file = array();
    bencher.counter(BytesCount::new(file.len())).bench_local(|| digest_of(&file[..]));
}
