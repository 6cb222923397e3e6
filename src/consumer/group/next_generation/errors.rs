//! What a KIP-848 member does about each error of its heartbeat.
//!
//! Kafka's own flag "retriable" is no guide here: what matters is whether the membership survives.

use crate::wire::kafka_error::KafkaError;

use super::super::complaint::Cause;

/// What to do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reaction {
    /// The same again after a wait; people are told if the cause is given.
    Again(Option<Cause>),
    /// The coordinator is elsewhere; the membership stays.
    Elsewhere,
    /// At the usual interval, the membership stays; people are told.
    Later(Cause),
    /// The partitions are gone; join again under the same id.
    Fenced,
    /// The coordinator does not know the member: join again under a fresh id.
    Unknown,
    /// The group is gone: join again after a wait.
    GroupGone,
    /// The lasting name is registered, by an earlier request of ours or by somebody else.
    InstanceHeld,
    /// The group takes no more members; some tries are worth while.
    Full,
    /// KIP-848 is not to be had here.
    NotOffered,
    /// The membership cannot go on.
    Fatal(Cause),
}

/// How far the member has come, which decides what some errors mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It has never been in the group.
    First,
    /// It has been in, and joins again.
    Rejoining,
    /// It is in.
    Inside,
}

/// The reaction to `error`, which answers a heartbeat that is not a farewell.
pub(super) fn reaction(error: KafkaError, standing: Standing, is_static: bool) -> Reaction {
    match error {
        KafkaError::CoordinatorLoadInProgress => Reaction::Again(None),
        KafkaError::CoordinatorNotAvailable | KafkaError::NotCoordinator => Reaction::Elsewhere,
        KafkaError::FencedMemberEpoch => Reaction::Fenced,
        KafkaError::UnknownMemberId => Reaction::Unknown,
        KafkaError::UnreleasedInstanceId if is_static => Reaction::InstanceHeld,
        KafkaError::UnreleasedInstanceId => Reaction::Fatal(Cause::Senseless),
        KafkaError::FencedInstanceId => Reaction::Fatal(Cause::InstanceTaken),
        KafkaError::UnsupportedAssignor
        | KafkaError::InvalidRequest
        | KafkaError::InvalidRegularExpression
        | KafkaError::InvalidGroupId => Reaction::Fatal(Cause::Refused),
        KafkaError::GroupAuthorizationFailed | KafkaError::ClusterAuthorizationFailed => Reaction::Fatal(Cause::Denied),
        KafkaError::TopicAuthorizationFailed => Reaction::Later(Cause::Denied),
        KafkaError::GroupMaxSizeReached => Reaction::Full,
        KafkaError::UnsupportedVersion if standing == Standing::First => Reaction::NotOffered,
        KafkaError::UnsupportedVersion => Reaction::Fatal(Cause::NotOffered),
        KafkaError::GroupIdNotFound if standing == Standing::First => Reaction::NotOffered,
        KafkaError::GroupIdNotFound => Reaction::GroupGone,
        _ => Reaction::Again(Some(Cause::Unwell)),
    }
}
