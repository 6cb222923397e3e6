//! A member's requests on their way: what is asked of the coordinator, what came of it.
//!
//! Each lane is a connection of its own, because JoinGroup and SyncGroup wait at the broker for the other members, and a
//! broker answers one connection in order. Commits share the heartbeats' connection.

use std::sync::Arc;
use std::time::Duration;

use super::super::member::{Event, Lane, Silence, Tag};
use super::super::message::{Answer, Call};
use crate::cluster::{GroupCoordinator, Purpose, Unfound};
use crate::wire::connection::Connection;
use crate::wire::kafka_error::KafkaError;
use crate::wire::message::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, OffsetCommitRequest, OffsetFetchRequest,
};
use crate::{ErrorCode, Result};

/// The version in which OffsetCommit and OffsetFetch know member epochs (KIP-848).
const MEMBER_EPOCHS: i16 = 9;

/// Looks for the coordinator, which counts as found when it has taken the heartbeats' connection.
pub(super) async fn find(coordinator: Arc<GroupCoordinator>) -> Event {
    coordinator.forget();
    let error = match coordinator.find().await {
        Ok(_) => match coordinator.connection(Purpose::Coordinator).await {
            Ok(_) => return Event::CoordinatorFound,
            Err(error) => {
                tracing::debug!(group = coordinator.group(), %error, "the coordinator cannot be reached");
                None
            }
        },
        Err(Unfound::Refused(error)) => Some(error.code()),
        Err(Unfound::Unreached(error)) => {
            tracing::debug!(group = coordinator.group(), %error, "no broker tells the coordinator");
            None
        }
    };
    Event::CoordinatorLost { error }
}

/// Sends one request. Whatever happens, an event comes of it.
pub(super) async fn send(
    coordinator: Arc<GroupCoordinator>,
    tag: Tag,
    lane: Lane,
    call: Call,
    within: Duration,
) -> Event {
    match tokio::time::timeout(within, exchange(&coordinator, lane, call, within)).await {
        Ok(Ok(answer)) => Event::Answered { tag, answer },
        Ok(Err(error)) => {
            tracing::debug!(group = coordinator.group(), %error, "a request to the coordinator failed");
            let silence = match error.code() {
                ErrorCode::Timeout => Silence::TimedOut,
                ErrorCode::Protocol => Silence::Garbled,
                _ => Silence::Disconnected,
            };
            Event::Failed { tag, silence }
        }
        Err(_) => Event::Failed { tag, silence: Silence::TimedOut },
    }
}

async fn exchange(coordinator: &GroupCoordinator, lane: Lane, call: Call, within: Duration) -> Result<Answer> {
    let purpose = match lane {
        Lane::Heartbeat => Purpose::Coordinator,
        Lane::Join => Purpose::Join,
    };
    let connection = coordinator.connection(purpose).await?;
    Ok(match call {
        Call::ConsumerHeartbeat(_) if !offers_next_generation(&connection) => Answer::ConsumerHeartbeat(not_offered()),
        Call::ConsumerHeartbeat(request) => Answer::ConsumerHeartbeat(connection.call_within(request, within).await?),
        Call::Join(request) => Answer::Join(connection.call_within(request, within).await?),
        Call::Sync(request) => Answer::Sync(connection.call_within(request, within).await?),
        Call::Heartbeat(request) => Answer::Heartbeat(connection.call_within(request, within).await?),
        Call::Leave(request) => Answer::Leave(connection.call_within(request, within).await?),
    })
}

/// KIP-848 is of use only where offsets can be committed under it too.
fn offers_next_generation(coordinator: &Connection) -> bool {
    let has_epochs = |version: Option<i16>| version.is_some_and(|version| version >= MEMBER_EPOCHS);
    coordinator.version_of::<ConsumerGroupHeartbeatRequest>().is_some()
        && has_epochs(coordinator.version_of::<OffsetCommitRequest>())
        && has_epochs(coordinator.version_of::<OffsetFetchRequest>())
}

/// What a coordinator answers whose groups feature is off.
fn not_offered() -> ConsumerGroupHeartbeatResponse {
    let error_code = KafkaError::UnsupportedVersion.code();
    ConsumerGroupHeartbeatResponse { error_code, ..Default::default() }
}
