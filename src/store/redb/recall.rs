//! What a part that was committed before did (rule R5).

use std::collections::HashSet;

use redb::ReadableTable;

use super::effect::Effect;
use super::fault::fault;
use super::memory::Memory;
use super::tables::{Tables, bytes_of};
use super::transaction::Here;
use crate::Result;
use crate::order::Order;
use crate::store::dead_letter::Letter;
use crate::store::ledger::LedgerReader;
use crate::store::{AppliedPart, DeadLetterKind, Entry, Outcome, Part};

/// The answer that was lost, read back from the ledger and the letters of its transaction.
pub(super) fn recall<E: Effect>(
    memory: &mut Memory<E>,
    tables: &Tables<'_>,
    here: Here<'_>,
    part: &Part<E::Order>,
) -> Result<AppliedPart> {
    let standing = memory.standing(tables, here.key())?;
    let (position, written) = (standing.position.clone(), standing.written);
    let applied = match tables.ledger.get(written).map_err(fault)? {
        Some(row) => offsets::<E>(row.value())?,
        None => HashSet::new(),
    };
    let outcomes = part
        .entries
        .iter()
        .map(|entry| if applied.contains(&entry.offset) { Ok(Outcome::Applied) } else { failed(tables, here, entry) });
    let outcomes = outcomes.collect::<Result<_>>()?;
    Ok(AppliedPart { partition: part.partition, position, outcomes })
}

fn offsets<E: Effect>(row: &[u8]) -> Result<HashSet<i64>> {
    let mut row = LedgerReader::new(row)?;
    let mut offsets = HashSet::new();
    while let Some(line) = row.line()? {
        offsets.insert(line.offset);
        E::skip(row.rest())?;
    }
    Ok(offsets)
}

fn failed<O: Order>(tables: &Tables<'_>, here: Here<'_>, entry: &Entry<O>) -> Result<Outcome> {
    let id = here.event_id(entry.identity.as_ref(), entry.offset);
    let letter = bytes_of(&tables.dead_letters, id.as_bytes())?.map(|row| Letter::decode(&row)).transpose()?;
    let Some(letter) = letter.filter(|letter| letter.last == here.spot(entry.offset)) else {
        return Ok(Outcome::Duplicate);
    };
    let (code, reason) = (letter.code.into(), letter.reason);
    Ok(match letter.kind {
        DeadLetterKind::Refused => Outcome::Refused { code, reason },
        DeadLetterKind::DeadLetter => Outcome::DeadLetter { code, reason },
    })
}
