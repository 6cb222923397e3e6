//! Deciding the orders of a transaction, one after the other, in memory.

use super::early::Early;
use super::effect::{Effect, lines_of};
use super::identities::Verdict;
use super::ledger::Ledger;
use super::letters::{Change, KnownLetters};
use super::overlay::Laid;
use super::positions::{Stand, Written};
use crate::Result;
use crate::order::Identity;
use crate::store::applied::LogTime;
use crate::store::dead_letter::{Spot, letter_of, rebuilt};
use crate::store::decision::{At, Decision};
use crate::store::failures::Failures;
use crate::store::ledger::{Head, LedgerWriter};
use crate::store::standing::Standing;
use crate::store::{
    AppliedPart, BACKFILL, Counts, DeadLetter, DeadLetterKind, DeadLetterState, Entry, EventId, Outcome, Part,
    Position, Topic, Work,
};

/// Decides the orders of a transaction, one after the other.
pub(super) struct Walk<'a, E> {
    now: i64,
    topic: (&'a Topic, u32),
    known: KnownLetters,
    verdict: Verdict,
    pub(super) effect: E,
    pub(super) changes: Vec<Change>,
    /// What handlers add.
    pub(super) laid: Laid,
    /// The place of the next record in the transaction.
    place: usize,
    pub(super) early: Early,
}

