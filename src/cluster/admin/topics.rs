//! CreateTopics (key 19), and what a topic is like.

use futures::FutureExt;
use futures::future::BoxFuture;
use std::collections::BTreeMap;
use std::time::Duration;

use super::{OffsetSpec, list_offsets, persist};
use crate::cluster::{Cluster, Missing, TopicView, refusal};
use crate::config::properties;
use crate::error::{Error, ErrorCode, Result};
use crate::gather::Gather;
use crate::place::Place;
use crate::wire::kafka_error::KafkaError;
use crate::wire::message::{
    CreatableTopic, CreatableTopicConfig, CreatableTopicResult, CreateTopicsRequest, DescribeConfigsRequest,
    DescribeConfigsResource,
};

/// A topic to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTopic {
    /// Its name.
    pub name: String,
    /// How many partitions; `None` leaves it to the broker.
    pub partitions: Option<i32>,
    /// How many replicas; `None` leaves it to the broker.
    pub replication: Option<i16>,
    /// Settings by Kafka's names, `retention.ms` for example.
    pub configs: BTreeMap<String, String>,
}

impl NewTopic {
    /// A topic with the broker's own defaults.
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: name.into(), partitions: None, replication: None, configs: BTreeMap::new() }
    }
}

/// What became of a topic to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Creation {
    /// It was made.
    Created,
    /// It was there; it stays as it is.
    Existed,
}

/// What a topic is like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicDescription {
    /// Its name.
    pub name: String,
    /// How many partitions it has.
    pub partitions: usize,
    /// How many replicas each has.
    pub replication: usize,
    /// How many offsets lie between its beginnings and its ends: records, markers and gaps.
    pub records: i64,
    /// The settings that differ from the broker's defaults.
    pub configs: BTreeMap<String, String>,
}

/// Makes topics; those that exist stay as they are.
///
/// A topic that exists at a second try was made by the first one, whose answer was lost: that counts as existing too.
///
/// # Errors
/// The first refusal, with the topic; those after it may have been made.
///
/// # Cancel safety
/// Topics may have been made.
pub async fn create_topics(cluster: &Cluster, topics: &[NewTopic]) -> Result<Vec<Creation>> {
    let mut created = Vec::with_capacity(topics.len());
    for topic in topics {
        created.push(create(cluster, topic).await?);
    }
    Ok(created)
}

/// Boxed, so that it is compiled here and not with whoever awaits it.
fn create<'a>(cluster: &'a Cluster, topic: &'a NewTopic) -> BoxFuture<'a, Result<Creation>> {
    persist(cluster, || try_create(cluster, topic)).boxed()
}

async fn try_create(cluster: &Cluster, topic: &NewTopic) -> Result<Creation> {
    let within = cluster.config().millis(&properties::REQUEST_TIMEOUT);
    let request = CreateTopicsRequest {
        topics: vec![CreatableTopic {
            name: topic.name.clone(),
            num_partitions: topic.partitions.unwrap_or(-1),
            replication_factor: topic.replication.unwrap_or(-1),
            configs: topic.configs.iter().map(setting).collect(),
            ..CreatableTopic::default()
        }],
        timeout_ms: i32::try_from(within.as_millis()).unwrap_or(i32::MAX),
        ..CreateTopicsRequest::default()
    };
    let answer = cluster.any_connection().await?.call(request).await?;
    let Some(result) = answer.topics.first() else {
        return Err(Error::new(ErrorCode::Protocol, "the broker left out the topic").at(Place::topic(&*topic.name)));
    };
    outcome(result).map_err(|error| error.at(Place::topic(&*topic.name)))
}

fn setting((name, value): (&String, &String)) -> CreatableTopicConfig {
    CreatableTopicConfig { name: name.clone(), value: Some(value.clone()) }
}

fn outcome(result: &CreatableTopicResult) -> Result<Creation> {
    match KafkaError::from_code(result.error_code) {
        None => Ok(Creation::Created),
        Some(KafkaError::TopicAlreadyExists) => Ok(Creation::Existed),
        Some(error) => {
            let words = result.error_message.as_deref().filter(|words| !words.is_empty());
            Err(refusal(error, words.unwrap_or("the topic was to be made")))
        }
    }
}

/// Describes one topic.
///
/// # Errors
/// [`ErrorCode::UnknownTopic`] if it does not exist within `within`, and what a broker answered.
///
/// # Cancel safety
/// Safe: it only reads.
pub async fn describe_topic(cluster: &Cluster, name: &str, within: Duration) -> Result<TopicDescription> {
    let topic = cluster.topic(name, Missing::Refuse, within).await?;
    let first = list_offsets(cluster, &topic, OffsetSpec::Earliest).await?;
    let end = list_offsets(cluster, &topic, OffsetSpec::Latest).await?;
    let records = end.values().sum::<i64>() - first.values().sum::<i64>();
    let configs = persist(cluster, || configs(cluster, &topic)).await?;
    Ok(TopicDescription {
        name: name.to_owned(),
        partitions: topic.partitions.len(),
        replication: topic.partitions.first().map_or(0, |partition| partition.replicas),
        records,
        configs,
    })
}

/// The source of a setting that the topic itself has, and the type of a topic among resources (DescribeConfigs).
const TOPIC_CONFIG: i8 = 1;
const TOPIC_RESOURCE: i8 = 2;

async fn configs(cluster: &Cluster, topic: &TopicView) -> Result<BTreeMap<String, String>> {
    let resource = DescribeConfigsResource {
        resource_type: TOPIC_RESOURCE,
        resource_name: topic.name.to_string(),
        configuration_keys: None,
    };
    let request = DescribeConfigsRequest { resources: vec![resource], ..DescribeConfigsRequest::default() };
    let answer = cluster.any_connection().await?.call(request).await?;
    let result = answer.results.into_iter().next();
    if let Some(error) = result.as_ref().and_then(|result| KafkaError::from_code(result.error_code)) {
        return Err(refusal(error, "the topic's settings were asked for").at(Place::topic(topic.name.clone())));
    }
    let own = result.into_iter().flat_map(|result| result.configs);
    Ok(own
        .filter(|config| config.config_source == TOPIC_CONFIG)
        .map(|config| (config.name, config.value.unwrap_or_default()))
        .gather())
}
