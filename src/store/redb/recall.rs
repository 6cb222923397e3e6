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
use crate::store::ledger::LedgerReader;
use crate::store::pack::{Unpack, put_bytes, put_i64, put_u64};
use crate::store::{AppliedPart, Outcome, Part};

const REFUSED: u8 = 0;
const DEAD_LETTER: u8 = 1;

/// What failed in one write of a partition.
pub(super) struct Failures {
    row: Vec<u8>,
    any: bool,
}

impl Failures {
    /// Nothing yet, in the write that gives the position this version.
    pub(super) fn of(version: u64) -> Self {
        let mut row = Vec::new();
        put_u64(version, &mut row);
        Self { row, any: false }
    }

    #[inline]
    pub(super) fn note(&mut self, offset: i64, outcome: &Outcome) {
        let (kind, code, reason) = match outcome {
            Outcome::Applied | Outcome::Duplicate => return,
            Outcome::Refused { code, reason } => (REFUSED, code, reason),
            Outcome::DeadLetter { code, reason } => (DEAD_LETTER, code, reason),
        };
        self.any = true;
        self.row.push(kind);
        put_i64(offset, &mut self.row);
        put_bytes(code.as_bytes(), &mut self.row);
        put_bytes(reason.as_bytes(), &mut self.row);
    }

    pub(super) fn keep(self, tables: &mut Tables<'_>, at: (u32, i32)) -> Result<()> {
        if self.any {
            tables.failures.insert(at, self.row.as_slice()).map_err(fault)?;
        }
        Ok(())
    }
}

/// The answer that was lost.
pub(super) fn recall<E: Effect>(
    memory: &mut Memory<E>,
    tables: &Tables<'_>,
    here: Here<'_>,
    part: &Part<E::Order>,
) -> Result<AppliedPart> {
    let standing = memory.standing(tables, here.key())?;
    let (position, written) = (standing.position.clone(), standing.written);
    let applied = offsets::<E>(tables, here, written)?;
    let mut failed = match bytes_of(&tables.failures, here.key())? {
        Some(row) => failures(&row, position.version)?,
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
            E::skip(row.rest())?;
        }
    }
    Ok(offsets)
}

fn failures(row: &[u8], version: u64) -> Result<HashMap<i64, Outcome>> {
    let mut row = Unpack::new(row, "what failed in a write");
    let mut failures = HashMap::new();
    if row.u64()? != version {
        return Ok(failures);
    }
    while !row.is_empty() {
        let (kind, offset) = (row.byte()?, row.i64()?);
        let (code, reason) = (row.text()?.to_owned().into(), row.text()?.to_owned());
        let outcome = match kind {
            REFUSED => Outcome::Refused { code, reason },
            DEAD_LETTER => Outcome::DeadLetter { code, reason },
            _ => return Err(row.broken()),
        };
        failures.insert(offset, outcome);
    }
    Ok(failures)
}
