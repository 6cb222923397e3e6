//! Everything before the dispatcher: which partitions, from which offset, from which broker.
//!
//! The reader owns the fetch tasks and follows the metadata. It hands on each partition's batches in
//! order and without a gap, whatever moves or fails below; what it cannot go on with, it stops and names.
//!
//! ```text
//!  Assigned --> Starting --position--> Checking --same log--> At(broker) --batches--> News
//!                  ^                      ^  ^                     |
//!                  +--restart             |  +----- refused -------+
//!                                         +------- leader moved ---+         any --> Stopped
//! ```

mod events;
mod membership;
mod placing;
mod slot;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use litemap::LiteMap;
use tokio::sync::{mpsc, watch};

pub(crate) use self::events::damaged;
use self::slot::{Slot, Standing};
use super::assignment::{Assignment, Incarnation};
use super::builder::End;
use super::config::ConsumerConfig;
use super::control::Control;
use super::fetch::prefetch::Prefetch;
use super::fetch::{Event, Fetched, Stretch, Targets};
use super::group::member;
use super::standstill::{About, Seen};
use super::start::{Outside, Started, Starter};
use crate::cluster::{Cluster, View};
use crate::shutdown::Tasks;
use crate::store::{Position, Topic};
use crate::{Error, Result};

/// How many events of fetch tasks may wait; their frames are bounded by [`Prefetch`].
const EVENTS: usize = 256;

/// What the reader tells the dispatcher.
#[derive(Debug)]
pub(crate) enum News {
    /// The group is joined.
    Joined,
    /// These are ours; each begins, or stops.
    Assigned { partitions: Vec<i32> },
    /// A partition is ours and begins here. What is known of an earlier assignment of it is void.
    Begun { topic: Topic, partition: i32, position: Position },
    /// The next batches of a partition.
    Fetched(Fetched),
    /// These are not ours any more, and nothing of them may be committed.
    Lost { incarnation: Incarnation, partitions: Vec<i32> },
    /// These are to be given up: settle what is in hand, commit, then say [`Reader::released`].
    Revoked { incarnation: Incarnation, partitions: Vec<i32> },
    /// A partition cannot go on.
    Stopped { partition: i32, error: Error },
    /// The group cannot be read from any more.
    Failed(Error),
    /// The group is left.
    Left,
}

/// What the reader works with.
pub(crate) struct Surroundings {
    pub(crate) cluster: Cluster,
    pub(crate) topic: Arc<str>,
    pub(crate) config: Arc<ConsumerConfig>,
    pub(crate) control: Control,
    pub(crate) end: End,
    pub(crate) request_timeout: Duration,
}

/// Reads the partitions that are assigned.
pub(crate) struct Reader {
    around: Surroundings,
    assignment: Assignment,
    starter: Arc<Starter>,
    slots: LiteMap<i32, Slot>,
    fetchers: LiteMap<i32, Fetcher>,
    jobs: FuturesUnordered<BoxFuture<'static, Done>>,
    views: watch::Receiver<Arc<View>>,
    events: mpsc::Receiver<Event>,
    sender: mpsc::Sender<Event>,
    news: VecDeque<News>,
    tasks: Tasks,
    last_stretch: u64,
    paused: bool,
    is_joined: bool,
    /// The group is left on purpose.
    is_leaving: bool,
    /// How many losses we have heard of; the member may know of more.
    losses: u64,
    /// How many attempts to begin partitions have failed in a row.
    start_failures: u32,
}

/// A task that fetches from one broker, by what it shares with us.
struct Fetcher {
    targets: Arc<Targets>,
    prefetch: Arc<Prefetch>,
}

/// What a job found out.
enum Done {
    Started { incarnation: Incarnation, end: End, started: LiteMap<i32, Started> },
    Checked { partition: i32, stretch: Stretch, outcome: Result<()> },
    Ranged { partition: i32, stretch: Stretch, outcome: Result<Outside> },
    Moved { partition: i32, stretch: Stretch, outcome: Result<Position> },
    Waited { partition: i32, stretch: Stretch },
}

