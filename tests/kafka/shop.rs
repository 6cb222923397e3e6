//! Our own programs against a cluster: what they are started with, what they must come to.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::cluster::Servers;
use crate::support::example::example;
use crate::support::ndjson;
use crate::support::program::Program;

/// Every program of ours ends within this: its work takes seconds, the rest is a busy machine.
pub(crate) const WORK: Duration = Duration::from_secs(120);

/// An order file in memory, and the stock that it must come to.
pub(crate) struct File {
    pub(crate) ndjson: String,
    pub(crate) stock: BTreeMap<String, u64>,
    pub(crate) orders: usize,
}

impl File {
    /// Inventory orders over `products` products; quantities differ, so that a lost order and a doubled one show.
    pub(crate) fn of(orders: usize, products: usize) -> Self {
        let (mut ndjson, mut stock) = (String::new(), BTreeMap::new());
        for index in 0..orders {
            let (product, quantity) = (format!("{:05}", index % products), 1 + index % 997);
            let order = json!({
                "order_id": index.to_string(), "product_id": product, "quantity": quantity,
                "type": "inventory", "timestamp": "5/30/2023",
            });
            ndjson.push_str(&format!("{order}\n"));
            *stock.entry(product).or_insert(0) += quantity as u64;
        }
        Self { ndjson, stock, orders }
    }

    /// The same, as lines that the console producer and kafka-python write: `product<TAB>order`.
    pub(crate) fn keyed_lines(&self) -> Vec<String> {
        let keyed = |line: &str| {
            let order: Value = serde_json::from_str(line).expect("our own order");
            format!("{}\t{line}", order["product_id"].as_str().expect("a product"))
        };
        self.ndjson.lines().map(keyed).collect()
    }
}

impl Servers {
    /// `inventory_producer` that reads stdin, and prints a receipt a line.
    pub(crate) fn producer(&self, topic: &str, source: &str) -> Program {
        let producer = example("inventory_producer").args(["-b", &self.bootstrap, "--topic", topic]);
        producer.args(["--json", "--source", source, "-"])
    }

    /// `inventory_consumer` that prints an outcome a line; its group is the topic's name.
    pub(crate) fn consumer(&self, topic: &str, store: &Path) -> Program {
        let consumer = example("inventory_consumer").args(["-b", &self.bootstrap, "--topic", topic, "-g", topic]);
        consumer.arg("--json").arg("--store").arg(store)
    }

    /// Sends a file, and gives the receipts. The source is the topic's name: sent again, the orders are the same.
    pub(crate) fn send(&self, topic: &str, file: &File, flags: &[&str]) -> Vec<Value> {
        let sent = self.producer(topic, topic).args(flags).input(file.ndjson.as_str()).run(WORK).ok();
        let lines = ndjson::parse(sent.stdout.lines());
        assert_eq!(ndjson::summary(&lines, "sent"), file.orders as u64, "{sent}");
        lines.into_iter().filter(|line| line.get("order_id").is_some()).collect()
    }

    /// Consumes to the end, and gives the lines.
    pub(crate) fn consume(&self, topic: &str, store: &Path, flags: &[&str]) -> Vec<Value> {
        let consumed = self.consumer(topic, store).arg("-e").args(flags).run(WORK).ok();
        ndjson::parse(consumed.stdout.lines())
    }
}

/// What `orders ARGS --store STORE --json` prints.
pub(crate) fn orders(args: &[&str], store: &Path) -> Vec<Value> {
    let said = example("orders").args(args).arg("--store").arg(store).arg("--json").run(WORK).ok();
    ndjson::parse(said.stdout.lines())
}

/// The stock by product, after the audit has held.
pub(crate) fn audited_stock(store: &Path) -> BTreeMap<String, u64> {
    let audit = orders(&["verify"], store);
    assert!(audit.iter().all(|audit| audit["holds"] == true), "{audit:?}");
    let stock = |row: Value| Some((row["product_id"].as_str()?.to_owned(), row["stock"].as_u64()?));
    orders(&["stock"], store).into_iter().map(|row| stock(row).expect("product and stock")).collect()
}
