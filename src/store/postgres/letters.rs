//! Dead letters in the tables, refusals among them.
//!
//! What a transaction does to letters is collected while its orders are decided, and done at its end: the counters are
//! locked, the letters read, changed in memory and written at once. Events are numbered under that lock, so that they
//! become visible in the order of their numbers.

use std::collections::{BTreeMap, HashMap};

use tokio_postgres::types::Type;

use super::link::{Link, get, stored};
use crate::order::{DeliveryUpdate, Order};
use crate::store::dead_letter::{About, Letter, decode_original, encode_original, full};
use crate::store::{DeadLetterState, EventId, Original, OutboxRow, UNKNOWN};
use crate::{Error, ErrorCode, Result};

/// How many open letters are read beforehand; where there are more, those of the transaction's records are looked up.
const KNOWN_MAX: i64 = 1_000;

const THAT_MATTER: &str = "SELECT id, state = 2 FROM dead_letters WHERE state = 0 OR (state = 2 AND by_place) LIMIT $1";
const OF_RECORDS: &str = "SELECT id, state = 2 FROM dead_letters
                          WHERE id = ANY($1) AND (state = 0 OR (state = 2 AND by_place))";
const LOCK: &str = "SELECT name, value FROM counters WHERE name IN ('event', 'letter_bytes') ORDER BY name FOR UPDATE";
const READ: &str = "SELECT id, letter FROM dead_letters WHERE id = ANY($1)";
const COUNT: &str = "UPDATE counters SET value = new.value FROM unnest($1, $2) AS new (name, value)
                     WHERE counters.name = new.name";
const WRITE: &str = "INSERT INTO dead_letters (id, state, by_place, code, reason, letter, bytes, record, delivery)
                     SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9)
                     ON CONFLICT (id) DO UPDATE SET state = excluded.state, by_place = excluded.by_place,
                       code = excluded.code, reason = excluded.reason, letter = excluded.letter, bytes = excluded.bytes,
                       record = CASE WHEN excluded.state = 0 THEN coalesce(excluded.record, dead_letters.record) END,
                       delivery = CASE WHEN excluded.state = 0 THEN coalesce(excluded.delivery, dead_letters.delivery) END";
const UNASK: &str = "DELETE FROM requested WHERE id = ANY($1)";
const TELL: &str = "INSERT INTO outbox (event, shard, letter, version, delivery, tidings)
                    SELECT * FROM unnest($1, $2, $3, $4, $5, $6)";

/// Letters that an order may meet: open ones, and replayed ones that stand for a place.
#[derive(Debug, Default)]
pub(super) struct KnownLetters {
    /// Whether it was replayed.
    known: HashMap<EventId, bool>,
    /// More than could be read.
    too_many: bool,
}

impl KnownLetters {
    pub(super) async fn load(link: Link<'_>) -> Result<Self> {
        let rows = link.rows(THAT_MATTER, &[(&KNOWN_MAX, Type::INT8)]).await?;
        let too_many = rows.len() as i64 >= KNOWN_MAX;
        let known = rows.iter().map(|row| Ok((id_of(get(row, 0)?)?, get(row, 1)?))).collect::<Result<_>>()?;
        Ok(Self { known, too_many })
    }

