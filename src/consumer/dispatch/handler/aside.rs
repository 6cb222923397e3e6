//! Setting orders aside that cannot be settled: the dead letter is written first, the position moves after it (G2).
//!
//! ```text
//!  failing --breaker--> pass: post --written--> settled, the position may move
//!              |                \--cannot be written--> again with back-off, or the partition stops
//!              +--> hold: the order waits in its lane, the partition takes nothing more
//! ```

use std::borrow::Cow;
use std::future::Future;

use bytes::Bytes;
use futures::FutureExt;

use super::super::super::breaker::{Effect, Event};
use super::super::super::control::Concern;
use super::super::super::retry_topic::{is_retry, name_of};
use super::super::lanes::Lane;
use super::call::Answer;
use super::within::Decision;
use super::*;
use crate::error::told;
use crate::order::{Identity, Violation};
use crate::place::Place;
use crate::store::{DeadLetterKind, EventId, Origin as LogPlace, Original, Outcome, SetAside, Topic};
use crate::{Error, ErrorCode};

/// A dead letter that was posted.
pub(super) struct Posted {
    lane: Lane,
    item: Item,
    code: Cow<'static, str>,
    reason: String,
    result: Result<()>,
}

impl<O, C, F> HandlerDispatch<O, C, F>
where
    O: Order,
    C: Fn(Delivered<O>) -> F + Send,
    F: Future<Output = Answer> + Send,
{
    pub(super) fn invalid(&mut self, lane: Lane, item: Item, violation: &Violation, entry: Entry) {
        let code = violation.code().as_str().into();
        self.set_aside(lane, item, entry, (code, violation.to_string()));
    }

    /// The order cannot be settled: its record becomes a dead letter, unless too many do.
    pub(super) fn set_aside(&mut self, lane: Lane, item: Item, entry: Entry, cause: (Cow<'static, str>, String)) {
        let Some(row) = self.rows.get_mut(&item.partition).filter(|row| row.life == item.life) else {
            return entry.leave(&mut self.lanes, lane);
        };
        entry.enter(&mut self.lanes, lane);
        match row.breaker.take(Event::Failing(item.offset)) {
            Effect::Hold(probe) => self.hold(lane, item, probe, &cause),
            Effect::Pass | Effect::Close => match &mut self.within {
                Some(within) => {
                    self.lanes.done(lane);
                    within.take(item, Decision::SetAside(cause));
                }
                None => {
                    row.running += 1;
                    self.post(lane, item, cause);
                }
            },
        }
    }

    fn post(&mut self, lane: Lane, item: Item, (code, reason): (Cow<'static, str>, String)) {
        let (Some(row), Some(letterbox)) = (self.rows.get(&item.partition), self.letterbox.clone()) else { return };
        let letter = letter(&row.origin, &item, (&code, &reason));
        let (control, backoff) = (self.teller.control().clone(), self.posting_backoff);
        let posting = async move {
            let mut failures = 0;
            let result = loop {
                match letterbox.post(letter.clone()).await {
                    #[cfg(test)]
                    Err(_) if crate::plant::is(crate::plant::Plant::SkipFailedLetter) => break Ok(()),
                    Err(error) if error.is_retriable() => {
                        control.concern(Concern::Outbox, format!("dead letters cannot be written: {}", told(&error)));
                        tokio::time::sleep(backoff.delay(failures, fastrand::f64())).await;
                        failures = failures.saturating_add(1);
                    }
                    result => break result,
                }
            };
            if result.is_ok() {
                control.relieve(Concern::Outbox);
            }
            Posted { lane, item, code, reason, result }
        };
        self.posting.push(posting.boxed());
    }

    pub(super) fn posted(&mut self, posted: Posted) {
        let Posted { lane, item, code, reason, result } = posted;
        self.lanes.done(lane);
        if let Some(row) = self.rows.get_mut(&item.partition).filter(|row| row.life == item.life) {
            row.running = row.running.saturating_sub(1);
        }
        match result {
            Ok(()) => self.settled(&item, &Outcome::DeadLetter { code, reason }),
            Err(error) => {
                let sentence = format!("a dead letter ({code}) cannot be written, and nothing is skipped");
                self.failed(&item, Error::new(error.code(), sentence).caused_by(error));
            }
        }
    }

    /// The breaker is open: the order stays undecided, and waits for its probe.
    fn hold(&mut self, lane: Lane, mut item: Item, probe: u32, (code, reason): &(Cow<'static, str>, String)) {
        let after = self.probing.delay(probe, fastrand::f64());
        let Some(row) = self.rows.get_mut(&item.partition) else { return };
        row.worrying = false;
        self.teller.control().relieve(Concern::Partition(item.partition));
        let sentence = format!("the breaker is open: {}; the last: {code}: {reason}", row.breaker.reason());
        let error = Error::new(ErrorCode::Breaker, sentence)
            .at(Place::record(&row.origin.at, item.offset))
            .remedy("mend what they need, and the partition goes on by itself; or have them set aside by `resume`");
        self.steps.push_back(Step::Tripped { partition: item.partition, error });
        self.teller.count_retry();
        let partition = item.partition;
        item.attempt = item.attempt.saturating_add(1);
        self.queued_bytes = self.queued_bytes.saturating_add(item.record.len());
        self.lanes.retry(lane, item, self.begun.elapsed().saturating_add(after));
        self.give_back(partition);
        if probe == 0 {
            self.note(partition);
        }
    }

    /// Says beside the commit at once which record is undecided, or that none is: whoever has the partition next goes on so.
    fn note(&self, partition: i32) {
        if let Some(position) = self.standing(partition) {
            self.committer.note_at_once(partition, position);
        }
    }

    /// An operator has partitions go on whose breaker is open. Their orders are tried at once, and may be set aside.
    pub(super) fn override_breakers(&mut self, partition: Option<i32>) {
        let mut closed = Vec::new();
        for (number, row) in
            self.rows.iter_mut().filter(|(number, _)| partition.is_none_or(|wanted| wanted == **number))
        {
            if row.breaker.take(Event::Overridden) == Effect::Close {
                self.teller.control().relieve(Concern::Breaker(*number));
                self.lanes.hurry(row.life);
                closed.push(*number);
            }
        }
        closed.into_iter().for_each(|partition| self.note(partition));
    }

    /// The order cannot be settled, and nothing may be skipped (G2): its partition stops.
    pub(super) fn failed(&mut self, item: &Item, error: Error) {
        let Some(row) = self.rows.get(&item.partition).filter(|row| row.life == item.life) else { return };
        let error = error
            .at(Place::record(&row.origin.at, item.offset))
            .remedy("mend what it needs and start again, or commit the offset behind it for the group");
        self.retire(item.partition);
        self.steps.push_back(Step::Stopped { partition: item.partition, error });
    }
}

/// All that is told of a record that was set aside.
fn letter(origin: &Origin, item: &Item, (code, reason): (&str, &str)) -> SetAside {
    let identity = Identity::from_headers(item.record.headers()).ok().flatten();
    let topic = Topic::new(origin.id, origin.at.topic.clone());
    let now = chrono::Utc::now().timestamp_millis();
    // A record that was replayed keeps its name, also where that came of its first place.
    let known = is_retry(&topic.name).then(|| name_of(item.record.headers())).flatten();
    SetAside {
        id: known.unwrap_or_else(|| EventId::of(identity.as_ref(), &topic, item.partition, item.offset)),
        version: 1,
        kind: DeadLetterKind::DeadLetter,
        code: code.to_owned(),
        reason: reason.to_owned(),
        origin: Some(LogPlace { topic: origin.at.topic.clone(), partition: item.partition, offset: item.offset }),
        timestamp: item.timestamp,
        attempts: item.attempt,
        first_failed: item.failing.map_or(now, |failing| failing.first),
        last_failed: now,
        original: original(&item.record),
    }
}

/// The bytes of a record, as they were read.
pub(super) fn original(record: &RecordBytes) -> Original {
    let copy = Bytes::copy_from_slice;
    Original {
        key: record.key().map(copy),
        value: record.value().map(copy),
        headers: record.headers().map(|(name, value)| (copy(name), value.map(copy))).collect(),
    }
}
