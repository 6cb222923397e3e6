//! Which broker is asked for a partition.

use std::sync::Arc;

use futures::FutureExt;
use litemap::LiteMap;

use super::super::fetch::prefetch::Prefetch;
use super::super::fetch::task::FetchTask;
use super::super::fetch::{Flow, Stretch, Target, Targets};
use super::slot::{Slot, Standing};
use super::{Done, Fetcher, Reader};
use crate::cluster::{Leader, TopicState};
use crate::place::TopicPartition;

impl Reader {
    /// Looks for partitions whose leader is another one by now, for those that had none, and for those that have none now.
    pub(super) fn follow_leaders(&mut self) {
        let moved = |slot: &Slot, leader: Leader| match slot.standing {
            Standing::At { node, leader_epoch } => node != leader.node || leader_epoch != leader.epoch,
            Standing::Homeless => true,
            Standing::Starting | Standing::Checking | Standing::Stopped => false,
        };
        let slots = self.slots.iter();
        let moved: Vec<i32> = slots
            .filter(|(partition, slot)| match self.leader(slot, **partition) {
                Some(leader) => moved(slot, leader),
                None => slot.node().is_some() && self.is_leaderless(slot, **partition),
            })
            .map(|(partition, _)| *partition)
            .collect();
        for partition in moved {
            self.place(partition);
        }
        // The refresher spaces what is demanded, so this is no flood while a leader is away.
        if self.slots.values().any(|slot| slot.standing == Standing::Homeless) {
            self.around.cluster.refresh();
        }
    }

    /// The leader of this very topic's partition: a topic made anew under its name is another one.
    fn leader(&self, slot: &Slot, partition: i32) -> Option<Leader> {
        match self.views.borrow().topic(&slot.topic.name)? {
            TopicState::Known(topic) if topic.id == slot.topic.id => topic.leader(partition),
            TopicState::Known(_) | TopicState::Failed(_) => None,
        }
    }

    /// Whether the metadata has the partition, and nobody leads it. An answer that does not tell of the topic says neither.
    fn is_leaderless(&self, slot: &Slot, partition: i32) -> bool {
        let views = self.views.borrow();
        let Some(TopicState::Known(topic)) = views.topic(&slot.topic.name) else { return false };
        topic.id == slot.topic.id && partition < topic.partition_count() && topic.leader(partition).is_none()
    }

    /// Finds a partition's leader; if records were read before, its log is compared first (KIP-320).
    pub(super) fn place(&mut self, partition: i32) {
        self.release(partition);
        let Some(slot) = self.slots.get(&partition) else { return };
        let (topic, next, epoch) = (slot.topic.clone(), slot.next, slot.epoch);
        let Some(leader) = self.leader(slot, partition) else {
            self.set_standing(partition, Standing::Homeless);
            self.around.cluster.mark_stale(&TopicPartition::new(topic.name, partition));
            return;
        };
        if epoch < 0 || epoch == leader.epoch {
            self.settle_at(partition, leader);
            return;
        }
        let stretch = self.set_standing(partition, Standing::Checking);
        let starter = self.starter.clone();
        let check = async move {
            let outcome = starter.validate_one(&topic, partition, next, epoch).await;
            Done::Checked { partition, stretch, outcome }
        };
        self.jobs.push(check.boxed());
    }

    /// Has a partition fetched from its leader.
    pub(super) fn place_checked(&mut self, partition: i32) {
        let leader = self.slots.get(&partition).and_then(|slot| self.leader(slot, partition));
        match leader {
            Some(leader) => self.settle_at(partition, leader),
            None => self.place(partition),
        }
    }

    fn settle_at(&mut self, partition: i32, leader: Leader) {
        self.set_standing(partition, Standing::At { node: leader.node, leader_epoch: leader.epoch });
        self.retarget(partition);
    }

    /// Changes a partition's standing under a stretch of its own, so that what is under way for the old one is dropped.
    pub(super) fn set_standing(&mut self, partition: i32, standing: Standing) -> Stretch {
        self.last_stretch = self.last_stretch.saturating_add(1);
        let stretch = Stretch(self.last_stretch);
        if let Some(slot) = self.slots.get_mut(&partition) {
            slot.stretch = stretch;
            slot.standing = standing;
        }
        stretch
    }

    /// Tells the broker's task where the partition is to be read from.
    pub(super) fn retarget(&mut self, partition: i32) {
        let Some((node, leader_epoch)) = self.slots.get(&partition).and_then(|slot| match slot.standing {
            Standing::At { node, leader_epoch } => Some((node, leader_epoch)),
            Standing::Starting | Standing::Checking | Standing::Homeless | Standing::Stopped => None,
        }) else {
            return;
        };
        let stretch = self.set_standing(partition, Standing::At { node, leader_epoch });
        let targets = self.fetcher(node);
        let Some(slot) = self.slots.get(&partition) else { return };
        let flow = if self.paused || slot.stalled { Flow::Paused } else { Flow::On };
        let target = Target { topic: slot.topic.id, stretch, from: slot.next, leader_epoch, flow };
        targets.change(|targets| targets.insert(partition, target));
        self.share_prefetch();
    }

    /// Takes a partition away from the broker that it is fetched from. What came of it is still handed on.
    pub(super) fn release(&mut self, partition: i32) {
        let node = self.slots.get(&partition).and_then(Slot::node);
        if let Some(fetcher) = node.and_then(|node| self.fetchers.get(&node)) {
            fetcher.targets.change(|targets| targets.remove(&partition));
            self.share_prefetch();
        }
    }

    /// Tells the tasks which partitions are to be left out.
    pub(super) fn reflow(&mut self) {
        let paused = self.paused;
        for (partition, slot) in &self.slots {
            let Some(fetcher) = slot.node().and_then(|node| self.fetchers.get(&node)) else { continue };
            let flow = if paused || slot.stalled { Flow::Paused } else { Flow::On };
            fetcher.targets.change(|targets| {
                if let Some(target) = targets.get_mut(partition) {
                    target.flow = flow;
                }
            });
        }
    }

    fn fetcher(&mut self, node: i32) -> Arc<Targets> {
        if let Some(fetcher) = self.fetchers.get(&node) {
            return fetcher.targets.clone();
        }
        let targets = Arc::new(Targets::default());
        let prefetch = Arc::new(Prefetch::new(self.around.config.fetch.prefetch_bytes));
        let task = FetchTask {
            node,
            cluster: self.around.cluster.clone(),
            topic: self.around.topic.clone(),
            config: self.around.config.fetch.clone(),
            isolation: self.around.config.isolation,
            request_timeout: self.around.request_timeout,
            backoff: self.around.config.backoff,
            targets: targets.clone(),
            prefetch: prefetch.clone(),
            events: self.sender.clone(),
        };
        self.tasks.spawn(task.run(self.tasks.stop_signal()));
        self.fetchers.insert(node, Fetcher { targets: targets.clone(), prefetch });
        targets
    }

    /// Brokers that lead partitions of ours share the room for what is read ahead (G5).
    fn share_prefetch(&self) {
        let mut led: LiteMap<i32, usize> = LiteMap::new();
        for node in self.slots.values().filter_map(Slot::node) {
            *led.entry(node).or_default() += 1;
        }
        let share = self.around.config.fetch.prefetch_bytes / led.len().max(1);
        for (node, fetcher) in &self.fetchers {
            fetcher.prefetch.set_limit(if led.contains_key(node) { share } else { 0 });
        }
    }
}
