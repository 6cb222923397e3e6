//! What is produced is fetched: offsets, waiting, sessions, refusals.

use bytes::Bytes;
use orderflow::broker::DevBroker;
use orderflow::place::TopicId;
use orderflow::wire::message::{
    FetchPartition, FetchRequest, FetchResponse, FetchTopic, MetadataRequest, MetadataRequestTopic, PartitionData,
    PartitionProduceData, ProduceRequest, TopicProduceData,
};

use crate::client::{Client, batch, records};

pub(crate) fn produce_request(topic: &str, partition: i32, records: Bytes, acks: i16) -> ProduceRequest {
    let partition_data = vec![PartitionProduceData { index: partition, records: Some(records) }];
    let topic_data = vec![TopicProduceData { name: topic.into(), partition_data }];
    ProduceRequest { acks, timeout_ms: 1000, topic_data, ..Default::default() }
}

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

fn only(response: &FetchResponse) -> &PartitionData {
    assert_eq!(response.error_code, 0);
    &response.responses[0].partitions[0]
}

#[tokio::test]
async fn what_is_produced_is_fetched_in_every_version() {
    let broker = DevBroker::builder().topic("t", 1).start().await.unwrap();
    let mut client = Client::connect(&broker, 1).await;
    let id = topic_id(&mut client, "t").await;
    for version in 3..=9 {
        let answer = client.call(version, &produce_request("t", 0, batch(&["a", "b"]), 1)).await;
        let outcome = &answer.responses[0].partition_responses[0];
        assert_eq!((outcome.error_code, outcome.base_offset), (0, 2 * i64::from(version - 3)));
    }
    for version in 4..=17 {
        let mut request = fetch_request("t", &[(0, 3)]);
        request.topics[0].topic_id = id;
        let answer = client.call(version, &request).await;
        let found = records(&only(&answer).records);
        // The batch that holds offset 3 begins with offset 2.
        assert_eq!(found[..2], [(2, "a".into()), (3, "b".into())], "version {version}");
        assert_eq!(found.len(), 12);
        assert_eq!(only(&answer).high_watermark, 14);
    }
    broker.shutdown().await;
}

pub(crate) async fn topic_id(client: &mut Client, name: &str) -> TopicId {
    let topics = vec![MetadataRequestTopic { name: Some(name.into()), ..Default::default() }];
    let answer = client.call(12, &MetadataRequest { topics: Some(topics), ..Default::default() }).await;
    answer.topics[0].topic_id
}
