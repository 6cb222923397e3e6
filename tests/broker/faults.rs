//! Faults: what a rule does to a request, and what happens to nodes.

use std::time::Duration;

use orderflow::broker::{DevBroker, Rule, Verdict};
use orderflow::order::InventoryOrder;
use orderflow::producer::InventoryProducer;
use orderflow::wire::kafka_error::KafkaError;
use orderflow::wire::message::{
    ApiKey, FetchRequest, HeartbeatRequest, ListOffsetsRequest, MetadataRequest, PartitionProduceData, ProduceRequest,
    TopicProduceData,
};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::client::{Client, DEADLINE, batch, records};
use crate::requests::{error, fetch_request, fetched, produce, produce_request};

async fn start() -> (DevBroker, Client) {
    let broker = DevBroker::builder().nodes(2).topic("t", 4).start().await.unwrap();
    let client = Client::connect(&broker, 1).await;
    (broker, client)
}

/// A broker that is reached without sockets, so that the paused clock goes on only when all have done what they can.
async fn start_in_memory() -> (DevBroker, Client) {
    let broker = DevBroker::builder().nodes(2).topic("t", 4).start().await.unwrap();
    let client = Client::dial(&broker, 1);
    (broker, client)
}

#[tokio::test]
async fn an_error_falls_on_its_partition_alone_and_nothing_is_appended_there() {
    let (broker, mut client) = start().await;
    let verdict = Verdict::Error(KafkaError::NotEnoughReplicas);
    let rule = broker.install(Rule::on(ApiKey::Produce).topic("t").partition(2).times(1).then(verdict));
    let part = |index| PartitionProduceData { index, records: Some(batch(&["a"])) };
    let topic_data = vec![TopicProduceData { name: "t".into(), partition_data: vec![part(0), part(2)] }];
    let request = ProduceRequest { acks: -1, topic_data, ..Default::default() };
    let errors = |answer: orderflow::wire::message::ProduceResponse| {
        answer.responses[0].partition_responses.iter().map(|part| error(part.error_code)).collect::<Vec<_>>()
    };
    assert_eq!(errors(client.call(9, &request).await), [None, Some(KafkaError::NotEnoughReplicas)]);
    assert_eq!((broker.offsets("t", 2).unwrap(), rule.applied()), (0..0, 1));
    assert_eq!(errors(client.call(9, &request).await), [None, None]);
}

#[tokio::test]
async fn an_error_after_leaves_the_batch_in_the_log() {
    let (broker, mut client) = start().await;
    let verdict = Verdict::ErrorAfter(KafkaError::NotEnoughReplicasAfterAppend);
    let _rule = broker.install(Rule::on(ApiKey::Produce).then(verdict));
    let outcome = produce(&mut client, "t", 0, batch(&["a"])).await;
    assert_eq!(error(outcome.error_code), Some(KafkaError::NotEnoughReplicasAfterAppend));
    assert_eq!(broker.offsets("t", 0).unwrap(), 0..1);
}

