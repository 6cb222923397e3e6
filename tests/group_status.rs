//! How a group stands, looked at on the development broker.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod consumer_support;
mod support;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use consumer_support::*;
use orderflow::ErrorCode;
use orderflow::broker::{DevBroker, Rule, Spot, Verdict as Fault};
use orderflow::cluster::admin::groups::{GroupKind, GroupStatus, Membership, Verdict, group_status};
use orderflow::cluster::{Cluster, Purpose};
use orderflow::wire::compression::{Compression, Compressor};
use orderflow::wire::connection::Connection;
use orderflow::wire::kafka_error::KafkaError;
use orderflow::wire::message::{
    ApiKey, ConsumerGroupHeartbeatRequest, JoinGroupRequest, JoinGroupRequestProtocol, LeaveGroupRequest,
    MemberIdentity, OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic, SyncGroupRequest,
    SyncGroupRequestAssignment,
};
use orderflow::wire::record_batch::{BatchBuilder, RecordParts};

const GROUP: &str = "inventory";

/// Long enough for some looks, far less than a person's patience.
const PATIENCE: Duration = Duration::from_millis(1600);

/// A classic member that does what it is told.
struct Member {
    cluster: Cluster,
    connection: Connection,
    id: String,
    generation: i32,
}

impl Member {
    /// Joins alone and takes these partitions.
    async fn enter(broker: &DevBroker, client_id: &str, instance: Option<&str>, partitions: &[i32]) -> Self {
        let cluster = Cluster::connect(&broker.config().client_id(client_id)).await.unwrap();
        let node = broker.coordinator(GROUP).unwrap();
        let connection = cluster.connection(node, Purpose::Coordinator).await.unwrap();
        let metadata = [&b"\x00\x01"[..], &topics(), b"\xff\xff\xff\xff\x00\x00\x00\x00"].concat();
        let mut join = JoinGroupRequest {
            group_id: GROUP.into(),
            session_timeout_ms: 30_000,
            rebalance_timeout_ms: 30_000,
            group_instance_id: instance.map(str::to_owned),
            protocol_type: "consumer".into(),
            protocols: vec![JoinGroupRequestProtocol { name: "range".into(), metadata: metadata.into() }],
            ..Default::default()
        };
        let mut joined = connection.call(join.clone()).await.unwrap();
        if joined.error_code == KafkaError::MemberIdRequired.code() {
            join.member_id = joined.member_id;
            joined = connection.call(join).await.unwrap();
        }
        assert_eq!(joined.error_code, 0);
        let (id, generation) = (joined.member_id, joined.generation_id);
        let sync = SyncGroupRequest {
            group_id: GROUP.into(),
            generation_id: generation,
            member_id: id.clone(),
            group_instance_id: instance.map(str::to_owned),
            protocol_type: Some("consumer".into()),
            protocol_name: Some("range".into()),
            assignments: vec![SyncGroupRequestAssignment { member_id: id.clone(), assignment: owning(partitions) }],
        };
        assert_eq!(connection.call(sync).await.unwrap().error_code, 0);
        Self { cluster, connection, id, generation }
    }

    async fn commit(&self, partition: i32, offset: i64) {
        let partition = OffsetCommitRequestPartition {
            partition_index: partition,
            committed_offset: offset,
            committed_leader_epoch: -1,
            committed_metadata: None,
        };
        let request = OffsetCommitRequest {
            group_id: GROUP.into(),
            generation_id_or_member_epoch: self.generation,
            member_id: self.id.clone(),
            topics: vec![OffsetCommitRequestTopic { name: TOPIC.into(), partitions: vec![partition] }],
            ..Default::default()
        };
        let answer = self.connection.call(request).await.unwrap();
        assert_eq!(answer.topics[0].partitions[0].error_code, 0);
    }

    async fn leave(self) {
        let members = vec![MemberIdentity { member_id: self.id.clone(), ..Default::default() }];
        let request = LeaveGroupRequest { group_id: GROUP.into(), members, ..Default::default() };
        assert_eq!(self.connection.call(request).await.unwrap().error_code, 0);
        self.cluster.close().await;
    }
}

fn topics() -> Vec<u8> {
    let name = TOPIC.as_bytes();
    [&1_i32.to_be_bytes()[..], &(name.len() as i16).to_be_bytes(), name].concat()
}

fn owning(partitions: &[i32]) -> Bytes {
    let numbers: Vec<u8> = partitions.iter().flat_map(|partition| partition.to_be_bytes()).collect();
    let count = (partitions.len() as i32).to_be_bytes();
    Bytes::from([&b"\x00\x00"[..], &topics(), &count, &numbers, b"\xff\xff\xff\xff"].concat())
}

async fn look(broker: &DevBroker) -> GroupStatus {
    let cluster = Cluster::connect(&config(broker)).await.unwrap();
    let status = group_status(&cluster, GROUP, PATIENCE).await.unwrap();
    cluster.close().await;
    status
}

