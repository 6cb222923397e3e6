//! The exact set of identities that are settled.
//!
//! The set knows nothing of partitions: a copy of an order is recognised wherever it stands, also
//! after partitions were added. It is exact, so an order that failed while later ones succeeded is
//! still new on the next run.
//!
//! ```text
//!  of1:<source>:<n>  ->  source -> chunk n / 65,536 -> list, runs or bitmap; full chunks fold into ranges
//!  any other value   ->  its bytes (up to 128), else its SHA-256
//! ```
//! A chunk is read once, changed in memory through a whole transaction and written once, so that an
//! order costs a machine word and not a search in the store's tree. Pure: what is kept is reached
//! through [`Shelf`] and [`Changes`].

mod chunk;
mod retention;

use std::collections::{BTreeMap, HashMap, HashSet};

pub(crate) use self::chunk::{CHUNK, Chunk};
pub(crate) use self::retention::LogTime;
pub use self::retention::Retention;
use super::pack::{Unpack, put_i64};
use super::ranges::Ranges;
use crate::Result;
use crate::order::{Identity, Source};

/// How many chunks are remembered between transactions: at most 8 kB each.
const REMEMBERED_CHUNKS: usize = 256;

/// What is kept of the set outside of memory.
pub(crate) trait Shelf {
    fn source(&self, source: &Source) -> Result<Option<SourceRow>>;
    fn chunk(&self, source: &Source, number: u32) -> Result<Option<Chunk>>;
    fn has_opaque(&self, key: &[u8]) -> Result<bool>;
}

/// Takes what a transaction changed.
pub(crate) trait Changes {
    fn source(&mut self, source: &Source, row: &SourceRow) -> Result<()>;
    /// `None`: the chunk is full, and now in its source's row.
    fn chunk(&mut self, source: &Source, number: u32, chunk: Option<&Chunk>) -> Result<()>;
    /// The new opaque keys, with the newest timestamp among them.
    fn opaque(&mut self, keys: &[Box<[u8]>], newest: i64) -> Result<()>;
}

/// What is known of a whole source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SourceRow {
    /// The newest timestamp of its settled records, in milliseconds since 1970.
    pub(crate) newest: i64,
    /// The numbers of the chunks that are full.
    pub(crate) full: Ranges,
}

impl SourceRow {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_i64(self.newest, out);
        self.full.encode(-1, out);
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        let mut row = Unpack::new(bytes, "the row of a source of identities");
        Ok(Self { newest: row.i64()?, full: Ranges::decode(-1, &mut row, usize::MAX)? })
    }
}

/// The set as one transaction after another sees it.
#[derive(Debug, Default)]
pub(crate) struct AppliedSet {
    slots: Vec<Slot>,
    places: HashMap<(Source, u32), usize>,
    /// Where the last identity was: the next one is mostly its neighbour.
    recent: usize,
    sources: BTreeMap<Source, SourceRow>,
    opaque: HashSet<Box<[u8]>>,
    opaque_newest: Option<i64>,
    key: Vec<u8>,
}

#[derive(Debug)]
struct Slot {
    source: Source,
    number: u32,
    /// `None`: full, and in its source's row.
    chunk: Option<Chunk>,
    /// The newest timestamp that was settled since the last write.
    newest: Option<i64>,
}

impl AppliedSet {
    /// Settles an identity. Returns whether it was new.
    #[inline]
    pub(crate) fn settle(&mut self, identity: &Identity, timestamp: i64, shelf: &impl Shelf) -> Result<bool> {
        let Identity::Numbered { source, index } = identity else {
            return self.settle_opaque(identity, timestamp, shelf);
        };
        let (number, within) = split(*index);
        let slot = self.slot(source, number, shelf)?;
        let new = slot.chunk.as_mut().is_some_and(|chunk| chunk.insert(within));
        if new {
            slot.newest = slot.newest.max(Some(timestamp));
        }
        Ok(new)
    }

