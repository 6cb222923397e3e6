//! What a part that was committed before did (rule R5).
//!
//! The answer of a partition's last write can be given again: what was applied is in the ledger, what
//! failed is kept with its cause until the next write that has failures, and the rest are duplicates.

use std::collections::{HashMap, HashSet};

use redb::ReadableTable;

use super::effect::Effect;
use super::fault::fault;
use super::memory::Memory;
use super::tables::{Tables, bytes_of};
use super::transaction::Here;
use crate::Result;
use crate::store::failures::read_failures;
use crate::store::ledger::LedgerReader;
use crate::store::{AppliedPart, Outcome, Part};

/// The answer that was lost.
pub(super) fn recall<E: Effect, O>(
    memory: &mut Memory<E>,
    tables: &Tables<'_>,
    here: Here<'_>,
    part: &Part<O>,
) -> Result<AppliedPart> {
    let standing = memory.standing(tables, here.key())?;
    let (position, written) = (standing.position.clone(), standing.written);
    let applied = offsets::<E>(tables, here, written)?;
    let mut failed = match bytes_of(&tables.failures, here.key())? {
        Some(row) => read_failures(&row, position.version)?,
        None => HashMap::new(),
    };
    let outcomes = part.entries.iter().map(|entry| match failed.remove(&entry.offset) {
        Some(failure) => failure,
        None if applied.contains(&entry.offset) => Outcome::Applied,
        None => Outcome::Duplicate,
    });
    Ok(AppliedPart { partition: part.partition, outcomes: outcomes.collect(), position })
}

/// What a part applied, whose first row is `first`.
fn offsets<E: Effect>(tables: &Tables<'_>, here: Here<'_>, first: (u64, u32)) -> Result<HashSet<i64>> {
    let mut offsets = HashSet::new();
    for row in tables.ledger.range(first..=(first.0, u32::MAX)).map_err(fault)? {
        let (_, value) = row.map_err(fault)?;
        let mut row = LedgerReader::new(value.value())?;
        if (row.head().topic, row.head().partition) != here.key() {
            break;
        }
        while let Some(line) = row.line()? {
            offsets.insert(line.offset);
            row.skip(E::skip)?;
        }
    }
    Ok(offsets)
}
