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
use orderflow::broker::{DevBroker, Rule, Verdict};
use orderflow::cluster::admin::{Creation, NewTopic, OffsetSpec, create_topics, describe_topic, list_offsets};
use orderflow::cluster::{Cluster, Missing, Purpose};
use orderflow::config::ClientConfig;
use orderflow::place::TopicPartition;
use orderflow::wire::kafka_error::KafkaError;
use orderflow::wire::message::ApiKey;
use tokio::net::{TcpListener, TcpStream};

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
    assert!(broker.offsets("typo", 0).is_err(), "looking at a topic does not make it");
    assert!(cluster.topic("wanted", Missing::Create, SOON).await.unwrap().has_all_leaders());
    let error = cluster.topic("no such name!", Missing::Create, SOON).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::UnknownTopic, "{error}");
    assert!(!error.is_retriable());
    broker.shutdown().await;
}

/// A pipeline in seeded trouble did not start when the node that it met first restarted between two of its answers, although
/// the other nodes were well: the first metadata was asked for once, of one node.
#[tokio::test]
async fn a_broker_that_hangs_up_while_it_is_met_is_no_reason_to_give_up() {
    let broker = DevBroker::builder().nodes(3).start().await.unwrap();
    let cut = broker.install(Rule::on(ApiKey::Metadata).times(2).then(Verdict::Cut));
    let cluster = Cluster::connect(&ClientConfig::new(broker.bootstrap())).await.unwrap();
    assert_eq!(cut.applied(), 2);
    cluster.close().await;
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

fn quick(config: ClientConfig) -> ClientConfig {
    let settings = [
        ("retry.backoff.ms", "2"),
        ("retry.backoff.max.ms", "20"),
        ("reconnect.backoff.ms", "2"),
        ("reconnect.backoff.max.ms", "20"),
    ];
    settings.iter().fold(config, |config, (key, value)| config.set(key, *value).unwrap())
}

/// Waits until the view says so.
async fn until(cluster: &Cluster, what: &str, mut is_so: impl FnMut() -> bool) {
    let mut views = cluster.views();
    let looking = async {
        while !is_so() {
            cluster.refresh();
            views.changed().await.unwrap();
        }
    };
    tokio::time::timeout(SOON, looking).await.unwrap_or_else(|_| panic!("waited in vain until {what}"));
}

#[tokio::test]
async fn an_address_that_accepts_and_is_silent_does_not_keep_the_next_from_being_asked() {
    let broker = DevBroker::start().await.unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let servers = format!("{},{}", silent.local_addr().unwrap(), broker.bootstrap());
    let config = quick(ClientConfig::new(servers)).set("request.timeout.ms", "200").unwrap();
    let cluster = Cluster::connect(&config).await.unwrap();
    assert_eq!(cluster.view().brokers().len(), 1);
}

/// Three of them took three times the request timeout, ninety seconds by default, before the fourth was dialled.
#[tokio::test]
async fn silent_addresses_cost_no_timeout_while_one_answers() {
    let broker = DevBroker::start().await.unwrap();
    let silent = [TcpListener::bind("127.0.0.1:0").await.unwrap(), TcpListener::bind("127.0.0.1:0").await.unwrap()];
    let silent = silent.each_ref().map(|listener| listener.local_addr().unwrap().to_string());
    let servers = format!("{},{}", silent.join(","), broker.bootstrap());
    let config = ClientConfig::new(servers);
    let connecting = Cluster::connect(&config);
    let cluster = tokio::time::timeout(Duration::from_secs(10), connecting).await.expect("no timeout is waited for");
    assert_eq!(cluster.unwrap().view().brokers().len(), 1);
}

#[tokio::test]
async fn a_leader_that_moved_before_anybody_connected_to_it_is_found_after_a_refusal() {
    let broker = DevBroker::builder().nodes(2).topic("orders", 1).start().await.unwrap();
    let cluster = Cluster::connect(&quick(broker.config())).await.unwrap();
    cluster.topic("orders", Missing::Refuse, SOON).await.unwrap();
    let at = TopicPartition::new("orders", 0);
    for _ in 0..3 {
        let old = cluster.leader(&at).unwrap();
        let new = 3 - old.node;
        broker.move_leader("orders", 0, new).unwrap();
        cluster.mark_stale(&at);
        until(&cluster, "the new leader is known", || cluster.leader(&at).is_some_and(|leader| leader.node == new))
            .await;
        assert!(cluster.leader(&at).unwrap().epoch > old.epoch);
    }
}

#[tokio::test]
async fn a_topic_whose_leaders_are_not_known_yet_is_asked_for_until_they_are() {
    let broker = DevBroker::builder().topic("orders", 2).start().await.unwrap();
    let cluster = Cluster::connect(&quick(broker.config())).await.unwrap();
    let verdict = Verdict::Error(KafkaError::LeaderNotAvailable);
    let rule = broker.install(Rule::on(ApiKey::Metadata).times(4).then(verdict));
    assert!(cluster.topic("orders", Missing::Refuse, SOON).await.unwrap().has_all_leaders());
    assert_eq!(rule.applied(), 4);
}

#[tokio::test]
async fn partitions_that_are_added_are_in_the_next_view_and_a_deleted_topic_is_not_made_again() {
    let broker = DevBroker::builder().topic("orders", 2).start().await.unwrap();
    let cluster = Cluster::connect(&quick(broker.config())).await.unwrap();
    cluster.topic("orders", Missing::Refuse, SOON).await.unwrap();
    broker.add_partitions("orders", 5).unwrap();
    let at = TopicPartition::new("orders", 4);
    until(&cluster, "the new partitions are known", || cluster.leader(&at).is_some()).await;
    broker.delete_topic("orders").unwrap();
    until(&cluster, "the topic is known to be gone", || cluster.leader(&at).is_none()).await;
    let asked = broker.install(Rule::on(ApiKey::Metadata).then(Verdict::Pass));
    cluster.refresh();
    tokio::time::timeout(SOON, asked.fallen(1)).await.unwrap();
    assert!(broker.offsets("orders", 0).is_err());
}

/// An address that stays, as a load balancer's, before one that does not. It ends with the test's runtime.
async fn front(broker: std::sync::Arc<DevBroker>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let Ok(mut server) = TcpStream::connect(broker.bootstrap()).await else { continue };
            tokio::spawn(async move { tokio::io::copy_bidirectional(&mut client, &mut server).await });
        }
    });
    address
}

