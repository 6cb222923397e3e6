//! A store that crashes at every single operation of its disk, and is opened again.
//!
//! After each crash everything that the store shows must be what an undisturbed store showed after some step: positions,
//! settled sets, stock or deliveries, movements, dead letters, what is requested of them, rows of a handler's own, outbox. One
//! that shows a position without its effect, an effect without its position, or a replay without all that it settles, shows a
//! picture that never was.
//!
//! ```text
//!  CRASH_SEEDS=50 cargo test --lib store::redb::tests::crash       more ways to lose what was not synced
//! ```

use super::super::deliveries::Deliveries;
use super::super::effect::Effect;
use super::super::inventory::Inventory;
use super::disk::{Disk, Fault};
use super::script::{Picture, Step, open, picture, steps, take};
use crate::ErrorCode;
use crate::order::{DeliveryOrder, InventoryOrder, Movement};
use crate::store::{Applied, Store};

const BATCHES: u64 = 9;

fn stock(index: u64) -> InventoryOrder {
    let movement = if index % 3 == 2 { Movement::Issue } else { Movement::Receipt };
    InventoryOrder::new("1", &format!("{}", index % 5), 2, "5/30/2023").unwrap().with_movement(movement)
}

fn delivery(index: u64) -> DeliveryOrder {
    DeliveryOrder::new(&format!("{index}"), "02758", 2, "5/30/2023").unwrap()
}

/// What an undisturbed store shows before the first step and after each, and answers to each.
struct Expected {
    pictures: Vec<Picture>,
    answers: Vec<Option<Applied>>,
    operations: u64,
}

async fn undisturbed<E: Effect>(order: fn(u64) -> E::Order) -> Expected {
    let disk = Disk::new();
    let store = open::<E>(&disk).unwrap();
    let (before, mut answers) = (disk.operations(), Vec::new());
    let mut pictures = vec![picture(&store).await.unwrap()];
    for step in steps(BATCHES) {
        answers.push(take::<E>(&store, step, order).await.unwrap());
        pictures.push(picture(&store).await.unwrap());
    }
    let operations = disk.operations() - before;
    let own = pictures.last().map_or(0, Picture::own_rows);
    assert!(own > 2, "{own} replays were applied with what a handler adds");
    store.close().await.unwrap();
    Expected { pictures, answers, operations }
}

/// Takes steps until one fails. How many were answered.
async fn until_it_fails<E: Effect>(disk: &Disk, order: fn(u64) -> E::Order) -> usize {
    // Opening writes as well, and may be what crashes.
    let Ok(store) = open::<E>(disk) else { return 0 };
    let mut done = 0;
    for step in steps(BATCHES) {
        if take::<E>(&store, step, order).await.is_err() {
            break;
        }
        done += 1;
    }
    drop(store.close().await);
    done
}

/// Opens the disk again: it shows what was answered, or one step more, and goes on from there.
async fn comes_back<E: Effect>(disk: Disk, done: usize, expected: &Expected, order: fn(u64) -> E::Order, case: &str) {
    let store = open::<E>(&disk).unwrap();
    let shown = picture(&store).await.unwrap_or_else(|error| panic!("{case}: {error}"));
    let is_as_before = expected.pictures[done] == shown;
    let is_one_more = !is_as_before && expected.pictures.get(done + 1) == Some(&shown);
    assert!(is_one_more || is_as_before, "{case}: {done} steps were answered, and nobody has seen this: {shown:#?}");
    for (at, step) in steps(BATCHES).into_iter().enumerate().skip(done) {
        // The step in doubt is taken again as the consumer does it: a batch with its tokens, the rest if need be.
        if at == done && is_one_more && !matches!(step, Step::Batch(_) | Step::Moved(_) | Step::Copied(_)) {
            continue;
        }
        let answer = take::<E>(&store, step, order).await.unwrap();
        assert_eq!(answer, expected.answers[at], "{case}: {step:?}");
    }
    assert_eq!(Some(&picture(&store).await.unwrap()), expected.pictures.last(), "{case}");
    store.close().await.unwrap();
}

fn seeds() -> u64 {
    std::env::var("CRASH_SEEDS").map_or(1, |seeds| seeds.parse().unwrap())
}

async fn crashes_everywhere<E: Effect>(order: fn(u64) -> E::Order) {
    let expected = undisturbed::<E>(order).await;
    assert!(expected.operations > 60, "{}", expected.operations);
    for seed in 0..seeds() {
        for crash in 1..=expected.operations {
            let disk = Disk::new();
            drop(open::<E>(&disk).unwrap().close().await);
            disk.plan(Fault::CrashAt(crash));
            let done = until_it_fails::<E>(&disk, order).await;
            let disk = disk.after_power_loss(seed << 32 | crash);
            comes_back::<E>(disk, done, &expected, order, &format!("seed {seed}, crash {crash}")).await;
        }
    }
}

#[tokio::test]
async fn stock_and_everything_else_move_with_their_positions_wherever_the_power_goes() {
    crashes_everywhere::<Inventory>(stock).await;
}

#[tokio::test]
async fn deliveries_and_everything_else_move_with_their_positions_wherever_the_power_goes() {
    crashes_everywhere::<Deliveries>(delivery).await;
}

#[tokio::test]
async fn a_write_that_fails_stops_the_store_and_the_next_process_goes_on_from_what_is_on_disk() {
    let expected = undisturbed::<Inventory>(stock).await;
    for write in (1..expected.operations).step_by(3) {
        let disk = Disk::new();
        let store = open::<Inventory>(&disk).unwrap();
        disk.plan(Fault::WriteFails(write));
        let mut done = 0;
        let mut steps = steps(BATCHES).into_iter();
        let failed = loop {
            let Some(step) = steps.next() else { break None };
            match take::<Inventory>(&store, step, stock).await {
                Ok(_) => done += 1,
                Err(error) => break Some((step, error)),
            }
        };
        if let Some((step, error)) = failed {
            assert_eq!(error.code(), ErrorCode::StoreIo, "write {write}: {error}");
            let after = take::<Inventory>(&store, step, stock).await.unwrap_err();
            assert!(after.to_string().contains("the store has stopped"), "write {write}: {after}");
        }
        assert!(disk.has_failed() || done == expected.answers.len(), "write {write}");
        drop(store.close().await);
        comes_back::<Inventory>(disk.after_power_loss(write), done, &expected, stock, &format!("write {write}")).await;
    }
}

/// A disk that lies takes answered work back. It takes the positions with it, so the log gives all of it again.
#[tokio::test]
async fn a_disk_that_syncs_nothing_takes_positions_and_effects_back_together() {
    let expected = undisturbed::<Inventory>(stock).await;
    for sync in 1..12 {
        let disk = Disk::new();
        drop(open::<Inventory>(&disk).unwrap().close().await);
        disk.plan(Fault::SyncsLost(sync));
        let done = until_it_fails::<Inventory>(&disk, stock).await;
        assert_eq!(done, expected.answers.len(), "nobody is told");
        let store = open::<Inventory>(&disk.as_synced()).unwrap();
        let shown = picture(&store).await.unwrap();
        assert!(expected.pictures.contains(&shown), "sync {sync}: nobody has seen this: {shown:#?}");
        assert_ne!(Some(&shown), expected.pictures.last(), "sync {sync}: nothing was lost");
        store.close().await.unwrap();
    }
}
