//! Sinks: where written JSON goes, to be counted or kept.

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = 0x8080_8080_8080_8080;

/// Takes the pieces of a JSON text.
pub(in crate::order) trait Sink {
    /// Takes bytes as they are.
    fn put(&mut self, bytes: &[u8]);

    /// Takes a string: quoted, and escaped where JSON demands it.
    fn text(&mut self, text: &str);

    /// Takes a number.
    fn number(&mut self, number: u32);
}

impl Sink for Vec<u8> {
    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }

    #[inline]
    fn text(&mut self, text: &str) {
        self.push(b'"');
        if plain_prefix(text.as_bytes()) == text.len() {
            self.extend_from_slice(text.as_bytes());
        } else {
            escape(text, |piece| self.extend_from_slice(piece));
        }
        self.push(b'"');
    }

    #[inline]
    fn number(&mut self, number: u32) {
        self.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
    }
}

/// Only counts.
#[derive(Default)]
pub(in crate::order) struct Count(usize);

impl Count {
    pub(in crate::order) fn bytes(&self) -> usize {
        self.0
    }
}

impl Sink for Count {
    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        self.0 += bytes.len();
    }

    #[inline]
    fn text(&mut self, text: &str) {
        self.0 += 2;
        if plain_prefix(text.as_bytes()) == text.len() {
            self.0 += text.len();
        } else {
            escape(text, |piece| self.0 += piece.len());
        }
    }

    #[inline]
    fn number(&mut self, number: u32) {
        self.0 += number.checked_ilog10().unwrap_or(0) as usize + 1;
    }
}

/// How many bytes at the beginning are ASCII that stands in a JSON string as it is, eight looked at in one step.
#[inline]
pub(in crate::order) fn plain_prefix(bytes: &[u8]) -> usize {
    let mut rest = bytes;
    while let Some((eight, after)) = rest.split_first_chunk::<8>() {
        let special = special_bytes(u64::from_le_bytes(*eight));
        if special != 0 {
            return bytes.len() - rest.len() + (special.trailing_zeros() / 8) as usize;
        }
        rest = after;
    }
    let plain = |byte: &&u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\');
    bytes.len() - rest.len() + rest.iter().take_while(plain).count()
}

/// Marks the high bit of bytes that are not printable ASCII, or are `"` or `\`. The lowest mark is exact; a borrow can
/// make higher ones false.
#[inline]
fn special_bytes(word: u64) -> u64 {
    let zero_byte = |word: u64| word.wrapping_sub(ONES) & !word;
    let quote = zero_byte(word ^ (ONES * b'"' as u64));
    let backslash = zero_byte(word ^ (ONES * b'\\' as u64));
    let delete = zero_byte(word ^ (ONES * 0x7f));
    let control = word.wrapping_sub(ONES * 0x20) & !word;
    (quote | backslash | delete | control | word) & HIGHS
}

/// Gives the pieces of the escaped text; what need not be escaped comes in runs.
fn escape(text: &str, mut take: impl FnMut(&[u8])) {
    let mut rest = text.as_bytes();
    while let Some(run) = rest.iter().position(|byte| *byte < 0x20 || matches!(byte, b'"' | b'\\')) {
        let Some((plain, [special, after @ ..])) = rest.split_at_checked(run) else { break };
        take(plain);
        escape_one(*special, &mut take);
        rest = after;
    }
    take(rest);
}

fn escape_one(byte: u8, take: &mut impl FnMut(&[u8])) {
    match byte {
        b'"' => take(b"\\\""),
        b'\\' => take(b"\\\\"),
        b'\n' => take(b"\\n"),
        b'\r' => take(b"\\r"),
        b'\t' => take(b"\\t"),
        0x08 => take(b"\\b"),
        0x0c => take(b"\\f"),
        _ => {
            let hex = |nibble: u8| if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 };
            take(&[b'\\', b'u', b'0', b'0', hex(byte >> 4), hex(byte & 15)]);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_string_is_written_as_serde_json_writes_it_and_counted_exactly(text in "\\PC{0,20}|[ -~]{0,40}|[\\x00-\\x7f]{0,20}") {
            let mut written = Vec::new();
            written.text(&text);
            prop_assert_eq!(std::str::from_utf8(&written).unwrap(), serde_json::to_string(&text).unwrap());
            let mut count = Count::default();
            count.text(&text);
            prop_assert_eq!(count.bytes(), written.len());
        }

        #[test]
        fn eight_bytes_at_once_find_what_one_at_a_time_find(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let slow = bytes.iter().take_while(|byte| (0x20..0x7f).contains(*byte) && **byte != b'"' && **byte != b'\\').count();
            prop_assert_eq!(plain_prefix(&bytes), slow);
        }

        #[test]
        fn a_number_is_counted_as_it_is_written(number in any::<u32>()) {
            let (mut written, mut count) = (Vec::new(), Count::default());
            written.number(number);
            count.number(number);
            prop_assert_eq!(count.bytes(), written.len());
        }
    }
}
