//! Moving deliveries on any store.

use std::collections::BTreeSet;
use std::sync::Arc;

use orderflow::ErrorCode;
use orderflow::order::{DeliveryOrder, DeliveryUpdate, Identity, Order, Status};
use orderflow::place::TopicId;
use orderflow::store::{
    BackOffice, Batch, DeadLetter, DeliveryMoves, DeliveryPolicy, Entry, EventId, Operation, Original, Outcome, Part,
    Position, Query, Rehearsal, Replayed, Row, Settled, Store, StoreReader, Topic, Work,
};
use serde_json::{Value, json};

use super::super::{Home, numbered, topic};

/// When the first update happened: 2026-11-24T08:00:00Z.
const MORNING: i64 = 1_795_507_200_000;

fn updates() -> Topic {
    Topic::new(TopicId::new([8; 16]), "delivery_updates")
}

fn identity(text: &str) -> Option<Identity> {
    Some(Identity::opaque(text).unwrap())
}

/// What the delivery of the n-th order is called.
fn delivery(index: u64) -> EventId {
    EventId::of(numbered(3, index).as_ref(), &topic(), 0, 0)
}

fn update(id: EventId, status: Status, minute: i64) -> DeliveryUpdate {
    let time = chrono::DateTime::from_timestamp_millis(MORNING + minute * 60_000).unwrap().to_rfc3339();
    DeliveryUpdate::new(&id.to_string(), status, &time).unwrap()
}

fn entry<O>(offset: i64, identity: Option<Identity>, order: O) -> Entry<O> {
    // 2026-11-20 was a Friday.
    Entry { offset, timestamp: 1_795_132_800_000 + offset, identity, work: Work::Apply(order) }
}

fn batch<O>(topic: Topic, at: &Position, entries: Vec<Entry<O>>) -> Batch<O> {
    let next = entries.last().map_or(at.next, |entry| entry.offset + 1);
    let token = u128::from(at.version) + 77;
    let (expected, settled) = (at.version, Settled::new());
    Batch { topic, parts: vec![Part { partition: 0, expected, token, next, settled, leader_epoch: 0, entries }] }
}

fn ordered(index: u64) -> DeliveryOrder {
    DeliveryOrder::new(&format!("{index}"), "49466", 4, "10/14/2023").unwrap()
}

async fn schedule<S: Store<DeliveryOrder>>(store: &S, indexes: std::ops::Range<u64>) -> Vec<Outcome> {
    let at = store.positions(&topic()).await.unwrap().remove(&0).unwrap_or_default();
    let entries = indexes.zip(at.next..).map(|(index, offset)| entry(offset, numbered(3, index), ordered(index)));
    let entries = entries.collect();
    store.apply(batch(topic(), &at, entries)).await.unwrap().parts.remove(0).outcomes
}

async fn tell<S: Store<DeliveryOrder>>(store: &S, told: Vec<(Option<Identity>, DeliveryUpdate)>) -> Vec<Outcome> {
    let moves = moves(store);
    let at = moves.positions(&updates()).await.unwrap().remove(&0).unwrap_or_default();
    let entries = told.into_iter().zip(at.next..).map(|((identity, update), offset)| entry(offset, identity, update));
    let entries = entries.collect();
    moves.apply(batch(updates(), &at, entries)).await.unwrap().parts.remove(0).outcomes
}

fn office<S: Store<DeliveryOrder>>(store: &S) -> Arc<dyn BackOffice> {
    store.back_office().unwrap()
}

fn moves<S: Store<DeliveryOrder>>(store: &S) -> DeliveryMoves {
    DeliveryMoves::new(office(store).moves().unwrap())
}

async fn ask(reader: &StoreReader, query: Query) -> Vec<Value> {
    reader.ask(query).rows().await.unwrap().iter().map(Row::to_object).collect()
}

async fn deliveries(reader: &StoreReader) -> Vec<Value> {
    ask(reader, Query::Deliveries { orders: Vec::new() }).await
}

async fn statuses(reader: &StoreReader) -> Vec<String> {
    deliveries(reader).await.iter().map(|row| row["status"].as_str().unwrap().to_owned()).collect()
}

