//! Groups: committed offsets, membership over sockets, coordinators.

use bytes::Bytes;
use orderflow::broker::DevBroker;
use orderflow::wire::kafka_error::KafkaError;
use orderflow::wire::message::{
    DescribeGroupsRequest, FindCoordinatorRequest, HeartbeatRequest, JoinGroupRequest, JoinGroupRequestProtocol,
    JoinGroupResponse, LeaveGroupRequest, ListGroupsRequest, MemberIdentity, OffsetCommitRequest,
    OffsetCommitRequestPartition, OffsetCommitRequestTopic, OffsetFetchRequest, OffsetFetchRequestGroup,
    OffsetFetchRequestTopic, OffsetFetchRequestTopics, SyncGroupRequest, SyncGroupRequestAssignment,
};

use crate::client::Client;
use crate::requests::error;

const GROUP: &str = "g";

async fn start() -> (DevBroker, Client) {
    let broker = DevBroker::builder().topic("t", 3).start().await.unwrap();
    let client = Client::connect(&broker, 1).await;
    (broker, client)
}

fn join(member_id: &str) -> JoinGroupRequest {
    JoinGroupRequest {
        group_id: GROUP.into(),
        session_timeout_ms: 30_000,
        rebalance_timeout_ms: 30_000,
        member_id: member_id.into(),
        protocol_type: "consumer".into(),
        protocols: vec![JoinGroupRequestProtocol { name: "range".into(), metadata: Bytes::from_static(b"topics") }],
        ..Default::default()
    }
}

