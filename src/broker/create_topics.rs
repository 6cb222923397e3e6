//! CreateTopics: makes topics as they are asked for, or says why not.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::call::{Call, Serve};
use super::state::{Refusal, State};
use super::topic_config::TopicConfig;
use crate::gather::Gather;
use crate::place::TopicId;
use crate::wire::kafka_error::KafkaError;
use crate::wire::message::create_topics::CreatableTopicConfigs;
use crate::wire::message::{CreatableTopic, CreatableTopicResult, CreateTopicsRequest, CreateTopicsResponse};

/// What stands for the broker's own number of partitions or replicas.
const BROKERS_OWN: i32 = -1;

/// Where a setting comes from, in the protocol's numbers: set for the topic, or the default.
pub(super) const SET_FOR_TOPIC: i8 = 1;
pub(super) const DEFAULT: i8 = 5;

pub(super) async fn respond(call: Arc<Call>, request: CreateTopicsRequest) -> CreateTopicsResponse {
    let mut state = call.shared.state();
    let partitions = call.shared.settings.partitions;
    let topics =
        request.topics.iter().map(|topic| match create(&mut state, topic, partitions, request.validate_only) {
            Ok(result) => result,
            Err(refusal) => refused(&topic.name, refusal),
        });
    CreateTopicsResponse { topics: topics.collect(), ..Default::default() }
}

/// How many partitions and replicas a topic is to have.
fn shape(state: &State, topic: &CreatableTopic, partitions: i32) -> Result<(i32, usize), Refusal> {
    if let Some(first) = topic.assignments.first() {
        let count = i32::try_from(topic.assignments.len()).unwrap_or(i32::MAX);
        // Leaders are spread by the broker; only the numbers of an explicit assignment are followed.
        return Ok((count, first.broker_ids.len()));
    }
    let partitions = if topic.num_partitions == BROKERS_OWN { partitions } else { topic.num_partitions };
    if i32::from(topic.replication_factor) == BROKERS_OWN {
        return Ok((partitions, state.default_replication()));
    }
    let illegal = || Refusal::new(KafkaError::InvalidReplicationFactor, "Replication factor must be larger than 0.");
    Ok((partitions, usize::try_from(topic.replication_factor).map_err(|_| illegal())?))
}

fn create(
    state: &mut State,
    topic: &CreatableTopic,
    partitions: i32,
    validate_only: bool,
) -> Result<CreatableTopicResult, Refusal> {
    let (partitions, replication) = shape(state, topic, partitions)?;
    let set = topic.configs.iter().filter_map(|config| Some((config.name.clone(), config.value.clone()?)));
    let config = TopicConfig::new(set.gather::<BTreeMap<_, _>>());
    let config = config.map_err(|why| Refusal::new(KafkaError::InvalidConfig, why))?;
    let configs = config.describe().map(|one| CreatableTopicConfigs {
        name: one.name.into(),
        value: Some(one.value.into()),
        config_source: if one.is_set { SET_FOR_TOPIC } else { DEFAULT },
        ..Default::default()
    });
    let configs = Some(configs.collect());
    let topic_id = if validate_only {
        state.check_new_topic(&topic.name, partitions, replication)?;
        TopicId::NONE
    } else {
        state.create_topic(&topic.name, partitions, replication, config)?
    };
    Ok(CreatableTopicResult {
        name: topic.name.clone(),
        topic_id,
        error_message: None,
        num_partitions: partitions,
        replication_factor: i16::try_from(replication).unwrap_or(i16::MAX),
        configs,
        ..Default::default()
    })
}

fn refused(name: &str, Refusal { error, message }: Refusal) -> CreatableTopicResult {
    CreatableTopicResult {
        name: name.into(),
        error_code: error.code(),
        error_message: Some(message),
        configs: None,
        ..Default::default()
    }
}

impl Serve for CreateTopicsRequest {
    fn refuse(&self, error: KafkaError) -> CreateTopicsResponse {
        let topics = self.topics.iter().map(|topic| refused(&topic.name, Refusal::new(error, error.meaning())));
        CreateTopicsResponse { topics: topics.collect(), ..Default::default() }
    }

    fn throttle(response: &mut CreateTopicsResponse, time_ms: i32) {
        response.throttle_time_ms = time_ms;
    }
}
