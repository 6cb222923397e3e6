//! Variable-length integers of the record format: zigzag, seven bits a byte, lowest first.

/// How many bytes [`put`] appends.
pub(super) fn length(value: i64) -> usize {
    let bits = 64 - (zigzag(value) | 1).leading_zeros();
    (bits as usize).div_ceil(7)
}

/// Appends `value`. A 32-bit value is written the same way.
pub(super) fn put(out: &mut Vec<u8>, value: i64) {
    let mut rest = zigzag(value);
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// A few short fields that are gathered in registers and appended at once.
///
/// Appending a whole array and cutting it takes two fixed moves, where appending field by field checks the capacity each time.
pub(super) struct Gathered {
    bytes: [u8; Self::BYTES],
    used: usize,
}

impl Gathered {
    /// Room for the five fields in front of a key at their longest: 5 + 1 + 10 + 5 + 5 bytes.
    pub(super) const BYTES: usize = 32;

    pub(super) fn new() -> Self {
        Self { bytes: [0; Self::BYTES], used: 0 }
    }

    #[inline]
    pub(super) fn byte(&mut self, byte: u8) {
        if let Some(free) = self.bytes.get_mut(self.used) {
            *free = byte;
            self.used += 1;
        }
    }

    #[inline]
    pub(super) fn varlong(&mut self, value: i64) {
        let mut rest = zigzag(value);
        while rest >= 0x80 {
            self.byte(rest as u8 | 0x80);
            rest >>= 7;
        }
        self.byte(rest as u8);
    }

    #[inline]
    pub(super) fn append_to(&self, out: &mut Vec<u8>) {
        let end = out.len() + self.used;
        out.extend_from_slice(&self.bytes);
        out.truncate(end);
    }
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

fn unzigzag(value: u64) -> i64 {
    ((value >> 1) as i64) ^ -((value & 1) as i64)
}

/// Bytes that are read from the front.
#[derive(Clone, Copy, Debug)]
pub(super) struct Input<'a>(pub(super) &'a [u8]);

impl<'a> Input<'a> {
    pub(super) fn byte(&mut self) -> Option<u8> {
        let (&first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(first)
    }

    pub(super) fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }

    /// A 64-bit integer of at most ten bytes.
    #[inline]
    pub(super) fn varlong(&mut self) -> Option<i64> {
        match self.0.split_first()? {
            (&first, rest) if first < 0x80 => {
                self.0 = rest;
                Some(unzigzag(u64::from(first)))
            }
            _ => self.long_varlong(),
        }
    }

    /// A 32-bit integer; one outside its range is refused.
    #[inline]
    pub(super) fn varint(&mut self) -> Option<i32> {
        i32::try_from(self.varlong()?).ok()
    }

    /// A length or a count; a negative one is refused.
    #[inline]
    pub(super) fn length(&mut self) -> Option<usize> {
        usize::try_from(self.varint()?).ok()
    }

    /// Bytes behind their length, where a length of -1 means that there are none.
    #[inline]
    pub(super) fn nullable(&mut self) -> Option<Option<&'a [u8]>> {
        match self.varint()? {
            -1 => Some(None),
            length => Some(Some(self.take(usize::try_from(length).ok()?)?)),
        }
    }

    fn long_varlong(&mut self) -> Option<i64> {
        let mut value = 0_u64;
        for (position, &byte) in self.0.iter().take(10).enumerate() {
            let bits = u64::from(byte & 0x7F);
            if position == 9 && bits > 1 {
                return None;
            }
            value |= bits << (7 * position);
            if byte < 0x80 {
                self.0 = self.0.get(position + 1..)?;
                return Some(unzigzag(value));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_values_have_known_bytes() {
        for (value, bytes) in
            [(0, &[0][..]), (-1, &[1]), (1, &[2]), (63, &[126]), (-64, &[127]), (64, &[128, 1]), (300, &[216, 4])]
        {
            let mut out = Vec::new();
            put(&mut out, value);
            assert_eq!(out, bytes, "{value}");
        }
    }

    #[test]
    fn an_integer_that_never_ends_or_overflows_is_refused() {
        assert_eq!(Input(&[0xFF; 20]).varlong(), None);
        assert_eq!(Input(&[0x80]).varlong(), None);
        assert_eq!(Input(&[0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 2]).varlong(), None);
        assert_eq!(Input(&[0x80, 0x80, 0x80, 0x80, 0x20]).varint(), None);
    }

    proptest! {
        #[test]
        fn every_integer_comes_back_and_takes_the_bytes_foretold(value in any::<i64>(), shift in 0_u32..64) {
            let value = value >> shift;
            let mut out = Vec::new();
            put(&mut out, value);
            prop_assert_eq!(out.len(), length(value));
            let mut input = Input(&out);
            prop_assert_eq!(input.varlong(), Some(value));
            prop_assert!(input.0.is_empty());
        }
    }
}
