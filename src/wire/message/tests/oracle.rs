//! Agreement with `kafka-protocol`, whose code is generated from Kafka's schemas.
//!
//! Each of our messages is written, read by the oracle and written by it again, for every version that both know. The bytes must be
//! the same, and so must every field by its name: equal bytes alone would not tell two neighbours of one type that changed places.

use bytes::BytesMut;
use kafka_protocol::messages as theirs;
use kafka_protocol::protocol::{Decodable, Encodable, Message};

use super::debug_tree::Tree;
use super::*;

/// Fields whose default is not the schema's, on purpose.
const OTHER_DEFAULTS: &[(&str, &str)] = &[("OffsetForLeaderEpochRequest", "replica_id")];

fn agrees<Ours, Theirs>(flexible_from: i16, versions: VersionRange)
where
    Ours: Encode + Decode + Sample + std::fmt::Debug,
    Theirs: Encodable + Decodable + Message + std::fmt::Debug,
{
    let type_name = std::any::type_name::<Ours>();
    let common = versions.min.max(Theirs::VERSIONS.min)..=versions.max.min(Theirs::VERSIONS.max);
    assert!(!common.is_empty(), "{type_name} shares no version with the oracle");
    for version in common.clone() {
        let choices = proptest::collection::vec(any::<u8>(), 0..400);
        run(&format!("{type_name} v{version}"), 20, choices, |choices| {
            let ours = Ours::sample(&mut Draw::new(&choices), Shape::new(version, flexible_from));
            let theirs = same_in_both::<Ours, Theirs>(&ours, version, flexible_from)?;
            // Of a message with newer fields both must drop the same ones, and refuse the same ones.
            for older in *common.start()..version {
                drops_the_same(&ours, &theirs, older, flexible_from)?;
            }
            Ok(())
        });
    }
}

fn same_in_both<Ours, Theirs>(ours: &Ours, version: i16, flexible_from: i16) -> Result<Theirs, TestCaseError>
where
    Ours: Encode + std::fmt::Debug,
    Theirs: Encodable + Decodable + std::fmt::Debug,
{
    let bytes = encoded(ours, version, flexible_from);
    let mut input = Bytes::from(bytes.clone());
    let theirs = Theirs::decode(&mut input, version).map_err(|error| TestCaseError::fail(error.to_string()))?;
    prop_assert!(input.is_empty(), "the oracle leaves {} bytes", input.len());
    prop_assert_eq!(written_by_oracle(&theirs, version), Some(bytes));
    let (ours, read) = (Tree::of(ours), Tree::of(&theirs));
    prop_assert_eq!(ours.difference(&read, OTHER_DEFAULTS), None, "\n ours: {:?}\ntheirs: {:?}", ours, read);
    Ok(theirs)
}

fn drops_the_same(
    ours: &impl Encode,
    theirs: &impl Encodable,
    version: i16,
    flexible_from: i16,
) -> Result<(), TestCaseError> {
    let mut bytes = Vec::new();
    let written = match encode_body(ours, version, flexible_from, &mut bytes) {
        Ok(()) => Some(bytes),
        // The oracle writes null even in versions that have none.
        Err(error) if matches!(error.fault(), Fault::NullField(_)) => return Ok(()),
        Err(_) => None,
    };
    prop_assert_eq!(written_by_oracle(theirs, version), written, "in version {}", version);
    Ok(())
}

fn written_by_oracle(message: &impl Encodable, version: i16) -> Option<Vec<u8>> {
    let mut out = BytesMut::new();
    message.encode(&mut out, version).ok().map(|()| out.to_vec())
}

macro_rules! oracle {
    ($($test:ident: $request:ident, $response:ident;)*) => { $(
        #[test]
        fn $test() {
            type Response = <$request as Request>::Response;
            agrees::<$request, theirs::$request>($request::FLEXIBLE_FROM, $request::VERSIONS);
            agrees::<Response, theirs::$response>($request::FLEXIBLE_FROM, $request::VERSIONS);
        }
    )*

        #[test]
        fn every_api_is_compared_with_the_oracle() {
            let compared: std::collections::BTreeSet<_> = [$($request::API),*].into();
            assert_eq!(compared, ApiKey::ALL.iter().copied().collect());
        }
    };
}

oracle! {
    api_versions_agrees_with_the_schema: ApiVersionsRequest, ApiVersionsResponse;
    consumer_group_describe_agrees_with_the_schema: ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse;
    consumer_group_heartbeat_agrees_with_the_schema: ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse;
    create_partitions_agrees_with_the_schema: CreatePartitionsRequest, CreatePartitionsResponse;
    create_topics_agrees_with_the_schema: CreateTopicsRequest, CreateTopicsResponse;
    delete_groups_agrees_with_the_schema: DeleteGroupsRequest, DeleteGroupsResponse;
    delete_records_agrees_with_the_schema: DeleteRecordsRequest, DeleteRecordsResponse;
    delete_topics_agrees_with_the_schema: DeleteTopicsRequest, DeleteTopicsResponse;
    describe_cluster_agrees_with_the_schema: DescribeClusterRequest, DescribeClusterResponse;
    describe_configs_agrees_with_the_schema: DescribeConfigsRequest, DescribeConfigsResponse;
    describe_groups_agrees_with_the_schema: DescribeGroupsRequest, DescribeGroupsResponse;
    fetch_agrees_with_the_schema: FetchRequest, FetchResponse;
    find_coordinator_agrees_with_the_schema: FindCoordinatorRequest, FindCoordinatorResponse;
    heartbeat_agrees_with_the_schema: HeartbeatRequest, HeartbeatResponse;
    init_producer_id_agrees_with_the_schema: InitProducerIdRequest, InitProducerIdResponse;
    join_group_agrees_with_the_schema: JoinGroupRequest, JoinGroupResponse;
    leave_group_agrees_with_the_schema: LeaveGroupRequest, LeaveGroupResponse;
    list_groups_agrees_with_the_schema: ListGroupsRequest, ListGroupsResponse;
    list_offsets_agrees_with_the_schema: ListOffsetsRequest, ListOffsetsResponse;
    metadata_agrees_with_the_schema: MetadataRequest, MetadataResponse;
    offset_commit_agrees_with_the_schema: OffsetCommitRequest, OffsetCommitResponse;
    offset_delete_agrees_with_the_schema: OffsetDeleteRequest, OffsetDeleteResponse;
    offset_fetch_agrees_with_the_schema: OffsetFetchRequest, OffsetFetchResponse;
    offset_for_leader_epoch_agrees_with_the_schema: OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse;
    produce_agrees_with_the_schema: ProduceRequest, ProduceResponse;
    sasl_authenticate_agrees_with_the_schema: SaslAuthenticateRequest, SaslAuthenticateResponse;
    sasl_handshake_agrees_with_the_schema: SaslHandshakeRequest, SaslHandshakeResponse;
    sync_group_agrees_with_the_schema: SyncGroupRequest, SyncGroupResponse;
}
