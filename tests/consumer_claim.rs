//! A group's positions are in one store: who may work, who waits, who takes over.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod consumer_support;
mod support;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use consumer_support::*;
use orderflow::ErrorCode;
use orderflow::broker::{DevBroker, Rule, Verdict};
use orderflow::cluster::Cluster;
use orderflow::consumer::{InventoryConsumer, Summary};
use orderflow::store::{PositionRow, Query, Row, Store, StoreReader};
use orderflow::wire::kafka_error::KafkaError;
use orderflow::wire::message::{
    ApiKey, ConsumerGroupHeartbeatRequest, OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
    OffsetFetchRequest, OffsetFetchRequestGroup,
};
use support::program::{Finished, Program};
use support::wait::until_async;
use support::{example, ndjson};

/// What is done about a group of another store.
#[derive(Clone, Copy)]
enum Takeover {
    None,
    Adopt,
    Rebuild,
}

async fn settle(broker: &DevBroker, shop: &Shop, takeover: Takeover, log: &Log) -> orderflow::Result<Summary> {
    let builder = InventoryConsumer::builder(&config(broker)).store(shop.store()).observe(log.observer()).until_end();
    let builder = match takeover {
        Takeover::None => builder,
        Takeover::Adopt => builder.adopt(),
        Takeover::Rebuild => builder.rebuild(),
    };
    let consumer = builder.build().await?;
    tokio::time::timeout(SOON, consumer.run(std::future::pending())).await.expect("the run ends")
}

/// The texts beside the group's offsets, by partition.
async fn notes(broker: &DevBroker) -> Vec<(i32, i64, String)> {
    let cluster = Cluster::connect(&broker.config()).await.unwrap();
    let group = OffsetFetchRequestGroup { group_id: "inventory".into(), topics: None, ..Default::default() };
    let request = OffsetFetchRequest { groups: vec![group], ..Default::default() };
    let answer = cluster.any_connection().await.unwrap().call(request).await.unwrap();
    let parts = answer.groups.into_iter().flat_map(|group| group.topics).flat_map(|topic| topic.partitions);
    let mut notes: Vec<_> =
        parts.map(|part| (part.partition_index, part.committed_offset, part.metadata.unwrap_or_default())).collect();
    notes.sort();
    cluster.close().await;
    notes
}

async fn name(shop: &Shop) -> String {
    let store = shop.store();
    let name = store.identity().name.clone();
    store.close().await.unwrap();
    name
}

async fn positions(shop: &Shop) -> Vec<PositionRow> {
    let rows = StoreReader::open(shop.path()).await.unwrap().ask(Query::Positions).rows().await.unwrap();
    rows.into_iter().filter_map(|row| if let Row::Position(row) = row { Some(row) } else { None }).collect()
}

#[tokio::test]
async fn a_claim_is_answered_before_the_first_effect() {
    let (broker, shop, log) = (broker(1).await, Shop::new(), Log::default());
    write(&broker, 0, &entries(0..10));
    let refused = broker
        .install(Rule::on(ApiKey::OffsetCommit).times(5).then(Verdict::Error(KafkaError::CoordinatorLoadInProgress)));
    let first = std::sync::Arc::new(AtomicU64::new(u64::MAX));
    let (seen, rule) = (first.clone(), refused);
    let builder = InventoryConsumer::builder(&config(&broker)).store(shop.store()).until_end();
    let builder = builder.observe(move |_| {
        seen.fetch_min(rule.applied(), Ordering::Relaxed);
    });
    let consumer = builder.build().await.unwrap();
    let summary = tokio::time::timeout(SOON, consumer.run(std::future::pending())).await.unwrap().unwrap();
    assert_eq!(summary.applied, 10);
    assert_eq!(first.load(Ordering::Relaxed), 5, "an order was applied while the claim was refused");
    let told = notes(&broker).await;
    assert!(told[0].2.starts_with(&format!("of1 store {} ", name(&shop).await)), "{told:?}");
    shop.settle(&config(&broker), &log).await.unwrap();
    shop.assert_holds(10, 0).await;
    broker.shutdown().await;
}

