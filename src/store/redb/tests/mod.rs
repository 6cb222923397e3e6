//! The store on a disk that fails.

mod crash;
mod disk;
pub(crate) mod inline;
mod room;
mod script;

use self::disk::{Disk, Fault};
use self::script::{Step, open, open_at, picture, take, topic};
use super::inventory::Inventory;
use super::platter::refuse_unsynced;
use crate::ErrorCode;
use crate::order::InventoryOrder;
use crate::store::Store;

fn receipt(index: u64) -> InventoryOrder {
    InventoryOrder::new("1", &format!("{}", index % 5), 2, "5/30/2023").unwrap()
}

#[tokio::test]
async fn a_store_whose_sync_fails_stops_and_never_goes_on_as_if_it_had_written() {
    for sync in 1..=3 {
        let (disk, folder) = (Disk::new(), tempfile::tempdir().unwrap());
        let path = folder.path().join("inventory.redb");
        let store = open_at::<Inventory>(&disk, Some(&path)).unwrap();
        take::<Inventory>(&store, Step::Batch(0), receipt).await.unwrap();
        disk.plan(Fault::SyncFails(sync));
        let mut number = 1;
        let failed = loop {
            match take::<Inventory>(&store, Step::Batch(number), receipt).await {
                Ok(_) => number += 1,
                Err(error) => break error,
            }
        };
        assert_eq!(failed.code(), ErrorCode::StoreIo);
        assert!(!failed.is_retriable(), "{failed}");
        // The disk works again, but what it holds is unknown.
        let after = take::<Inventory>(&store, Step::Batch(number), receipt).await.unwrap_err();
        assert_eq!(after.code(), ErrorCode::StoreIo);
        assert!(after.to_string().contains("stopped"), "{after}");
        assert_eq!(store.positions(&topic()).await.unwrap_err().code(), ErrorCode::StoreIo);
        drop(store.close().await);
        let next_process = refuse_unsynced(&path).unwrap_err();
        assert!(next_process.to_string().contains("may not be on the disk"), "{next_process}");

        let store = open::<Inventory>(&disk.after_power_loss(sync)).unwrap();
        let version = store.positions(&topic()).await.unwrap()[&0].version;
        assert!(version == number || version == number + 1, "sync {sync}: {number} answered, {version} kept");
        picture(&store).await.unwrap_or_else(|error| panic!("sync {sync}: {error}"));
        store.close().await.unwrap();
    }
}
