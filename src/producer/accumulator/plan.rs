//! Which batches go to a leader now, and when to look again.

use tokio::time::{Duration, Instant};

use super::{Accumulator, Partition, Traffic};
use crate::cluster::Node;
use crate::producer::batch::{Sealed, stamp};
use crate::producer::idempotence::{BatchId, Effect, Event, Number};
use crate::wire::record_batch::{BatchBuilder, ClosedBatch, ProducerStamp};

/// Requests that may be on the way to a leader while a batch that is not full follows them.
const SMALL_IN_FLIGHT: usize = 1;

/// A broker forgets a producer that has been silent for a day by default (`producer.id.expiration.ms`); one that has been
/// silent for this long is treated as perhaps forgotten, which costs one batch its company.
const REMEMBERED_FOR: Duration = Duration::from_secs(10 * 60);

/// The batches of one request.
#[derive(Debug)]
pub(in crate::producer) struct Shipment {
    pub(in crate::producer) parcels: Vec<Parcel>,
}

/// A batch in a request.
#[derive(Debug)]
pub(in crate::producer) struct Parcel {
    pub(in crate::producer) partition: i32,
    pub(in crate::producer) batch: BatchId,
    pub(in crate::producer) load: Load,
}

/// A batch's bytes, or what they are made of.
#[derive(Debug)]
pub(in crate::producer) enum Load {
    /// It is still to be closed under this stamp, and then kept ([`Accumulator::keep`]).
    Fresh(Box<BatchBuilder>, ProducerStamp),
    /// It was closed before.
    Again(ClosedBatch),
}

/// Whether a partition has a batch to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Readiness {
    /// Not now.
    No,
    /// If nothing else is on the way to the leader, or in somebody's company. Its size in bytes.
    Soon(usize),
    /// As soon as there is room.
    Now(usize),
}

impl Traffic {
    fn takes_requests(&self, most: usize, now: Instant) -> bool {
        self.in_flight < most && self.muted_until.is_none_or(|until| until <= now)
    }
}

impl Accumulator {
    /// The next request to this leader, if there is something to send and its window has room.
    pub(in crate::producer) fn plan(&mut self, node: Node, now: Instant) -> Option<Shipment> {
        let traffic = self.traffic.get(&node).copied().unwrap_or_default();
        if !traffic.takes_requests(self.settings.max_in_flight, now) || !self.has_cause(node, traffic, now) {
            return None;
        }
        let count = self.partitions.len();
        let mut parcels = Vec::new();
        let mut total = 0_usize;
        for number in (self.turn..count).chain(0..self.turn.min(count)) {
            let size = match self.readiness(number, node, now) {
                Readiness::No => continue,
                Readiness::Soon(size) | Readiness::Now(size) => size,
            };
            if !parcels.is_empty() && total.saturating_add(size) > self.settings.request_bytes {
                self.turn = number;
                break;
            }
            total = total.saturating_add(size);
            parcels.extend(self.load(number, node, now));
        }
        if parcels.is_empty() {
            return None;
        }
        self.traffic.entry(node).or_default().in_flight += 1;
        Some(Shipment { parcels })
    }

    /// Whether [`Accumulator::plan`] would give something if the connection were there.
    pub(in crate::producer) fn is_wanted(&self, node: Node, now: Instant) -> bool {
        let traffic = self.traffic.get(&node).copied().unwrap_or_default();
        traffic.takes_requests(self.settings.max_in_flight, now) && self.has_cause(node, traffic, now)
    }

    fn has_cause(&self, node: Node, traffic: Traffic, now: Instant) -> bool {
        let small = traffic.in_flight < SMALL_IN_FLIGHT;
        (0..self.partitions.len()).any(|number| match self.readiness(number, node, now) {
            Readiness::No => false,
            Readiness::Soon(_) => small,
            Readiness::Now(_) => true,
        })
    }

    fn readiness(&self, number: usize, node: Node, now: Instant) -> Readiness {
        let Some(partition) = self.partitions.get(number) else { return Readiness::No };
        if !partition.may_go_to(node, now) {
            return Readiness::No;
        }
        if let Some(batch) = partition.lane.waiting() {
            let size = partition.sealed(batch).and_then(|sealed| sealed.closed.as_ref()).map_or(0, ClosedBatch::len);
            return if partition.lane.may_send() { Readiness::Now(size) } else { Readiness::No };
        }
        let Some(filling) = partition.queue.front().filter(|_| partition.lane.may_admit()) else {
            return Readiness::No;
        };
        let size = filling.builder.len();
        if filling.full || filling.urgent || self.waiting > 0 {
            return Readiness::Now(size);
        }
        let is_due = filling.opened + self.settings.linger <= now;
        if is_due { Readiness::Soon(size) } else { Readiness::No }
    }

