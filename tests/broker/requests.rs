//! Requests that several tests make.

use bytes::Bytes;
use orderflow::place::TopicId;
use orderflow::wire::kafka_error::KafkaError;
use orderflow::wire::message::{
    FetchPartition, FetchRequest, FetchResponse, FetchTopic, MetadataRequest, MetadataRequestTopic, PartitionData,
    PartitionProduceData, PartitionProduceResponse, ProduceRequest, TopicProduceData,
};

use crate::client::Client;

pub(crate) fn produce_request(topic: &str, partition: i32, records: Bytes, acks: i16) -> ProduceRequest {
    let partition_data = vec![PartitionProduceData { index: partition, records: Some(records) }];
    let topic_data = vec![TopicProduceData { name: topic.into(), partition_data }];
    ProduceRequest { acks, timeout_ms: 1000, topic_data, ..Default::default() }
}

pub(crate) async fn produce(
    client: &mut Client,
    topic: &str,
    partition: i32,
    records: Bytes,
) -> PartitionProduceResponse {
    let answer = client.call(9, &produce_request(topic, partition, records, -1)).await;
    answer.responses[0].partition_responses[0].clone()
}

/// Fetches up to 1 MiB from each partition, from these offsets, without waiting.
pub(crate) fn fetch_request(topic: &str, wanted: &[(i32, i64)]) -> FetchRequest {
    let partitions = wanted.iter().map(|(partition, fetch_offset)| FetchPartition {
        partition: *partition,
        fetch_offset: *fetch_offset,
        partition_max_bytes: 1 << 20,
        ..Default::default()
    });
    let topics = vec![FetchTopic { topic: topic.into(), partitions: partitions.collect(), ..Default::default() }];
    FetchRequest { topics, max_bytes: 10 << 20, ..Default::default() }
}

/// The partitions of an answer without an error as a whole.
pub(crate) fn fetched(response: &FetchResponse) -> Vec<&PartitionData> {
    assert_eq!(response.error_code, 0);
    response.responses.iter().flat_map(|topic| &topic.partitions).collect()
}

pub(crate) async fn topic_id(client: &mut Client, name: &str) -> TopicId {
    let topics = vec![MetadataRequestTopic { name: Some(name.into()), ..Default::default() }];
    let answer = client.call(12, &MetadataRequest { topics: Some(topics), ..Default::default() }).await;
    answer.topics[0].topic_id
}

pub(crate) fn error(code: i16) -> Option<KafkaError> {
    KafkaError::from_code(code)
}
