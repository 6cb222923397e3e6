//! Replays that a handler is asked about first, in any store.

use std::sync::Arc;

use orderflow::order::{InventoryOrder, Order};
use orderflow::store::{
    ALL_SHARDS, DeadLetter, DeadLetterKind, DeadLetterRow, DeadLetterState, EventId, Operation, Original, Outcome,
    Overlay, Position, Query, Rehearsal, ReplayRow, Replayed, Replays, Reply, Requested, Row, Said, Start, Store, Text,
    Tidings, Work,
};

use super::super::{Home, batch, entry, movement, numbered, outcomes, part, topic};
use super::events::everything;

fn order(quantity: u32) -> InventoryOrder {
    InventoryOrder::new("97537", "p", quantity, "5/30/2023").unwrap()
}

/// An order that its handler has rejected.
fn rejected(quantity: u32) -> Work<InventoryOrder> {
    let mut value = Vec::new();
    order(quantity).encode(&mut value);
    let original = Original { key: Some(b"p".as_slice().into()), value: Some(value.into()), headers: Vec::new() };
    let reason = "the handler rejects the order: no such street".to_owned();
    Work::DeadLetter(DeadLetter { code: "HND-REJECTED".into(), reason, attempts: 1, original })
}

fn added(value: &str) -> Box<Overlay> {
    let mut overlay = Overlay::default();
    overlay.put("bookings", "97537", value).emit("booked", "97537", value);
    Box::new(overlay)
}

fn replays<S: Store<InventoryOrder>>(store: &S) -> Arc<dyn Replays> {
    store.back_office().unwrap().replays().unwrap()
}

/// A store whose consumer has a handler, with as many rejected orders: where it stands, and their names.
async fn set_aside<H: Home>(home: &H, orders: u64) -> (H::Inventory, Position, Vec<EventId>) {
    let store = home.open().await;
    replays(&store).set_handled(true).await.unwrap();
    let failing = (0..orders).map(|n| entry(n as i64, numbered(1, n), rejected(5))).collect();
    let at = store.apply(batch(part(0, &Position::default(), failing))).await.unwrap().parts[0].position.clone();
    let mut letters = letters(home, &store).await;
    letters.sort_by_key(|letter| letter.offset);
    let ids = letters.iter().map(|letter| letter.id).collect();
    (store, at, ids)
}

async fn letters<H: Home>(home: &H, store: &H::Inventory) -> Vec<DeadLetterRow> {
    let rows = home.reader(store).await.ask(Query::DeadLetters { all: true }).rows().await.unwrap();
    rows.into_iter().filter_map(|row| if let Row::DeadLetter(row) = row { Some(row) } else { None }).collect()
}

async fn letter<H: Home>(home: &H, store: &H::Inventory, id: EventId) -> DeadLetterRow {
    letters(home, store).await.into_iter().find(|letter| letter.id == id).unwrap()
}

async fn operate<S: Store<InventoryOrder>>(store: &S, operation: Operation) -> Vec<ReplayRow> {
    let rows = store.back_office().unwrap().operate(operation).await.unwrap();
    rows.into_iter().map(|row| if let Row::Replayed(row) = row { row } else { panic!("{row:?}") }).collect()
}

async fn replay<S: Store<InventoryOrder>>(store: &S, ids: &[EventId]) -> Vec<Replayed> {
    let operation = Operation::Replay { ids: ids.to_vec(), rehearsal: Rehearsal::Real };
    operate(store, operation).await.into_iter().map(|row| row.did).collect()
}

async fn requested<S: Store<InventoryOrder>>(store: &S) -> Vec<Requested> {
    replays(store).requested(&[], 100).await.unwrap()
}

async fn settle<S: Store<InventoryOrder>>(store: &S, row: &Requested, said: Said) -> Replayed {
    let reply = Reply { id: row.id, request: row.request, tries: 1, said };
    replays(store).settle(reply).await.unwrap().did
}

async fn stock<H: Home>(home: &H, store: &H::Inventory) -> i64 {
    let rows = home.reader(store).await.ask(Query::Stock { products: Vec::new() }).rows().await.unwrap();
    rows.iter().map(|row| if let Row::Stock(row) = row { row.stock } else { panic!("{row:?}") }).sum()
}

