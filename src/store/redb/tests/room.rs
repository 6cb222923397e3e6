//! The store on a disk that is full for a while.

use std::time::{Duration, Instant};

use super::disk::{Disk, Fault};
use super::script::{Step, open, picture, take, topic};
use crate::ErrorCode;
use crate::order::InventoryOrder;
use crate::store::Store;
use crate::store::redb::inventory::Inventory;

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
