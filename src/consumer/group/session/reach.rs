//! Whether the coordinator is heard, as people are told of it.
//!
//! A membership outlives a coordinator that is away for a while, so this is news for health, not for the machine. A failure
//! is told at once; heartbeats that nobody answers, or that are answered by one who is no coordinator, after [`PATIENCE`].
//!
//! ```text
//!  heard --request failed, coordinator not found--> troubled --answer--> heard
//!    '-----heartbeat without a good answer for 7 s-----^
//! ```

use std::time::Duration;

use tokio::time::Instant;

use super::super::member::{Event, Lane, Silence};
use super::super::message::Answer;
use crate::wire::kafka_error::KafkaError;

/// How long a heartbeat may stay without a good answer before it is told.
const PATIENCE: Duration = Duration::from_secs(7);

/// What is known of the way to one group's coordinator.
#[derive(Debug)]
pub(super) struct Reach {
    group: String,
    is_troubled: bool,
    /// When the first heartbeat left that has had no good answer.
    unanswered: Option<Instant>,
}

/// What is to be told.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// It is not heard, because of this.
    Trouble(String),
    /// It is heard again.
    Heard,
}

impl Reach {
    pub(super) fn new(group: &str) -> Self {
        Self { group: group.to_owned(), is_troubled: false, unanswered: None }
    }

    /// A request leaves. One on the join's connection may wait for the other members as long as they like.
    pub(super) fn sent(&mut self, lane: Lane, now: Instant) {
        if lane == Lane::Heartbeat && self.unanswered.is_none() {
            self.unanswered = Some(now);
        }
    }

    /// When [`Reach::late`] is to be called.
    pub(super) fn due(&self) -> Option<Instant> {
        self.unanswered.filter(|_| !self.is_troubled).map(|since| since + PATIENCE)
    }

    /// Nothing good has come of the heartbeats for too long.
    pub(super) fn late(&mut self) -> Option<Told> {
        let seconds = PATIENCE.as_secs();
        self.trouble(|group| {
            format!(
                "no heartbeat to the coordinator of group {group} has succeeded for {seconds} s; see whether the brokers that keep \
                 __consumer_offsets answer"
            )
        })
    }

    /// Takes into account what the session learns.
    pub(super) fn take(&mut self, event: &Event) -> Option<Told> {
        match event {
            Event::Answered { answer, .. } if is_coordinator(answer) => {
                self.unanswered = None;
                std::mem::take(&mut self.is_troubled).then_some(Told::Heard)
            }
            // Nobody was asked.
            Event::Failed { silence: Silence::Withheld, .. } => {
                self.unanswered = None;
                None
            }
            Event::Failed { silence, .. } => self.trouble(|group| {
                format!("the coordinator of group {group} does not answer ({silence:?}); see the broker that leads it")
            }),
            Event::CoordinatorLost { .. } => self.trouble(|group| {
                format!(
                    "the coordinator of group {group} cannot be found; it is looked for again: see whether a broker keeps \
                     __consumer_offsets"
                )
            }),
            _ => None,
        }
    }

    fn trouble(&mut self, sentence: impl FnOnce(&str) -> String) -> Option<Told> {
        let is_new = !std::mem::replace(&mut self.is_troubled, true);
        is_new.then(|| Told::Trouble(sentence(&self.group)))
    }
}

/// Whether an answer is one of the group's coordinator, be it a refusal.
fn is_coordinator(answer: &Answer) -> bool {
    let code = match answer {
        Answer::ConsumerHeartbeat(answer) => answer.error_code,
        Answer::Join(answer) => answer.error_code,
        Answer::Sync(answer) => answer.error_code,
        Answer::Heartbeat(answer) => answer.error_code,
        Answer::Leave(answer) => answer.error_code,
    };
    let away = |error: KafkaError| error.needs_coordinator() || error == KafkaError::CoordinatorLoadInProgress;
    !KafkaError::from_code(code).is_some_and(away)
}

#[cfg(test)]
mod tests {
    use super::super::super::member::Tag;
    use super::*;
    use crate::wire::message::{ConsumerGroupHeartbeatResponse, HeartbeatResponse};

    fn answered(error: Option<KafkaError>) -> Event {
        let error_code = error.map_or(0, KafkaError::code);
        let answer = Answer::ConsumerHeartbeat(ConsumerGroupHeartbeatResponse { error_code, ..Default::default() });
        Event::Answered { tag: Tag(1), answer }
    }

    fn words(told: Option<Told>) -> String {
        match told {
            Some(Told::Trouble(words)) => words,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_is_told_at_once_and_once_and_its_end_too() {
        let mut reach = Reach::new("shipping");
        let failed = Event::Failed { tag: Tag(1), silence: Silence::TimedOut };
        assert!(words(reach.take(&failed)).contains("coordinator of group shipping does not answer"));
        assert_eq!(reach.take(&failed), None);
        assert_eq!(reach.take(&Event::CoordinatorLost { error: None }), None);
        assert_eq!(reach.take(&answered(None)), Some(Told::Heard));
        assert_eq!(reach.take(&answered(None)), None);
        assert!(words(reach.take(&Event::CoordinatorLost { error: None })).contains("cannot be found"));
    }

    #[tokio::test(start_paused = true)]
    async fn heartbeats_without_a_good_answer_are_told_seven_seconds_after_the_first() {
        let (mut reach, begun) = (Reach::new("shipping"), Instant::now());
        reach.sent(Lane::Join, begun);
        assert_eq!(reach.due(), None);
        reach.sent(Lane::Heartbeat, begun);
        reach.sent(Lane::Heartbeat, begun + Duration::from_secs(3));
        assert_eq!(reach.take(&answered(Some(KafkaError::NotCoordinator))), None);
        assert_eq!(reach.due(), Some(begun + Duration::from_secs(7)));
        assert!(words(reach.late()).contains("no heartbeat"));
        assert_eq!((reach.due(), reach.take(&answered(Some(KafkaError::NotCoordinator)))), (None, None));
        assert_eq!(reach.take(&answered(Some(KafkaError::FencedMemberEpoch))), Some(Told::Heard));
        assert_eq!(reach.due(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_join_that_was_withheld_says_nothing_of_the_coordinator() {
        let (mut reach, now) = (Reach::new("shipping"), Instant::now());
        reach.sent(Lane::Heartbeat, now);
        assert_eq!(reach.take(&Event::Failed { tag: Tag(1), silence: Silence::Withheld }), None);
        assert_eq!(reach.due(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_rebalance_is_no_trouble() {
        let (mut reach, now) = (Reach::new("shipping"), Instant::now());
        reach.sent(Lane::Heartbeat, now);
        let error_code = KafkaError::RebalanceInProgress.code();
        let answer = Answer::Heartbeat(HeartbeatResponse { error_code, ..Default::default() });
        assert_eq!((reach.take(&Event::Answered { tag: Tag(1), answer }), reach.due()), (None, None));
    }
}
