//! What failed in one write of a partition, so that its answer can be given again (rule R5).

use std::collections::HashMap;

use super::Outcome;
use super::pack::{Unpack, put_bytes, put_i64, put_u64};
use crate::Result;

const REFUSED: u8 = 0;
const DEAD_LETTER: u8 = 1;

/// What failed in one write of a partition.
pub(crate) struct Failures {
    row: Vec<u8>,
    any: bool,
}

impl Failures {
    /// Nothing yet, in the write that gives the position this version.
    pub(crate) fn of(version: u64) -> Self {
        let mut row = Vec::new();
        put_u64(version, &mut row);
        Self { row, any: false }
    }

    #[inline]
    pub(crate) fn note(&mut self, offset: i64, outcome: &Outcome) {
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

    /// The row, if anything failed.
    pub(crate) fn into_row(self) -> Option<Vec<u8>> {
        self.any.then_some(self.row)
    }
}

/// What failed in the write that gave the position this version.
pub(crate) fn read_failures(row: &[u8], version: u64) -> Result<HashMap<i64, Outcome>> {
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
