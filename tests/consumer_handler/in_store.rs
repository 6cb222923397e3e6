//! A handler that takes part in the store's transaction: what it adds enters with the order's effect, once.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use orderflow::ErrorCode;
use orderflow::consumer::{Concurrency, Delivered, Failure, InventoryConsumer, Outcome, StoreHandler, Summary};
use orderflow::order::InventoryOrder;
use orderflow::store::{DeadLetterRow, Overlay, Query, RedbInventory, Row, Store, StoreReader, Text};
use tokio::sync::watch;

use crate::consumer_support::faulty::{Fault, FaultyStore};
use crate::consumer_support::*;
use crate::log::read;
use crate::support::wait::until_async;
use crate::{DevBroker, Duration};

pub(crate) const BOOKINGS: &str = "bookings";
const BOOKED: &str = "carrier_bookings";

/// Books each order under its number, and answers as a test says.
#[derive(Clone)]
pub(crate) struct Book<A> {
    answer: A,
    pub(crate) calls: Arc<AtomicU64>,
}

impl<A: Fn(u64) -> Result<Outcome, Failure> + Send + Sync + 'static> StoreHandler<InventoryOrder> for Book<A> {
    async fn handle(&self, order: Delivered<InventoryOrder>, overlay: &mut Overlay) -> Result<Outcome, Failure> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let number = crate::number(&order);
        overlay.put(BOOKINGS, order.value().order_id(), order.value().product_id());
        overlay.put("newest", order.value().product_id(), order.value().order_id());
        // A copy of the order would say another partition under the same key.
        let booked = format!("{}@{:?}", order.value().order_id(), order.place().partition);
        overlay.emit(BOOKED, order.value().product_id(), booked);
        // Every third call moves aside.
        if number.is_multiple_of(3) {
            tokio::task::yield_now().await;
        }
        (self.answer)(number)
    }
}

pub(crate) fn book<A: Fn(u64) -> Result<Outcome, Failure>>(answer: A) -> Book<A> {
    Book { answer, calls: Default::default() }
}

pub(crate) fn done(_: u64) -> Result<Outcome, Failure> {
    Ok(Outcome::Done)
}

pub(crate) async fn settle<S: Store<InventoryOrder>>(
    broker: &DevBroker,
    store: S,
    handler: impl StoreHandler<InventoryOrder>,
) -> orderflow::Result<Summary> {
    let builder = InventoryConsumer::builder(&config(broker)).store(store).handler(handler);
    let consumer = builder.concurrency(Concurrency::PerKey(8)).until_end().build().await?;
    let control = consumer.control();
    let ended = tokio::time::timeout(SOON, consumer.run(std::future::pending())).await;
    ended.unwrap_or_else(|_| panic!("the run does not end: {}; {:?}", control.health(), control.lag()))
}

