//! One transaction: positions compared, orders settled, everything written.
//!
//! ```text
//!  compare versions (R2, R5) -> settle each part -> write what changed
//!     conflict: nothing          |  dedupe -> effect -> ledger line | refusal | dead letter
//! ```
//! redb has no partial undo, so a transaction that fails anywhere is given up as a whole, and what was
//! in memory is read from the file again.

use std::collections::BTreeSet;

use super::effect::{Effect, Settles, Written};
use super::fault::fault;
use super::letters::Desk;
use super::memory::Memory;
use super::recall::recall;
use super::settings::RedbSettings;
use super::shelf::Shelving;
use super::tables::Tables;
use super::totals::TOTALS;
use crate::order::{Identity, Order};
use crate::place::{Place, TopicPartition};
use crate::store::dead_letter::{About, Spot, letter_of, rebuilt};
use crate::store::decision::{At, Decision};
use crate::store::failures::Failures;
use crate::store::ledger::{Head, LedgerWriter, Lines};
use crate::store::pack::{put_bytes, put_i64};
use crate::store::standing::{Meeting, Standing};
use crate::store::{
    Applied, AppliedPart, BACKFILL, Batch, Counts, DeadLetter, DeadLetterKind, Entry, EventId, OutboxRow, Outcome,
    Part, Position, Settled, Start, Topic, Work,
};
use crate::{Error, ErrorCode, Result};

/// One transaction under way.
pub(super) struct Settling<'a, 't, E> {
    pub(super) memory: &'a mut Memory<E>,
    pub(super) tables: &'a mut Tables<'t>,
    pub(super) settings: &'a RedbSettings,
    /// The wall clock, in milliseconds since 1970.
    pub(super) now: i64,
    /// How many rows of the ledger were written.
    pub(super) rows: u32,
}

/// A partition, with the store's number of its topic.
#[derive(Clone, Copy)]
pub(super) struct Here<'a> {
    pub(super) topic: &'a Topic,
    pub(super) number: u32,
    pub(super) partition: i32,
}

impl Here<'_> {
    pub(super) fn key(&self) -> (u32, i32) {
        (self.number, self.partition)
    }

    pub(super) fn spot(&self, offset: i64) -> Spot {
        Spot { topic: self.number, partition: self.partition, offset }
    }

    pub(super) fn event_id(&self, identity: Option<&Identity>, offset: i64) -> EventId {
        EventId::of(identity, self.topic, self.partition, offset)
    }

    fn conflict(&self, stands: u64, expected: u64) -> Error {
        let message = format!("somebody else wrote the position: it has version {stands} and {expected} was expected");
        Error::new(ErrorCode::StoreConflict, message)
            .at(Place::partition(&TopicPartition::new(self.topic.name.clone(), self.partition)))
            .remedy("read the position again, and go on from it if the partition is still yours")
    }
}

