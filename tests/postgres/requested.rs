//! Replays that the handlers of several consumers are asked about: whoever asks, each row is settled once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use orderflow::broker::DevBroker;
use orderflow::consumer::{Concurrency, Delivered, Failure, InventoryConsumer, Outcome, StoreHandler};
use orderflow::order::{InventoryOrder, Order};
use orderflow::store::{
    DeadLetter, EventId, Operation, Original, Overlay, Position, PostgresInventory, Query, Rehearsal, Replayed, Row,
    Store, StoreOperator, StoreReader, Work,
};

use crate::home::Postgres;
use crate::store_support::{batch, entry, numbered, part};
use crate::support::wait::until_async;
use crate::{Case, block_on};

const SOON: Duration = Duration::from_secs(30);
const ROWS: u64 = 60;

pub(crate) fn cases() -> Vec<Case> {
    let name = "replays::of_two_consumers_that_ask_their_handlers_about_the_same_rows_one_settles_each";
    vec![(name.to_owned(), || block_on(of_two_consumers_one_settles_each()))]
}

/// Counts what it is asked about.
#[derive(Clone, Default)]
struct Book(Arc<AtomicUsize>);

impl StoreHandler<InventoryOrder> for Book {
    async fn handle(&self, order: Delivered<InventoryOrder>, overlay: &mut Overlay) -> Result<Outcome, Failure> {
        self.0.fetch_add(1, Ordering::Relaxed);
        tokio::task::yield_now().await;
        overlay.put("bookings", order.value().order_id(), "booked");
        Ok(Outcome::Done)
    }
}

fn rejected(number: u64) -> Work<InventoryOrder> {
    let order = InventoryOrder::new(&number.to_string(), &format!("p{}", number % 7), 5, "5/30/2023").unwrap();
    let mut value = Vec::new();
    order.encode(&mut value);
    let key = format!("p{number}").into_bytes();
    let original = Original { key: Some(key.into()), value: Some(value.into()), headers: Vec::new() };
    let reason = "the handler rejects the order: closed".to_owned();
    Work::DeadLetter(DeadLetter { code: "HND-REJECTED".into(), reason, attempts: 1, original })
}

async fn ask(url: &str, query: Query) -> Vec<Row> {
    StoreReader::open(url).await.unwrap().ask(query).rows().await.unwrap()
}

async fn open(url: &str) -> Vec<EventId> {
    let rows = ask(url, Query::DeadLetters { all: false }).await;
    rows.into_iter().filter_map(|row| if let Row::DeadLetter(row) = row { Some(row.id) } else { None }).collect()
}

async fn of_two_consumers_one_settles_each() {
    let url = Postgres::next().url();
    let store = PostgresInventory::connect(&url, "inventory").await.unwrap();
    let failing = (0..ROWS).map(|n| entry(n as i64, numbered(1, n), rejected(n))).collect();
    store.apply(batch(part(0, &Position::default(), failing))).await.unwrap();
    let broker = DevBroker::builder().topic("inventory_orders", 2).start().await.unwrap();
    let (book, mut running) = (Book::default(), Vec::new());
    for _ in 0..2 {
        let store = PostgresInventory::connect(&url, "inventory").await.unwrap();
        let builder = InventoryConsumer::builder(&broker.config()).store(store).handler(book.clone());
        let consumer = builder.concurrency(Concurrency::PerKey(4)).build().await.unwrap();
        running.push((consumer.control(), tokio::spawn(consumer.run(std::future::pending()))));
    }
    let operator = StoreOperator::open(&url).await.unwrap();
    let replay = Operation::Replay { ids: open(&url).await, rehearsal: Rehearsal::Real };
    let asked = operator.operate(replay).await.unwrap();
    assert!(asked.iter().all(|row| matches!(row, Row::Replayed(row) if row.did == Replayed::Request)), "{asked:?}");
    until_async("none is open", SOON, async || open(&url).await.is_empty().then_some(())).await;
    for (control, run) in running {
        control.drain();
        tokio::time::timeout(SOON, run).await.unwrap().unwrap().unwrap();
    }
    let calls = book.0.load(Ordering::Relaxed);
    println!("{calls} calls about {ROWS} rows");
    assert!(calls >= ROWS as usize);
    let stock = ask(&url, Query::Stock { products: Vec::new() }).await;
    let stock: i64 =
        stock.iter().map(|row| if let Row::Stock(row) = row { row.stock } else { panic!("{row:?}") }).sum();
    assert_eq!(stock, 5 * ROWS as i64);
    assert_eq!(ask(&url, Query::Own { table: "bookings".into() }).await.len(), ROWS as usize);
    let audit = ask(&url, Query::Verify).await;
    assert!(matches!(&audit[..], [Row::Audit(audit)] if audit.holds), "{audit:?}");
    store.close().await.unwrap();
    broker.shutdown().await;
}
