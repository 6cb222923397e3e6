//! Replays where the store's consumer has a handler: it is asked about each requested row, and what it adds enters once.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use orderflow::cluster::Cluster;
use orderflow::cluster::admin::groups::describe_group;
use orderflow::consumer::{
    Concurrency, Control, Delivered, Failure, InventoryConsumer, Outcome, StoreHandler, Summary,
};
use orderflow::order::InventoryOrder;
use orderflow::store::{
    DeadLetterRow, DeadLetterState, EventId, Operation, Overlay, Rehearsal, Replayed, Row, Store, StoreOperator, Text,
};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::consumer_support::*;
use crate::in_store::{BOOKINGS, book, booked, done, letters, reopened, rows, settle};
use crate::support::wait::until_async;
use crate::{DevBroker, Duration};

/// A broker with seven orders, one of each product, and a store in which the last few were rejected.
async fn set_aside(rejected: u64) -> (DevBroker, Shop, Vec<EventId>) {
    let (broker, shop) = (broker(1).await, Shop::new());
    write(&broker, 0, &entries(0..7));
    let rejecting =
        book(move |n| if n >= 7 - rejected { Ok(Outcome::Reject("no such street".into())) } else { done(n) });
    let summary = settle(&broker, shop.store(), rejecting).await.unwrap();
    assert_eq!((summary.applied, summary.dead_letters), (7 - rejected, rejected));
    let ids = open(&shop.path()).await.iter().map(|letter| letter.id).collect();
    (broker, shop, ids)
}

/// Those that are open, in the order of the log.
async fn open(path: &Path) -> Vec<DeadLetterRow> {
    let mut letters = letters(path).await;
    letters.retain(|letter| letter.state == DeadLetterState::Open);
    letters.sort_by_key(|letter| letter.offset);
    letters
}

async fn operate(path: &Path, operation: Operation) -> Vec<(Replayed, String)> {
    let operator = StoreOperator::open(path).await.unwrap();
    let rows = operator.operate(operation).await.unwrap();
    operator.close().await.unwrap();
    rows.into_iter().map(|row| if let Row::Replayed(row) = row { (row.did, row.reason) } else { panic!() }).collect()
}

async fn replay(path: &Path, ids: &[EventId]) -> Vec<Replayed> {
    let operation = Operation::Replay { ids: ids.to_vec(), rehearsal: Rehearsal::Real };
    operate(path, operation).await.into_iter().map(|(did, _)| did).collect()
}

async fn run<S: Store<InventoryOrder>>(
    broker: &DevBroker,
    store: S,
    handler: impl StoreHandler<InventoryOrder>,
) -> (Control, JoinHandle<orderflow::Result<Summary>>) {
    let builder = InventoryConsumer::builder(&config(broker)).store(store).handler(handler);
    let consumer = builder.concurrency(Concurrency::PerKey(8)).build().await.unwrap();
    (consumer.control(), tokio::spawn(consumer.run(std::future::pending())))
}

async fn until_none_is_open(path: &Path) {
    until_async("none is open", SOON, async || open(path).await.is_empty().then_some(())).await;
}

