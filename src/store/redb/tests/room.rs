//! The store on a disk that is full for a while.

use std::time::{Duration, Instant};

use super::disk::{Disk, Fault};
use super::script::{Step, letter, open, picture, take, topic};
use crate::ErrorCode;
use crate::order::InventoryOrder;
use crate::store::redb::inventory::Inventory;
use crate::store::{Batch, Entry, Part, Settled, Store, Work};

const BATCHES: u64 = 9;
const SOON: Duration = Duration::from_secs(30);

fn stock(index: u64) -> InventoryOrder {
    InventoryOrder::new("1", &format!("{}", index % 5), 2, "5/30/2023").unwrap()
}

#[tokio::test]
async fn a_store_whose_disk_is_full_waits_and_goes_on_by_itself_once_there_is_room() {
    let disk = Disk::new();
    let store = open::<Inventory>(&disk).unwrap();
    let (before, mut answers) = (disk.operations(), Vec::new());
    for number in 0..BATCHES {
        answers.push(take::<Inventory>(&store, Step::Batch(number), stock).await.unwrap());
    }
    let (operations, expected) = (disk.operations() - before, picture(&store).await.unwrap());
    store.close().await.unwrap();

    let mut waited = 0;
    for write in (1..operations).step_by(3) {
        let disk = Disk::new();
        let store = open::<Inventory>(&disk).unwrap();
        disk.plan(Fault::Full(write));
        for number in 0..BATCHES {
            let (begun, mut failures) = (Instant::now(), 0);
            let answer = loop {
                match take::<Inventory>(&store, Step::Batch(number), stock).await {
                    Ok(answer) => break answer,
                    Err(error) => {
                        assert_eq!(error.code(), ErrorCode::StoreIo, "write {write}: {error}");
                        assert!(error.is_retriable(), "write {write}: {error}");
                        assert!(error.to_string().contains("is full"), "write {write}: {error}");
                    }
                }
                assert!(begun.elapsed() < SOON, "write {write}: it does not go on");
                failures += 1;
                match failures {
                    // Who asks meanwhile hears that it waits, or what is committed.
                    1 => drop(store.positions(&topic()).await),
                    2 => disk.plan(Fault::None),
                    _ => tokio::task::yield_now().await,
                }
            };
            waited += u64::from(failures > 0);
            assert_eq!(answer, answers[number as usize], "write {write}, batch {number}");
        }
        assert_eq!(picture(&store).await.unwrap(), expected, "write {write}");
        disk.plan(Fault::None);
        store.close().await.unwrap();
    }
    assert!(waited > operations / 12, "{waited} waits in {operations} operations");
}

/// More than the file has room for, so that it grows before the transaction ends.
fn large() -> Batch<InventoryOrder> {
    let entry = |offset| Entry {
        offset,
        timestamp: 1_700_000_000_000,
        identity: None,
        work: Work::DeadLetter(letter("ORD-JSON")),
    };
    let entries = (0..2_000).map(entry).collect();
    let part =
        Part { partition: 0, expected: 0, token: 7, next: 2_000, settled: Settled::new(), leader_epoch: 0, entries };
    Batch { topic: topic(), parts: vec![part] }
}

#[tokio::test]
async fn a_disk_that_is_full_before_the_transaction_ends_is_waited_for_as_well() {
    let disk = Disk::new();
    let store = open::<Inventory>(&disk).unwrap();
    disk.plan(Fault::Full(1));
    let error = store.apply(large()).await.unwrap_err();
    assert!(error.is_retriable() && error.to_string().contains("is full"), "{error}");
    disk.plan(Fault::None);
    let begun = Instant::now();
    while let Err(error) = store.apply(large()).await {
        assert!(error.is_retriable() && begun.elapsed() < SOON, "{error}");
        tokio::task::yield_now().await;
    }
    assert_eq!(store.positions(&topic()).await.unwrap()[&0].next, 2_000);
    store.close().await.unwrap();
}
