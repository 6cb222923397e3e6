//! Copies of a store: a restored backup, one that works beside the original, one that stood still.

use std::path::Path;
use std::time::Duration;

use orderflow::ErrorCode;
use orderflow::broker::DevBroker;
use orderflow::cluster::Cluster;
use orderflow::cluster::admin::groups::describe_group;
use orderflow::consumer::{InventoryConsumer, Summary};
use orderflow::store::Store;

use crate::consumer_support::*;
use crate::support::example::example;
use crate::support::program::Signal;
use crate::support::wait::until_async;

const WORK: Duration = Duration::from_secs(60);

async fn settle(broker: &DevBroker, shop: &Shop) -> orderflow::Result<Summary> {
    shop.settle(&config(broker), &Log::default()).await
}

/// Copies a store that nobody holds.
fn copy(from: &Path, to: &Path) {
    std::fs::copy(from, to).unwrap();
}

#[tokio::test]
async fn a_restored_backup_goes_on_from_where_it_stands_and_ends_as_if_nothing_had_been_lost() {
    let (broker, shop) = (broker(1).await, Shop::new());
    write(&broker, 0, &entries(0..10));
    settle(&broker, &shop).await.unwrap();
    let backup = shop.path().with_extension("backup");
    copy(&shop.path(), &backup);
    write(&broker, 0, &entries(10..20));
    write(&broker, 0, &entries(5..15));
    assert_eq!(settle(&broker, &shop).await.unwrap().applied, 10);
    copy(&backup, &shop.path());

    shop.assert_holds(10, 0).await;
    let summary = settle(&broker, &shop).await.unwrap();
    assert_eq!((summary.applied, summary.duplicates), (10, 10), "what it had is recognised");
    assert_eq!(settle(&broker, &shop).await.unwrap().settled(), 0, "it has the group again");
    shop.assert_holds(20, 10).await;
    broker.shutdown().await;
}

#[tokio::test]
async fn a_backup_from_before_a_partition_was_begun_begins_it_at_the_logs_beginning() {
    let (broker, shop) = (broker(1).await, Shop::new());
    shop.store().close().await.unwrap();
    let backup = shop.path().with_extension("backup");
    copy(&shop.path(), &backup);
    write(&broker, 0, &entries(0..10));
    settle(&broker, &shop).await.unwrap();
    copy(&backup, &shop.path());
    assert_eq!(settle(&broker, &shop).await.unwrap().applied, 10);
    shop.assert_holds(10, 0).await;
    broker.shutdown().await;
}

#[tokio::test]
async fn an_older_copy_of_a_store_whose_group_has_members_is_refused_until_they_are_gone() {
    let (broker, [shop, older]) = (broker(1).await, [Shop::new(), Shop::new()]);
    write(&broker, 0, &entries(0..10));
    settle(&broker, &shop).await.unwrap();
    copy(&shop.path(), &older.path());
    write(&broker, 0, &entries(10..20));
    let works = InventoryConsumer::builder(&config(&broker)).store(shop.store()).build().await.unwrap();
    let control = works.control();
    let works = tokio::spawn(works.run(std::future::pending()));
    let committed = async || (broker.committed("inventory", TOPIC, 0) == Some(20)).then_some(());
    until_async("all is committed", SOON, committed).await;

    let error = settle(&broker, &older).await.unwrap_err();
    assert_eq!((error.code(), error.place().partition), (ErrorCode::StoreClaimed, Some(0)), "{error}");
    for words in ["is older than what it has committed", "offset 20", "works with a copy of it"] {
        assert!(error.to_string().contains(words), "{words}: {error}");
    }
    older.assert_holds(10, 0).await;
    control.drain();
    works.await.unwrap().unwrap();
    assert_eq!(settle(&broker, &older).await.unwrap().applied, 10);
    older.assert_holds(20, 0).await;
    broker.shutdown().await;
}

