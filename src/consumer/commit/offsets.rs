//! A group's offsets at its coordinator, read or written without membership.

use std::sync::{Mutex, PoisonError};

use litemap::LiteMap;

use crate::cluster::{Cluster, Purpose, refusal};
use crate::wire::connection::Connection;
use crate::wire::kafka_error::KafkaError;
use crate::wire::message::{
    FindCoordinatorRequest, FindCoordinatorResponse, OffsetCommitRequest, OffsetCommitRequestPartition,
    OffsetCommitRequestTopic, OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopic,
    OffsetFetchRequestTopics, OffsetFetchResponse,
};
use crate::{Error, ErrorCode, Result};

/// The first version in which a request names several groups (KIP-709), and coordinators (KIP-699).
const MANY_GROUPS: i16 = 8;
const MANY_COORDINATORS: i16 = 4;

/// An offset that is kept for a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Committed {
    /// The next offset to read.
    pub(crate) offset: i64,
    /// The leader epoch of the last record read, or -1.
    pub(crate) leader_epoch: i32,
    /// The text beside it.
    pub(crate) text: String,
}

/// The offsets of one group.
#[derive(Debug)]
pub(crate) struct GroupOffsets {
    cluster: Cluster,
    group: String,
    coordinator: Mutex<Option<i32>>,
}

impl GroupOffsets {
    /// The offsets of `group`.
    pub(crate) fn new(cluster: Cluster, group: String) -> Self {
        Self { cluster, group, coordinator: Mutex::default() }
    }

    /// The group's name.
    pub(crate) fn group(&self) -> &str {
        &self.group
    }

    /// What is kept for these partitions; those without a commit are left out.
    ///
    /// An error, or a partition that the answer leaves out, is never taken for "no commit".
    pub(crate) async fn read(&self, topic: &str, partitions: &[i32]) -> Result<LiteMap<i32, Committed>> {
        let connection = self.connection().await?;
        let request = self.fetch_request(&connection, topic, partitions);
        let answer = self.heard(connection.call(request).await)?;
        let told = self.told(answer, topic)?;
        if let Some(missing) = partitions.iter().find(|partition| !told.contains_key(partition)) {
            let sentence = format!("the coordinator left partition {missing} out of its answer");
            return Err(Error::new(ErrorCode::Protocol, sentence).retriable());
        }
        Ok(told.into_iter().filter(|(_, committed)| committed.offset >= 0).collect())
    }

    fn fetch_request(&self, connection: &Connection, topic: &str, partitions: &[i32]) -> OffsetFetchRequest {
        let mut request = OffsetFetchRequest { require_stable: true, ..OffsetFetchRequest::default() };
        let partition_indexes = partitions.to_vec();
        if connection.version_of::<OffsetFetchRequest>().is_some_and(|version| version < MANY_GROUPS) {
            request.group_id.clone_from(&self.group);
            request.topics = Some(vec![OffsetFetchRequestTopic { name: topic.to_owned(), partition_indexes }]);
        } else {
            request.groups = vec![OffsetFetchRequestGroup {
                group_id: self.group.clone(),
                topics: Some(vec![OffsetFetchRequestTopics { name: topic.to_owned(), partition_indexes }]),
                ..OffsetFetchRequestGroup::default()
            }];
        }
        request
    }

    fn told(&self, answer: OffsetFetchResponse, topic: &str) -> Result<LiteMap<i32, Committed>> {
        let old = answer.topics.into_iter().filter(|other| other.name == topic).flat_map(|topic| topic.partitions);
        let old = old.map(|part| {
            let committed = committed(part.committed_offset, part.committed_leader_epoch, part.metadata);
            (part.partition_index, part.error_code, committed)
        });
        let mut told: Vec<_> = old.collect();
        let mut codes = vec![answer.error_code];
        for group in answer.groups.into_iter().filter(|group| group.group_id == self.group) {
            codes.push(group.error_code);
            for part in group.topics.into_iter().filter(|other| other.name == topic).flat_map(|topic| topic.partitions)
            {
                let committed = committed(part.committed_offset, part.committed_leader_epoch, part.metadata);
                told.push((part.partition_index, part.error_code, committed));
            }
        }
        codes.extend(told.iter().map(|(_, code, _)| *code));
        match codes.into_iter().find_map(KafkaError::from_code) {
            Some(error) => Err(self.refused(error, "the group's offsets were asked for")),
            None => Ok(told.into_iter().map(|(partition, _, committed)| (partition, committed)).collect()),
        }
    }

