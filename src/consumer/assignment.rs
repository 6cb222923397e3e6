//! Which partitions this consumer has, as a series of events.
//!
//! This is the seam for group membership. Whatever decides, it says so in [`Event`]s, and what the
//! consumer did about them goes back as [`Ack`]s. Each assignment is an incarnation (rule R9): what was
//! fetched, applied or committed under an older one is not taken for the newer one's.
//!
//! [`AllPartitions`] is the source without membership: the whole topic belongs to this process.
//!
//! ```text
//!  metadata --> Assignment::observe --> Event --> consumer
//!                    ^                               |
//!                    +-------------- Ack ------------+
//! ```

use serde::{Deserialize, Serialize};

use crate::place::TopicId;
use crate::store::Topic;

/// Counts assignments; never used twice in a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Incarnation(pub(crate) u64);

/// What changed in the assignment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Event {
    /// These partitions are ours from now on: read their positions, then fetch.
    Assigned { topic: Topic, partitions: Vec<i32>, incarnation: Incarnation, epoch: i32, found: Found },
    /// These are to be given up: finish what is in hand, commit, acknowledge (rule R6).
    Revoked { incarnation: Incarnation, partitions: Vec<i32> },
    /// These are gone: drop what is in hand, commit nothing (rule R7).
    Lost { incarnation: Incarnation, partitions: Vec<i32> },
}

/// When a partition came to be known, which decides where it begins without a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Found {
    /// It was there at the start: `auto.offset.reset` decides.
    AtStart,
    /// It was added or made anew while we ran: all its orders are new, so it begins at its first offset.
    Later,
}

/// What the consumer did about an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Ack {
    /// All partitions of this assignment are being fetched.
    Started(Incarnation),
    /// These revoked partitions are settled and committed.
    Released { incarnation: Incarnation, partitions: Vec<i32> },
}

/// What metadata say of the topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Seen {
    pub(crate) topic: Topic,
    pub(crate) partitions: i32,
}

/// Decides which partitions are ours.
pub(crate) trait Assignment: Send {
    /// Takes fresh metadata into account.
    fn observe(&mut self, seen: Seen) -> Vec<Event>;

    /// Learns what became of an event.
    fn acknowledge(&mut self, ack: Ack);
}

/// How many identities of deleted topics are remembered, so that a broker with old metadata does not bring one back.
const RETIRED: usize = 16;

/// The whole topic is ours.
#[derive(Debug, Default)]
pub(crate) struct AllPartitions {
    held: Option<Held>,
    retired: Vec<TopicId>,
    last: Incarnation,
}

#[derive(Debug)]
struct Held {
    topic: Topic,
    /// Runs of partitions with the incarnation that they came with, ascending.
    runs: Vec<(Incarnation, Vec<i32>)>,
    count: i32,
}

impl AllPartitions {
    fn assign(&mut self, topic: Topic, partitions: Vec<i32>, found: Found) -> Event {
        self.last = Incarnation(self.last.0.saturating_add(1));
        Event::Assigned { topic, partitions, incarnation: self.last, epoch: -1, found }
    }

    fn take(&mut self, seen: Seen, found: Found) -> Vec<Event> {
        let partitions: Vec<i32> = (0..seen.partitions).collect();
        if partitions.is_empty() {
            return Vec::new();
        }
        let event = self.assign(seen.topic.clone(), partitions.clone(), found);
        self.held = Some(Held { topic: seen.topic, runs: vec![(self.last, partitions)], count: seen.partitions });
        vec![event]
    }

    fn grow(&mut self, mut held: Held, seen: Seen) -> Vec<Event> {
        let added: Vec<i32> = (held.count..seen.partitions).collect();
        let mut events = Vec::new();
        if !added.is_empty() {
            events.push(self.assign(seen.topic, added.clone(), Found::Later));
            held.runs.push((self.last, added));
            held.count = seen.partitions;
        }
        self.held = Some(held);
        events
    }

    fn retire(&mut self, id: TopicId) {
        self.retired.push(id);
        let surplus = self.retired.len().saturating_sub(RETIRED);
        self.retired.drain(..surplus);
    }
}

impl Assignment for AllPartitions {
    fn observe(&mut self, seen: Seen) -> Vec<Event> {
        if self.retired.contains(&seen.topic.id) {
            return Vec::new();
        }
        match self.held.take() {
            None => self.take(seen, Found::AtStart),
            Some(held) if held.topic.id == seen.topic.id => self.grow(held, seen),
            Some(held) => {
                self.retire(held.topic.id);
                let lost = held.runs.into_iter();
                let mut events: Vec<_> =
                    lost.map(|(incarnation, partitions)| Event::Lost { incarnation, partitions }).collect();
                events.extend(self.take(seen, Found::Later));
                events
            }
        }
    }

    /// No coordinator waits for these answers.
    fn acknowledge(&mut self, _ack: Ack) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(id: u8, partitions: i32) -> Seen {
        Seen { topic: Topic::new(TopicId::new([id; 16]), "orders"), partitions }
    }

    fn assigned(event: &Event) -> (&[i32], u64, Found) {
        match event {
            Event::Assigned { partitions, incarnation, found, .. } => (partitions, incarnation.0, *found),
            other => panic!("not an assignment: {other:?}"),
        }
    }

    #[test]
    fn all_partitions_are_assigned_once_and_added_ones_begin_at_their_first_offset() {
        let mut source = AllPartitions::default();
        let events = source.observe(seen(1, 2));
        assert_eq!(assigned(&events[0]), (&[0, 1][..], 1, Found::AtStart));
        assert!(source.observe(seen(1, 2)).is_empty());
        let events = source.observe(seen(1, 4));
        assert_eq!(assigned(&events[0]), (&[2, 3][..], 2, Found::Later));
    }

    #[test]
    fn metadata_that_know_fewer_partitions_take_none_away() {
        let mut source = AllPartitions::default();
        source.observe(seen(1, 4));
        assert!(source.observe(seen(1, 2)).is_empty());
        assert!(source.observe(seen(1, 4)).is_empty());
    }

    #[test]
    fn a_topic_made_anew_is_another_topic_and_old_metadata_do_not_bring_the_old_one_back() {
        let mut source = AllPartitions::default();
        source.observe(seen(1, 1));
        source.observe(seen(1, 2));
        let events = source.observe(seen(2, 2));
        assert_eq!(events[0], Event::Lost { incarnation: Incarnation(1), partitions: vec![0] });
        assert_eq!(events[1], Event::Lost { incarnation: Incarnation(2), partitions: vec![1] });
        assert_eq!(assigned(&events[2]), (&[0, 1][..], 3, Found::Later));
        assert!(source.observe(seen(1, 2)).is_empty());
    }
}
