//! A record's bytes, copied out of the frame that brought them.
//!
//! A frame holds thousands of records and is counted whole, so an order that waits must not keep one
//! alive. The copies of one batch share an allocation.
//!
//! ```text
//!  | key | value | name length, name, value length + 1, value | ... |
//! ```

use bytes::{BufMut, Bytes, BytesMut};

/// A header as it was read: its name, and its value unless that is null.
pub type Header<'a> = (&'a [u8], Option<&'a [u8]>);

/// Key, value and headers of one record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RecordBytes {
    bytes: Bytes,
    key: Option<u32>,
    value: Option<u32>,
}

impl RecordBytes {
    /// Copies a record to the end of `arena` and splits it off.
    pub(crate) fn copy<'h>(
        arena: &mut BytesMut,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: impl IntoIterator<Item = Header<'h>>,
    ) -> Self {
        arena.put_slice(key.unwrap_or_default());
        arena.put_slice(value.unwrap_or_default());
        for (name, value) in headers {
            arena.put_u32_ne(length(name));
            arena.put_slice(name);
            arena.put_u32_ne(value.map_or(0, |value| length(value).saturating_add(1)));
            arena.put_slice(value.unwrap_or_default());
        }
        Self { bytes: arena.split().freeze(), key: key.map(length), value: value.map(length) }
    }

    /// The key.
    pub(crate) fn key(&self) -> Option<&[u8]> {
        self.key.and_then(|length| self.bytes.get(..length as usize))
    }

    /// The value; a tombstone has none.
    pub(crate) fn value(&self) -> Option<&[u8]> {
        let start = self.key.unwrap_or_default() as usize;
        self.value.and_then(|length| self.bytes.get(start..start.checked_add(length as usize)?))
    }

    /// The headers in their order, repeated ones and those without value included.
    pub(crate) fn headers(&self) -> Headers<'_> {
        let start = self.key.unwrap_or_default() as usize + self.value.unwrap_or_default() as usize;
        Headers { rest: self.bytes.get(start..).unwrap_or_default() }
    }

    /// How many bytes the copy holds.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }
}

/// No field of a record is longer than an `i32` can tell, so the cast loses nothing.
fn length(bytes: &[u8]) -> u32 {
    bytes.len() as u32
}

/// Iterates over the headers of a record.
#[derive(Clone, Debug)]
pub(crate) struct Headers<'a> {
    rest: &'a [u8],
}

impl<'a> Headers<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(taken)
    }

    fn number(&mut self) -> Option<usize> {
        let bytes = self.take(4)?;
        Some(u32::from_ne_bytes(bytes.try_into().ok()?) as usize)
    }
}

impl<'a> Iterator for Headers<'a> {
    type Item = Header<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let length = self.number()?;
        let name = self.take(length)?;
        let value = match self.number()? {
            0 => None,
            more => Some(self.take(more - 1)?),
        };
        Some((name, value))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn field() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(any::<u8>(), 0..20)
    }

    proptest! {
        #[test]
        fn a_copied_record_reads_back_as_it_was(
            key in prop::option::of(field()),
            value in prop::option::of(field()),
            headers in prop::collection::vec((field(), prop::option::of(field())), 0..5),
        ) {
            let mut arena = BytesMut::new();
            let given: Vec<Header<'_>> = headers.iter().map(|(name, value)| (&name[..], value.as_deref())).collect();
            let copy = RecordBytes::copy(&mut arena, key.as_deref(), value.as_deref(), given.iter().copied());
            prop_assert_eq!(copy.key(), key.as_deref());
            prop_assert_eq!(copy.value(), value.as_deref());
            prop_assert_eq!(copy.headers().collect::<Vec<_>>(), given);
        }
    }
}
