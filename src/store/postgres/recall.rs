//! What a part that was committed before did (rule R5).
//!
//! The answer of a partition's last write can be given again: what was applied is in the ledger under the position's
//! version, what failed is kept with its cause until the next write that has failures, and the rest are duplicates.

use std::collections::{HashMap, HashSet};

use tokio_postgres::types::Type;

use super::effect::Effect;
use super::link::{Link, get, stored};
use super::positions::column;
use crate::Result;
use crate::store::failures::read_failures;
use crate::store::ledger::LedgerReader;
use crate::store::standing::Standing;
use crate::store::{AppliedPart, Outcome, Part};

const APPLIED: &str = "SELECT orders FROM ledger WHERE topic = $1 AND partition = $2 AND version = $3 ORDER BY part";
const FAILED: &str = "SELECT causes FROM failures WHERE topic = $1 AND partition = $2";

/// The answer that was lost.
pub(super) async fn recall<E: Effect>(
    link: Link<'_>,
    topic: u32,
    standing: &Standing,
    part: &Part<E::Order>,
) -> Result<AppliedPart> {
    let (number, version) = (column(topic), standing.position.version);
    let here = [(&number as _, Type::INT4), (&part.partition as _, Type::INT4)];
    let count = stored(version);
    let written = [here[0].clone(), here[1].clone(), (&count as _, Type::INT8)];
    let (rows, causes) = futures::try_join!(link.rows(APPLIED, &written), link.rows(FAILED, &here))?;
    let mut applied = HashSet::new();
    for row in &rows {
        let mut row = LedgerReader::new(get(row, 0)?)?;
        while let Some(line) = row.line()? {
            applied.insert(line.offset);
            row.skip(E::skip)?;
        }
    }
    let mut failed = match causes.first() {
        Some(row) => read_failures(get(row, 0)?, version)?,
        None => HashMap::new(),
    };
    let outcomes = part.entries.iter().map(|entry| match failed.remove(&entry.offset) {
        Some(failure) => failure,
        None if applied.contains(&entry.offset) => Outcome::Applied,
        None => Outcome::Duplicate,
    });
    Ok(AppliedPart { partition: part.partition, outcomes: outcomes.collect(), position: standing.position.clone() })
}