#[tokio::test]
async fn another_store_is_refused_whichever_partition_names_it_with_the_ways_out() {
    let (broker, owner, other, log) = (broker(3).await, Shop::new(), Shop::new(), Log::default());
    write(&broker, 2, &entries(0..10));
    settle(&broker, &owner, Takeover::None, &log).await.unwrap();
    // Two of three commits are set back by hand, without a text: the third still names the store.
    commit_from_outside(&broker, "inventory", 0, 0).await;
    commit_from_outside(&broker, "inventory", 1, 0).await;
    write(&broker, 0, &entries(10..20));
    let error = settle(&broker, &other, Takeover::None, &log).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::StoreClaimed, "{error}");
    let text = error.to_string();
    for word in [&name(&owner).await, &name(&other).await, "--adopt", "--rebuild", "PostgreSQL", "partition 2"] {
        assert!(text.contains(word), "{word} is missing: {text}");
    }
    assert_eq!(log.order_ids("applied"), ids(0..10));
    assert!(positions(&other).await.is_empty(), "nothing was begun");
    broker.shutdown().await;
}

#[tokio::test]
async fn a_consumer_that_may_not_work_stays_up_and_begins_when_the_group_is_free() {
    let (broker, owner, other, log) = (broker(1).await, Shop::new(), Shop::new(), Log::default());
    write(&broker, 0, &entries(0..10));
    settle(&broker, &owner, Takeover::None, &log).await.unwrap();
    let consumer = InventoryConsumer::builder(&config(&broker)).store(other.store()).build().await.unwrap();
    let control = consumer.control();
    let run = tokio::spawn(consumer.run(std::future::pending()));
    let health = until_async("the reason is told", SOON, async || {
        Some(control.health().to_string()).filter(|health| health.contains("STO-CLAIMED"))
    });
    assert!(health.await.contains("the group is not joined"));
    assert!(!run.is_finished() && control.summary().settled() == 0);
    commit_from_outside(&broker, "inventory", 0, 0).await;
    settled(&control, 10).await;
    assert!(control.health().is_ready(), "{}", control.health());
    control.drain();
    run.await.unwrap().unwrap();
    broker.shutdown().await;
}

/// Commits an offset of a topic with a text of one's own, as another store's process does.
async fn commit_note(broker: &DevBroker, topic: &str, text: &str) {
    let cluster = Cluster::connect(&broker.config()).await.unwrap();
    let partition = OffsetCommitRequestPartition {
        partition_index: 0,
        committed_offset: 3,
        committed_leader_epoch: -1,
        committed_metadata: Some(text.to_owned()),
    };
    let topics = vec![OffsetCommitRequestTopic { name: topic.to_owned(), partitions: vec![partition] }];
    let request = OffsetCommitRequest { group_id: "inventory".into(), topics, ..Default::default() };
    let answer = cluster.any_connection().await.unwrap().call(request).await.unwrap();
    assert_eq!(answer.topics[0].partitions[0].error_code, 0);
    cluster.close().await;
}

#[tokio::test]
async fn of_two_stores_that_claim_a_free_group_at_once_one_sees_the_other_before_its_first_effect() {
    let broker = DevBroker::builder().topic(TOPIC, 1).topic("other", 1).start().await.unwrap();
    let (shop, log) = (Shop::new(), Log::default());
    write(&broker, 0, &entries(0..10));
    // Between the look before the join and the join itself, another store claims the group.
    let held = broker.install(Rule::on(ApiKey::ConsumerGroupHeartbeat).times(1).then(Verdict::Hold));
    let consumer = InventoryConsumer::builder(&config(&broker)).store(shop.store()).observe(log.observer());
    let consumer = consumer.build().await.unwrap();
    let control = consumer.control();
    let run = tokio::spawn(consumer.run(std::future::pending()));
    until_async("the join is on its way", SOON, async || (held.applied() == 1).then_some(())).await;
    commit_note(&broker, "other", "of1 store redb:other 3").await;
    drop(held);
    let told = async || control.health().to_string().contains("STO-CLAIMED").then_some(());
    until_async("the other claim is seen", SOON, told).await;
    assert_eq!(control.summary(), Summary::default());
    control.drain();
    run.await.unwrap().unwrap();
    commit_note(&broker, "other", "").await;
    settle(&broker, &shop, Takeover::None, &log).await.unwrap();
    assert_eq!(log.order_ids("applied"), ids(0..10));
    broker.shutdown().await;
}

