//! How long any store remembers identities.

use std::time::Duration;

use orderflow::order::{Identity, InventoryOrder};
use orderflow::store::{Entry, Outcome, Position, Query, Retention, Row, Store};

use super::super::{Home, Terms, batch, movement, numbered, part};

const DAY: i64 = 86_400_000;
const BEGIN: i64 = 1_600_000_000_000;

struct Log<H: Home> {
    home: H,
    store: H::Inventory,
    at: Position,
}

impl<H: Home> Log<H> {
    async fn new(terms: Terms) -> Self {
        let home = H::new().await;
        let store = home.open_with(terms).await;
        Self { home, store, at: Position::default() }
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

fn settings(retention: Retention) -> Terms {
    Terms { retention, ..Terms::default() }
}

async fn holds<H: Home>(log: &Log<H>) {
    match log.home.reader(&log.store).await.ask(Query::Verify).rows().await.unwrap().as_slice() {
        [Row::Audit(audit)] => assert!(audit.holds, "{audit:?}"),
        other => panic!("{other:?}"),
    }
}

pub async fn identities_are_forgotten_by_the_logs_time_and_not_before<H: Home>() {
    let mut log = Log::<H>::new(Terms::default()).await;
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

pub async fn nothing_younger_than_the_topics_own_retention_is_forgotten<H: Home>() {
    let log = Some(Duration::from_secs(500 * 86_400));
    let settings = settings(Retention { log, ..Retention::default() });
    let mut log = Log::<H>::new(settings).await;
    log.write(0, numbered(1, 0)).await;
    log.write(0, opaque("checkout:1")).await;
    log.let_time_pass(499).await;
    assert_eq!(log.write(499, numbered(1, 0)).await, Outcome::Duplicate);
    assert_eq!(log.write(499, opaque("checkout:1")).await, Outcome::Duplicate);
    log.store.close().await.unwrap();
}

pub async fn a_record_of_the_far_future_does_not_make_the_store_forget<H: Home>() {
    let mut log = Log::<H>::new(Terms::default()).await;
    log.write(0, numbered(1, 0)).await;
    log.let_time_pass(1_000_000).await;
    assert_eq!(log.write(0, numbered(1, 0)).await, Outcome::Duplicate);
    log.store.close().await.unwrap();
}

pub async fn beyond_the_most_keys_the_oldest_are_forgotten_and_counted<H: Home>() {
    let settings = settings(Retention { max_opaque: 10, ..Retention::default() });
    let mut log = Log::<H>::new(settings).await;
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

pub async fn a_source_that_spans_many_chunks_is_forgotten_whole<H: Home>() {
    let mut log = Log::<H>::new(Terms::default()).await;
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
