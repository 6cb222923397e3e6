//! What follows from the store's answer.

use super::super::super::commit::{Committed, Note};
use super::super::super::control::{Concern, Lag};
use super::super::Step;
use super::super::contest::{CONFLICTS, contested};
use super::super::teller::name;
use super::{Flight, StoreDispatch};
use crate::error::told;
use crate::flight::Because;
use crate::order::Order;
use crate::place::Place;
use crate::store::{Applied, AppliedPart, Store};
use crate::{Error, ErrorCode, Result};

impl<O: Order, S: Store<O>> StoreDispatch<O, S> {
    pub(super) fn landed(&mut self, landed: Result<Applied>) {
        let Some(flight) = self.flight.take() else { return };
        match landed {
            Ok(applied) => self.applied(&flight, applied),
            Err(error) if error.code() == ErrorCode::StoreConflict => self.conflicted(&flight, &error),
            Err(error) if error.code() == ErrorCode::StoreFull => self.full(&flight, error),
            Err(error) if error.is_retriable() => self.failed(flight, &error),
            Err(error) => self.stopped(&flight, error),
        }
    }

    /// The store has stopped: only a person, or another process, leads out. What lies behind the group is not given to it,
    /// as a store that takes one transaction less would pass the group over.
    fn stopped(&mut self, flight: &Flight<O>, error: Error) {
        for partition in self.of(flight) {
            super::Dispatch::retire(self, partition);
        }
        self.steps.push_back(Step::Failed(error));
    }

    /// The partitions of a group that are still those that they were.
    fn of(&self, flight: &Flight<O>) -> Vec<i32> {
        let known = |partition: &i32| self.rows.get(partition).is_some_and(|row| flight.knows(*partition, row.life));
        flight.sealed.parts().map(|(part, _)| part.partition).filter(known).collect()
    }

    fn applied(&mut self, flight: &Flight<O>, applied: Applied) {
        self.teller.control().relieve(Concern::Store);
        for (part, (_, tales)) in applied.parts.iter().zip(flight.sealed.parts()) {
            part.outcomes.iter().for_each(|outcome| self.teller.count(outcome));
            let at = name(&flight.sealed.topic.name, part.partition);
            for (record, outcome) in tales.iter().zip(&part.outcomes) {
                self.teller.tell(&at, &record, outcome);
            }
            let timestamp = tales.last_timestamp();
            if let Some(row) = self.rows.get_mut(&part.partition)
                && flight.knows(part.partition, row.life)
            {
                row.settled_until = timestamp.or(row.settled_until);
            }
        }
        self.teller.publish();
        for part in applied.parts {
            self.moved(flight, part);
        }
    }

    /// Takes over a committed position, and has Kafka told of it (rule R10).
    fn moved(&mut self, flight: &Flight<O>, part: AppliedPart) {
        let partition = part.partition;
        let Some(row) = self.rows.get_mut(&partition).filter(|row| flight.knows(partition, row.life)) else { return };
        row.conflicts = 0;
        row.position = part.position;
        if let Some(position) = self.standing(partition) {
            self.committer.note(partition, position);
        }
        self.show_lag(partition);
    }

    /// Where a partition stands, as it is committed.
    pub(super) fn standing(&self, partition: i32) -> Option<Committed> {
        let row = self.rows.get(&partition)?;
        let (offset, leader_epoch, version) = (row.position.next, row.position.leader_epoch, row.position.version);
        let (name, tripped) = (self.store.identity().name.clone(), row.breaker.undecided());
        let topic = self.topic.as_ref().map(|topic| topic.id);
        let note = Note::Store { name, version, topic, tried: Vec::new(), tripped };
        Some(Committed { offset, leader_epoch, text: note.write(offset) })
    }

    pub(super) fn show_lag(&self, partition: i32) {
        let Some(row) = self.rows.get(&partition) else { return };
        let (position, end, settled_until) = (row.position.next, row.end, row.settled_until);
        self.teller.control().set_lag(Lag { partition, position, end, settled_until, seconds: None });
    }

    /// Nothing of the group is applied. Every part of it is read again from its row.
    fn conflicted(&mut self, flight: &Flight<O>, error: &Error) {
        tracing::warn!(error = told(error), "somebody else moved a position");
        self.teller.control().flights().trouble(Because::Fence);
        self.teller.count_retry();
        let named = error.place().partition;
        for partition in self.of(flight) {
            let Some(row) = self.rows.get_mut(&partition) else { continue };
            if named.is_none_or(|named| named == partition) {
                row.conflicts += 1;
            }
            let repeated = row.conflicts >= CONFLICTS;
            super::Dispatch::retire(self, partition);
            self.steps.push_back(match repeated {
                true => {
                    let at = Place::partition(&name(&flight.sealed.topic.name, partition));
                    Step::Stopped { partition, error: contested(at) }
                }
                false => Step::Restart { partition },
            });
        }
    }

    /// The dead letters have no room left. What cannot be recorded is not skipped (G2), so these partitions stop.
    fn full(&mut self, flight: &Flight<O>, error: Error) {
        let named = error.place().partition;
        let message = told(&error);
        for partition in self.of(flight) {
            super::Dispatch::retire(self, partition);
            if named.is_some_and(|named| named != partition) {
                self.steps.push_back(Step::Restart { partition });
                continue;
            }
            let at = Place::partition(&name(&flight.sealed.topic.name, partition));
            let error = Error::new(ErrorCode::StoreFull, message.clone()).at(at);
            self.steps.push_back(Step::Stopped { partition, error });
        }
    }

    /// Whether the group is committed is unknown. It is given to the store again, with the same tokens (rule R5).
    fn failed(&mut self, mut flight: Flight<O>, error: &Error) {
        let reason = told(error);
        tracing::warn!(reason, failures = flight.failures, "the store fails; the group is tried again");
        self.teller.control().concern(Concern::Store, format!("the store fails: {reason}"));
        self.teller.count_retry();
        self.teller.publish();
        flight.try_again(self.backoff.delay(flight.failures, fastrand::f64()));
        self.flight = Some(flight);
    }
}
