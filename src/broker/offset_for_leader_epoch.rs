//! OffsetForLeaderEpoch: tells where a leader epoch ends, so that a reader finds out that the log lost what it read (KIP-320).

use std::sync::Arc;

use super::call::{Call, Serve};
use super::state::State;
use crate::wire::kafka_error::KafkaError;
use crate::wire::message::offset_for_leader_epoch::EpochEndOffset;
use crate::wire::message::{
    OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse, OffsetForLeaderPartition, OffsetForLeaderTopicResult,
};

pub(super) async fn respond(call: Arc<Call>, request: OffsetForLeaderEpochRequest) -> OffsetForLeaderEpochResponse {
    let state = call.shared.state();
    each(&request, |topic, wanted| {
        let partition = wanted.partition;
        match end(&state, &call, topic, wanted) {
            // An epoch that the leader has not had is answered by -1, without error.
            Ok(found) => {
                let (leader_epoch, end_offset) = found.unwrap_or((-1, -1));
                EpochEndOffset { error_code: 0, partition, leader_epoch, end_offset }
            }
            Err(error) => EpochEndOffset { error_code: error.code(), partition, ..Default::default() },
        }
    })
}

fn each(
    request: &OffsetForLeaderEpochRequest,
    answer: impl Fn(&str, &OffsetForLeaderPartition) -> EpochEndOffset,
) -> OffsetForLeaderEpochResponse {
    let topics = request.topics.iter().map(|topic| OffsetForLeaderTopicResult {
        topic: topic.topic.clone(),
        partitions: topic.partitions.iter().map(|wanted| answer(&topic.topic, wanted)).collect(),
    });
    OffsetForLeaderEpochResponse { topics: topics.collect(), ..Default::default() }
}

fn end(
    state: &State,
    call: &Call,
    topic: &str,
    wanted: &OffsetForLeaderPartition,
) -> Result<Option<(i32, i64)>, KafkaError> {
    let partition = state.topics.get(topic).and_then(|topic| topic.partition(wanted.partition));
    let partition = partition.ok_or(KafkaError::UnknownTopicOrPartition)?;
    if partition.leader != Some(call.node) {
        return Err(KafkaError::NotLeaderOrFollower);
    }
    partition.check_epoch(wanted.current_leader_epoch)?;
    Ok(partition.log.epoch_end(wanted.leader_epoch).filter(|_| wanted.leader_epoch >= 0))
}

impl Serve for OffsetForLeaderEpochRequest {
    fn refuse(&self, error: KafkaError) -> OffsetForLeaderEpochResponse {
        each(self, |_, wanted| EpochEndOffset {
            error_code: error.code(),
            partition: wanted.partition,
            ..Default::default()
        })
    }

    fn throttle(response: &mut OffsetForLeaderEpochResponse, time_ms: i32) {
        response.throttle_time_ms = time_ms;
    }
}
