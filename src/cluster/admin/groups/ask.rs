//! What a group's coordinator is asked.

use std::sync::Arc;

use super::{Group, classic, next_generation};
use crate::cluster::{Cluster, GroupCoordinator, Purpose, Unfound, refusal};
use crate::error::{Error, ErrorCode, Result};
use crate::place::TopicPartition;
use crate::wire::connection::Connection;
use crate::wire::kafka_error::KafkaError;
use crate::wire::message::{
    ConsumerGroupDescribeRequest, OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchResponse, Request,
};

/// Describes the group, whichever kind it is of.
pub(super) async fn describe(cluster: &Cluster, group: &str) -> Result<Group> {
    let connection = coordinator(cluster, group).await?;
    if connection.version_of::<ConsumerGroupDescribeRequest>().is_some()
        && let Some(described) = next_generation::describe(&connection, group).await?
    {
        return Ok(described);
    }
    classic::describe(&connection, group).await
}

/// An offset that a group has committed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Commit {
    /// The partition.
    pub(crate) at: TopicPartition,
    /// The next offset to read.
    pub(crate) offset: i64,
    /// The leader epoch of the last record read, or -1.
    pub(crate) leader_epoch: i32,
    /// The text beside it.
    pub(crate) text: String,
}

/// What the group has committed, in every topic, ordered. No commit at all is no error: the group may be new.
pub(crate) async fn commits(cluster: &Cluster, group: &str) -> Result<Vec<Commit>> {
    let connection = coordinator(cluster, group).await?;
    let version = connection.version_of::<OffsetFetchRequest>().unwrap_or(OffsetFetchRequest::CLIENT_VERSIONS.max);
    let all = OffsetFetchRequestGroup { group_id: group.to_owned(), topics: None, ..Default::default() };
    let request = OffsetFetchRequest::of_group(all, version);
    told(connection.call(request).await?, group)
}

fn told(answer: OffsetFetchResponse, group: &str) -> Result<Vec<Commit>> {
    let answer = answer.into_group(group);
    let (mut codes, mut commits) = (vec![answer.error_code], Vec::new());
    for topic in answer.topics {
        let name: Arc<str> = topic.name.into();
        for part in topic.partitions {
            codes.push(part.error_code);
            let at = TopicPartition::new(name.clone(), part.partition_index);
            let (offset, leader_epoch) = (part.committed_offset, part.committed_leader_epoch);
            commits.push(Commit { at, offset, leader_epoch, text: part.metadata.unwrap_or_default() });
        }
    }
    if let Some(error) = codes.into_iter().find_map(KafkaError::from_code) {
        return Err(refused(error, group, "the group's offsets were asked for"));
    }
    commits.retain(|commit| commit.offset >= 0);
    commits.sort_unstable();
    Ok(commits)
}

async fn coordinator(cluster: &Cluster, group: &str) -> Result<Connection> {
    let coordinator = GroupCoordinator::new(cluster.clone(), group.to_owned());
    match coordinator.find().await {
        Ok(node) => cluster.connection(node, Purpose::Coordinator).await,
        Err(Unfound::Refused(error)) => Err(refused(error, group, "the group's coordinator was asked for")),
        Err(Unfound::Unreached(error)) => Err(error),
    }
}

/// The error that says what was refused of which group.
pub(super) fn refused(error: KafkaError, group: &str, doing: &str) -> Error {
    refusal(error, &format!("group {group}: {doing}"))
}

/// There is no such group.
pub(super) fn unknown(group: &str) -> Error {
    Error::new(ErrorCode::UnknownGroup, format!("there is no group {group}"))
        .remedy("`kafka-consumer-groups --list` names those that are; a group begins with its first member or commit")
}
