//! A batch whose duplicates are known: the orders that are due, the refusals, the answer.

use std::borrow::Cow;
use std::collections::BTreeSet;

use super::notes::note;
use super::{Statement, Value, stored};
use crate::order::{Identity, Order};
use crate::store::dead_letter::{encode_original, rebuilt};
use crate::store::{
    Applied, AppliedPart, Batch, DeadLetter, DeadLetterKind, Entry, EventId, Outcome, Part, Position, Work,
};

// Another copy that failed: the origin stays, the cause is the newest, and the attempts add up.
const LETTER: &str = "INSERT INTO orderflow_dead_letters AS letter (group_name, id, kind, state, code, reason, attempts, identity,
    topic, partition, record_offset, record_time, first_failed, last_failed, record)
  VALUES ($1::text, $2::text, $3::text, $4::text, $5::text, $6::text, $7::integer, $8::bytea, $9::text, $10::integer,
    $11::bigint, $12::bigint, now(), now(), $13::bytea)
  ON CONFLICT (group_name, id) DO UPDATE SET kind = excluded.kind, state = excluded.state, code = excluded.code,
    reason = excluded.reason, attempts = letter.attempts + excluded.attempts, last_failed = now(), record = excluded.record";
const NOTE: &str = "UPDATE orderflow_positions SET noted = $5::bytea
  WHERE group_name = $1::text AND topic_key = $2::text AND partition = $3::integer AND version = $4::bigint";

/// A batch in a transaction that has claimed its positions.
#[derive(Debug)]
pub struct Decided<'a, O> {
    keys: (Value, Value, Value),
    batch: &'a Batch<O>,
    /// By part and entry.
    outcomes: Vec<Vec<Outcome>>,
    due: Vec<(usize, usize)>,
    letters: Vec<Letter>,
}

/// An order whose effect is to be made.
#[derive(Clone, Debug)]
pub struct Due<'a, O> {
    place: (usize, usize),
    /// The order.
    pub order: &'a O,
    /// Its identity, if it has one.
    pub identity: Option<&'a Identity>,
    /// A name for what it leads to: the same for each of its copies, and after a rebuild from the log.
    pub id: EventId,
    /// The partition of its record.
    pub partition: i32,
    /// The offset of its record.
    pub offset: i64,
    /// The record's timestamp, in milliseconds since 1970.
    pub timestamp: i64,
}

#[derive(Debug)]
struct Letter {
    place: (usize, usize),
    kind: DeadLetterKind,
    /// A later copy in the same batch was applied.
    is_resolved: bool,
    cause: DeadLetter,
}

impl<'a, O: Order> Decided<'a, O> {
    pub(super) fn new(
        keys: (Value, Value, Value),
        batch: &'a Batch<O>,
        identities: impl IntoIterator<Item = (Vec<u8>, bool)>,
    ) -> Self {
        let outcomes = batch.parts.iter().map(|part| vec![Outcome::Applied; part.entries.len()]).collect();
        let mut decided = Self { keys, batch, outcomes, due: Vec::new(), letters: Vec::new() };
        let (mut fresh, mut known) = (BTreeSet::new(), BTreeSet::new());
        for (identity, is_new) in identities {
            if is_new {
                fresh.insert(identity)
            } else {
                known.insert(identity)
            };
        }
        for (part, entry) in places(batch) {
            decided.look_at((part, entry), &mut fresh, &mut known);
        }
        decided
    }

    fn look_at(&mut self, place: (usize, usize), fresh: &mut BTreeSet<Vec<u8>>, known: &mut BTreeSet<Vec<u8>>) {
        let Some((_, entry)) = self.entry(place) else { return };
        let key = entry.identity.as_ref().map(|identity| {
            let mut key = Vec::with_capacity(40);
            identity.write_store_key(&mut key);
            key
        });
        let is_letter = matches!(entry.work, Work::DeadLetter(_));
        let is_new = match key {
            None => true,
            Some(key) if is_letter => !known.contains(&key),
            Some(key) => fresh.remove(&key) && known.insert(key),
        };
        match &entry.work {
            _ if !is_new => self.become_of(place, Outcome::Duplicate),
            Work::Apply(_) | Work::ApplyWith(..) => {
                let identity = entry.identity.as_ref();
                self.resolve(identity);
                self.due.push(place);
            }
            Work::Refuse(cause) => self.file(place, DeadLetterKind::Refused, cause.clone()),
            Work::DeadLetter(cause) => self.file(place, DeadLetterKind::DeadLetter, cause.clone()),
        }
    }

