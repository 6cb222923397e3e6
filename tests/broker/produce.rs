//! Producing: refusals, repeats, times, bounds.

use bytes::{Bytes, BytesMut};
use orderflow::broker::DevBroker;
use orderflow::wire::compression::{Compression, Compressor};
use orderflow::wire::kafka_error::KafkaError;
use orderflow::wire::message::{InitProducerIdRequest, MetadataRequest};
use orderflow::wire::record_batch::{
    BatchBuilder, BatchReader, NO_PRODUCER, ProducerStamp, RecordParts, TimestampType,
};

use crate::client::{Client, batch, stamped, timed};
use crate::requests::{error, produce, produce_request};

/// Far ahead of any clock.
const YEAR_3000: i64 = 32_503_680_000_000;

async fn start() -> (DevBroker, Client) {
    let broker = DevBroker::builder().nodes(2).topic("t", 2).start().await.unwrap();
    let client = Client::connect(&broker, 1).await;
    (broker, client)
}

fn edited(at: usize, value: u8) -> Bytes {
    let mut bytes = BytesMut::from(&batch(&["a", "b"])[..]);
    bytes[at] = value;
    bytes.freeze()
}

fn built(change: impl FnOnce(BatchBuilder) -> BatchBuilder) -> Bytes {
    let mut builder = change(BatchBuilder::new(Compression::None, Vec::new()));
    let parts = RecordParts { key: None, headers: &[], value_len: Some(1) };
    builder.append(0, &parts, |out| out.push(7)).unwrap();
    builder.close(&mut Compressor::new()).bytes()
}

#[tokio::test]
async fn a_batch_that_cannot_be_kept_is_refused_with_its_reason_and_leaves_no_trace() {
    let (broker, mut client) = start().await;
    let with_a_hole = built(|mut builder| {
        builder.skip_offsets(1);
        builder
    });
    let cases = [
        ("a byte of the records changed", edited(70, 0xff), KafkaError::CorruptMessage),
        ("message format 1", edited(16, 1), KafkaError::UnsupportedForMessageFormat),
        ("message format 7", edited(16, 7), KafkaError::CorruptMessage),
        ("no batch", Bytes::new(), KafkaError::InvalidRecord),
        ("half a batch", batch(&["a"]).slice(..40), KafkaError::InvalidRecord),
        ("two batches", [batch(&["a"]), batch(&["b"])].concat().into(), KafkaError::InvalidRecord),
        ("a batch and a half", [batch(&["a"]), batch(&["b"]).slice(..40)].concat().into(), KafkaError::InvalidRecord),
        ("a control batch", built(BatchBuilder::control), KafkaError::InvalidRecord),
        ("a transaction's batch", built(BatchBuilder::transactional), KafkaError::InvalidTxnState),
        ("an offset without a record", with_a_hole, KafkaError::InvalidRecord),
        ("too large", batch(&[&"x".repeat(1 << 20)]), KafkaError::MessageTooLarge),
        ("far in the future", timed(&["a"], YEAR_3000, NO_PRODUCER), KafkaError::InvalidTimestamp),
    ];
    for (name, records, expected) in cases {
        let outcome = produce(&mut client, "t", 0, records).await;
        assert_eq!(error(outcome.error_code), Some(expected), "{name}");
        assert!(outcome.error_message.is_some_and(|message| !message.is_empty()), "{name}");
    }
    let elsewhere = produce(&mut client, "t", 1, batch(&["a"])).await;
    assert_eq!(error(elsewhere.error_code), Some(KafkaError::NotLeaderOrFollower));
    let nowhere = produce(&mut client, "t", 9, batch(&["a"])).await;
    assert_eq!(error(nowhere.error_code), Some(KafkaError::UnknownTopicOrPartition));
    let acks = client.call(9, &produce_request("t", 0, batch(&["a"]), 2)).await;
    let outcome = &acks.responses[0].partition_responses[0];
    assert_eq!(error(outcome.error_code), Some(KafkaError::InvalidRequiredAcks));
    assert_eq!(broker.offsets("t", 0).unwrap(), 0..0);
}

#[tokio::test]
async fn message_formats_before_batches_are_refused_in_their_own_form() {
    let (_broker, mut client) = start().await;
    for version in 0..=2 {
        let answer = client.call(version, &produce_request("t", 0, batch(&["a"]), 1)).await;
        let outcome = &answer.responses[0].partition_responses[0];
        assert_eq!(error(outcome.error_code), Some(KafkaError::UnsupportedVersion), "version {version}");
    }
}

#[tokio::test]
async fn without_acks_there_is_no_answer_and_a_failure_closes_the_connection() {
    let (broker, mut client) = start().await;
    client.send(9, &produce_request("t", 0, batch(&["a"]), 0)).await;
    // The next answer is that of the next request.
    client.call(9, &MetadataRequest::default()).await;
    assert_eq!(broker.offsets("t", 0).unwrap(), 0..1);
    client.send(9, &produce_request("t", 9, batch(&["a"]), 0)).await;
    assert_eq!(client.frame().await, None);
}

