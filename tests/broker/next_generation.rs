//! KIP-848 groups over sockets: what the coordinator's machine decides reaches clients, beside offsets and the tools' questions.

use std::time::Duration;

use orderflow::broker::DevBroker;
use orderflow::wire::kafka_error::KafkaError;
use orderflow::wire::message::{
    ApiKey, ApiVersionsRequest, ConsumerGroupDescribeRequest, ConsumerGroupHeartbeatRequest,
    ConsumerGroupHeartbeatResponse, DeleteGroupsRequest, DescribeGroupsRequest, JoinGroupRequest,
    JoinGroupRequestProtocol, ListGroupsRequest, OffsetCommitRequest, OffsetCommitRequestPartition,
    OffsetCommitRequestTopic, OffsetDeleteRequest, OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
    OffsetFetchRequest, OffsetFetchRequestGroup,
};

use crate::client::{Client, DEADLINE};
use crate::requests::error;

const GROUP: &str = "g";

async fn start() -> (DevBroker, Client) {
    let broker = DevBroker::builder().topic("t", 4).group_heartbeat(Duration::from_millis(50));
    let broker = broker.group_session(Duration::from_millis(200)).start().await.unwrap();
    let client = Client::connect(&broker, 1).await;
    (broker, client)
}

fn join(member: &str) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest {
        group_id: GROUP.into(),
        member_id: member.into(),
        rebalance_timeout_ms: 10_000,
        subscribed_topic_names: Some(vec!["t".into()]),
        topic_partitions: Some(Vec::new()),
        ..Default::default()
    }
}

fn beat(member: &str, member_epoch: i32) -> ConsumerGroupHeartbeatRequest {
    let (group_id, member_id) = (GROUP.into(), member.into());
    ConsumerGroupHeartbeatRequest { group_id, member_id, member_epoch, ..Default::default() }
}

/// The numbers of the partitions told.
fn told(answer: &ConsumerGroupHeartbeatResponse) -> Vec<i32> {
    let assignment = answer.assignment.as_ref().expect("an assignment");
    assignment.topic_partitions.iter().flat_map(|topic| topic.partitions.clone()).collect()
}

async fn commit(client: &mut Client, version: i16, member: &str, epoch: i32) -> Option<KafkaError> {
    let partitions = vec![OffsetCommitRequestPartition { committed_offset: 7, ..Default::default() }];
    let request = OffsetCommitRequest {
        group_id: GROUP.into(),
        generation_id_or_member_epoch: epoch,
        member_id: member.into(),
        topics: vec![OffsetCommitRequestTopic { name: "t".into(), partitions }],
        ..Default::default()
    };
    error(client.call(version, &request).await.topics[0].partitions[0].error_code)
}

async fn fetch(client: &mut Client, member: Option<&str>, epoch: i32) -> Result<i64, KafkaError> {
    let (group_id, member_id) = (GROUP.into(), member.map(str::to_owned));
    let group = OffsetFetchRequestGroup { group_id, member_id, member_epoch: epoch, topics: None };
    let answer = client.call(9, &OffsetFetchRequest { groups: vec![group], ..Default::default() }).await;
    let group = &answer.groups[0];
    error(group.error_code).map_or_else(|| Ok(group.topics[0].partitions[0].committed_offset), Err)
}

fn classic_join() -> JoinGroupRequest {
    let protocol = JoinGroupRequestProtocol { name: "range".into(), ..Default::default() };
    JoinGroupRequest {
        group_id: GROUP.into(),
        session_timeout_ms: 10_000,
        protocol_type: "consumer".into(),
        protocols: vec![protocol],
        ..Default::default()
    }
}

#[tokio::test]
async fn a_member_joins_commits_reads_and_leaves() {
    let (_broker, mut client) = start().await;
    assert_eq!(error(client.call(1, &beat("a", 1)).await.error_code), Some(KafkaError::GroupIdNotFound));
    let joined = client.call(1, &join("a")).await;
    assert_eq!((joined.member_epoch, joined.heartbeat_interval_ms, told(&joined)), (1, 50, vec![0, 1, 2, 3]));
    assert_eq!(commit(&mut client, 9, "a", 1).await, None);
    assert_eq!(commit(&mut client, 9, "a", 2).await, Some(KafkaError::StaleMemberEpoch));
    assert_eq!(commit(&mut client, 8, "a", 1).await, Some(KafkaError::UnsupportedVersion));
    assert_eq!(commit(&mut client, 9, "", -1).await, Some(KafkaError::UnknownMemberId));
    assert_eq!(fetch(&mut client, Some("a"), 1).await, Ok(7));
    assert_eq!(fetch(&mut client, None, -1).await, Ok(7));
    assert_eq!(fetch(&mut client, Some("a"), 0).await, Err(KafkaError::StaleMemberEpoch));
    assert_eq!(client.call(1, &beat("a", -1)).await.member_epoch, -1);
    assert_eq!(commit(&mut client, 9, "", -1).await, None, "the group is empty");
}

#[tokio::test]
async fn in_version_0_the_coordinator_makes_the_members_id() {
    let (_broker, mut client) = start().await;
    let joined = client.call(0, &join("")).await;
    let id = joined.member_id.expect("an id");
    assert_eq!((id.len(), client.call(0, &beat(&id, 1)).await.member_epoch), (32, 1));
    assert_eq!(error(client.call(1, &join("")).await.error_code), Some(KafkaError::InvalidRequest));
}

