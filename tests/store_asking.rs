//! Asking a store: in process, through its socket, and from the file.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod store_support;

use std::os::unix::fs::PermissionsExt;

use orderflow::ErrorCode;
use orderflow::order::DeliveryOrder;
use orderflow::store::{
    BACKFILL, Batch, DeliveryPolicy, Entry, Position, Query, RedbDeliveries, RedbInventory, RedbSettings, Row, Store,
    StoreReader, Work,
};
use serde_json::{Value, json};
use store_support::{batch, dead_letter, entry, movement, numbered, part, place, topic};

async fn ask(reader: &StoreReader, query: Query) -> Vec<Value> {
    reader.ask(query).rows().await.unwrap().iter().map(Row::to_object).collect()
}

async fn filled(path: &std::path::Path) -> RedbInventory {
    let store = RedbInventory::open(path, "inventory").unwrap();
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

fn stock() -> Vec<Value> {
    vec![
        json!({"product_id": "02758", "stock": 35, "movements": 1, "last_movement": "2023-11-14T22:13:20.000Z"}),
        json!({"product_id": "9", "stock": 4, "movements": 1, "last_movement": "2023-11-14T22:13:22.000Z"}),
    ]
}

fn audit() -> Vec<Value> {
    vec![json!({
        "holds": true, "applied": 2, "duplicates": 1, "refused": 1, "dead_letters": 1, "no_record": 0, "problems": []
    })]
}

#[tokio::test]
async fn a_held_store_answers_on_its_socket_and_a_free_one_from_its_file() {
    let (_folder, path) = place();
    let store = filled(&path).await;
    let socket = path.with_file_name("inventory.redb.sock");
    assert_eq!(socket.metadata().unwrap().permissions().mode() & 0o777, 0o600);

    let all = || Query::Stock { products: Vec::new() };
    let held = StoreReader::open(&path).await.unwrap();
    let identity = ask(&held, Query::Identity).await;
    assert_eq!(identity[0]["process"], json!(std::process::id()));
    assert_eq!((&identity[0]["group"], &identity[0]["store"]), (&json!("inventory"), &json!(store.identity().name)));
    for reader in [store.reader(), held] {
        assert_eq!(ask(&reader, all()).await, stock());
        assert_eq!(ask(&reader, Query::Stock { products: vec!["9".into(), "none".into()] }).await, stock()[1..]);
        assert_eq!(ask(&reader, Query::Verify).await, audit());
        let wrong = reader.ask(Query::Deliveries { orders: Vec::new() }).rows().await.unwrap_err();
        assert_eq!(wrong.code(), ErrorCode::StoreForeign);
        assert_eq!(
            wrong.to_string(),
            "STO-FOREIGN: the store keeps inventory orders, so it has no deliveries",
            "the same through the socket"
        );
    }
    store.close().await.unwrap();
    assert!(!socket.exists(), "a closed store leaves no socket");

    let free = StoreReader::open(&path).await.unwrap();
    assert_eq!(ask(&free, all()).await, stock());
    assert_eq!(ask(&free, Query::Verify).await, audit());
    let again = StoreReader::open(&path).await.unwrap();
    assert_eq!(ask(&again, all()).await, stock(), "two may ask at once");
}

#[tokio::test]
async fn a_store_that_does_not_exist_is_an_error_and_is_not_made() {
    let (_folder, path) = place();
    assert_eq!(StoreReader::open(&path).await.unwrap_err().code(), ErrorCode::StoreMissing);
    assert!(!path.exists());
}

#[tokio::test]
async fn movements_dead_letters_and_positions_are_listed() {
    let (_folder, path) = place();
    let store = filled(&path).await;
    let reader = StoreReader::open(&path).await.unwrap();
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

#[tokio::test]
async fn a_long_listing_comes_in_pages_and_each_product_once_in_order() {
    let (_folder, path) = place();
    let store = RedbInventory::open(&path, "inventory").unwrap();
    let entries = (0..5_003).map(|at| entry(at, None, movement(&format!("{at:05}"), 1))).collect();
    store.apply(batch(part(0, &Position::default(), entries))).await.unwrap();
    let reader = StoreReader::open(&path).await.unwrap();
    for reader in [reader, store.reader()] {
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

#[tokio::test]
async fn a_stale_socket_is_replaced_and_another_file_of_its_name_is_left_alone() {
    let (_folder, path) = place();
    let socket = path.with_file_name("inventory.redb.sock");
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    let store = filled(&path).await;
    assert_eq!(ask(&StoreReader::open(&path).await.unwrap(), Query::Verify).await, audit());
    store.close().await.unwrap();

    std::fs::write(&socket, "somebody's").unwrap();
    let store = RedbInventory::open(&path, "inventory").unwrap();
    let locked = StoreReader::open(&path).await.unwrap_err();
    assert_eq!(locked.code(), ErrorCode::StoreLocked);
    store.close().await.unwrap();
    assert_eq!(std::fs::read_to_string(&socket).unwrap(), "somebody's");
}

#[tokio::test]
async fn a_path_too_long_for_a_socket_does_not_keep_the_store_from_working() {
    let (folder, _) = place();
    let deep = folder.path().join("a".repeat(120));
    std::fs::create_dir(&deep).unwrap();
    let path = deep.join("inventory.redb");
    let store = filled(&path).await;
    assert_eq!(ask(&store.reader(), Query::Verify).await, audit());
    store.close().await.unwrap();
    assert_eq!(ask(&StoreReader::open(&path).await.unwrap(), Query::Verify).await, audit());
}

#[tokio::test]
async fn a_question_that_cannot_be_read_is_answered_with_an_error_line() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let (_folder, path) = place();
    let store = filled(&path).await;
    let mut stream = tokio::net::UnixStream::connect(path.with_file_name("inventory.redb.sock")).await.unwrap();
    stream.write_all(b"{\"drop\":\"everything\"}\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with(r#"{"error":{"code":"NET-PROTOCOL""#), "{answer}");
    store.close().await.unwrap();
}

fn delivery(offset: i64, date: &str) -> Entry<DeliveryOrder> {
    let order = DeliveryOrder::new("9", "49466", 42, date).unwrap();
    // 2026-11-20 was a Friday.
    Entry { offset, timestamp: 1_795_132_800_000, identity: numbered(3, offset as u64), work: Work::Apply(order) }
}

#[tokio::test]
async fn a_delivery_is_scheduled_once_within_capacity_and_keeps_its_name() {
    let (folder, _) = place();
    let path = folder.path().join("delivery.redb");
    let policy = DeliveryPolicy { daily_capacity: Some(2), ..DeliveryPolicy::default() };
    let store = RedbDeliveries::open_with(&path, "delivery", RedbSettings::default(), policy).unwrap();
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

    let listed = ask(&store.reader(), Query::Deliveries { orders: vec!["9".into()] }).await;
    let days: Vec<_> = listed.iter().map(|row| row["scheduled_for"].as_str().unwrap()).collect();
    assert_eq!(days, ["2026-11-23", "2026-11-23", "2026-11-24", "2027-01-04"]);
    let id = orderflow::store::EventId::of(numbered(3, 0).as_ref(), &topic(), 0, 0).to_string();
    assert_eq!(
        listed[0],
        json!({"delivery_id": id, "order_id": "9", "product_id": "49466", "quantity": 42, "status": "scheduled",
               "scheduled_for": "2026-11-23", "since": "2026-11-20T00:00:00.000Z"})
    );
    let audit = ask(&store.reader(), Query::Verify).await;
    assert_eq!(
        (&audit[0]["holds"], &audit[0]["applied"], &audit[0]["duplicates"]),
        (&json!(true), &json!(4), &json!(2))
    );
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_backfilled_order_is_found_in_the_topic_as_a_duplicate_and_has_no_place() {
    let (_folder, path) = place();
    let store = RedbInventory::open(&path, "inventory").unwrap();
    let file = vec![entry(0, numbered(1, 0), movement("1", 5)), entry(1, numbered(1, 1), movement("1", 5))];
    store.apply(batch(part(BACKFILL, &Position::default(), file))).await.unwrap();
    let log = vec![entry(70, numbered(1, 1), movement("1", 5))];
    let applied = store.apply(batch(part(0, &Position::default(), log))).await.unwrap();
    assert_eq!(applied.parts[0].outcomes, [orderflow::store::Outcome::Duplicate]);
    let movements = ask(&store.reader(), Query::Movements { orders: Vec::new() }).await;
    assert_eq!((&movements[0]["topic"], &movements[0]["offset"]), (&Value::Null, &Value::Null));
    store.close().await.unwrap();
}