/// The handler's own rows, and its events.
async fn added_by<H: Home>(home: &H, store: &H::Inventory) -> (Vec<Text>, Vec<Vec<u8>>) {
    let rows = home.reader(store).await.ask(Query::Own { table: "bookings".into() }).rows().await.unwrap();
    let rows = rows.into_iter().filter_map(|row| if let Row::Own(row) = row { Some(row.value) } else { None });
    let events = everything(&*store.back_office().unwrap(), ALL_SHARDS).await.into_iter();
    let own = events.filter_map(|event| if let Tidings::Own(own) = event.tidings { Some(own.value) } else { None });
    (rows.collect(), own.collect())
}

fn once(value: &str) -> (Vec<Text>, Vec<Vec<u8>>) {
    (vec![Text::Plain(value.to_owned())], vec![value.as_bytes().to_vec()])
}

async fn holds<H: Home>(home: &H, store: &H::Inventory) {
    match home.reader(store).await.ask(Query::Verify).rows().await.unwrap().as_slice() {
        [Row::Audit(audit)] => assert!(audit.holds, "{audit:?}"),
        other => panic!("{other:?}"),
    }
}

pub async fn where_a_handler_is_asked_first_a_replay_marks_its_row_and_a_second_one_changes_nothing<H: Home>() {
    let home = H::new().await;
    let (store, _, ids) = set_aside(&home, 2).await;
    store.close().await.unwrap();
    // No consumer is there: the store remembers that it has a handler.
    let store = home.open().await;
    let plan = Operation::Replay { ids: ids.clone(), rehearsal: Rehearsal::Plan };
    let planned = operate(&store, plan).await;
    assert!(planned.iter().all(|row| row.did == Replayed::Apply && row.reason.contains("handler")), "{planned:?}");
    assert!(requested(&store).await.is_empty(), "a plan changes nothing");
    assert_eq!(replay(&store, &ids[..1]).await, [Replayed::Request]);
    let page = requested(&store).await;
    assert_eq!(page.len(), 1);
    let row = &page[0];
    assert_eq!((row.id, &row.topic, row.partition, row.offset), (ids[0], &topic(), 0, 0));
    assert_eq!((&row.identity, row.original.key.as_deref()), (&numbered(1, 0), Some(&b"p"[..])));
    assert_eq!(replay(&store, &[ids[0], EventId::new([9; 16])]).await, [Replayed::Request, Replayed::Fail]);
    assert_eq!(requested(&store).await, page, "the request is the same one");
    let told = letter(&home, &store, ids[0]).await;
    assert_eq!((told.state, told.attempts, told.replayed), (DeadLetterState::Open, 1, true));
    assert!(!letter(&home, &store, ids[1]).await.replayed);
    assert_eq!(stock(&home, &store).await, 0, "nothing is applied before the handler was asked");
    assert!(replays(&store).requested(&ids[..1], 100).await.unwrap().is_empty(), "what is in hand is not given again");
    store.close().await.unwrap();
    // A consumer without a handler: the store does it itself, what is requested too.
    let store = home.open().await;
    assert_eq!(requested(&store).await, page);
    replays(&store).set_handled(false).await.unwrap();
    assert_eq!(replay(&store, &ids).await, [Replayed::Apply, Replayed::Apply]);
    assert!(requested(&store).await.is_empty());
    assert_eq!(stock(&home, &store).await, 10);
    holds(&home, &store).await;
    store.close().await.unwrap();
}

pub async fn what_a_handler_adds_to_a_replay_enters_once_with_the_effect_and_no_position_moves<H: Home>() {
    let home = H::new().await;
    let (store, at, ids) = set_aside(&home, 1).await;
    replay(&store, &ids).await;
    let row = requested(&store).await.remove(0);
    assert_eq!(settle(&store, &row, Said::Done(added("first"))).await, Replayed::Apply);
    // The answer was lost: the same again.
    assert_eq!(settle(&store, &row, Said::Done(added("second"))).await, Replayed::Duplicate);
    store.close().await.unwrap();
    let store = home.open().await;
    assert_eq!(settle(&store, &row, Said::Done(added("third"))).await, Replayed::Duplicate);
    assert_eq!(replay(&store, &ids).await, [Replayed::Duplicate]);
    assert!(requested(&store).await.is_empty());
    assert_eq!((stock(&home, &store).await, added_by(&home, &store).await), (5, once("first")));
    assert_eq!(store.positions(&topic()).await.unwrap()[&0], at, "no position of the log has moved");
    let closed = letter(&home, &store, ids[0]).await;
    assert_eq!((closed.state, closed.replayed), (DeadLetterState::Replayed, true));
    let copy = vec![entry(1, numbered(1, 0), movement("p", 5))];
    let applied = store.apply(batch(part(0, &at, copy))).await.unwrap();
    assert_eq!(outcomes(&applied), [Outcome::Duplicate], "the identity is in the set");
    holds(&home, &store).await;
    store.close().await.unwrap();
}

