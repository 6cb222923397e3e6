//! Every message by API and version, requests and responses.

use std::fmt::Debug;

use bytes::Bytes;
use orderflow::wire::message::*;

/// Decodes the rest as the message that the first three bytes choose: API, version, side. What can be decoded can be
/// encoded, and then decoded as the same.
pub fn message(bytes: &[u8]) {
    let [api, version, side, body @ ..] = bytes else { return };
    let api = ApiKey::ALL[usize::from(*api) % ApiKey::ALL.len()];
    let body = Bytes::copy_from_slice(body);
    macro_rules! each {
        ($($name:ident: $request:ty,)*) => {
            match api {
                $(ApiKey::$name => one::<$request>(*version, *side, body),)*
                other => panic!("{other} is not among the checks"),
            }
        };
    }
    each! {
        Produce: ProduceRequest,
        Fetch: FetchRequest,
        ListOffsets: ListOffsetsRequest,
        Metadata: MetadataRequest,
        OffsetCommit: OffsetCommitRequest,
        OffsetFetch: OffsetFetchRequest,
        FindCoordinator: FindCoordinatorRequest,
        JoinGroup: JoinGroupRequest,
        Heartbeat: HeartbeatRequest,
        LeaveGroup: LeaveGroupRequest,
        SyncGroup: SyncGroupRequest,
        DescribeGroups: DescribeGroupsRequest,
        ListGroups: ListGroupsRequest,
        DeleteGroups: DeleteGroupsRequest,
        OffsetDelete: OffsetDeleteRequest,
        SaslHandshake: SaslHandshakeRequest,
        ApiVersions: ApiVersionsRequest,
        CreateTopics: CreateTopicsRequest,
        DeleteTopics: DeleteTopicsRequest,
        DeleteRecords: DeleteRecordsRequest,
        InitProducerId: InitProducerIdRequest,
        OffsetForLeaderEpoch: OffsetForLeaderEpochRequest,
        DescribeConfigs: DescribeConfigsRequest,
        SaslAuthenticate: SaslAuthenticateRequest,
        CreatePartitions: CreatePartitionsRequest,
        DescribeCluster: DescribeClusterRequest,
        ConsumerGroupHeartbeat: ConsumerGroupHeartbeatRequest,
        ConsumerGroupDescribe: ConsumerGroupDescribeRequest,
    }
}

fn one<R: Request + PartialEq + Debug>(version: u8, side: u8, body: Bytes)
where
    R::Response: PartialEq + Debug,
{
    let versions = i16::from(version) % (R::VERSIONS.max - R::VERSIONS.min + 1);
    let version = R::VERSIONS.min + versions;
    if side.is_multiple_of(2) {
        recoded::<R>(version, R::FLEXIBLE_FROM, body);
    } else {
        recoded::<R::Response>(version, R::FLEXIBLE_FROM, body);
    }
}

fn recoded<M: Encode + Decode + PartialEq + Debug>(version: i16, flexible_from: i16, body: Bytes) {
    let Ok(message) = decode_body::<M>(body, version, flexible_from) else { return };
    let mut again = Vec::new();
    encode_body(&message, version, flexible_from, &mut again).expect("what was decoded can be encoded");
    assert_eq!(decode_body::<M>(again.into(), version, flexible_from).as_ref(), Ok(&message));
}
