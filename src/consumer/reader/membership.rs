//! What the reader does about its place in the group.

use super::super::assignment::{Event, Found, Incarnation};
use super::super::builder::End;
use super::super::control::Concern;
use super::slot::{Slot, Standing};
use super::{News, Reader};
use crate::error::told;
use crate::store::Topic;
use crate::{Error, ErrorCode};

impl Reader {
    /// Joins the group: partitions come when the group gives them.
    pub(crate) fn join(&mut self, topic: &Topic, partitions: i32) {
        self.around.control.concern(Concern::Membership, "the group is being joined");
        self.assignment.begin(topic.id, partitions);
    }

    pub(super) fn member(&mut self, event: Event) {
        let control = &self.around.control;
        match event {
            Event::Assigned { topic, partitions, incarnation, found } => {
                self.assigned(topic, partitions, incarnation, found);
            }
            Event::Revoked { incarnation, partitions } => self.revoked(incarnation, partitions),
            Event::Lost { incarnation, partitions } => self.lost(incarnation, partitions),
            Event::Joined => {
                control.relieve(Concern::Membership);
                self.is_joined = true;
                self.news.push_back(News::Joined);
            }
            Event::Out if self.is_leaving => self.is_joined = false,
            Event::Out => {
                tracing::warn!(topic = %self.around.topic, "the consumer is not in its group: it joins again");
                control.concern(Concern::Membership, "the consumer is not in its group: it joins again");
                self.is_joined = false;
            }
            Event::Coordinator { trouble: Some(trouble) } => {
                tracing::warn!("{trouble}");
                control.concern(Concern::Coordinator, trouble);
            }
            Event::Coordinator { trouble: None } => control.relieve(Concern::Coordinator),
            Event::Claim { trouble } => self.claim(trouble),
            Event::Warned(error) => {
                let reason = told(&error);
                tracing::warn!("{reason}");
                if !self.is_joined {
                    control.concern(Concern::Membership, reason);
                }
            }
            Event::Failed(error) => self.news.push_back(News::Failed(error)),
            Event::Left => self.news.push_back(News::Left),
        }
    }

    /// Another store may have the group. It is looked at again before each join, unless the run is to end by itself, or
    /// the group cannot be looked at at all.
    fn claim(&mut self, trouble: Option<Error>) {
        let control = &self.around.control;
        let hopeless = |error: &Error| match error.code() {
            ErrorCode::StoreClaimed => self.around.end == End::AtStartsEnd,
            _ => !error.is_retriable(),
        };
        match trouble {
            None => control.relieve(Concern::Claim),
            Some(error) if hopeless(&error) => self.news.push_back(News::Failed(error)),
            Some(error) => {
                let reason = format!("the group is not joined: {}", told(&error));
                if !control.has(Concern::Claim) {
                    tracing::error!("{reason}");
                }
                control.concern(Concern::Claim, reason);
            }
        }
    }

    fn assigned(&mut self, topic: Topic, partitions: Vec<i32>, incarnation: Incarnation, found: Found) {
        tracing::info!(topic = %topic.name, id = %topic.id, ?partitions, ?found, "partitions are assigned");
        for partition in &partitions {
            self.slots.insert(*partition, Slot::new(topic.clone(), incarnation, found));
        }
        let end = if found == Found::AtStart { self.around.end } else { End::Never };
        self.news.push_back(News::Assigned { partitions: partitions.clone() });
        self.begin(topic, incarnation, found, partitions, end);
    }

    fn revoked(&mut self, incarnation: Incarnation, partitions: Vec<i32>) {
        tracing::info!(topic = %self.around.topic, ?partitions, "partitions are revoked");
        for partition in &partitions {
            self.release(*partition);
            self.drop_news(*partition);
            self.set_standing(*partition, Standing::Stopped);
            self.around.control.forget_partition(*partition);
        }
        self.news.push_back(News::Revoked { incarnation, partitions });
    }

    /// What was revoked is settled and committed: whoever waits for it may have it (rule R6).
    pub(crate) fn released(&mut self, incarnation: Incarnation, partitions: &[i32]) {
        self.slots.retain(|partition, slot| slot.incarnation != incarnation || !partitions.contains(partition));
        partitions.iter().for_each(|partition| self.around.control.forget_partition(*partition));
        self.assignment.released(incarnation, partitions);
    }

    fn lost(&mut self, incarnation: Incarnation, partitions: Vec<i32>) {
        self.losses = self.losses.saturating_add(1);
        tracing::warn!(topic = %self.around.topic, ?partitions, "partitions are lost: nothing of them is committed");
        for partition in &partitions {
            if self.slots.get(partition).is_some_and(|slot| slot.incarnation == incarnation) {
                self.release(*partition);
                self.drop_news(*partition);
                self.slots.remove(partition);
                self.around.control.forget_partition(*partition);
            }
        }
        self.news.push_back(News::Lost { incarnation, partitions });
    }

    /// Tells the group when the last partition of an assignment has begun.
    pub(super) fn tell_started(&mut self, incarnation: Incarnation) {
        let is_starting = |slot: &Slot| slot.incarnation == incarnation && slot.standing == Standing::Starting;
        if !self.slots.values().any(is_starting) {
            self.assignment.started(incarnation);
        }
    }
}
