//! How long the embedded store remembers identities.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod store_support;

use std::time::Duration;

use orderflow::order::{Identity, InventoryOrder};
use orderflow::store::{Entry, Outcome, Position, Query, RedbInventory, RedbSettings, Retention, Row, Store};
use store_support::{batch, movement, numbered, part, place};

const DAY: i64 = 86_400_000;
const BEGIN: i64 = 1_600_000_000_000;

struct Log {
    store: RedbInventory,
    at: Position,
}

impl Log {
    fn new(store: RedbInventory) -> Self {
        Self { store, at: Position::default() }
    }

    async fn write(&mut self, day: i64, identity: Option<Identity>) -> Outcome {
        let work = movement("1", 1);
        let record: Entry<InventoryOrder> =
            Entry { offset: self.at.next, timestamp: BEGIN + day * DAY, identity, work };
        let applied = self.store.apply(batch(part(0, &self.at, vec![record]))).await.unwrap();
        self.at = applied.parts[0].position.clone();
        applied.parts[0].outcomes[0].clone()
    }

    /// Forgetting goes in small steps: gives it the transactions it needs.
    async fn let_time_pass(&mut self, day: i64) {
        for _ in 0..64 {
            self.write(day, None).await;
        }
    }
}

fn opaque(text: &str) -> Option<Identity> {
    Some(Identity::opaque(text).unwrap())
}

fn settings(retention: Retention) -> RedbSettings {
    let mut settings = RedbSettings::default();
    settings.retention = retention;
    settings
}

async fn holds(log: &Log) {
    match log.store.reader().ask(Query::Verify).rows().await.unwrap().as_slice() {
        [Row::Audit(audit)] => assert!(audit.holds, "{audit:?}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn identities_are_forgotten_by_the_logs_time_and_not_before() {
    let (_folder, path) = place();
    let mut log = Log::new(RedbInventory::open(&path, "inventory").unwrap());
    assert_eq!(log.write(0, numbered(1, 0)).await, Outcome::Applied);
    assert_eq!(log.write(0, opaque("checkout:1")).await, Outcome::Applied);
    log.let_time_pass(30).await;
    assert_eq!(log.write(30, opaque("checkout:1")).await, Outcome::Duplicate);
    log.let_time_pass(31).await;
    assert_eq!(log.write(31, opaque("checkout:1")).await, Outcome::Applied, "30 days are over");
    log.let_time_pass(400).await;
    assert_eq!(log.write(400, numbered(1, 0)).await, Outcome::Duplicate);
    log.let_time_pass(401).await;
    assert_eq!(log.write(401, numbered(1, 0)).await, Outcome::Applied, "400 days are over");
    holds(&log).await;
    log.store.close().await.unwrap();
}

#[tokio::test]
async fn nothing_younger_than_the_topics_own_retention_is_forgotten() {
    let (_folder, path) = place();
    let log = Some(Duration::from_secs(500 * 86_400));
    let settings = settings(Retention { log, ..Retention::default() });
    let mut log = Log::new(RedbInventory::open_with(&path, "inventory", settings).unwrap());
    log.write(0, numbered(1, 0)).await;
    log.write(0, opaque("checkout:1")).await;
    log.let_time_pass(499).await;
    assert_eq!(log.write(499, numbered(1, 0)).await, Outcome::Duplicate);
    assert_eq!(log.write(499, opaque("checkout:1")).await, Outcome::Duplicate);
    log.store.close().await.unwrap();
}

#[tokio::test]
async fn a_record_of_the_far_future_does_not_make_the_store_forget() {
    let (_folder, path) = place();
    let mut log = Log::new(RedbInventory::open(&path, "inventory").unwrap());
    log.write(0, numbered(1, 0)).await;
    log.let_time_pass(1_000_000).await;
    assert_eq!(log.write(0, numbered(1, 0)).await, Outcome::Duplicate);
    log.store.close().await.unwrap();
}

#[tokio::test]
async fn beyond_the_most_keys_the_oldest_are_forgotten_and_counted() {
    let (_folder, path) = place();
    let settings = settings(Retention { max_opaque: 10, ..Retention::default() });
    let mut log = Log::new(RedbInventory::open_with(&path, "inventory", settings).unwrap());
    for number in 0..20 {
        log.write(0, opaque(&format!("checkout:{number}"))).await;
    }
    log.let_time_pass(0).await;
    assert_eq!(log.write(0, opaque("checkout:19")).await, Outcome::Duplicate);
    assert_eq!(log.write(0, opaque("checkout:10")).await, Outcome::Duplicate);
    assert_eq!(log.write(0, opaque("checkout:9")).await, Outcome::Applied);
    holds(&log).await;
    log.store.close().await.unwrap();
}

#[tokio::test]
async fn a_source_that_spans_many_chunks_is_forgotten_whole() {
    let (_folder, path) = place();
    let mut log = Log::new(RedbInventory::open(&path, "inventory").unwrap());
    for chunk in 0..300 {
        log.write(0, numbered(1, chunk * 65_536)).await;
    }
    log.let_time_pass(401).await;
    for chunk in [0, 150, 299] {
        assert_eq!(log.write(401, numbered(1, chunk * 65_536)).await, Outcome::Applied, "{chunk}");
    }
    holds(&log).await;
    log.store.close().await.unwrap();
}