    /// Looks up what was left out, for these records.
    pub(super) async fn complete(&mut self, link: Link<'_>, records: impl Iterator<Item = EventId>) -> Result<()> {
        if !self.too_many {
            return Ok(());
        }
        let ids: Vec<Vec<u8>> = records.map(|id| id.as_bytes().to_vec()).collect();
        let rows = link.rows(OF_RECORDS, &[(&ids, Type::BYTEA_ARRAY)]).await?;
        self.known = rows.iter().map(|row| Ok((id_of(get(row, 0)?)?, get(row, 1)?))).collect::<Result<_>>()?;
        self.too_many = false;
        Ok(())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    pub(super) fn is_open(&self, id: EventId) -> bool {
        self.known.get(&id) == Some(&false)
    }

    pub(super) fn was_replayed(&self, id: EventId) -> bool {
        self.known.get(&id) == Some(&true)
    }
}

/// What happens to a letter.
#[derive(Debug)]
pub(super) enum Change {
    /// Another copy failed.
    File(EventId, Letter, Vec<u8>),
    /// It is closed, if it is open.
    Close(EventId, DeadLetterState, Option<String>),
    /// It failed again, after so many tries: everything but its record is new.
    FailedAgain(EventId, Letter, u32),
}

impl Change {
    /// A copy failed, with its record.
    pub(super) fn file(id: EventId, letter: Letter, original: &Original) -> Self {
        let mut bytes = Vec::new();
        encode_original(original, &mut bytes);
        Self::File(id, Letter { bytes: bytes.len() as u64, ..letter }, bytes)
    }

    /// Whether it files this letter.
    pub(super) fn files(&self, wanted: EventId) -> bool {
        matches!(self, Self::File(id, ..) if *id == wanted)
    }

    pub(super) fn id(&self) -> EventId {
        match self {
            Self::File(id, ..) | Self::Close(id, ..) | Self::FailedAgain(id, ..) => *id,
        }
    }
}

/// Letters as they are after a transaction.
#[derive(Debug, Default)]
pub(super) struct Desk {
    letters: BTreeMap<EventId, Kept>,
    /// The versions that the letters had.
    found: BTreeMap<EventId, u32>,
    events: Vec<OutboxRow>,
    /// Nothing is requested of these any more.
    tried: Vec<EventId>,
    event: i64,
    bytes: u64,
    any: bool,
}

#[derive(Debug)]
struct Kept {
    letter: Letter,
    record: Option<Vec<u8>>,
    /// What an update is of that came before its delivery.
    delivery: Option<EventId>,
    changed: bool,
}

impl Kept {
    fn of(letter: Letter) -> Self {
        Self { letter, record: None, delivery: None, changed: false }
    }

    fn changed(letter: Letter) -> Self {
        Self { changed: true, ..Self::of(letter) }
    }
}

impl Desk {
    /// Locks the counters, reads the letters and makes the changes in memory. What else is to be told is `tidings`.
    pub(super) async fn make(
        link: Link<'_>,
        changes: Vec<Change>,
        tidings: Vec<OutboxRow>,
        max_bytes: u64,
    ) -> Result<Self> {
        let mut desk = Self { events: tidings, ..Self::default() };
        if changes.is_empty() && desk.events.is_empty() {
            return Ok(desk);
        }
        let mut ids: Vec<Vec<u8>> = changes.iter().map(|change| change.id().as_bytes().to_vec()).collect();
        ids.sort_unstable();
        ids.dedup();
        let names = [(&ids as _, Type::BYTEA_ARRAY)];
        let (counters, letters) = futures::try_join!(link.rows(LOCK, &[]), link.rows(READ, &names))?;
        for row in &counters {
            match get::<&str>(row, 0)? {
                "event" => desk.event = get(row, 1)?,
                _ => desk.bytes = u64::try_from(get::<i64>(row, 1)?).unwrap_or(0),
            }
        }
        for row in &letters {
            let letter = Letter::decode(get(row, 1)?)?;
            let id = id_of(get(row, 0)?)?;
            desk.found.insert(id, letter.version);
            desk.letters.insert(id, Kept::of(letter));
        }
        desk.any = true;
        changes.into_iter().try_for_each(|change| desk.change(change, max_bytes))?;
        Ok(desk)
    }

