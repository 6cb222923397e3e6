//! From a record to an order, or to the rule that it breaks.

use bytes::Bytes;

use crate::order::{Identity, IdentityReader, Order, Violation};
use crate::store::{DeadLetter, Original};
use crate::wire::record_batch::Record;

/// What a record holds.
pub(crate) struct Decoded<O> {
    /// The identity in its headers.
    pub(crate) identity: Option<Identity>,
    /// The order, or the first rule that the record breaks.
    pub(crate) order: Result<O, Violation>,
}

/// Decodes records in a row.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    identities: IdentityReader,
}

impl Decoder {
    /// Reads the order off a record's parts.
    pub(crate) fn decode<'a, O: Order>(
        &mut self,
        value: Option<&[u8]>,
        headers: impl IntoIterator<Item = (&'a [u8], Option<&'a [u8]>)>,
    ) -> Decoded<O> {
        match self.identities.read(headers) {
            Ok(identity) => Decoded { identity, order: value.ok_or_else(Violation::value_missing).and_then(O::decode) },
            Err(violation) => Decoded { identity: None, order: Err(violation) },
        }
    }
}

/// Sets a record aside with the rule that it breaks, as it was read.
pub(crate) fn dead_letter(record: &Record<'_>, violation: &Violation) -> DeadLetter {
    DeadLetter {
        code: violation.code().as_str().into(),
        reason: violation.to_string(),
        attempts: 1,
        original: original(record),
    }
}

fn original(record: &Record<'_>) -> Original {
    let copy = Bytes::copy_from_slice;
    Original {
        key: record.key.map(copy),
        value: record.value.map(copy),
        headers: record.headers.map(|header| (copy(header.key), header.value.map(copy))).collect(),
    }
}