#[tokio::test]
async fn a_repeated_batch_gets_its_first_offset_and_a_gap_is_refused() {
    let (broker, mut client) = start().await;
    let id = client.call(4, &InitProducerIdRequest { transactional_id: None, ..Default::default() }).await;
    assert_eq!((id.error_code, id.producer_epoch), (0, 0));
    let mut write = async |producer_epoch, base_sequence, values: &[&str]| {
        let stamp = ProducerStamp { producer_id: id.producer_id, producer_epoch, base_sequence };
        let outcome = produce(&mut client, "t", 0, stamped(values, stamp)).await;
        (error(outcome.error_code), outcome.base_offset)
    };
    assert_eq!(write(0, 0, &["a", "b"]).await, (None, 0));
    assert_eq!(write(0, 2, &["c"]).await, (None, 2));
    assert_eq!(write(0, 0, &["a", "b"]).await, (None, 0), "repeated");
    assert_eq!(write(0, 4, &["e"]).await, (Some(KafkaError::OutOfOrderSequenceNumber), -1));
    assert_eq!(write(1, 0, &["d"]).await, (None, 3), "a new epoch");
    assert_eq!(write(0, 2, &["c"]).await, (Some(KafkaError::InvalidProducerEpoch), -1), "although it is in the log");
    assert_eq!(broker.offsets("t", 0).unwrap(), 0..4);
}

#[tokio::test]
async fn every_producer_gets_an_id_of_its_own_even_if_it_tells_one() {
    let (_broker, mut client) = start().await;
    let mut ids = Vec::new();
    for producer_id in [-1, -1, 1001] {
        let request =
            InitProducerIdRequest { transactional_id: None, producer_id, producer_epoch: 0, ..Default::default() };
        ids.push(client.call(4, &request).await.producer_id);
    }
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 3);
    let answer =
        client.call(4, &InitProducerIdRequest { transactional_id: Some("t".into()), ..Default::default() }).await;
    assert_eq!(error(answer.error_code), Some(KafkaError::TransactionalIdAuthorizationFailed));
}

#[tokio::test]
async fn a_topic_with_the_brokers_time_says_it_in_answer_and_batch() {
    let (broker, mut client) = start().await;
    broker.create_topic("timed", 1, &[("message.timestamp.type", "LogAppendTime")]).unwrap();
    let outcome = produce(&mut client, "timed", 0, timed(&["a"], YEAR_3000, NO_PRODUCER)).await;
    assert_eq!(outcome.error_code, 0);
    let stored = broker.batches("timed", 0).unwrap().remove(0);
    let stored = BatchReader::new(stored).next().unwrap().unwrap();
    stored.check_crc().unwrap();
    assert_eq!(stored.timestamp_type(), TimestampType::LogAppendTime);
    assert_eq!(stored.max_timestamp(), outcome.log_append_time_ms);
    assert!((1_600_000_000_000..YEAR_3000).contains(&outcome.log_append_time_ms));
}

#[tokio::test]
async fn a_full_broker_refuses_by_name_until_something_is_deleted() {
    let size = batch(&["a"]).len() as u64;
    let broker = DevBroker::builder().topic("t", 1).memory_limit(2 * size).start().await.unwrap();
    let mut client = Client::connect(&broker, 1).await;
    for _ in 0..2 {
        assert_eq!(produce(&mut client, "t", 0, batch(&["a"])).await.error_code, 0);
    }
    let full = produce(&mut client, "t", 0, batch(&["a"])).await;
    assert_eq!(error(full.error_code), Some(KafkaError::PolicyViolation));
    assert!(full.error_message.unwrap().contains("memory_limit"));
    broker.delete_before("t", 0, 1).unwrap();
    assert_eq!(produce(&mut client, "t", 0, batch(&["a"])).await.error_code, 0);
    broker.delete_topic("t").unwrap();
    broker.create_topic("t", 1, &[]).unwrap();
    for _ in 0..2 {
        assert_eq!(produce(&mut client, "t", 0, batch(&["a"])).await.error_code, 0);
    }
}

#[tokio::test]
async fn retention_by_size_moves_the_start_of_the_log() {
    let (broker, mut client) = start().await;
    let keeps = (2 * batch(&["a"]).len()).to_string();
    broker.create_topic("short", 1, &[("retention.bytes", &keeps)]).unwrap();
    for _ in 0..5 {
        produce(&mut client, "short", 0, batch(&["a"])).await;
    }
    assert_eq!(broker.offsets("short", 0).unwrap(), 3..5);
}

#[tokio::test]
async fn too_few_replicas_in_sync_are_refused_for_acks_all_alone() {
    let (broker, mut client) = start().await;
    broker.create_topic("safe", 1, &[("min.insync.replicas", "2")]).unwrap();
    assert_eq!(produce(&mut client, "safe", 0, batch(&["a"])).await.error_code, 0);
    broker.stop(2).await.unwrap();
    let refused = produce(&mut client, "safe", 0, batch(&["a"])).await;
    assert_eq!(error(refused.error_code), Some(KafkaError::NotEnoughReplicas));
    let answer = client.call(9, &produce_request("safe", 0, batch(&["a"]), 1)).await;
    assert_eq!(answer.responses[0].partition_responses[0].error_code, 0);
}
