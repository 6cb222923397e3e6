//! `orders dlq` on a store whose consumer has a handler: rows are requested, and the consumer asks the handler about them.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex};

use orderflow::consumer::{Control, Delivered, Failure, InventoryConsumer, Outcome, StoreHandler, Summary};
use orderflow::order::InventoryOrder;
use orderflow::store::{Overlay, RedbInventory};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::support::program::Finished;
use super::support::wait::until;
use super::support::{ndjson, on_runtime};
use super::*;

/// Books what it is given, but nothing of some products.
#[derive(Clone, Default)]
struct Book {
    closed: Arc<Mutex<BTreeSet<&'static str>>>,
    asked: Arc<Mutex<Vec<(String, String)>>>,
}

impl Book {
    fn closing(products: &[&'static str]) -> Self {
        Self { closed: Arc::new(Mutex::new(products.iter().copied().collect())), ..Self::default() }
    }

    /// The orders that it was asked about since this was called last.
    fn asked(&self) -> Vec<(String, String)> {
        std::mem::take(&mut self.asked.lock().expect("a list"))
    }
}

impl StoreHandler<InventoryOrder> for Book {
    async fn handle(&self, order: Delivered<InventoryOrder>, overlay: &mut Overlay) -> Result<Outcome, Failure> {
        let (number, product) = (order.value().order_id(), order.value().product_id());
        self.asked.lock().expect("a list").push((number.to_owned(), product.to_owned()));
        overlay.put("bookings", number, product);
        let is_closed = self.closed.lock().expect("a set").contains(product);
        Ok(match number {
            "3" if is_closed => Outcome::Refuse("SHP-CLOSED".into()),
            _ if is_closed => Outcome::Reject("no such shelf".into()),
            _ => Outcome::Done,
        })
    }
}

/// Runs a consumer with this handler until the topic's end.
async fn settle(broker: &DevBroker, store: &Path, book: &Book) -> Summary {
    let store = RedbInventory::open(store, "inventory").expect("the store opens");
    let builder = InventoryConsumer::builder(&broker.config()).store(store).handler(book.clone());
    let consumer = builder.until_end().build().await.expect("a consumer");
    tokio::time::timeout(WORK, consumer.run(std::future::pending()))
        .await
        .expect("the run ends")
        .expect("it ends cleanly")
}

async fn running(broker: &DevBroker, store: &Path, book: &Book) -> (Control, JoinHandle<orderflow::Result<Summary>>) {
    let store = RedbInventory::open(store, "inventory").expect("the store opens");
    let builder = InventoryConsumer::builder(&broker.config()).store(store).handler(book.clone());
    let consumer = builder.build().await.expect("a consumer");
    (consumer.control(), tokio::spawn(consumer.run(std::future::pending())))
}

fn run(store: &Path, arguments: &[&str], code: i32) -> Finished {
    let program = support::example::example("orders").args(arguments).args(["--json", "--store"]).arg(store);
    program.run(WORK).with_code(code)
}

fn orders(store: &Path, arguments: &[&str]) -> Vec<Value> {
    ndjson::parse(run(store, arguments, 0).stdout.lines())
}

/// A field of each row of `orders dlq`.
fn of(rows: &[Value], field: &str) -> Vec<Value> {
    rows.iter().map(|row| row[field].clone()).collect()
}

fn text(row: &Value, field: &str) -> String {
    row[field].as_str().unwrap_or_else(|| panic!("{field} of {row}")).to_owned()
}

/// The names of what is open, in the order of the log.
fn open(store: &Path) -> Vec<(String, Value)> {
    let mut rows = orders(store, &["dlq", "list"]);
    rows.sort_by_key(|row| (row["partition"].as_i64(), row["offset"].as_i64()));
    rows.into_iter().map(|row| (text(&row, "id"), row)).collect()
}

/// Orders 0 to 5, of products with the same numbers; those from 2 on are set aside.
async fn set_aside(broker: &DevBroker, folder: &Path) -> (std::path::PathBuf, Vec<String>) {
    let (store, file) = (folder.join("inventory.redb"), folder.join("orders.ndjson"));
    let order = |n: u32| json!({"order_id": n.to_string(), "product_id": format!("p{n}"), "quantity": n + 1, "type": "inventory", "timestamp": "5/30/2023"});
    std::fs::write(&file, (0..6).map(|n| format!("{}\n", order(n))).collect::<String>()).expect("it is written");
    example(broker, "inventory_producer").arg("-q").arg(&file).run(WORK).ok();
    let summary = settle(broker, &store, &Book::closing(&["p2", "p3", "p4", "p5"])).await;
    assert_eq!((summary.applied, summary.refused, summary.dead_letters), (2, 1, 3));
    let by_number = |id: &String| {
        let shown = orders(&store, &["dlq", "show", id]).remove(0);
        let value: Value = serde_json::from_str(&text(&shown, "value")).expect("an order");
        text(&value, "order_id")
    };
    let mut ids: Vec<_> = open(&store).into_iter().map(|(id, _)| id).collect();
    ids.sort_by_cached_key(by_number);
    (store, ids)
}

#[test]
fn rows_are_requested_mended_and_discarded_and_the_next_consumer_asks_its_handler_about_them() {
    on_runtime(async {
        let broker = DevBroker::start().await.expect("a broker starts");
        let folder = tempfile::tempdir().expect("a folder");
        let (store, ids) = set_aside(&broker, folder.path()).await;
        let listed = orders(&store, &["dlq", "list"]);
        let kinds: Vec<_> =
            ids.iter().map(|id| listed.iter().find(|row| row["id"] == **id).map(|row| &row["kind"])).collect();
        let (refused, dead) = (json!("refused"), json!("dead_letter"));
        assert_eq!(kinds, [Some(&dead), Some(&refused), Some(&dead), Some(&dead)], "{listed:?}");
        assert_eq!(of(&listed, "replayed"), vec![json!(false); 4]);
        let stock = orders(&store, &["stock"]);

        // A plan says that the handler comes first, and requests nothing.
        let planned = run(&store, &["dlq", "replay", "--plan"], 0);
        let plan = ndjson::parse(planned.stdout.lines());
        assert_eq!(of(&plan, "would"), vec![json!("apply"); 4]);
        assert!(plan.iter().all(|row| text(row, "reason").contains("once the handler")), "{plan:?}");
        assert!(planned.stderr.contains("looked at 4 of 4"), "{planned}");
        assert_eq!(orders(&store, &["dlq", "list"]), listed);

        // Two are requested as they are, one mended; nothing is applied by the program.
        let asked = run(&store, &["dlq", "replay", &ids[0], &ids[1]], 0);
        let rows = ndjson::parse(asked.stdout.lines());
        assert_eq!(
            (of(&rows, "did"), of(&rows, "id")),
            (vec![json!("request"); 2], vec![json!(ids[0]), json!(ids[1])])
        );
        assert!(rows.iter().all(|row| text(row, "reason").contains("as soon as it runs")), "{rows:?}");
        assert!(asked.stderr.contains("tried 2 of 2") && asked.stderr.contains("2 are requested"), "{asked}");
        let fixed = orders(&store, &["dlq", "fix", &ids[2], "--set", "product_id=p9"]);
        assert_eq!(of(&fixed, "did"), [json!("request")]);
        let again = orders(&store, &["dlq", "replay", &ids[0]]).remove(0);
        assert_eq!((&again["did"], text(&again, "reason")), (&json!("request"), "it was asked for before".to_owned()));
        // What is closed for good is asked for no more.
        assert_eq!(of(&orders(&store, &["dlq", "replay", &ids[3]]), "did"), [json!("request")]);
        orders(&store, &["dlq", "discard", &ids[3], "--reason", "nobody wants it"]);
        assert_eq!(of(&orders(&store, &["dlq", "replay", &ids[3]]), "did"), [json!("duplicate")]);
        let listed = open(&store);
        assert!(listed.len() == 3 && listed.iter().all(|(_, row)| row["replayed"] == json!(true)), "{listed:?}");
        assert_eq!(orders(&store, &["stock"]), stock);

        let book = Book::closing(&["p3"]);
        assert_eq!(settle(&broker, &store, &book).await.settled(), 0);
        let mut told = book.asked();
        told.sort();
        let expected =
            [("2", "p2"), ("3", "p3"), ("4", "p9")].map(|(order, product)| (order.to_owned(), product.to_owned()));
        assert_eq!(told, expected);
        let left = open(&store);
        assert_eq!(left.iter().map(|(id, _)| id).collect::<Vec<_>>(), [&ids[1]], "it is refused again");
        assert_eq!((&left[0].1["attempts"], &left[0].1["replayed"]), (&json!(2), &json!(false)));
        let states: Vec<_> = ids.iter().map(|id| text(&orders(&store, &["dlq", "show", id])[0], "state")).collect();
        assert_eq!(states, ["replayed", "open", "replayed", "discarded"]);
        let products: Vec<_> = of(&orders(&store, &["stock"]), "product_id");
        assert_eq!(products, ["p0", "p1", "p2", "p9"].map(|product| json!(product)));
        assert_eq!(orders(&store, &["verify"])[0]["holds"], json!(true));
        broker.shutdown().await;
    });
}

#[test]
fn rows_are_requested_of_a_running_consumer_and_applied_by_the_store_once_its_consumer_has_no_handler() {
    on_runtime(async {
        let broker = DevBroker::start().await.expect("a broker starts");
        let folder = tempfile::tempdir().expect("a folder");
        let (store, ids) = set_aside(&broker, folder.path()).await;
        let book = Book::closing(&["p4"]);
        let (control, run) = running(&broker, &store, &book).await;
        let asked = orders(&store, &["dlq", "replay", "--code", "HND-REJECTED"]);
        assert_eq!((of(&asked, "did"), asked.len()), (vec![json!("request"); 3], 3));
        assert!(asked.iter().all(|row| text(row, "reason").contains("the running consumer asks")), "{asked:?}");
        let is_left = || {
            let left = open(&store);
            (left.len() == 2 && left.iter().all(|(_, row)| row["replayed"] == json!(false))).then_some(left)
        };
        let left = until("two are applied, one is rejected again", WORK, is_left);
        let left: BTreeSet<_> = left.into_iter().map(|(id, _)| id).collect();
        assert_eq!(left, [ids[1].clone(), ids[2].clone()].into());
        assert_eq!(book.asked().len(), 3);
        control.drain();
        tokio::time::timeout(WORK, run).await.expect("the run ends").expect("a task").expect("it ends cleanly");

        // The program `inventory_consumer` has no handler.
        assert_eq!(of(&orders(&store, &["dlq", "replay", &ids[1]]), "did"), [json!("request")]);
        example(&broker, "inventory_consumer").args(["-q", "-e", "--store"]).arg(&store).run(WORK).ok();
        assert_eq!(of(&orders(&store, &["dlq", "replay"]), "did"), vec![json!("apply"); 2]);
        assert!(open(&store).is_empty() && book.asked().is_empty());
        assert_eq!(orders(&store, &["verify"])[0]["holds"], json!(true));
        broker.shutdown().await;
    });
}
