//! Fetching: whatever brokers, leaders and logs do, each order is applied once and nothing is skipped.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod consumer_support;
mod support;

use bytes::Bytes;
use consumer_support::*;
use orderflow::broker::{DevBroker, Records, Rule, Spot, Verdict};
use orderflow::consumer::{Control, InventoryConsumer, Summary};
use orderflow::store::{Query, Row, Start, Store, StoreReader};
use orderflow::wire::compression::Compression;
use orderflow::wire::kafka_error::KafkaError;
use orderflow::wire::message::ApiKey;
use orderflow::wire::record_batch::ControlType;
use orderflow::{ErrorCode, config::ClientConfig};
use support::wait::until_async;
use tokio::task::JoinHandle;

async fn start(config: &ClientConfig, shop: &Shop, log: &Log) -> (Control, JoinHandle<orderflow::Result<Summary>>) {
    let builder = InventoryConsumer::builder(config).store(shop.store()).observe(log.observer());
    let consumer = builder.build().await.unwrap();
    (consumer.control(), tokio::spawn(consumer.run(std::future::pending())))
}

async fn drain(control: Control, run: JoinHandle<orderflow::Result<Summary>>) {
    control.drain();
    tokio::time::timeout(SOON, run).await.expect("the run ends").unwrap().unwrap();
}

fn tight(broker: &DevBroker, settings: &[(&str, &str)]) -> ClientConfig {
    settings.iter().fold(config(broker), |config, (key, value)| config.set(key, *value).unwrap())
}

/// Every partition was told of in the order of its log.
fn assert_log_order(log: &Log) {
    let seen = log.seen();
    for partition in 0..6 {
        let offsets: Vec<_> = seen.iter().filter(|seen| seen.partition == partition).map(|seen| seen.offset).collect();
        assert!(offsets.is_sorted_by(|one, next| one < next), "partition {partition}: {offsets:?}");
    }
}

#[tokio::test]
async fn sessions_that_brokers_forget_or_refuse_begin_anew_and_lose_nothing() {
    let broker = DevBroker::builder().nodes(3).topic(TOPIC, 6).start().await.unwrap();
    let (shop, log) = (Shop::new(), Log::default());
    let errors = [KafkaError::FetchSessionIdNotFound, KafkaError::InvalidFetchSessionEpoch];
    let rules =
        errors.map(|error| broker.install(Rule::on(ApiKey::Fetch).skip(4).times(5).then(Verdict::Error(error))));
    let (control, run) = start(&config(&broker), &shop, &log).await;
    for round in 0..10_usize {
        for partition in 0..6 {
            let from = round * 60 + partition as usize * 10;
            write(&broker, partition, &entries(from..from + 10));
        }
        if round % 3 == 0 {
            broker.forget_fetch_sessions();
        }
        settled(&control, (round as u64 + 1) * 60).await;
    }
    assert_eq!(rules.map(|rule| rule.applied()), [5, 5]);
    drain(control, run).await;
    assert_log_order(&log);
    shop.assert_holds(600, 0).await;
    broker.shutdown().await;
}

#[tokio::test]
async fn leaders_that_move_while_they_are_fetched_from_are_followed() {
    let broker = DevBroker::builder().nodes(3).topic(TOPIC, 6).start().await.unwrap();
    let (shop, log) = (Shop::new(), Log::default());
    let (control, run) = start(&tight(&broker, &[("max.partition.fetch.bytes", "1024")]), &shop, &log).await;
    for round in 0..12_usize {
        for partition in 0..6 {
            let from = round * 120 + partition as usize * 20;
            write(&broker, partition, &entries(from..from + 10));
            broker.move_leader(TOPIC, partition, (round as i32 + partition) % 3 + 1).unwrap();
            write(&broker, partition, &entries(from + 10..from + 20));
        }
        if round % 4 == 3 {
            settled(&control, (round as u64 + 1) * 120).await;
        }
    }
    settled(&control, 1440).await;
    drain(control, run).await;
    assert_log_order(&log);
    shop.assert_holds(1440, 0).await;
    broker.shutdown().await;
}