    fn change(&mut self, change: Change, max_bytes: u64) -> Result<()> {
        match change {
            Change::File(id, letter, record) => self.file(id, letter, record, max_bytes),
            Change::Close(id, state, reason) => {
                if let Some(kept) = self.letters.get_mut(&id).filter(|kept| kept.letter.is_open()) {
                    self.bytes = self.bytes.saturating_sub(kept.letter.bytes);
                    let reason = reason.unwrap_or_else(|| kept.letter.reason.clone());
                    let letter = Letter { reason, ..kept.letter.clone() }.closed(state);
                    *kept = Kept::changed(letter);
                    self.tried.push(id);
                }
                Ok(())
            }
            Change::FailedAgain(id, letter, tries) => {
                if let Some(kept) = self.letters.get_mut(&id).filter(|kept| kept.letter.is_open()) {
                    let version = kept.letter.version.saturating_add(1);
                    let attempts = kept.letter.attempts.saturating_add(tries);
                    kept.letter = Letter { version, attempts, ..letter };
                    kept.changed = true;
                    self.events.push(OutboxRow::DeadLetter { id, version });
                    self.tried.push(id);
                }
                Ok(())
            }
        }
    }

    fn file(&mut self, id: EventId, letter: Letter, record: Vec<u8>, max_bytes: u64) -> Result<()> {
        let earlier = self.letters.remove(&id).map(|kept| kept.letter);
        let had = earlier.as_ref().map_or(0, |letter| letter.bytes);
        let letter = match earlier {
            Some(earlier) => letter.after(earlier),
            None => letter,
        };
        let is_open = letter.is_open();
        let letter = Letter { bytes: if is_open { letter.bytes } else { 0 }, ..letter };
        self.bytes = self.bytes.saturating_sub(had).saturating_add(letter.bytes);
        if self.bytes > max_bytes {
            return Err(full(max_bytes));
        }
        if is_open {
            self.events.push(OutboxRow::DeadLetter { id, version: letter.version });
        }
        let delivery = awaited(&letter, &record)?;
        let record = is_open.then_some(record);
        self.letters.insert(id, Kept { record, delivery, ..Kept::changed(letter) });
        Ok(())
    }

    /// Whether a letter had this version when the counters were locked.
    pub(super) fn found(&self, id: EventId, version: u32) -> bool {
        self.found.get(&id) == Some(&version)
    }

    /// The number of the last event, if there are new ones.
    pub(super) fn told(&self) -> Option<u64> {
        let last = self.event.saturating_add(self.events.len() as i64);
        (!self.events.is_empty()).then(|| u64::try_from(last).unwrap_or(0))
    }

    /// Writes everything, in one trip.
    pub(super) async fn write(&self, link: Link<'_>) -> Result<()> {
        if !self.any {
            return Ok(());
        }
        let letters = async { futures::try_join!(self.write_letters(link), self.unask(link)) };
        futures::try_join!(letters, self.write_events(link), self.write_counters(link)).map(drop)
    }

    /// Behind the letters, whose locks keep requests away.
    async fn unask(&self, link: Link<'_>) -> Result<()> {
        if self.tried.is_empty() {
            return Ok(());
        }
        let ids: Vec<&[u8]> = self.tried.iter().map(|id| id.as_bytes().as_slice()).collect();
        link.run(UNASK, &[(&ids, Type::BYTEA_ARRAY)]).await
    }

    async fn write_letters(&self, link: Link<'_>) -> Result<()> {
        let changed = || self.letters.iter().filter(|(_, kept)| kept.changed);
        let ids: Vec<&[u8]> = changed().map(|(id, _)| id.as_bytes().as_slice()).collect();
        let states: Vec<i16> = changed().map(|(_, kept)| state_of(kept.letter.state)).collect();
        let by_place: Vec<bool> = changed().map(|(_, kept)| kept.letter.identity.is_none()).collect();
        // The database keeps every character but one.
        let text = |of: fn(&Letter) -> &str| -> Vec<String> {
            changed().map(|(_, kept)| of(&kept.letter).replace('\0', "\u{fffd}")).collect()
        };
        let (codes, reasons) = (text(|letter| &letter.code), text(|letter| &letter.reason));
        let letters: Vec<Vec<u8>> = changed().map(|(_, kept)| encoded(&kept.letter)).collect();
        let bytes: Vec<i64> = changed().map(|(_, kept)| stored(kept.letter.bytes)).collect();
        let records: Vec<Option<&[u8]>> = changed().map(|(_, kept)| kept.record.as_deref()).collect();
        let deliveries: Vec<Option<&[u8]>> =
            changed().map(|(_, kept)| kept.delivery.as_ref().map(|id| id.as_bytes().as_slice())).collect();
        link.run(
            WRITE,
            &[
                (&ids, Type::BYTEA_ARRAY),
                (&states, Type::INT2_ARRAY),
                (&by_place, Type::BOOL_ARRAY),
                (&codes, Type::TEXT_ARRAY),
                (&reasons, Type::TEXT_ARRAY),
                (&letters, Type::BYTEA_ARRAY),
                (&bytes, Type::INT8_ARRAY),
                (&records, Type::BYTEA_ARRAY),
                (&deliveries, Type::BYTEA_ARRAY),
            ],
        )
        .await
    }

