//! A consumer with a store: each effect once, whatever happens.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod consumer_support;
mod support;

use consumer_support::faulty::{Fault, FaultyStore};
use consumer_support::*;
use orderflow::ErrorCode;
use orderflow::broker::{DevBroker, Rule, Verdict};
use orderflow::consumer::InventoryConsumer;
use orderflow::wire::compression::Compression;
use orderflow::wire::kafka_error::KafkaError;
use orderflow::wire::message::ApiKey;
use orderflow::wire::record_batch::ControlType;
use support::wait::until_async;

#[tokio::test]
async fn all_orders_are_applied_once_and_told_in_log_order() {
    let (broker, shop, log) = (broker(3).await, Shop::new(), Log::default());
    for (partition, from) in [(0, 0), (1, 100), (2, 200)] {
        write(&broker, partition, &entries(from..from + 60));
        write(&broker, partition, &entries(from + 60..from + 100));
    }
    let summary = shop.settle(&config(&broker), &log).await.unwrap();
    assert_eq!((summary.applied, summary.settled()), (300, 300));
    assert_eq!(log.order_ids("applied"), ids(0..300));
    for partition in 0..3 {
        let offsets: Vec<_> = log.seen().iter().filter(|seen| seen.partition == partition).map(|s| s.offset).collect();
        assert_eq!(offsets, (0..100).collect::<Vec<_>>());
        assert_eq!(broker.committed("inventory", TOPIC, partition), Some(100));
    }
    broker.shutdown().await;
}

#[tokio::test]
async fn a_restart_goes_on_where_the_store_stands() {
    let (broker, shop, log) = (broker(2).await, Shop::new(), Log::default());
    write(&broker, 0, &entries(0..10));
    assert_eq!(shop.settle(&config(&broker), &log).await.unwrap().applied, 10);
    write(&broker, 0, &entries(10..15));
    write(&broker, 1, &entries(15..20));
    assert_eq!(shop.settle(&config(&broker), &log).await.unwrap().applied, 10);
    assert_eq!(log.order_ids("applied"), ids(0..20));
    assert_eq!(shop.settle(&config(&broker), &log).await.unwrap().settled(), 0);
    broker.shutdown().await;
}

#[tokio::test]
async fn a_file_that_is_sent_again_has_no_second_effect() {
    let (broker, shop, log) = (broker(2).await, Shop::new(), Log::default());
    write(&broker, 0, &entries(0..10));
    write(&broker, 1, &entries(0..10));
    let summary = shop.settle(&config(&broker), &log).await.unwrap();
    assert_eq!((summary.applied, summary.duplicates), (10, 10));
    broker.shutdown().await;
}

#[tokio::test]
async fn a_limit_is_exact_and_nothing_beyond_it_is_applied() {
    let (broker, shop, log) = (broker(3).await, Shop::new(), Log::default());
    for partition in 0..3 {
        let from = partition as usize * 10;
        write(&broker, partition, &entries(from..from + 10));
    }
    for limit in [0, 7, 10, 13] {
        let builder = InventoryConsumer::builder(&config(&broker)).store(shop.store()).observe(log.observer());
        let consumer = builder.limit(limit).build().await.unwrap();
        let run = consumer.run(std::future::pending());
        let summary = tokio::time::timeout(SOON, run).await.unwrap().unwrap();
        assert_eq!(summary.settled(), limit);
    }
    assert_eq!(log.order_ids("applied"), ids(0..30));
    broker.shutdown().await;
}

#[tokio::test]
async fn an_empty_topic_is_at_its_end_and_a_missing_one_is_an_error() {
    let (broker, shop, log) = (broker(4).await, Shop::new(), Log::default());
    assert_eq!(shop.settle(&config(&broker), &log).await.unwrap().settled(), 0);
    let missing = InventoryConsumer::builder(&config(&broker)).topic("no_orders").store(shop.store()).until_end();
    let error = missing.build().await.unwrap().run(std::future::pending()).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::UnknownTopic, "{error}");
    broker.shutdown().await;
}

#[tokio::test]
async fn what_is_no_order_becomes_a_dead_letter_and_the_rest_is_applied() {
    let (broker, shop, log) = (broker(1).await, Shop::new(), Log::default());
    let mut bad = entries(0..6);
    bad[1].value = Some(b"not JSON".to_vec());
    bad[3].value = None;
    bad[4].identity = Some(String::new());
    write(&broker, 0, &bad);
    let summary = shop.settle(&config(&broker), &log).await.unwrap();
    assert_eq!((summary.applied, summary.dead_letters), (3, 3));
    let dead: Vec<_> = log.seen().into_iter().filter(|seen| seen.outcome == "dead letter").map(|s| s.offset).collect();
    assert_eq!(dead, [1, 3, 4]);
    broker.shutdown().await;
}

