//! Metadata, routes and administrative requests on the development broker.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeMap;
use std::time::Duration;

use orderflow::ErrorCode;
use orderflow::broker::DevBroker;
use orderflow::cluster::admin::{Creation, NewTopic, OffsetSpec, create_topics, describe_topic, list_offsets};
use orderflow::cluster::{Cluster, Missing, Purpose};
use orderflow::config::ClientConfig;
use orderflow::place::TopicPartition;

const SOON: Duration = Duration::from_secs(20);

fn new_topic(name: &str, partitions: i32) -> NewTopic {
    let configs = BTreeMap::from([("retention.ms".to_owned(), "86400000".to_owned())]);
    NewTopic { partitions: Some(partitions), replication: Some(1), configs, ..NewTopic::named(name) }
}

#[tokio::test]
async fn a_topic_is_made_once_and_described_as_it_was_made() {
    let broker = DevBroker::builder().nodes(3).start().await.unwrap();
    let cluster = Cluster::connect(&ClientConfig::new(broker.bootstrap())).await.unwrap();
    let topics = [new_topic("orders", 6)];
    assert_eq!(create_topics(&cluster, &topics).await.unwrap(), [Creation::Created]);
    assert_eq!(create_topics(&cluster, &topics).await.unwrap(), [Creation::Existed]);
    let described = describe_topic(&cluster, "orders", SOON).await.unwrap();
    assert_eq!((described.partitions, described.records), (6, 0));
    assert_eq!(described.configs.get("retention.ms").map(String::as_str), Some("86400000"));
    cluster.close().await;
    broker.shutdown().await;
}

#[tokio::test]
async fn each_partitions_leader_is_reached_on_connections_of_its_own_purpose() {
    let broker = DevBroker::builder().nodes(3).start().await.unwrap();
    let cluster = Cluster::connect(&ClientConfig::new(broker.bootstrap())).await.unwrap();
    create_topics(&cluster, &[new_topic("orders", 6)]).await.unwrap();
    let topic = cluster.topic("orders", Missing::Refuse, SOON).await.unwrap();
    assert!(!topic.id.is_none());
    for partition in 0..6 {
        let leader = cluster.leader(&TopicPartition::new("orders", partition)).unwrap();
        assert!(cluster.connection(leader.node, Purpose::Produce).await.is_ok());
    }
    let ends = list_offsets(&cluster, &topic, OffsetSpec::AtTime(0)).await.unwrap();
    assert_eq!(ends.into_values().collect::<Vec<_>>(), [0; 6]);
    broker.shutdown().await;
}

#[tokio::test]
async fn a_topic_that_does_not_exist_is_refused_unless_it_may_be_created() {
    let broker = DevBroker::start().await.unwrap();
    let cluster = Cluster::connect(&ClientConfig::new(broker.bootstrap())).await.unwrap();
    let error = cluster.topic("typo", Missing::Refuse, Duration::from_millis(300)).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::UnknownTopic, "{error}");
    assert!(cluster.topic("wanted", Missing::Create, SOON).await.unwrap().has_all_leaders());
    let error = cluster.topic("no such name!", Missing::Create, SOON).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::UnknownTopic, "{error}");
    assert!(!error.is_retriable());
    broker.shutdown().await;
}

#[tokio::test]
async fn a_cluster_whose_brokers_are_gone_says_why_at_once() {
    let broker = DevBroker::start().await.unwrap();
    let config = ClientConfig::new(broker.bootstrap());
    broker.shutdown().await;
    let error = Cluster::connect(&config).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::Connect, "{error}");
}