#[tokio::test]
async fn brokers_that_all_moved_are_found_again_through_the_address_that_was_given() {
    let broker = std::sync::Arc::new(DevBroker::builder().topic("orders", 1).start().await.unwrap());
    let cluster = Cluster::connect(&quick(ClientConfig::new(front(broker.clone()).await))).await.unwrap();
    cluster.topic("orders", Missing::Refuse, SOON).await.unwrap();
    let node = cluster.leader(&TopicPartition::new("orders", 0)).unwrap().node;
    assert!(cluster.connection(node, Purpose::Produce).await.is_ok());
    for _ in 0..3 {
        broker.change_port(node).await.unwrap();
        let is_there = || cluster.view().brokers()[&node].to_string() == broker.bootstrap();
        until(&cluster, "the new address is known", is_there).await;
        assert!(cluster.connection(node, Purpose::Produce).await.is_ok());
    }
}

#[tokio::test]
async fn the_address_that_was_given_may_go_while_a_broker_is_known() {
    let broker = std::sync::Arc::new(DevBroker::builder().nodes(2).topic("orders", 1).start().await.unwrap());
    let given = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = given.local_addr().unwrap().to_string();
    let first = broker.bootstrap().split(',').next().unwrap().to_owned();
    let passing = tokio::spawn(async move {
        while let Ok((mut client, _)) = given.accept().await {
            let mut server = TcpStream::connect(&first).await.unwrap();
            drop(tokio::io::copy_bidirectional(&mut client, &mut server).await);
        }
    });
    let cluster = Cluster::connect(&quick(ClientConfig::new(address))).await.unwrap();
    cluster.topic("orders", Missing::Refuse, SOON).await.unwrap();
    passing.abort();
    drop(passing.await);
    let at = TopicPartition::new("orders", 0);
    for _ in 0..3 {
        let new = 3 - cluster.leader(&at).unwrap().node;
        broker.move_leader("orders", 0, new).unwrap();
        until(&cluster, "the new leader is known", || cluster.leader(&at).is_some_and(|leader| leader.node == new))
            .await;
        assert!(cluster.connection(new, Purpose::Produce).await.is_ok());
    }
}

#[tokio::test]
async fn fifty_partitions_of_a_broker_share_one_connection_for_each_purpose() {
    let broker = DevBroker::builder().topic("orders", 50).start().await.unwrap();
    let greeted = broker.install(Rule::on(ApiKey::ApiVersions).then(Verdict::Pass));
    let cluster = Cluster::connect(&quick(broker.config())).await.unwrap();
    let topic = cluster.topic("orders", Missing::Refuse, SOON).await.unwrap();
    let before = greeted.applied();
    for partition in 0..topic.partition_count() {
        let node = cluster.leader(&TopicPartition::new("orders", partition)).unwrap().node;
        for purpose in [Purpose::Produce, Purpose::Fetch] {
            cluster.connection(node, purpose).await.unwrap();
        }
    }
    assert_eq!(greeted.applied() - before, 2);
}

#[tokio::test]
async fn a_connection_that_went_silent_is_replaced_and_the_question_asked_again() {
    let broker = DevBroker::builder().topic("orders", 1).start().await.unwrap();
    let config = quick(broker.config()).set("request.timeout.ms", "200").unwrap();
    let cluster = Cluster::connect(&config).await.unwrap();
    let topic = cluster.topic("orders", Missing::Refuse, SOON).await.unwrap();
    let silent = broker.install(Rule::on(ApiKey::ListOffsets).times(2).then(Verdict::Silence));
    assert_eq!(list_offsets(&cluster, &topic, OffsetSpec::Latest).await.unwrap()[&0], 0);
    assert_eq!(silent.applied(), 2);
}

#[tokio::test]
async fn a_time_after_the_last_record_is_the_end_of_the_log() {
    let broker = DevBroker::builder().topic("orders", 1).start().await.unwrap();
    let cluster = Cluster::connect(&quick(broker.config())).await.unwrap();
    let producer = orderflow::producer::RecordProducer::over(&cluster, "orders").await.unwrap();
    let record = orderflow::producer::OutgoingRecord { value: Some(b"x"), ..Default::default() };
    producer.send(record).await.unwrap();
    let topic = cluster.topic("orders", Missing::Refuse, SOON).await.unwrap();
    assert_eq!(list_offsets(&cluster, &topic, OffsetSpec::AtTime(i64::MAX)).await.unwrap()[&0], 1);
}

#[tokio::test]
async fn a_topic_whose_making_was_not_answered_is_there_and_counts_as_existing() {
    let broker = DevBroker::start().await.unwrap();
    let cluster = Cluster::connect(&quick(broker.config())).await.unwrap();
    let lost = broker.install(Rule::on(ApiKey::CreateTopics).times(1).then(Verdict::CutAfter));
    assert_eq!(create_topics(&cluster, &[new_topic("orders", 4)]).await.unwrap(), [Creation::Existed]);
    assert_eq!(lost.applied(), 1);
    assert_eq!(describe_topic(&cluster, "orders", SOON).await.unwrap().partitions, 4);
}
