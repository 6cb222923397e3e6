//! DescribeConfigs: tells the settings of topics and brokers.

use super::{ApiKey, Request, VersionRange};
use crate::wire::codec::messages;

impl Request for DescribeConfigsRequest {
    const API: ApiKey = ApiKey::DescribeConfigs;
    const VERSIONS: VersionRange = VersionRange::new(1, 4);
    const CLIENT_VERSIONS: VersionRange = VersionRange::new(1, 4);
    const FLEXIBLE_FROM: i16 = 4;
    type Response = DescribeConfigsResponse;
}

messages! {
    /// Asks for settings.
    pub struct DescribeConfigsRequest {
        /// Whose settings.
        resources: Vec<DescribeConfigsResource>;
        /// Whether to tell where else a value could come from.
        include_synonyms: bool;
        /// Whether to tell what each setting is for.
        include_documentation: bool, since 3;
    }

    /// One topic or broker.
    pub struct DescribeConfigsResource {
        /// What it is: 2 a topic, 4 a broker.
        resource_type: i8;
        /// The topic's name, or the broker's node.
        resource_name: String;
        /// The keys wanted; null is all.
        configuration_keys: Option<Vec<String>> = Some(Vec::new());
    }

    /// Answers a [`DescribeConfigsRequest`].
    pub struct DescribeConfigsResponse {
        /// How long the broker holds back this connection because of a quota, in milliseconds.
        throttle_time_ms: i32;
        /// The settings, by topic or broker.
        results: Vec<DescribeConfigsResult>;
    }

    /// The settings of one topic or broker.
    pub struct DescribeConfigsResult {
        /// Why they cannot be told, or 0.
        error_code: i16;
        /// Why they cannot be told, for people.
        error_message: Option<String> = Some(String::new());
        /// What it is: 2 a topic, 4 a broker.
        resource_type: i8;
        /// The topic's name, or the broker's node.
        resource_name: String;
        /// The settings.
        configs: Vec<DescribeConfigsResourceResult>;
    }

    /// One setting.
    pub struct DescribeConfigsResourceResult {
        /// The setting's key.
        name: String;
        /// The setting's value; null when it is secret.
        value: Option<String> = Some(String::new());
        /// Whether it cannot be changed.
        read_only: bool;
        /// Where the value comes from.
        config_source: i8 = -1, ignorable since 1;
        /// Whether the value is secret.
        is_sensitive: bool;
        /// Where else a value could come from, the strongest first.
        synonyms: Vec<DescribeConfigsSynonym>, ignorable since 1;
        /// The value's type.
        config_type: i8, ignorable since 3;
        /// What the setting is for.
        documentation: Option<String> = Some(String::new()), ignorable since 3;
    }

    /// One other source of a setting.
    pub struct DescribeConfigsSynonym {
        /// The key there.
        name: String;
        /// The value there; null when it is secret.
        value: Option<String> = Some(String::new());
        /// Where that is.
        source: i8;
    }
}
