//! Processes that are killed while they relay a shop's events.
//!
//! ```text
//!  delivery_orders --[delivery_consumer, killed]--> delivery_status
//!  delivery_updates (cancelled) ---^       \------> inventory_orders --[inventory_consumer, killed]--> stock
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use bytes::Bytes;
use orderflow::broker::{DevBroker, Records};
use orderflow::wire::compression::Decompressor;
use orderflow::wire::record_batch::BatchReader;
use serde_json::{Value, json};

use crate::support::example::example;
use crate::support::ndjson;
use crate::support::program::{Program, Running, Signal};
use crate::support::wait::until;

/// Every wait here ends within this.
const WORK: Duration = Duration::from_secs(60);
const PARTITIONS: i32 = 2;
/// Each third delivery is called off.
const ORDERS: usize = 3_000;
const CANCELLED: usize = ORDERS / 3;

/// A shop whose processes are killed.
pub(crate) struct Shop<'s> {
    /// The stores of deliveries and of stock, as `--store` names them.
    pub(crate) stores: [&'s str; 2],
    /// How many processes have the deliveries.
    pub(crate) relays: usize,
    /// How often some process is killed in each part of the run.
    pub(crate) kills: usize,
}

/// A record as it was sent.
struct Sent {
    key: String,
    identity: String,
    value: Bytes,
}

/// Chance that can be repeated: xorshift.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// The broker of such a shop: who is killed is soon out of its group.
pub(crate) async fn broker() -> DevBroker {
    let mut builder = DevBroker::builder().group_session(Duration::from_millis(700));
    builder = builder.group_heartbeat(Duration::from_millis(100));
    for topic in ["delivery_orders", "delivery_updates", "inventory_orders", "delivery_status"] {
        builder = builder.topic(topic, PARTITIONS);
    }
    builder.start().await.expect("a broker starts")
}

impl Shop<'_> {
    /// Orders, cancels a third, kills whoever relays meanwhile; then says what does not hold by panicking.
    #[allow(clippy::print_stdout, reason = "the seed of a run that fails")]
    pub(crate) fn run(&self, broker: &DevBroker) {
        let seed = RandomState::new().hash_one(0) | 1;
        println!("seed {seed}");
        let mut chance = Chance(seed);
        let produce = ["-q", "--generate", "--source", "killed", "--count", &ORDERS.to_string()].map(str::to_owned);
        with(broker, "delivery_producer").args(produce).run(WORK).ok();
        self.kill_while(broker, &mut chance, || names(broker, "delivery_status") < ORDERS);
        let deliveries: BTreeSet<String> = sent(broker, "delivery_status").into_iter().map(|sent| sent.key).collect();
        let cancelled: BTreeSet<String> = deliveries.iter().take(CANCELLED).cloned().collect();
        for (partition, part) in (0..PARTITIONS).zip([0, 1]) {
            let update = |name: &String| {
                let update = json!({"delivery_id": name, "status": "cancelled", "time": "2026-11-24T08:30:00Z"});
                (name.clone(), update.to_string())
            };
            let half = cancelled.iter().skip(part).step_by(2).map(update);
            broker.append("delivery_updates", partition, Records::keyed(half)).expect("the topic is there");
        }
        self.kill_while(broker, &mut chance, || names(broker, "inventory_orders") < CANCELLED);
        self.finish(broker);
        self.told(broker, &deliveries, &cancelled);
        self.given_back(broker, &cancelled);
    }

    fn deliveries(&self, broker: &DevBroker) -> Program {
        // Many small transactions, so that a process is often in the middle of something.
        let small = ["max.partition.fetch.bytes=32768", "prefetch.max.bytes=65536", "outbox.hand.bytes=65536"];
        let leases = ["outbox.lease.ms=600", "outbox.poll.ms=50"];
        let settings = small.into_iter().chain(leases).flat_map(|setting| ["-X", setting]);
        with(broker, "delivery_consumer").arg("-q").args(settings).args(["--store", self.stores[0]])
    }

    /// Kills a process once it has told something more, again and again; the last ones go on until all is told.
    fn kill_while(&self, broker: &DevBroker, chance: &mut Chance, is_wanted: impl Fn() -> bool) {
        let told = || count(broker, &["delivery_status", "inventory_orders"]);
        let mut running: Vec<Running> = (0..self.relays).map(|_| self.deliveries(broker).start()).collect();
        for _ in 0..self.kills {
            let before = told();
            let enough = before + 1 + chance.below(150) as usize;
            until("more is told", WORK, || (told() >= enough || !is_wanted()).then_some(()));
            let victim = running.remove(chance.below(self.relays as u64) as usize);
            victim.signal(Signal::Kill);
            drop(victim);
            running.push(self.deliveries(broker).start());
        }
        until("all is told", WORK, || (!is_wanted()).then_some(()));
        running.iter().for_each(|process| process.signal(Signal::Kill));
    }

    /// What is left is told, and the goods are taken into stock by processes that are killed as well.
    fn finish(&self, broker: &DevBroker) {
        self.deliveries(broker).arg("-e").run(WORK).ok();
        let stock = || with(broker, "inventory_consumer").arg("-q").args(["--store", self.stores[1]]);
        let running = stock().args(["-X", "max.partition.fetch.bytes=16384", "-X", "prefetch.max.bytes=32768"]).start();
        let socket = format!("{}.sock", self.stores[1]);
        if !self.stores[1].contains("://") {
            until("the stock is held", WORK, || std::path::Path::new(&socket).exists().then_some(()));
        }
        running.signal(Signal::Kill);
        drop(running);
        stock().arg("-e").run(WORK).ok();
    }

    /// Every change of a delivery is told, each under one name with one content, first sendings in their order.
    fn told(&self, broker: &DevBroker, deliveries: &BTreeSet<String>, cancelled: &BTreeSet<String>) {
        assert_eq!(deliveries.len(), ORDERS);
        let (mut contents, mut newest) = (BTreeMap::<String, Bytes>::new(), BTreeMap::<String, u64>::new());
        for Sent { key, identity, value } in sent(broker, "delivery_status") {
            let version =
                serde_json::from_slice::<Value>(&value).expect("JSON")["version"].as_u64().expect("a version");
            assert_eq!(identity, format!("status:{key}:{version}"));
            match contents.get(&identity) {
                Some(known) => assert_eq!(known, &value, "{identity} says something else when it is repeated"),
                None => {
                    let before = newest.insert(key, version).unwrap_or(0);
                    assert_eq!(before + 1, version, "{identity} is told first after version {before}");
                    contents.insert(identity, value);
                }
            }
        }
        let has = |name: &&String| contents.contains_key(&format!("status:{name}:1"));
        assert_eq!(deliveries.iter().filter(has).count(), ORDERS);
        let is_cancelled = |name: &&String| newest[*name] == 2;
        assert!(cancelled.iter().all(|name| is_cancelled(&name)), "a cancellation is not told");
        assert_eq!(deliveries.iter().filter(is_cancelled).count(), CANCELLED);
    }

    /// The goods of what was called off are in stock, once, however often their orders were sent.
    fn given_back(&self, broker: &DevBroker, cancelled: &BTreeSet<String>) {
        let mut returns = BTreeMap::<String, Value>::new();
        for Sent { identity, value, .. } in sent(broker, "inventory_orders") {
            let order: Value = serde_json::from_slice(&value).expect("JSON");
            assert_eq!(returns.entry(identity).or_insert_with(|| order.clone()), &order);
        }
        let expected: BTreeSet<String> = cancelled.iter().map(|name| format!("{name}:return")).collect();
        assert_eq!(returns.keys().cloned().collect::<BTreeSet<_>>(), expected);
        let mut quantities = BTreeMap::<String, i64>::new();
        for order in returns.values() {
            let product = order["product_id"].as_str().expect("a product").to_owned();
            *quantities.entry(product).or_default() += order["quantity"].as_i64().expect("a quantity");
        }
        let stock = ask("stock", self.stores[1]);
        let product = |row: &Value| row["product_id"].as_str().expect("a product").to_owned();
        let stock: BTreeMap<String, i64> =
            stock.iter().map(|row| (product(row), row["stock"].as_i64().expect("a stock"))).collect();
        assert_eq!(stock, quantities);
        for store in self.stores {
            assert_eq!(ask("verify", store)[0]["holds"], json!(true), "{store}");
        }
    }
}

