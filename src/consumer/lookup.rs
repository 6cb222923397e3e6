//! What leaders are asked: where a partition begins, where it ends, where a leader epoch ends.
//!
//! One request a broker, one answer a partition: a partition whose leader is away does not hold up the others.

use std::sync::Arc;

use futures::future::join_all;
use litemap::LiteMap;

use super::config::Isolation;
use crate::cluster::{Cluster, Leader, Purpose, refusal};
use crate::gather::Gather;
use crate::place::{Place, TopicPartition};
use crate::wire::kafka_error::KafkaError;
use crate::wire::message::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsResponse, ListOffsetsTopic, OffsetForLeaderEpochRequest,
    OffsetForLeaderEpochResponse, OffsetForLeaderPartition, OffsetForLeaderTopic, Request,
};
use crate::{Error, ErrorCode, Result};

/// The answer for each partition that was asked about.
pub(crate) type Answers<T> = LiteMap<i32, Result<T>>;

/// Asks the leaders of one topic.
pub(crate) struct Lookup<'c> {
    pub(crate) cluster: &'c Cluster,
    pub(crate) topic: &'c Arc<str>,
}

/// A question that a partition's leader answers.
trait Question {
    type Request: Request;
    type Answer;

    fn request(&self, topic: &str, partitions: &[(i32, Leader)]) -> Self::Request;

    /// Partition, error code and answer of each partition in the response.
    fn answers(response: <Self::Request as Request>::Response) -> Vec<(i32, i16, Self::Answer)>;
}

/// One error for many partitions, with a sentence of their own.
pub(crate) fn alike(error: &Arc<Error>, sentence: &'static str) -> Error {
    let alike = Error::new(error.code(), sentence).caused_by(error.clone());
    if error.is_retriable() { alike.retriable() } else { alike }
}

/// Which end of a partition is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Edge {
    /// Its first offset.
    First,
    /// The offset behind the last record that can be read at this level.
    End(Isolation),
}

/// Where a leader epoch ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EpochEnd {
    /// The largest epoch in the log that is not above the one asked for, or -1.
    pub(crate) epoch: i32,
    /// The offset behind its last record, or -1.
    pub(crate) end: i64,
}

impl Lookup<'_> {
    /// The offset at one edge of each partition.
    pub(crate) async fn offsets(&self, partitions: &[i32], edge: Edge) -> Answers<i64> {
        self.ask(partitions, &edge).await
    }

    /// Where the leader epoch of each partition ends in its leader's log (KIP-320).
    pub(crate) async fn epoch_ends(&self, epochs: &LiteMap<i32, i32>) -> Answers<EpochEnd> {
        let partitions: Vec<i32> = epochs.keys().copied().collect();
        self.ask(&partitions, epochs).await
    }

    async fn ask<Q: Question>(&self, partitions: &[i32], question: &Q) -> Answers<Q::Answer> {
        let mut answers = Answers::new();
        let mut by_leader: LiteMap<i32, Vec<(i32, Leader)>> = LiteMap::new();
        for partition in partitions {
            match self.cluster.leader(&self.at(*partition)) {
                Some(leader) => by_leader.entry(leader.node).or_default().push((*partition, leader)),
                None => drop(answers.insert(*partition, Err(self.refused(KafkaError::LeaderNotAvailable, *partition)))),
            }
        }
        let asked = by_leader.into_iter().map(|(node, led)| self.ask_node(node, led, question));
        for (partition, answer) in join_all(asked).await.into_iter().flatten() {
            answers.insert(partition, answer);
        }
        answers
    }

    async fn ask_node<Q: Question>(&self, node: i32, led: Vec<(i32, Leader)>, question: &Q) -> Answers<Q::Answer> {
        let called = async {
            let connection = self.cluster.connection(node, Purpose::Control).await?;
            connection.call(question.request(self.topic, &led)).await
        };
        match called.await {
            Ok(response) => self.sort(&led, Q::answers(response)),
            Err(error) => {
                let error = Arc::new(error);
                let failed = || alike(&error, "its leader cannot be asked");
                led.iter().map(|(partition, _)| (*partition, Err(failed()))).gather()
            }
        }
    }

    fn sort<T>(&self, led: &[(i32, Leader)], answers: Vec<(i32, i16, T)>) -> Answers<T> {
        let silent = |partition: i32| {
            Err(Error::new(ErrorCode::Protocol, "the broker left the partition out of its answer")
                .at(Place::partition(&self.at(partition)))
                .retriable())
        };
        let mut sorted: Answers<T> = led.iter().map(|(partition, _)| (*partition, silent(*partition))).gather();
        for (partition, code, answer) in answers {
            if let Some(place) = sorted.get_mut(&partition) {
                *place = KafkaError::from_code(code).map_or(Ok(answer), |error| Err(self.refused(error, partition)));
            }
        }
        sorted
    }

    fn refused(&self, error: KafkaError, partition: i32) -> Error {
        if error.needs_metadata() {
            self.cluster.refresh();
        }
        refusal(error, "the partition's offsets were asked for").at(Place::partition(&self.at(partition)))
    }

    fn at(&self, partition: i32) -> TopicPartition {
        TopicPartition::new(self.topic.clone(), partition)
    }
}

impl Question for Edge {
    type Request = ListOffsetsRequest;
    type Answer = i64;

    fn request(&self, topic: &str, partitions: &[(i32, Leader)]) -> ListOffsetsRequest {
        let (timestamp, isolation) = match self {
            Self::First => (-2, Isolation::ReadUncommitted),
            Self::End(isolation) => (-1, *isolation),
        };
        let partitions = partitions.iter().map(|(partition_index, leader)| ListOffsetsPartition {
            partition_index: *partition_index,
            current_leader_epoch: leader.epoch,
            timestamp,
        });
        ListOffsetsRequest {
            isolation_level: isolation.level(),
            topics: vec![ListOffsetsTopic { name: topic.to_owned(), partitions: partitions.collect() }],
            ..ListOffsetsRequest::default()
        }
    }

    fn answers(response: ListOffsetsResponse) -> Vec<(i32, i16, i64)> {
        let partitions = response.topics.into_iter().flat_map(|topic| topic.partitions);
        partitions.map(|part| (part.partition_index, part.error_code, part.offset)).collect()
    }
}

impl Question for LiteMap<i32, i32> {
    type Request = OffsetForLeaderEpochRequest;
    type Answer = EpochEnd;

    fn request(&self, topic: &str, partitions: &[(i32, Leader)]) -> OffsetForLeaderEpochRequest {
        let partitions = partitions.iter().map(|(partition, leader)| OffsetForLeaderPartition {
            partition: *partition,
            current_leader_epoch: leader.epoch,
            leader_epoch: self.get(partition).copied().unwrap_or(-1),
        });
        OffsetForLeaderEpochRequest {
            topics: vec![OffsetForLeaderTopic { topic: topic.to_owned(), partitions: partitions.collect() }],
            ..OffsetForLeaderEpochRequest::default()
        }
    }

    fn answers(response: OffsetForLeaderEpochResponse) -> Vec<(i32, i16, EpochEnd)> {
        let partitions = response.topics.into_iter().flat_map(|topic| topic.partitions);
        partitions
            .map(|part| (part.partition, part.error_code, EpochEnd { epoch: part.leader_epoch, end: part.end_offset }))
            .collect()
    }
}