/// The rows of a table of the handler's own.
pub(crate) async fn rows(path: &Path, table: &str) -> BTreeMap<String, String> {
    let rows = StoreReader::open(path).await.unwrap().ask(Query::Own { table: table.into() }).rows().await.unwrap();
    let own = rows.into_iter().map(|row| match row {
        Row::Own(row) => match (row.key, row.value) {
            (Text::Plain(key), Text::Plain(value)) => (key, value),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    });
    own.collect()
}

pub(crate) async fn letters(path: &Path) -> Vec<DeadLetterRow> {
    let query = Query::DeadLetters { all: true };
    let rows = StoreReader::open(path).await.unwrap().ask(query).rows().await.unwrap();
    rows.into_iter().filter_map(|row| if let Row::DeadLetter(row) = row { Some(row) } else { None }).collect()
}

/// What was published, by idempotency key: a repeat says the same.
pub(crate) fn booked(broker: &DevBroker) -> BTreeMap<String, String> {
    let mut booked = BTreeMap::new();
    for record in (0..8).flat_map(|partition| read(broker, BOOKED, partition)) {
        let value = String::from_utf8(record.value.clone().unwrap()).unwrap();
        let key = record.header("idempotency-key").unwrap();
        let before = booked.insert(key, value.clone());
        assert!(before.is_none_or(|before| before == value));
    }
    booked
}

fn all(numbers: std::ops::Range<usize>) -> BTreeSet<String> {
    numbers.map(|number| number.to_string()).collect()
}

/// The handler's rows and events are those of exactly these orders.
async fn assert_booked(broker: &DevBroker, path: &Path, numbers: std::ops::Range<usize>) {
    let bookings: BTreeSet<String> = rows(path, BOOKINGS).await.into_keys().collect();
    assert_eq!(bookings, all(numbers.clone()));
    let booked = booked(broker);
    let orders = booked.values().filter_map(|value| Some(value.split_once('@')?.0.to_owned()));
    assert_eq!((booked.len(), orders.collect::<BTreeSet<_>>()), (numbers.len(), all(numbers)));
}

#[tokio::test]
async fn what_a_handler_adds_enters_the_store_with_the_effect_once() {
    let (broker, shop) = (broker(3).await, Shop::new());
    write(&broker, 0, &entries(0..200));
    write(&broker, 1, &entries(200..300));
    // The same orders once more: the handler is asked, and what it adds is dropped with the effect.
    write(&broker, 2, &entries(100..300));
    let summary = settle(&broker, shop.store(), book(done)).await.unwrap();
    assert_eq!((summary.applied, summary.duplicates), (300, 200));
    assert_booked(&broker, &shop.path(), 0..300).await;
    shop.assert_holds(300, 200).await;
    for (partition, orders) in [(0, 200), (1, 100), (2, 200)] {
        assert_eq!(broker.committed("inventory", TOPIC, partition), Some(orders));
    }
    assert_eq!(settle(&broker, shop.store(), book(done)).await.unwrap().settled(), 0);
    broker.shutdown().await;
}

#[tokio::test]
async fn a_row_is_what_the_last_order_of_its_key_made_of_it() {
    let (broker, shop) = (broker(1).await, Shop::new());
    write(&broker, 0, &entries(0..70));
    settle(&broker, shop.store(), book(done)).await.unwrap();
    let newest = rows(&shop.path(), "newest").await;
    let last: BTreeMap<String, String> = (63..70).map(|n| (format!("p{}", n % 7), n.to_string())).collect();
    assert_eq!(newest, last);
    broker.shutdown().await;
}

#[tokio::test]
async fn only_the_key_that_waits_waits_and_its_orders_keep_their_order() {
    let (broker, shop) = (broker(1).await, Shop::new());
    write(&broker, 0, &entries(0..70));
    let (open, opened) = watch::channel(false);
    let answer = move |number| match number {
        0 if !*opened.borrow() => Ok(Outcome::Retry(Duration::from_millis(5))),
        _ => Ok(Outcome::Done),
    };
    let patient = config(&broker).set("handler.retry.attempts", "1000000").unwrap();
    let builder = InventoryConsumer::builder(&patient).store(shop.store()).handler(book(answer));
    let consumer = builder.concurrency(Concurrency::PerKey(8)).until_end().build().await.unwrap();
    let control = consumer.control();
    let run = tokio::spawn(consumer.run(std::future::pending()));
    settled(&control, 60).await;
    assert_eq!(rows(&shop.path(), BOOKINGS).await.len(), 60);
    assert_eq!(control.lag().first().map(|lag| lag.position), Some(0), "the position waits for the first order");
    open.send_replace(true);
    let summary = tokio::time::timeout(SOON, run).await.unwrap().unwrap().unwrap();
    assert_eq!(summary.applied, 70);
    assert_eq!(rows(&shop.path(), "newest").await.get("p0").map(String::as_str), Some("63"));
    broker.shutdown().await;
}

#[tokio::test]
async fn what_was_settled_beyond_an_order_that_waits_is_not_handled_again_after_a_restart() {
    let (broker, shop) = (broker(1).await, Shop::new());
    write(&broker, 0, &entries(0..70));
    let waits = book(|number| if number == 0 { Ok(Outcome::Retry(Duration::from_secs(600))) } else { done(number) });
    let builder = InventoryConsumer::builder(&config(&broker)).store(shop.store()).handler(waits);
    let consumer = builder.concurrency(Concurrency::PerKey(8)).build().await.unwrap();
    let control = consumer.control();
    let run = tokio::spawn(consumer.run(std::future::pending()));
    settled(&control, 60).await;
    run.abort();
    assert!(run.await.unwrap_err().is_cancelled());
    let handler = book(done);
    let summary = settle(&broker, reopened(&shop).await, handler.clone()).await.unwrap();
    assert_eq!((summary.applied, handler.calls.load(Ordering::Relaxed)), (10, 10));
    assert_booked(&broker, &shop.path(), 0..70).await;
    broker.shutdown().await;
}

/// Notes which try it is of order 0, and never gets it done.
#[derive(Clone, Default)]
struct Tries(Arc<Mutex<Vec<u32>>>);

impl StoreHandler<InventoryOrder> for Tries {
    async fn handle(&self, order: Delivered<InventoryOrder>, _: &mut Overlay) -> Result<Outcome, Failure> {
        if crate::number(&order) != 0 {
            return Ok(Outcome::Done);
        }
        self.0.lock().unwrap().push(order.attempt());
        Ok(Outcome::Retry(Duration::from_secs(if order.attempt().is_multiple_of(2) { 3_600 } else { 0 })))
    }
}

#[tokio::test]
async fn a_restart_goes_on_counting_the_tries_of_an_order_whose_store_has_a_handler() {
    let (broker, shop, tries) = (broker(1).await, Shop::new(), Tries::default());
    write(&broker, 0, &entries(0..7));
    let settings = [("handler.retry.attempts", "5"), ("handler.retry.total.ms", "86400000")];
    let settings = settings.into_iter().fold(config(&broker), |config, (key, value)| config.set(key, value).unwrap());
    // One run that is stopped, one that is killed when it has committed.
    for (tried, is_killed) in [(2, false), (4, true)] {
        let builder = InventoryConsumer::builder(&settings).store(reopened(&shop).await).handler(tries.clone());
        let consumer = builder.concurrency(Concurrency::PerKey(8)).build().await.unwrap();
        let control = consumer.control();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let run = tokio::spawn(consumer.run(async { drop(stopped.await) }));
        until_async("it waits", SOON, async || (tries.0.lock().unwrap().len() == tried).then_some(())).await;
        settled(&control, if tried == 2 { 6 } else { 0 }).await;
        if is_killed {
            let note = format!(" tried 0x{tried}@");
            let told = || broker.committed_text("inventory", TOPIC, 0).is_some_and(|text| text.contains(&note));
            until_async("it is told", SOON, async || told().then_some(())).await;
            run.abort();
            assert!(run.await.unwrap_err().is_cancelled());
        } else {
            stop.send(()).unwrap();
            tokio::time::timeout(SOON, run).await.unwrap().unwrap().unwrap();
        }
    }
    let builder = InventoryConsumer::builder(&settings).store(reopened(&shop).await).handler(tries.clone());
    let last = builder.limit(1).build().await.unwrap().run(std::future::pending());
    assert_eq!(tokio::time::timeout(SOON, last).await.expect("the tries end").unwrap().dead_letters, 1);
    assert_eq!(*tries.0.lock().unwrap(), [1, 2, 3, 4, 5]);
    let letter = letters(&shop.path()).await.remove(0);
    assert_eq!((&*letter.code, letter.attempts, letter.offset), ("HND-EXHAUSTED", 5, Some(0)));
    shop.assert_holds(6, 0).await;
    broker.shutdown().await;
}

#[tokio::test]
async fn what_a_handler_refuses_or_rejects_is_recorded_with_the_position_and_adds_nothing() {
    let (broker, shop) = (broker(1).await, Shop::new());
    let mut orders = entries(0..30);
    orders[5].value = Some(b"not JSON".to_vec());
    write(&broker, 0, &orders);
    let handler = book(|number| match number {
        3 => Ok(Outcome::Refuse("SHP-TOO-FAR".into())),
        7 => Ok(Outcome::Reject("no such street".into())),
        9 => Err(Failure::permanent("the parcel is gone")),
        number => done(number),
    });
    let summary = settle(&broker, shop.store(), handler).await.unwrap();
    assert_eq!((summary.applied, summary.refused, summary.dead_letters), (26, 1, 3));
    let letters = letters(&shop.path()).await;
    let mut causes: Vec<_> = letters.iter().map(|letter| (letter.offset.unwrap(), letter.code.as_str())).collect();
    causes.sort_unstable();
    assert_eq!(causes, [(3, "SHP-TOO-FAR"), (5, "ORD-JSON"), (7, "HND-REJECTED"), (9, "HND-PERMANENT")]);
    let bookings: BTreeSet<String> = rows(&shop.path(), BOOKINGS).await.into_keys().collect();
    let mut left = all(0..30);
    left.retain(|number| !["3", "5", "7", "9"].contains(&number.as_str()));
    assert_eq!(bookings, left);
    assert_eq!(read(&broker, "inventory_orders-dlt", 0).len(), 3);
    shop.assert_holds(26, 0).await;
    broker.shutdown().await;
}

#[tokio::test]
async fn a_store_that_fails_or_loses_its_answer_is_given_the_same_again() {
    let (broker, shop) = (broker(2).await, Shop::new());
    write(&broker, 0, &entries(0..150));
    write(&broker, 1, &entries(150..300));
    let store = FaultyStore::new(shop.store());
    store.fail([Fault::Fail, Fault::LoseAnswer, Fault::Fail, Fault::LoseAnswer, Fault::Overtake]);
    settle(&broker, store.clone(), book(done)).await.unwrap();
    assert!(store.is_done());
    assert_booked(&broker, &shop.path(), 0..300).await;
    // Whoever set the position dropped what was settled beyond it: some come again, and are known.
    let audit = audit(&shop.path()).await;
    assert!(audit.holds && audit.counts.applied == 300, "{audit:?}");
    broker.shutdown().await;
}

#[tokio::test]
async fn a_store_that_has_stopped_ends_the_run_with_its_error_and_nothing_is_lost() {
    let (broker, shop) = (broker(2).await, Shop::new());
    write(&broker, 0, &entries(0..50));
    write(&broker, 1, &entries(50..100));
    let store = FaultyStore::new(shop.store());
    store.fail([Fault::Break]);
    let error = settle(&broker, store, book(done)).await.unwrap_err();
    assert!(error.code() == ErrorCode::StoreIo && error.to_string().contains("the store has stopped"), "{error}");
    settle(&broker, reopened(&shop).await, book(done)).await.unwrap();
    assert_booked(&broker, &shop.path(), 0..100).await;
    shop.assert_holds(100, 0).await;
    broker.shutdown().await;
}

/// The store, once the thread of a run that was cut short has let go of it.
pub(crate) async fn reopened(shop: &Shop) -> RedbInventory {
    until_async("the store is free", SOON, async || match RedbInventory::open(shop.path(), "inventory") {
        Err(error) if error.code() == ErrorCode::StoreLocked => None,
        opened => Some(opened.unwrap()),
    })
    .await
}

#[tokio::test]
async fn a_run_that_is_cut_short_anywhere_leaves_each_effect_and_what_was_added_once() {
    let (broker, shop, mut seed) = (broker(2).await, Shop::new(), 0x6f77_6e31_u64);
    println!("seed {seed:#x}");
    let mut random = |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    write(&broker, 0, &entries(0..400));
    write(&broker, 1, &entries(400..800));
    for _ in 0..10 {
        let store = FaultyStore::new(reopened(&shop).await);
        store.fail((0..random(4)).map(|_| if random(2) == 0 { Fault::LoseAnswer } else { Fault::Fail }));
        let (few, handler) = (random(90), book(done));
        let builder = InventoryConsumer::builder(&config(&broker)).store(store).handler(handler.clone());
        let consumer = builder.concurrency(Concurrency::PerKey(8)).build().await.unwrap();
        let run = tokio::spawn(consumer.run(std::future::pending()));
        let look = async || (handler.calls.load(Ordering::Relaxed) >= few).then_some(());
        let _ = tokio::time::timeout(Duration::from_millis(500), until_async("some are handled", SOON, look)).await;
        run.abort();
        assert!(run.await.unwrap_err().is_cancelled());
    }
    settle(&broker, reopened(&shop).await, book(done)).await.unwrap();
    assert_booked(&broker, &shop.path(), 0..800).await;
    shop.assert_holds(800, 0).await;
    broker.shutdown().await;
}
