//! The applied set's place in the tables.

use redb::ReadableTable;

use super::fault::fault;
use super::tables::{CHUNK_KEY, Tables};
use super::totals::Totals;
use crate::Result;
use crate::order::Source;
use crate::store::applied::{Changes, Chunk, Shelf, SourceRow};
use crate::store::pack::{put_bytes, put_i64};

impl Shelf for Tables<'_> {
    fn source(&self, source: &Source) -> Result<Option<SourceRow>> {
        let row = self.sources.get(source.as_str().as_bytes()).map_err(fault)?;
        row.map(|row| SourceRow::decode(row.value())).transpose()
    }

    fn chunk(&self, source: &Source, number: u32) -> Result<Option<Chunk>> {
        let row = self.chunks.get(&chunk_key(source.as_str().as_bytes(), number)).map_err(fault)?;
        row.map(|row| Chunk::decode(row.value())).transpose()
    }

    fn has_opaque(&self, key: &[u8]) -> Result<bool> {
        Ok(self.opaque.get(key).map_err(fault)?.is_some())
    }
}

/// Where the applied set's changes go.
pub(super) struct Shelving<'a, 't> {
    pub(super) tables: &'a mut Tables<'t>,
    pub(super) totals: &'a mut Totals,
}

impl Changes for Shelving<'_, '_> {
    fn source(&mut self, source: &Source, row: &SourceRow) -> Result<()> {
        let mut bytes = Vec::new();
        row.encode(&mut bytes);
        self.tables.sources.insert(source.as_str().as_bytes(), bytes.as_slice()).map_err(fault)?;
        Ok(())
    }

    fn chunk(&mut self, source: &Source, number: u32, chunk: Option<&Chunk>) -> Result<()> {
        let key = chunk_key(source.as_str().as_bytes(), number);
        match chunk {
            None => self.tables.chunks.remove(&key).map_err(fault).map(drop)?,
            Some(chunk) => {
                let mut bytes = Vec::new();
                chunk.encode(&mut bytes);
                self.tables.chunks.insert(&key, bytes.as_slice()).map_err(fault)?;
            }
        }
        Ok(())
    }

    fn opaque(&mut self, keys: &[Box<[u8]>], newest: i64) -> Result<()> {
        let mut aged = Vec::new();
        put_i64(newest, &mut aged);
        for key in keys {
            self.tables.opaque.insert(&**key, ()).map_err(fault)?;
            put_bytes(key, &mut aged);
        }
        self.tables.opaque_age.insert(self.totals.transaction, aged.as_slice()).map_err(fault)?;
        self.totals.opaque = self.totals.opaque.saturating_add(keys.len() as u64);
        Ok(())
    }
}

/// The key of a chunk of the source with these characters.
pub(super) fn chunk_key(source: &[u8], number: u32) -> [u8; CHUNK_KEY] {
    let mut key = [0; CHUNK_KEY];
    let (characters, rest) = key.split_at_mut(CHUNK_KEY - 4);
    characters.iter_mut().zip(source).for_each(|(place, character)| *place = *character);
    rest.copy_from_slice(&number.to_be_bytes());
    key
}
