//! Stores of every released format stay readable, and what is no store of ours is refused.
//!
//! `fixtures/store/<format>/` holds a small store of each order type. A format that was released is
//! never written again; `STORE_FIXTURE=1 cargo test --test store_format` makes the newest one's.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod store_support;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use orderflow::ErrorCode;
use orderflow::order::{DeliveryOrder, InventoryOrder};
use orderflow::store::{
    Batch, DeadLetterKind, Entry, Operation, Outcome, Part, Position, Query, RedbDeliveries, RedbInventory, Row,
    Settled, Store, StoreReader, Text, Work,
};
use redb::{Database, TableDefinition};
use serde_json::{Value, json};
use store_support::{batch, dead_letter, entry, movement, numbered, part, place, topic};

const META: TableDefinition<&str, &[u8]> = TableDefinition::new("meta");

/// The format that fixtures are made of.
const NEWEST: u32 = 2;

fn fixture(format: u32, name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("fixtures/store/{format}")).join(name)
}

/// A copy that the test may change.
fn copied(format: u32, name: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::copy(fixture(format, name), &path).unwrap();
    (folder, path)
}

fn movements() -> Vec<Entry<InventoryOrder>> {
    let checkout = Some(orderflow::order::Identity::opaque("checkout:1").unwrap());
    vec![
        entry(10, numbered(1, 0), movement("02758", 35)),
        entry(11, numbered(1, 0), movement("02758", 35)),
        entry(12, checkout, movement("9", 4)),
        entry(13, numbered(1, 70_000), movement("9", -5)),
        entry(14, None, dead_letter()),
        entry(17, None, movement("9", -1)),
    ]
}

fn ahead() -> Part<InventoryOrder> {
    let mut part = part(3, &Position::default(), movements());
    (part.next, part.settled) = (16, [17].into_iter().collect::<Settled>());
    part
}

fn delivery() -> Part<DeliveryOrder> {
    let order = DeliveryOrder::new("9", "49466", 42, "10/14/2023").unwrap();
    let entry = Entry { offset: 0, timestamp: 1_795_132_800_000, identity: numbered(3, 1), work: Work::Apply(order) };
    let at = Position::default();
    Part { partition: 0, expected: 0, token: 1, next: 1, settled: at.settled, leader_epoch: 0, entries: vec![entry] }
}

async fn ask(path: &Path, query: Query) -> Vec<Value> {
    let rows = StoreReader::open(path).await.unwrap().ask(query).rows().await.unwrap();
    rows.iter().map(Row::to_object).collect()
}

/// Mends the refused order, so that it is applied, and discards the dead letter.
async fn close_letters(store: &RedbInventory) {
    let rows = store.reader().ask(Query::DeadLetters { all: false }).rows().await.unwrap();
    let office = store.back_office().unwrap();
    for row in rows {
        let Row::DeadLetter(letter) = row else { panic!("{row:?}") };
        let mended = r#"{"order_id":"97537","product_id":"9","quantity":2,"type":"inventory","timestamp":"5/30/2023","movement":"issue"}"#;
        let operation = match letter.kind {
            DeadLetterKind::Refused => Operation::Fix { id: letter.id, value: Text::Plain(mended.to_owned()) },
            DeadLetterKind::DeadLetter => Operation::Discard { id: letter.id, reason: "no order".to_owned() },
        };
        office.operate(operation).await.unwrap();
    }
}

