//! What an effect decides about one order: applied, or refused by the business.

use crate::order::Identity;

/// Where an order is, and when.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) struct At<'a> {
    pub(in crate::store) identity: Option<&'a Identity>,
    pub(in crate::store) offset: i64,
    /// The record's timestamp.
    pub(in crate::store) timestamp: i64,
    /// The day's instant that counts: the record's timestamp unless it is far ahead; none for a backfilled order.
    pub(in crate::store) written: Option<i64>,
}

/// What became of one order.
#[derive(Debug)]
pub(in crate::store) enum Decision {
    /// Its line is in the ledger.
    Applied,
    /// The business says no.
    Refused {
        /// The stable code.
        code: &'static str,
        /// A sentence for people.
        reason: String,
    },
}
