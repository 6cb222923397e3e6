//! A member's steps in few words, for people who read a recording.
//!
//! These functions are built where a recording is read: nothing else needs them.

use super::member::{Commits, Effect, Event, Partition, Partitions};
use super::message::{Answer, Call};
use crate::wire::kafka_error::KafkaError;

/// What a member learned.
#[inline]
pub(super) fn event(event: &Event) -> String {
    match event {
        Event::Metadata(seen) => {
            let topics = seen.iter().map(|seen| format!("{} has {} partitions", seen.topic.name, seen.partitions));
            format!("metadata: {}", topics.collect::<Vec<_>>().join(", "))
        }
        Event::CoordinatorLost { error } => format!("coordinator lost{}", error.map(failure).unwrap_or_default()),
        Event::Answered { tag, answer } => format!("answer {}: {}", tag.0, answered(answer)),
        Event::Failed { tag, silence } => format!("no answer {}: {silence:?}", tag.0),
        Event::Began { incarnation } => format!("began with assignment {}", incarnation.0),
        Event::Released { incarnation, partitions } => {
            format!("released of assignment {}: {}", incarnation.0, names(partitions))
        }
        Event::Planned { generation, plan } => format!("planned generation {generation} for {} members", plan.len()),
        Event::CommitRefused { error, .. } => format!("commit refused{}", failure(*error)),
        other => format!("{other:?}"),
    }
}

/// What it has done.
#[inline]
pub(super) fn effects(effects: &[Effect]) -> String {
    if effects.is_empty() {
        return "nothing".to_owned();
    }
    effects.iter().map(effect).collect::<Vec<_>>().join("; ")
}

#[inline]
fn effect(effect: &Effect) -> String {
    match effect {
        Effect::FindCoordinator => "find the coordinator".to_owned(),
        Effect::Send { tag, call, .. } => format!("send {}: {}", tag.0, called(call)),
        Effect::WakeAt(at) => format!("wake at {:.3} s", at.as_secs_f64()),
        Effect::Assigned { incarnation, partitions, epoch } => {
            format!("ASSIGNED {} as {} in epoch {epoch}", names(partitions), incarnation.0)
        }
        Effect::Revoked { incarnation, partitions } => format!("REVOKED {} of {}", names(partitions), incarnation.0),
        Effect::Lost { incarnation, partitions } => format!("LOST {} of {}", names(partitions), incarnation.0),
        Effect::Commits(Commits::As(credentials)) => format!("commit in epoch {}", credentials.epoch),
        Effect::Commits(Commits::Held) => "hold commits".to_owned(),
        Effect::Commits(Commits::Barred) => "commit nothing".to_owned(),
        Effect::RefreshMetadata { .. } => "refresh metadata".to_owned(),
        Effect::Plan { generation, assignor, members } => {
            format!("plan generation {generation} by {assignor:?} for {} members", members.len())
        }
        Effect::FallBack => "fall back to the classic protocol".to_owned(),
        Effect::Warn(complaint) => {
            format!("warn: {:?}{}", complaint.cause, complaint.error.map(failure).unwrap_or_default())
        }
        Effect::Fatal(complaint) => {
            format!("END: {:?}{}", complaint.cause, complaint.error.map(failure).unwrap_or_default())
        }
        Effect::Left => "LEFT".to_owned(),
    }
}

#[inline]
fn answered(answer: &Answer) -> String {
    match answer {
        Answer::ConsumerHeartbeat(answer) => {
            let given = answer
                .assignment
                .as_ref()
                .map(|given| given.topic_partitions.iter().map(|topic| topic.partitions.len()).sum::<usize>());
            let given = given.map(|count| format!(", target of {count} partitions")).unwrap_or_default();
            format!("heartbeat, epoch {}{given}{}", answer.member_epoch, failure(answer.error_code))
        }
        Answer::Join(answer) => {
            let (generation, members) = (answer.generation_id, answer.members.len());
            format!("join, generation {generation}, {members} members to plan for{}", failure(answer.error_code))
        }
        Answer::Sync(answer) => format!("sync, {} bytes{}", answer.assignment.len(), failure(answer.error_code)),
        Answer::Heartbeat(answer) => format!("heartbeat{}", failure(answer.error_code)),
        Answer::Leave(answer) => format!("leave{}", failure(answer.error_code)),
    }
}

#[inline]
fn called(call: &Call) -> String {
    match call {
        Call::ConsumerHeartbeat(call) => format!("heartbeat, epoch {}", call.member_epoch),
        Call::Join(_) => "join".to_owned(),
        Call::Sync(call) => format!("sync, generation {}", call.generation_id),
        Call::Heartbeat(call) => format!("heartbeat, generation {}", call.generation_id),
        Call::Leave(_) => "leave".to_owned(),
    }
}

#[inline]
fn names(partitions: &Partitions) -> String {
    let name = |partition: &Partition| format!("{}/{}", partition.topic.name, partition.number);
    partitions.iter().map(name).collect::<Vec<_>>().join(" ")
}

#[inline]
fn failure(code: i16) -> String {
    match KafkaError::from_code(code) {
        None => String::new(),
        Some(error) => format!(", {error:?}"),
    }
}
