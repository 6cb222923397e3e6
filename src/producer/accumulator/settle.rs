//! What becomes of batches: answers, deadlines, the end.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{Accumulator, Filling, Partition, Sealed};
use crate::ErrorCode;
use crate::cluster::Node;
use crate::flight::Because;
use crate::producer::answer::meaning;
use crate::producer::failure::Failure;
use crate::producer::idempotence::{Answer, BatchId, Effect, Event, Trace};
use crate::producer::receipt::{Kept, Verdict};
use crate::wire::kafka_error::KafkaError;

/// The answer to one batch.
#[derive(Debug)]
pub(in crate::producer) struct Answered {
    pub(in crate::producer) partition: i32,
    pub(in crate::producer) batch: BatchId,
    pub(in crate::producer) reply: Reply,
}

/// What was heard of a batch.
#[derive(Debug)]
pub(in crate::producer) enum Reply {
    /// The broker has it.
    Written { base_offset: Option<i64>, append_time: Option<i64> },
    /// The broker answered with an error, of these records in particular if any are named.
    Refused { error: KafkaError, words: Option<String>, records: Vec<(u32, Option<String>)> },
    /// Nothing: the connection ended.
    Lost(Arc<Failure>, Trace),
}

/// What is to be done once the lock is given back.
#[derive(Debug, Default)]
pub(in crate::producer) struct Done {
    /// Verdicts to tell: outcome, first order, how many.
    pub(in crate::producer) verdicts: Vec<(Kept, u32, u32, Verdict)>,
    /// Leaders that may have something to do now.
    pub(in crate::producer) wake: Vec<Node>,
    /// Room became free.
    pub(in crate::producer) freed: bool,
    /// The metadata seems to be old.
    pub(in crate::producer) stale: bool,
}

impl Done {
    fn fail(&mut self, sealed: &Sealed, failure: Failure) {
        let verdict = Verdict::Failed(Arc::new(failure));
        self.verdicts.push((sealed.outcome.clone(), sealed.first, sealed.count, verdict));
    }

    fn fail_filling(&mut self, filling: &Filling, failure: Failure) {
        let count = filling.builder.count();
        filling.outcome.close(count);
        self.verdicts.push((filling.outcome.clone(), 0, count, Verdict::Failed(Arc::new(failure))));
    }
}

/// Why batches are given up without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum GivenUp {
    Late,
    Closed,
}

impl Accumulator {
    /// Takes the answers to one request. `muted_for` is what the broker asks to be left alone for; `chance` is in `0.0..1.0`.
    pub(in crate::producer) fn answered(
        &mut self,
        node: Node,
        answers: Vec<Answered>,
        (now, muted_for, chance): (Instant, Duration, f64),
    ) -> Done {
        let traffic = self.traffic.entry(node).or_default();
        traffic.in_flight = traffic.in_flight.saturating_sub(1);
        if !muted_for.is_zero() {
            traffic.muted_until = Some(now + muted_for);
        }
        let mut done = Done::default();
        for answer in answers {
            self.answer(answer, now, chance, &mut done);
        }
        done.wake.retain(|leader| *leader != node);
        done
    }

    fn answer(&mut self, answered: Answered, now: Instant, chance: f64, done: &mut Done) {
        let Ok(number) = usize::try_from(answered.partition) else { return };
        let Some(partition) = self.partitions.get_mut(number) else { return };
        let batch = answered.batch;
        let verdict = written(&answered.reply);
        let Some(answer) = partition.take(batch, answered.reply, done) else { return };
        if answer == Answer::Written {
            partition.failures = 0;
            partition.last_written = Some(now);
            partition.trouble = None;
        } else if answer != Answer::TooMuch {
            partition.not_before = Some(now + self.settings.backoff.delay(partition.failures, chance));
            partition.failures = partition.failures.saturating_add(1);
        }
        let effects = partition.lane.step(Event::Answered { batch, answer });
        done.wake.extend(partition.leader.map(|leader| leader.node));
        self.obey(number, effects, verdict.as_ref(), None, done);
    }

