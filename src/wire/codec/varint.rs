//! Integers of variable length: seven bits a byte, the lowest first, the top bit set while more follow.
//!
//! Lengths and tags of flexible versions are unsigned 32-bit ones. Record batches use the signed ones, which are zigzag: 0, -1, 1, -2
//! become 0, 1, 2, 3, so that small numbers of either sign are short.

/// The most bytes that a 32-bit one takes.
pub const MAX_LEN_32: usize = 5;
/// The most bytes that a 64-bit one takes.
pub const MAX_LEN_64: usize = 10;

/// Takes an unsigned 32-bit integer off the front; `None` when it does not end or does not fit, and nothing is taken then.
#[inline]
pub fn take_u32(input: &mut &[u8]) -> Option<u32> {
    let (&first, rest) = input.split_first()?;
    if first < 0x80 {
        *input = rest;
        return Some(u32::from(first));
    }
    let (value, rest) = long_u64(input, MAX_LEN_32)?;
    let value = u32::try_from(value).ok()?;
    *input = rest;
    Some(value)
}

/// Takes an unsigned 64-bit integer off the front; `None` when it does not end or does not fit, and nothing is taken then.
#[inline]
pub fn take_u64(input: &mut &[u8]) -> Option<u64> {
    let (&first, rest) = input.split_first()?;
    if first < 0x80 {
        *input = rest;
        return Some(u64::from(first));
    }
    let (value, rest) = long_u64(input, MAX_LEN_64)?;
    *input = rest;
    Some(value)
}

/// Takes a zigzag 32-bit integer off the front.
#[inline]
pub fn take_i32(input: &mut &[u8]) -> Option<i32> {
    let value = take_u32(input)?;
    Some((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
}

/// Takes a zigzag 64-bit integer off the front.
#[inline]
pub fn take_i64(input: &mut &[u8]) -> Option<i64> {
    let value = take_u64(input)?;
    Some((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
}

fn long_u64(input: &[u8], most: usize) -> Option<(u64, &[u8])> {
    let mut value = 0_u64;
    for (index, &byte) in input.iter().take(most).enumerate() {
        let shift = 7 * u32::try_from(index).ok()?;
        let bits = u64::from(byte & 0x7f);
        // The tenth byte has room for one bit.
        if bits << shift >> shift != bits {
            return None;
        }
        value |= bits << shift;
        if byte < 0x80 {
            return Some((value, input.get(index + 1..)?));
        }
    }
    None
}

/// Appends an unsigned 32-bit integer.
#[inline]
pub fn put_u32(out: &mut Vec<u8>, value: u32) {
    put_u64(out, u64::from(value));
}

/// Appends an unsigned 64-bit integer.
#[inline]
pub fn put_u64(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(low_byte(value) | 0x80);
        value >>= 7;
    }
    out.push(low_byte(value));
}

/// Appends a zigzag 32-bit integer.
#[inline]
pub fn put_i32(out: &mut Vec<u8>, value: i32) {
    put_u32(out, zigzag_i32(value));
}

/// Appends a zigzag 64-bit integer.
#[inline]
pub fn put_i64(out: &mut Vec<u8>, value: i64) {
    put_u64(out, zigzag_i64(value));
}

/// The bytes that [`put_u32`] appends.
#[inline]
#[must_use]
pub const fn len_u32(value: u32) -> usize {
    len_u64(value as u64)
}

/// The bytes that [`put_u64`] appends.
#[inline]
#[must_use]
pub const fn len_u64(value: u64) -> usize {
    // 64 - leading zeros bits, at least one, seven a byte: (bits * 9 + 64) / 64 divides by seven for 1..=64.
    let bits = 64 - (value | 1).leading_zeros() as usize;
    (bits * 9 + 64) / 64
}

/// The bytes that [`put_i32`] appends.
#[inline]
#[must_use]
pub const fn len_i32(value: i32) -> usize {
    len_u32(zigzag_i32(value))
}

/// The bytes that [`put_i64`] appends.
#[inline]
#[must_use]
pub const fn len_i64(value: i64) -> usize {
    len_u64(zigzag_i64(value))
}

const fn zigzag_i32(value: i32) -> u32 {
    ((value << 1) ^ (value >> 31)).cast_unsigned()
}

const fn zigzag_i64(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

fn low_byte(value: u64) -> u8 {
    (value & 0xff) as u8 & 0x7f
}