    async fn write_events(&self, link: Link<'_>) -> Result<()> {
        let numbers: Vec<i64> = (self.event + 1..).take(self.events.len()).collect();
        let shards: Vec<i16> = self.events.iter().map(|row| i16::from(row.shard().unwrap_or(0))).collect();
        let letter = |row: &OutboxRow| match row {
            OutboxRow::DeadLetter { id, version } => {
                (Some(id.as_bytes().to_vec()), Some(i32::try_from(*version).unwrap_or(i32::MAX)))
            }
            _ => (None, None),
        };
        let (letters, versions): (Vec<Option<Vec<u8>>>, Vec<Option<i32>>) = self.events.iter().map(letter).unzip();
        let delivery = |row: &OutboxRow| match row {
            OutboxRow::Moved { id, .. } | OutboxRow::Returned { id } => Some(id.as_bytes().to_vec()),
            _ => None,
        };
        let deliveries: Vec<Option<Vec<u8>>> = self.events.iter().map(delivery).collect();
        let tidings: Vec<Vec<u8>> = self.events.iter().map(encoded_row).collect();
        let values = [
            (&numbers as _, Type::INT8_ARRAY),
            (&shards as _, Type::INT2_ARRAY),
            (&letters as _, Type::BYTEA_ARRAY),
            (&versions as _, Type::INT4_ARRAY),
            (&deliveries as _, Type::BYTEA_ARRAY),
            (&tidings as _, Type::BYTEA_ARRAY),
        ];
        link.run(TELL, &values).await
    }

    async fn write_counters(&self, link: Link<'_>) -> Result<()> {
        let event = self.event.saturating_add(self.events.len() as i64);
        let (names, values) = (["event", "letter_bytes"].as_slice(), vec![event, stored(self.bytes)]);
        link.run(COUNT, &[(&names, Type::TEXT_ARRAY), (&values, Type::INT8_ARRAY)]).await
    }
}

/// A letter's name in a row.
pub(super) fn id_of(bytes: &[u8]) -> Result<EventId> {
    let broken = |_| Error::new(ErrorCode::StoreCorrupt, "a dead letter's name cannot be read");
    <[u8; 16]>::try_from(bytes).map(EventId::new).map_err(broken)
}

/// The delivery for which an update waits that came before it.
fn awaited(letter: &Letter, record: &[u8]) -> Result<Option<EventId>> {
    if letter.about != About::Update || letter.code != UNKNOWN {
        return Ok(None);
    }
    let value = decode_original(record)?.value.unwrap_or_default();
    Ok(DeliveryUpdate::decode(&value).ok().map(|update| EventId::new(update.delivery())))
}

fn encoded(letter: &Letter) -> Vec<u8> {
    let mut row = Vec::new();
    letter.encode(&mut row);
    row
}

fn encoded_row(event: &OutboxRow) -> Vec<u8> {
    let mut row = Vec::new();
    event.encode(&mut row);
    row
}

fn state_of(state: DeadLetterState) -> i16 {
    match state {
        DeadLetterState::Open => 0,
        DeadLetterState::Resolved => 1,
        DeadLetterState::Replayed => 2,
        DeadLetterState::Discarded => 3,
    }
}
