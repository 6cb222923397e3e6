//! Another store that takes the group while a member is away, or in.

use std::time::Duration;

use orderflow::broker::{DevBroker, Rule, Verdict};
use orderflow::cluster::Cluster;
use orderflow::cluster::admin::groups::describe_group;
use orderflow::consumer::{Control, InventoryConsumer, Summary};
use orderflow::wire::kafka_error::KafkaError;
use orderflow::wire::message::ApiKey;
use tokio::task::JoinHandle;

use crate::consumer_support::*;
use crate::support::wait::until_async;

/// How many members the group has.
async fn members(broker: &DevBroker) -> usize {
    let cluster = Cluster::connect(&broker.config()).await.unwrap();
    let members = describe_group(&cluster, "inventory").await.unwrap().members.len();
    cluster.close().await;
    members
}

async fn until_claimed(control: &Control) {
    let told = async || control.health().to_string().contains("STO-CLAIMED").then_some(());
    until_async("the other store is told", SOON, told).await;
}

/// A broker that misses a member after so many seconds, and a consumer of the shop that has applied ten orders.
async fn at_work(
    protocol: &str,
    shop: &Shop,
    seconds: u64,
) -> (DevBroker, Control, JoinHandle<orderflow::Result<Summary>>) {
    let builder = DevBroker::builder().topic(TOPIC, 1).topic("other", 1).group_session(Duration::from_secs(seconds));
    let broker = builder.start().await.unwrap();
    write(&broker, 0, &entries(0..10));
    let session = format!("{}", seconds * 1000);
    let settings = [("group.protocol", protocol), ("heartbeat.interval.ms", "100"), ("session.timeout.ms", &session)];
    let config = settings.iter().fold(config(&broker), |config, (key, value)| config.set(key, *value).unwrap());
    let consumer = InventoryConsumer::builder(&config).store(shop.store()).build().await.unwrap();
    let control = consumer.control();
    let run = tokio::spawn(consumer.run(std::future::pending()));
    settled(&control, 10).await;
    (broker, control, run)
}

/// The consumer stays outside and applies nothing, until the group is free again.
async fn stays_outside(broker: DevBroker, control: Control, run: JoinHandle<orderflow::Result<Summary>>) {
    until_claimed(&control).await;
    until_async("it has left", SOON, async || (members(&broker).await == 0).then_some(())).await;
    let joins = [ApiKey::ConsumerGroupHeartbeat, ApiKey::JoinGroup];
    let joins = joins.map(|api| broker.install(Rule::on(api).then(Verdict::Pass)));
    let looks = broker.install(Rule::on(ApiKey::OffsetFetch).then(Verdict::Pass));
    write(&broker, 0, &entries(10..20));
    until_async("it has looked again", SOON, async || (looks.applied() >= 3).then_some(())).await;
    assert_eq!((joins.map(|rule| rule.applied()), control.summary().applied), ([0, 0], 10));
    broker.commit("inventory", "other", 0, 3, "").unwrap();
    settled(&control, 20).await;
    let ready = async || control.health().is_ready().then_some(());
    until_async("it is ready", SOON, ready).await;
    control.drain();
    run.await.unwrap().unwrap();
    broker.shutdown().await;
}

#[tokio::test]
async fn a_member_that_lost_its_place_does_not_join_again_while_another_store_has_the_group() {
    for protocol in ["consumer", "classic"] {
        let shop = Shop::new();
        let (broker, control, run) = at_work(protocol, &shop, 1).await;
        let refused = [ApiKey::ConsumerGroupHeartbeat, ApiKey::Heartbeat, ApiKey::JoinGroup]
            .map(|api| broker.install(Rule::on(api).then(Verdict::Error(KafkaError::UnknownMemberId))));
        until_async("its place is gone", SOON, async || (members(&broker).await == 0).then_some(())).await;
        broker.commit("inventory", "other", 0, 3, "of1 store redb:other 3").unwrap();
        drop(refused);
        stays_outside(broker, control, run).await;
        shop.assert_holds(20, 0).await;
    }
}

#[tokio::test]
async fn a_member_whose_group_is_claimed_for_another_store_says_so_and_leaves_within_ten_seconds() {
    for protocol in ["consumer", "classic"] {
        let shop = Shop::new();
        let (broker, control, run) = at_work(protocol, &shop, 45).await;
        broker.commit("inventory", "other", 0, 3, "of1 store redb:other 3").unwrap();
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(10)).await;
        tokio::time::resume();
        stays_outside(broker, control, run).await;
        shop.assert_holds(20, 0).await;
    }
}