fn verdicts(status: &GroupStatus) -> Vec<Verdict> {
    status.partitions.iter().map(|part| part.verdict).collect()
}

#[tokio::test]
async fn a_group_that_has_read_all_is_well_after_one_look() {
    let broker = broker(2).await;
    write(&broker, 0, &entries(0..10));
    let member = Member::enter(&broker, "shop-1.2", None, &[0, 1]).await;
    member.commit(0, 10).await;
    let status = look(&broker).await;
    assert_eq!((status.group.kind, status.group.state.as_str()), (GroupKind::Classic, "Stable"));
    assert_eq!(status.group.assignor, "range");
    let told = &status.group.members[0];
    assert_eq!((&told.id, told.client_version(), &told.instance), (&member.id, Some("1.2"), &None));
    assert_eq!(told.membership, Membership::Classic { subscription: Some(1) });
    assert_eq!(verdicts(&status), [Verdict::Ok, Verdict::Ok]);
    let [read, empty] = &status.partitions[..] else { panic!("{status:?}") };
    assert_eq!((read.position, read.end, read.lag), (Some(10), Some(10), Some(0)));
    assert_eq!((read.lag_seconds, read.drain_seconds, status.owner(read)), (Some(0.0), Some(0.0), Some(told)));
    assert_eq!((empty.position, empty.end, empty.lag), (None, Some(0), None));
    assert!(status.watched < PATIENCE / 2 && status.warnings.is_empty(), "{status:?}");
    member.leave().await;
    broker.shutdown().await;
}

#[tokio::test]
async fn a_member_that_makes_no_progress_is_named_with_the_age_of_what_waits() {
    let broker = broker(2).await;
    let mut hourly = BatchBuilder::new(Compression::Lz4, Vec::new());
    for hour in 0..10 {
        let parts = RecordParts { key: None, headers: &[], value_len: Some(0) };
        hourly.append(1_700_000_000_000 + hour * 3_600_000, &parts, |_| {}).unwrap();
    }
    broker.inject(TOPIC, 0, hourly.close(&mut Compressor::new()).bytes(), Spot::Next).unwrap();
    write(&broker, 1, &entries(10..15));
    let member = Member::enter(&broker, "shop", Some("till-1"), &[0, 1]).await;
    member.commit(0, 4).await;
    let status = look(&broker).await;
    assert_eq!(verdicts(&status), [Verdict::Stalled, Verdict::Stalled]);
    let [behind, never] = &status.partitions[..] else { panic!("{status:?}") };
    assert_eq!((behind.lag, behind.drain_seconds), (Some(6), None));
    // The fifth record of the batch is four hours younger than the first.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
    let age = now - (1_700_000_000.0 + 4.0 * 3600.0);
    assert!((behind.lag_seconds.unwrap() - age).abs() < 5.0, "{behind:?} is not {age}");
    assert_eq!((never.position, never.lag, never.lag_seconds), (None, None, None));
    let [warning] = &status.warnings[..] else { panic!("{status:?}") };
    let sentence = "member static till-1 (shop, 127.0.0.1) owns inventory_orders/0, inventory_orders/1 and has made no \
                    progress there";
    assert!(warning.starts_with(sentence), "{warning}");
    assert!(warning.contains("in 1 of them it has committed nothing yet"), "{warning}");
    assert!(status.watched > PATIENCE / 2, "{status:?}");
    member.leave().await;
    broker.shutdown().await;
}

#[tokio::test]
async fn a_member_that_commits_step_by_step_has_a_time_to_drain() {
    let broker = broker(1).await;
    for round in 0..10 {
        write(&broker, 0, &entries(round * 100..round * 100 + 100));
    }
    let member = Member::enter(&broker, "shop", None, &[0]).await;
    member.commit(0, 0).await;
    let looking = look(&broker);
    let committing = async {
        let mut steps = tokio::time::interval(Duration::from_millis(400));
        for offset in (10..).step_by(10) {
            steps.tick().await;
            member.commit(0, offset).await;
        }
    };
    let status = tokio::select! {
        status = looking => status,
        () = committing => unreachable!("it never ends"),
    };
    let part = &status.partitions[0];
    assert_eq!(part.verdict, Verdict::Ok, "{part:?}");
    // 10 offsets in 0.4 s, as the looks show it: 25 a second, and some 950 are left.
    assert!((15.0..120.0).contains(&part.drain_seconds.unwrap()), "{part:?}");
    assert!(status.warnings.is_empty(), "{status:?}");
    broker.shutdown().await;
}