    /// Writes offsets; each partition's answer is its own.
    ///
    /// # Cancel safety
    /// A request that was sent may be acted on later. Nobody may drop this and then write an older offset.
    pub(crate) async fn write(
        &self,
        topic: &str,
        commits: &LiteMap<i32, Committed>,
    ) -> Result<LiteMap<i32, KafkaError>> {
        let connection = self.connection().await?;
        let partitions = commits.iter().map(|(partition, commit)| OffsetCommitRequestPartition {
            partition_index: *partition,
            committed_offset: commit.offset,
            committed_leader_epoch: commit.leader_epoch,
            committed_metadata: Some(commit.text.clone()),
        });
        let request = OffsetCommitRequest {
            group_id: self.group.clone(),
            topics: vec![OffsetCommitRequestTopic { name: topic.to_owned(), partitions: partitions.collect() }],
            ..OffsetCommitRequest::default()
        };
        let answer = self.heard(connection.call(request).await)?;
        let answered = answer.topics.into_iter().filter(|other| other.name == topic).flat_map(|topic| topic.partitions);
        let codes: LiteMap<i32, i16> = answered.map(|part| (part.partition_index, part.error_code)).collect();
        let unanswered = KafkaError::UnknownServerError.code();
        let codes = commits.keys().map(|partition| (*partition, codes.get(partition).copied().unwrap_or(unanswered)));
        let refused: LiteMap<i32, KafkaError> =
            codes.filter_map(|(partition, code)| Some((partition, KafkaError::from_code(code)?))).collect();
        if refused.values().any(|error| error.needs_coordinator()) {
            self.set_coordinator(None);
        }
        Ok(refused)
    }

    async fn connection(&self) -> Result<Connection> {
        let known = *self.coordinator.lock().unwrap_or_else(PoisonError::into_inner);
        let node = match known {
            Some(node) => node,
            None => self.find_coordinator().await?,
        };
        let connection = self.cluster.connection(node, Purpose::Coordinator).await;
        self.heard(connection)
    }

    async fn find_coordinator(&self) -> Result<i32> {
        let connection = self.cluster.any_connection().await?;
        let mut request = FindCoordinatorRequest::default();
        if connection.version_of::<FindCoordinatorRequest>().is_some_and(|version| version < MANY_COORDINATORS) {
            request.key.clone_from(&self.group);
        } else {
            request.coordinator_keys = vec![self.group.clone()];
        }
        let (code, node) = coordinator(connection.call(request).await?);
        match KafkaError::from_code(code) {
            Some(error) => Err(self.refused(error, "the group's coordinator was asked for")),
            None => {
                self.set_coordinator(Some(node));
                Ok(node)
            }
        }
    }

    /// A coordinator that cannot be heard may have moved.
    fn heard<T>(&self, answer: Result<T>) -> Result<T> {
        if answer.is_err() {
            self.set_coordinator(None);
        }
        answer
    }

    fn refused(&self, error: KafkaError, doing: &str) -> Error {
        if error.needs_coordinator() {
            self.set_coordinator(None);
        }
        refusal(error, doing)
    }

    fn set_coordinator(&self, node: Option<i32>) {
        *self.coordinator.lock().unwrap_or_else(PoisonError::into_inner) = node;
    }
}

fn committed(offset: i64, leader_epoch: i32, text: Option<String>) -> Committed {
    Committed { offset, leader_epoch, text: text.unwrap_or_default() }
}

fn coordinator(answer: FindCoordinatorResponse) -> (i16, i32) {
    match answer.coordinators.into_iter().next() {
        Some(found) => (found.error_code, found.node_id),
        None => (answer.error_code, answer.node_id),
    }
}