fn with(broker: &DevBroker, name: &str) -> Program {
    example(name).args(["-b", &broker.bootstrap()])
}

fn ask(what: &str, store: &str) -> Vec<Value> {
    let ran = example("orders").args([what, "--json", "--store", store]).run(WORK).ok();
    ndjson::parse(ran.stdout.lines())
}

fn count(broker: &DevBroker, topics: &[&str]) -> usize {
    let of =
        |topic: &&str| (0..PARTITIONS).map(|at| broker.offsets(topic, at).map_or(0, |range| range.end)).sum::<i64>();
    usize::try_from(topics.iter().map(of).sum::<i64>()).expect("a count")
}

/// How many events a topic has, without repeats.
fn names(broker: &DevBroker, topic: &str) -> usize {
    sent(broker, topic).into_iter().map(|sent| sent.identity).collect::<BTreeSet<_>>().len()
}

/// A topic's records, partition by partition: all of a key are in one.
fn sent(broker: &DevBroker, topic: &str) -> Vec<Sent> {
    let (mut decompressor, mut sent) = (Decompressor::new(), Vec::new());
    for partition in 0..PARTITIONS {
        for batch in broker.batches(topic, partition).unwrap_or_default() {
            let view = BatchReader::new(batch).next().expect("a batch").expect("a sound batch");
            for record in view.records(&mut decompressor).expect("records") {
                let record = record.expect("a sound record");
                let text =
                    |bytes: Option<&[u8]>| String::from_utf8(bytes.expect("it is there").to_vec()).expect("text");
                let (key, value) = (text(record.key), Bytes::copy_from_slice(record.value.expect("a value")));
                let mut headers = record.headers;
                let identity = headers.find(|header| header.key == b"idempotency-key").expect("an identity");
                sent.push(Sent { key, identity: text(identity.value), value });
            }
        }
    }
    sent
}