impl<'t, E: Effect> Settling<'_, 't, E> {
    /// Settles a batch: rules R1, R2 and R5.
    pub(super) fn batch<O: Order>(mut self, batch: Batch<O>) -> Result<Applied>
    where
        E: Settles<O>,
    {
        let number = self.memory.topics.number(&batch.topic, &mut self.tables.topics)?;
        let meetings = self.compare(number, &batch)?;
        self.memory.totals.transaction += 1;
        E::prepare(&mut self, &batch)?;
        let mut parts = Vec::with_capacity(batch.parts.len());
        for (part, meeting) in batch.parts.into_iter().zip(meetings) {
            let here = Here { topic: &batch.topic, number, partition: part.partition };
            parts.push(match meeting {
                Meeting::Repeated => recall(self.memory, self.tables, here, &part)?,
                Meeting::Fresh | Meeting::Conflict => self.part(here, part)?,
            });
        }
        self.catch_up_with_updates()?;
        self.finish()?;
        Ok(Applied { parts })
    }

    /// Sets a position on purpose, closes the account of the way to it and begins another.
    pub(super) fn start(self, topic: &Topic, start: &Start) -> Result<Position> {
        let number = self.memory.topics.number(topic, &mut self.tables.topics)?;
        let here = Here { topic, number, partition: start.partition };
        let before = self.memory.standing(self.tables, here.key())?.clone();
        match before.meet(start.expected, start.token, (start.next, &Settled::new())) {
            Meeting::Repeated => return Ok(before.position),
            Meeting::Conflict => return Err(here.conflict(before.position.version, start.expected)),
            Meeting::Fresh => {}
        }
        let after = before.starting(start.next, start.leader_epoch, start.token);
        let position = after.position.clone();
        let mut row = Vec::new();
        put_i64(self.now, &mut row);
        put_bytes(start.reason.as_bytes(), &mut row);
        before.encode(&mut row);
        self.tables.starts.insert((number, start.partition, position.version), row.as_slice()).map_err(fault)?;
        self.memory.stand(self.tables, here.key(), after)?;
        Ok(position)
    }

    fn compare<O: Order>(&mut self, number: u32, batch: &Batch<O>) -> Result<Vec<Meeting>> {
        let mut partitions = BTreeSet::new();
        let mut meetings = Vec::with_capacity(batch.parts.len());
        for part in &batch.parts {
            let here = Here { topic: &batch.topic, number, partition: part.partition };
            if !partitions.insert(part.partition) {
                let message = format!("partition {} is in the batch twice", part.partition);
                return Err(Error::new(ErrorCode::Internal, message));
            }
            let standing = self.memory.standing(self.tables, here.key())?;
            let meeting = standing.meet(part.expected, part.token, (part.next, &part.settled));
            if meeting == Meeting::Conflict {
                return Err(here.conflict(standing.position.version, part.expected));
            }
            meetings.push(meeting);
        }
        Ok(meetings)
    }

    fn part<O: Order>(&mut self, here: Here<'_>, part: Part<O>) -> Result<AppliedPart>
    where
        E: Settles<O>,
    {
        let standing = self.memory.standing(self.tables, here.key())?;
        let settled = standing.settles(&part)?;
        let (first, mut counts) = (standing.first_with(&part), standing.counts);
        let version = standing.position.version.saturating_add(1);
        let Part { partition, token, next, settled: ahead, leader_epoch, entries, .. } = part;
        let position =
            Position { next, settled: ahead, leader_epoch, version, token, tried: Vec::new(), tripped: None };

        let written = (self.memory.totals.transaction, self.rows);
        let head = Head { topic: here.number, partition, version, lines: lines_of(E::ABOUT) };
        let mut row = LedgerWriter::new(head, self.memory.buffer());
        self.memory.effect.begin_row();
        let mut outcomes = Vec::with_capacity(entries.len());
        let mut failures = Failures::of(version);
        for entry in entries {
            let offset = entry.offset;
            if row.is_full() {
                self.keep(&mut row)?;
            }
            let outcome = self.entry(here, entry, &mut row)?;
            count(&outcome, &mut counts);
            failures.note(offset, &outcome);
            outcomes.push(outcome);
        }
        if let Some(row) = failures.into_row() {
            self.tables.failures.insert(here.key(), row.as_slice()).map_err(fault)?;
        }
        counts.no_record = counts.no_record.saturating_add(settled.saturating_sub(outcomes.len() as u64));
        self.keep(&mut row)?;
        self.memory.give_back(row.into_buffer());
        if head.lines == Lines::Orders {
            self.announce(written)?;
        }
        self.memory.stand(self.tables, here.key(), Standing { position: position.clone(), first, counts, written })?;
        Ok(AppliedPart { partition, position, outcomes })
    }

    /// Writes a row of the ledger, if it has orders, and begins another.
    pub(super) fn keep(&mut self, row: &mut LedgerWriter) -> Result<()> {
        if row.orders() > 0 {
            let key = (self.memory.totals.transaction, self.rows);
            self.tables.ledger.insert(key, row.bytes()).map_err(fault)?;
            self.rows = self.rows.saturating_add(1);
            row.begin();
        }
        self.memory.effect.begin_row();
        Ok(())
    }

    /// Tells the relay of the rows that a part has written.
    pub(super) fn announce(&mut self, (transaction, first_row): (u64, u32)) -> Result<()> {
        let rows = self.rows.saturating_sub(first_row);
        if E::ANNOUNCED && rows > 0 {
            self.desk().announce(OutboxRow::Scheduled { transaction, first_row, rows })?;
        }
        Ok(())
    }

    fn entry<O: Order>(&mut self, here: Here<'_>, entry: Entry<O>, row: &mut LedgerWriter) -> Result<Outcome>
    where
        E: Settles<O>,
    {
        let Entry { offset, timestamp, identity, work } = entry;
        let (identity, place) = (identity.as_ref(), (offset, timestamp));
        if self.was_replayed(here, identity, offset)? {
            return Ok(Outcome::Duplicate);
        }
        match work {
            Work::Apply(order) => self.apply(here, place, identity, &order, row),
            Work::ApplyWith(order, overlay) => {
                let outcome = self.apply(here, place, identity, &order, row)?;
                if matches!(outcome, Outcome::Applied) {
                    self.lay(here.event_id(identity, offset), *overlay)?;
                }
                Ok(outcome)
            }
            Work::Refuse(cause) => {
                if !self.is_new(identity, timestamp)? {
                    return Ok(Outcome::Duplicate);
                }
                self.file(here, place, identity, (DeadLetterKind::Refused, E::ABOUT), cause)
            }
            Work::DeadLetter(cause) => {
                if let Some(identity) = identity
                    && self.memory.applied.has(identity, self.tables)?
                {
                    return Ok(Outcome::Duplicate);
                }
                self.file(here, place, identity, (DeadLetterKind::DeadLetter, E::ABOUT), cause)
            }
        }
    }

    #[inline]
    fn apply<O: Order>(
        &mut self,
        here: Here<'_>,
        (offset, timestamp): (i64, i64),
        identity: Option<&Identity>,
        order: &O,
        row: &mut LedgerWriter,
    ) -> Result<Outcome>
    where
        E: Settles<O>,
    {
        if !self.is_new(identity, timestamp)? {
            return Ok(Outcome::Duplicate);
        }
        let sane = self.memory.totals.log.sane(timestamp, self.now);
        let written = (here.partition != BACKFILL).then_some(sane);
        let at = At { identity, offset, timestamp, written };
        match E::settle(self, order, at, row)? {
            Decision::Applied => {
                if self.memory.open.may_have(identity, here.spot(offset)) {
                    self.desk().resolve(here.event_id(identity, offset))?;
                }
                if E::ABOUT == About::Order && self.memory.open.awaits_deliveries() {
                    self.memory.open.arrive(here.event_id(identity, offset));
                }
                Ok(Outcome::Applied)
            }
            Decision::Refused { code, reason } => {
                let original = rebuilt(order, identity);
                let cause = DeadLetter { code: code.into(), reason, attempts: 1, original };
                self.file(here, (offset, timestamp), identity, (DeadLetterKind::Refused, E::ABOUT), cause)
            }
        }
    }

    /// Whether the order was not settled before; it is now.
    pub(super) fn is_new(&mut self, identity: Option<&Identity>, timestamp: i64) -> Result<bool> {
        let totals = &mut self.memory.totals;
        let sane = totals.log.sane(timestamp, self.now);
        if let Some(identity) = identity {
            if !self.memory.applied.settle(identity, sane, self.tables)? {
                return Ok(false);
            }
            totals.identities += 1;
        }
        totals.log.advance(sane);
        Ok(true)
    }

    fn file(
        &mut self,
        here: Here<'_>,
        (offset, timestamp): (i64, i64),
        identity: Option<&Identity>,
        (kind, about): (DeadLetterKind, About),
        cause: DeadLetter,
    ) -> Result<Outcome> {
        let letter = letter_of((kind, about), &cause, identity, (here.spot(offset), timestamp), self.now);
        let DeadLetter { code, reason, original, .. } = cause;
        self.desk().file(here.event_id(identity, offset), letter, &original)?;
        Ok(match kind {
            DeadLetterKind::Refused => Outcome::Refused { code, reason },
            DeadLetterKind::DeadLetter => Outcome::DeadLetter { code, reason },
        })
    }

    pub(super) fn finish(&mut self) -> Result<()> {
        for tidings in self.memory.effect.take_tidings() {
            self.desk().announce(tidings)?;
        }
        let Memory { applied, totals, effect, forgetting, .. } = &mut *self.memory;
        applied.write(&mut Shelving { tables: self.tables, totals })?;
        if effect.write(&mut self.tables.effect)? == Written::Folded {
            totals.folded = totals.transaction;
        }
        if forgetting.step(self.tables, totals, &self.settings.retention)? > 0 {
            applied.forget();
        }
        self.tables.meta.insert(TOTALS, totals.encode().as_slice()).map_err(fault)?;
        Ok(())
    }

    pub(super) fn desk(&mut self) -> Desk<'_, 't> {
        Desk {
            tables: self.tables,
            totals: &mut self.memory.totals,
            open: &mut self.memory.open,
            max_bytes: self.settings.dead_letters_max_bytes,
            now: self.now,
        }
    }
}

/// What the lines of the ledger are whose records are about this.
pub(super) fn lines_of(about: About) -> Lines {
    match about {
        About::Order => Lines::Orders,
        About::Update => Lines::Moves,
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