pub async fn a_requested_row_that_fails_again_is_open_with_its_tries_counted_and_its_origin_kept<H: Home>() {
    let home = H::new().await;
    let (store, at, ids) = set_aside(&home, 1).await;
    let before = letter(&home, &store, ids[0]).await;
    replay(&store, &ids).await;
    let row = requested(&store).await.remove(0);
    let said = Said::SetAside("HND-EXHAUSTED".into(), "the carrier is away".to_owned());
    let failed = replays(&store).settle(Reply { id: ids[0], request: row.request, tries: 3, said }).await.unwrap();
    assert_eq!((failed.did, failed.reason.as_str()), (Replayed::Fail, "HND-EXHAUSTED: the carrier is away"));
    let after = letter(&home, &store, ids[0]).await;
    assert_eq!((after.state, after.kind, after.attempts), (DeadLetterState::Open, DeadLetterKind::DeadLetter, 4));
    assert_eq!((after.code.as_str(), after.replayed), ("HND-EXHAUSTED", false));
    assert_eq!((after.offset, after.first_failed), (before.offset, before.first_failed));
    assert!(requested(&store).await.is_empty(), "somebody has to ask for it again");

    // The business says no: an effect, whose copies are duplicates, and which may be replayed.
    assert_eq!(replay(&store, &ids).await, [Replayed::Request]);
    let row = requested(&store).await.remove(0);
    assert_eq!(settle(&store, &row, Said::Refuse("SHP-TOO-FAR".into())).await, Replayed::Fail);
    let refused = letter(&home, &store, ids[0]).await;
    assert_eq!((refused.kind, refused.code.as_str(), refused.attempts), (DeadLetterKind::Refused, "SHP-TOO-FAR", 5));
    let copy = vec![entry(1, numbered(1, 0), movement("p", 5))];
    let applied = store.apply(batch(part(0, &at, copy))).await.unwrap();
    assert_eq!(outcomes(&applied), [Outcome::Duplicate]);
    assert_eq!((stock(&home, &store).await, added_by(&home, &store).await), (0, (vec![], vec![])));
    assert_eq!(replay(&store, &ids).await, [Replayed::Request]);
    let row = requested(&store).await.remove(0);
    assert_eq!(settle(&store, &row, Said::Done(added("at last"))).await, Replayed::Apply);
    assert_eq!((stock(&home, &store).await, added_by(&home, &store).await), (5, once("at last")));
    holds(&home, &store).await;
    store.close().await.unwrap();
}

pub async fn a_copy_by_the_log_that_applies_first_takes_the_request_with_it<H: Home>() {
    let home = H::new().await;
    let (store, at, ids) = set_aside(&home, 1).await;
    replay(&store, &ids).await;
    let row = requested(&store).await.remove(0);
    // A copy that fails leaves the request where it is.
    let failing = vec![entry(1, numbered(1, 0), rejected(5))];
    let at = store.apply(batch(part(0, &at, failing))).await.unwrap().parts[0].position.clone();
    assert_eq!(requested(&store).await.len(), 1);
    let copy = vec![entry(2, numbered(1, 0), movement("p", 5))];
    let applied = store.apply(batch(part(0, &at, copy))).await.unwrap();
    assert_eq!(outcomes(&applied), [Outcome::Applied]);
    assert!(requested(&store).await.is_empty());
    let resolved = letter(&home, &store, ids[0]).await;
    assert_eq!((resolved.state, resolved.replayed, resolved.attempts), (DeadLetterState::Resolved, false, 2));
    assert_eq!(settle(&store, &row, Said::Done(added("too late"))).await, Replayed::Duplicate);
    assert_eq!(replay(&store, &ids).await, [Replayed::Duplicate]);
    assert_eq!((stock(&home, &store).await, added_by(&home, &store).await), (5, (vec![], vec![])));
    holds(&home, &store).await;
    store.close().await.unwrap();
}

