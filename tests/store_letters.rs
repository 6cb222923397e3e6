//! What the embedded store sets aside, and what it has to tell.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod store_support;

use std::path::Path;

use orderflow::order::DeliveryOrder;
use orderflow::store::{
    Batch, Entry, Operation, Part, Query, RedbDeliveries, Row, Settled, Status, Store, StoreReader, Work,
};
use store_support::{event_cases, letter_cases, move_cases, on_redb, place, replay_cases, topic};

letter_cases!(on_redb);
replay_cases!(on_redb);
event_cases!(on_redb);
move_cases!(on_redb);

#[tokio::test]
async fn a_backup_has_the_deliveries_as_they_have_moved() {
    let (_folder, path) = place();
    let store = RedbDeliveries::open(&path, "delivery").unwrap();
    let order = DeliveryOrder::new("1", "p", 2, "5/30/2023").unwrap();
    let entries = vec![Entry { offset: 0, timestamp: 1_700_000_000_000, identity: None, work: Work::Apply(order) }];
    let part = Part { partition: 0, expected: 0, token: 1, next: 1, settled: Settled::new(), leader_epoch: 0, entries };
    store.apply(Batch { topic: topic(), parts: vec![part] }).await.unwrap();
    let deliveries = async |path: &Path| {
        let rows = StoreReader::open(path).await.unwrap().ask(Query::Deliveries { orders: Vec::new() }).rows().await;
        rows.unwrap()
            .into_iter()
            .map(|row| if let Row::Delivery(row) = row { row } else { panic!() })
            .collect::<Vec<_>>()
    };
    let id = deliveries(&path).await[0].delivery_id;
    store.move_delivery(id, Status::Cancelled, Some("called off")).await.unwrap();
    let backup = path.with_extension("copy");
    let office = store.back_office().unwrap();
    office.operate(Operation::Backup { to: backup.clone() }).await.unwrap();
    let copied = deliveries(&backup).await;
    assert_eq!((copied[0].status, copied[0].reason.as_deref()), (Status::Cancelled, Some("called off")));
    assert_eq!(copied, deliveries(&path).await);
    store.close().await.unwrap();
    // The copy goes on where the deliveries stand.
    let copy = RedbDeliveries::open(&backup, "delivery").unwrap();
    assert!(!copy.move_delivery(id, Status::OutForDelivery, None).await.unwrap().moved);
    copy.close().await.unwrap();
}
