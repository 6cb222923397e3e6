//! What tools ask for: metadata, topics, settings, offsets, versions.

use orderflow::broker::DevBroker;
use orderflow::place::TopicId;
use orderflow::wire::kafka_error::KafkaError;
use orderflow::wire::message::{
    ApiKey, ApiVersionsRequest, ApiVersionsResponse, CreatableTopic, CreatableTopicConfig, CreatePartitionsRequest,
    CreatePartitionsTopic, CreateTopicsRequest, DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic,
    DeleteTopicState, DeleteTopicsRequest, DescribeClusterRequest, DescribeConfigsRequest, DescribeConfigsResource,
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic, MetadataRequest, MetadataRequestTopic,
    OffsetForLeaderEpochRequest, OffsetForLeaderPartition, OffsetForLeaderTopic, decode_body, decode_response_header,
};
use orderflow::wire::record_batch::NO_PRODUCER;

use crate::client::{Client, batch, timed};
use crate::requests::{error, produce, topic_id};

async fn start(nodes: u16) -> (DevBroker, Client) {
    let broker = DevBroker::builder().nodes(nodes).topic("t", 3).start().await.unwrap();
    let client = Client::connect(&broker, 1).await;
    (broker, client)
}

fn named(name: &str) -> MetadataRequest {
    let topics = vec![MetadataRequestTopic { name: Some(name.into()), ..Default::default() }];
    MetadataRequest { topics: Some(topics), ..Default::default() }
}

#[tokio::test]
async fn metadata_tells_every_node_and_spreads_the_leaders() {
    let (broker, mut client) = start(3).await;
    for version in 0..=12 {
        let answer = client.call(version, &named("t")).await;
        let told: Vec<_> = answer.brokers.iter().map(|node| format!("{}:{}", node.host, node.port)).collect();
        assert_eq!(told.join(","), broker.bootstrap(), "version {version}");
        let mut leaders: Vec<_> = answer.topics[0].partitions.iter().map(|partition| partition.leader_id).collect();
        leaders.sort_unstable();
        assert_eq!(leaders, [1, 2, 3]);
        assert!(answer.topics[0].partitions.iter().all(|partition| partition.isr_nodes.len() == 3));
        if version >= 2 {
            assert!(answer.cluster_id.is_some());
            assert_eq!(answer.controller_id, 1);
        }
        assert_eq!(answer.topics[0].topic_id.is_none(), version < 10);
    }
}

#[tokio::test]
async fn no_topics_are_all_in_version_0_and_none_later() {
    let (_broker, mut client) = start(1).await;
    let count = async |client: &mut Client, version, topics| {
        client.call(version, &MetadataRequest { topics, ..Default::default() }).await.topics.len()
    };
    assert_eq!(count(&mut client, 0, Some(Vec::new())).await, 1);
    assert_eq!(count(&mut client, 1, Some(Vec::new())).await, 0);
    assert_eq!(count(&mut client, 1, None).await, 1);
}

#[tokio::test]
async fn a_topic_is_made_when_it_is_named_unless_client_or_broker_do_not_want_it() {
    let (broker, mut client) = start(1).await;
    let unwanted = client.call(9, &MetadataRequest { allow_auto_topic_creation: false, ..named("new") }).await;
    assert_eq!(error(unwanted.topics[0].error_code), Some(KafkaError::UnknownTopicOrPartition));
    let made = client.call(9, &named("new")).await;
    assert_eq!((made.topics[0].error_code, made.topics[0].partitions.len()), (0, 6));
    let illegal = client.call(9, &named("n/w")).await;
    assert_eq!(error(illegal.topics[0].error_code), Some(KafkaError::InvalidTopicException));
    broker.shutdown().await;
    let broker = DevBroker::builder().auto_create(false).start().await.unwrap();
    let refused = Client::connect(&broker, 1).await.call(9, &named("new")).await;
    assert_eq!(error(refused.topics[0].error_code), Some(KafkaError::UnknownTopicOrPartition));
}