impl<'a, E: Effect> Walk<'a, E> {
    pub(super) fn new(
        (now, topic): (i64, (&'a Topic, u32)),
        (known, verdict, effect): (KnownLetters, Verdict, E),
        early: Early,
    ) -> Self {
        Self { now, topic, known, verdict, effect, changes: Vec::new(), laid: Laid::default(), place: 0, early }
    }

    pub(super) fn part(
        &mut self,
        part: &Part<E::Order>,
        stand: &Stand,
        settled: u64,
        (ledger, log): (&mut Ledger, &mut LogTime),
    ) -> Result<(AppliedPart, Written)> {
        let standing = &stand.standing;
        let (first, mut counts) = (standing.first_with(part), standing.counts);
        let version = standing.position.version.saturating_add(1);
        let head = Head { topic: self.topic.1, partition: part.partition, version, lines: lines_of::<E>() };
        let mut row = LedgerWriter::new(head, Vec::new());
        self.effect.begin_row();
        let mut outcomes = Vec::with_capacity(part.entries.len());
        let (mut failures, mut identities) = (Failures::of(version), 0);
        for entry in &part.entries {
            if row.is_full() {
                ledger.keep(head, &mut row);
                self.effect.begin_row();
            }
            identities += u64::from(self.verdict.is_fresh(self.place));
            let outcome = self.entry(part.partition, entry, &mut row, log)?;
            count(&outcome, &mut counts);
            failures.note(entry.offset, &outcome);
            outcomes.push(outcome);
            self.place += 1;
        }
        ledger.keep(head, &mut row);
        ledger.failed.extend(failures.into_row().map(|causes| (part.partition, causes)));
        counts.no_record = counts.no_record.saturating_add(settled.saturating_sub(outcomes.len() as u64));
        let position = Position {
            next: part.next,
            settled: part.settled.clone(),
            leader_epoch: part.leader_epoch,
            version,
            token: part.token,
            ..Position::default()
        };
        let standing = Standing { position: position.clone(), first, counts, written: (0, 0) };
        let row = Written { partition: part.partition, standing, log_time: log.0, identities };
        Ok((AppliedPart { partition: part.partition, position, outcomes }, row))
    }

    fn entry(
        &mut self,
        partition: i32,
        entry: &Entry<E::Order>,
        row: &mut LedgerWriter,
        log: &mut LogTime,
    ) -> Result<Outcome> {
        let identity = entry.identity.as_ref();
        let is_new = identity.is_none() || self.verdict.is_fresh(self.place);
        let was_replayed =
            identity.is_none() && !self.known.is_empty() && self.known.was_replayed(self.id(partition, entry));
        if was_replayed {
            return Ok(Outcome::Duplicate);
        }
        match &entry.work {
            Work::Apply(_) | Work::ApplyWith(..) | Work::Refuse(_) if !is_new => Ok(Outcome::Duplicate),
            Work::Apply(order) => self.apply(partition, entry, order, (row, log)),
            Work::ApplyWith(order, overlay) => {
                let outcome = self.apply(partition, entry, order, (row, log))?;
                if matches!(outcome, Outcome::Applied) {
                    self.laid.lay(self.id(partition, entry), overlay);
                }
                Ok(outcome)
            }
            Work::Refuse(cause) => {
                log.advance(log.sane(entry.timestamp, self.now));
                self.note_settled(identity);
                Ok(self.file(partition, entry, DeadLetterKind::Refused, cause.clone()))
            }
            Work::DeadLetter(_) if identity.is_some_and(|identity| self.verdict.is_known(identity)) => {
                Ok(Outcome::Duplicate)
            }
            Work::DeadLetter(cause) => Ok(self.file(partition, entry, DeadLetterKind::DeadLetter, cause.clone())),
        }
    }

    fn apply(
        &mut self,
        partition: i32,
        entry: &Entry<E::Order>,
        order: &E::Order,
        (row, log): (&mut LedgerWriter, &mut LogTime),
    ) -> Result<Outcome> {
        let identity = entry.identity.as_ref();
        let sane = log.sane(entry.timestamp, self.now);
        log.advance(sane);
        self.note_settled(identity);
        let written = (partition != BACKFILL).then_some(sane);
        let at = At { identity, offset: entry.offset, timestamp: entry.timestamp, written };
        match self.effect.decide(order, at, row)? {
            Decision::Applied => {
                // A letter that this very transaction has filed is closed as well.
                if !self.known.is_empty() || !self.changes.is_empty() {
                    let id = self.id(partition, entry);
                    if self.known.is_open(id) || self.changes.iter().any(|change| change.files(id)) {
                        self.changes.push(Change::Close(id, DeadLetterState::Resolved, None));
                    }
                }
                if self.early.is_awaited() {
                    self.early.arrive(self.id(partition, entry));
                }
                Ok(Outcome::Applied)
            }
            Decision::Refused { code, reason } => {
                let original = rebuilt(order, identity);
                let cause = DeadLetter { code: code.into(), reason, attempts: 1, original };
                Ok(self.file(partition, entry, DeadLetterKind::Refused, cause))
            }
        }
    }

    /// Later copies in the same transaction cannot fail any more.
    fn note_settled(&mut self, identity: Option<&Identity>) {
        if let Some(identity) = identity {
            self.verdict.settled_now(identity);
        }
    }

    fn id(&self, partition: i32, entry: &Entry<E::Order>) -> EventId {
        EventId::of(entry.identity.as_ref(), self.topic.0, partition, entry.offset)
    }

    fn file(&mut self, partition: i32, entry: &Entry<E::Order>, kind: DeadLetterKind, cause: DeadLetter) -> Outcome {
        let spot = Spot { topic: self.topic.1, partition, offset: entry.offset };
        let letter = letter_of((kind, E::ABOUT), &cause, entry.identity.as_ref(), (spot, entry.timestamp), self.now);
        let DeadLetter { code, reason, original, .. } = cause;
        self.changes.push(Change::file(self.id(partition, entry), letter, &original));
        match kind {
            DeadLetterKind::Refused => Outcome::Refused { code, reason },
            DeadLetterKind::DeadLetter => Outcome::DeadLetter { code, reason },
        }
    }
}

fn count(outcome: &Outcome, counts: &mut Counts) {
    let counter = match outcome {
        Outcome::Applied => &mut counts.applied,
        Outcome::Duplicate => &mut counts.duplicates,
        Outcome::Refused { .. } => &mut counts.refused,
        Outcome::DeadLetter { .. } => &mut counts.dead_letters,
    };
    *counter = counter.saturating_add(1);
}
