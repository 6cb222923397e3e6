//! Where many partitions of many topics begin or end, with one request a leader.

use futures::future::join_all;

use crate::cluster::admin::OffsetSpec;
use crate::cluster::{Cluster, Leader, Node, Purpose};
use crate::error::Result;
use crate::place::TopicPartition;
use crate::wire::kafka_error::KafkaError;
use crate::wire::message::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};

/// The offset of each partition, ordered. One whose leader does not say is left out: whoever looks again asks again.
pub(super) async fn offsets(
    cluster: &Cluster,
    partitions: &[TopicPartition],
    spec: OffsetSpec,
) -> Vec<(TopicPartition, i64)> {
    let mut led: Vec<(Node, Vec<(&TopicPartition, Leader)>)> = Vec::new();
    for at in partitions {
        let Some(leader) = cluster.leader(at) else {
            cluster.mark_stale(at);
            continue;
        };
        match led.iter_mut().find(|(node, _)| *node == leader.node) {
            Some((_, own)) => own.push((at, leader)),
            None => led.push((leader.node, vec![(at, leader)])),
        }
    }
    let asked = led.iter().map(|(node, own)| async move {
        ask(cluster, *node, own, spec).await.unwrap_or_else(|error| {
            tracing::debug!(node, %error, "a leader does not tell its offsets");
            Vec::new()
        })
    });
    let mut told: Vec<(TopicPartition, i64)> = join_all(asked).await.into_iter().flatten().collect();
    told.sort_unstable();
    told
}

async fn ask(
    cluster: &Cluster,
    node: Node,
    led: &[(&TopicPartition, Leader)],
    spec: OffsetSpec,
) -> Result<Vec<(TopicPartition, i64)>> {
    let connection = cluster.connection(node, Purpose::Control).await?;
    let answer = connection.call(request(led, spec)).await?;
    let mut told = Vec::new();
    for topic in answer.topics {
        let name = std::sync::Arc::<str>::from(topic.name);
        for part in topic.partitions {
            match KafkaError::from_code(part.error_code) {
                None if part.offset >= 0 => {
                    told.push((TopicPartition::new(name.clone(), part.partition_index), part.offset))
                }
                Some(error) if error.needs_metadata() => cluster.refresh(),
                _ => {}
            }
        }
    }
    Ok(told)
}

fn request(led: &[(&TopicPartition, Leader)], spec: OffsetSpec) -> ListOffsetsRequest {
    let mut topics: Vec<ListOffsetsTopic> = Vec::new();
    for (at, leader) in led {
        let partition = ListOffsetsPartition {
            partition_index: at.partition,
            current_leader_epoch: leader.epoch,
            timestamp: spec.timestamp(),
        };
        match topics.last_mut().filter(|topic| *topic.name == *at.topic) {
            Some(topic) => topic.partitions.push(partition),
            None => topics.push(ListOffsetsTopic { name: at.topic.to_string(), partitions: vec![partition] }),
        }
    }
    ListOffsetsRequest { isolation_level: spec.isolation_level(), topics, ..ListOffsetsRequest::default() }
}