#[tokio::test]
async fn aborted_orders_are_left_out_and_the_end_is_reached_over_markers() {
    let (broker, shop, log) = (broker(1).await, Shop::new(), Log::default());
    write_in_transaction(&broker, 0, 7, &entries(0..3));
    write_in_transaction(&broker, 0, 8, &entries(10..12));
    write(&broker, 0, &entries(20..22));
    end_transaction(&broker, 0, 7, ControlType::Abort);
    end_transaction(&broker, 0, 8, ControlType::Commit);
    write_in_transaction(&broker, 0, 7, &entries(30..31));
    end_transaction(&broker, 0, 7, ControlType::Commit);
    write_in_transaction(&broker, 0, 7, &entries(40..41));
    end_transaction(&broker, 0, 7, ControlType::Abort);
    let summary = shop.settle(&config(&broker), &log).await.unwrap();
    assert_eq!(log.order_ids("applied"), ["10", "11", "20", "21", "30"]);
    assert_eq!(summary.applied, 5);
    assert_eq!(broker.committed("inventory", TOPIC, 0), Some(broker.offsets(TOPIC, 0).unwrap().end));
    broker.shutdown().await;
}

#[tokio::test]
async fn an_open_transaction_does_not_hold_up_the_end() {
    let (broker, shop, log) = (broker(1).await, Shop::new(), Log::default());
    write(&broker, 0, &entries(0..3));
    write_in_transaction(&broker, 0, 7, &entries(10..12));
    write(&broker, 0, &entries(3..5));
    assert_eq!(shop.settle(&config(&broker), &log).await.unwrap().applied, 3);
    end_transaction(&broker, 0, 7, ControlType::Commit);
    assert_eq!(shop.settle(&config(&broker), &log).await.unwrap().applied, 4);
    broker.shutdown().await;
}

#[tokio::test]
async fn compressed_batches_are_read() {
    let (broker, shop, log) = (broker(1).await, Shop::new(), Log::default());
    let codecs = [Compression::Gzip, Compression::Snappy, Compression::Lz4];
    for (n, compression) in codecs.into_iter().enumerate() {
        write_with(&broker, 0, &entries(n * 10..n * 10 + 10), compression);
    }
    shop.settle(&config(&broker), &log).await.unwrap();
    assert_eq!(log.order_ids("applied"), ids(0..30));
    broker.shutdown().await;
}

#[tokio::test]
async fn a_clean_stop_commits_what_was_settled() {
    let (broker, shop, log) = (broker(2).await, Shop::new(), Log::default());
    write(&broker, 0, &entries(0..50));
    let builder = InventoryConsumer::builder(&config(&broker)).store(shop.store()).observe(log.observer());
    let consumer = builder.build().await.unwrap();
    let control = consumer.control();
    assert!(!control.health().is_ready());
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let run = tokio::spawn(consumer.run(async { drop(stopped.await) }));
    until_async("all is settled", SOON, async || (control.summary().settled() == 50).then_some(())).await;
    assert!(control.health().is_ready(), "{}", control.health());
    let lag: u64 = control.lag().iter().filter_map(|lag| lag.records()).sum();
    assert_eq!((control.lag().len(), lag), (2, 0));
    stop.send(()).unwrap();
    assert_eq!(run.await.unwrap().unwrap().applied, 50);
    assert_eq!(broker.committed("inventory", TOPIC, 0), Some(50));
    assert_eq!(shop.settle(&config(&broker), &log).await.unwrap().settled(), 0);
    broker.shutdown().await;
}

#[tokio::test]
async fn a_topic_that_comes_later_and_partitions_that_are_added_are_read_from_their_first_offset() {
    let broker = DevBroker::builder().auto_create(false).start().await.unwrap();
    let (shop, log) = (Shop::new(), Log::default());
    let config = config(&broker).set("auto.offset.reset", "latest").unwrap();
    let builder = InventoryConsumer::builder(&config).store(shop.store()).observe(log.observer());
    let consumer = builder.build().await.unwrap();
    let control = consumer.control();
    let run = tokio::spawn(consumer.run(std::future::pending()));
    until_async("health says why", SOON, async || control.health().to_string().contains(TOPIC).then_some(())).await;
    broker.create_topic(TOPIC, 1, &[]).unwrap();
    until_async("it is ready", SOON, async || control.health().is_ready().then_some(())).await;
    until_async("it has begun", SOON, async || control.lag().first().and_then(|lag| lag.end)).await;
    write(&broker, 0, &entries(0..5));
    broker.add_partitions(TOPIC, 2).unwrap();
    write(&broker, 1, &entries(5..10));
    until_async("both are settled", SOON, async || (control.summary().applied == 10).then_some(())).await;
    run.abort();
    assert!(run.await.is_err());
    broker.shutdown().await;
}