#[tokio::test]
async fn a_topic_goes_by_its_identity_which_a_recreated_one_does_not_share() {
    let (broker, mut client) = start(1).await;
    let by_id = |topic_id: TopicId| {
        let topics = vec![MetadataRequestTopic { topic_id, name: None }];
        MetadataRequest { topics: Some(topics), ..Default::default() }
    };
    let old = topic_id(&mut client, "t").await;
    assert_eq!(client.call(12, &by_id(old)).await.topics[0].name.as_deref(), Some("t"));
    broker.delete_topic("t").unwrap();
    broker.create_topic("t", 1, &[]).unwrap();
    let unknown = client.call(12, &by_id(old)).await;
    assert_eq!(error(unknown.topics[0].error_code), Some(KafkaError::UnknownTopicId));
    assert_ne!(topic_id(&mut client, "t").await, old);
}

#[tokio::test]
async fn a_version_that_is_not_known_is_answered_in_version_0_with_the_ranges() {
    let (_broker, mut client) = start(1).await;
    client.send_raw(ApiKey::ApiVersions.as_i16(), 99, b"not to be understood").await;
    let (_, body) = decode_response_header(ApiKey::ApiVersions, 0, client.frame().await.unwrap()).unwrap();
    let answer: ApiVersionsResponse = decode_body(body, 0, 3).unwrap();
    assert_eq!(error(answer.error_code), Some(KafkaError::UnsupportedVersion));
    let own = answer.api_keys.iter().find(|api| api.api_key == ApiKey::ApiVersions.as_i16()).unwrap();
    assert_eq!((own.min_version, own.max_version), (0, 4));
    let known = ApiVersionsRequest { client_software_name: "raw".into(), client_software_version: "1.0-x".into() };
    for version in 0..=4 {
        assert_eq!(client.call(version, &known).await.api_keys, answer.api_keys);
    }
    let odd = ApiVersionsRequest { client_software_name: "r w".into(), ..known };
    assert_eq!(error(client.call(3, &odd).await.error_code), Some(KafkaError::InvalidRequest));
}

#[tokio::test]
async fn what_is_advertised_can_be_decoded_and_what_is_not_closes_the_connection() {
    let (broker, mut client) = start(1).await;
    let answer = client.call(0, &ApiVersionsRequest::default()).await;
    for api in &answer.api_keys {
        let codec = ApiKey::from_i16(api.api_key).unwrap().versions();
        assert!(codec.contains(api.min_version) && codec.contains(api.max_version), "{api:?}");
    }
    for (key, version) in
        [(ApiKey::Fetch.as_i16(), 3), (ApiKey::Fetch.as_i16(), 18), (999, 0), (ApiKey::SaslHandshake.as_i16(), 1)]
    {
        let mut client = Client::connect(&broker, 1).await;
        client.send_raw(key, version, &[0; 40]).await;
        assert_eq!(client.frame().await, None, "API {key} version {version}");
    }
}

#[tokio::test]
async fn bytes_that_are_no_request_close_the_connection_and_nothing_else() {
    let (broker, mut client) = start(1).await;
    for body in [&b""[..], &[0x7f; 200], &[0, 0, 0, 1, 0x7f, 0xff, 0xff, 0xff]] {
        let mut hostile = Client::connect(&broker, 1).await;
        hostile.send_raw(ApiKey::Metadata.as_i16(), 1, body).await;
        assert_eq!(hostile.frame().await, None);
    }
    assert_eq!(client.call(9, &named("t")).await.topics[0].error_code, 0);
}

fn creatable(name: &str, num_partitions: i32, configs: &[(&str, &str)]) -> CreatableTopic {
    let configs =
        configs.iter().map(|(name, value)| CreatableTopicConfig { name: (*name).into(), value: Some((*value).into()) });
    CreatableTopic {
        name: name.into(),
        num_partitions,
        replication_factor: 1,
        configs: configs.collect(),
        ..Default::default()
    }
}

