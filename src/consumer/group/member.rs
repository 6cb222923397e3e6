//! The interface of a membership machine: what it learns, what it asks for.
//!
//! Events and effects are `serde` types under one [`FORMAT`] number, so that a driver can keep them and an incident
//! replays as a test.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::assignor::Assignor;
use super::complaint::Complaint;
use super::message::{Answer, Call, blobs};
use crate::backoff::Backoff;
use crate::place::TopicId;

/// The number of this form of [`Event`] and [`Effect`]; it grows when an older recording would be read wrongly.
pub(crate) const FORMAT: u16 = 1;

/// A membership of one group: a pure machine.
pub(crate) trait Member {
    /// Takes one event into account; the effects are to be carried out in their order.
    fn take(&mut self, now: Now, event: Event) -> Vec<Effect>;
}

/// The moment of an event, with the chance that jitter needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Now {
    /// Since the member's start, by a clock that never goes back.
    pub(crate) at: Duration,
    /// Uniform over all values.
    pub(crate) chance: u16,
}

impl Now {
    /// The share of a wait's jitter, in `0.0..1.0`.
    pub(super) fn share(self) -> f64 {
        f64::from(self.chance) / (f64::from(u16::MAX) + 1.0)
    }
}

/// Counts assignments; never used twice by one machine (rule R9).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Incarnation(pub(crate) u64);

/// A topic by identity and name; the identity is [`TopicId::NONE`] where the broker is too old to tell one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Topic {
    pub(crate) id: TopicId,
    pub(crate) name: Arc<str>,
}

/// One partition of a topic.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Partition {
    pub(crate) topic: Topic,
    pub(crate) number: i32,
}

/// Partitions in their order.
pub(crate) type Partitions = BTreeSet<Partition>;

/// What metadata say of one topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Seen {
    pub(crate) topic: Topic,
    pub(crate) partitions: i32,
}

/// Marks a request, so that its answer is recognised.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Tag(pub(crate) u64);

/// The connection that a request takes: one that parks at the broker must not hold up the heartbeats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Lane {
    /// Heartbeats, leaving, and the group's commits, which the broker then handles in order.
    Heartbeat,
    /// JoinGroup and SyncGroup.
    Join,
}

/// Why there is no answer to a request. What the coordinator made of it is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Silence {
    /// Its deadline passed.
    TimedOut,
    /// The connection was closed, or could not be made.
    Disconnected,
    /// The answer's bytes make no sense.
    Garbled,
    /// It was not sent, because the application may not work for the group now.
    Withheld,
}

/// What commits of this member must carry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Credentials {
    pub(crate) member_id: String,
    /// The member epoch (KIP-848) or the generation (classic).
    pub(crate) epoch: i32,
    pub(crate) instance_id: Option<String>,
}

/// Whether commits may be sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Commits {
    /// They may, with these credentials.
    As(Credentials),
    /// They wait: the group is between two generations.
    Held,
    /// There is no membership to commit under.
    Barred,
}

/// A member of the group as its leader sees it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Named {
    pub(crate) member_id: String,
    pub(crate) instance_id: Option<String>,
}

/// What a machine learns.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Event {
    /// The consumer wants to be in the group.
    Start,
    /// All that is known of the topics that the machine asked for, in place of what was known before.
    Metadata(Vec<Seen>),
    /// The coordinator was found and answers.
    CoordinatorFound,
    /// The coordinator could not be found, or its connection went away; the error is its answer's, if there was one.
    CoordinatorLost { error: Option<i16> },
    /// A request was answered.
    Answered { tag: Tag, answer: Answer },
    /// A request will not be answered.
    Failed { tag: Tag, silence: Silence },
    /// The time of [`Effect::WakeAt`] has come.
    Tick,
    /// The application has begun with all partitions of this assignment.
    Began { incarnation: Incarnation },
    /// The application has settled, committed and let go of these.
    Released { incarnation: Incarnation, partitions: Partitions },
    /// What the assignor made of [`Effect::Plan`]: each member's assignment.
    Planned {
        generation: i32,
        #[serde(with = "blobs")]
        plan: Vec<(String, Bytes)>,
    },
    /// A commit was refused with an error that concerns the membership.
    CommitRefused { credentials: Credentials, error: i16 },
    /// The application has not come on within `max.poll.interval.ms`.
    TooSlow,
    /// The application has come on again.
    Back,
    /// The application may not work for the group any more: all is given up at once, and the member joins again.
    StepAside,
    /// The consumer ends: settle and leave within this time.
    Leave { within: Duration },
}

