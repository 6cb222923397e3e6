//! Unsigned integers of variable length, which flexible versions use for lengths, counts and tags.
//!
//! Seven bits a byte, the lowest first, the top bit set while more follow; at most five bytes. The signed ones of the record format are
//! in `record_batch`.

/// Takes an integer off the front; `None` when it does not end or does not fit 32 bits, and nothing is taken then.
#[inline]
pub(super) fn take(input: &mut &[u8]) -> Option<u32> {
    let (&first, rest) = input.split_first()?;
    if first < 0x80 {
        *input = rest;
        return Some(u32::from(first));
    }
    take_long(input)
}

fn take_long(input: &mut &[u8]) -> Option<u32> {
    let mut value = 0;
    for (position, &byte) in input.iter().enumerate().take(5) {
        value |= u64::from(byte & 0x7f) << (7 * position);
        if byte < 0x80 {
            *input = input.get(position + 1..)?;
            return u32::try_from(value).ok();
        }
    }
    None
}

/// Appends an integer.
#[inline]
pub(super) fn put(out: &mut Vec<u8>, mut value: u32) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}