async fn audit(reader: &StoreReader) -> Value {
    ask(reader, Query::Verify).await.remove(0)
}

fn code(outcome: &Outcome) -> &str {
    match outcome {
        Outcome::Applied => "applied",
        Outcome::Duplicate => "duplicate",
        Outcome::Refused { code, .. } | Outcome::DeadLetter { code, .. } => code,
    }
}

fn codes(outcomes: &[Outcome]) -> Vec<&str> {
    outcomes.iter().map(code).collect()
}

pub async fn an_update_moves_its_delivery_once_and_what_cannot_be_is_recorded<H: Home>() {
    let home = H::new().await;
    let store = home.open_deliveries(DeliveryPolicy::default()).await;
    schedule(&store, 0..4).await;
    let reader = home.delivery_reader(&store).await;
    let (out, failed) = (update(delivery(0), Status::OutForDelivery, 0), update(delivery(0), Status::Failed, 9));
    let told = vec![
        (identity("a"), out.clone()),
        (identity("a"), out.clone()),
        (None, out.clone()),
        (identity("b"), failed.with_reason("nobody was there").unwrap()),
        (None, out),
        (identity("c"), update(delivery(1), Status::Delivered, 1)),
        (numbered(9, 0), update(delivery(9), Status::OutForDelivery, 1)),
        (numbered(9, 1), update(delivery(2), Status::Cancelled, 2)),
    ];
    let outcomes = tell(&store, told).await;
    assert_eq!(
        codes(&outcomes),
        ["applied", "duplicate", "DLV-REPEATED", "applied", "DLV-LATE", "DLV-IMPOSSIBLE", "DLV-UNKNOWN", "applied"]
    );
    let rows = deliveries(&reader).await;
    assert_eq!(statuses(&reader).await, ["failed", "scheduled", "cancelled", "scheduled"]);
    assert_eq!(
        (&rows[0]["since"], &rows[0]["reason"], &rows[1]["reason"]),
        (&json!("2026-11-24T08:09:00.000Z"), &json!("nobody was there"), &Value::Null)
    );
    let letters = ask(&reader, Query::DeadLetters { all: false }).await;
    let listed: BTreeSet<_> = letters.iter().map(|row| row["code"].as_str().unwrap()).collect();
    assert_eq!(listed, ["DLV-IMPOSSIBLE", "DLV-LATE", "DLV-REPEATED", "DLV-UNKNOWN"].into());
    assert!(letters.iter().all(|row| row["kind"] == "refused" && row["topic"] == "delivery_updates"), "{letters:?}");
    let keys: BTreeSet<_> = letters.iter().filter_map(|row| row["idempotency_key"].as_str()).collect();
    let given = numbered(9, 0).unwrap().to_string();
    assert_eq!(keys, ["c", given.as_str()].into(), "identities are shown as they were given");
    let audit = audit(&reader).await;
    assert_eq!(
        (&audit["holds"], &audit["applied"], &audit["refused"]),
        (&json!(true), &json!(7), &json!(4)),
        "{audit}"
    );
    drop(reader);
    store.close().await.unwrap();

    let store = home.open_deliveries(DeliveryPolicy::default()).await;
    let again = tell(&store, vec![(identity("b"), update(delivery(0), Status::Failed, 9))]).await;
    assert_eq!(codes(&again), ["duplicate"], "also after a restart");
    store.close().await.unwrap();
}

pub async fn updates_keep_the_rules_of_positions<H: Home>() {
    let home = H::new().await;
    let store = home.open_deliveries(DeliveryPolicy::default()).await;
    schedule(&store, 0..2).await;
    let moves = moves(&store);
    let told = vec![
        entry(0, identity("a"), update(delivery(0), Status::OutForDelivery, 0)),
        entry(1, None, update(delivery(1), Status::Failed, 0)),
    ];
    let lost = batch(updates(), &Position::default(), told);
    let answer = moves.apply(lost.clone()).await.unwrap();
    assert_eq!(codes(&answer.parts[0].outcomes), ["applied", "DLV-IMPOSSIBLE"]);
    assert_eq!(moves.apply(lost.clone()).await.unwrap(), answer, "a repeat has the same answer");
    let mut zombie = lost;
    zombie.parts[0].token += 1;
    zombie.parts[0].entries[0] = entry(0, identity("z"), update(delivery(1), Status::Cancelled, 0));
    assert_eq!(moves.apply(zombie).await.unwrap_err().code(), ErrorCode::StoreConflict);
    let reader = home.delivery_reader(&store).await;
    assert_eq!(statuses(&reader).await, ["out_for_delivery", "scheduled"]);
    assert_eq!(audit(&reader).await["holds"], true);
    store.close().await.unwrap();
}