/// Waits until the group has so many members.
async fn until_members(broker: &DevBroker, count: usize) {
    let cluster = Cluster::connect(&broker.config()).await.unwrap();
    let look = async || {
        let group = describe_group(&cluster, "inventory").await.ok()?;
        (group.members.len() == count).then_some(())
    };
    until_async(&format!("the group has {count} members"), SOON, look).await;
    cluster.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_stood_still_beyond_its_session_keeps_its_store_and_goes_on_when_it_wakes() {
    let builder = DevBroker::builder().topic(TOPIC, 2).group_heartbeat(Duration::from_millis(100));
    let broker = builder.group_session(Duration::from_secs(1)).start().await.unwrap();
    let shop = Shop::new();
    write(&broker, 0, &entries(0..10));
    let consume =
        || example("inventory_consumer").args(["-b", &broker.bootstrap(), "--json", "--store"]).arg(shop.path());
    let zombie = consume().start();
    let applied = |line: &str| line.starts_with("{\"applied\"");
    let until_applied = async |count: usize| {
        let look = async || (zombie.stdout().iter().filter(|line| applied(line)).count() == count).then_some(());
        until_async("as many are applied", WORK, look).await;
    };
    until_applied(10).await;
    zombie.signal(Signal::Stop);
    until_members(&broker, 0).await;
    write(&broker, 1, &entries(10..20));
    let second = consume().arg("-e");
    let second = tokio::task::spawn_blocking(|| second.run(WORK)).await.unwrap();
    assert_eq!(second.code(), Some(1), "{second}");
    assert!(second.stderr.contains("STO-LOCKED") && second.stderr.contains("holds the store"), "{second}");
    zombie.signal(Signal::Continue);
    until_applied(20).await;
    zombie.signal(Signal::Terminate);
    let finished = tokio::task::spawn_blocking(move || zombie.finish(WORK)).await.unwrap().ok();
    assert!(!finished.stdout.contains("\"duplicate\""), "{finished}");
    shop.assert_holds(20, 0).await;
    broker.shutdown().await;
}

#[tokio::test]
async fn two_copies_of_one_store_in_a_group_are_told_and_either_can_be_completed() {
    let (broker, shops) = (broker(2).await, [Shop::new(), Shop::new()]);
    for partition in 0..2 {
        write(&broker, partition, &entries(partition as usize * 100..partition as usize * 100 + 10));
    }
    let [original, other] = &shops;
    settle(&broker, original).await.unwrap();
    copy(&original.path(), &other.path());
    let settings = [("heartbeat.interval.ms", "100"), ("auto.commit.interval.ms", "10")];
    let settings = settings.into_iter().fold(config(&broker), |config, (key, value)| config.set(key, value).unwrap());
    let mut members = Vec::new();
    for shop in &shops {
        let consumer = InventoryConsumer::builder(&settings).store(shop.store()).build().await.unwrap();
        members.push((consumer.control(), tokio::spawn(consumer.run(std::future::pending()))));
    }
    let halves = async || members.iter().all(|(control, _)| control.lag().len() == 1).then_some(());
    until_async("each has a partition", SOON, halves).await;
    for partition in 0..2 {
        write(&broker, partition, &entries(partition as usize * 100 + 10..partition as usize * 100 + 20));
    }
    let applied = async || members.iter().all(|(control, _)| control.summary().applied == 10).then_some(());
    until_async("each has applied what the other lacks", SOON, applied).await;
    let committed = async || (0..2).all(|part| broker.committed("inventory", TOPIC, part) == Some(20)).then_some(());
    until_async("both have committed it", SOON, committed).await;
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(10)).await;
    tokio::time::resume();
    let words = "another process works with a copy of it";
    let told = async || members.iter().any(|(control, _)| control.health().to_string().contains(words)).then_some(());
    until_async("one of them says so", SOON, told).await;
    for (control, run) in members {
        control.drain();
        tokio::time::timeout(SOON, run).await.unwrap().unwrap().unwrap();
    }
    for shop in [other, original] {
        settle(&broker, shop).await.unwrap();
        shop.assert_holds(40, 0).await;
    }
    broker.shutdown().await;
}
