//! The simulated network: requests and answers that are late, lost, or come twice.
//!
//! What is sent on one connection arrives in its order, until the connection breaks. What a broken connection still held
//! may come later than what the next one brings, with two exceptions. A commit does not, or none could be the last. Nor
//! does a KIP-848 heartbeat: the protocol cannot tell a full one of the previous epoch that was on its way from a fresh
//! one (the coordinator takes its empty list for a release); what guards the effects then is the store's compare-and-set.

use std::collections::BTreeMap;
use std::time::Duration;

use super::coordinator::{Address, refused};
use super::process::{Flying, index};
use super::world::{Fate, Happening, Refused, World};
use crate::consumer::group::member::{Credentials, Event, Lane, Silence, Tag};
use crate::consumer::group::message::{Answer, Call};
use crate::wire::kafka_error::KafkaError;

/// How long a commit's answer is waited for.
const COMMIT_WITHIN: Duration = Duration::from_secs(2);

/// What is sent now.
enum Way {
    Arrives(Duration, Fate),
    Lost,
}

impl World {
    fn is_bad(&self) -> bool {
        self.now < self.bad_until
    }

    pub(super) fn latency(&mut self) -> Duration {
        if self.is_bad() && self.chance(0.15) { self.millis(100..=4000) } else { self.millis(1..=15) }
    }

    fn way(&mut self, who: usize, lane: Lane) -> Way {
        let latency = self.latency();
        let arrival = &mut self.processes[who].arrivals[index(lane)];
        *arrival = (self.now + latency).max(*arrival + Duration::from_micros(1));
        let at = *arrival;
        if !self.is_bad() {
            return Way::Arrives(at, Fate::Comes);
        }
        match self.random.f64() {
            lost if lost < 0.1 => Way::Lost,
            lost if lost < 0.2 => Way::Arrives(at, Fate::Lost),
            twice if twice < 0.3 => Way::Arrives(at, Fate::ComesTwice),
            _ => Way::Arrives(at, Fate::Comes),
        }
    }

    pub(super) fn send(&mut self, from: Address, lane: Lane, call: Call, within: Duration) {
        let (who, tag) = from;
        let node = self.processes[who].node;
        let flying = Flying { tag, call: call.clone() };
        if self.processes[who].requests[index(lane)].replace(flying).is_some() {
            self.breaks("one request on a connection", format!("{who} {call:?}"));
        }
        self.fail(from, within, Silence::TimedOut);
        let connection = self.processes[who].connections;
        match self.way(who, lane) {
            Way::Arrives(at, answer) => self.at(at, Happening::Arrives { from, lane, node, connection, call, answer }),
            Way::Lost => self.lose(from),
        }
    }

    /// A message is gone. Often the connection is seen to break; else only time tells.
    fn lose(&mut self, from: Address) {
        self.note(|| format!("#{} {:?} is lost", from.0, from.1));
        if self.chance(0.7) {
            let after = self.millis(1..=500);
            self.fail(from, after, Silence::Disconnected);
        }
    }

    pub(super) fn arrives(&mut self, from: Address, lane: Lane, node: u32, call: Call, fate: Fate) {
        if self.now < self.coordinator.down_until {
            let after = self.millis(1..=20);
            return self.fail(from, after, Silence::Disconnected);
        }
        self.note(|| format!("#{} {:?} {lane:?} arrives {fate:?}: {call:?}", from.0, from.1));
        let answers = match self.coordinator.refusal(self.now, node) {
            Some(error) => vec![(from, refused(&call, error))],
            None => self.coordinator.handle(self.now, from, call),
        };
        self.deliver(answers, fate);
    }

    pub(super) fn answer(&mut self, (who, tag): Address, answer: Answer, fate: Fate) {
        if fate == Fate::Lost {
            return self.lose((who, tag));
        }
        let event = Event::Answered { tag, answer };
        if fate == Fate::ComesTwice {
            let again = self.latency() + self.millis(0..=2000);
            self.after(again, Happening::Told { who, event: event.clone() });
        }
        let latency = self.latency();
        self.after(latency, Happening::Told { who, event });
    }

    /// All connections to the coordinator break.
    pub(super) fn break_connections(&mut self) {
        for from in self.coordinator.drop_waiting() {
            self.fail(from, Duration::from_millis(5), Silence::Disconnected);
        }
    }

    pub(super) fn send_commit(&mut self, who: usize, credentials: Credentials, offsets: BTreeMap<i32, i64>) {
        let process = &mut self.processes[who];
        process.commit_count += 1;
        let (serial, node, connection) = (process.commit_count, process.node, process.connections);
        process.committing = Some(serial);
        let silent = Happening::Committed { who, serial, offsets: offsets.clone(), outcome: Err(Refused::Silence) };
        self.after(COMMIT_WITHIN, silent);
        match self.way(who, Lane::Heartbeat) {
            Way::Arrives(at, answer) => {
                self.at(at, Happening::Commits { who, node, connection, serial, credentials, offsets, answer });
            }
            Way::Lost => {}
        }
    }

    pub(super) fn commit_arrives(
        &mut self,
        (who, serial): (usize, u64),
        node: u32,
        credentials: Credentials,
        offsets: BTreeMap<i32, i64>,
        fate: Fate,
    ) {
        if self.now < self.coordinator.down_until {
            return;
        }
        let outcome = match self.coordinator.refusal(self.now, node) {
            Some(error) => Err(error),
            None => self.coordinator.commit(self.now, &credentials, &offsets),
        };
        self.note(|| format!("#{who} commits {offsets:?} as {credentials:?}: {outcome:?}"));
        if let Ok(foreign) = &outcome
            && !foreign.is_empty()
        {
            self.breaks("only its owner commits a partition", format!("#{who} {credentials:?} {foreign:?}"));
        }
        self.arm_coordinator();
        if fate != Fate::Lost {
            let outcome = outcome.map(drop).map_err(|error| Refused::Error(credentials, error));
            let latency = self.latency();
            self.after(latency, Happening::Committed { who, serial, offsets, outcome });
        }
    }

    pub(super) fn look_for_coordinator(&mut self, who: usize) {
        let is_down = self.now < self.coordinator.down_until || (self.is_bad() && self.chance(0.2));
        if is_down {
            let error = Some(KafkaError::CoordinatorNotAvailable.code()).filter(|_| self.random.bool());
            return self.tell(who, Event::CoordinatorLost { error });
        }
        let is_stale = self.is_bad() && self.chance(0.1);
        self.processes[who].node = if is_stale { self.coordinator.node - 1 } else { self.coordinator.node };
        self.tell(who, Event::CoordinatorFound);
    }

    /// A connection that broke is made anew: what is sent next need not wait for what was sent before.
    pub(super) fn reconnect(&mut self, who: usize, tag: Tag) {
        let process = &mut self.processes[who];
        for (lane, request) in process.requests.iter().enumerate() {
            if request.as_ref().is_some_and(|flying| flying.tag == tag) {
                process.arrivals[lane] = self.now;
                process.connections += 1;
            }
        }
    }
}