#[tokio::test]
async fn connections_that_are_cut_and_nodes_that_restart_are_gone_on_from() {
    let broker = DevBroker::builder().nodes(2).topic(TOPIC, 4).start().await.unwrap();
    let (shop, log) = (Shop::new(), Log::default());
    let verdicts = [Verdict::Cut, Verdict::CutAfter];
    let rules = verdicts.map(|verdict| broker.install(Rule::on(ApiKey::Fetch).skip(3).times(4).then(verdict)));
    let (control, run) = start(&config(&broker), &shop, &log).await;
    for round in 0..8_usize {
        for partition in 0..4 {
            let from = round * 40 + partition as usize * 10;
            write(&broker, partition, &entries(from..from + 10));
        }
        match round {
            2 => broker.restart(1).await.unwrap(),
            4 => broker.restart(2).await.unwrap(),
            6 => broker.change_port(1).await.unwrap(),
            _ => settled(&control, (round as u64 + 1) * 40).await,
        }
    }
    settled(&control, 320).await;
    assert_eq!(rules.map(|rule| rule.applied()), [4, 4]);
    until_async("it is ready again", SOON, async || control.health().is_ready().then_some(())).await;
    drain(control, run).await;
    assert_log_order(&log);
    shop.assert_holds(320, 0).await;
    broker.shutdown().await;
}

#[tokio::test]
async fn without_a_position_the_reset_policy_decides_where_a_partition_begins() {
    let broker = broker(1).await;
    write(&broker, 0, &entries(0..10));
    write(&broker, 0, &entries(10..20));
    broker.delete_before(TOPIC, 0, 10).unwrap();
    for (reset, expected) in [("earliest", Ok(ids(10..20))), ("latest", Ok(ids(0..0))), ("none", Err(()))] {
        let (shop, log) = (Shop::new(), Log::default());
        let config = tight(&broker, &[("auto.offset.reset", reset)]);
        let builder = InventoryConsumer::builder(&config).group(format!("group-{reset}")).observe(log.observer());
        let store = orderflow::store::RedbInventory::open(shop.path(), &format!("group-{reset}")).unwrap();
        let run = builder.store(store).until_end().build().await.unwrap().run(std::future::pending());
        let ended = tokio::time::timeout(SOON, run).await.unwrap();
        match expected {
            Ok(ids) => {
                ended.unwrap();
                assert_eq!(log.order_ids("applied"), ids, "{reset}");
            }
            Err(()) => {
                let error = ended.unwrap_err();
                assert_eq!(error.code(), ErrorCode::OffsetOutOfRange, "{error}");
                assert!(error.to_string().contains("orders positions set inventory_orders 0"), "{error}");
            }
        }
    }
    broker.shutdown().await;
}

#[tokio::test]
async fn aborts_that_span_many_fetches_are_left_out_and_an_open_transaction_waits() {
    let (broker, shop, log) = (broker(1).await, Shop::new(), Log::default());
    // One batch a fetch, so that markers come long after the records that they judge.
    let config = tight(&broker, &[("max.partition.fetch.bytes", "1024"), ("fetch.max.bytes", "1024")]);
    let mut kept = Vec::new();
    for round in 0..6_usize {
        let from = round * 100;
        for batch in 0..4 {
            write_in_transaction(&broker, 0, 7, &entries(from + batch * 10..from + batch * 10 + 5));
            write_in_transaction(&broker, 0, 8, &entries(from + 50 + batch * 10..from + 55 + batch * 10));
        }
        let (seven, eight) = match round % 2 {
            0 => (ControlType::Abort, ControlType::Commit),
            _ => (ControlType::Commit, ControlType::Abort),
        };
        end_transaction(&broker, 0, 8, eight);
        write(&broker, 0, &entries(from + 95..from + 96));
        end_transaction(&broker, 0, 7, seven);
        let committed = if round % 2 == 0 { from + 50 } else { from };
        kept.extend((0..4).flat_map(|batch| committed + batch * 10..committed + batch * 10 + 5));
        kept.push(from + 95);
    }
    write_in_transaction(&broker, 0, 9, &entries(900..905));
    write(&broker, 0, &entries(910..911));
    let expected: Vec<_> = kept.iter().map(ToString::to_string).collect();
    shop.settle(&config, &log).await.unwrap();
    assert_eq!(log.order_ids("applied"), expected);
    end_transaction(&broker, 0, 9, ControlType::Abort);
    assert_eq!(shop.settle(&config, &log).await.unwrap().applied, 1);
    shop.assert_holds(expected.len() as u64 + 1, 0).await;
    broker.shutdown().await;
}

