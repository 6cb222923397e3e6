//! The compact encoding of what a store keeps in its rows.
//!
//! Numbers are of variable length (7 bits a byte, low bits first), signed ones are folded so that
//! small ones stay short, and bytes are preceded by their length. Reading checks every length
//! against the bytes that remain.

use crate::{Error, ErrorCode, Result};

/// Appends an unsigned number.
pub(crate) fn put_u64(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a signed number.
pub(crate) fn put_i64(value: i64, out: &mut Vec<u8>) {
    put_u64((value << 1 ^ value >> 63) as u64, out);
}

/// Appends bytes with their length.
pub(crate) fn put_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    put_u64(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

/// Appends bytes that may be missing.
pub(crate) fn put_optional(bytes: Option<&[u8]>, out: &mut Vec<u8>) {
    out.push(u8::from(bytes.is_some()));
    if let Some(bytes) = bytes {
        put_bytes(bytes, out);
    }
}

/// Reads a row from its front.
#[derive(Clone, Debug)]
pub(crate) struct Unpack<'a> {
    rest: &'a [u8],
    what: &'static str,
}

impl<'a> Unpack<'a> {
    /// Reads `row`; `what` names it in errors.
    pub(crate) fn new(row: &'a [u8], what: &'static str) -> Self {
        Self { rest: row, what }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The error for a row that cannot be what was written.
    pub(crate) fn broken(&self) -> Error {
        Error::new(ErrorCode::StoreCorrupt, format!("{} cannot be read", self.what))
    }

    /// Refuses bytes that remain.
    pub(crate) fn end(&self) -> Result<()> {
        if self.rest.is_empty() { Ok(()) } else { Err(self.broken()) }
    }

    /// Everything that was not read yet.
    pub(crate) fn remaining(&self) -> &'a [u8] {
        self.rest
    }

    pub(crate) fn byte(&mut self) -> Result<u8> {
        let (first, rest) = self.rest.split_first().ok_or_else(|| self.broken())?;
        self.rest = rest;
        Ok(*first)
    }

    pub(crate) fn u64(&mut self) -> Result<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let part = u64::from(byte & 0x7f);
            if part << shift >> shift != part {
                break;
            }
            value |= part << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(self.broken())
    }

    pub(crate) fn i64(&mut self) -> Result<i64> {
        let folded = self.u64()?;
        Ok((folded >> 1) as i64 ^ -((folded & 1) as i64))
    }

    pub(crate) fn u32(&mut self) -> Result<u32> {
        u32::try_from(self.u64()?).map_err(|_| self.broken())
    }

    pub(crate) fn i32(&mut self) -> Result<i32> {
        i32::try_from(self.i64()?).map_err(|_| self.broken())
    }

    /// A count of items of at least `each` bytes, which therefore cannot be more than the bytes that remain hold.
    pub(crate) fn count(&mut self, each: usize) -> Result<usize> {
        let count = usize::try_from(self.u64()?).map_err(|_| self.broken())?;
        if count.checked_mul(each.max(1)).is_some_and(|bytes| bytes <= self.rest.len()) {
            return Ok(count);
        }
        Err(self.broken())
    }

    pub(crate) fn bytes(&mut self) -> Result<&'a [u8]> {
        let length = self.count(1)?;
        let (bytes, rest) = self.rest.split_at_checked(length).ok_or_else(|| self.broken())?;
        self.rest = rest;
        Ok(bytes)
    }

    pub(crate) fn text(&mut self) -> Result<&'a str> {
        let bytes = self.bytes()?;
        std::str::from_utf8(bytes).map_err(|_| self.broken())
    }

    pub(crate) fn optional(&mut self) -> Result<Option<&'a [u8]>> {
        match self.byte()? {
            0 => Ok(None),
            1 => self.bytes().map(Some),
            _ => Err(self.broken()),
        }
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (array, rest) = self.rest.split_first_chunk().ok_or_else(|| self.broken())?;
        self.rest = rest;
        Ok(*array)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_was_packed_is_read_again(unsigned: u64, signed: i64, bytes: Vec<u8>, text: String, optional: Option<Vec<u8>>) {
            let mut row = Vec::new();
            put_u64(unsigned, &mut row);
            put_i64(signed, &mut row);
            put_bytes(&bytes, &mut row);
            put_bytes(text.as_bytes(), &mut row);
            put_optional(optional.as_deref(), &mut row);
            let mut unpack = Unpack::new(&row, "a row");
            prop_assert_eq!(unpack.u64().unwrap(), unsigned);
            prop_assert_eq!(unpack.i64().unwrap(), signed);
            prop_assert_eq!(unpack.bytes().unwrap(), &bytes[..]);
            prop_assert_eq!(unpack.text().unwrap(), &text);
            prop_assert_eq!(unpack.optional().unwrap(), optional.as_deref());
            prop_assert!(unpack.end().is_ok());
            prop_assert_eq!(unpack.byte().unwrap_err().code(), ErrorCode::StoreCorrupt);
        }
    }

    #[test]
    fn lengths_beyond_the_row_and_numbers_beyond_64_bits_are_refused() {
        let mut long = Unpack::new(&[0xff, 0xff, 0xff, 0xff, 0x0f, 1], "a row");
        assert!(long.bytes().is_err());
        let mut wide = Unpack::new(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02], "a row");
        assert!(wide.u64().is_err());
        let mut widest = Unpack::new(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01], "a row");
        assert_eq!(widest.u64().unwrap(), u64::MAX);
    }
}
