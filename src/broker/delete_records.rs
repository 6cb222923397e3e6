//! DeleteRecords: moves the start of partitions forward.

use std::sync::Arc;

use super::call::{Call, Serve};
use super::state::State;
use crate::wire::kafka_error::KafkaError;
use crate::wire::message::{
    DeleteRecordsPartition, DeleteRecordsPartitionResult, DeleteRecordsRequest, DeleteRecordsResponse,
    DeleteRecordsTopicResult,
};

/// What stands for the end of the partition.
const END: i64 = -1;

pub(super) async fn respond(call: Arc<Call>, request: DeleteRecordsRequest) -> DeleteRecordsResponse {
    let mut state = call.shared.state();
    each(&request, |topic, wanted| match delete(&mut state, &call, topic, wanted) {
        Ok(low_watermark) => (low_watermark, 0),
        Err(error) => (-1, error.code()),
    })
}

fn each(
    request: &DeleteRecordsRequest,
    mut answer: impl FnMut(&str, &DeleteRecordsPartition) -> (i64, i16),
) -> DeleteRecordsResponse {
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|wanted| {
            let (low_watermark, error_code) = answer(&topic.name, wanted);
            DeleteRecordsPartitionResult { partition_index: wanted.partition_index, low_watermark, error_code }
        });
        DeleteRecordsTopicResult { name: topic.name.clone(), partitions: partitions.collect() }
    });
    DeleteRecordsResponse { topics: topics.collect(), ..Default::default() }
}

fn delete(state: &mut State, call: &Call, topic: &str, wanted: &DeleteRecordsPartition) -> Result<i64, KafkaError> {
    let index = wanted.partition_index;
    let partition = state.topics.get(topic).and_then(|topic| topic.partition(index));
    let partition = partition.ok_or(KafkaError::UnknownTopicOrPartition)?;
    if partition.leader != Some(call.node) {
        return Err(KafkaError::NotLeaderOrFollower);
    }
    let offset = if wanted.offset == END { partition.log.end() } else { wanted.offset };
    if !(0..=partition.log.end()).contains(&offset) {
        return Err(KafkaError::OffsetOutOfRange);
    }
    let deleted = state.change(topic, index, |partition| {
        partition.log.delete_before(offset);
        partition.log.start()
    });
    deleted.ok_or(KafkaError::UnknownTopicOrPartition)
}

impl Serve for DeleteRecordsRequest {
    fn refuse(&self, error: KafkaError) -> DeleteRecordsResponse {
        each(self, |_, _| (-1, error.code()))
    }

    fn throttle(response: &mut DeleteRecordsResponse, time_ms: i32) {
        response.throttle_time_ms = time_ms;
    }
}