#[tokio::test]
async fn a_group_is_not_taken_over_while_it_has_members() {
    let (broker, owner, heir, log) = (broker(1).await, Shop::new(), Shop::new(), Log::default());
    write(&broker, 0, &entries(0..10));
    settle(&broker, &owner, Takeover::None, &log).await.unwrap();
    let before = notes(&broker).await;
    let cluster = Cluster::connect(&broker.config()).await.unwrap();
    let connection = cluster.any_connection().await.unwrap();
    let join = ConsumerGroupHeartbeatRequest {
        group_id: "inventory".into(),
        member_id: "a-member".into(),
        rebalance_timeout_ms: 30_000,
        subscribed_topic_names: Some(vec![TOPIC.into()]),
        topic_partitions: Some(Vec::new()),
        ..Default::default()
    };
    assert_eq!(connection.call(join.clone()).await.unwrap().error_code, 0);
    for takeover in [Takeover::Adopt, Takeover::Rebuild] {
        let error = settle(&broker, &heir, takeover, &log).await.unwrap_err();
        assert_eq!(error.code(), ErrorCode::StoreClaimed, "{error}");
        assert!(error.to_string().contains("has 1 members"), "{error}");
    }
    assert_eq!(notes(&broker).await, before, "nothing was taken over");
    let leave = ConsumerGroupHeartbeatRequest { member_epoch: -1, ..join };
    assert_eq!(connection.call(leave).await.unwrap().error_code, 0);
    settle(&broker, &heir, Takeover::Adopt, &log).await.unwrap();
    assert_ne!(notes(&broker).await, before);
    cluster.close().await;
    broker.shutdown().await;
}

#[tokio::test]
async fn a_drain_ends_a_consumer_that_may_not_work() {
    let (broker, owner, other, log) = (broker(1).await, Shop::new(), Shop::new(), Log::default());
    settle(&broker, &owner, Takeover::None, &log).await.unwrap();
    let consumer = InventoryConsumer::builder(&config(&broker)).store(other.store()).build().await.unwrap();
    let control = consumer.control();
    let run = tokio::spawn(consumer.run(std::future::pending()));
    let waits = async || control.health().to_string().contains("STO-CLAIMED").then_some(());
    until_async("it waits", SOON, waits).await;
    control.drain();
    assert_eq!(tokio::time::timeout(SOON, run).await.unwrap().unwrap().unwrap(), Summary::default());
    broker.shutdown().await;
}

#[tokio::test]
async fn an_adopting_store_goes_on_where_the_group_stands_and_says_that_it_is_not_complete() {
    let (broker, owner, heir, log) = (broker(2).await, Shop::new(), Shop::new(), Log::default());
    write(&broker, 0, &entries(0..10));
    settle(&broker, &owner, Takeover::None, &log).await.unwrap();
    write(&broker, 0, &entries(10..15));
    write(&broker, 1, &entries(15..20));
    let summary = settle(&broker, &heir, Takeover::Adopt, &Log::default()).await.unwrap();
    assert_eq!(summary.applied, 10);
    let rows = positions(&heir).await;
    let told: Vec<_> = rows.iter().map(|row| (row.partition, row.adopted, row.first, row.position)).collect();
    // Partition 1 had a claim at 0: there is nothing before it.
    assert_eq!(told, [(Some(0), Some(10), 10, 15), (Some(1), None, 0, 5)], "{rows:?}");
    let own = name(&heir).await;
    assert!(notes(&broker).await.iter().all(|(_, _, text)| text.contains(&own)));
    // The next run needs no flag, and the old store is the foreign one now.
    write(&broker, 0, &entries(20..25));
    assert_eq!(settle(&broker, &heir, Takeover::None, &log).await.unwrap().applied, 5);
    let error = settle(&broker, &owner, Takeover::None, &log).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::StoreClaimed);
    heir.assert_holds(15, 0).await;
    broker.shutdown().await;
}

