//! A group's offsets at its coordinator: read by anybody, written under the membership once there is one.

use futures::FutureExt;
use futures::future::BoxFuture;
use std::sync::Arc;

use litemap::LiteMap;
use tokio::sync::watch;

use crate::cluster::{GroupCoordinator, Purpose, refusal};
use crate::consumer::group::member::{Credentials, Event};
use crate::consumer::group::session::{Authority, Voice};
use crate::gather::Gather;
use crate::wire::connection::Connection;
use crate::wire::kafka_error::KafkaError;
use crate::wire::message::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic, OffsetFetchRequest,
    OffsetFetchRequestGroup, OffsetFetchRequestTopics, OffsetFetchResponse, Request,
};
use crate::{Error, ErrorCode, Result};

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
    coordinator: Arc<GroupCoordinator>,
    authority: watch::Receiver<Authority>,
    voice: Voice,
}

impl GroupOffsets {
    /// The offsets of the coordinator's group, written as `authority` says.
    pub(crate) fn new(coordinator: Arc<GroupCoordinator>, authority: watch::Receiver<Authority>, voice: Voice) -> Self {
        Self { coordinator, authority, voice }
    }

    /// The group's name.
    pub(crate) fn group(&self) -> &str {
        self.coordinator.group()
    }

    /// Whether offsets may be written, and as whom.
    pub(crate) fn authority(&self) -> watch::Receiver<Authority> {
        self.authority.clone()
    }