#[tokio::test]
async fn uncommitted_orders_are_read_where_that_is_asked_for() {
    let (broker, shop, log) = (broker(1).await, Shop::new(), Log::default());
    write_in_transaction(&broker, 0, 7, &entries(0..5));
    end_transaction(&broker, 0, 7, ControlType::Abort);
    write_in_transaction(&broker, 0, 7, &entries(5..10));
    let config = tight(&broker, &[("isolation.level", "read_uncommitted")]);
    shop.settle(&config, &log).await.unwrap();
    assert_eq!(log.order_ids("applied"), ids(0..10));
    broker.shutdown().await;
}

#[tokio::test]
async fn the_position_moves_over_holes_empty_batches_and_markers_alone() {
    let (broker, shop, log) = (broker(2).await, Shop::new(), Log::default());
    for from in [0, 10, 20, 30] {
        write(&broker, 0, &entries(from..from + 10));
    }
    broker.append(TOPIC, 0, Records::none(7)).unwrap();
    broker.compact(TOPIC, 0, |offset| offset % 3 == 0 && !(10..20).contains(&offset)).unwrap();
    end_transaction(&broker, 1, 7, ControlType::Abort);
    end_transaction(&broker, 1, 7, ControlType::Commit);
    let config = tight(&broker, &[("max.partition.fetch.bytes", "1024")]);
    let left: Vec<_> = (0..40).filter(|n| n % 3 == 0 && !(10..20).contains(n)).map(|n| n.to_string()).collect();
    shop.settle(&config, &log).await.unwrap();
    assert_eq!(log.order_ids("applied"), left);
    assert_eq!(broker.committed("inventory", TOPIC, 0), Some(47));
    assert_eq!(broker.committed("inventory", TOPIC, 1), Some(2));
    let audit = audit(&shop.path()).await;
    assert!(audit.holds, "{audit:?}");
    assert_eq!((audit.counts.applied, audit.counts.no_record), (left.len() as u64, 49 - left.len() as u64));
    // Holes appear also behind a position that lies in the middle of a batch.
    write(&broker, 0, &entries(50..60));
    shop.settle(&config, &log).await.unwrap();
    shop.assert_holds(left.len() as u64 + 10, 0).await;
    broker.shutdown().await;
}

#[tokio::test]
async fn a_batch_beyond_the_fetch_limit_comes_whole_and_one_beyond_any_answer_stops_its_partition_alone() {
    let (broker, shop, log) = (broker(2).await, Shop::new(), Log::default());
    let config = tight(&broker, &[("fetch.max.bytes", "2048"), ("max.partition.fetch.bytes", "1024")]);
    write(&broker, 0, &entries(0..1000));
    write(&broker, 0, &entries(1000..1005));
    shop.settle(&config, &log).await.unwrap();
    assert_eq!(log.order_ids("applied"), ids(0..1005));

    let huge = entries(2000..12_000);
    assert!(batch_of(&huge, Compression::None).len() > 1_100_000);
    write(&broker, 0, &huge);
    let (control, run) = start(&config, &shop, &log).await;
    write(&broker, 1, &entries(20_000..20_010));
    settled(&control, 10).await;
    let stopped = until_async("the partition stops", SOON, async || {
        Some(control.health().to_string()).filter(|health| health.contains("partition 0 has stopped"))
    });
    let health = stopped.await;
    assert!(health.contains("raise fetch.max.bytes"), "{health}");
    write(&broker, 1, &entries(20_010..20_020));
    settled(&control, 20).await;
    drain(control, run).await;

    let error = shop.settle(&config, &log).await.unwrap_err();
    assert_eq!((error.code(), error.place().offset), (ErrorCode::TooLarge, Some(1005)), "{error}");
    assert_eq!(shop.settle(&self::config(&broker), &log).await.unwrap().applied, 10_000);
    shop.assert_holds(11_025, 0).await;
    broker.shutdown().await;
}

/// A batch whose bytes from `at` on are others; its checksum fits them or not.
fn damaged(batch: &Bytes, at: usize, bytes: &[u8], with_checksum: bool) -> Bytes {
    let mut damaged = batch.to_vec();
    damaged[at..at + bytes.len()].copy_from_slice(bytes);
    if with_checksum {
        let checksum = crc32c::crc32c(&damaged[21..]);
        damaged[17..21].copy_from_slice(&checksum.to_be_bytes());
    }
    damaged.into()
}

