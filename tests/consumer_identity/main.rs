//! Identities: whatever is sent, read or made again, each order takes effect once.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "../consumer_support/mod.rs"]
mod consumer_support;
mod log;
#[path = "../support/mod.rs"]
mod support;

use consumer_support::faulty::{Fault, FaultyStore};
use consumer_support::*;
use orderflow::ErrorCode;
use orderflow::broker::DevBroker;
use orderflow::consumer::InventoryConsumer;
use orderflow::order::{Identity, Source};
use orderflow::store::{DeadLetterKind, DeadLetterRow, Query, RedbInventory, RedbSettings, Row, Store, StoreReader};
use orderflow::wire::compression::Compression;
use support::wait::until_async;

/// The entries of a file, as a producer identifies them.
fn of_file(file: u8, numbers: impl IntoIterator<Item = usize>) -> Vec<Entry> {
    let source = Source::of_digest([file; 32]);
    let identity = |n: usize| Identity::numbered(source, n as u64).unwrap().to_string();
    numbers.into_iter().map(|n| Entry { identity: Some(identity(n)), ..entry(n, &format!("p{}", n % 7)) }).collect()
}

fn with_key(n: usize, key: &[u8]) -> Entry {
    Entry { identity: None, more_identities: vec![key.to_vec()], ..entry(n, "p") }
}

async fn letters(shop: &Shop) -> Vec<DeadLetterRow> {
    let rows = StoreReader::open(shop.path()).await.unwrap().ask(Query::DeadLetters { all: true }).rows().await;
    let mut letters: Vec<_> = rows
        .unwrap()
        .into_iter()
        .filter_map(|row| match row {
            Row::DeadLetter(row) => Some(row),
            _ => None,
        })
        .collect();
    letters.sort_by_key(|letter| (letter.partition, letter.offset));
    letters
}

#[tokio::test]
async fn of_a_file_that_was_sent_in_part_the_second_run_applies_exactly_the_rest() {
    let (broker, shop, log) = (broker(3).await, Shop::new(), Log::default());
    // Entry 5 of 10 failed to be sent, and so did the last one.
    write(&broker, 0, &of_file(1, [0, 1, 2, 3, 4]));
    write(&broker, 0, &of_file(1, [6, 7, 8]));
    assert_eq!(shop.settle(&config(&broker), &log).await.unwrap().applied, 8);
    write(&broker, 0, &of_file(1, 0..10));
    let summary = shop.settle(&config(&broker), &log).await.unwrap();
    assert_eq!((summary.applied, summary.duplicates), (2, 8));
    // Another file's entries of the same numbers are other orders; a third run of the first has no effect.
    write(&broker, 1, &of_file(2, 0..10));
    write(&broker, 2, &of_file(1, (0..10).rev()));
    let summary = shop.settle(&config(&broker), &log).await.unwrap();
    assert_eq!((summary.applied, summary.duplicates), (10, 10));
    shop.assert_holds(20, 18).await;
    broker.shutdown().await;
}

#[tokio::test]
async fn partitions_that_are_added_between_two_runs_make_no_order_new() {
    let (broker, shop, log) = (broker(1).await, Shop::new(), Log::default());
    write(&broker, 0, &of_file(1, 0..50));
    shop.settle(&config(&broker), &log).await.unwrap();
    broker.add_partitions(TOPIC, 4).unwrap();
    for partition in 0..4 {
        write(&broker, partition, &of_file(1, (0..60).filter(|n| n % 4 == partition as usize)));
    }
    let summary = shop.settle(&config(&broker), &log).await.unwrap();
    assert_eq!((summary.applied, summary.duplicates), (10, 50));
    shop.assert_holds(60, 50).await;
    broker.shutdown().await;
}

#[tokio::test]
async fn a_topic_made_anew_begins_at_its_first_offset_and_its_orders_keep_their_identities() {
    let (broker, shop, log) = (broker(1).await, Shop::new(), Log::default());
    write(&broker, 0, &of_file(1, 0..10));
    write(&broker, 0, &nameless(100..105));
    shop.settle(&config(&broker), &log).await.unwrap();
    broker.recreate_topic(TOPIC).unwrap();
    write(&broker, 0, &of_file(1, 5..20));
    write(&broker, 0, &nameless(100..105));
    let summary = shop.settle(&config(&broker), &log).await.unwrap();
    // What has no identity is known by its place, and this topic's places are new.
    assert_eq!((summary.applied, summary.duplicates), (15, 5));
    shop.assert_holds(30, 5).await;
    assert_eq!(shop.settle(&config(&broker), &log).await.unwrap().settled(), 0);
    broker.shutdown().await;
}

