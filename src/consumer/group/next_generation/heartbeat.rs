//! The heartbeats of a KIP-848 member: what each carries, when it is due, what its answer means.
//!
//! | beat | epoch | names, timeout, assignor | owned |
//! |---|---|---|---|
//! | join | 0 | all | empty |
//! | full | last received | all | what is held |
//! | keep-alive | last received | unchanged | unchanged |
//! | farewell | -1, for a static member -2 | unchanged | unchanged |
//!
//! A full one is sent to acknowledge, after a request whose outcome is unknown, and while nothing is held. A coordinator
//! that has raised the epoch in an answer that we never saw takes the old epoch only together with what is held.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::super::complaint::Cause;
use super::super::member::{Effect, Fallback, Lane, Now, Partitions, Tag};
use super::super::message::{Answer, Call};
use super::errors::{Reaction, Standing, reaction};
use super::reconcile::Target;
use super::{NextGeneration, Phase};
use crate::wire::kafka_error::KafkaError;
use crate::wire::message::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, TopicPartitions};

/// Between two heartbeats, whatever the coordinator says.
const LEAST_INTERVAL: Duration = Duration::from_millis(100);

/// Partitions of a new assignment come only with a heartbeat, so one that has none asks early.
const FIRST_IDLE_BEAT: Duration = Duration::from_millis(100);

/// How often a full group is asked again.
const FULL_TRIES: u32 = 10;

/// How much longer than a session a lasting name is waited for.
const NAME_MARGIN: Duration = Duration::from_secs(5);

/// A heartbeat that is not answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Flight {
    tag: Tag,
    /// The life of the member that sent it.
    life: u64,
    beat: Beat,
    sent: Duration,
    /// How many releases it tells of.
    releases: u64,
}

/// The kinds of heartbeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Beat {
    Join,
    Full,
    KeepAlive,
    Probe,
    Farewell,
}

impl NextGeneration {
    /// Which heartbeat is to be sent next, if any is.
    fn beat(&self) -> Option<Beat> {
        match self.phase {
            Phase::Joining => Some(Beat::Join),
            Phase::Probing => Some(Beat::Probe),
            Phase::Inside if self.is_ack_due || self.is_doubtful || self.holding.is_empty() => Some(Beat::Full),
            Phase::Settling { .. } if self.is_doubtful => Some(Beat::Full),
            Phase::Inside | Phase::Settling { .. } => Some(Beat::KeepAlive),
            Phase::Replacing => Some(Beat::Farewell),
            Phase::Expired { .. } | Phase::Leaving { .. } if self.is_registered => Some(Beat::Farewell),
            _ => None,
        }
    }

    /// Whether the coordinator is needed.
    pub(super) fn wants_to_send(&self) -> bool {
        self.beat().is_some()
    }

    /// When the next heartbeat can be sent, if only time is missing.
    pub(super) fn send_at(&self) -> Option<Duration> {
        let is_idle = self.flight.is_none() && self.coordinator.is_found();
        let due = if self.is_ack_due { Duration::ZERO } else { self.next_beat };
        (is_idle && self.wants_to_send()).then_some(due)
    }

    /// Sends what is due, unless a heartbeat is in flight.
    pub(super) fn send(&mut self, now: Now, out: &mut Vec<Effect>) {
        let Some(beat) = self.beat() else { return };
        let is_due = self.is_ack_due || now.at >= self.next_beat || beat == Beat::Farewell;
        if self.flight.is_some() || !is_due || !self.coordinator.is_ready(now) {
            return;
        }
        self.last_tag = self.last_tag.saturating_add(1);
        let tag = Tag(self.last_tag);
        let flight = Flight { tag, life: self.life, beat, sent: now.at, releases: self.releases };
        self.flight = Some(flight);
        self.is_registered |= beat == Beat::Join;
        if beat == Beat::Full {
            self.is_ack_due = false;
        }
        let call = Call::ConsumerHeartbeat(self.request(beat));
        // Three tries fit into a session.
        let within = self.settings.request_timeout.min(self.settings.session_timeout / 3);
        out.push(Effect::Send { tag, lane: Lane::Heartbeat, call, within });
    }

