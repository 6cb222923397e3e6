//! FindCoordinator: tells which node keeps a group.

use std::sync::Arc;

use super::call::{Call, Serve};
use super::state::State;
use crate::wire::kafka_error::KafkaError;
use crate::wire::message::find_coordinator::Coordinator;
use crate::wire::message::{FindCoordinatorRequest, FindCoordinatorResponse};

/// The key of a group; the other kinds are transactions and share groups.
const GROUP: i8 = 0;

/// The first version that asks for several keys.
const FIRST_WITH_KEYS: i16 = 4;

pub(super) async fn respond(call: Arc<Call>, request: FindCoordinatorRequest) -> FindCoordinatorResponse {
    let state = call.shared.state();
    let one = |key: &String| find(&state, key, request.key_type);
    if call.version() >= FIRST_WITH_KEYS {
        return FindCoordinatorResponse {
            coordinators: request.coordinator_keys.iter().map(one).collect(),
            ..Default::default()
        };
    }
    single(one(&request.key))
}

/// The form of the versions that ask for one key.
fn single(found: Coordinator) -> FindCoordinatorResponse {
    let Coordinator { node_id, host, port, error_code, error_message, .. } = found;
    FindCoordinatorResponse { error_code, error_message, node_id, host, port, ..Default::default() }
}

fn find(state: &State, key: &str, key_type: i8) -> Coordinator {
    if key_type != GROUP {
        let mut refused = refused(key, KafkaError::TransactionalIdAuthorizationFailed);
        refused.error_message = Some("the development broker has no transactions and no share groups".into());
        return refused;
    }
    let node = state.coordinator(key).and_then(|id| Some((id, state.nodes.get(&id)?.told())));
    match node {
        _ if key.is_empty() => refused(key, KafkaError::InvalidGroupId),
        None => refused(key, KafkaError::CoordinatorNotAvailable),
        Some((node_id, address)) => Coordinator {
            key: key.into(),
            node_id,
            host: address.ip().to_string(),
            port: address.port().into(),
            error_code: 0,
            error_message: None,
        },
    }
}

fn refused(key: &str, error: KafkaError) -> Coordinator {
    Coordinator {
        key: key.into(),
        node_id: -1,
        port: -1,
        error_code: error.code(),
        error_message: Some(error.meaning().into()),
        ..Default::default()
    }
}

impl Serve for FindCoordinatorRequest {
    fn refuse(&self, error: KafkaError) -> FindCoordinatorResponse {
        if self.coordinator_keys.is_empty() {
            return single(refused(&self.key, error));
        }
        let coordinators = self.coordinator_keys.iter().map(|key| refused(key, error));
        FindCoordinatorResponse { coordinators: coordinators.collect(), ..Default::default() }
    }

    fn throttle(response: &mut FindCoordinatorResponse, time_ms: i32) {
        response.throttle_time_ms = time_ms;
    }
}