async fn end(control: &Control, run: JoinHandle<orderflow::Result<Summary>>) {
    control.drain();
    tokio::time::timeout(SOON, run).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn a_replay_asks_the_handler_and_what_it_adds_enters_with_the_effect_once() {
    let (broker, shop, ids) = set_aside(3).await;
    let (path, handler) = (shop.path(), book(done));
    let (control, running) = run(&broker, shop.store(), handler.clone()).await;
    let asked = operate(&path, Operation::Replay { ids: ids.clone(), rehearsal: Rehearsal::Real }).await;
    assert!(asked.iter().all(|(did, reason)| *did == Replayed::Request && reason.contains("running")), "{asked:?}");
    until_none_is_open(&path).await;
    assert_eq!(replay(&path, &ids).await, [Replayed::Duplicate; 3], "a second one does nothing");
    assert_eq!(control.lag().first().map(|lag| lag.position), Some(7));
    end(&control, running).await;
    assert_eq!(handler.calls.load(Ordering::Relaxed), 3, "each row is asked about once");
    assert_eq!((rows(&path, BOOKINGS).await.len(), booked(&broker).len()), (7, 7));
    // Its copy in the log is a duplicate.
    write(&broker, 0, &entries(6..7));
    assert_eq!(settle(&broker, shop.store(), book(done)).await.unwrap().duplicates, 1);
    assert_eq!((rows(&path, BOOKINGS).await.len(), booked(&broker).len()), (7, 7));
    shop.assert_holds(7, 1).await;
    broker.shutdown().await;
}

#[tokio::test]
async fn what_is_requested_while_no_consumer_runs_is_applied_by_the_next_one() {
    let (broker, shop, ids) = set_aside(2).await;
    let path = shop.path();
    let plan = Operation::Replay { ids: ids.clone(), rehearsal: Rehearsal::Plan };
    let planned = operate(&path, plan).await;
    assert!(planned.iter().all(|(did, reason)| *did == Replayed::Apply && reason.contains("handler")), "{planned:?}");
    let asked = operate(&path, Operation::Replay { ids: ids.clone(), rehearsal: Rehearsal::Real }).await;
    assert!(asked.iter().all(|(did, reason)| *did == Replayed::Request && reason.contains("as soon as it runs")));
    let listed = open(&path).await;
    assert!(listed.iter().all(|letter| letter.replayed && letter.attempts == 1), "{listed:?}");
    assert_eq!(rows(&path, BOOKINGS).await.len(), 5, "the store does not apply it alone");
    // A run until the end waits for what is requested, longer than it takes to reach the end.
    let away = Arc::new(Mutex::new(Some(Duration::from_secs(1))));
    let handler = book(move |n| away.lock().unwrap().take().map_or_else(|| done(n), |wait| Ok(Outcome::Retry(wait))));
    assert_eq!(settle(&broker, shop.store(), handler).await.unwrap().settled(), 0);
    assert_eq!((open(&path).await.len(), rows(&path, BOOKINGS).await.len()), (0, 7));
    assert_eq!(booked(&broker).len(), 7);
    shop.assert_holds(7, 0).await;
    broker.shutdown().await;
}

#[tokio::test]
async fn a_requested_order_is_tried_as_the_consumer_tries_its_own_and_what_fails_again_stays_open() {
    let (broker, shop, ids) = set_aside(4).await;
    let (path, tries) = (shop.path(), Arc::new(Mutex::new(0)));
    let counted = tries.clone();
    let handler = book(move |n| match n {
        3 if *counted.lock().unwrap() < 2 => {
            *counted.lock().unwrap() += 1;
            Err(Failure::retriable("the carrier is away"))
        }
        4 => Ok(Outcome::Refuse("SHP-TOO-FAR".into())),
        5 => Ok(Outcome::Reject("still no such street".into())),
        6 => panic!("the handler cannot stand it"),
        n => done(n),
    });
    let before = open(&path).await;
    assert_eq!(replay(&path, &ids).await, [Replayed::Request; 4]);
    settle(&broker, shop.store(), handler.clone()).await.unwrap();
    let after = open(&path).await;
    let causes: Vec<_> = after.iter().map(|letter| (letter.offset.unwrap(), &*letter.code, letter.attempts)).collect();
    assert_eq!(causes, [(4, "SHP-TOO-FAR", 2), (5, "HND-REJECTED", 2), (6, "HND-PERMANENT", 2)]);
    assert!(after.iter().all(|letter| !letter.replayed), "{after:?}");
    let first = |rows: &[DeadLetterRow]| rows.iter().map(|row| row.first_failed.clone()).collect::<Vec<_>>();
    assert_eq!(first(&after), first(&before[1..]));
    assert_eq!((*tries.lock().unwrap(), handler.calls.load(Ordering::Relaxed)), (2, 6));
    assert_eq!(rows(&path, BOOKINGS).await.len(), 4);
    // The tries of one request add up.
    let away = book(|n| if n == 5 { Err(Failure::retriable("the carrier is away")) } else { done(n) });
    assert_eq!(replay(&path, &ids[1..]).await, [Replayed::Request; 3]);
    let few = config(&broker).set("handler.retry.attempts", "3").unwrap();
    let consumer =
        InventoryConsumer::builder(&few).store(shop.store()).handler(away).until_end().build().await.unwrap();
    tokio::time::timeout(SOON, consumer.run(std::future::pending())).await.unwrap().unwrap();
    let left = open(&path).await;
    assert_eq!(left.len(), 1);
    assert_eq!((left[0].offset, &*left[0].code, left[0].attempts), (Some(5), "HND-EXHAUSTED", 5));
    assert_eq!((rows(&path, BOOKINGS).await.len(), booked(&broker).len()), (6, 6));
    broker.shutdown().await;
}

#[tokio::test]
async fn a_copy_that_the_log_brings_first_closes_the_row_and_the_handlers_answer_adds_nothing() {
    let (broker, shop, ids) = set_aside(1).await;
    let (path, gate) = (shop.path(), Gate::behind(7));
    let (control, running) = run(&broker, shop.store(), gate.clone()).await;
    assert_eq!(replay(&path, &ids).await, [Replayed::Request]);
    until_async("the handler is asked", SOON, async || (gate.asked() == 1).then_some(())).await;
    // The copy brings another booking under another key of the log, and is not held up.
    write(&broker, 0, &entries(6..7));
    until_none_is_open(&path).await;
    let resolved = letters(&path).await.remove(0);
    assert_eq!((resolved.state, resolved.replayed), (DeadLetterState::Resolved, false));
    gate.open.send_replace(true);
    end(&control, running).await;
    assert_eq!(gate.asked(), 2);
    let bookings = rows(&path, BOOKINGS).await;
    assert_eq!((bookings.len(), bookings["6"].as_str()), (7, "by the log"));
    shop.assert_holds(7, 0).await;
    broker.shutdown().await;
}

#[tokio::test]
async fn no_row_is_asked_about_twice_at_once_and_rows_of_one_key_one_after_the_other() {
    let (broker, shop) = (broker(1).await, Shop::new());
    // Seven products, three orders each.
    write(&broker, 0, &entries(0..21));
    let rejecting = book(|_| Ok(Outcome::Reject("closed".into())));
    let patient = config(&broker).set("breaker.consecutive", "1000").unwrap().set("breaker.ratio", "100").unwrap();
    let builder = InventoryConsumer::builder(&patient).store(shop.store()).handler(rejecting).until_end();
    let consumer = builder.build().await.unwrap();
    tokio::time::timeout(SOON, consumer.run(std::future::pending())).await.unwrap().unwrap();
    let (path, gate) = (shop.path(), Gate::behind(21));
    let ids: Vec<EventId> = open(&path).await.iter().map(|letter| letter.id).collect();
    assert_eq!(ids.len(), 21);
    let (control, running) = run(&broker, shop.store(), gate.clone()).await;
    replay(&path, &ids).await;
    until_async("one of each key is asked about", SOON, async || (gate.asked() == 7).then_some(())).await;
    // News has it look again.
    for _ in 0..3 {
        replay(&path, &ids).await;
    }
    assert_eq!(gate.asked(), 7);
    gate.open.send_replace(true);
    until_none_is_open(&path).await;
    end(&control, running).await;
    assert_eq!(gate.asked(), 21);
    shop.assert_holds(21, 0).await;
    broker.shutdown().await;
}

#[tokio::test]
async fn a_run_that_is_cut_short_amid_replays_leaves_each_effect_and_what_was_added_once() {
    let (broker, shop, ids) = set_aside(7).await;
    let path = shop.path();
    assert_eq!(replay(&path, &ids).await, [Replayed::Request; 7]);
    for few in [0, 1, 3, 5] {
        let handler = book(done);
        let (_, running) = run(&broker, reopened(&shop).await, handler.clone()).await;
        let look = async || (handler.calls.load(Ordering::Relaxed) >= few).then_some(());
        let _ = tokio::time::timeout(Duration::from_millis(300), until_async("some are asked", SOON, look)).await;
        running.abort();
        assert!(running.await.unwrap_err().is_cancelled());
    }
    settle(&broker, reopened(&shop).await, book(done)).await.unwrap();
    assert_eq!((open(&path).await.len(), rows(&path, BOOKINGS).await.len()), (0, 7));
    assert_eq!(booked(&broker).len(), 7);
    shop.assert_holds(7, 0).await;
    broker.shutdown().await;
}

#[tokio::test]
async fn a_stop_lets_the_call_about_a_requested_row_end_and_leaves_the_others_requested() {
    let (broker, shop, ids) = set_aside(2).await;
    let (path, gate) = (shop.path(), Gate::behind(7));
    let builder = InventoryConsumer::builder(&config(&broker)).store(shop.store()).handler(gate.clone());
    let consumer = builder.build().await.unwrap();
    let control = consumer.control();
    let running = tokio::spawn(consumer.run(std::future::pending()));
    replay(&path, &ids).await;
    until_async("the handler is asked", SOON, async || (gate.asked() == 1).then_some(())).await;
    control.drain();
    let cluster = Cluster::connect(&broker.config()).await.unwrap();
    let gone = async || describe_group(&cluster, "inventory").await.unwrap().members.is_empty().then_some(());
    until_async("the run has left its group", SOON, gone).await;
    cluster.close().await;
    gate.open.send_replace(true);
    tokio::time::timeout(SOON, running).await.unwrap().unwrap().unwrap();
    let left = open(&path).await;
    assert_eq!((left.len(), left[0].replayed, gate.asked()), (1, true, 1));
    settle(&broker, shop.store(), book(done)).await.unwrap();
    assert_eq!((open(&path).await.len(), rows(&path, BOOKINGS).await.len()), (0, 7));
    broker.shutdown().await;
}

#[tokio::test]
async fn a_mended_order_is_shown_to_the_handler() {
    let (broker, shop) = (broker(1).await, Shop::new());
    let mut orders = entries(0..2);
    orders[1].value = Some(
        br#"{"order_id":"1","product_id":"p1","quantity":-5,"type":"inventory","timestamp":"5/30/2023"}"#.to_vec(),
    );
    write(&broker, 0, &orders);
    settle(&broker, shop.store(), book(done)).await.unwrap();
    let (path, id) = (shop.path(), open(&shop.path()).await[0].id);
    // As it is it breaks a rule, and the handler is not asked.
    assert_eq!(replay(&path, &[id]).await, [Replayed::Request]);
    let handler = book(done);
    settle(&broker, shop.store(), handler.clone()).await.unwrap();
    let failed = open(&path).await.remove(0);
    assert_eq!((handler.calls.load(Ordering::Relaxed), failed.attempts, failed.replayed), (0, 2, false));
    let value = r#"{"order_id":"100","product_id":"p1","quantity":5,"type":"inventory","timestamp":"5/30/2023"}"#;
    let fix = Operation::Fix { id, value: Text::Plain(value.to_owned()) };
    assert_eq!(operate(&path, fix).await[0].0, Replayed::Request);
    settle(&broker, shop.store(), handler.clone()).await.unwrap();
    assert_eq!(handler.calls.load(Ordering::Relaxed), 1);
    assert_eq!((open(&path).await.len(), rows(&path, BOOKINGS).await.contains_key("100")), (0, true));
    broker.shutdown().await;
}

#[tokio::test]
async fn a_consumer_without_a_handler_has_its_store_apply_replays_alone_again() {
    let (broker, shop, ids) = set_aside(2).await;
    let path = shop.path();
    assert_eq!(replay(&path, &ids[..1]).await, [Replayed::Request]);
    shop.settle(&config(&broker), &Log::default()).await.unwrap();
    assert_eq!(open(&path).await.len(), 2, "what was requested of the handler is left to somebody");
    assert_eq!(replay(&path, &ids).await, [Replayed::Apply; 2]);
    assert_eq!(rows(&path, BOOKINGS).await.len(), 5);
    shop.assert_holds(7, 0).await;
    broker.shutdown().await;
}

#[tokio::test]
async fn a_backup_has_what_handlers_added_and_what_is_requested() {
    let (broker, shop, ids) = set_aside(2).await;
    let (path, backup) = (shop.path(), shop.path().with_extension("copy"));
    assert_eq!(replay(&path, &ids[..1]).await, [Replayed::Request]);
    let operator = StoreOperator::open(&path).await.unwrap();
    operator.operate(Operation::Backup { to: backup.clone() }).await.unwrap();
    operator.close().await.unwrap();
    assert_eq!(rows(&backup, BOOKINGS).await, rows(&path, BOOKINGS).await);
    assert_eq!(letters(&backup).await, letters(&path).await);
    assert_eq!(open(&backup).await.iter().filter(|letter| letter.replayed).count(), 1);
    assert_eq!(replay(&backup, &ids).await, [Replayed::Request; 2], "the copy knows of the handler");
    broker.shutdown().await;
}

/// Answers about a record of the log at once, and about a row that the log had passed once it is open.
#[derive(Clone)]
struct Gate {
    passed: i64,
    calls: Arc<Mutex<usize>>,
    open: Arc<watch::Sender<bool>>,
}

impl Gate {
    fn behind(passed: i64) -> Self {
        Self { passed, calls: Arc::default(), open: Arc::new(watch::Sender::new(false)) }
    }

    fn asked(&self) -> usize {
        *self.calls.lock().unwrap()
    }
}

impl StoreHandler<InventoryOrder> for Gate {
    async fn handle(&self, order: Delivered<InventoryOrder>, overlay: &mut Overlay) -> Result<Outcome, Failure> {
        *self.calls.lock().unwrap() += 1;
        let is_replayed = order.place().offset.is_some_and(|offset| offset < self.passed);
        if is_replayed {
            self.open.subscribe().wait_for(|open| *open).await.unwrap();
        }
        overlay.put(BOOKINGS, order.value().order_id(), if is_replayed { "by a replay" } else { "by the log" });
        Ok(Outcome::Done)
    }
}
