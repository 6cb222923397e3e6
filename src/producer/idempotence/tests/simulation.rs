//! A lane against a model broker, with seeded faults: lost requests and answers, requests that arrive long after, moved
//! leaders, refusals, expiry.
//!
//! What must hold whatever happens: no order is in the log twice; orders are in the log in the order in which they were
//! sent; a written order is in the log; one that failed without `possibly_written` is not. And once the faults stop,
//! everything is settled.

use std::collections::{BTreeMap, VecDeque};

use super::super::*;
use super::partition_model::{PartitionModel, Taken};

type OrderId = u64;

/// What travels: a batch under a number.
#[derive(Clone, Debug)]
struct Message {
    batch: BatchId,
    number: Number,
    orders: Vec<OrderId>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    Written,
    Failed { possibly_written: bool },
}

struct World {
    chance: fastrand::Rng,
    lane: Lane,
    broker: PartitionModel<OrderId>,
    /// On the connection, in order.
    travelling: VecDeque<Message>,
    /// Left over from lost connections: each may still arrive.
    stray: Vec<Message>,
    orders: BTreeMap<BatchId, Vec<OrderId>>,
    fates: BTreeMap<OrderId, Fate>,
    next_batch: BatchId,
    next_order: OrderId,
    history: Vec<String>,
}

impl World {
    fn new(seed: u64) -> Self {
        Self {
            chance: fastrand::Rng::with_seed(seed),
            lane: Lane::new(),
            broker: PartitionModel::default(),
            travelling: VecDeque::new(),
            stray: Vec::new(),
            orders: BTreeMap::new(),
            fates: BTreeMap::new(),
            next_batch: 1,
            next_order: 0,
            history: Vec::new(),
        }
    }

    fn step(&mut self, event: Event) {
        self.history.push(format!("{event:?}"));
        for effect in self.lane.step(event) {
            self.history.push(format!("    {effect:?}"));
            match effect {
                Effect::Send { batch, number } => {
                    let orders = self.orders[&batch].clone();
                    self.travelling.push_back(Message { batch, number, orders });
                }
                Effect::Written { batch } => self.tell(batch, Fate::Written),
                Effect::Failed { batch, possibly_written } => self.tell(batch, Fate::Failed { possibly_written }),
                Effect::Cut { batch } => self.cut(batch),
                Effect::Forget { batch } => drop(self.orders.remove(&batch)),
            }
        }
    }

    fn tell(&mut self, batch: BatchId, fate: Fate) {
        for order in &self.orders[&batch] {
            assert_eq!(self.fates.insert(*order, fate), None, "order {order} is told twice");
        }
    }

    /// Fails one order of the batch, and cuts the others around it.
    fn cut(&mut self, batch: BatchId) {
        let mut orders = self.orders.remove(&batch).unwrap();
        let behind = orders.split_off(self.chance.usize(0..orders.len()));
        let (culprit, behind) = behind.split_first().unwrap();
        self.fates.insert(*culprit, Fate::Failed { possibly_written: false });
        let mut pieces = Vec::new();
        for piece in [orders, behind.to_vec()].into_iter().filter(|piece| !piece.is_empty()) {
            pieces.push((self.next_batch, piece.len() as u32));
            self.orders.insert(self.next_batch, piece);
            self.next_batch += 1;
        }
        self.step(Event::Cut { batch, pieces });
    }

    fn send(&mut self) {
        if let Some(batch) = self.lane.waiting() {
            return self.step(Event::Resend { batch });
        }
        if self.lane.may_admit() {
            let count = self.chance.u64(1..5);
            self.orders.insert(self.next_batch, (self.next_order..self.next_order + count).collect());
            self.next_order += count;
            self.next_batch += 1;
            self.step(Event::Admit { batch: self.next_batch - 1, count: count as u32 });
        }
    }

    fn receive_by_broker(&mut self, message: &Message) -> Answer {
        match self.broker.receive(message.number, &message.orders) {
            Taken::At(_) => Answer::Written,
            Taken::OutOfOrder => Answer::OutOfOrder,
            Taken::OldEpoch => Answer::OldEpoch,
        }
    }

