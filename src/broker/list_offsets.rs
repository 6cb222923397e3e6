//! ListOffsets: finds a partition's first, last or newest record, or the first at a time.

use std::sync::Arc;

use super::call::{Call, Serve};
use super::log::{Found, Isolation};
use super::state::State;
use super::topic::Partition;
use crate::wire::kafka_error::KafkaError;
use crate::wire::message::{
    ListOffsetsPartition, ListOffsetsPartitionResponse, ListOffsetsRequest, ListOffsetsResponse,
    ListOffsetsTopicResponse,
};

/// What stands for times that are no times.
const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const NEWEST: i64 = -3;

pub(super) async fn respond(call: Arc<Call>, request: ListOffsetsRequest) -> ListOffsetsResponse {
    let committed = request.isolation_level == 1;
    let isolation = if committed { Isolation::ReadCommitted } else { Isolation::ReadUncommitted };
    let state = call.shared.state();
    let topics = request.topics.iter().map(|topic| {
        let list = |wanted: &ListOffsetsPartition| {
            let (partition_index, found) =
                (wanted.partition_index, find(&state, &call, &topic.name, wanted, isolation));
            match found {
                Ok(Found { offset, timestamp, leader_epoch }) => {
                    // Versions before 4 do not tell the epoch.
                    let leader_epoch = if call.version() >= 4 { leader_epoch } else { -1 };
                    ListOffsetsPartitionResponse { partition_index, error_code: 0, timestamp, offset, leader_epoch }
                }
                Err(error) => refused(partition_index, error),
            }
        };
        ListOffsetsTopicResponse { name: topic.name.clone(), partitions: topic.partitions.iter().map(list).collect() }
    });
    ListOffsetsResponse { topics: topics.collect(), ..Default::default() }
}

fn refused(partition_index: i32, error: KafkaError) -> ListOffsetsPartitionResponse {
    ListOffsetsPartitionResponse { partition_index, error_code: error.code(), ..Default::default() }
}

fn find(
    state: &State,
    call: &Call,
    topic: &str,
    wanted: &ListOffsetsPartition,
    isolation: Isolation,
) -> Result<Found, KafkaError> {
    let partition = state.topics.get(topic).and_then(|topic| topic.partition(wanted.partition_index));
    let partition = partition.ok_or(KafkaError::UnknownTopicOrPartition)?;
    if partition.leader != Some(call.node) {
        return Err(KafkaError::NotLeaderOrFollower);
    }
    partition.check_epoch(wanted.current_leader_epoch)?;
    let nothing = Found { offset: -1, timestamp: -1, leader_epoch: -1 };
    let visible = partition.log.visible(isolation);
    Ok(match wanted.timestamp {
        LATEST => bare(partition, visible),
        EARLIEST => bare(partition, partition.log.start()),
        NEWEST => partition.log.newest().unwrap_or(nothing),
        time if time >= 0 => partition.log.at_time(time).filter(|found| found.offset < visible).unwrap_or(nothing),
        // Times of tiered storage, which there is none of.
        _ => return Err(KafkaError::UnsupportedVersion),
    })
}

/// An offset that is no record's.
fn bare(partition: &Partition, offset: i64) -> Found {
    Found { offset, timestamp: -1, leader_epoch: partition.log.epoch_at(offset).unwrap_or(partition.leader_epoch) }
}

impl Serve for ListOffsetsRequest {
    fn refuse(&self, error: KafkaError) -> ListOffsetsResponse {
        let topics = self.topics.iter().map(|topic| ListOffsetsTopicResponse {
            name: topic.name.clone(),
            partitions: topic.partitions.iter().map(|wanted| refused(wanted.partition_index, error)).collect(),
        });
        ListOffsetsResponse { topics: topics.collect(), ..Default::default() }
    }

    fn throttle(response: &mut ListOffsetsResponse, time_ms: i32) {
        response.throttle_time_ms = time_ms;
    }
}
