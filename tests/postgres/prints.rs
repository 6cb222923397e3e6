//! Finding deliveries by name among many rows of the ledger.

use orderflow::order::{DeliveryOrder, Status};
use orderflow::store::{Batch, DeliveryPolicy, Entry, EventId, Part, Position, Query, Row, Settled, Store, Work};

use crate::home::Postgres;
use crate::store_support::{Home, numbered, topic};
use crate::{Case, block_on, server};

pub(crate) fn cases() -> Vec<Case> {
    let name = "prints::the_first_move_reads_each_row_of_the_ledger_once_whatever_the_server_knows_of_its_tables";
    vec![(name.to_owned(), || block_on(the_first_move_reads_each_row_once()))]
}

/// More rows of the ledger than three steps take; each has one delivery.
const ROWS: i32 = 3_500;

fn delivery(partition: i32) -> EventId {
    EventId::of(numbered(3, partition as u64).as_ref(), &topic(), 0, 0)
}

fn part(partition: i32) -> Part<DeliveryOrder> {
    let order = DeliveryOrder::new(&partition.to_string(), "49466", 4, "10/14/2023").unwrap();
    let identity = numbered(3, partition as u64);
    let entries = vec![Entry { offset: 0, timestamp: 1_795_132_800_000, identity, work: Work::Apply(order) }];
    let Position { version, leader_epoch, .. } = Position::default();
    Part { partition, expected: version, token: 7, next: 1, settled: Settled::new(), leader_epoch, entries }
}

async fn the_first_move_reads_each_row_once() {
    let home = Postgres::new().await;
    let store = home.open_deliveries(DeliveryPolicy::default()).await;
    store.apply(Batch { topic: topic(), parts: (0..ROWS).map(part).collect() }).await.unwrap();
    store.close().await.unwrap();
    // So the server takes `unprinted` for large, and the ledger for what it is.
    let schema = home.schema("delivery");
    let count = |what: &str| -> i64 { server().sql(&format!("SELECT {what}")).trim().parse().unwrap() };
    server().sql(&format!(
        "SET search_path TO {schema}; ANALYZE ledger; TRUNCATE unprinted; INSERT INTO unprinted SELECT id FROM ledger"
    ));
    let read = format!("idx_tup_fetch FROM pg_stat_user_tables WHERE schemaname = '{schema}' AND relname = 'ledger'");
    let before = count(&read);

    let store = home.open_deliveries(DeliveryPolicy::default()).await;
    for partition in [0, ROWS / 2, ROWS - 1] {
        let moved = store.move_delivery(delivery(partition), Status::OutForDelivery, None).await.unwrap();
        assert!(moved.moved, "{moved:?}");
    }
    let missing = store.move_delivery(delivery(ROWS), Status::OutForDelivery, None).await.unwrap();
    assert_eq!(missing.code.as_deref(), Some("DLV-UNKNOWN"));
    store.close().await.unwrap();
    assert_eq!(count(&format!("count(*) FROM {schema}.unprinted")), 0);
    assert_eq!(count(&format!("count(*) FROM {schema}.prints")), i64::from(ROWS));
    // The counts come once a connection has ended.
    let read = crate::wait::until("the server has counted", std::time::Duration::from_secs(30), || {
        let read = count(&read) - before;
        (read >= i64::from(ROWS)).then_some(read)
    });
    println!("{read} rows of the ledger were read for {ROWS}");
    assert!(read < i64::from(ROWS) * 3 / 2, "{read} rows of the ledger were read for {ROWS}");
    let store = home.open_deliveries(DeliveryPolicy::default()).await;
    let audit = store.reader().ask(Query::Verify).rows().await.unwrap();
    assert!(matches!(&audit[..], [Row::Audit(audit)] if audit.holds), "{audit:?}");
    store.close().await.unwrap();
}