pub async fn an_updates_identity_has_nothing_to_do_with_an_orders<H: Home>() {
    let home = H::new().await;
    let store = home.open_deliveries(DeliveryPolicy::default()).await;
    schedule(&store, 0..2).await;
    let same = numbered(3, 0);
    assert_eq!(codes(&tell(&store, vec![(same, update(delivery(1), Status::OutForDelivery, 0))]).await), ["applied"]);
    let order = DeliveryOrder::new("9", "49466", 4, "10/14/2023").unwrap();
    tell(&store, vec![(identity("checkout:1"), update(delivery(1), Status::Delivered, 5))]).await;
    let at = store.positions(&topic()).await.unwrap().remove(&0).unwrap();
    let ordered = store.apply(batch(topic(), &at, vec![entry(at.next, identity("checkout:1"), order)])).await.unwrap();
    assert_eq!(codes(&ordered.parts[0].outcomes), ["applied"]);
    assert_eq!(audit(&home.delivery_reader(&store).await).await["holds"], true);
    store.close().await.unwrap();
}

pub async fn a_cancelled_delivery_gives_its_day_back<H: Home>() {
    let home = H::new().await;
    let policy = DeliveryPolicy { daily_capacity: Some(1), ..DeliveryPolicy::default() };
    let store = home.open_deliveries(policy).await;
    schedule(&store, 0..3).await;
    let reader = home.delivery_reader(&store).await;
    tell(&store, vec![(None, update(delivery(1), Status::Cancelled, 0))]).await;
    // The same store, and one that was opened since, find the room.
    schedule(&store, 3..4).await;
    tell(&store, vec![(None, update(delivery(0), Status::Cancelled, 1))]).await;
    drop(reader);
    store.close().await.unwrap();
    let store = home.open_deliveries(policy).await;
    schedule(&store, 4..6).await;
    let reader = home.delivery_reader(&store).await;
    let days: Vec<_> = deliveries(&reader).await.iter().map(|row| row["scheduled_for"].clone()).collect();
    assert_eq!(days, ["2026-11-23", "2026-11-24", "2026-11-25", "2026-11-24", "2026-11-23", "2026-11-26"]);
    assert_eq!(audit(&reader).await["holds"], true);
    store.close().await.unwrap();
}