/// Makes the fixtures of the newest format, when asked to.
#[tokio::test]
async fn the_newest_formats_fixtures_are_made_on_demand() {
    if std::env::var_os("STORE_FIXTURE").is_none() {
        return;
    }
    std::fs::create_dir_all(fixture(NEWEST, "")).unwrap();
    for name in ["inventory.redb", "delivery.redb"] {
        if fixture(NEWEST, name).exists() {
            std::fs::remove_file(fixture(NEWEST, name)).unwrap();
        }
    }
    let store = RedbInventory::open(fixture(NEWEST, "inventory.redb"), "inventory").unwrap();
    store.apply(batch(ahead())).await.unwrap();
    close_letters(&store).await;
    store.close().await.unwrap();
    let store = RedbDeliveries::open(fixture(NEWEST, "delivery.redb"), "delivery").unwrap();
    store.apply(Batch { topic: topic(), parts: vec![delivery()] }).await.unwrap();
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_store_of_format_1_is_read_and_goes_on() {
    let (_folder, path) = copied(1, "inventory.redb");
    let stock = ask(&path, Query::Stock { products: Vec::new() }).await;
    assert_eq!(
        stock,
        [
            json!({"product_id": "02758", "stock": 35, "movements": 1, "last_movement": "2023-11-14T22:13:30.000Z"}),
            json!({"product_id": "9", "stock": 3, "movements": 2, "last_movement": "2023-11-14T22:13:37.000Z"}),
        ]
    );
    let audit = json!({"holds": true, "applied": 3, "duplicates": 1, "refused": 1, "dead_letters": 1, "no_record": 1,
                       "problems": [], "outbox_rows": 2});
    assert_eq!(ask(&path, Query::Verify).await, [audit]);
    assert_eq!(ask(&path, Query::DeadLetters { all: false }).await.len(), 2);

    let store = RedbInventory::open(&path, "inventory").unwrap();
    let at = store.positions(&topic()).await.unwrap()[&3].clone();
    assert_eq!((at.next, at.settled.len(), at.leader_epoch, at.version), (16, 1, 3, 1));
    let repeated = store.apply(batch(ahead())).await.unwrap();
    assert_eq!(repeated.parts[0].position, at, "the writer's repeat is known");
    assert_eq!(repeated.parts[0].outcomes[..3], [Outcome::Applied, Outcome::Duplicate, Outcome::Applied]);
    let copies = movements().into_iter().take(3).zip(18..).map(|(entry, offset)| Entry { offset, ..entry });
    let mut copies = part(3, &at, copies.collect());
    copies.entries.insert(0, entry(16, None, movement("9", 1)));
    let applied = store.apply(batch(copies)).await.unwrap();
    assert_eq!(applied.parts[0].outcomes[0], Outcome::Applied);
    assert!(applied.parts[0].outcomes[1..].iter().all(|outcome| *outcome == Outcome::Duplicate), "{applied:?}");
    store.close().await.unwrap();
    assert_eq!(ask(&path, Query::Verify).await[0]["holds"], json!(true));
}

#[tokio::test]
async fn a_store_of_format_2_is_read_with_what_was_replayed_and_discarded() {
    let (_folder, path) = copied(2, "inventory.redb");
    let audit = json!({"holds": true, "applied": 4, "duplicates": 1, "refused": 1, "dead_letters": 1, "no_record": 1,
                       "problems": [], "outbox_rows": 2});
    assert_eq!(ask(&path, Query::Verify).await, [audit]);
    assert_eq!(ask(&path, Query::DeadLetters { all: false }).await, Vec::<Value>::new());
    let states: BTreeSet<_> =
        ask(&path, Query::DeadLetters { all: true }).await.iter().map(|row| row["state"].to_string()).collect();
    assert_eq!(states, BTreeSet::from(["\"discarded\"".to_owned(), "\"replayed\"".to_owned()]));
    let store = RedbInventory::open(&path, "inventory").unwrap();
    let at = store.positions(&topic()).await.unwrap()[&3].clone();
    let copies = movements().into_iter().skip(3).take(1).map(|entry| Entry { offset: 16, ..entry });
    let copies = Part { next: 18, ..part(3, &at, copies.collect()) };
    let applied = store.apply(batch(copies)).await.unwrap();
    assert_eq!(applied.parts[0].outcomes, [Outcome::Duplicate], "a copy of what was replayed");
    store.close().await.unwrap();
    assert_eq!(ask(&path, Query::Verify).await[0]["holds"], json!(true));
}

#[tokio::test]
async fn a_store_of_deliveries_of_format_1_is_read() {
    let (_folder, path) = copied(1, "delivery.redb");
    let listed = ask(&path, Query::Deliveries { orders: Vec::new() }).await;
    assert_eq!((&listed[0]["scheduled_for"], &listed[0]["order_id"]), (&json!("2026-11-23"), &json!("9")));
    assert_eq!(ask(&path, Query::Verify).await[0]["holds"], json!(true));
    RedbDeliveries::open(&path, "delivery").unwrap().close().await.unwrap();
}

#[tokio::test]
async fn a_newer_format_is_refused_and_left_as_it_is() {
    let (_folder, path) = place();
    RedbInventory::open(&path, "inventory").unwrap().close().await.unwrap();
    let database = Database::open(&path).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(META).unwrap().insert("format", 99_u32.to_le_bytes().as_slice()).unwrap();
    transaction.commit().unwrap();
    database.close().unwrap();

    let newer = RedbInventory::open(&path, "inventory").unwrap_err();
    assert_eq!(newer.code(), ErrorCode::StoreFormat);
    assert!(newer.to_string().contains("99"), "{newer}");
    assert_eq!(StoreReader::open(&path).await.unwrap_err().code(), ErrorCode::StoreFormat);
}

#[tokio::test]
async fn a_file_that_is_no_store_is_refused_and_left_as_it_is() {
    let (folder, path) = place();
    let database = Database::create(&path).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(TableDefinition::<u64, u64>::new("somebody's")).unwrap().insert(1, 2).unwrap();
    transaction.commit().unwrap();
    database.close().unwrap();
    assert_eq!(RedbInventory::open(&path, "inventory").unwrap_err().code(), ErrorCode::StoreForeign);
    assert_eq!(StoreReader::open(&path).await.unwrap_err().code(), ErrorCode::StoreForeign);

    let text = folder.path().join("orders.json");
    std::fs::write(&text, "[]").unwrap();
    assert!(RedbInventory::open(&text, "inventory").is_err());
    assert!(StoreReader::open(&text).await.is_err());
    assert_eq!(std::fs::read_to_string(&text).unwrap(), "[]");
}