fn sync(member: &JoinGroupResponse, plan: &[(&str, &'static str)]) -> SyncGroupRequest {
    let plan = plan.iter().map(|(member_id, part)| SyncGroupRequestAssignment {
        member_id: (*member_id).into(),
        assignment: Bytes::from_static(part.as_bytes()),
    });
    SyncGroupRequest {
        group_id: GROUP.into(),
        generation_id: member.generation_id,
        member_id: member.member_id.clone(),
        assignments: plan.collect(),
        ..Default::default()
    }
}

fn heartbeat(member: &JoinGroupResponse) -> HeartbeatRequest {
    let (generation_id, member_id) = (member.generation_id, member.member_id.clone());
    HeartbeatRequest { group_id: GROUP.into(), generation_id, member_id, ..Default::default() }
}

fn commit(offset: i64, member: Option<&JoinGroupResponse>) -> OffsetCommitRequest {
    let partition = OffsetCommitRequestPartition {
        partition_index: 1,
        committed_offset: offset,
        committed_leader_epoch: 4,
        committed_metadata: Some("note".into()),
    };
    let topics = vec![OffsetCommitRequestTopic { name: "t".into(), partitions: vec![partition] }];
    OffsetCommitRequest {
        group_id: GROUP.into(),
        generation_id_or_member_epoch: member.map_or(-1, |member| member.generation_id),
        member_id: member.map(|member| member.member_id.clone()).unwrap_or_default(),
        topics,
        ..Default::default()
    }
}

async fn commits(client: &mut Client, version: i16, request: &OffsetCommitRequest) -> Option<KafkaError> {
    error(client.call(version, request).await.topics[0].partitions[0].error_code)
}

/// Joins a group that is empty, as clients do that are given an id first.
async fn enter(client: &mut Client) -> JoinGroupResponse {
    let given = client.call(5, &join("")).await;
    assert_eq!(error(given.error_code), Some(KafkaError::MemberIdRequired));
    client.call(5, &join(&given.member_id)).await
}

#[tokio::test]
async fn what_is_committed_without_membership_is_fetched_in_every_version() {
    let (broker, mut client) = start().await;
    for version in 2..=9 {
        assert_eq!(commits(&mut client, version, &commit(i64::from(version), None)).await, None);
        assert_eq!(broker.committed(GROUP, "t", 1), Some(version.into()));
    }
    for version in 1..=7 {
        let topics = vec![OffsetFetchRequestTopic { name: "t".into(), partition_indexes: vec![0, 1] }];
        let request = OffsetFetchRequest { group_id: GROUP.into(), topics: Some(topics), ..Default::default() };
        let answer = client.call(version, &request).await;
        let told: Vec<_> =
            answer.topics[0].partitions.iter().map(|one| (one.partition_index, one.committed_offset)).collect();
        assert_eq!(told, [(0, -1), (1, 9)], "version {version}");
    }
    for version in 8..=9 {
        let topics = vec![OffsetFetchRequestTopics { name: "t".into(), partition_indexes: vec![1, 2] }];
        let one = OffsetFetchRequestGroup { group_id: GROUP.into(), topics: Some(topics), ..Default::default() };
        let all = OffsetFetchRequestGroup { topics: None, ..one.clone() };
        let unknown = OffsetFetchRequestGroup { group_id: "u".into(), ..one.clone() };
        let request = OffsetFetchRequest { groups: vec![one, all, unknown], ..Default::default() };
        let answer = client.call(version, &request).await;
        let told = |index: usize| {
            let partitions = answer.groups[index].topics.iter().flat_map(|topic| &topic.partitions);
            partitions.map(|one| (one.partition_index, one.committed_offset)).collect::<Vec<_>>()
        };
        assert_eq!([told(0), told(1), told(2)], [vec![(1, 9), (2, -1)], vec![(1, 9)], vec![(1, -1), (2, -1)]]);
        let known = &answer.groups[0].topics[0].partitions[0];
        assert_eq!((known.committed_leader_epoch, known.metadata.as_deref()), (4, Some("note")));
        assert!(answer.groups.iter().all(|group| group.error_code == 0));
    }
}

#[tokio::test]
async fn commits_for_what_does_not_exist_or_is_too_long_are_refused() {
    let (_broker, mut client) = start().await;
    let mut unknown = commit(1, None);
    unknown.topics[0].name = "u".into();
    assert_eq!(commits(&mut client, 8, &unknown).await, Some(KafkaError::UnknownTopicOrPartition));
    let mut long = commit(1, None);
    long.topics[0].partitions[0].committed_metadata = Some("x".repeat(4097));
    assert_eq!(commits(&mut client, 8, &long).await, Some(KafkaError::OffsetMetadataTooLarge));
    let nameless = OffsetCommitRequest { group_id: String::new(), ..commit(1, None) };
    assert_eq!(commits(&mut client, 8, &nameless).await, Some(KafkaError::InvalidGroupId));
}

#[tokio::test]
async fn two_members_share_a_group_and_one_takes_over_when_the_other_leaves() {
    let (_broker, mut first) = start().await;
    let mut second = Client::connect(&_broker, 1).await;
    let alone = enter(&mut first).await;
    assert_eq!((alone.generation_id, alone.leader == alone.member_id), (1, true));
    let synced = first.call(5, &sync(&alone, &[(&alone.member_id, "all")])).await;
    assert_eq!((synced.error_code, &synced.assignment[..]), (0, &b"all"[..]));

    let given = second.call(5, &join("")).await;
    second.send(5, &join(&given.member_id)).await;
    loop {
        let answer = first.call(4, &heartbeat(&alone)).await;
        match error(answer.error_code) {
            Some(KafkaError::RebalanceInProgress) => break,
            other => assert_eq!(other, None, "until the second request has come in"),
        }
    }
    let leader = first.call(5, &join(&alone.member_id)).await;
    let follower = second.receive::<JoinGroupRequest>(5).await;
    assert_eq!((leader.generation_id, follower.generation_id), (2, 2));
    assert_eq!((leader.members.len(), follower.members.len()), (2, 0));
    second.send(5, &sync(&follower, &[])).await;
    let plan = [(leader.member_id.as_str(), "one"), (follower.member_id.as_str(), "two")];
    assert_eq!(&first.call(5, &sync(&leader, &plan)).await.assignment[..], b"one");
    assert_eq!(&second.receive::<SyncGroupRequest>(5).await.assignment[..], b"two");
    assert_eq!(commits(&mut second, 8, &commit(7, Some(&follower))).await, None);
    assert_eq!(commits(&mut second, 8, &commit(7, Some(&alone))).await, Some(KafkaError::IllegalGeneration));
    assert_eq!(commits(&mut second, 8, &commit(7, None)).await, Some(KafkaError::UnknownMemberId));

    let members = vec![MemberIdentity { member_id: leader.member_id.clone(), ..Default::default() }];
    let left = first.call(5, &LeaveGroupRequest { group_id: GROUP.into(), members, ..Default::default() }).await;
    assert_eq!((left.error_code, left.members[0].error_code), (0, 0));
    let after = second.call(5, &join(&follower.member_id)).await;
    assert_eq!((after.generation_id, &after.leader), (3, &follower.member_id));
}

#[tokio::test]
async fn a_member_whose_session_ends_is_removed_without_anybody_asking() {
    let (broker, mut client) = start().await;
    let given = client.call(5, &join("")).await;
    let short = JoinGroupRequest { session_timeout_ms: 50, ..join(&given.member_id) };
    let member = client.call(5, &short).await;
    client.call(5, &sync(&member, &[])).await;
    let mut watcher = Client::connect(&broker, 1).await;
    let deadline = tokio::time::Instant::now() + crate::client::DEADLINE;
    loop {
        let answer = watcher.call(5, &DescribeGroupsRequest { groups: vec![GROUP.into()], ..Default::default() }).await;
        if answer.groups[0].group_state == "Empty" {
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "{answer:?}");
    }
    assert_eq!(error(client.call(4, &heartbeat(&member)).await.error_code), Some(KafkaError::UnknownMemberId));
}

#[tokio::test]
async fn a_parked_member_that_hangs_up_does_not_hold_up_the_group_for_longer_than_its_session() {
    let (broker, mut first) = start().await;
    let alone = enter(&mut first).await;
    first.call(5, &sync(&alone, &[])).await;
    {
        let mut second = Client::connect(&broker, 1).await;
        let given = second.call(5, &join("")).await;
        second.send(5, &JoinGroupRequest { session_timeout_ms: 50, ..join(&given.member_id) }).await;
        while first.call(4, &heartbeat(&alone)).await.error_code == 0 {}
    }
    // The group gives the absent member its part; nobody asks for it, and the session ends.
    let leader = first.call(5, &join(&alone.member_id)).await;
    assert_eq!(leader.members.len(), 2);
    first.call(5, &sync(&leader, &[])).await;
    let deadline = tokio::time::Instant::now() + crate::client::DEADLINE;
    while first.call(4, &heartbeat(&leader)).await.error_code == 0 {
        assert!(tokio::time::Instant::now() < deadline);
    }
    assert_eq!(first.call(5, &join(&alone.member_id)).await.members.len(), 1);
}

#[tokio::test]
async fn groups_are_listed_and_described() {
    let (_broker, mut client) = start().await;
    let member = enter(&mut client).await;
    client.call(5, &sync(&member, &[(&member.member_id, "all")])).await;
    for version in 0..=4 {
        let listed = client.call(version, &ListGroupsRequest::default()).await;
        assert_eq!((listed.groups.len(), listed.groups[0].group_id.as_str()), (1, GROUP));
    }
    let empty = client.call(4, &ListGroupsRequest { states_filter: vec!["Empty".into()], ..Default::default() }).await;
    assert_eq!(empty.groups.len(), 0);
    let request = DescribeGroupsRequest { groups: vec![GROUP.into(), "u".into()], ..Default::default() };
    let described = client.call(5, &request).await;
    let [known, unknown] = &described.groups[..] else { panic!("{described:?}") };
    assert_eq!((known.group_state.as_str(), known.protocol_data.as_str()), ("Stable", "range"));
    assert_eq!(
        (&known.members[0].member_metadata[..], &known.members[0].member_assignment[..]),
        (&b"topics"[..], &b"all"[..])
    );
    assert_eq!((unknown.error_code, unknown.group_state.as_str()), (0, "Dead"));
}

#[tokio::test]
async fn every_group_has_one_coordinator_which_can_move() {
    let broker = DevBroker::builder().nodes(3).topic("t", 3).start().await.unwrap();
    let mut client = Client::connect(&broker, 1).await;
    for version in 0..=6 {
        let request = FindCoordinatorRequest {
            key: if version < 4 { GROUP.into() } else { String::new() },
            coordinator_keys: if version < 4 { Vec::new() } else { vec![GROUP.into()] },
            ..Default::default()
        };
        let answer = client.call(version, &request).await;
        let node = answer.coordinators.first().map_or(answer.node_id, |coordinator| coordinator.node_id);
        assert_eq!(Some(node), broker.coordinator(GROUP), "version {version}");
    }
    let old = broker.coordinator(GROUP).unwrap();
    let new = old % 3 + 1;
    let mut at_old = Client::connect(&broker, old as usize).await;
    let mut at_new = Client::connect(&broker, new as usize).await;
    assert_eq!(commits(&mut at_old, 8, &commit(5, None)).await, None);
    assert_eq!(commits(&mut at_new, 8, &commit(6, None)).await, Some(KafkaError::NotCoordinator));
    broker.move_coordinator(GROUP, new);
    assert_eq!(commits(&mut at_old, 8, &commit(6, None)).await, Some(KafkaError::NotCoordinator));
    assert_eq!(broker.committed(GROUP, "t", 1), Some(5), "offsets move along");
    assert_eq!(commits(&mut at_new, 8, &commit(6, None)).await, None);
    broker.stop(new).await.unwrap();
    assert_ne!(broker.coordinator(GROUP), Some(new));
}

#[tokio::test]
async fn a_session_out_of_bounds_is_refused() {
    let (_broker, mut client) = start().await;
    for session_timeout_ms in [-1, 0, 9, 1_800_001] {
        let answer = client.call(5, &JoinGroupRequest { session_timeout_ms, ..join("") }).await;
        assert_eq!(error(answer.error_code), Some(KafkaError::InvalidSessionTimeout));
    }
}