    /// Takes the batch that [`Accumulator::readiness`] found.
    fn load(&mut self, number: usize, node: Node, now: Instant) -> Option<Parcel> {
        let partition = self.partitions.get_mut(number)?;
        let parcel = if partition.lane.waiting().is_some() {
            partition.load_again(self.producer_id)?
        } else {
            let id = self.number_batch();
            let (producer_id, lifetime) = (self.producer_id, self.settings.delivery_timeout);
            self.partitions.get_mut(number)?.load_fresh(id, producer_id, lifetime, now)?
        };
        self.partitions.get_mut(number)?.flying_to = Some(node);
        Some(parcel)
    }

    /// Keeps a batch that was closed, for when it must be sent again.
    pub(in crate::producer) fn keep(&mut self, partition: i32, batch: BatchId, closed: ClosedBatch) {
        let partition = usize::try_from(partition).ok().and_then(|number| self.partitions.get_mut(number));
        if let Some(sealed) = partition.and_then(|partition| partition.sealed_mut(batch)) {
            sealed.closed = Some(closed);
        }
    }

    /// When this leader's sender must look again although nobody wakes it.
    pub(in crate::producer) fn next_look(&self, node: Node, now: Instant) -> Option<Instant> {
        let traffic = self.traffic.get(&node).copied().unwrap_or_default();
        let muted = traffic.muted_until.filter(|until| *until > now);
        let own = self.partitions.iter().filter(|partition| partition.leader.is_some_and(|leader| leader.node == node));
        let looks = own.filter(|partition| !partition.is_empty()).filter_map(|partition| {
            let lingers = partition.queue.front().map(|filling| filling.opened + self.settings.linger);
            [partition.not_before, lingers].into_iter().flatten().filter(|at| *at > now).min()
        });
        looks.chain(muted).min()
    }

    /// The leader to wake for a batch that has just begun: unless an answer that it waits for will wake it anyway.
    pub(super) fn to_wake(&self, number: usize) -> Option<Node> {
        let partition = self.partitions.get(number)?;
        let node = partition.leader?.node;
        let in_flight = self.traffic.get(&node).map_or(0, |traffic| traffic.in_flight);
        let has_full = partition.queue.len() > 1;
        let most = if has_full { self.settings.max_in_flight } else { SMALL_IN_FLIGHT };
        (in_flight < most).then_some(node)
    }
}

impl Partition {
    fn may_go_to(&self, node: Node, now: Instant) -> bool {
        self.leader.is_some_and(|leader| leader.node == node)
            && self.not_before.is_none_or(|at| at <= now)
            // Batches on the way to a former leader are answered first: the new one cannot know their sequences.
            && (self.lane.in_flight() == 0 || self.flying_to == Some(node))
    }

    fn load_again(&mut self, producer_id: i64) -> Option<Parcel> {
        let batch = self.lane.waiting()?;
        let number = sent_number(&self.lane.step(Event::Resend { batch }))?;
        let sealed = self.sealed_mut(batch)?;
        sealed.tries = sealed.tries.saturating_add(1);
        sealed.stamp(producer_id, number);
        let load = Load::Again(sealed.closed.clone()?);
        Some(Parcel { partition: self.at.partition, batch, load })
    }

    fn load_fresh(&mut self, id: BatchId, producer_id: i64, lifetime: Duration, now: Instant) -> Option<Parcel> {
        let is_forgotten = self.last_written.is_some_and(|at| at + REMEMBERED_FOR < now);
        if self.lane.is_idle() && is_forgotten {
            self.lane.step(Event::Forgotten);
        }
        let count = self.queue.front()?.builder.count();
        let number = sent_number(&self.lane.step(Event::Admit { batch: id, count }))?;
        let filling = self.queue.pop_front()?;
        filling.outcome.close(count);
        let charged = filling.builder.len();
        self.sealed.push(Sealed {
            id,
            closed: None,
            outcome: filling.outcome,
            first: 0,
            count,
            deadline: filling.opened + lifetime,
            charged,
            tries: 1,
            trouble: None,
            culprits: Vec::new(),
        });
        let load = Load::Fresh(Box::new(filling.builder), stamp(producer_id, number));
        Some(Parcel { partition: self.at.partition, batch: id, load })
    }
}

fn sent_number(effects: &[Effect]) -> Option<Number> {
    effects.iter().find_map(|effect| match effect {
        Effect::Send { number, .. } => Some(*number),
        Effect::Written { .. } | Effect::Failed { .. } | Effect::Cut { .. } | Effect::Forget { .. } => None,
    })
}