#[tokio::test]
async fn a_damaged_batch_stops_its_partition_at_its_place_and_is_never_skipped() {
    let sound = batch_of(&entries(100..110), Compression::None);
    // Nine records over ten offsets.
    let short = damaged(&batch_of(&entries(100..109), Compression::None), 23, &9_i32.to_be_bytes(), false);
    let cases = [
        ("a wrong checksum", damaged(&sound, 80, b"x", false)),
        ("no gzip", damaged(&sound, 21, &[0, 1], true)),
        ("a record of hostile length", damaged(&sound, 61, &[0xfe, 0xff, 0xff, 0xff, 0x0f], true)),
        ("fewer records than it says", damaged(&short, 57, &10_i32.to_be_bytes(), true)),
    ];
    for (name, batch) in cases {
        let (broker, shop, log) = (broker(2).await, Shop::new(), Log::default());
        write(&broker, 0, &entries(0..10));
        broker.inject(TOPIC, 0, batch, Spot::Next).unwrap();
        write(&broker, 0, &entries(20..30));
        let error = shop.settle(&config(&broker), &log).await.unwrap_err();
        assert_eq!(error.code(), ErrorCode::Batch, "{name}: {error}");
        assert_eq!((error.place().partition, error.place().offset), (Some(0), Some(10)), "{name}: {error}");
        assert!(error.to_string().contains("orders positions set inventory_orders 0"), "{name}: {error}");
        shop.assert_holds(10, 0).await;
        assert_eq!(log.order_ids("applied"), ids(0..10), "{name}");

        let (control, run) = start(&config(&broker), &shop, &log).await;
        write(&broker, 1, &entries(40..45));
        settled(&control, 5).await;
        drain(control, run).await;
        go_on_at(&shop, 20).await;
        assert_eq!(shop.settle(&config(&broker), &log).await.unwrap().applied, 10, "{name}");
        shop.assert_holds(25, 0).await;
        broker.shutdown().await;
    }
}

/// What `orders positions set` does.
async fn go_on_at(shop: &Shop, next: i64) {
    let rows = StoreReader::open(shop.path()).await.unwrap().ask(Query::Positions).rows().await.unwrap();
    let row = rows.into_iter().find_map(|row| match row {
        Row::Position(row) if row.partition == Some(0) => Some(row),
        _ => None,
    });
    let row = row.unwrap();
    let id: Vec<_> = (0..16).map(|at| u8::from_str_radix(&row.topic_id[at * 2..at * 2 + 2], 16).unwrap()).collect();
    let id = orderflow::place::TopicId::new(id.try_into().unwrap());
    let (expected, reason) = (row.version, "damaged".to_owned());
    let start = Start { partition: 0, expected, token: 1, next, leader_epoch: -1, reason };
    let store = shop.store();
    store.set_position(&orderflow::store::Topic::new(id, TOPIC), start).await.unwrap();
    store.close().await.unwrap();
}

#[tokio::test]
async fn what_is_read_ahead_is_bounded_while_the_store_is_slow_and_fetching_goes_on_afterwards() {
    let (broker, shop, log) = (broker(1).await, Shop::new(), Log::default());
    let settings =
        [("prefetch.max.bytes", "65536"), ("fetch.max.bytes", "16384"), ("max.partition.fetch.bytes", "16384")];
    for batch in 0..200 {
        write(&broker, 0, &entries(batch * 100..batch * 100 + 100));
    }
    let store = faulty::FaultyStore::new(shop.store());
    store.set_open(false);
    let fetches = broker.install(Rule::on(ApiKey::Fetch).then(Verdict::Pass));
    let builder = InventoryConsumer::builder(&tight(&broker, &settings)).store(store.clone()).observe(log.observer());
    let consumer = builder.until_end().build().await.unwrap();
    let control = consumer.control();
    let run = tokio::spawn(consumer.run(std::future::pending()));
    store.waiting.subscribe().wait_for(|waiting| *waiting > 0).await.unwrap();
    // Nothing tells that a fetch is not coming: fifteen equal looks are as good.
    let (mut before, mut same) = (0, 0);
    until_async("fetching pauses", SOON, || {
        same = if fetches.applied() == before { same + 1 } else { 0 };
        before = fetches.applied();
        std::future::ready((same == 15).then_some(()))
    })
    .await;
    let read = 100 * 100 * before as usize;
    assert!(before <= 8, "{before} fetches, about {read} bytes, were read ahead");
    assert_eq!(control.summary().settled(), 0);
    store.set_open(true);
    assert_eq!(tokio::time::timeout(SOON, run).await.unwrap().unwrap().unwrap().applied, 20_000);
    assert!(fetches.applied() > 40);
    drop(store);
    shop.assert_holds(20_000, 0).await;
    broker.shutdown().await;
}