pub async fn updates_that_came_before_their_delivery_are_made_with_it_in_the_logs_order<H: Home>() {
    let home = H::new().await;
    let store = home.open_deliveries(DeliveryPolicy::default()).await;
    let told = vec![
        (identity("a"), update(delivery(0), Status::OutForDelivery, 0)),
        (None, update(delivery(0), Status::Delivered, 5)),
    ];
    assert_eq!(codes(&tell(&store, told).await), ["DLV-UNKNOWN", "DLV-UNKNOWN"]);
    store.close().await.unwrap();
    let store = home.open_deliveries(DeliveryPolicy::default()).await;
    schedule(&store, 0..1).await;
    let reader = home.delivery_reader(&store).await;
    assert_eq!(statuses(&reader).await, ["delivered"]);
    let letters = ask(&reader, Query::DeadLetters { all: true }).await;
    let states: Vec<_> = letters.iter().map(|row| row["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["replayed", "replayed"], "{letters:?}");
    let again = vec![(identity("a"), update(delivery(0), Status::OutForDelivery, 0))];
    assert_eq!(codes(&tell(&store, again).await), ["duplicate"], "a copy of what was made");
    assert_eq!(audit(&reader).await["holds"], true);
    store.close().await.unwrap();
}

pub async fn an_order_that_is_replayed_takes_the_updates_with_it_that_came_before<H: Home>() {
    let home = H::new().await;
    let store = home.open_deliveries(DeliveryPolicy::default()).await;
    let mut value = Vec::new();
    ordered(0).encode(&mut value);
    let failed = DeadLetter {
        code: "HND-REJECTED".into(),
        reason: "closed".to_owned(),
        attempts: 1,
        original: Original { key: None, value: Some(value.into()), headers: Vec::new() },
    };
    let letter = Entry { offset: 0, timestamp: 0, identity: numbered(3, 0), work: Work::DeadLetter(failed) };
    store.apply(batch(topic(), &Position::default(), vec![letter])).await.unwrap();
    let told = vec![
        (None, update(delivery(0), Status::OutForDelivery, 0)),
        (identity("b"), update(delivery(0), Status::Cancelled, 5)),
    ];
    assert_eq!(codes(&tell(&store, told).await), ["DLV-UNKNOWN"; 2]);
    let reader = home.delivery_reader(&store).await;
    let open = ask(&reader, Query::DeadLetters { all: false }).await;
    let order = open.iter().find(|row| row["code"] == "HND-REJECTED").unwrap();
    let ids = vec![serde_json::from_value(order["id"].clone()).unwrap()];
    let done = office(&store).operate(Operation::Replay { ids, rehearsal: Rehearsal::Real }).await.unwrap();
    assert!(matches!(&done[..], [Row::Replayed(row)] if row.did == Replayed::Apply), "{done:?}");
    assert_eq!(statuses(&reader).await, ["out_for_delivery"]);
    let open = ask(&reader, Query::DeadLetters { all: false }).await;
    assert_eq!((open.len(), &open[0]["code"]), (1, &json!("DLV-IMPOSSIBLE")), "{open:?}");
    assert_eq!(audit(&reader).await["holds"], true);
    store.close().await.unwrap();
}

pub async fn more_early_updates_than_are_known_by_heart_find_their_deliveries<H: Home>() {
    const MANY: u64 = 1_200;
    let home = H::new().await;
    let store = home.open_deliveries(DeliveryPolicy::default()).await;
    // Each second one is of a delivery that never comes.
    let early = (0..MANY).map(|index| (None, update(delivery(index * 2 + index % 2), Status::OutForDelivery, 0)));
    assert!(tell(&store, early.collect()).await.iter().all(|outcome| code(outcome) == "DLV-UNKNOWN"));
    for begin in [0, 1_000] {
        schedule(&store, begin..begin + 1_000).await;
    }
    let reader = home.delivery_reader(&store).await;
    let rows = deliveries(&reader).await;
    let wrong = rows.iter().zip(0..).filter(|(row, index): &(&Value, u64)| {
        let is_early = (0..MANY).any(|early| early * 2 + early % 2 == *index);
        (row["status"] == "out_for_delivery") != is_early
    });
    assert_eq!(wrong.count(), 0);
    assert_eq!(audit(&reader).await["holds"], true);
    store.close().await.unwrap();
}

pub async fn an_early_update_that_cannot_be_is_kept_and_one_that_was_discarded_stays_so<H: Home>() {
    let home = H::new().await;
    let store = home.open_deliveries(DeliveryPolicy::default()).await;
    let told = vec![
        (None, update(delivery(0), Status::Delivered, 0)),
        (None, update(delivery(1), Status::OutForDelivery, 0)),
        (None, update(delivery(9), Status::OutForDelivery, 0)),
        (identity("a"), update(delivery(2), Status::OutForDelivery, 0)),
    ];
    assert_eq!(codes(&tell(&store, told).await), ["DLV-UNKNOWN"; 4]);
    let reader = home.delivery_reader(&store).await;
    let letters = ask(&reader, Query::DeadLetters { all: false }).await;
    let second = letters.iter().find(|row| row["offset"] == 1).unwrap();
    let id = serde_json::from_value(second["id"].clone()).unwrap();
    office(&store).operate(Operation::Discard { id, reason: "a mistake".to_owned() }).await.unwrap();
    schedule(&store, 0..2).await;
    // What is told later finds what came early made.
    schedule(&store, 2..3).await;
    tell(&store, vec![(None, update(delivery(2), Status::Delivered, 9))]).await;
    assert_eq!(statuses(&reader).await, ["scheduled", "scheduled", "delivered"]);
    let open = ask(&reader, Query::DeadLetters { all: false }).await;
    let open: BTreeSet<(i64, String)> =
        open.iter().map(|row| (row["offset"].as_i64().unwrap(), row["code"].as_str().unwrap().to_owned())).collect();
    let kept = |offset, code: &str| (offset, code.to_owned());
    assert_eq!(open, [kept(0, "DLV-IMPOSSIBLE"), kept(2, "DLV-UNKNOWN")].into());
    assert_eq!(audit(&reader).await["holds"], true);
    store.close().await.unwrap();
}

pub async fn a_move_by_command_is_made_once_or_refused_and_changes_nothing<H: Home>() {
    let home = H::new().await;
    let store = home.open_deliveries(DeliveryPolicy::default()).await;
    schedule(&store, 0..2).await;
    let reader = home.delivery_reader(&store).await;
    let to = |delivery, to, reason: Option<&str>| {
        let (office, reason) = (office(&store), reason.map(ToOwned::to_owned));
        async move {
            let rows = office.operate(Operation::Move { delivery, to, reason }).await?;
            Ok::<_, orderflow::Error>(rows[0].to_object())
        }
    };
    let made = to(delivery(0), Status::OutForDelivery, Some("van 7")).await.unwrap();
    assert_eq!(
        (&made["moved"], &made["status"], &made["version"]),
        (&json!(true), &json!("out_for_delivery"), &json!(2))
    );
    for (id, status, expected, now) in [
        (delivery(0), Status::OutForDelivery, "DLV-REPEATED", json!("out_for_delivery")),
        (delivery(0), Status::Cancelled, "DLV-IMPOSSIBLE", json!("out_for_delivery")),
        (delivery(7), Status::Cancelled, "DLV-UNKNOWN", Value::Null),
    ] {
        let refused = to(id, status, None).await.unwrap();
        assert_eq!((&refused["moved"], &refused["code"], &refused["status"]), (&json!(false), &json!(expected), &now));
    }
    let long = "x".repeat(1_001);
    assert_eq!(to(delivery(1), Status::Cancelled, Some(&long)).await.unwrap_err().code(), ErrorCode::ConfigValue);
    let rows = deliveries(&reader).await;
    assert_eq!(
        (&rows[0]["reason"], statuses(&reader).await),
        (&json!("van 7"), vec!["out_for_delivery".into(), "scheduled".into()])
    );
    assert!(ask(&reader, Query::DeadLetters { all: true }).await.is_empty());
    assert_eq!(audit(&reader).await["holds"], true);
    store.close().await.unwrap();
}

pub async fn deliveries_are_found_by_name_among_thousands<H: Home>() {
    let home = H::new().await;
    let store = home.open_deliveries(DeliveryPolicy::default()).await;
    for begin in [0, 1_500, 3_000] {
        schedule(&store, begin..begin + 1_500).await;
        // Some of those that have just come, some that came before, one that has moved, one that nobody knows.
        let asked = (0..40).map(|step| delivery(step * 37 + begin)).chain([delivery(begin / 2 + 1), delivery(99_999)]);
        let told = asked.map(|id| (None, update(id, Status::OutForDelivery, 0))).collect();
        let outcomes = tell(&store, told).await;
        assert_eq!(outcomes.iter().filter(|outcome| **outcome == Outcome::Applied).count(), 41);
        assert_eq!(codes(&outcomes)[41], "DLV-UNKNOWN");
    }
    let reader = home.delivery_reader(&store).await;
    let moved = statuses(&reader).await.into_iter().filter(|status| status == "out_for_delivery").count();
    assert_eq!(moved, 123);
    assert_eq!(audit(&reader).await["holds"], true);
    store.close().await.unwrap();
}
