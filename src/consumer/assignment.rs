//! Which partitions of the topic this consumer has, as a series of events.
//!
//! The membership decides; here its news become the topic's. Each assignment is an incarnation (rule R9): what was
//! fetched, applied or committed under an older one is not taken for the newer one's.
//!
//! ```text
//!  Membership --> Assignment::next --> Event --> reader
//!       ^                                          |
//!       +---- started, released, leave ------------+
//! ```

use std::collections::VecDeque;
use std::time::Duration;

use super::group::member::{self, Partition, Partitions};
use super::group::session::{Membership, News, Session};
use crate::Error;
use crate::place::TopicId;
use crate::shutdown::Tasks;
use crate::store::Topic;

pub(crate) use super::group::member::Incarnation;

/// What changed in the assignment, or in the membership behind it.
#[derive(Debug)]
pub(crate) enum Event {
    /// These partitions are ours from now on: read their positions, then fetch.
    Assigned { topic: Topic, partitions: Vec<i32>, incarnation: Incarnation, found: Found },
    /// These are to be given up: finish what is in hand, commit, then say [`Assignment::released`] (rule R6).
    Revoked { incarnation: Incarnation, partitions: Vec<i32> },
    /// These are gone: drop what is in hand, commit nothing (rule R7).
    Lost { incarnation: Incarnation, partitions: Vec<i32> },
    /// The member is in the group.
    Joined,
    /// The member is not in the group any more.
    Out,
    /// The coordinator cannot be reached, or can again.
    Coordinator { trouble: Option<String> },
    /// The consumer may not work for the group, or may again.
    Claim { trouble: Option<Error> },
    /// Something that people should know.
    Warned(Error),
    /// The membership cannot go on.
    Failed(Error),
    /// The member has left.
    Left,
}

/// When a partition came to be known, which decides where it begins without a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Found {
    /// It was there at the start: `auto.offset.reset` decides.
    AtStart,
    /// It was added or made anew while we ran: all its orders are new, so it begins at its first offset.
    Later,
}

/// The assignment of one topic.
pub(crate) struct Assignment {
    membership: Membership,
    /// Until it runs.
    session: Option<Session>,
    tasks: Tasks,
    /// The topic as it was at the start.
    first: (TopicId, i32),
    /// What we have not given back.
    held: Vec<(Incarnation, Partition)>,
    events: VecDeque<Event>,
}

impl Assignment {
    /// The assignment that comes of this membership once it has begun.
    pub(crate) fn new(membership: Membership, session: Session) -> Self {
        Self {
            membership,
            session: Some(session),
            tasks: Tasks::new(),
            first: (TopicId::NONE, 0),
            held: Vec::new(),
            events: VecDeque::new(),
        }
    }

    /// Joins the group. The topic has this identity and so many partitions at the start.
    pub(crate) fn begin(&mut self, id: TopicId, partitions: i32) {
        if let Some(session) = self.session.take() {
            self.first = (id, partitions);
            self.tasks.spawn(session.run(self.tasks.stop_signal()));
        }
    }

    /// The next event. Before the membership begins, and after it has ended, there is none.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub(crate) async fn next(&mut self) -> Event {
        loop {
            if let Some(event) = self.events.pop_front() {
                return event;
            }
            match self.membership.next().await {
                Some(news) => self.heard(news),
                None => std::future::pending().await,
            }
        }
    }

    /// All partitions of this assignment have begun.
    pub(crate) fn started(&mut self, incarnation: Incarnation) {
        self.say(member::Event::Began { incarnation });
    }

    /// These revoked partitions are settled and committed.
    pub(crate) fn released(&mut self, incarnation: Incarnation, numbers: &[i32]) {
        let of =
            |(held, partition): &(Incarnation, Partition)| *held == incarnation && numbers.contains(&partition.number);
        let partitions: Partitions = self.held.iter().filter(|held| of(held)).map(|held| held.1.clone()).collect();
        self.held.retain(|held| !of(held));
        self.say(member::Event::Released { incarnation, partitions });
    }

    /// Asks to leave within this time: everything is revoked, then [`Event::Left`] comes. Returns whether there is
    /// anything to leave.
    pub(crate) fn leave(&mut self, within: Duration) -> bool {
        self.say(member::Event::Leave { within });
        self.session.is_none()
    }

    /// Tells the membership something.
    pub(crate) fn say(&self, event: member::Event) {
        self.membership.voice().say(event);
    }

    /// Ends the session, at most `within`.
    pub(crate) async fn finish(&mut self, within: Duration) {
        self.tasks.finish(within).await;
    }

    fn heard(&mut self, news: News) {
        let event = match news {
            News::Assigned { incarnation, partitions } => return self.assigned(incarnation, partitions),
            News::Revoked { incarnation, partitions } => {
                Event::Revoked { incarnation, partitions: numbers(&partitions) }
            }
            News::Lost { incarnation, partitions } => {
                self.held.retain(|(held, partition)| *held != incarnation || !partitions.contains(partition));
                Event::Lost { incarnation, partitions: numbers(&partitions) }
            }
            News::Joined => Event::Joined,
            News::Out => Event::Out,
            News::Coordinator { trouble } => Event::Coordinator { trouble },
            News::Claim { trouble } => Event::Claim { trouble },
            News::Warned(error) => Event::Warned(error),
            News::Failed(error) => Event::Failed(error),
            News::Left => Event::Left,
        };
        self.events.push_back(event);
    }

    fn assigned(&mut self, incarnation: Incarnation, partitions: Partitions) {
        let mut events: Vec<(Topic, Found, Vec<i32>)> = Vec::new();
        for partition in partitions {
            let topic = Topic::new(partition.topic.id, partition.topic.name.clone());
            let (id, count) = self.first;
            let found = if topic.id == id && partition.number < count { Found::AtStart } else { Found::Later };
            let same = |event: &&mut (Topic, Found, Vec<i32>)| event.0.id == topic.id && event.1 == found;
            match events.iter_mut().find(same) {
                Some((_, _, numbers)) => numbers.push(partition.number),
                None => events.push((topic, found, vec![partition.number])),
            }
            self.held.push((incarnation, partition));
        }
        let event = |(topic, found, partitions)| Event::Assigned { topic, partitions, incarnation, found };
        self.events.extend(events.into_iter().map(event));
    }
}

fn numbers(partitions: &Partitions) -> Vec<i32> {
    partitions.iter().map(|partition| partition.number).collect()
}
