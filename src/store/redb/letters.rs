//! Dead letters in the tables, refusals among them.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

use redb::{ReadableDatabase, ReadableTable};

use super::fault::fault;
use super::tables::{DEAD_LETTERS, Tables, bytes_of};
use super::totals::Totals;
use crate::Result;
use crate::order::Identity;
use crate::store::dead_letter::{Letter, Spot, encode_original, full, header_of};
use crate::store::outbox::Filed;
use crate::store::{DeadLetterState, EventId, Original, OutboxRow};

/// How many open letters are known by heart; beyond it each applied order is looked up.
const KNOWN_MAX: usize = 100_000;

/// Which letters are open, so that an applied order is looked up only if it may have one.
#[derive(Debug, Default)]
pub(super) struct OpenLetters {
    hasher: RandomState,
    /// `None`: too many to know.
    known: Option<HashSet<u64>>,
}

impl OpenLetters {
    /// Reads which letters are open.
    pub(super) fn load(database: &redb::Database) -> Result<Self> {
        let transaction = database.begin_read().map_err(fault)?;
        let table = transaction.open_table(DEAD_LETTERS).map_err(fault)?;
        let mut open = Self { hasher: RandomState::new(), known: Some(HashSet::new()) };
        for row in table.iter().map_err(fault)? {
            let (_, value) = row.map_err(fault)?;
            let letter = Letter::decode(value.value())?;
            let by_place = letter.state == DeadLetterState::Replayed && letter.identity.is_none();
            if letter.is_open() || by_place {
                open.add(letter.identity.as_deref(), letter.first);
            }
        }
        Ok(open)
    }

    /// Whether an order may have an open letter.
    pub(super) fn may_have(&self, identity: Option<&Identity>, spot: Spot) -> bool {
        let Some(known) = &self.known else { return true };
        if known.is_empty() {
            return false;
        }
        let header = identity.map(header_of);
        known.contains(&self.hash(header.as_deref(), spot))
    }

    fn add(&mut self, identity: Option<&[u8]>, spot: Spot) {
        let hash = self.hash(identity, spot);
        let Some(known) = &mut self.known else { return };
        known.insert(hash);
        if known.len() > KNOWN_MAX {
            self.known = None;
        }
    }

    fn hash(&self, identity: Option<&[u8]>, spot: Spot) -> u64 {
        match identity {
            Some(header) => self.hasher.hash_one(header),
            None => self.hasher.hash_one((spot.topic, spot.partition, spot.offset)),
        }
    }
}

/// Where letters are written in a transaction.
pub(super) struct Desk<'a, 't> {
    pub(super) tables: &'a mut Tables<'t>,
    pub(super) totals: &'a mut Totals,
    pub(super) open: &'a mut OpenLetters,
    /// `dead_letters.max.bytes`.
    pub(super) max_bytes: u64,
    /// The wall clock, in milliseconds since 1970.
    pub(super) now: i64,
}

impl Desk<'_, '_> {
    /// Records a failed copy with its record and an event that tells of it.
    pub(super) fn file(&mut self, id: EventId, letter: Letter, original: &Original) -> Result<()> {
        let mut bytes = Vec::new();
        encode_original(original, &mut bytes);
        let earlier = self.letter(id)?;
        let had = earlier.as_ref().map_or(0, |letter| letter.bytes);
        let letter = Letter { bytes: bytes.len() as u64, ..letter };
        let letter = match earlier {
            Some(earlier) => letter.after(earlier),
            None => letter,
        };
        let letter = Letter { bytes: if letter.is_open() { letter.bytes } else { 0 }, ..letter };
        self.totals.letter_bytes = self.totals.letter_bytes.saturating_sub(had).saturating_add(letter.bytes);
        if self.totals.letter_bytes > self.max_bytes {
            return Err(full(self.max_bytes));
        }
        if !letter.is_open() {
            return self.put(id, &letter);
        }
        self.tables.originals.insert(id.as_bytes(), bytes.as_slice()).map_err(fault)?;
        self.open.add(letter.identity.as_deref(), letter.first);
        self.put_and_tell(id, &letter)
    }

    /// Writes a letter, with an event that tells of it.
    pub(super) fn put_and_tell(&mut self, id: EventId, letter: &Letter) -> Result<()> {
        self.put(id, letter)?;
        self.announce(OutboxRow::DeadLetter { id, version: letter.version })
    }

    /// A copy was applied: closes the letter, if there is one, and lets its record go.
    pub(super) fn resolve(&mut self, id: EventId) -> Result<()> {
        let Some(letter) = self.letter(id)?.filter(Letter::is_open) else { return Ok(()) };
        self.close(id, letter, DeadLetterState::Resolved)
    }

    /// Closes an open letter, and lets its record go.
    pub(super) fn close(&mut self, id: EventId, letter: Letter, state: DeadLetterState) -> Result<()> {
        self.totals.letter_bytes = self.totals.letter_bytes.saturating_sub(letter.bytes);
        self.tables.originals.remove(id.as_bytes()).map_err(fault)?;
        self.put(id, &letter.closed(state))
    }

    /// Appends an event to the outbox.
    pub(super) fn announce(&mut self, event: OutboxRow) -> Result<()> {
        self.totals.event = self.totals.event.saturating_add(1);
        let mut row = Vec::new();
        Filed { at: self.now, told: 0, row: event }.encode(&mut row);
        self.tables.outbox.insert(self.totals.event, row.as_slice()).map_err(fault)?;
        Ok(())
    }

    pub(super) fn letter(&self, id: EventId) -> Result<Option<Letter>> {
        bytes_of(&self.tables.dead_letters, id.as_bytes())?.map(|row| Letter::decode(&row)).transpose()
    }

    fn put(&mut self, id: EventId, letter: &Letter) -> Result<()> {
        let mut row = Vec::new();
        letter.encode(&mut row);
        self.tables.dead_letters.insert(id.as_bytes(), row.as_slice()).map_err(fault)?;
        Ok(())
    }
}
