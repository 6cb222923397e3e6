//! ApiVersions: tells which APIs this broker serves.
//!
//! Clients derive features from these ranges, old librdkafka from exact versions inside them, so Produce claims versions that it only
//! refuses (as Apache Kafka 4 does, KAFKA-18659). A version that is not known is answered in version 0, with the ranges (KIP-511).

use super::builder::{GroupProtocols, Settings};
use super::call::{Call, Close, Serve, Served};
use super::faults::{Ruling, Target, Verdict};
use crate::wire::kafka_error::KafkaError;
use crate::wire::message::{ApiKey, ApiVersion, ApiVersionsRequest, ApiVersionsResponse, VersionRange};

/// The versions served of each API.
const SERVED: &[(ApiKey, VersionRange)] = &[
    (ApiKey::Produce, VersionRange::new(0, 9)),
    (ApiKey::Fetch, VersionRange::new(4, 17)),
    (ApiKey::ListOffsets, VersionRange::new(1, 7)),
    (ApiKey::Metadata, VersionRange::new(0, 12)),
    (ApiKey::OffsetCommit, VersionRange::new(2, 9)),
    (ApiKey::OffsetFetch, VersionRange::new(1, 9)),
    (ApiKey::FindCoordinator, VersionRange::new(0, 6)),
    (ApiKey::JoinGroup, VersionRange::new(0, 9)),
    (ApiKey::Heartbeat, VersionRange::new(0, 4)),
    (ApiKey::LeaveGroup, VersionRange::new(0, 5)),
    (ApiKey::SyncGroup, VersionRange::new(0, 5)),
    (ApiKey::DescribeGroups, VersionRange::new(0, 5)),
    (ApiKey::ListGroups, VersionRange::new(0, 5)),
    (ApiKey::ApiVersions, VersionRange::new(0, 4)),
    (ApiKey::CreateTopics, VersionRange::new(2, 7)),
    (ApiKey::DeleteTopics, VersionRange::new(1, 6)),
    (ApiKey::DeleteRecords, VersionRange::new(0, 2)),
    (ApiKey::InitProducerId, VersionRange::new(0, 4)),
    (ApiKey::OffsetForLeaderEpoch, VersionRange::new(2, 4)),
    (ApiKey::DescribeConfigs, VersionRange::new(1, 4)),
    (ApiKey::CreatePartitions, VersionRange::new(0, 3)),
    (ApiKey::DeleteGroups, VersionRange::new(0, 2)),
    (ApiKey::OffsetDelete, VersionRange::new(0, 0)),
    (ApiKey::DescribeCluster, VersionRange::new(0, 1)),
    (ApiKey::ConsumerGroupHeartbeat, VersionRange::new(0, 1)),
    (ApiKey::ConsumerGroupDescribe, VersionRange::new(0, 1)),
];

/// What only a broker has that knows KIP-848.
const NEXT_GENERATION: [ApiKey; 2] = [ApiKey::ConsumerGroupHeartbeat, ApiKey::ConsumerGroupDescribe];

fn served(settings: &Settings) -> impl Iterator<Item = (ApiKey, VersionRange)> {
    let has_all = settings.group_protocols == GroupProtocols::Both;
    SERVED.iter().copied().filter(move |(api, _)| has_all || !NEXT_GENERATION.contains(api))
}

/// Whether this version of the API is served.
pub(super) fn serves(settings: &Settings, api: ApiKey, version: i16) -> bool {
    served(settings).any(|(served, versions)| served == api && versions.contains(version))
}

pub(super) async fn serve(mut call: Call) -> Result<Served, Close> {
    let settings = call.shared.settings;
    if !serves(&settings, ApiKey::ApiVersions, call.version()) {
        call.header.api_version = 0;
        return encoded(&call, &response(&settings, KafkaError::UnsupportedVersion.code()), Ruling::pass());
    }
    let request: ApiVersionsRequest = call.decode()?;
    let ruling = call.judge(Target::is_everything).await?;
    let mut answer = match ruling.verdict {
        // The ranges belong to this one error alone.
        Verdict::Error(KafkaError::UnsupportedVersion) | Verdict::ErrorAfter(KafkaError::UnsupportedVersion) => {
            response(&settings, KafkaError::UnsupportedVersion.code())
        }
        Verdict::Error(error) | Verdict::ErrorAfter(error) => request.refuse(error),
        _ if call.version() >= 3 && !is_legal(&request) => request.refuse(KafkaError::InvalidRequest),
        _ => response(&settings, 0),
    };
    answer.throttle_time_ms = ruling.throttle_time_ms();
    encoded(&call, &answer, ruling)
}

fn encoded(call: &Call, response: &ApiVersionsResponse, ruling: Ruling) -> Result<Served, Close> {
    let mut answer = call.answer();
    call.encode(response, &mut answer)?;
    Ok(Served { answer: Some(answer), ruling })
}

fn response(settings: &Settings, error_code: i16) -> ApiVersionsResponse {
    let api_keys = served(settings).map(|(api, versions)| ApiVersion {
        api_key: api.as_i16(),
        min_version: versions.min,
        max_version: versions.max,
    });
    ApiVersionsResponse { error_code, api_keys: api_keys.collect(), ..Default::default() }
}

/// Whether the client's name and version are as KIP-511 wants them.
fn is_legal(request: &ApiVersionsRequest) -> bool {
    let is_legal = |text: &str| {
        let inner = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '.');
        let outer = |letter: Option<char>| letter.is_some_and(|letter| letter.is_ascii_alphanumeric());
        text.chars().all(inner) && outer(text.chars().next()) && outer(text.chars().next_back())
    };
    is_legal(&request.client_software_name) && is_legal(&request.client_software_version)
}

impl Serve for ApiVersionsRequest {
    fn refuse(&self, error: KafkaError) -> ApiVersionsResponse {
        ApiVersionsResponse { error_code: error.code(), ..Default::default() }
    }

    fn throttle(response: &mut ApiVersionsResponse, time_ms: i32) {
        response.throttle_time_ms = time_ms;
    }
}