#[tokio::test]
async fn a_topic_made_anew_is_read_from_its_first_offset() {
    let (broker, shop, log) = (broker(1).await, Shop::new(), Log::default());
    write(&broker, 0, &entries(0..5));
    let builder = InventoryConsumer::builder(&config(&broker)).store(shop.store()).observe(log.observer());
    let consumer = builder.build().await.unwrap();
    let control = consumer.control();
    let run = tokio::spawn(consumer.run(std::future::pending()));
    until_async("the first is settled", SOON, async || (control.summary().applied == 5).then_some(())).await;
    broker.delete_topic(TOPIC).unwrap();
    broker.create_topic(TOPIC, 1, &[]).unwrap();
    write(&broker, 0, &entries(3..9));
    until_async("the second is settled", SOON, async || (control.summary().settled() == 11).then_some(())).await;
    assert_eq!((control.summary().applied, control.summary().duplicates), (9, 2));
    run.abort();
    assert!(run.await.is_err());
    broker.shutdown().await;
}

#[tokio::test]
async fn deleted_orders_stop_the_partition_and_name_the_way_out() {
    let (broker, shop, log) = (broker(2).await, Shop::new(), Log::default());
    write(&broker, 0, &entries(0..10));
    shop.settle(&config(&broker), &log).await.unwrap();
    write(&broker, 0, &entries(10..20));
    write(&broker, 0, &entries(20..30));
    broker.delete_before(TOPIC, 0, 20).unwrap();
    let error = shop.settle(&config(&broker), &log).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::OffsetOutOfRange, "{error}");
    assert_eq!(error.place().partition, Some(0));
    assert!(error.to_string().contains("orders positions set"), "{error}");
    broker.shutdown().await;
}

#[tokio::test]
async fn a_log_that_lost_what_was_applied_stops_the_partition() {
    let (broker, shop, log) = (broker(1).await, Shop::new(), Log::default());
    write(&broker, 0, &entries(0..10));
    write(&broker, 0, &entries(10..20));
    shop.settle(&config(&broker), &log).await.unwrap();
    broker.truncate(TOPIC, 0, 10).unwrap();
    write(&broker, 0, &entries(50..80));
    let error = shop.settle(&config(&broker), &log).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::Diverged, "{error}");
    assert!(log.order_ids("applied") == ids(0..20));
    broker.shutdown().await;
}

#[tokio::test]
async fn faults_on_the_way_change_nothing_in_the_end() {
    let broker = DevBroker::builder().nodes(3).topic(TOPIC, 6).start().await.unwrap();
    let (shop, log) = (Shop::new(), Log::default());
    for partition in 0..6 {
        for round in 0..5 {
            let from = partition as usize * 1000 + round * 20;
            write(&broker, partition, &entries(from..from + 20));
        }
    }
    let rules = [
        Rule::on(ApiKey::Fetch).skip(1).times(2).then(Verdict::CutAfter),
        Rule::on(ApiKey::Fetch).skip(4).times(1).then(Verdict::Error(KafkaError::NotLeaderOrFollower)),
        Rule::on(ApiKey::ListOffsets).times(1).then(Verdict::Error(KafkaError::LeaderNotAvailable)),
        Rule::on(ApiKey::OffsetFetch).times(1).then(Verdict::Error(KafkaError::CoordinatorLoadInProgress)),
        Rule::on(ApiKey::OffsetCommit).times(1).then(Verdict::CutAfter),
        Rule::on(ApiKey::FindCoordinator).times(1).then(Verdict::Error(KafkaError::CoordinatorNotAvailable)),
    ];
    let _rules: Vec<_> = rules.into_iter().map(|rule| broker.install(rule)).collect();
    let builder = InventoryConsumer::builder(&config(&broker)).store(shop.store()).observe(log.observer());
    let consumer = builder.until_end().build().await.unwrap();
    let control = consumer.control();
    let run = tokio::spawn(consumer.run(std::future::pending()));
    broker.move_leader(TOPIC, 0, 2).unwrap();
    broker.forget_fetch_sessions();
    broker.move_leader(TOPIC, 1, 3).unwrap();
    let summary = tokio::time::timeout(SOON, run).await.unwrap_or_else(|_| panic!("{control:?} {:?}", control.lag()));
    assert_eq!(summary.unwrap().unwrap().applied, 600);
    for partition in 0..6 {
        assert_eq!(broker.committed("inventory", TOPIC, partition), Some(100));
    }
    broker.shutdown().await;
}