    /// Does what the lane says. `written` is the verdict of a batch that was just acknowledged.
    fn obey(
        &mut self,
        number: usize,
        effects: Vec<Effect>,
        written: Option<&Verdict>,
        given_up: Option<GivenUp>,
        done: &mut Done,
    ) {
        for effect in effects {
            let Some(partition) = self.partitions.get_mut(number) else { return };
            match effect {
                Effect::Send { .. } => {}
                Effect::Written { batch } => {
                    let sealed = partition.sealed(batch);
                    let told = sealed.zip(written.cloned());
                    done.verdicts.extend(told.map(|(s, verdict)| (s.outcome.clone(), s.first, s.count, verdict)));
                }
                Effect::Failed { batch, possibly_written } => {
                    if possibly_written {
                        self.settings.flights.trouble(Because::Doubt);
                    }
                    let failure = self.failure(number, batch, given_up).possibly_written(possibly_written);
                    if let Some(sealed) = self.partitions.get(number).and_then(|partition| partition.sealed(batch)) {
                        done.fail(sealed, failure);
                    }
                }
                Effect::Cut { batch } => self.cut(number, batch, done),
                Effect::Forget { batch } => {
                    if let Some(sealed) = partition.take_sealed(batch) {
                        done.freed = true;
                        self.release(sealed.charged, sealed.closed.and_then(|closed| closed.into_buffer()));
                    }
                }
            }
        }
    }

    fn failure(&self, number: usize, batch: BatchId, given_up: Option<GivenUp>) -> Failure {
        let partition = self.partitions.get(number);
        let sealed = partition.and_then(|partition| partition.sealed(batch));
        let own = sealed.and_then(|sealed| sealed.trouble.as_deref());
        match given_up {
            Some(GivenUp::Closed) => Failure::closed(),
            Some(GivenUp::Late) => {
                Failure::late(self.settings.delivery_timeout, own.or(partition.and_then(|p| p.trouble.as_deref())))
            }
            None => own.cloned().unwrap_or_else(|| Failure::late(self.settings.delivery_timeout, None)),
        }
    }

    /// Fails the culprits of a batch and puts what is left of it, in pieces, in its place.
    fn cut(&mut self, number: usize, batch: BatchId, done: &mut Done) {
        let compression = self.settings.compression;
        let Some(whole) = self.partitions.get_mut(number).and_then(|partition| partition.take_sealed(batch)) else {
            return;
        };
        let Some(cut) = whole.pieces(compression) else { return self.fail_uncut(number, &whole, done) };
        for (index, failure) in &whole.culprits {
            let verdict = Verdict::Failed(failure.clone());
            done.verdicts.push((whole.outcome.clone(), whole.first.saturating_add(*index), 1, verdict));
        }
        let mut pieces = Vec::new();
        for mut piece in cut {
            piece.id = self.number_batch();
            pieces.push((piece.id, piece.count));
            self.used = self.used.saturating_add(piece.charged);
            if let Some(partition) = self.partitions.get_mut(number) {
                partition.sealed.push(piece);
            }
        }
        self.release(whole.charged, None);
        done.freed = true;
        if let Some(partition) = self.partitions.get_mut(number) {
            let effects = partition.lane.step(Event::Cut { batch, pieces });
            self.obey(number, effects, None, None, done);
        }
    }

    /// Fails a batch whose own bytes cannot be read back.
    fn fail_uncut(&mut self, number: usize, whole: &Sealed, done: &mut Done) {
        let unread = || Failure::new(ErrorCode::Internal, "a batch of our own cannot be read back");
        done.fail(whole, whole.trouble.as_deref().cloned().unwrap_or_else(unread));
        done.freed = true;
        self.release(whole.charged, None);
        if let Some(partition) = self.partitions.get_mut(number) {
            let effects = partition.lane.step(Event::Cut { batch: whole.id, pieces: Vec::new() });
            self.obey(number, effects, None, None, done);
        }
    }

    /// Gives up what is older than `delivery.timeout.ms`. Returns when to look again, unless nothing is left to watch.
    pub(in crate::producer) fn expire(&mut self, now: Instant) -> (Done, Option<Instant>) {
        let done = self.give_up(GivenUp::Late, now);
        let lifetime = self.settings.delivery_timeout;
        let deadlines = self.partitions.iter().flat_map(|partition| {
            let sealed = partition.sealed.iter().map(|sealed| sealed.deadline).filter(|deadline| *deadline > now);
            sealed.chain(partition.queue.front().map(|filling| filling.opened + lifetime))
        });
        let next = deadlines.min();
        self.watched = next.is_some();
        (done, next)
    }

