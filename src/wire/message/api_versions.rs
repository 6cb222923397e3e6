//! ApiVersions: tells which APIs a broker serves, in which versions.

use super::{ApiKey, Request, VersionRange};
use crate::wire::codec::messages;

impl Request for ApiVersionsRequest {
    const API: ApiKey = ApiKey::ApiVersions;
    const VERSIONS: VersionRange = VersionRange::new(0, 4);
    // It is asked before the broker's versions are known, and Apache Kafka 2.8 knows 3.
    const CLIENT_VERSIONS: VersionRange = VersionRange::new(0, 3);
    const FLEXIBLE_FROM: i16 = 3;
    type Response = ApiVersionsResponse;
}

messages! {
    /// Asks which APIs the broker serves. A broker that does not know the version answers in version 0, with UNSUPPORTED_VERSION.
    pub struct ApiVersionsRequest {
        /// The client library's name (KIP-511): letters, digits, `-` and `.`.
        client_software_name: String, ignorable since 3;
        /// The client library's version, of the same characters.
        client_software_version: String, ignorable since 3;
    }

    /// Answers an [`ApiVersionsRequest`].
    pub struct ApiVersionsResponse {
        /// Why it cannot be told, or 0.
        error_code: i16;
        /// The APIs.
        api_keys: Vec<ApiVersion>;
        /// How long the broker holds back this connection because of a quota, in milliseconds.
        throttle_time_ms: i32, ignorable since 1;
    }
    tagged {
        /// The features that the broker knows.
        0 => supported_features: Vec<SupportedFeatureKey>, ignorable since 3;
        /// The version of `finalized_features`, or -1 when it is not known.
        1 => finalized_features_epoch: i64 = -1, ignorable since 3;
        /// The features that the cluster has switched on.
        2 => finalized_features: Vec<FinalizedFeatureKey>, ignorable since 3;
        /// Whether a controller is ready for the migration from ZooKeeper.
        3 => zk_migration_ready: bool, ignorable since 3;
    }

    /// One API.
    pub struct ApiVersion {
        /// The API's number.
        api_key: i16;
        /// The lowest version served.
        min_version: i16;
        /// The highest version served.
        max_version: i16;
    }

    /// A feature that the broker knows.
    pub struct SupportedFeatureKey {
        /// The feature's name.
        name: String, since 3;
        /// The lowest level.
        min_version: i16, since 3;
        /// The highest level.
        max_version: i16, since 3;
    }

    /// A feature that the cluster has switched on.
    pub struct FinalizedFeatureKey {
        /// The feature's name.
        name: String, since 3;
        /// The highest level that every broker supports.
        max_version_level: i16, since 3;
        /// The lowest level that every broker supports.
        min_version_level: i16, since 3;
    }
}
