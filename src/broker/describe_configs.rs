//! DescribeConfigs: tells the settings of topics and of nodes.

use std::sync::Arc;

use super::builder::Settings;
use super::call::{Call, Serve};
use super::create_topics::{DEFAULT, SET_FOR_TOPIC};
use super::state::State;
use crate::wire::kafka_error::KafkaError;
use crate::wire::message::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResourceResult, DescribeConfigsResponse,
    DescribeConfigsResult,
};

/// Kinds of resources, in the protocol's numbers.
const TOPIC: i8 = 2;
const NODE: i8 = 4;

/// Where a node's setting comes from: it was given at the start.
const SET_AT_START: i8 = 4;

pub(super) async fn respond(call: Arc<Call>, request: DescribeConfigsRequest) -> DescribeConfigsResponse {
    let state = call.shared.state();
    let describe = |wanted: &DescribeConfigsResource| match settings(&state, &call.shared.settings, wanted) {
        Ok(mut configs) => {
            let keys = wanted.configuration_keys.as_deref();
            // None named is all, as null is.
            configs.retain(|config| keys.is_none_or(|keys| keys.is_empty() || keys.contains(&config.name)));
            DescribeConfigsResult { error_message: None, configs, ..result(wanted) }
        }
        Err(error) => refused(wanted, error),
    };
    DescribeConfigsResponse { results: request.resources.iter().map(describe).collect(), ..Default::default() }
}

fn settings(
    state: &State,
    broker: &Settings,
    wanted: &DescribeConfigsResource,
) -> Result<Vec<DescribeConfigsResourceResult>, KafkaError> {
    match wanted.resource_type {
        TOPIC => {
            let topic = state.topics.get(&wanted.resource_name).ok_or(KafkaError::UnknownTopicOrPartition)?;
            let source = |is_set| if is_set { SET_FOR_TOPIC } else { DEFAULT };
            Ok(topic.config.describe().map(|one| config(one.name, one.value.into(), source(one.is_set))).collect())
        }
        NODE => Ok(vec![
            config("auto.create.topics.enable", broker.auto_create.to_string(), SET_AT_START),
            config("default.replication.factor", state.default_replication().to_string(), SET_AT_START),
            config("num.partitions", broker.partitions.to_string(), SET_AT_START),
        ]),
        _ => Err(KafkaError::InvalidRequest),
    }
}

fn config(name: &str, value: String, config_source: i8) -> DescribeConfigsResourceResult {
    let (name, value, documentation) = (name.into(), Some(value), None);
    DescribeConfigsResourceResult { name, value, config_source, documentation, ..Default::default() }
}

fn result(wanted: &DescribeConfigsResource) -> DescribeConfigsResult {
    let (resource_type, resource_name) = (wanted.resource_type, wanted.resource_name.clone());
    DescribeConfigsResult { resource_type, resource_name, ..Default::default() }
}

fn refused(wanted: &DescribeConfigsResource, error: KafkaError) -> DescribeConfigsResult {
    let error_message = Some(error.meaning().into());
    DescribeConfigsResult { error_code: error.code(), error_message, ..result(wanted) }
}

impl Serve for DescribeConfigsRequest {
    fn refuse(&self, error: KafkaError) -> DescribeConfigsResponse {
        let results = self.resources.iter().map(|wanted| refused(wanted, error));
        DescribeConfigsResponse { results: results.collect(), ..Default::default() }
    }

    fn throttle(response: &mut DescribeConfigsResponse, time_ms: i32) {
        response.throttle_time_ms = time_ms;
    }
}