#[tokio::test]
async fn a_cut_comes_before_and_a_lost_answer_after_the_append() {
    for (verdict, written) in [(Verdict::Cut, 0), (Verdict::CutAfter, 1)] {
        let (broker, mut client) = start().await;
        let _rule = broker.install(Rule::on(ApiKey::Produce).then(verdict));
        client.send(9, &produce_request("t", 0, batch(&["a"]), -1)).await;
        assert_eq!(client.frame().await, None);
        assert_eq!(broker.offsets("t", 0).unwrap(), 0..written, "{verdict:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn silence_keeps_the_connection_open_without_an_answer() {
    for (verdict, written) in [(Verdict::Silence, 0), (Verdict::SilenceAfter, 1)] {
        let (broker, mut client) = start_in_memory().await;
        let _rule = broker.install(Rule::on(ApiKey::Produce).then(verdict));
        client.send(9, &produce_request("t", 0, batch(&["a"]), -1)).await;
        let silent = tokio::time::timeout(DEADLINE / 2, client.frame()).await;
        assert!(silent.is_err(), "{verdict:?}: {silent:?}");
        assert_eq!(broker.offsets("t", 0).unwrap(), 0..written);
        broker.shutdown().await;
        assert_eq!(client.frame().await, None, "the broker's end closes it");
    }
}

#[tokio::test(start_paused = true)]
async fn delays_fall_before_or_after_and_hold_up_the_connection_alone() {
    let (broker, mut client) = start_in_memory().await;
    let mut other = Client::dial(&broker, 1);
    let wait = Duration::from_millis(500);
    for (verdict, written) in [(Verdict::Delay(wait), 0), (Verdict::DelayAnswer(wait), 1)] {
        let end = broker.offsets("t", 0).unwrap().end;
        let rule = broker.install(Rule::on(ApiKey::Produce).times(1).then(verdict));
        let begun = Instant::now();
        client.send(9, &produce_request("t", 0, batch(&["a"]), -1)).await;
        rule.fallen(1).await;
        other.call(9, &MetadataRequest::default()).await;
        assert_eq!(begun.elapsed(), Duration::ZERO, "the other connection does not wait");
        assert_eq!(broker.offsets("t", 0).unwrap().end - end, written, "{verdict:?}");
        client.receive::<ProduceRequest>(9).await;
        assert_eq!(begun.elapsed().as_millis(), wait.as_millis());
        assert_eq!(broker.offsets("t", 0).unwrap().end - end, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_throttled_produce_is_appended_and_a_throttled_fetch_is_empty() {
    let (broker, mut client) = start_in_memory().await;
    let _rule = broker.install(Rule::any().then(Verdict::Throttle(Duration::from_millis(30))));
    let answer = client.call(9, &produce_request("t", 0, batch(&["a"]), -1)).await;
    assert_eq!((answer.throttle_time_ms, broker.offsets("t", 0).unwrap()), (30, 0..1));
    let begun = Instant::now();
    let fetch = FetchRequest { max_wait_ms: 15_000, min_bytes: 1, ..fetch_request("t", &[(0, 0)]) };
    let answer = client.call(12, &fetch).await;
    assert_eq!((answer.throttle_time_ms, fetched(&answer).len()), (30, 0));
    assert_eq!(begun.elapsed().as_millis(), 30, "the connection is not read meanwhile");
    assert_eq!(client.call(9, &MetadataRequest::default()).await.throttle_time_ms, 30);
}

#[tokio::test]
async fn a_batch_answered_as_a_duplicate_is_in_the_log_and_its_offset_is_told_or_not() {
    let (broker, mut client) = start().await;
    produce(&mut client, "t", 0, batch(&["first"])).await;
    let untold = Verdict::ErrorAfter(KafkaError::DuplicateSequenceNumber);
    for (verdict, told, written) in [(Verdict::Duplicate, 1, 2), (untold, -1, 3)] {
        let _rule = broker.install(Rule::on(ApiKey::Produce).partition(0).then(verdict));
        let outcome = produce(&mut client, "t", 0, batch(&["a"])).await;
        assert_eq!((error(outcome.error_code), outcome.base_offset), (Some(KafkaError::DuplicateSequenceNumber), told));
        assert_eq!(broker.offsets("t", 0).unwrap(), 0..written, "{verdict:?}");
        assert_eq!(produce(&mut client, "t", 2, batch(&["a"])).await.error_code, 0, "another partition");
    }
}

#[tokio::test]
async fn a_leader_that_moves_meets_requests_on_their_way_before_or_after_they_are_applied() {
    let moved = Some(KafkaError::NotLeaderOrFollower);
    for (verdict, expected, written) in [(Verdict::Hold, moved, 0), (Verdict::HoldAnswer, None, 1)] {
        let (broker, mut client) = start().await;
        let rule = broker.install(Rule::on(ApiKey::Produce).then(verdict));
        client.send(9, &produce_request("t", 0, batch(&["a"]), -1)).await;
        rule.fallen(1).await;
        broker.move_leader("t", 0, 2).unwrap();
        drop(rule);
        let answer = client.receive::<ProduceRequest>(9).await;
        assert_eq!(error(answer.responses[0].partition_responses[0].error_code), expected, "{verdict:?}");
        assert_eq!(broker.offsets("t", 0).unwrap(), 0..written);
    }
}

#[tokio::test]
async fn a_full_disk_refuses_what_is_written_to_its_node_and_serves_what_is_read() {
    let (broker, mut client) = start().await;
    produce(&mut client, "t", 0, batch(&["a"])).await;
    let full = broker.install(Rule::disk_full(1));
    let refused = produce(&mut client, "t", 0, batch(&["b"])).await;
    assert_eq!(error(refused.error_code), Some(KafkaError::KafkaStorageError));
    let answer = client.call(12, &fetch_request("t", &[(0, 0)])).await;
    assert_eq!(records(&fetched(&answer)[0].records), [(0, "a".to_owned())]);
    let mut other = Client::connect(&broker, 2).await;
    assert_eq!(produce(&mut other, "t", 1, batch(&["b"])).await.error_code, 0, "the other node has room");
    drop(full);
    assert_eq!(produce(&mut client, "t", 0, batch(&["b"])).await.base_offset, 1);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_stops_closes_connections_in_memory_as_well() {
    let (broker, mut client) = start_in_memory().await;
    broker.stop(1).await.unwrap();
    assert_eq!(client.frame().await, None);
    assert!(broker.dial(1).is_err());
    broker.resume(1).await.unwrap();
    Client::dial(&broker, 1).call(9, &MetadataRequest::default()).await;
}

#[tokio::test]
async fn bytes_behind_a_request_are_passed_over_and_bytes_missing_are_not() {
    // librdkafka 2.0 sends one more byte behind ListGroups version 4: no states wanted, no tags, and then a zero.
    let (_broker, mut client) = start().await;
    let whole = [1, 0];
    for (body, answered) in [(&[1, 0, 0][..], true), (&whole, true), (&whole[..1], false)] {
        client.send_raw(ApiKey::ListGroups.as_i16(), 4, body).await;
        let frame = client.frame().await;
        assert_eq!(frame.is_some(), answered, "{body:?}");
    }
}

#[tokio::test]
async fn every_api_can_be_refused_by_a_fault() {
    let (broker, mut client) = start().await;
    let _rule = broker.install(Rule::any().then(Verdict::Error(KafkaError::CoordinatorLoadInProgress)));
    let beat = client.call(4, &HeartbeatRequest::default()).await;
    assert_eq!(error(beat.error_code), Some(KafkaError::CoordinatorLoadInProgress));
    let fetch = client.call(12, &fetch_request("t", &[(0, 0)])).await;
    assert_eq!(error(fetched(&fetch)[0].error_code), Some(KafkaError::CoordinatorLoadInProgress));
    assert_eq!(client.call(7, &ListOffsetsRequest::default()).await.topics.len(), 0);
}

#[tokio::test]
async fn a_fetch_session_can_be_refused_as_a_whole() {
    let (broker, mut client) = start().await;
    let request = FetchRequest { session_epoch: 0, ..fetch_request("t", &[(0, 0)]) };
    let session_id = client.call(12, &request).await.session_id;
    let _rule = broker.install(Rule::on(ApiKey::Fetch).then(Verdict::Error(KafkaError::FetchSessionIdNotFound)));
    let next = FetchRequest { session_id, session_epoch: 1, ..Default::default() };
    assert_eq!(error(client.call(12, &next).await.error_code), Some(KafkaError::FetchSessionIdNotFound));
}

#[tokio::test]
async fn a_rule_for_a_topic_falls_on_fetches_of_a_session_that_do_not_name_it() {
    let (broker, mut client) = start().await;
    let request = FetchRequest { session_epoch: 0, ..fetch_request("t", &[(0, 0)]) };
    let session_id = client.call(12, &request).await.session_id;
    let rule = broker.install(Rule::on(ApiKey::Fetch).topic("t").then(Verdict::Error(KafkaError::KafkaStorageError)));
    let next = FetchRequest { session_id, session_epoch: 1, ..Default::default() };
    let answer = client.call(12, &next).await;
    assert_eq!(error(fetched(&answer)[0].error_code), Some(KafkaError::KafkaStorageError));
    assert_eq!(rule.applied(), 1);
}

#[tokio::test]
async fn a_moved_leader_refuses_by_the_new_one_and_writes_its_epoch() {
    let (broker, mut client) = start().await;
    let mut new = Client::connect(&broker, 2).await;
    produce(&mut client, "t", 0, batch(&["a"])).await;
    broker.move_leader("t", 0, 2).unwrap();
    let refused = produce(&mut client, "t", 0, batch(&["b"])).await;
    assert_eq!(error(refused.error_code), Some(KafkaError::NotLeaderOrFollower));
    assert_eq!(produce(&mut new, "t", 0, batch(&["b"])).await.base_offset, 1);
    let answer = new.call(12, &fetch_request("t", &[(0, 0)])).await;
    let batches = orderflow::wire::record_batch::BatchReader::new(fetched(&answer)[0].records.clone().unwrap());
    assert_eq!(batches.map(|batch| batch.unwrap().leader_epoch()).collect::<Vec<_>>(), [0, 1]);
    assert!(broker.move_leader("t", 0, 9).is_err());
    assert!(broker.move_leader("t", 9, 1).is_err());
}

#[tokio::test]
async fn a_restarted_node_listens_where_it_did_and_keeps_what_it_had() {
    let (broker, mut client) = start().await;
    produce(&mut client, "t", 0, batch(&["a"])).await;
    let before = broker.bootstrap();
    broker.restart(1).await.unwrap();
    assert_eq!(client.frame().await, None, "old connections are closed");
    assert_eq!(broker.bootstrap(), before);
    broker.move_leader("t", 0, 1).unwrap();
    let mut client = Client::connect(&broker, 1).await;
    let answer = client.call(12, &fetch_request("t", &[(0, 0)])).await;
    assert_eq!(records(&fetched(&answer)[0].records).len(), 1);
}

#[tokio::test]
async fn the_partitions_of_a_stopped_node_are_led_by_another_and_a_lone_nodes_by_nobody() {
    let (broker, _client) = start().await;
    broker.stop(1).await.unwrap();
    let mut other = Client::connect(&broker, 1).await;
    let answer = other.call(9, &MetadataRequest { topics: None, ..Default::default() }).await;
    assert!(answer.topics[0].partitions.iter().all(|partition| partition.leader_id == 2 && partition.isr_nodes == [2]));
    assert_eq!(answer.brokers.len(), 1);
    broker.resume(1).await.unwrap();
    assert!(broker.resume(1).await.is_err(), "it is up");
    assert!(broker.stop(7).await.is_err());
}

#[tokio::test]
async fn a_node_can_come_back_on_another_port() {
    let (broker, _client) = start().await;
    let before = broker.bootstrap();
    broker.change_port(1).await.unwrap();
    assert_ne!(broker.bootstrap(), before);
    assert!(TcpStream::connect(before.split(',').next().unwrap()).await.is_err());
    Client::connect(&broker, 1).await.call(9, &MetadataRequest::default()).await;
}

#[tokio::test]
async fn a_broker_in_memory_takes_no_port_so_that_nothing_keeps_a_node_from_coming_back() {
    let broker = DevBroker::builder().in_memory().nodes(2).topic("t", 1).start().await.unwrap();
    let beside = DevBroker::builder().in_memory().nodes(2).start().await.unwrap();
    assert_eq!(broker.bootstrap(), "192.0.2.1:9092,192.0.2.1:9093");
    assert_eq!(beside.bootstrap(), broker.bootstrap());
    let mut client = Client::dial(&broker, 1);
    broker.restart(1).await.unwrap();
    assert_eq!(client.frame().await, None, "old connections are closed");
    assert_eq!(broker.bootstrap(), beside.bootstrap());
    broker.change_port(1).await.unwrap();
    assert_eq!(broker.bootstrap(), "192.0.2.1:9094,192.0.2.1:9093");
    let producer = InventoryProducer::builder(&broker.config_inside()).topic("t").connect().await.unwrap();
    let order = InventoryOrder::new("1", "anvil", 1, "5/30/2023").unwrap();
    assert_eq!(producer.send(&order).await.unwrap().offset, Some(0));
    producer.close().await.unwrap();
}