    /// What is kept for these partitions; those without a commit are left out.
    ///
    /// An error, or a partition that the answer leaves out, is never taken for "no commit".
    pub(crate) fn read<'a>(
        &'a self,
        topic: &'a str,
        partitions: &'a [i32],
    ) -> BoxFuture<'a, Result<LiteMap<i32, Committed>>> {
        async move {
            let connection = self.connection().await?;
            let request = self.fetch_request(&connection, topic, partitions);
            let answer = self.heard(connection.call(request).await)?;
            let told = self.told(answer, topic)?;
            if let Some(missing) = partitions.iter().find(|partition| !told.contains_key(partition)) {
                let sentence = format!("the coordinator left partition {missing} out of its answer");
                return Err(Error::new(ErrorCode::Protocol, sentence).retriable());
            }
            Ok(told.into_iter().filter(|(_, committed)| committed.offset >= 0).gather())
        }
        .boxed()
    }

    fn fetch_request(&self, connection: &Connection, topic: &str, partitions: &[i32]) -> OffsetFetchRequest {
        let version = connection.version_of::<OffsetFetchRequest>().unwrap_or(OffsetFetchRequest::CLIENT_VERSIONS.max);
        let topic = OffsetFetchRequestTopics { name: topic.to_owned(), partition_indexes: partitions.to_vec() };
        let group = OffsetFetchRequestGroup {
            group_id: self.group().to_owned(),
            topics: Some(vec![topic]),
            ..OffsetFetchRequestGroup::default()
        };
        OffsetFetchRequest { require_stable: true, ..OffsetFetchRequest::of_group(group, version) }
    }

    fn told(&self, answer: OffsetFetchResponse, topic: &str) -> Result<LiteMap<i32, Committed>> {
        let answer = answer.into_group(self.group());
        let mut codes = vec![answer.error_code];
        let mut told = LiteMap::new();
        for part in answer.topics.into_iter().filter(|other| other.name == topic).flat_map(|topic| topic.partitions) {
            codes.push(part.error_code);
            let committed = committed(part.committed_offset, part.committed_leader_epoch, part.metadata);
            told.insert(part.partition_index, committed);
        }
        match codes.into_iter().find_map(KafkaError::from_code) {
            Some(error) => Err(self.refused(error, "the group's offsets were asked for")),
            None => Ok(told),
        }
    }

    /// The epoch or generation of the membership as it stands now; `None` without one, or between two.
    pub(crate) fn epoch(&self) -> Option<i32> {
        let authority = self.authority.borrow();
        authority.credentials().ok().flatten().map(|credentials| credentials.epoch)
    }

    /// Writes offsets as the membership stands now; each partition's answer is its own.
    ///
    /// What was found out under an older membership is not written under a newer one: `losses` is how many the writer had
    /// heard of when it began to look.
    ///
    /// # Errors
    /// Also while the group is between two generations, or when partitions were lost meanwhile: then it can be tried again.
    ///
    /// # Cancel safety
    /// As [`GroupOffsets::write_as`].
    pub(crate) async fn write(
        &self,
        topic: &str,
        commits: &LiteMap<i32, Committed>,
        losses: Option<u64>,
    ) -> Result<LiteMap<i32, KafkaError>> {
        let credentials = {
            let authority = self.authority.borrow();
            if losses.is_some_and(|heard| authority.losses != heard) {
                let sentence =
                    format!("partitions of group {} were lost meanwhile, so nothing is committed", self.group());
                return Err(Error::new(ErrorCode::Lost, sentence).retriable());
            }
            authority.credentials().map(Option::<&Credentials>::cloned)
        };
        let Ok(credentials) = credentials else {
            let sentence = format!("group {} is between two generations, so nothing is committed", self.group());
            return Err(Error::new(ErrorCode::Lost, sentence).retriable());
        };
        self.write_as(credentials.as_ref(), topic, commits).await
    }

    /// Writes offsets as this member, or without membership; the member hears of what concerns it.
    ///
    /// # Cancel safety
    /// A request that was sent may be acted on later. Nobody may drop this and then write an older offset.
    pub(crate) async fn write_as(
        &self,
        credentials: Option<&Credentials>,
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
        let mut request = OffsetCommitRequest {
            group_id: self.group().to_owned(),
            topics: vec![OffsetCommitRequestTopic { name: topic.to_owned(), partitions: partitions.collect() }],
            ..OffsetCommitRequest::default()
        };
        if let Some(Credentials { member_id, epoch, instance_id }) = credentials {
            request.member_id.clone_from(member_id);
            request.generation_id_or_member_epoch = *epoch;
            request.group_instance_id.clone_from(instance_id);
        }
        let answer = self.heard(connection.call(request).await)?;
        let answered = answer.topics.into_iter().filter(|other| other.name == topic).flat_map(|topic| topic.partitions);
        let codes: LiteMap<i32, i16> = answered.map(|part| (part.partition_index, part.error_code)).gather();
        let unanswered = KafkaError::UnknownServerError.code();
        let codes = commits.keys().map(|partition| (*partition, codes.get(partition).copied().unwrap_or(unanswered)));
        let refused: LiteMap<i32, KafkaError> =
            codes.filter_map(|(partition, code)| Some((partition, KafkaError::from_code(code)?))).gather();
        if refused.values().any(|error| error.needs_coordinator()) {
            self.coordinator.forget();
        }
        let concerning = refused.values().find(|error| concerns_membership(**error));
        if let (Some(credentials), Some(error)) = (credentials, concerning) {
            self.voice.say(Event::CommitRefused { credentials: credentials.clone(), error: error.code() });
        }
        Ok(refused)
    }

    async fn connection(&self) -> Result<Connection> {
        self.coordinator.connection(Purpose::Coordinator).await
    }

    /// A coordinator that cannot be heard may have moved.
    fn heard<T>(&self, answer: Result<T>) -> Result<T> {
        if answer.is_err() {
            self.coordinator.forget();
        }
        answer
    }

    fn refused(&self, error: KafkaError, doing: &str) -> Error {
        if error.needs_coordinator() {
            self.coordinator.forget();
        }
        refusal(error, doing)
    }
}

/// Whether a commit was refused because of who sent it, not because of what it says.
pub(crate) fn concerns_membership(error: KafkaError) -> bool {
    matches!(
        error,
        KafkaError::UnknownMemberId
            | KafkaError::IllegalGeneration
            | KafkaError::RebalanceInProgress
            | KafkaError::FencedInstanceId
            | KafkaError::FencedMemberEpoch
            | KafkaError::StaleMemberEpoch
    )
}

fn committed(offset: i64, leader_epoch: i32, text: Option<String>) -> Committed {
    Committed { offset, leader_epoch, text: text.unwrap_or_default() }
}