#[tokio::test]
async fn topics_are_made_as_asked_for_or_refused_by_reason() {
    let (_broker, mut client) = start(2).await;
    let topics = vec![
        creatable("new", 4, &[("retention.ms", "1")]),
        creatable("t", 1, &[]),
        creatable("n w", 1, &[]),
        creatable("zero", 0, &[]),
        creatable("huge", i32::MAX, &[]),
        creatable("odd", 1, &[("retention.mss", "1")]),
        CreatableTopic { replication_factor: 3, ..creatable("wide", 1, &[]) },
        CreatableTopic { replication_factor: -1, ..creatable("defaults", -1, &[]) },
    ];
    let dry = CreateTopicsRequest { topics, validate_only: true, ..Default::default() };
    let real = CreateTopicsRequest { validate_only: false, ..dry.clone() };
    for request in [&dry, &real] {
        let answer = client.call(7, request).await;
        let told: Vec<_> = answer.topics.iter().map(|topic| (error(topic.error_code), topic.num_partitions)).collect();
        let refused = |error| (Some(error), -1);
        let expected = [
            (None, 4),
            refused(KafkaError::TopicAlreadyExists),
            refused(KafkaError::InvalidTopicException),
            refused(KafkaError::InvalidPartitions),
            refused(KafkaError::InvalidPartitions),
            refused(KafkaError::InvalidConfig),
            refused(KafkaError::InvalidReplicationFactor),
            (None, 6),
        ];
        assert_eq!(told, expected);
    }
    assert_eq!(client.call(9, &MetadataRequest { topics: None, ..Default::default() }).await.topics.len(), 3);
    for version in 2..=7 {
        let topics = vec![creatable(&format!("v{version}"), 1, &[])];
        let answer = client.call(version, &CreateTopicsRequest { topics, ..Default::default() }).await;
        assert_eq!(answer.topics[0].error_code, 0, "version {version}");
    }
}

#[tokio::test]
async fn settings_are_described_as_they_were_set() {
    let (_broker, mut client) = start(1).await;
    let topics = vec![creatable("new", 1, &[("retention.ms", "77")])];
    client.call(7, &CreateTopicsRequest { topics, ..Default::default() }).await;
    let describe = async |client: &mut Client, configuration_keys, resource_type, resource_name: &str| {
        let resource =
            DescribeConfigsResource { resource_type, resource_name: resource_name.into(), configuration_keys };
        let answer = client.call(4, &DescribeConfigsRequest { resources: vec![resource], ..Default::default() }).await;
        answer.results[0].clone()
    };
    let one = describe(&mut client, Some(vec!["retention.ms".into()]), 2, "new").await;
    assert_eq!(
        one.configs.iter().map(|config| (config.value.as_deref(), config.config_source)).collect::<Vec<_>>(),
        [(Some("77"), 1)]
    );
    for all in [None, Some(Vec::new())] {
        let answer = describe(&mut client, all, 2, "new").await;
        assert!(answer.configs.len() > 20);
        assert_eq!(answer.configs.iter().filter(|config| config.config_source == 1).count(), 1);
    }
    assert!(!describe(&mut client, None, 4, "1").await.configs.is_empty());
    let unknown = describe(&mut client, None, 2, "nowhere").await;
    assert_eq!(error(unknown.error_code), Some(KafkaError::UnknownTopicOrPartition));
}

#[tokio::test]
async fn topics_grow_and_go() {
    let (broker, mut client) = start(1).await;
    let grow = async |client: &mut Client, name: &str, count| {
        let topics = vec![CreatePartitionsTopic { name: name.into(), count, assignments: None }];
        let answer = client.call(3, &CreatePartitionsRequest { topics, ..Default::default() }).await;
        error(answer.results[0].error_code)
    };
    assert_eq!(grow(&mut client, "t", 3).await, Some(KafkaError::InvalidPartitions));
    assert_eq!(grow(&mut client, "u", 3).await, Some(KafkaError::UnknownTopicOrPartition));
    assert_eq!(grow(&mut client, "t", 5).await, None);
    assert_eq!(broker.offsets("t", 4).unwrap(), 0..0);
    let id = topic_id(&mut client, "t").await;
    let by_id = DeleteTopicState { name: None, topic_id: id };
    let request = DeleteTopicsRequest { topics: vec![by_id], ..Default::default() };
    assert_eq!(client.call(6, &request).await.responses[0].name.as_deref(), Some("t"));
    assert_eq!(error(client.call(6, &request).await.responses[0].error_code), Some(KafkaError::UnknownTopicId));
    let by_name = DeleteTopicsRequest { topic_names: vec!["t".into()], ..Default::default() };
    let gone = client.call(5, &by_name).await;
    assert_eq!(error(gone.responses[0].error_code), Some(KafkaError::UnknownTopicOrPartition));
}

