//! DeleteTopics: removes topics with their records, by name or by identity.

use std::sync::Arc;

use super::call::{Call, Serve};
use super::state::State;
use crate::place::TopicId;
use crate::wire::kafka_error::KafkaError;
use crate::wire::message::{DeletableTopicResult, DeleteTopicState, DeleteTopicsRequest, DeleteTopicsResponse};

pub(super) async fn respond(call: Arc<Call>, request: DeleteTopicsRequest) -> DeleteTopicsResponse {
    let mut state = call.shared.state();
    let responses = wanted(&request).into_iter().map(|wanted| delete(&mut state, wanted));
    DeleteTopicsResponse { responses: responses.collect(), ..Default::default() }
}

/// The topics to delete, in the form of the later versions.
fn wanted(request: &DeleteTopicsRequest) -> Vec<DeleteTopicState> {
    let named =
        request.topic_names.iter().map(|name| DeleteTopicState { name: Some(name.clone()), ..Default::default() });
    request.topics.iter().cloned().chain(named).collect()
}

fn delete(state: &mut State, wanted: DeleteTopicState) -> DeletableTopicResult {
    let known = match &wanted.name {
        Some(name) => state.topics.get(name).ok_or(KafkaError::UnknownTopicOrPartition),
        None => state.topics.by_id(wanted.topic_id).ok_or(KafkaError::UnknownTopicId),
    };
    match known.map(|topic| (topic.name.clone(), topic.id)) {
        Ok((name, topic_id)) => {
            state.delete_topic(&name);
            DeletableTopicResult { name: Some(name.as_ref().into()), topic_id, ..Default::default() }
        }
        Err(error) => refused(wanted.name, wanted.topic_id, error),
    }
}

fn refused(name: Option<String>, topic_id: TopicId, error: KafkaError) -> DeletableTopicResult {
    DeletableTopicResult { name, topic_id, error_code: error.code(), error_message: Some(error.meaning().into()) }
}

impl Serve for DeleteTopicsRequest {
    fn refuse(&self, error: KafkaError) -> DeleteTopicsResponse {
        let refused = |wanted: DeleteTopicState| refused(wanted.name, wanted.topic_id, error);
        DeleteTopicsResponse { responses: wanted(self).into_iter().map(refused).collect(), ..Default::default() }
    }

    fn throttle(response: &mut DeleteTopicsResponse, time_ms: i32) {
        response.throttle_time_ms = time_ms;
    }
}