#[tokio::test]
async fn a_group_whose_positions_are_in_another_store_is_left_alone() {
    let (broker, log) = (broker(1).await, Log::default());
    write(&broker, 0, &entries(0..10));
    Shop::new().settle(&config(&broker), &log).await.unwrap();
    let error = Shop::new().settle(&config(&broker), &log).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::StoreClaimed, "{error}");
    assert_eq!(log.order_ids("applied").len(), 10);
    broker.shutdown().await;
}

#[tokio::test]
async fn pausing_holds_orders_back_and_draining_ends_the_run() {
    let (broker, shop, log) = (broker(1).await, Shop::new(), Log::default());
    let builder = InventoryConsumer::builder(&config(&broker)).store(shop.store()).observe(log.observer());
    let consumer = builder.build().await.unwrap();
    let control = consumer.control();
    let run = tokio::spawn(consumer.run(std::future::pending()));
    write(&broker, 0, &entries(0..10));
    until_async("the first are settled", SOON, async || (control.summary().applied == 10).then_some(())).await;
    control.pause();
    write(&broker, 0, &entries(10..20));
    assert_eq!(control.summary().applied, 10);
    control.resume();
    until_async("the others are settled", SOON, async || (control.summary().applied == 20).then_some(())).await;
    control.drain();
    assert_eq!(tokio::time::timeout(SOON, run).await.unwrap().unwrap().unwrap().applied, 20);
    assert!(!control.health().is_ready());
    broker.shutdown().await;
}

/// The store refused a group whose partitions another process had claimed for a moment, and no version moved. What arrived
/// of them before they began anew was applied on its own, and the refused records were passed over.
#[tokio::test]
async fn nothing_is_passed_over_where_a_refused_partition_begins_anew_while_its_records_arrive() {
    const ROUNDS: usize = 2_000;
    let (broker, shop, log) = (broker(1).await, Shop::new(), Log::default());
    for round in 0..ROUNDS {
        write(&broker, 0, &entries(round * 5..round * 5 + 5));
    }
    let store = FaultyStore::new(shop.store());
    store.fail([Fault::Pass, Fault::Claim].into_iter().cycle().take(300));
    let config = config(&broker).set("prefetch.max.bytes", "8000").unwrap();
    let builder = InventoryConsumer::builder(&config).store(store.clone()).observe(log.observer()).until_end();
    let run = builder.build().await.unwrap().run(std::future::pending());
    let summary = tokio::time::timeout(SOON, run).await.unwrap().unwrap();
    assert!(store.is_done());
    assert_eq!((summary.applied, summary.settled()), (5 * ROUNDS as u64, 5 * ROUNDS as u64));
    assert_eq!(log.order_ids("applied"), ids(0..5 * ROUNDS));
    broker.shutdown().await;
}

/// The run had to end, but first settled what it had in hand: the next group, which a store that had stopped for one
/// transaction only took, and the refused records were passed over.
#[tokio::test]
async fn a_store_that_stops_is_given_nothing_that_lies_behind_what_it_did_not_take() {
    let (broker, shop, log) = (broker(1).await, Shop::new(), Log::default());
    write(&broker, 0, &entries(0..5));
    let store = FaultyStore::new(shop.store());
    store.set_open(false);
    store.fail([Fault::Break]);
    let builder = InventoryConsumer::builder(&config(&broker)).store(store.clone()).observe(log.observer());
    let consumer = builder.build().await.unwrap();
    let control = consumer.control();
    let run = tokio::spawn(consumer.run(std::future::pending()));
    store.waiting.subscribe().wait_for(|waiting| *waiting > 0).await.unwrap();
    write(&broker, 0, &entries(5..10));
    let fetched = || std::future::ready(control.lag().iter().any(|lag| lag.end == Some(10)).then_some(()));
    until_async("the next orders are in hand", SOON, fetched).await;
    store.set_open(true);
    let error = tokio::time::timeout(SOON, run).await.unwrap().unwrap().unwrap_err();
    assert_eq!((error.code(), error.is_retriable()), (ErrorCode::StoreIo, false));
    drop(store);
    assert_eq!(shop.settle(&config(&broker), &log).await.unwrap().applied, 10);
    assert_eq!(log.order_ids("applied"), ids(0..10));
    broker.shutdown().await;
}
