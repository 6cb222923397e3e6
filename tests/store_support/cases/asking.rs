//! Asking any store.

use orderflow::order::DeliveryOrder;
use orderflow::store::{BACKFILL, Batch, DeliveryPolicy, Entry, Position, Query, Row, Store, StoreReader, Work};
use serde_json::{Value, json};

use super::super::{Home, batch, dead_letter, entry, movement, numbered, part, topic};

async fn ask(reader: &StoreReader, query: Query) -> Vec<Value> {
    reader.ask(query).rows().await.unwrap().iter().map(Row::to_object).collect()
}

async fn filled<H: Home>(home: &H) -> H::Inventory {
    let store = home.open().await;
    let entries = vec![
        entry(0, numbered(1, 0), movement("02758", 35)),
        entry(1, numbered(1, 0), movement("02758", 35)),
        entry(2, None, movement("9", 4)),
        entry(3, numbered(1, 3), movement("9", -5)),
        entry(4, None, dead_letter()),
    ];
    store.apply(batch(part(0, &Position::default(), entries))).await.unwrap();
    store
}

fn delivery(offset: i64, date: &str) -> Entry<DeliveryOrder> {
    let order = DeliveryOrder::new("9", "49466", 42, date).unwrap();
    // 2026-11-20 was a Friday.
    Entry { offset, timestamp: 1_795_132_800_000, identity: numbered(3, offset as u64), work: Work::Apply(order) }
}

pub async fn movements_dead_letters_and_positions_are_listed<H: Home>() {
    let home = H::new().await;
    let store = filled(&home).await;
    let reader = home.reader(&store).await;
    let movements = ask(&reader, Query::Movements { orders: vec!["97537".into()] }).await;
    assert_eq!(movements.len(), 2);
    assert_eq!(movements[0]["idempotency_key"], json!(numbered(1, 0).unwrap().to_string()));
    assert_eq!((&movements[1]["quantity"], &movements[1]["offset"]), (&json!(4), &json!(2)));
    assert!(ask(&reader, Query::Movements { orders: vec!["none".into()] }).await.is_empty());

    let letters = ask(&reader, Query::DeadLetters { all: false }).await;
    let mut kinds: Vec<_> = letters.iter().map(|row| (row["kind"].clone(), row["code"].clone())).collect();
    kinds.sort_by_key(|(kind, _)| kind.to_string());
    assert_eq!(kinds, [(json!("dead_letter"), json!("ORD-JSON")), (json!("refused"), json!("STK-INSUFFICIENT"))]);
    for row in &letters {
        let id = serde_json::from_value(row["id"].clone()).unwrap();
        let shown = ask(&reader, Query::DeadLetter { id }).await;
        let value = shown[0]["value"].as_str().unwrap();
        if row["kind"] == "refused" {
            assert!(value.contains(r#""quantity":5"#), "{value}");
            assert_eq!(shown[0]["headers"][0][0], json!("idempotency-key"));
        } else {
            assert_eq!((value, &shown[0]["offset"]), ("{not json", &json!(4)));
        }
    }
    let positions = ask(&reader, Query::Positions).await;
    assert_eq!((&positions[0]["position"], &positions[0]["applied"]), (&json!(5), &json!(2)));
    store.close().await.unwrap();
}

pub async fn a_long_listing_comes_in_pages_and_each_product_once_in_order<H: Home>() {
    let home = H::new().await;
    let store = home.open().await;
    let entries = (0..5_003).map(|at| entry(at, None, movement(&format!("{at:05}"), 1))).collect();
    store.apply(batch(part(0, &Position::default(), entries))).await.unwrap();
    let reader = home.reader(&store).await;
    for reader in [reader, home.reader(&store).await] {
        let mut answer = reader.ask(Query::Stock { products: Vec::new() });
        let (mut products, mut pages) = (Vec::new(), 0);
        while let Some(page) = answer.page().await.unwrap() {
            assert!(page.len() <= 2_000);
            products.extend(page.iter().map(|row| row.to_object()["product_id"].as_str().unwrap().to_owned()));
            pages += 1;
        }
        assert!(pages >= 3);
        assert!(products.iter().eq((0..5_003).map(|at| format!("{at:05}")).collect::<Vec<_>>().iter()));
    }
    store.close().await.unwrap();
}

pub async fn a_delivery_is_scheduled_once_within_capacity_and_keeps_its_name<H: Home>() {
    let home = H::new().await;
    let policy = DeliveryPolicy { daily_capacity: Some(2), ..DeliveryPolicy::default() };
    let store = home.open_deliveries(policy).await;
    let mut entries: Vec<_> = (0..3).map(|offset| delivery(offset, "10/14/2023")).collect();
    entries.push(Entry { offset: 3, ..delivery(0, "10/14/2023") });
    entries.push(delivery(4, "2027-01-01"));
    let at = Position::default();
    let part = orderflow::store::Part {
        partition: 0,
        expected: at.version,
        token: 1,
        next: 5,
        settled: at.settled,
        leader_epoch: 0,
        entries,
    };
    store.apply(Batch { topic: topic(), parts: vec![part.clone()] }).await.unwrap();
    let backfilled =
        orderflow::store::Part { partition: BACKFILL, next: 1, entries: vec![delivery(0, "10/14/2023")], ..part };
    let repeated = store.apply(Batch { topic: topic(), parts: vec![backfilled.clone()] }).await.unwrap();
    assert_eq!(repeated.parts[0].outcomes, [orderflow::store::Outcome::Duplicate]);

    let listed = ask(&home.delivery_reader(&store).await, Query::Deliveries { orders: vec!["9".into()] }).await;
    let days: Vec<_> = listed.iter().map(|row| row["scheduled_for"].as_str().unwrap()).collect();
    assert_eq!(days, ["2026-11-23", "2026-11-23", "2026-11-24", "2027-01-04"]);
    let id = orderflow::store::EventId::of(numbered(3, 0).as_ref(), &topic(), 0, 0).to_string();
    assert_eq!(
        listed[0],
        json!({"delivery_id": id, "order_id": "9", "product_id": "49466", "quantity": 42, "status": "scheduled",
               "scheduled_for": "2026-11-23", "since": "2026-11-20T00:00:00.000Z", "reason": null})
    );
    let audit = ask(&home.delivery_reader(&store).await, Query::Verify).await;
    assert_eq!(
        (&audit[0]["holds"], &audit[0]["applied"], &audit[0]["duplicates"]),
        (&json!(true), &json!(4), &json!(2))
    );
    store.close().await.unwrap();
}

pub async fn a_backfilled_order_is_found_in_the_topic_as_a_duplicate_and_has_no_place<H: Home>() {
    let home = H::new().await;
    let store = home.open().await;
    let file = vec![entry(0, numbered(1, 0), movement("1", 5)), entry(1, numbered(1, 1), movement("1", 5))];
    store.apply(batch(part(BACKFILL, &Position::default(), file))).await.unwrap();
    let log = vec![entry(70, numbered(1, 1), movement("1", 5))];
    let applied = store.apply(batch(part(0, &Position::default(), log))).await.unwrap();
    assert_eq!(applied.parts[0].outcomes, [orderflow::store::Outcome::Duplicate]);
    let movements = ask(&home.reader(&store).await, Query::Movements { orders: Vec::new() }).await;
    assert_eq!((&movements[0]["topic"], &movements[0]["offset"]), (&Value::Null, &Value::Null));
    store.close().await.unwrap();
}