#[tokio::test]
async fn offsets_are_found_by_time_and_at_both_ends() {
    let (broker, mut client) = start(1).await;
    produce(&mut client, "t", 0, timed(&["a", "b"], 1000, NO_PRODUCER)).await;
    produce(&mut client, "t", 0, timed(&["c", "d"], 5000, NO_PRODUCER)).await;
    produce(&mut client, "t", 0, timed(&["e"], 2000, NO_PRODUCER)).await;
    broker.delete_before("t", 0, 1).unwrap();
    let list = async |client: &mut Client, version, timestamp| {
        let partitions = vec![ListOffsetsPartition { timestamp, ..Default::default() }];
        let topics = vec![ListOffsetsTopic { name: "t".into(), partitions }];
        let answer = client.call(version, &ListOffsetsRequest { topics, ..Default::default() }).await;
        let found = &answer.topics[0].partitions[0];
        assert_eq!(found.error_code, 0);
        (found.offset, found.timestamp)
    };
    for version in 1..=7 {
        assert_eq!(list(&mut client, version, -2).await, (1, -1));
        assert_eq!(list(&mut client, version, -1).await, (5, -1));
        assert_eq!(list(&mut client, version, -3).await, (3, 5001));
        assert_eq!(list(&mut client, version, 0).await, (1, 1001), "what was deleted is not found");
        assert_eq!(list(&mut client, version, 1002).await, (2, 5000));
        assert_eq!(list(&mut client, version, 6000).await, (-1, -1));
    }
}

#[tokio::test]
async fn records_are_deleted_from_the_front() {
    let (broker, mut client) = start(1).await;
    produce(&mut client, "t", 0, batch(&["a", "b", "c"])).await;
    let delete = async |client: &mut Client, offset| {
        let partitions = vec![DeleteRecordsPartition { partition_index: 0, offset }];
        let topics = vec![DeleteRecordsTopic { name: "t".into(), partitions }];
        let answer = client.call(2, &DeleteRecordsRequest { topics, ..Default::default() }).await;
        let deleted = &answer.topics[0].partitions[0];
        (error(deleted.error_code), deleted.low_watermark)
    };
    assert_eq!(delete(&mut client, 2).await, (None, 2));
    assert_eq!(delete(&mut client, 4).await, (Some(KafkaError::OffsetOutOfRange), -1));
    assert_eq!(delete(&mut client, -1).await, (None, 3));
    assert_eq!(broker.offsets("t", 0).unwrap(), 3..3);
}

#[tokio::test]
async fn leader_epochs_end_where_the_next_begins() {
    let (broker, mut client) = start(1).await;
    produce(&mut client, "t", 0, batch(&["a"])).await;
    broker.bump_epoch("t", 0).unwrap();
    produce(&mut client, "t", 0, batch(&["b", "c"])).await;
    let mut end = async |leader_epoch, current_leader_epoch| {
        let partitions = vec![OffsetForLeaderPartition { partition: 0, current_leader_epoch, leader_epoch }];
        let topics = vec![OffsetForLeaderTopic { topic: "t".into(), partitions }];
        let answer = client.call(4, &OffsetForLeaderEpochRequest { topics, ..Default::default() }).await;
        let found = answer.topics[0].partitions[0].clone();
        (error(found.error_code), found.leader_epoch, found.end_offset)
    };
    assert_eq!(end(0, -1).await, (None, 0, 1));
    assert_eq!(end(1, 1).await, (None, 1, 3));
    assert_eq!(end(2, -1).await, (None, -1, -1));
    assert_eq!(end(0, 0).await, (Some(KafkaError::FencedLeaderEpoch), -1, -1));
}

#[tokio::test]
async fn the_cluster_is_described() {
    let (_broker, mut client) = start(3).await;
    let answer = client.call(1, &DescribeClusterRequest::default()).await;
    assert_eq!((answer.error_code, answer.brokers.len(), answer.controller_id), (0, 3, 1));
    let controllers = client.call(1, &DescribeClusterRequest { endpoint_type: 2, ..Default::default() }).await;
    assert_eq!(error(controllers.error_code), Some(KafkaError::UnsupportedEndpointType));
}
