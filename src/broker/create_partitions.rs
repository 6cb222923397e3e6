//! CreatePartitions: gives topics more partitions.

use std::sync::Arc;

use super::call::{Call, Serve};
use super::state::{Refusal, State};
use crate::wire::kafka_error::KafkaError;
use crate::wire::message::{
    CreatePartitionsRequest, CreatePartitionsResponse, CreatePartitionsTopic, CreatePartitionsTopicResult,
};

pub(super) async fn respond(call: Arc<Call>, request: CreatePartitionsRequest) -> CreatePartitionsResponse {
    let mut state = call.shared.state();
    let results = request.topics.iter().map(|topic| result(topic, grow(&mut state, topic, request.validate_only)));
    CreatePartitionsResponse { results: results.collect(), ..Default::default() }
}

fn grow(state: &mut State, wanted: &CreatePartitionsTopic, validate_only: bool) -> Result<(), Refusal> {
    let unknown = || Refusal::new(KafkaError::UnknownTopicOrPartition, "there is no such topic");
    let present = state.topics.get(&wanted.name).ok_or_else(unknown)?.partitions.len();
    if usize::try_from(wanted.count).is_ok_and(|count| count <= present) {
        let message = format!("Topic currently has {present} partitions, {} would not be an increase.", wanted.count);
        return Err(Refusal::new(KafkaError::InvalidPartitions, message));
    }
    state.check_partitions(wanted.count, present)?;
    if !validate_only {
        state.grow_topic(&wanted.name, wanted.count);
    }
    Ok(())
}

fn result(topic: &CreatePartitionsTopic, outcome: Result<(), Refusal>) -> CreatePartitionsTopicResult {
    let (error_code, error_message) = match outcome {
        Ok(()) => (0, None),
        Err(Refusal { error, message }) => (error.code(), Some(message)),
    };
    CreatePartitionsTopicResult { name: topic.name.clone(), error_code, error_message }
}

impl Serve for CreatePartitionsRequest {
    fn refuse(&self, error: KafkaError) -> CreatePartitionsResponse {
        let refused = |topic| result(topic, Err(Refusal::new(error, error.meaning())));
        CreatePartitionsResponse { results: self.topics.iter().map(refused).collect(), ..Default::default() }
    }

    fn throttle(response: &mut CreatePartitionsResponse, time_ms: i32) {
        response.throttle_time_ms = time_ms;
    }
}