    /// The orders whose effects are to be made, in the order in which they are to be made.
    #[must_use]
    pub fn due(&self) -> Vec<Due<'a, O>> {
        let due = self.due.iter().filter_map(|place| {
            let (part, entry) = self.entry(*place)?;
            let (Work::Apply(order) | Work::ApplyWith(order, _)) = &entry.work else { return None };
            Some(Due {
                place: *place,
                order,
                identity: entry.identity.as_ref(),
                id: self.id(part, entry),
                partition: part.partition,
                offset: entry.offset,
                timestamp: entry.timestamp,
            })
        });
        due.collect()
    }

    /// Refuses an order for a reason of the business: it had no effect, and its copies are duplicates.
    pub fn refuse(&mut self, due: &Due<'_, O>, code: impl Into<Cow<'static, str>>, reason: impl Into<String>) {
        let original = rebuilt(due.order, due.identity);
        let cause = DeadLetter { code: code.into(), reason: reason.into(), attempts: 1, original };
        self.file(due.place, DeadLetterKind::Refused, cause);
    }

    /// What is left to be written before the commit.
    #[must_use]
    pub fn statements(&self) -> Vec<Statement> {
        let letters = self.letters.iter().filter_map(|letter| self.letter(letter));
        let notes = self.batch.parts.iter().zip(&self.outcomes).filter_map(|(part, outcomes)| {
            let noted = note(outcomes);
            let (group, key, _) = self.keys.clone();
            let version = stored(part.expected.saturating_add(1));
            let values =
                vec![group, key, Value::Int(part.partition), Value::Long(version), Value::Bytes(Some(noted.clone()))];
            (!noted.is_empty()).then_some(Statement { sql: NOTE, values })
        });
        letters.chain(notes).collect()
    }

    /// The answer, once the transaction is committed.
    #[must_use]
    pub fn applied(self) -> Applied {
        let parts = self.batch.parts.iter().zip(self.outcomes).map(|(part, outcomes)| {
            let position = Position {
                next: part.next,
                settled: part.settled.clone(),
                leader_epoch: part.leader_epoch,
                version: part.expected.saturating_add(1),
                token: part.token,
                ..Position::default()
            };
            AppliedPart { partition: part.partition, position, outcomes }
        });
        Applied { parts: parts.collect() }
    }

    fn file(&mut self, place: (usize, usize), kind: DeadLetterKind, cause: DeadLetter) {
        let (code, reason) = (cause.code.clone(), cause.reason.clone());
        self.become_of(
            place,
            match kind {
                DeadLetterKind::Refused => Outcome::Refused { code, reason },
                DeadLetterKind::DeadLetter => Outcome::DeadLetter { code, reason },
            },
        );
        self.letters.push(Letter { place, kind, is_resolved: false, cause });
    }

    /// An order is applied: what failed of its earlier copies in this batch is settled.
    fn resolve(&mut self, identity: Option<&Identity>) {
        let batch = self.batch;
        for letter in &mut self.letters {
            let failed = entry_at(batch, letter.place).and_then(|(_, entry)| entry.identity.as_ref());
            letter.is_resolved |= identity.is_some() && failed == identity;
        }
    }

    fn letter(&self, letter: &Letter) -> Option<Statement> {
        let (part, entry) = self.entry(letter.place)?;
        let (group, _, name) = self.keys.clone();
        let mut record = Vec::new();
        encode_original(&letter.cause.original, &mut record);
        let key = entry.identity.as_ref().map(|identity| {
            let mut key = Vec::new();
            identity.write_store_key(&mut key);
            key
        });
        let kind = if letter.kind == DeadLetterKind::Refused { "refused" } else { "dead_letter" };
        let values = vec![
            group,
            Value::Text(self.id(part, entry).to_string()),
            Value::Text(kind.to_owned()),
            Value::Text(if letter.is_resolved { "resolved" } else { "open" }.to_owned()),
            Value::Text(letter.cause.code.clone().into_owned()),
            Value::Text(letter.cause.reason.replace('\0', "\u{fffd}")),
            Value::Int(i32::try_from(letter.cause.attempts).unwrap_or(i32::MAX)),
            Value::Bytes(key),
            name,
            Value::Int(part.partition),
            Value::Long(entry.offset),
            Value::Long(entry.timestamp),
            Value::Bytes(Some(record)),
        ];
        Some(Statement { sql: LETTER, values })
    }

    fn id(&self, part: &Part<O>, entry: &Entry<O>) -> EventId {
        EventId::of(entry.identity.as_ref(), &self.batch.topic, part.partition, entry.offset)
    }

    fn entry(&self, place: (usize, usize)) -> Option<(&'a Part<O>, &'a Entry<O>)> {
        entry_at(self.batch, place)
    }

    fn become_of(&mut self, (part, entry): (usize, usize), outcome: Outcome) {
        if let Some(kept) = self.outcomes.get_mut(part).and_then(|outcomes| outcomes.get_mut(entry)) {
            *kept = outcome;
        }
    }
}

fn entry_at<O>(batch: &Batch<O>, (part, entry): (usize, usize)) -> Option<(&Part<O>, &Entry<O>)> {
    let part = batch.parts.get(part)?;
    Some((part, part.entries.get(entry)?))
}

fn places<O>(batch: &Batch<O>) -> impl Iterator<Item = (usize, usize)> + '_ {
    batch.parts.iter().enumerate().flat_map(|(part, of)| (0..of.entries.len()).map(move |entry| (part, entry)))
}
