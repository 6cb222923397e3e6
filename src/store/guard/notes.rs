//! What a write did not apply, kept beside the position so that its answer can be given again (rule R5).

use crate::Result;
use crate::store::Outcome;
use crate::store::pack::{Unpack, put_bytes, put_u64};

const DUPLICATE: u8 = 0;
const REFUSED: u8 = 1;
const DEAD_LETTER: u8 = 2;

/// The note of a part's outcomes: empty when all were applied.
pub(super) fn note(outcomes: &[Outcome]) -> Vec<u8> {
    let mut out = Vec::new();
    for (place, outcome) in (0_u64..).zip(outcomes) {
        let (kind, cause) = match outcome {
            Outcome::Applied => continue,
            Outcome::Duplicate => (DUPLICATE, None),
            Outcome::Refused { code, reason } => (REFUSED, Some((code, reason))),
            Outcome::DeadLetter { code, reason } => (DEAD_LETTER, Some((code, reason))),
        };
        put_u64(place, &mut out);
        out.push(kind);
        if let Some((code, reason)) = cause {
            put_bytes(code.as_bytes(), &mut out);
            put_bytes(reason.as_bytes(), &mut out);
        }
    }
    out
}

/// The outcomes of a part with so many entries that a note tells of.
pub(super) fn outcomes_of(note: &[u8], entries: usize) -> Result<Vec<Outcome>> {
    let mut outcomes = vec![Outcome::Applied; entries];
    let mut note = Unpack::new(note, "what a write did not apply");
    while !note.is_empty() {
        let place = usize::try_from(note.u64()?).map_err(|_| note.broken())?;
        let kind = note.byte()?;
        let outcome = if kind == DUPLICATE {
            Outcome::Duplicate
        } else {
            let (code, reason) = (note.text()?.to_owned().into(), note.text()?.to_owned());
            match kind {
                REFUSED => Outcome::Refused { code, reason },
                DEAD_LETTER => Outcome::DeadLetter { code, reason },
                _ => return Err(note.broken()),
            }
        };
        *outcomes.get_mut(place).ok_or_else(|| note.broken())? = outcome;
    }
    Ok(outcomes)
}