#[tokio::test]
async fn foreign_keys_are_opaque_and_compared_whole_however_long() {
    let (broker, shop, log) = (broker(2).await, Shop::new(), Log::default());
    let long = |last: u8| [&[b'k'; 300][..], &[last]].concat();
    let keys: [&[u8]; 10] = [
        b"checkout:97537",
        b"checkout:97538",
        &[0xff, 0, 0xfe],
        b"of1:abc:01",
        b"of1:abc:1x",
        b"of1:",
        &long(1),
        &long(2),
        &[b'k'; 128],
        &[b'k'; 129],
    ];
    let orders: Vec<_> = keys.iter().enumerate().map(|(n, key)| with_key(n, key)).collect();
    write(&broker, 0, &orders);
    write(&broker, 1, &orders);
    let summary = shop.settle(&config(&broker), &log).await.unwrap();
    assert_eq!((summary.applied, summary.duplicates, summary.dead_letters), (10, 10, 0));
    write(&broker, 0, &orders);
    assert_eq!(shop.settle(&config(&broker), &log).await.unwrap().duplicates, 10);
    shop.assert_holds(10, 20).await;
    broker.shutdown().await;
}

#[tokio::test]
async fn an_empty_key_or_two_of_them_are_dead_letters_with_code_and_place() {
    let (broker, shop, log) = (broker(1).await, Shop::new(), Log::default());
    let mut two = with_key(2, b"one");
    two.more_identities.push(b"another".to_vec());
    let mut twice = with_key(3, b"one");
    twice.more_identities.push(b"one".to_vec());
    write(&broker, 0, &[entry(0, "p"), with_key(1, b""), two, twice, with_key(4, b"one")]);
    let summary = shop.settle(&config(&broker), &log).await.unwrap();
    assert_eq!((summary.applied, summary.dead_letters), (2, 3));
    let letters = letters(&shop).await;
    let told: Vec<_> = letters.iter().map(|letter| (letter.code.as_str(), letter.offset)).collect();
    assert_eq!(told, [("ORD-IDENTITY", Some(1)), ("ORD-IDENTITY", Some(2)), ("ORD-IDENTITY", Some(3))]);
    broker.shutdown().await;
}

