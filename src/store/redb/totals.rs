//! What a store counts over all of its transactions.

use crate::Result;
use crate::store::applied::LogTime;
use crate::store::pack::{Unpack, put_i64, put_u64};

/// The name of the row.
pub(super) const TOTALS: &str = "totals";

/// Counts over all transactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Totals {
    /// The number of the last transaction, from 1.
    pub(super) transaction: u64,
    /// The newest record timestamp that was applied.
    pub(super) log: LogTime,
    /// How many identities were ever settled.
    pub(super) identities: u64,
    /// How many of them were forgotten since.
    pub(super) forgotten: u64,
    /// How many opaque identities are kept.
    pub(super) opaque: u64,
    /// How many bytes of records dead letters keep.
    pub(super) letter_bytes: u64,
    /// The number of the last event in the outbox.
    pub(super) event: u64,
    /// The last transaction that the effect's table knows of; later ones are in the ledger only.
    pub(super) folded: u64,
}

impl Totals {
    pub(super) const NONE: Self = Self {
        transaction: 0,
        log: LogTime::NONE,
        identities: 0,
        forgotten: 0,
        opaque: 0,
        letter_bytes: 0,
        event: 0,
        folded: 0,
    };

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(48);
        put_i64(self.log.0, &mut out);
        let Self { transaction, log: _, identities, forgotten, opaque, letter_bytes, event, folded } = *self;
        for count in [transaction, identities, forgotten, opaque, letter_bytes, event, folded] {
            put_u64(count, &mut out);
        }
        out
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self> {
        let mut row = Unpack::new(bytes, "the store's totals");
        let log = LogTime(row.i64()?);
        let totals = Self {
            transaction: row.u64()?,
            log,
            identities: row.u64()?,
            forgotten: row.u64()?,
            opaque: row.u64()?,
            letter_bytes: row.u64()?,
            event: row.u64()?,
            folded: row.u64()?,
        };
        row.end()?;
        Ok(totals)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_are_read_as_they_were_written() {
        let totals =
            Totals { transaction: 1, log: LogTime(-2), identities: 3, forgotten: 4, opaque: 5, ..Totals::NONE };
        for totals in [Totals::NONE, totals, Totals { letter_bytes: 6, event: 7, folded: 8, ..totals }] {
            assert_eq!(Totals::decode(&totals.encode()).unwrap(), totals);
        }
        assert!(Totals::decode(&[]).is_err());
    }
}
