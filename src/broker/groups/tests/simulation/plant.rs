//! Bugs that are planted on purpose, each of which the simulation must catch.

use bytes::Bytes;

use super::process::Process;
use crate::consumer::group::member::{Effect, Event};
use crate::consumer::group::message::{Answer, Call};
use crate::consumer::group::subscription::Subscription;
use crate::wire::kafka_error::KafkaError;
use crate::wire::message::consumer_group_heartbeat::Assignment;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Plant {
    /// The driver commits a partition once more after it has given it back, or lost it.
    CommitAfterRevoke,
    /// The member never says what it owns.
    MissingOwnedSet,
    /// The coordinator takes commits and heartbeats of an epoch that is over.
    StaleEpochAccepted,
    /// The member takes what an older answer assigned for what the newest one says.
    OldAnswerBelieved,
    /// The member joins again as if it had no id.
    RejoinWithoutMemberId,
    /// The member takes a heartbeat's answer about the old generation for news about the new one.
    HeartbeatDuringSync,
    /// The coordinator takes silence about what is owned for owning nothing.
    ClaimsBelieved,
    /// A static member that ends says that it will not come back.
    PlaceGivenUp,
    /// The store applies whatever comes.
    StoreWithoutCompareAndSet,
    /// The driver lets the member wait for ever for what it gives back.
    ReleaseForgotten,
}

impl Plant {
    /// What the member asks for, with the bug.
    pub(super) fn distort_effect(self, effect: &mut Effect) {
        let Effect::Send { call, .. } = effect else { return };
        match (self, call) {
            (Self::MissingOwnedSet, Call::ConsumerHeartbeat(request)) if request.member_epoch > 0 => {
                request.topic_partitions = None;
            }
            (Self::MissingOwnedSet, Call::Join(request)) => {
                for protocol in &mut request.protocols {
                    protocol.metadata = without_owned(&protocol.metadata, &protocol.name);
                }
            }
            (Self::PlaceGivenUp, Call::ConsumerHeartbeat(request)) if request.member_epoch == -2 => {
                request.member_epoch = -1;
            }
            (Self::RejoinWithoutMemberId, Call::Join(request)) => request.member_id.clear(),
            (Self::RejoinWithoutMemberId, Call::ConsumerHeartbeat(request)) if request.member_epoch == 0 => {
                request.member_id.clear();
            }
            _ => {}
        }
    }

    /// What the member learns, with the bug: an event before it, or another in its place.
    pub(super) fn distort_event(self, process: &mut Process, event: &mut Event) -> Option<Event> {
        let Event::Answered { answer, .. } = event else { return None };
        match (self, answer) {
            (Self::OldAnswerBelieved, Answer::ConsumerHeartbeat(answer)) => {
                match &answer.assignment {
                    Some(told) => process.told.push(told.clone()),
                    None => answer.assignment = process.told.iter().rev().find(|old| gives_more(old, process)).cloned(),
                }
                None
            }
            (Self::HeartbeatDuringSync, Answer::Heartbeat(answer)) if answer.error_code != 0 => {
                let error = KafkaError::IllegalGeneration.code();
                process.syncing().map(|credentials| Event::CommitRefused { credentials, error })
            }
            _ => None,
        }
    }
}

/// Whether an assignment has what the newest has not.
fn gives_more(old: &Assignment, process: &Process) -> bool {
    let numbers = |told: &Assignment| -> Vec<i32> {
        told.topic_partitions.iter().flat_map(|topic| topic.partitions.clone()).collect()
    };
    let newest = process.told.last().map(numbers).unwrap_or_default();
    numbers(old).iter().any(|number| !newest.contains(number))
}

fn without_owned(metadata: &Bytes, name: &str) -> Bytes {
    use crate::consumer::group::assignor::Assignor;
    let assignor = Assignor::ALL.into_iter().find(|assignor| assignor.name() == name).unwrap();
    let told = Subscription::decode(metadata).unwrap();
    Subscription { owned: Default::default(), ..told }.encode_for(assignor).unwrap()
}
