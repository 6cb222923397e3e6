//! Forgetting identities that are old, a bounded step at a time.

use redb::ReadableTable;

use super::fault::fault;
use super::shelf::chunk_key;
use super::tables::{CHUNK_KEY, Tables};
use super::totals::Totals;
use crate::Result;
use crate::store::applied::{CHUNK, Chunk, Retention, SourceRow};
use crate::store::pack::Unpack;

/// A step is taken once in so many transactions.
const TRANSACTIONS_A_STEP: u64 = 16;
/// How many sources a step looks at.
const SOURCES_A_STEP: usize = 32;
/// How many chunks of an old source a step takes away.
const CHUNKS_A_STEP: usize = 256;
/// How many transactions' opaque identities a step takes away.
const OPAQUE_ROWS_A_STEP: usize = 32;

/// Where the next step goes on: it walks around all sources.
#[derive(Debug, Default)]
pub(super) struct Forgetting {
    after: Vec<u8>,
}

impl Forgetting {
    /// Takes a step if it is time to. Returns how many identities were forgotten.
    pub(super) fn step(&mut self, tables: &mut Tables<'_>, totals: &mut Totals, retention: &Retention) -> Result<u64> {
        if !totals.transaction.is_multiple_of(TRANSACTIONS_A_STEP) {
            return Ok(0);
        }
        let opaque = forget_opaque(tables, totals, retention)?;
        let numbered = match self.next_old_source(tables, totals, retention)? {
            Some((source, row)) => forget_source(tables, &source, &row)?,
            None => 0,
        };
        totals.forgotten = totals.forgotten.saturating_add(opaque).saturating_add(numbered);
        Ok(opaque.saturating_add(numbered))
    }

    fn next_old_source(
        &mut self,
        tables: &Tables<'_>,
        totals: &Totals,
        retention: &Retention,
    ) -> Result<Option<(Vec<u8>, SourceRow)>> {
        let mut looked_at = 0;
        for entry in tables.sources.range(self.after.as_slice()..).map_err(fault)?.take(SOURCES_A_STEP) {
            let (key, value) = entry.map_err(fault)?;
            let row = SourceRow::decode(value.value())?;
            looked_at += 1;
            self.after = key.value().to_vec();
            if retention.forgets_source(totals.log, row.newest) {
                return Ok(Some((key.value().to_vec(), row)));
            }
            self.after.push(0);
        }
        if looked_at < SOURCES_A_STEP {
            self.after.clear();
        }
        Ok(None)
    }
}

/// Takes away chunks of a source, and with the last of them the source.
fn forget_source(tables: &mut Tables<'_>, source: &[u8], row: &SourceRow) -> Result<u64> {
    let (first, last) = (chunk_key(source, 0), chunk_key(source, u32::MAX));
    let mut forgotten = 0_u64;
    let mut removed = 0;
    let mut chunks =
        tables.chunks.extract_from_if::<&[u8; CHUNK_KEY], _>(&first..=&last, |_, _| true).map_err(fault)?;
    for entry in chunks.by_ref().take(CHUNKS_A_STEP) {
        let (_, chunk) = entry.map_err(fault)?;
        forgotten = forgotten.saturating_add(u64::from(Chunk::decode(chunk.value())?.count()));
        removed += 1;
    }
    drop(chunks);
    if removed < CHUNKS_A_STEP {
        tables.sources.remove(source).map_err(fault)?;
        forgotten = forgotten.saturating_add(row.full.count().saturating_mul(CHUNK));
    }
    Ok(forgotten)
}

fn forget_opaque(tables: &mut Tables<'_>, totals: &mut Totals, retention: &Retention) -> Result<u64> {
    let mut forgotten = 0;
    for _ in 0..OPAQUE_ROWS_A_STEP {
        let Some(oldest) = oldest_opaque(tables)? else { break };
        let (transaction, bytes) = oldest;
        let mut row = Unpack::new(&bytes, "the age of opaque identities");
        if !retention.forgets_opaque(totals.log, row.i64()?, totals.opaque) {
            break;
        }
        while !row.is_empty() {
            tables.opaque.remove(row.bytes()?).map_err(fault)?;
            totals.opaque = totals.opaque.saturating_sub(1);
            forgotten += 1;
        }
        tables.opaque_age.remove(transaction).map_err(fault)?;
    }
    Ok(forgotten)
}

fn oldest_opaque(tables: &Tables<'_>) -> Result<Option<(u64, Vec<u8>)>> {
    let first = tables.opaque_age.first().map_err(fault)?;
    Ok(first.map(|(key, value)| (key.value(), value.value().to_vec())))
}