impl Reader {
    pub(crate) fn new(around: Surroundings, assignment: Assignment, starter: Arc<Starter>) -> Self {
        let (sender, events) = mpsc::channel(EVENTS);
        let mut views = around.cluster.views();
        views.mark_changed();
        Self {
            around,
            assignment,
            starter,
            slots: LiteMap::new(),
            fetchers: LiteMap::new(),
            jobs: FuturesUnordered::new(),
            views,
            events,
            sender,
            news: VecDeque::new(),
            tasks: Tasks::new(),
            last_stretch: 0,
            paused: false,
            is_joined: false,
            is_leaving: false,
            losses: 0,
            start_failures: 0,
        }
    }

    /// The next news.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub(crate) async fn next(&mut self) -> News {
        loop {
            if let Some(news) = self.news.pop_front() {
                return news;
            }
            tokio::select! {
                Some(event) = self.events.recv() => self.heard(event),
                Some(done) = self.jobs.next(), if !self.jobs.is_empty() => self.finished(done),
                Ok(()) = self.views.changed() => self.observe(),
                event = self.assignment.next() => self.member(event),
            }
        }
    }

    /// Begins a partition anew from where its position says: somebody else moved it.
    pub(crate) fn restart(&mut self, partition: i32) {
        self.release(partition);
        self.drop_news(partition);
        #[cfg(test)]
        let before = self.slots.get(&partition).map(|slot| slot.stretch);
        self.set_standing(partition, Standing::Starting);
        #[cfg(test)]
        if let (Some(slot), Some(before), true) =
            (self.slots.get_mut(&partition), before, crate::plant::is(crate::plant::Plant::GapTaken))
        {
            slot.stretch = before;
        }
        let Some(slot) = self.slots.get(&partition) else { return };
        let (topic, incarnation, found) = (slot.topic.clone(), slot.incarnation, slot.found);
        self.begin(topic, incarnation, found, vec![partition], End::Never);
    }

    /// Stops a partition for good.
    pub(crate) fn stop(&mut self, partition: i32) {
        self.release(partition);
        self.drop_news(partition);
        self.set_standing(partition, Standing::Stopped);
    }

    /// Takes back what was handed on from `next` on: the dispatcher cannot hold it, and asks for it when it can.
    pub(crate) fn stall(&mut self, partition: i32, next: i64) {
        self.drop_news(partition);
        if let Some(slot) = self.slots.get_mut(&partition) {
            slot.next = next;
            slot.stalled = true;
        }
        self.retarget(partition);
    }

    /// The dispatcher takes more of a partition again.
    pub(crate) fn resume(&mut self, partition: i32) {
        if let Some(slot) = self.slots.get_mut(&partition) {
            slot.stalled = false;
        }
        self.reflow();
    }

    /// Leaves all partitions out of the fetches, or takes them in again.
    pub(crate) fn set_paused(&mut self, paused: bool) {
        self.paused = paused;
        self.reflow();
    }

    /// Asks to leave the group: what is held is revoked, then [`News::Left`] comes. Returns whether there is a group to
    /// leave.
    pub(crate) fn leave(&mut self, within: Duration) -> bool {
        self.is_leaving = true;
        self.assignment.leave(within)
    }

    /// Tells the membership something.
    pub(crate) fn say(&self, event: member::Event) {
        self.assignment.say(event);
    }

    /// Stops fetching; an answer under way is dropped.
    pub(crate) async fn stop_fetching(&mut self, within: Duration) {
        self.tasks.finish(within).await;
    }

    /// Ends everything, the membership too.
    pub(crate) async fn finish(&mut self, within: Duration) {
        tokio::join!(self.tasks.finish(within), self.assignment.finish(within));
    }

    /// What keeps partitions from being read.
    pub(crate) fn troubles(&self) -> Vec<Seen> {
        let slots = self.slots.iter().filter_map(|(partition, slot)| {
            let why = format!("partition {partition} of {} is not read: {}", slot.topic.name, slot.trouble()?);
            Some(Seen { about: About::Reading(*partition), mark: 0, allowed: Duration::ZERO, why })
        });
        let brokers = self.fetchers.iter().filter_map(|(node, fetcher)| {
            let mark = fetcher.targets.awaited()?;
            let why = format!("broker {node} does not answer a fetch; see whether it is reached and has work in hand");
            Some(Seen { about: About::Answer(*node), mark, allowed: self.around.config.fetch.max_wait, why })
        });
        slots.chain(brokers).collect()
    }

    fn drop_news(&mut self, partition: i32) {
        self.news.retain(|news| !matches!(news, News::Fetched(fetched) if fetched.partition == partition));
    }
}