#[tokio::test]
async fn offsets_that_no_store_claims_are_adopted_too_and_not_without_the_flag() {
    let (broker, log) = (broker(1).await, Log::default());
    write(&broker, 0, &entries(0..10));
    commit_from_outside(&broker, "inventory", 0, 6).await;
    let heir = Shop::new();
    assert_eq!(settle(&broker, &heir, Takeover::Adopt, &log).await.unwrap().applied, 4);
    assert_eq!(positions(&heir).await[0].adopted, Some(6));
    commit_from_outside(&broker, "inventory", 0, 6).await;
    let whole = Shop::new();
    assert_eq!(settle(&broker, &whole, Takeover::None, &log).await.unwrap().applied, 10);
    assert_eq!(positions(&whole).await[0].adopted, None);
    broker.shutdown().await;
}

#[tokio::test]
async fn a_store_that_adopts_the_group_again_goes_on_from_its_own_position() {
    let (broker, first, second, log) = (broker(1).await, Shop::new(), Shop::new(), Log::default());
    write(&broker, 0, &nameless(0..10));
    settle(&broker, &first, Takeover::None, &log).await.unwrap();
    write(&broker, 0, &nameless(10..20));
    settle(&broker, &second, Takeover::Adopt, &log).await.unwrap();
    // The first store never saw what the second one applied: it applies that itself.
    let summary = settle(&broker, &first, Takeover::Adopt, &log).await.unwrap();
    assert_eq!(summary.applied, 10);
    assert_eq!(positions(&first).await[0].adopted, None, "it is complete");
    first.assert_holds(20, 0).await;
    second.assert_holds(10, 0).await;
    broker.shutdown().await;
}

#[tokio::test]
async fn a_takeover_that_ends_after_its_claim_is_finished_by_the_next_run_without_the_flag() {
    let (broker, owner, heir, log) = (broker(1).await, Shop::new(), Shop::new(), Log::default());
    write(&broker, 0, &entries(0..10));
    settle(&broker, &owner, Takeover::None, &log).await.unwrap();
    write(&broker, 0, &entries(10..15));
    // The claim is the first commit; the run ends before it reads a position.
    let rule = broker
        .install(Rule::on(ApiKey::OffsetFetch).skip(1).then(Verdict::Error(KafkaError::GroupAuthorizationFailed)));
    settle(&broker, &heir, Takeover::Adopt, &log).await.unwrap_err();
    assert!(rule.applied() > 0 && positions(&heir).await.is_empty());
    drop(rule);
    assert_eq!(settle(&broker, &heir, Takeover::None, &log).await.unwrap().applied, 5);
    assert_eq!(positions(&heir).await[0].adopted, Some(10));
    broker.shutdown().await;
}

