//! A record's bytes, copied out of the frame that brought them.
//!
//! A frame holds thousands of records and is counted whole, so an order that waits must not keep one
//! alive. Records that are copied together share an allocation. The bytes stand as they stood in the batch,
//! so that copying is one move, and are read where they are asked for.

use bytes::Bytes;

use crate::wire::record_batch::RecordFields;

/// A header as it was read: its name, and its value unless that is null.
pub type Header<'a> = (&'a [u8], Option<&'a [u8]>);

/// Key, value and headers of one record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RecordBytes {
    body: Bytes,
}

impl RecordBytes {
    /// The record whose body this is.
    pub(crate) fn new(body: Bytes) -> Self {
        Self { body }
    }

    /// The key, the value and the headers at once.
    #[inline]
    pub(crate) fn fields(&self) -> RecordFields<'_> {
        RecordFields::read(&self.body).unwrap_or_default()
    }

    /// The key.
    pub(crate) fn key(&self) -> Option<&[u8]> {
        self.fields().key
    }

    /// The value; a tombstone has none.
    pub(crate) fn value(&self) -> Option<&[u8]> {
        self.fields().value
    }

    /// The headers in their order, repeated ones and those without value included.
    pub(crate) fn headers(&self) -> impl Iterator<Item = Header<'_>> {
        self.fields().headers.map(|header| (header.key, header.value))
    }

    /// How many bytes the copy holds.
    pub(crate) fn len(&self) -> usize {
        self.body.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::record_batch::Header as WireHeader;

    fn field() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(any::<u8>(), 0..200)
    }

    proptest! {
        #[test]
        fn a_copied_record_reads_back_as_it_was(
            key in prop::option::of(field()),
            value in prop::option::of(field()),
            headers in prop::collection::vec((field(), prop::option::of(field())), 0..5),
        ) {
            let given: Vec<Header<'_>> = headers.iter().map(|(name, value)| (&name[..], value.as_deref())).collect();
            let written: Vec<_> = given.iter().map(|(key, value)| WireHeader { key, value: *value }).collect();
            let mut body = Vec::new();
            RecordFields::write(&mut body, key.as_deref(), value.as_deref(), &written);
            let copy = RecordBytes::new(body.into());
            prop_assert_eq!(copy.key(), key.as_deref());
            prop_assert_eq!(copy.value(), value.as_deref());
            prop_assert_eq!(copy.headers().collect::<Vec<_>>(), given);
        }
    }
}