#[tokio::test]
async fn each_rule_that_a_record_breaks_is_kept_with_its_code_its_place_and_its_bytes() {
    let (broker, shop, log) = (broker(1).await, Shop::new(), Log::default());
    let order = |field: &str, value: &str| {
        let mut order = serde_json::json!({"order_id": "1", "product_id": "2", "quantity": 3, "type": "inventory",
            "timestamp": "5/30/2023"});
        order[field] = serde_json::from_str(value).unwrap();
        order.to_string().into_bytes()
    };
    let cases: [(&str, Option<Vec<u8>>); 8] = [
        ("ORD-JSON", Some(b"not JSON".to_vec())),
        ("ORD-NOT-OBJECT", Some(b"[]".to_vec())),
        ("ORD-VALUE-MISSING", None),
        ("ORD-QTY-RANGE", Some(order("quantity", "0"))),
        ("ORD-QTY-TYPE", Some(order("quantity", "1.5"))),
        ("ORD-DATE-INVALID", Some(order("timestamp", "\"2/30/2023\""))),
        ("ORD-TYPE-OTHER", Some(order("type", "\"delivery\""))),
        ("ORD-MOVEMENT-UNKNOWN", Some(order("movement", "\"sideways\""))),
    ];
    let bad = |(n, (_, value)): (usize, &(&str, Option<Vec<u8>>))| Entry { value: value.clone(), ..entry(n, "p") };
    write(&broker, 0, &cases.iter().enumerate().map(bad).collect::<Vec<_>>());
    write(&broker, 0, &entries(50..55));
    let summary = shop.settle(&config(&broker), &log).await.unwrap();
    assert_eq!((summary.applied, summary.dead_letters), (5, 8));
    for (n, (letter, (code, _))) in letters(&shop).await.iter().zip(&cases).enumerate() {
        assert_eq!((letter.code.as_str(), letter.kind), (*code, DeadLetterKind::DeadLetter), "{letter:?}");
        assert_eq!((letter.topic.as_deref(), letter.partition), (Some(TOPIC), Some(0)));
        assert_eq!((letter.offset, letter.attempts), (Some(n as i64), 1));
        assert_eq!(letter.idempotency_key, Some(format!("test:{n}")));
    }
    // A mended copy under the same identity applies, and a second one is a duplicate.
    write(&broker, 0, &entries(0..3));
    write(&broker, 0, &entries(0..3));
    let summary = shop.settle(&config(&broker), &log).await.unwrap();
    assert_eq!((summary.applied, summary.duplicates), (3, 3));
    broker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runs_that_are_dropped_again_and_again_apply_each_order_once() {
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| fastrand::u64(..));
    println!("SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let (broker, shop, log) = (broker(3).await, Shop::new(), Log::default());
    for batch in 0..90_usize {
        write(&broker, (batch % 3) as i32, &nameless(batch * 100..batch * 100 + 100));
    }
    // Little is read ahead, so that there are many transactions to be cut between.
    let small = [("prefetch.max.bytes", "16384"), ("fetch.max.bytes", "8192"), ("max.partition.fetch.bytes", "4096")];
    let config = small.into_iter().fold(config(&broker), |config, (key, value)| config.set(key, value).unwrap());
    let mut cuts = 0;
    while audit_applied(&shop).await < 9_000 {
        let builder = InventoryConsumer::builder(&config).store(opened(&shop).await).observe(log.observer());
        let consumer = builder.build().await.unwrap();
        let (control, wanted) = (consumer.control(), random.u64(1..800));
        let run = tokio::spawn(consumer.run(std::future::pending()));
        // It is dropped wherever it is, also between a commit and its answer.
        let enough = async || (control.summary().settled() >= wanted || all_read(&control)).then_some(());
        until_async("some are settled", SOON, enough).await;
        run.abort();
        assert!(run.await.is_err());
        cuts += 1;
    }
    assert!(cuts > 3, "{cuts}");
    assert_eq!(shop_settle(&shop, &config).await, 0);
    assert_eq!(audit_applied(&shop).await, 9_000);
    broker.shutdown().await;
}

fn all_read(control: &orderflow::consumer::Control) -> bool {
    let lag = control.lag();
    lag.len() == 3 && lag.iter().all(|lag| lag.records() == Some(0))
}

async fn shop_settle(shop: &Shop, config: &orderflow::config::ClientConfig) -> u64 {
    let consumer = InventoryConsumer::builder(config).store(opened(shop).await).until_end().build().await.unwrap();
    consumer.run(std::future::pending()).await.unwrap().settled()
}

/// The store, as soon as the thread of the run before has let it go.
async fn opened(shop: &Shop) -> RedbInventory {
    let open = async || match RedbInventory::open(shop.path(), "inventory") {
        Ok(store) => Some(store),
        Err(error) if error.code() == ErrorCode::StoreLocked => None,
        Err(error) => panic!("{error}"),
    };
    until_async("the store is let go", SOON, open).await
}

async fn audit_applied(shop: &Shop) -> u64 {
    if !shop.path().exists() {
        return 0;
    }
    let store = opened(shop).await;
    let reader = store.reader();
    let rows = reader.ask(Query::Verify).rows().await.unwrap();
    let audit = rows.into_iter().find_map(|row| if let Row::Audit(audit) = row { Some(audit) } else { None }).unwrap();
    assert!(audit.holds, "{audit:?}");
    store.close().await.unwrap();
    audit.counts.applied
}

/// A run beside a store that does what the test says.
async fn faulty(
    broker: &DevBroker,
    store: &FaultyStore,
    log: &Log,
) -> (orderflow::consumer::Control, tokio::task::JoinHandle<orderflow::Result<orderflow::consumer::Summary>>) {
    let consumer = InventoryConsumer::builder(&config(broker)).store(store.clone()).observe(log.observer());
    let consumer = consumer.build().await.unwrap();
    (consumer.control(), tokio::spawn(consumer.run(std::future::pending())))
}

#[tokio::test]
async fn a_store_that_fails_for_a_while_or_loses_its_answers_recovers_and_applies_each_order_once() {
    let (broker, shop, log) = (broker(2).await, Shop::new(), Log::default());
    let store = FaultyStore::new(shop.store());
    let (control, run) = faulty(&broker, &store, &log).await;
    store.fail([Fault::Fail; 20]);
    write(&broker, 0, &nameless(0..10));
    let told = async || control.health().to_string().contains("the disk is away").then_some(());
    until_async("health says why", SOON, told).await;
    settled(&control, 10).await;
    for round in 1..10_usize {
        store.fail([Fault::LoseAnswer, Fault::Fail, Fault::LoseAnswer, Fault::LoseAnswer]);
        write(&broker, (round % 2) as i32, &nameless(round * 10..round * 10 + 10));
        settled(&control, round as u64 * 10 + 10).await;
    }
    assert!(store.is_done());
    assert!(control.health().is_ready(), "{}", control.health());
    assert!(control.summary().retried >= 56, "{}", control.summary());
    assert_eq!(log.order_ids("applied"), ids(0..100));
    control.drain();
    run.await.unwrap().unwrap();
    drop(store);
    shop.assert_holds(100, 0).await;
    broker.shutdown().await;
}

#[tokio::test]
async fn a_store_that_has_stopped_ends_the_run_with_its_error_and_the_next_run_goes_on_from_its_position() {
    let (broker, shop, log) = (broker(1).await, Shop::new(), Log::default());
    let store = FaultyStore::new(shop.store());
    let (control, run) = faulty(&broker, &store, &log).await;
    write(&broker, 0, &nameless(0..10));
    settled(&control, 10).await;
    store.fail([Fault::Fail, Fault::Break]);
    write(&broker, 0, &nameless(10..20));
    let ended = tokio::time::timeout(SOON, run).await.expect("the run ends").unwrap().unwrap_err();
    assert_eq!(ended.code(), ErrorCode::StoreIo, "{ended}");
    assert!(!control.health().is_ready());
    assert!(broker.committed("inventory", TOPIC, 0).is_none_or(|at| at <= 10), "as if written");
    drop(store);
    let store = FaultyStore::new(shop.store());
    let (control, run) = faulty(&broker, &store, &log).await;
    settled(&control, 10).await;
    control.drain();
    run.await.unwrap().unwrap();
    drop(store);
    shop.assert_holds(20, 0).await;
    broker.shutdown().await;
}

#[tokio::test]
async fn one_foreign_write_of_a_position_is_gone_on_from_and_a_second_in_a_row_stops_the_partition() {
    let (broker, shop, log) = (broker(2).await, Shop::new(), Log::default());
    let store = FaultyStore::new(shop.store());
    let (control, run) = faulty(&broker, &store, &log).await;
    for round in 0..5_usize {
        store.fail([Fault::Overtake]);
        write(&broker, 0, &nameless(round * 10..round * 10 + 10));
        settled(&control, round as u64 * 10 + 10).await;
    }
    assert!(control.health().is_ready(), "{}", control.health());
    store.fail([Fault::Overtake, Fault::Overtake]);
    write(&broker, 0, &nameless(50..60));
    let stopped = async || control.health().to_string().contains("somebody else keeps moving").then_some(());
    until_async("the partition stops", SOON, stopped).await;
    write(&broker, 1, &nameless(60..70));
    settled(&control, 60).await;
    control.drain();
    run.await.unwrap().unwrap();
    drop(store);
    assert_eq!(shop.settle(&config(&broker), &log).await.unwrap().applied, 10);
    assert_eq!(log.order_ids("applied"), ids(0..70));
    shop.assert_holds(70, 0).await;
    broker.shutdown().await;
}

#[tokio::test]
async fn a_dead_letter_that_has_no_room_stops_its_partition_and_the_others_go_on() {
    let (broker, shop, log) = (broker(2).await, Shop::new(), Log::default());
    let mut settings = RedbSettings::default();
    settings.dead_letters_max_bytes = 600;
    let store = FaultyStore::new(RedbInventory::open_with(shop.path(), "inventory", settings).unwrap());
    let (control, run) = faulty(&broker, &store, &log).await;
    let bad = |n: usize| Entry { value: Some(vec![b'x'; 400]), ..entry(n, "p") };
    write(&broker, 0, &[entry(0, "p"), bad(1), entry(2, "p")]);
    settled(&control, 3).await;
    write(&broker, 0, &[entry(3, "p"), bad(4), entry(5, "p")]);
    let stopped = async || control.health().to_string().contains("partition 0 has stopped").then_some(());
    until_async("the partition stops", SOON, stopped).await;
    write(&broker, 1, &entries(10..20));
    settled(&control, 13).await;
    assert!(control.health().to_string().contains("STO-FULL"), "{}", control.health());
    control.drain();
    run.await.unwrap().unwrap();
    drop(store);
    // With more room it goes on where it stopped.
    let summary = shop.settle(&config(&broker), &log).await.unwrap();
    assert_eq!((summary.applied, summary.dead_letters), (2, 1));
    shop.assert_holds(14, 0).await;
    broker.shutdown().await;
}

#[tokio::test]
async fn a_run_that_ends_within_a_batch_is_gone_on_from_at_the_very_next_order() {
    let (broker, shop, log) = (broker(2).await, Shop::new(), Log::default());
    for batch in 0..4_usize {
        let (partition, orders) = ((batch % 2) as i32, nameless(batch * 25..batch * 25 + 25));
        write_with(&broker, partition, &orders, if batch < 2 { Compression::Lz4 } else { Compression::None });
    }
    let mut settled = 0;
    for limit in [1, 7, 25, 3, 30, 34] {
        let builder = InventoryConsumer::builder(&config(&broker)).store(shop.store()).observe(log.observer());
        let run = builder.limit(limit).build().await.unwrap().run(std::future::pending());
        assert_eq!(tokio::time::timeout(SOON, run).await.unwrap().unwrap().applied, limit);
        settled += limit;
        shop.assert_holds(settled, 0).await;
    }
    assert_eq!(shop.settle(&config(&broker), &log).await.unwrap().settled(), 0);
    assert_eq!(log.order_ids("applied"), ids(0..100));
    broker.shutdown().await;
}
