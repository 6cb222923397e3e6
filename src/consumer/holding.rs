//! What a run does about partitions that take nothing more: paused, stopped, or behind an open breaker.

use super::builder::End;
use super::control::{Concern, Wish, Wishes};
use super::run::{Ending, Run};
use crate::Error;
use crate::error::told;

impl Run {
    /// Hands out nothing while somebody paused the consumer, and says so.
    pub(super) fn hold(&mut self, wishes: &Wishes) {
        let paused = wishes.wish == Wish::Pause;
        self.dispatch.set_holding(paused);
        self.dispatch.set_held(&wishes.held);
        for partition in self.control.take_overridden() {
            self.dispatch.overridden(partition);
        }
        if paused {
            tracing::warn!("the consumer is paused: nothing is read until it is resumed");
            self.control.concern(Concern::Paused, "the consumer is paused: `Control::resume` lets it go on");
        } else if !wishes.held.is_empty() {
            let sentence = format!("paused partitions: {:?}; `orders resume` lets them go on", wishes.held);
            self.control.concern(Concern::Paused, sentence);
        } else {
            self.control.relieve(Concern::Paused);
        }
    }

    /// So many records of a partition fail that it takes no more. It goes on by itself, unless the run is to reach all ends.
    pub(super) fn tripped(&mut self, partition: i32, error: Error) -> Option<Ending> {
        let reason = told(&error);
        tracing::error!(partition, reason, "a partition has stopped");
        self.control.concern(Concern::Breaker(partition), format!("partition {partition} has stopped: {reason}"));
        (self.end == End::AtStartsEnd).then_some(Ending::Failed(error))
    }

    /// A partition cannot go on. The others do, unless the run is to reach all ends.
    pub(super) fn stopped(&mut self, partition: i32, error: Error) -> Option<Ending> {
        let reason = told(&error);
        tracing::error!(partition, reason, "a partition stops");
        self.control.concern(Concern::Partition(partition), format!("partition {partition} has stopped: {reason}"));
        (self.end == End::AtStartsEnd).then_some(Ending::Failed(error))
    }
}