pub async fn a_row_that_opens_again_is_not_requested_any_more<H: Home>() {
    let home = H::new().await;
    let store = home.open().await;
    replays(&store).set_handled(true).await.unwrap();
    let back = async |at: &Position, token| {
        let reason = "to read it again".to_owned();
        let start = Start { partition: 0, expected: at.version, token, next: 0, leader_epoch: -1, reason };
        store.set_position(&topic(), start).await.unwrap()
    };
    let settle = async |at: &Position, work| {
        store.apply(batch(part(0, at, vec![entry(0, None, work)]))).await.unwrap().parts[0].position.clone()
    };
    let at = settle(&Position::default(), rejected(5)).await;
    let id = letters(&home, &store).await[0].id;
    assert_eq!(replay(&store, &[id]).await, [Replayed::Request]);
    // It has no identity: the record at its place applies, and then fails.
    let at = settle(&back(&at, 5).await, movement("p", 5)).await;
    assert_eq!(letter(&home, &store, id).await.state, DeadLetterState::Resolved);
    settle(&back(&at, 6).await, rejected(5)).await;
    let open = letter(&home, &store, id).await;
    assert_eq!((open.state, open.replayed), (DeadLetterState::Open, false));
    assert!(requested(&store).await.is_empty());
    store.close().await.unwrap();
}

pub async fn of_several_that_ask_about_one_row_one_settles_it<H: Home>() {
    let home = H::new().await;
    let (store, _, ids) = set_aside(&home, 4).await;
    replay(&store, &ids).await;
    let rows = requested(&store).await;
    assert_eq!(rows.iter().map(|row| row.offset).collect::<Vec<_>>(), [0, 1, 2, 3], "in the order of their log");
    for row in &rows {
        let said = || Said::Done(added("one"));
        let (one, two, three) =
            tokio::join!(settle(&store, row, said()), settle(&store, row, said()), settle(&store, row, said()));
        let applied = [one, two, three].iter().filter(|did| **did == Replayed::Apply).count();
        assert_eq!(applied, 1, "{one:?} {two:?} {three:?}");
    }
    let (bookings, events) = added_by(&home, &store).await;
    assert_eq!((stock(&home, &store).await, bookings.len(), events.len()), (20, 1, 4));
    holds(&home, &store).await;
    store.close().await.unwrap();
}

pub async fn a_mended_value_waits_with_its_request_and_an_answer_about_the_earlier_value_is_void<H: Home>() {
    let home = H::new().await;
    let (store, _, ids) = set_aside(&home, 1).await;
    replay(&store, &ids).await;
    let earlier = requested(&store).await.remove(0);
    let mut value = Vec::new();
    order(7).encode(&mut value);
    let fix = Operation::Fix { id: ids[0], value: Text::of(&value) };
    assert_eq!(operate(&store, fix.clone()).await[0].did, Replayed::Request);
    assert_eq!(settle(&store, &earlier, Said::Done(added("earlier"))).await, Replayed::Duplicate);
    let row = requested(&store).await.remove(0);
    assert_eq!(row.mended.as_deref(), Some(&value[..]));
    // Neither the same once more nor a plain replay is another request.
    operate(&store, fix).await;
    assert_eq!(replay(&store, &ids).await, [Replayed::Request]);
    assert_eq!(requested(&store).await, std::slice::from_ref(&row));
    assert_eq!(settle(&store, &row, Said::Done(added("mended"))).await, Replayed::Apply);
    assert_eq!((stock(&home, &store).await, added_by(&home, &store).await), (7, once("mended")));
    holds(&home, &store).await;
    store.close().await.unwrap();
}

pub async fn a_row_that_is_discarded_is_requested_no_more<H: Home>() {
    let home = H::new().await;
    let (store, _, ids) = set_aside(&home, 1).await;
    replay(&store, &ids).await;
    let row = requested(&store).await.remove(0);
    let discard = Operation::Discard { id: ids[0], reason: "it was ordered again".to_owned() };
    assert_eq!(operate(&store, discard).await[0].did, Replayed::Discard);
    assert!(requested(&store).await.is_empty());
    assert_eq!(settle(&store, &row, Said::Done(added("late"))).await, Replayed::Duplicate);
    let closed = letter(&home, &store, ids[0]).await;
    assert_eq!((closed.state, closed.replayed), (DeadLetterState::Discarded, false));
    assert_eq!((stock(&home, &store).await, added_by(&home, &store).await), (0, (vec![], vec![])));
    store.close().await.unwrap();
}