    fn request(&self, beat: Beat) -> ConsumerGroupHeartbeatRequest {
        let settings = &self.settings;
        let mut request = ConsumerGroupHeartbeatRequest {
            group_id: settings.group.clone(),
            member_id: self.member_id.clone(),
            instance_id: settings.instance_id.clone(),
            ..Default::default()
        };
        request.member_epoch = match beat {
            Beat::Join => 0,
            Beat::Full | Beat::KeepAlive => self.epoch,
            Beat::Probe => -2,
            Beat::Farewell if settings.is_static() && self.phase != Phase::Replacing => -2,
            Beat::Farewell => -1,
        };
        if matches!(beat, Beat::Join | Beat::Full) {
            request.rebalance_timeout_ms = i32::try_from(settings.rebalance_timeout.as_millis()).unwrap_or(i32::MAX);
            request.subscribed_topic_names = Some(settings.topics.iter().map(|topic| topic.to_string()).collect());
            request.server_assignor.clone_from(&settings.server_assignor);
            // At a join nothing is held.
            request.topic_partitions = Some(owned(&self.holding.partitions()));
        }
        if beat == Beat::Join {
            request.rack_id.clone_from(&settings.rack);
        }
        request
    }

    /// An answer came.
    pub(super) fn answered(&mut self, now: Now, tag: Tag, answer: Answer, out: &mut Vec<Effect>) {
        let Answer::ConsumerHeartbeat(answer) = answer else { return self.failed(now, tag) };
        let Some(flight) = self.flight.take_if(|flight| flight.tag == tag) else { return };
        let error = KafkaError::from_code(answer.error_code);
        match (flight.beat, error) {
            (Beat::Farewell, _) => self.said_farewell(),
            _ if flight.life != self.life => {}
            (Beat::Probe, error) => self.probed(now, error),
            (_, None) => self.accept(now, &flight, answer, out),
            (beat, Some(error)) => self.refused(now, beat, error, answer.error_message.unwrap_or_default(), out),
        }
    }

    /// No answer will come, and what the coordinator made of the request is unknown.
    pub(super) fn failed(&mut self, now: Now, tag: Tag) {
        let Some(flight) = self.flight.take_if(|flight| flight.tag == tag) else { return };
        self.coordinator.lost(now);
        if flight.beat == Beat::Farewell {
            return self.said_farewell();
        }
        if flight.life == self.life {
            self.is_doubtful = true;
            self.next_beat = now.at;
        }
        if flight.beat == Beat::Join {
            // If the lasting name is in our way from now on, that may be by this request.
            self.held_up_since = None;
        }
    }

    fn accept(&mut self, now: Now, flight: &Flight, answer: ConsumerGroupHeartbeatResponse, out: &mut Vec<Effect>) {
        self.set_interval(answer.heartbeat_interval_ms);
        if answer.member_epoch <= 0 || answer.member_epoch < self.epoch {
            let detail = format!("epoch {} after {}", answer.member_epoch, self.epoch);
            self.warn(Cause::Senseless, None, detail, out);
            self.is_doubtful = true;
            self.next_beat = now.at.saturating_add(self.interval);
            return;
        }
        self.proven_at = flight.sent;
        self.coordinator.succeeded();
        self.fences = 0;
        self.held_up_since = None;
        self.told.retain(|(cause, _)| *cause == Cause::Senseless);
        self.is_doubtful = false;
        self.has_been_in = true;
        self.epoch = answer.member_epoch;
        if flight.beat != Beat::KeepAlive {
            self.confirmed_releases = flight.releases;
        }
        if let Some(assignment) = answer.assignment {
            self.target = Target::new(assignment);
        }
        if self.phase == Phase::Joining {
            self.phase = Phase::Inside;
        }
        self.next_beat = now.at.saturating_add(self.wait());
    }

    fn set_interval(&mut self, millis: i32) {
        if let Some(millis) = u64::try_from(millis).ok().filter(|millis| *millis > 0) {
            // A heartbeat that is lost must not cost the session.
            let most = (self.settings.session_timeout / 3).max(LEAST_INTERVAL);
            self.interval = Duration::from_millis(millis).clamp(LEAST_INTERVAL, most);
        }
    }