#[tokio::test]
async fn a_group_without_members_is_stopped_and_one_that_is_not_is_an_error() {
    let broker = broker(2).await;
    write(&broker, 0, &entries(0..10));
    commit_from_outside(&broker, GROUP, 0, 3).await;
    let status = look(&broker).await;
    assert_eq!((status.group.state.as_str(), status.group.members.len()), ("Empty", 0));
    assert_eq!(verdicts(&status), [Verdict::Stopped, Verdict::Stopped]);
    assert_eq!((status.partitions[0].lag, status.partitions[1].lag), (Some(7), None));
    assert_eq!(status.warnings, ["group inventory has no members: nobody reads for it"]);
    let cluster = Cluster::connect(&config(&broker)).await.unwrap();
    let error = group_status(&cluster, "nobody", PATIENCE).await.unwrap_err();
    assert_eq!((error.code(), error.is_retriable()), (ErrorCode::UnknownGroup, false), "{error}");
    cluster.close().await;
    broker.shutdown().await;
}

#[tokio::test]
async fn a_group_of_the_newer_protocol_is_told_in_the_same_words() {
    let broker = broker(2).await;
    write(&broker, 0, &entries(0..10));
    let cluster = Cluster::connect(&broker.config().client_id("shop-1.3")).await.unwrap();
    let connection = cluster.connection(broker.coordinator(GROUP).unwrap(), Purpose::Coordinator).await.unwrap();
    let join = ConsumerGroupHeartbeatRequest {
        group_id: GROUP.into(),
        member_id: "a-member".into(),
        instance_id: Some("till-2".into()),
        rebalance_timeout_ms: 30_000,
        subscribed_topic_names: Some(vec![TOPIC.into()]),
        topic_partitions: Some(Vec::new()),
        ..Default::default()
    };
    let joined = connection.call(join.clone()).await.unwrap();
    assert_eq!(joined.error_code, 0, "{joined:?}");
    let keep = ConsumerGroupHeartbeatRequest { member_epoch: joined.member_epoch, ..join };
    assert_eq!(connection.call(keep).await.unwrap().error_code, 0);
    let status = look(&broker).await;
    assert_eq!((status.group.kind, status.group.state.as_str()), (GroupKind::Consumer, "Stable"), "{status:?}");
    let member = &status.group.members[0];
    assert_eq!((member.id.as_str(), member.instance.as_deref()), ("a-member", Some("till-2")));
    assert_eq!((member.membership, member.client_version()), (Membership::Consumer, Some("1.3")));
    assert_eq!(verdicts(&status), [Verdict::Stalled, Verdict::Ok]);
    assert!(status.partitions.iter().all(|part| part.owner == Some(0)), "{status:?}");
    cluster.close().await;
    broker.shutdown().await;
}

#[tokio::test]
async fn gaps_and_open_transactions_are_no_unread_records() {
    let broker = broker(1).await;
    write(&broker, 0, &entries(0..10));
    write_in_transaction(&broker, 0, 7, &entries(10..12));
    let member = Member::enter(&broker, "shop", None, &[0]).await;
    member.commit(0, 10).await;
    let status = look(&broker).await;
    let part = &status.partitions[0];
    assert_eq!((part.end, part.high_watermark, part.lag), (Some(10), Some(12), Some(0)), "{part:?}");
    assert_eq!(status.warnings, ["an open transaction holds back 2 offsets of inventory_orders/0"]);
    member.leave().await;
    broker.shutdown().await;
}

#[tokio::test]
async fn a_moved_coordinator_and_a_refusing_leader_are_asked_again() {
    let broker = DevBroker::builder().nodes(2).topic(TOPIC, 1).start().await.unwrap();
    write(&broker, 0, &entries(0..10));
    commit_from_outside_of(&broker, 6).await;
    let moved = [ApiKey::DescribeGroups, ApiKey::OffsetFetch]
        .map(|api| broker.install(Rule::on(api).times(1).then(Fault::Error(KafkaError::NotCoordinator))));
    let status = look(&broker).await;
    assert_eq!(moved.map(|rule| rule.applied()), [1, 1]);
    assert_eq!((status.partitions[0].position, status.partitions[0].lag), (Some(6), Some(4)));
    broker.shutdown().await;
}

/// As `commit_from_outside`, where the coordinator may be any node.
async fn commit_from_outside_of(broker: &DevBroker, offset: i64) {
    broker.move_coordinator(GROUP, 1);
    let cluster = Cluster::connect(&broker.config()).await.unwrap();
    let connection = cluster.connection(1, Purpose::Coordinator).await.unwrap();
    let partition = OffsetCommitRequestPartition {
        partition_index: 0,
        committed_offset: offset,
        committed_leader_epoch: -1,
        committed_metadata: None,
    };
    let topics = vec![OffsetCommitRequestTopic { name: TOPIC.into(), partitions: vec![partition] }];
    let request = OffsetCommitRequest { group_id: GROUP.into(), topics, ..Default::default() };
    assert_eq!(connection.call(request).await.unwrap().topics[0].partitions[0].error_code, 0);
    cluster.close().await;
}