    /// Gives up everything, and takes no more.
    pub(in crate::producer) fn abandon(&mut self, now: Instant) -> Done {
        self.closed = true;
        self.give_up(GivenUp::Closed, now)
    }

    fn give_up(&mut self, why: GivenUp, now: Instant) -> Done {
        let mut done = Done::default();
        for number in 0..self.partitions.len() {
            self.give_up_sealed(number, why, now, &mut done);
            self.give_up_queue(number, why, now, &mut done);
        }
        done.wake.sort_unstable();
        done.wake.dedup();
        done
    }

    fn give_up_sealed(&mut self, number: usize, why: GivenUp, now: Instant, done: &mut Done) {
        let Some(partition) = self.partitions.get_mut(number) else { return };
        let due = partition.sealed.iter().filter(|sealed| why == GivenUp::Closed || sealed.deadline <= now);
        for batch in due.map(|sealed| sealed.id).collect::<Vec<_>>() {
            let Some(partition) = self.partitions.get_mut(number) else { return };
            done.wake.extend(partition.leader.map(|leader| leader.node));
            let effects = partition.lane.step(Event::Expired { batch });
            self.obey(number, effects, None, Some(why), done);
        }
    }

    fn give_up_queue(&mut self, number: usize, why: GivenUp, now: Instant, done: &mut Done) {
        let lifetime = self.settings.delivery_timeout;
        let is_due = |filling: &Filling| why == GivenUp::Closed || filling.opened + lifetime <= now;
        while let Some(partition) = self.partitions.get_mut(number)
            && partition.queue.front().is_some_and(is_due)
            && let Some(filling) = partition.queue.pop_front()
        {
            let failure = match why {
                GivenUp::Closed => Failure::closed(),
                GivenUp::Late => Failure::late(lifetime, partition.trouble.as_deref()),
            };
            done.fail_filling(&filling, failure);
            done.freed = true;
            self.release(filling.builder.len(), None);
        }
    }

    /// Remembers why a leader cannot be reached, for the errors of the orders that wait for it.
    pub(in crate::producer) fn unreachable(&mut self, node: Node, trouble: &Arc<Failure>) {
        for partition in &mut self.partitions {
            if partition.leader.is_some_and(|leader| leader.node == node) {
                partition.trouble = Some(trouble.clone());
            }
        }
    }
}

impl Partition {
    /// What the reply means for the batch; `None` if nobody waits for it any more.
    fn take(&mut self, batch: BatchId, reply: Reply, done: &mut Done) -> Option<Answer> {
        let sealed = self.sealed_mut(batch)?;
        let (error, words, records) = match reply {
            Reply::Written { .. } => return Some(Answer::Written),
            Reply::Lost(failure, trace) => {
                sealed.trouble = Some(failure.clone());
                self.trouble = Some(failure);
                done.stale = true;
                return Some(Answer::Again(trace));
            }
            Reply::Refused { error, words, records } => (error, words, records),
        };
        let failure = Arc::new(Failure::answered(error, words.as_deref()));
        let count = sealed.count;
        sealed.culprits = records
            .into_iter()
            .filter(|(index, _)| *index < count)
            .map(|(index, words)| (index, Arc::new(Failure::answered(error, words.as_deref()))))
            .collect();
        sealed.culprits.sort_by_key(|(index, _)| *index);
        sealed.culprits.dedup_by_key(|(index, _)| *index);
        sealed.trouble = Some(failure.clone());
        let answer = meaning(error, count, sealed.tries);
        self.trouble = Some(failure);
        done.stale |= error.needs_metadata();
        Some(answer)
    }
}

/// What a batch's orders are told if this is its end.
fn written(reply: &Reply) -> Option<Verdict> {
    match reply {
        Reply::Written { base_offset, append_time } => {
            Some(Verdict::Written { base_offset: *base_offset, append_time: *append_time })
        }
        Reply::Refused { error: KafkaError::DuplicateSequenceNumber, .. } => {
            Some(Verdict::Written { base_offset: None, append_time: None })
        }
        Reply::Refused { .. } | Reply::Lost(..) => None,
    }
}
