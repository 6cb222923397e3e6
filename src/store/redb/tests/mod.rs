//! The store on a disk that fails.

mod disk;

use std::path::Path;

use self::disk::{Disk, Fault};
use super::handle::{builder, start};
use super::inventory::Inventory;
use super::settings::{RedbSettings, Socket};
use super::{RedbInventory, RedbStore};
use crate::order::{Identity, InventoryOrder, Movement, Source};
use crate::place::TopicId;
use crate::store::{
    Applied, Audit, Batch, DeadLetter, Entry, Original, Part, Position, Query, Row, Settled, Store, Topic, Work,
};
use crate::{ErrorCode, Result};

fn open(disk: &Disk) -> Result<RedbInventory> {
    let settings = RedbSettings { socket: Socket::None, ..RedbSettings::default() };
    let database = builder(&settings).create_with_backend(disk.clone()).map_err(super::fault::fault)?;
    start::<Inventory>(database, Path::new("disk"), "inventory", settings, ())
}

fn topic() -> Topic {
    Topic::new(TopicId::new([1; 16]), "inventory_orders")
}

/// The n-th batch of a script: receipts, issues, duplicates and a dead letter in two partitions.
fn batch(number: u64) -> Batch<InventoryOrder> {
    let part = |partition: i32| {
        let at = (number as i64) * 4;
        let entries = (0..4).map(|offset| {
            let index = number * 3 + offset;
            let identity = Identity::numbered(Source::of_digest([partition as u8; 32]), index).ok();
            let work = if number % 5 == 4 && offset == 0 { broken() } else { moved(number, offset) };
            Entry { offset: at + offset as i64, timestamp: 1_700_000_000_000 + at, identity, work }
        });
        Part {
            partition,
            expected: number,
            token: u128::from(number) + 7,
            next: at + 4,
            settled: Settled::new(),
            leader_epoch: 0,
            entries: entries.collect(),
        }
    };
    Batch { topic: topic(), parts: vec![part(0), part(1)] }
}

fn moved(number: u64, offset: u64) -> Work<InventoryOrder> {
    let movement = if offset == 3 { Movement::Issue } else { Movement::Receipt };
    let product = format!("{}", (number + offset) % 7);
    Work::Apply(InventoryOrder::new("1", &product, 2, "5/30/2023").unwrap().with_movement(movement))
}

fn broken() -> Work<InventoryOrder> {
    let original = Original { value: Some(vec![b'{'; 5_000].into()), ..Original::default() };
    Work::DeadLetter(DeadLetter { code: "ORD-JSON".into(), reason: "no JSON".into(), attempts: 1, original })
}

async fn answers(store: &RedbInventory) -> (Vec<Row>, Audit) {
    let stock = store.reader().ask(Query::Stock { products: Vec::new() }).rows().await.unwrap();
    match store.reader().ask(Query::Verify).rows().await.unwrap().pop() {
        Some(Row::Audit(audit)) => (stock, audit),
        other => panic!("{other:?}"),
    }
}

/// What an undisturbed store answers to a script of so many batches.
async fn undisturbed(batches: u64) -> (Vec<Applied>, (Vec<Row>, Audit), u64) {
    let disk = Disk::new();
    let store = open(&disk).unwrap();
    let before = disk.operations();
    let mut applied = Vec::new();
    for number in 0..batches {
        applied.push(store.apply(batch(number)).await.unwrap());
    }
    let answers = answers(&store).await;
    let operations = disk.operations() - before;
    store.close().await.unwrap();
    (applied, answers, operations)
}

const BATCHES: u64 = 9;

#[tokio::test]
async fn a_crash_at_any_write_loses_nothing_that_was_answered_and_applies_nothing_twice() {
    let (expected, answered, operations) = undisturbed(BATCHES).await;
    assert!(answered.1.holds, "{:?}", answered.1);
    assert!(operations > 40, "{operations}");
    for crash in 1..=operations {
        let disk = Disk::new();
        let store = open(&disk).unwrap();
        disk.plan(Fault::CrashAt(crash));
        let mut done = 0;
        while done < BATCHES && store.apply(batch(done)).await.is_ok() {
            done += 1;
        }
        drop(store.close().await);

        let disk = disk.after_power_loss(crash);
        let store = open(&disk).unwrap();
        let version = store.positions(&topic()).await.unwrap().get(&0).map_or(0, |at: &Position| at.version);
        assert!(version == done || version == done + 1, "crash {crash}: {done} answered, {version} kept");
        assert!(answers(&store).await.1.holds, "crash {crash}");
        // The batch in doubt is sent again with its token, then the rest.
        for number in done..BATCHES {
            let applied = store.apply(batch(number)).await.unwrap();
            assert_eq!(applied, expected[number as usize], "crash {crash}, batch {number}");
        }
        assert_eq!(answers(&store).await, answered, "crash {crash}");
        store.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_store_whose_sync_fails_stops_and_never_goes_on_as_if_it_had_written() {
    for sync in 1..=3 {
        let disk = Disk::new();
        let store: RedbStore<InventoryOrder> = open(&disk).unwrap();
        store.apply(batch(0)).await.unwrap();
        disk.plan(Fault::SyncFails(sync));
        let mut number = 1;
        let failed = loop {
            match store.apply(batch(number)).await {
                Ok(_) => number += 1,
                Err(error) => break error,
            }
        };
        assert_eq!(failed.code(), ErrorCode::StoreIo);
        // The disk works again, but what it holds is unknown.
        let after = store.apply(batch(number)).await.unwrap_err();
        assert_eq!(after.code(), ErrorCode::StoreIo);
        assert!(after.to_string().contains("stopped"), "{after}");
        assert_eq!(store.positions(&topic()).await.unwrap_err().code(), ErrorCode::StoreIo);
        drop(store.close().await);

        let store = open(&disk.after_power_loss(sync)).unwrap();
        let version = store.positions(&topic()).await.unwrap()[&0].version;
        assert!(version == number || version == number + 1, "sync {sync}: {number} answered, {version} kept");
        assert!(answers(&store).await.1.holds, "sync {sync}");
        store.close().await.unwrap();
    }
}
