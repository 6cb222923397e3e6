//! Dead letters in the tables, refusals among them.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

use redb::{ReadableDatabase, ReadableTable};

use super::fault::fault;
use super::tables::{DEAD_LETTERS, ORIGINALS, Tables, bytes_of};
use super::totals::Totals;
use crate::Result;
use crate::order::{DeliveryUpdate, Identity, Order};
use crate::store::dead_letter::{About, Letter, Spot, decode_original, encode_original, full, header_of};
use crate::store::outbox::Filed;
use crate::store::{DeadLetterState, EventId, Original, OutboxRow, UNKNOWN};

/// How many open letters are known by heart; beyond it each applied order is looked up.
const KNOWN_MAX: usize = 100_000;
/// How many updates are known that came before their deliveries; what comes beyond it is replayed by hand.
const EARLY_MAX: usize = 10_000;

/// Which letters are open, so that an applied order is looked up only if it may have one.
#[derive(Debug, Default)]
pub(super) struct OpenLetters {
    hasher: RandomState,
    /// `None`: too many to know.
    known: Option<HashSet<u64>>,
    /// Updates that came before their deliveries: these, in order, and the letters.
    early: Vec<(EventId, EventId)>,
    /// Letters whose deliveries the transaction under way has scheduled.
    pub(super) arrived: Vec<EventId>,
}

impl OpenLetters {
    /// Reads which letters are open.
    pub(super) fn load(database: &redb::Database) -> Result<Self> {
        let transaction = database.begin_read().map_err(fault)?;
        let table = transaction.open_table(DEAD_LETTERS).map_err(fault)?;
        let originals = transaction.open_table(ORIGINALS).map_err(fault)?;
        let mut open = Self { known: Some(HashSet::new()), ..Self::default() };
        for row in table.iter().map_err(fault)? {
            let (id, value) = row.map_err(fault)?;
            let letter = Letter::decode(value.value())?;
            if is_early(&letter) {
                let record = bytes_of(&originals, id.value())?.map(|row| decode_original(&row)).transpose()?;
                open.await_delivery(EventId::new(*id.value()), record.as_ref());
            }
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

    /// Whether updates wait for deliveries.
    pub(super) fn awaits_deliveries(&self) -> bool {
        !self.early.is_empty()
    }

    /// A delivery is scheduled: what came before it waits no longer.
    pub(super) fn arrive(&mut self, delivery: EventId) {
        let from = self.early.partition_point(|(awaited, _)| *awaited < delivery);
        let until = self.early.partition_point(|(awaited, _)| *awaited <= delivery);
        self.arrived.extend(self.early.drain(from..until).map(|(_, letter)| letter));
    }

    fn await_delivery(&mut self, letter: EventId, record: Option<&Original>) {
        let value = record.and_then(|record| record.value.as_deref());
        let Some(update) = value.and_then(|value| DeliveryUpdate::decode(value).ok()) else { return };
        let entry = (EventId::new(update.delivery()), letter);
        if let (Err(place), true) = (self.early.binary_search(&entry), self.early.len() < EARLY_MAX) {
            self.early.insert(place, entry);
        }
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

/// Whether it is an update whose delivery is not there yet.
pub(super) fn is_early(letter: &Letter) -> bool {
    letter.is_open() && letter.about == About::Update && letter.code == UNKNOWN
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
        if is_early(&letter) {
            self.open.await_delivery(id, Some(original));
        }
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

    /// Nothing is requested of it any more.
    pub(super) fn unask(&mut self, id: EventId) -> Result<()> {
        self.tables.requested.remove(id.as_bytes()).map_err(fault).map(drop)
    }

    pub(super) fn letter(&self, id: EventId) -> Result<Option<Letter>> {
        bytes_of(&self.tables.dead_letters, id.as_bytes())?.map(|row| Letter::decode(&row)).transpose()
    }

    fn put(&mut self, id: EventId, letter: &Letter) -> Result<()> {
        let mut row = Vec::new();
        letter.encode(&mut row);
        self.tables.dead_letters.insert(id.as_bytes(), row.as_slice()).map_err(fault)?;
        if letter.is_open() { Ok(()) } else { self.unask(id) }
    }
}