/// What the driver has to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Effect {
    /// Look for the group's coordinator, then say [`Event::CoordinatorFound`] or [`Event::CoordinatorLost`].
    FindCoordinator,
    /// Send a request to the coordinator, then say [`Event::Answered`] or, after this time, [`Event::Failed`].
    Send { tag: Tag, lane: Lane, call: Call, within: Duration },
    /// Say [`Event::Tick`] at this time; it replaces the time said before.
    WakeAt(Duration),
    /// These are ours from now on.
    Assigned { incarnation: Incarnation, partitions: Partitions, epoch: i32 },
    /// These are to be settled, committed and let go of; then say [`Event::Released`] (rule R6).
    Revoked { incarnation: Incarnation, partitions: Partitions },
    /// These are gone: nothing of them may be committed (rule R7).
    Lost { incarnation: Incarnation, partitions: Partitions },
    /// Whether commits may be sent, from now on.
    Commits(Commits),
    /// Learn of these topics and of those subscribed to, then say [`Event::Metadata`].
    RefreshMetadata { names: BTreeSet<Arc<str>>, ids: BTreeSet<TopicId> },
    /// Run the assignor over all members and their subscriptions, then say [`Event::Planned`].
    Plan {
        generation: i32,
        assignor: Assignor,
        #[serde(with = "blobs")]
        members: Vec<(Named, Bytes)>,
    },
    /// The group cannot be joined by KIP-848: go on with a classic member.
    FallBack,
    /// Tell people; work goes on.
    Warn(Complaint),
    /// The membership cannot go on.
    Fatal(Complaint),
    /// The membership has ended as it was asked to.
    Left,
}

/// What a member is made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Settings {
    /// `group.id`.
    pub(crate) group: String,
    /// Unique among all members ever; a member that needs another id derives it. The classic protocol gives its own.
    pub(crate) member_id: String,
    /// `group.instance.id`.
    pub(crate) instance_id: Option<String>,
    /// `client.rack`.
    pub(crate) rack: Option<String>,
    /// The topics subscribed to.
    pub(crate) topics: BTreeSet<Arc<str>>,
    /// The coordinator's assignor (KIP-848); `None` is its default.
    pub(crate) server_assignor: Option<String>,
    /// The assignors offered (classic), the preferred one first.
    pub(crate) assignors: Vec<Assignor>,
    /// `session.timeout.ms`: without a successful heartbeat for so long the member takes itself for lost.
    pub(crate) session_timeout: Duration,
    /// `max.poll.interval.ms`: how long giving partitions back may take.
    pub(crate) rebalance_timeout: Duration,
    /// `heartbeat.interval.ms` (classic), and until the coordinator tells another (KIP-848).
    pub(crate) heartbeat_interval: Duration,
    /// `request.timeout.ms`.
    pub(crate) request_timeout: Duration,
    /// `retry.backoff.ms` and `retry.backoff.max.ms`.
    pub(crate) backoff: Backoff,
    /// Whether [`Effect::FallBack`] is allowed.
    pub(crate) fallback: Fallback,
}

/// What a member does where KIP-848 is not to be had (`group.protocol`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Fallback {
    /// `auto`: join as a classic member.
    Classic,
    /// `consumer`: say so and end.
    Refused,
}

impl Settings {
    /// Whether the member keeps its name and partitions over a restart.
    pub(super) fn is_static(&self) -> bool {
        self.instance_id.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::message::HeartbeatResponse;

    /// A recording of this format: it must stay readable, or [`FORMAT`] must grow.
    #[test]
    fn what_was_recorded_once_is_read_and_written_the_same() {
        assert_eq!(FORMAT, 1);
        let event = r#"{"Answered":{"tag":3,"answer":{"Heartbeat":"00000000001b00"}}}"#;
        let read: Event = serde_json::from_str(event).unwrap();
        let answer = Answer::Heartbeat(HeartbeatResponse { error_code: 27, ..Default::default() });
        assert_eq!(read, Event::Answered { tag: Tag(3), answer });
        assert_eq!(serde_json::to_string(&read).unwrap(), event);

        let effect =
            r#"{"Plan":{"generation":1,"assignor":"range","members":[[{"member_id":"c","instance_id":null},"0001"]]}}"#;
        let read: Effect = serde_json::from_str(effect).unwrap();
        assert_eq!(serde_json::to_string(&read).unwrap(), effect);
        for broken in [r#"{"Answered":{"tag":3,"answer":{"Heartbeat":"0"}}}"#, &event.replace("1b00", "1b00zz")] {
            assert!(serde_json::from_str::<Event>(broken).is_err());
        }
    }
}