    /// Whether an identity is settled.
    pub(crate) fn has(&mut self, identity: &Identity, shelf: &impl Shelf) -> Result<bool> {
        let Identity::Numbered { source, index } = identity else {
            self.load_key(identity);
            return Ok(self.opaque.contains(self.key.as_slice()) || shelf.has_opaque(&self.key)?);
        };
        let (number, within) = split(*index);
        let slot = self.slot(source, number, shelf)?;
        Ok(slot.chunk.as_ref().is_none_or(|chunk| chunk.contains(within)))
    }

    /// Hands over what changed since the last call.
    pub(crate) fn write(&mut self, changes: &mut impl Changes) -> Result<()> {
        let mut touched = HashSet::new();
        for slot in &mut self.slots {
            let Some(newest) = slot.newest.take() else { continue };
            let Some(row) = self.sources.get_mut(&slot.source) else { continue };
            row.newest = row.newest.max(newest);
            if slot.chunk.as_ref().is_some_and(Chunk::is_full) {
                slot.chunk = None;
                row.full.insert(i64::from(slot.number), i64::from(slot.number) + 1);
            }
            changes.chunk(&slot.source, slot.number, slot.chunk.as_ref())?;
            touched.insert(slot.source);
        }
        for (source, row) in self.sources.iter().filter(|(source, _)| touched.contains(*source)) {
            changes.source(source, row)?;
        }
        if let Some(newest) = self.opaque_newest.take() {
            let mut keys: Vec<_> = self.opaque.drain().collect();
            keys.sort_unstable();
            changes.opaque(&keys, newest)?;
        }
        if self.slots.len() > REMEMBERED_CHUNKS {
            self.forget();
        }
        Ok(())
    }

    /// Forgets what is in memory, as after a transaction that was given up.
    pub(crate) fn forget(&mut self) {
        *self = Self::default();
    }

    fn settle_opaque(&mut self, identity: &Identity, timestamp: i64, shelf: &impl Shelf) -> Result<bool> {
        self.load_key(identity);
        if self.opaque.contains(self.key.as_slice()) || shelf.has_opaque(&self.key)? {
            return Ok(false);
        }
        self.opaque.insert(self.key.as_slice().into());
        self.opaque_newest = self.opaque_newest.max(Some(timestamp));
        Ok(true)
    }

    fn load_key(&mut self, identity: &Identity) {
        self.key.clear();
        identity.write_store_key(&mut self.key);
    }

    #[inline]
    fn slot(&mut self, source: &Source, number: u32, shelf: &impl Shelf) -> Result<&mut Slot> {
        let near = self.slots.get(self.recent).is_some_and(|slot| slot.number == number && slot.source == *source);
        if !near {
            self.recent = match self.places.get(&(*source, number)) {
                Some(at) => *at,
                None => self.load(source, number, shelf)?,
            };
        }
        let lost = || crate::Error::new(crate::ErrorCode::Internal, "a chunk of identities was lost from memory");
        self.slots.get_mut(self.recent).ok_or_else(lost)
    }

    fn load(&mut self, source: &Source, number: u32, shelf: &impl Shelf) -> Result<usize> {
        if !self.sources.contains_key(source) {
            let unknown = || SourceRow { newest: i64::MIN, full: Ranges::new() };
            self.sources.insert(*source, shelf.source(source)?.unwrap_or_else(unknown));
        }
        let full = self.sources.get(source).is_some_and(|row| row.full.contains(i64::from(number)));
        let chunk = if full { None } else { Some(shelf.chunk(source, number)?.unwrap_or(Chunk::new())) };
        self.places.insert((*source, number), self.slots.len());
        self.slots.push(Slot { source: *source, number, chunk, newest: None });
        Ok(self.slots.len() - 1)
    }
}

/// An index below 2^48 as its chunk and its number within.
fn split(index: u64) -> (u32, u16) {
    ((index / CHUNK) as u32, (index % CHUNK) as u16)
}

#[cfg(test)]
mod tests;