    /// Until the next heartbeat: the interval, or less while nothing is held.
    fn wait(&mut self) -> Duration {
        if !self.holding.is_empty() || !self.target.is_empty() {
            self.idle_beats = 0;
            return self.interval;
        }
        let early = FIRST_IDLE_BEAT.saturating_mul(1 << self.idle_beats.min(16));
        self.idle_beats = self.idle_beats.saturating_add(1);
        early.min(self.interval)
    }

    fn refused(&mut self, now: Now, beat: Beat, error: KafkaError, told: String, out: &mut Vec<Effect>) {
        let standing = match beat {
            Beat::Join if self.has_been_in => Standing::Rejoining,
            Beat::Join => Standing::First,
            _ => Standing::Inside,
        };
        self.is_doubtful = true;
        self.next_beat = now.at;
        match reaction(error, standing, self.settings.is_static()) {
            Reaction::Again(cause) => {
                self.coordinator.hold(now);
                if let Some(cause) = cause {
                    self.warn(cause, Some(error), told, out);
                }
            }
            Reaction::Elsewhere => self.coordinator.moved(now),
            Reaction::Later(cause) => {
                self.warn(cause, Some(error), told, out);
                self.next_beat = now.at.saturating_add(self.interval);
            }
            Reaction::Fenced => self.fenced(now, out),
            Reaction::Unknown => {
                self.rename();
                self.lose_and_go(now, Phase::Joining, out);
            }
            Reaction::GroupGone => {
                self.is_registered = false;
                self.lose_and_go(now, Phase::Joining, out);
            }
            Reaction::InstanceHeld => self.held_up(now, error, told, out),
            Reaction::Full if self.coordinator.failures() >= FULL_TRIES => {
                self.fail(Cause::Full, Some(error), told, out);
            }
            Reaction::Full => {
                self.coordinator.hold(now);
                self.warn(Cause::Full, Some(error), told, out);
            }
            Reaction::NotOffered => self.not_offered(error, told, out),
            Reaction::Fatal(cause) => {
                self.is_registered &= cause != Cause::InstanceTaken;
                self.fail(cause, Some(error), told, out);
            }
        }
    }

    fn not_offered(&mut self, error: KafkaError, told: String, out: &mut Vec<Effect>) {
        self.is_registered = false;
        match self.settings.fallback {
            Fallback::Refused => self.fail(Cause::NotOffered, Some(error), told, out),
            // A member that is asked to leave has nothing to fall back for.
            Fallback::Classic if self.phase == Phase::Joining => {
                self.phase = Phase::Ended;
                out.push(Effect::FallBack);
            }
            Fallback::Classic => {}
        }
    }

    /// The lasting name is taken: perhaps by a join of ours whose answer was lost, by a process that crashed, or by a
    /// live one. The last two look the same until the crashed one's session has ended.
    fn held_up(&mut self, now: Now, error: KafkaError, told: String, out: &mut Vec<Effect>) {
        let since = *self.held_up_since.get_or_insert(now.at);
        let patience = self.settings.session_timeout.saturating_add(NAME_MARGIN);
        if now.at >= since.saturating_add(patience) {
            self.is_registered = false;
            return self.fail(Cause::InstanceTaken, Some(error), told, out);
        }
        self.warn(Cause::InstanceHeld, Some(error), told, out);
        match self.phase {
            Phase::Joining => self.phase = Phase::Probing,
            _ => self.coordinator.hold(now),
        }
    }

    /// The probe was answered. Without an error the name was ours, and now it is free; else it is waited for.
    fn probed(&mut self, now: Now, error: Option<KafkaError>) {
        match error {
            Some(moved) if moved.needs_coordinator() => self.coordinator.moved(now),
            _ => self.coordinator.hold(now),
        }
        if error.is_none() {
            self.held_up_since = None;
        }
        if self.phase == Phase::Probing {
            self.phase = Phase::Joining;
        }
        self.next_beat = now.at;
    }
}

fn owned(partitions: &Partitions) -> Vec<TopicPartitions> {
    let mut owned = Vec::<TopicPartitions>::new();
    for partition in partitions {
        match owned.last_mut().filter(|last| last.topic_id == partition.topic.id) {
            Some(last) => last.partitions.push(partition.number),
            None => {
                owned.push(TopicPartitions { topic_id: partition.topic.id, partitions: vec![partition.number] });
            }
        }
    }
    owned
}