#[tokio::test]
async fn a_silent_member_is_removed_without_anybody_asking() {
    let (_broker, mut client) = start().await;
    client.call(1, &join("a")).await;
    let deadline = tokio::time::Instant::now() + DEADLINE;
    let ask = ConsumerGroupDescribeRequest { group_ids: vec![GROUP.into()], ..Default::default() };
    while client.call(1, &ask).await.groups[0].group_state != "Empty" {
        assert!(tokio::time::Instant::now() < deadline);
    }
    assert_eq!(error(client.call(1, &beat("a", 1)).await.error_code), Some(KafkaError::UnknownMemberId));
}

#[tokio::test]
async fn tools_are_told_what_kind_of_group_it_is() {
    let (_broker, mut client) = start().await;
    client.call(1, &join("a")).await;
    let ask = ConsumerGroupDescribeRequest { group_ids: vec![GROUP.into(), "u".into()], ..Default::default() };
    for version in 0..=1 {
        let described = client.call(version, &ask).await;
        let [known, unknown] = &described.groups[..] else { panic!("{described:?}") };
        assert_eq!(
            (known.group_state.as_str(), known.group_epoch, known.assignor_name.as_str()),
            ("Stable", 1, "uniform")
        );
        let member = &known.members[0];
        assert_eq!((member.member_id.as_str(), member.client_id.as_str(), member.member_epoch), ("a", "raw", 1));
        assert_eq!(member.assignment.topic_partitions[0].topic_name, "t");
        assert_eq!(member.assignment, member.target_assignment);
        assert_eq!(error(unknown.error_code), Some(KafkaError::GroupIdNotFound));
    }
    let list = |kind: &str| ListGroupsRequest { types_filter: vec![kind.into()], ..Default::default() };
    let listed = client.call(5, &list("consumer")).await.groups;
    assert_eq!((listed[0].group_type.as_str(), listed[0].protocol_type.as_str()), ("consumer", "consumer"));
    assert_eq!(client.call(5, &list("classic")).await.groups, []);
    let described = client.call(5, &DescribeGroupsRequest { groups: vec![GROUP.into()], ..Default::default() }).await;
    assert_eq!((described.groups[0].group_state.as_str(), described.groups[0].error_code), ("Dead", 0));
}

#[tokio::test]
async fn a_group_changes_its_kind_only_when_it_is_empty_and_keeps_its_offsets() {
    let (_broker, mut client) = start().await;
    client.call(1, &join("a")).await;
    assert_eq!(commit(&mut client, 9, "a", 1).await, None);
    assert_eq!(error(client.call(3, &classic_join()).await.error_code), Some(KafkaError::InconsistentGroupProtocol));
    client.call(1, &beat("a", -1)).await;
    let classic = client.call(3, &classic_join()).await;
    assert_eq!((classic.error_code, classic.generation_id), (0, 1));
    assert_eq!(error(client.call(1, &join("a")).await.error_code), Some(KafkaError::GroupIdNotFound));
    assert_eq!(commit(&mut client, 9, "a", 1).await, Some(KafkaError::UnknownMemberId));
    assert_eq!(fetch(&mut client, None, -1).await, Ok(7));
}

#[tokio::test]
async fn only_groups_without_members_are_deleted_and_only_offsets_that_nobody_uses() {
    let (broker, mut client) = start().await;
    client.call(1, &join("a")).await;
    commit(&mut client, 9, "a", 1).await;
    let delete = DeleteGroupsRequest { groups_names: vec![GROUP.into(), "u".into()] };
    let partitions = vec![OffsetDeleteRequestPartition::default()];
    let topics = vec![OffsetDeleteRequestTopic { name: "t".into(), partitions }];
    let forget = OffsetDeleteRequest { group_id: GROUP.into(), topics };
    let outcomes = async |client: &mut Client| {
        let forgotten = client.call(0, &forget).await.topics[0].partitions[0].error_code;
        let deleted = client.call(2, &delete).await.results;
        [error(forgotten), error(deleted[0].error_code), error(deleted[1].error_code)]
    };
    let unknown = Some(KafkaError::GroupIdNotFound);
    let refused = [Some(KafkaError::GroupSubscribedToTopic), Some(KafkaError::NonEmptyGroup), unknown];
    assert_eq!(outcomes(&mut client).await, refused);
    assert_eq!(broker.committed(GROUP, "t", 0), Some(7));
    client.call(1, &beat("a", -1)).await;
    assert_eq!(outcomes(&mut client).await, [None, None, unknown]);
    assert_eq!(error(client.call(0, &forget).await.error_code), unknown);
}

#[tokio::test]
async fn a_broker_without_kip_848_does_not_offer_it() {
    let broker = DevBroker::builder().classic_groups_only().start().await.unwrap();
    let mut client = Client::connect(&broker, 1).await;
    let request = ApiVersionsRequest { client_software_name: "raw".into(), client_software_version: "1".into() };
    let offered = client.call(3, &request).await.api_keys;
    let offers = |api: ApiKey| offered.iter().any(|offer| offer.api_key == api.as_i16());
    assert_eq!((offers(ApiKey::ConsumerGroupHeartbeat), offers(ApiKey::JoinGroup)), (false, true));
    client.send(1, &join("a")).await;
    assert_eq!(client.frame().await, None, "closed, as Kafka does with what it does not know");
}