#[tokio::test]
async fn an_empty_store_is_rebuilt_from_the_beginning_whatever_the_policy_says() {
    let (broker, owner, heir, log) = (broker(2).await, Shop::new(), Shop::new(), Log::default());
    write(&broker, 0, &entries(0..10));
    write(&broker, 1, &nameless(10..20));
    settle(&broker, &owner, Takeover::None, &log).await.unwrap();
    let latest = config(&broker).set("auto.offset.reset", "latest").unwrap();
    let builder = InventoryConsumer::builder(&latest).store(heir.store()).until_end().rebuild();
    let summary = tokio::time::timeout(SOON, builder.build().await.unwrap().run(std::future::pending())).await;
    assert_eq!(summary.unwrap().unwrap().applied, 20);
    assert!(positions(&heir).await.iter().all(|row| row.adopted.is_none()));
    heir.assert_holds(20, 0).await;
    let error = settle(&broker, &heir, Takeover::Rebuild, &log).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::ConfigUnsupported, "{error}");
    broker.delete_before(TOPIC, 1, 5).unwrap();
    let late = Shop::new();
    let error = settle(&broker, &late, Takeover::Rebuild, &log).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::OffsetOutOfRange, "{error}");
    assert!(error.to_string().contains("the log begins at 5"), "{error}");
    let own = name(&heir).await;
    assert!(notes(&broker).await.iter().all(|(_, _, text)| text.contains(&own)), "nothing was taken over");
    broker.shutdown().await;
}

const WORK: Duration = Duration::from_secs(60);

async fn run(program: Program) -> Finished {
    tokio::task::spawn_blocking(move || program.run(WORK)).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_programs_tell_of_another_store_and_of_one_that_is_not_complete() {
    let (broker, owner, heir, log) = (broker(1).await, Shop::new(), Shop::new(), Log::default());
    write(&broker, 0, &entries(0..10));
    settle(&broker, &owner, Takeover::None, &log).await.unwrap();
    write(&broker, 0, &entries(10..13));
    let consume = |flags: &[&str]| {
        let program = example::example("inventory_consumer").args(["--json", "-b", &broker.bootstrap()]).args(flags);
        run(program.arg("--store").arg(heir.path()))
    };
    let refused = consume(&["-e"]).await.with_code(1);
    assert!(
        refused.stderr.contains("STO-CLAIMED: the positions of group inventory are in the store redb:"),
        "{refused}"
    );
    let both = consume(&["-e", "--adopt", "--rebuild"]).await;
    assert_eq!(both.code(), Some(2), "{both}");
    let adopted = consume(&["-e", "--adopt"]).await.ok();
    assert_eq!(ndjson::summary(&ndjson::parse(adopted.stdout.lines()), "applied"), 3, "{adopted}");
    let again = consume(&["-e", "--rebuild"]).await.with_code(2);
    assert!(again.stderr.contains("is not empty"), "{again}");
    // A later move by command does not make the store complete.
    let moved = ["positions", "set", TOPIC, "0", "12", "--reason", "a test", "-b", &broker.bootstrap(), "--store"];
    run(example::example("orders").args(moved).arg(heir.path())).await.ok();
    for command in ["stock", "verify"] {
        let told = run(example::example("orders").args([command, "--store"]).arg(heir.path())).await.ok();
        let sentence = "not complete from its beginning: it took inventory_orders/0 over at offset 10";
        assert!(told.stderr.contains(sentence), "{told}");
    }
    let whole = run(example::example("orders").args(["stock", "--store"]).arg(owner.path())).await.ok();
    assert!(!whole.stderr.contains("not complete"), "{whole}");
    broker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_member_without_the_store_has_read_is_applied_and_told() {
    let (broker, shop, log) = (broker(1).await, Shop::new(), Log::default());
    write(&broker, 0, &entries(0..10));
    settle(&broker, &shop, Takeover::None, &log).await.unwrap();
    write(&broker, 0, &entries(10..20));
    commit_from_outside(&broker, "inventory", 0, 16).await;
    let consume = example::example("inventory_consumer").args(["-e", "-b", &broker.bootstrap(), "--store"]);
    let told = run(consume.arg(shop.path())).await.ok();
    assert!(told.stderr.contains("applied 10, duplicates 0"), "{told}");
    assert!(told.stderr.contains("6 offsets of inventory_orders/0, up to 16, were read by a member"), "{told}");
    shop.assert_holds(20, 0).await;
    broker.shutdown().await;
}
