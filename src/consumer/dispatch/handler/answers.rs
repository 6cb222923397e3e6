//! What follows from a handler's answers.

use std::future::Future;

use futures::StreamExt;

use super::super::super::commit::{Committed, Note};
use super::super::super::control::Concern;
use super::super::super::retry::{Attempt, Verdict, Why};
use super::super::lanes::Lane;
use super::super::tales::{Audience, Told};
use super::call::Ended;
use super::within::{Decision, landed};
use super::*;
use crate::error::told;
use crate::flight::Ids;
use crate::order::IDENTITY_HEADER;
use crate::place::Place;
use crate::store::{Outcome, REFUSED};
use crate::wire::record_batch::BatchError;
use crate::{Error, ErrorCode};

/// From this try on, health speaks of an order that does not get through.
const WORRY: u32 = 3;

/// A wait before the next try from which on health speaks of it at once.
const WORRISOME_WAIT: Duration = Duration::from_secs(3);

/// A wait from which on a partition gives back what was fetched of it, so that its frames do not hold up others.
const LONG_WAIT: Duration = Duration::from_millis(200);

impl<O, C, F> HandlerDispatch<O, C, F>
where
    O: Order,
    C: Fn(Delivered<O>) -> F + Send,
    F: Future<Output = Answer> + Send,
{
    pub(super) fn ended(&mut self, ended: Ended<F>) {
        self.seats.push(ended.seat);
        if let Some(row) = self.rows.get_mut(&ended.item.partition).filter(|row| row.life == ended.item.life) {
            row.running = row.running.saturating_sub(1);
            if ended.was_counted && !row.retired {
                row.tries.uncount(ended.item.offset);
            }
        }
        self.answered(ended.lane, ended.item, ended.answer, Entry::Occupied);
    }

    pub(super) fn answered(&mut self, lane: Lane, item: Item, answer: Answer, entry: Entry) {
        let (answer, overlay) = match answer {
            Ok((outcome, overlay)) => (Ok(outcome), overlay),
            Err(failure) => (Err(failure), None),
        };
        let verdict = match answer {
            Ok(crate::consumer::Outcome::Done) => Verdict::Done,
            answer => {
                let since = item.failing.map_or(Duration::ZERO, |failing| failing.since(self.begun.elapsed()));
                let (partition, offset, attempt) = (item.partition, item.offset, item.attempt);
                let (hasher, ids) = (&self.hasher, self.teller.control().flights().ids());
                let key = || named(item.record.key(), ids, hasher);
                let attempt = Attempt { partition, offset, number: attempt, since, key: &key };
                self.retry.judge(answer, attempt, fastrand::u16(..))
            }
        };
        match verdict {
            Verdict::Done => {
                entry.leave(&mut self.lanes, lane);
                match &mut self.within {
                    Some(within) => within.take(item, Decision::Apply(overlay)),
                    None => self.settled(&item, &Outcome::Applied),
                }
            }
            Verdict::Refused(code) => {
                entry.leave(&mut self.lanes, lane);
                match &mut self.within {
                    Some(within) => within.take(item, Decision::Refuse(code)),
                    None => self.settled(&item, &Outcome::Refused { code, reason: REFUSED.to_owned() }),
                }
            }
            Verdict::Again { after, why } => {
                entry.enter(&mut self.lanes, lane);
                self.again(lane, item, after, &why);
            }
            Verdict::Failed(code, error) => self.set_aside(lane, item, entry, (code.into(), told(&error))),
        }
    }

    pub(super) fn settled(&mut self, item: &Item, outcome: &Outcome) {
        let Some(row) = self.rows.get_mut(&item.partition).filter(|row| row.life == item.life) else { return };
        row.ledger.settle(item.offset);
        row.tries.forget(item.offset);
        row.settled_until = Some(item.timestamp);
        let closed = row.breaker.decided(item.offset, matches!(outcome, Outcome::Applied | Outcome::Duplicate));
        if std::mem::take(&mut row.worrying) {
            self.teller.control().relieve(Concern::Partition(item.partition));
        }
        if closed {
            self.teller.control().relieve(Concern::Breaker(item.partition));
        }
        if !std::mem::replace(&mut row.moved, true) {
            self.moved.push(item.partition);
        }
        self.teller.count(outcome);
        if self.teller.audience() == Audience::Observer {
            let identity = item.record.headers().find(|(name, _)| *name == IDENTITY_HEADER.as_bytes());
            let record = Told {
                offset: item.offset,
                timestamp: item.timestamp,
                key: item.record.key(),
                value: item.record.value(),
                identity: identity.and_then(|(_, value)| value),
            };
            self.teller.tell(&row.origin.at, &record, outcome);
        }
    }

    fn again(&mut self, lane: Lane, mut item: Item, after: Duration, why: &Why) {
        self.teller.count_retry();
        let (partition, offset, attempt) = (item.partition, item.offset, item.attempt);
        let reason = match why {
            Why::Asked => "the handler asks for another try".to_owned(),
            Why::Failed(cause) => format!("the handler fails: {cause}"),
        };
        if attempt.is_power_of_two() {
            tracing::warn!(partition, offset, attempt, reason, "an order is tried again");
        }
        let now = self.begun.elapsed();
        let failing = item.failing.unwrap_or_else(|| Failing::now(now));
        item.failing = Some(failing);
        if let Some(row) = self.rows.get_mut(&partition).filter(|row| row.life == item.life) {
            row.tries.failed(offset, attempt, (failing.first, failing.since(now)));
            if !std::mem::replace(&mut row.moved, true) {
                self.moved.push(partition);
            }
            if attempt >= WORRY || after >= WORRISOME_WAIT {
                row.worrying = true;
                let sentence = format!("partition {partition} waits at offset {offset}, try {attempt}: {reason}");
                self.teller.control().concern(Concern::Partition(partition), sentence);
            }
        }
        item.attempt = attempt.saturating_add(1);
        self.queued_bytes = self.queued_bytes.saturating_add(item.record.len());
        self.lanes.retry(lane, item, self.begun.elapsed().saturating_add(after));
        if self.concurrency == Concurrency::InOrder && after >= LONG_WAIT {
            self.give_back(partition);
        }
    }

    pub(super) fn damaged(&mut self, partition: i32, cause: BatchError) {
        let Some(row) = self.rows.get(&partition) else { return };
        let error = Error::new(ErrorCode::Batch, "a batch cannot be read, so the partition stops")
            .at(Place::record(&row.origin.at, row.ledger.read()))
            .remedy("the log is damaged there: once you know why, commit the offset behind it for the group")
            .caused_by(cause);
        self.retire(partition);
        self.steps.push_back(Step::Stopped { partition, error });
    }

    /// What was fetched of a partition that waits is dropped, so that its frames do not hold up the others.
    pub(super) fn give_back(&mut self, partition: i32) {
        let Some(row) = self.rows.get_mut(&partition) else { return };
        if !row.stalled && !row.retired && (row.is_held() || row.has_more()) {
            let next = row.give_back();
            self.steps.push_back(Step::Stalled { partition, next });
        }
    }

    /// Partitions that gave back what they could not hold take more as soon as they have nothing left; full ones give back.
    pub(super) fn resume_stalled(&mut self) {
        let mut full = Vec::new();
        for (partition, row) in &mut self.rows {
            let waits =
                self.concurrency == Concurrency::InOrder && !self.lanes.is_free(Lane { slot: row.life, key: 0 });
            if row.stalled && !row.has_ready() && row.ledger.has_room() && !row.retired && !row.is_held() && !waits {
                row.stalled = false;
                self.steps.push_back(Step::Resumed { partition: *partition });
            } else if !row.ledger.has_room() {
                full.push(*partition);
            }
        }
        full.into_iter().for_each(|partition| self.give_back(partition));
    }

    /// Notes positions for the commit: at once when nothing is under way, else now and then.
    pub(super) fn note_moved(&mut self) {
        if self.moved.is_empty() || (!self.running.is_empty() && self.noted.elapsed() < NOTE_EVERY) {
            return;
        }
        self.noted = Instant::now();
        for partition in std::mem::take(&mut self.moved) {
            let Some(position) = self.standing(partition) else { continue };
            self.committer.note(partition, position);
            if let Some(row) = self.rows.get_mut(&partition) {
                row.moved = false;
            }
            self.show_lag(partition);
        }
        self.teller.publish();
    }

    /// Where a partition stands, as it is committed.
    pub(super) fn standing(&self, partition: i32) -> Option<Committed> {
        let row = self.rows.get(&partition)?;
        if let Some(within) = &self.within {
            return Some(within.standing(row));
        }
        let (offset, leader_epoch) = (row.ledger.next(), row.ledger.leader_epoch());
        let (settled, tried) = (row.ledger.settled().clone(), row.tries.unsettled(&row.ledger));
        let note = Note::Topic { id: row.origin.id, settled, tried, tripped: row.breaker.undecided() };
        Some(Committed { offset, leader_epoch, text: note.write(offset) })
    }

    pub(super) fn show_lag(&self, partition: i32) {
        let Some(row) = self.rows.get(&partition) else { return };
        let (position, end, settled_until) = (self.position_of(row), row.end, row.settled_until);
        self.teller.control().set_lag(Lag { partition, position, end, settled_until, seconds: None });
    }

    /// Waits until a call ends, an order is due for another try, or positions are to be noted.
    pub(super) async fn wait(&mut self) {
        let due = self.lanes.next_due().filter(|_| !self.finishing).map(|due| self.begun + due);
        let note = (!self.moved.is_empty()).then(|| self.noted + NOTE_EVERY);
        let wake = due.into_iter().chain(note).min();
        let timer = async {
            match wake {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            Some(ended) = self.running.next(), if !self.running.is_empty() => {
                self.ended(ended);
                self.note_moved();
            }
            Some(posted) = self.posting.next(), if !self.posting.is_empty() => {
                self.posted(posted);
                self.note_moved();
            }
            landed = landed(&mut self.within) => {
                self.landed(landed);
                self.note_moved();
            }
            () = timer => {}
        }
    }
}

/// A record's key as a recording names it.
fn named(key: Option<&[u8]>, ids: Ids, hasher: &RandomState) -> String {
    match ids {
        Ids::Hashed => format!("{:016x}", hasher.hash_one(key)),
        Ids::Plain => String::from_utf8_lossy(key.unwrap_or_default()).into_owned(),
    }
}
