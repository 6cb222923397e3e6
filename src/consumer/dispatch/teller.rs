//! Telling of what is settled: the observer, the counts, the lag.

use std::marker::PhantomData;
use std::sync::{Arc, Mutex, PoisonError};

use super::super::builder::Observer;
use super::super::control::Control;
use super::super::{Settled, Summary};
use super::tales::{Audience, Told};
use crate::order::Order;
use crate::place::TopicPartition;
use crate::store::Outcome;

/// An observer of two consumers.
pub(crate) type SharedObserver<O> = Arc<Mutex<Observer<O>>>;

/// An observer that tells a shared one.
pub(crate) fn shared<O: Order>(observer: &SharedObserver<O>) -> Observer<O> {
    let observer = observer.clone();
    Box::new(move |settled| (observer.lock().unwrap_or_else(PoisonError::into_inner))(settled))
}

/// Tells of settled orders.
pub(crate) struct Teller<O> {
    observer: Option<Observer<O>>,
    control: Control,
    limit: Option<u64>,
    summary: Summary,
}

impl<O: Order> Teller<O> {
    /// Nothing told yet. With a limit, no more than that many records are to be settled.
    pub(crate) fn new(observer: Option<Observer<O>>, control: Control, limit: Option<u64>) -> Self {
        Self { observer, control, limit, summary: Summary::default() }
    }

    /// Has another teller tell the same observer.
    pub(crate) fn share_observer(&mut self) -> Option<SharedObserver<O>> {
        let observer = Arc::new(Mutex::new(self.observer.take()?));
        self.observer = Some(shared(&observer));
        Some(observer)
    }

    /// Whether anybody listens.
    pub(crate) fn audience(&self) -> Audience {
        if self.observer.is_some() { Audience::Observer } else { Audience::Nobody }
    }

    /// Counts an order that is settled.
    pub(crate) fn count(&mut self, outcome: &Outcome) {
        self.summary.count(outcome);
    }

    /// Counts orders that are applied.
    pub(crate) fn count_applied(&mut self, orders: u64) {
        self.summary.count_applied(orders);
    }

    /// Counts another try.
    pub(crate) fn count_retry(&mut self) {
        self.summary.retried = self.summary.retried.saturating_add(1);
    }

    /// Tells the observer of an order that is settled.
    pub(crate) fn tell(&mut self, at: &TopicPartition, record: &Told<'_>, outcome: &Outcome) {
        let Some(observer) = &mut self.observer else { return };
        let Told { offset, timestamp, key, value, identity } = *record;
        observer(&Settled { outcome, at, offset, timestamp, value, key, identity, order: PhantomData });
    }

    /// Publishes the counts.
    pub(crate) fn publish(&self) {
        self.control.set_summary(self.summary);
    }

    /// How many more records may be taken while `in_hand` are on their way.
    pub(crate) fn room(&self, in_hand: usize) -> usize {
        let Some(limit) = self.limit else { return usize::MAX };
        let left = limit.saturating_sub(self.summary.settled());
        usize::try_from(left).unwrap_or(usize::MAX).saturating_sub(in_hand)
    }

    /// Whether as many records are settled as were asked for.
    pub(crate) fn is_done(&self) -> bool {
        self.limit.is_some_and(|limit| self.summary.settled() >= limit)
    }

    /// The handle that watches.
    pub(crate) fn control(&self) -> &Control {
        &self.control
    }
}

/// A partition's name, shared by what is told of its records.
pub(crate) fn name(topic: &Arc<str>, partition: i32) -> TopicPartition {
    TopicPartition::new(topic.clone(), partition)
}