    /// The broker takes the next request off the connection and answers, with a fault perhaps.
    fn receive(&mut self, faulty: bool) {
        let Some(message) = self.travelling.pop_front() else { return };
        let fault = if faulty { self.chance.u8(0..12) } else { u8::MAX };
        let answer = match fault {
            0 => Answer::Again(Trace::None),
            1 => Answer::Again(Trace::Possible),
            2 => Answer::Refused(Trace::None),
            3 if message.orders.len() > 1 => Answer::TooMuch,
            4 => match self.receive_by_broker(&message) {
                Answer::Written => Answer::Again(Trace::Possible),
                other => other,
            },
            5 => match self.receive_by_broker(&message) {
                Answer::Written => Answer::Refused(Trace::Possible),
                other => other,
            },
            _ => self.receive_by_broker(&message),
        };
        self.step(Event::Answered { batch: message.batch, answer });
    }

    /// The connection ends: of the requests on it some were taken, some are lost, and some will arrive later.
    fn disconnect(&mut self) {
        let taken = self.chance.usize(0..=self.travelling.len());
        let lost: Vec<Message> = self.travelling.drain(..).collect();
        for (place, message) in lost.iter().enumerate() {
            if place < taken {
                self.receive_by_broker(message);
            } else if self.chance.bool() {
                self.stray.push(message.clone());
            }
        }
        for message in lost {
            self.step(Event::Answered { batch: message.batch, answer: Answer::Again(Trace::Possible) });
        }
    }

    fn stray_arrives(&mut self) {
        if !self.stray.is_empty() {
            let at = self.chance.usize(0..self.stray.len());
            let message = self.stray.remove(at);
            let answer = self.receive_by_broker(&message);
            self.history.push(format!("stray {message:?}: {answer:?}"));
        }
    }

    /// The oldest batch's time is up, as in reality.
    fn expire(&mut self) {
        let oldest =
            self.orders.keys().copied().find(|batch| self.orders[batch].iter().all(|o| !self.fates.contains_key(o)));
        if let Some(batch) = oldest {
            self.step(Event::Expired { batch });
        }
    }

    fn run(&mut self, rounds: usize, faulty: bool) {
        for _ in 0..rounds {
            match self.chance.u8(0..20) {
                0..=8 => self.send(),
                9..=15 => self.receive(faulty),
                16 if faulty => self.disconnect(),
                17 => self.stray_arrives(),
                18 if faulty => self.expire(),
                _ => {}
            }
        }
    }

    fn settle_all(&mut self) {
        for _ in 0..1000 {
            if let Some(batch) = self.lane.waiting() {
                self.step(Event::Resend { batch });
            }
            self.receive(false);
            self.stray_arrives();
        }
    }

    fn problems(&self) -> Option<String> {
        if let Some(pair) = self.broker.log.windows(2).find(|pair| pair[0] >= pair[1]) {
            return Some(format!("order {} stands behind {}", pair[1], pair[0]));
        }
        for order in 0..self.next_order {
            let in_log = self.broker.log.binary_search(&order).is_ok();
            match (self.fates.get(&order), in_log) {
                (Some(Fate::Written), true) | (Some(Fate::Failed { possibly_written: true }), _) => {}
                (Some(Fate::Failed { possibly_written: false }), false) => {}
                (fate, _) => return Some(format!("order {order}: {fate:?}, in the log: {in_log}")),
            }
        }
        None
    }
}

#[test]
fn under_faults_nothing_is_doubled_reordered_or_told_wrongly() {
    let mut written = 0;
    let mut failed = 0;
    let mut epochs = 0;
    for seed in 0..3000 {
        let mut world = World::new(seed);
        world.run(150, true);
        world.settle_all();
        assert!(world.lane.is_idle(), "seed {seed}: not settled: {:?}\n{}", world.lane, world.history.join("\n"));
        let problem = world.problems();
        assert_eq!(problem, None, "seed {seed}\n{}", world.history.join("\n"));
        written += world.fates.values().filter(|fate| **fate == Fate::Written).count();
        failed += world.fates.values().filter(|fate| **fate != Fate::Written).count();
        epochs += usize::from(world.lane.epoch > 0);
    }
    assert!(
        written > 10_000 && failed > 1000 && epochs > 100,
        "{written} written, {failed} failed, {epochs} with new epochs"
    );
}

#[test]
fn without_faults_everything_is_written_in_the_first_epoch() {
    for seed in 0..50 {
        let mut world = World::new(seed);
        world.run(500, false);
        world.settle_all();
        assert_eq!(world.problems(), None, "seed {seed}");
        assert!(world.fates.len() > 100 && world.fates.values().all(|fate| *fate == Fate::Written));
        assert_eq!(world.lane.epoch, 0);
    }
}
