//! Asking a store: in process, through its socket, and from the file.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod store_support;

use std::os::unix::fs::PermissionsExt;

use orderflow::ErrorCode;
use orderflow::store::{Position, Query, RedbInventory, Row, Store, StoreReader};
use serde_json::{Value, json};
use store_support::{asking_cases, batch, dead_letter, entry, movement, numbered, on_redb, part, place, trace_cases};

asking_cases!(on_redb);
trace_cases!(on_redb);

async fn ask(reader: &StoreReader, query: Query) -> Vec<Value> {
    let mut rows: Vec<Value> = reader.ask(query).rows().await.unwrap().iter().map(Row::to_object).collect();
    // When an event was written is the wall clock's.
    let since = rows.iter_mut().filter_map(|row| row.as_object_mut()?.remove("outbox_since"));
    assert!(since.map(|since| since.as_str().unwrap().len()).all(|length| length == 24));
    rows
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
        "holds": true, "applied": 2, "duplicates": 1, "refused": 1, "dead_letters": 1, "no_record": 0, "problems": [],
        "outbox_rows": 2
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
