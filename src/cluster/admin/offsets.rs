//! ListOffsets (key 2): where a partition begins, where it ends, where a time is.

use futures::FutureExt;
use futures::future::BoxFuture;
use std::collections::BTreeMap;

use super::persist;
use crate::cluster::{Cluster, Leader, Purpose, TopicView, refusal};
use crate::error::{Error, ErrorCode, Result};
use crate::place::{Place, TopicPartition};
use crate::wire::kafka_error::KafkaError;
use crate::wire::message::{ListOffsetsPartition, ListOffsetsPartitionResponse, ListOffsetsRequest, ListOffsetsTopic};

/// Which offset of a partition is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetSpec {
    /// The first one.
    Earliest,
    /// The one behind the last record that a reader of committed records sees (the last stable offset).
    LatestStable,
    /// The one behind the last record, open transactions included (the high watermark).
    Latest,
    /// The first record at or after this time, in milliseconds since 1970; the end if there is none.
    AtTime(i64),
}

impl OffsetSpec {
    pub(super) fn timestamp(self) -> i64 {
        match self {
            Self::Earliest => -2,
            Self::Latest | Self::LatestStable => -1,
            Self::AtTime(time) => time.max(0),
        }
    }

    pub(super) fn isolation_level(self) -> i8 {
        i8::from(self != Self::Latest)
    }
}

/// The offset of each partition of a topic.
///
/// # Errors
/// What a broker answered, with the partition; [`ErrorCode::Connect`] if a leader cannot be reached. Both after
/// repeats up to `default.api.timeout.ms`.
///
/// # Cancel safety
/// Safe: it only reads.
pub async fn list_offsets(cluster: &Cluster, topic: &TopicView, spec: OffsetSpec) -> Result<BTreeMap<i32, i64>> {
    listed(cluster, topic, spec).await
}

/// Boxed, so that it is compiled here and not with whoever awaits it.
fn listed<'a>(
    cluster: &'a Cluster,
    topic: &'a TopicView,
    spec: OffsetSpec,
) -> BoxFuture<'a, Result<BTreeMap<i32, i64>>> {
    let listed = async move {
        let mut found = BTreeMap::new();
        for partition in 0..topic.partition_count() {
            let at = TopicPartition::new(topic.name.clone(), partition);
            found.insert(partition, persist(cluster, || ask(cluster, &at, spec)).await?);
        }
        Ok(found)
    };
    listed.boxed()
}

async fn ask(cluster: &Cluster, at: &TopicPartition, spec: OffsetSpec) -> Result<i64> {
    let no_leader = || refusal(KafkaError::LeaderNotAvailable, "offsets were asked for").at(Place::partition(at));
    let leader = cluster.leader(at).ok_or_else(no_leader)?;
    let connection = cluster.connection(leader.node, Purpose::Control).await?;
    let mut answer = connection.call(request(at, leader, spec)).await?;
    let partition = answer.topics.pop().and_then(|mut topic| topic.partitions.pop());
    let offset = offset(partition).map_err(|error| error.at(Place::partition(at)))?;
    match (offset, spec) {
        (Some(offset), _) => Ok(offset),
        (None, OffsetSpec::AtTime(_)) => Box::pin(ask(cluster, at, OffsetSpec::LatestStable)).await,
        (None, _) => Err(Error::new(ErrorCode::Protocol, "the broker told no offset").at(Place::partition(at))),
    }
}

fn request(at: &TopicPartition, leader: Leader, spec: OffsetSpec) -> ListOffsetsRequest {
    let partition = ListOffsetsPartition {
        partition_index: at.partition,
        current_leader_epoch: leader.epoch,
        timestamp: spec.timestamp(),
    };
    ListOffsetsRequest {
        isolation_level: spec.isolation_level(),
        topics: vec![ListOffsetsTopic { name: at.topic.to_string(), partitions: vec![partition] }],
        ..ListOffsetsRequest::default()
    }
}

/// The offset answered, or `None` where no record is that late.
fn offset(answer: Option<ListOffsetsPartitionResponse>) -> Result<Option<i64>> {
    let Some(answer) = answer else {
        return Err(Error::new(ErrorCode::Protocol, "the broker left out what it was asked for"));
    };
    match KafkaError::from_code(answer.error_code) {
        Some(error) => Err(refusal(error, "offsets were asked for")),
        None => Ok((answer.offset >= 0).then_some(answer.offset)),
    }
}
