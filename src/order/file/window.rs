//! The window: the part of a file that is in memory.

use std::io::{self, ErrorKind, Read};

/// How much is asked of the file at once.
const CHUNK: usize = 128 * 1024;

/// What may stand between entries.
pub(super) const fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// A place in a file: line and column from 1, the column in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Spot {
    pub(super) line: u64,
    pub(super) column: u64,
    /// Whether the line held only blanks so far.
    pub(super) fresh: bool,
}

impl Spot {
    pub(super) const START: Self = Self { line: 1, column: 1, fresh: true };

    /// The place after these bytes.
    pub(super) fn after(self, bytes: &[u8]) -> Self {
        let (before, tail) = match memchr::memrchr(b'\n', bytes).and_then(|last| bytes.get(last + 1..)) {
            Some(tail) => {
                let lines = memchr::memchr_iter(b'\n', bytes).count() as u64;
                (Self { line: self.line + lines, column: 1, fresh: true }, tail)
            }
            None => (self, bytes),
        };
        let fresh = before.fresh && tail.iter().all(|byte| is_blank(*byte));
        Self { line: before.line, column: before.column + tail.len() as u64, fresh }
    }

    fn after_blank(&mut self, blank: u8) {
        if blank == b'\n' {
            *self = Self { line: self.line + 1, column: 1, fresh: true };
        } else {
            self.column += 1;
        }
    }
}

/// What reading on gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum More {
    Bytes,
    End,
}

pub(super) struct Window<R> {
    input: R,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    spot: Spot,
}

impl<R: Read> Window<R> {
    pub(super) fn new(input: R) -> Self {
        Self { input, buffer: vec![0; CHUNK], start: 0, end: 0, spot: Spot::START }
    }

    /// What is in memory and not yet consumed.
    pub(super) fn bytes(&self) -> &[u8] {
        self.buffer.get(self.start..self.end).unwrap_or_default()
    }

    /// How many bytes of memory the buffer takes.
    #[cfg(test)]
    pub(super) fn memory(&self) -> usize {
        self.buffer.capacity()
    }

    /// Where [`Window::bytes`] begins.
    pub(super) fn spot(&self) -> Spot {
        self.spot
    }

    pub(super) fn input(&self) -> &R {
        &self.input
    }

    pub(super) fn into_input(self) -> R {
        self.input
    }

    /// Reads some more bytes behind those in memory. The caller bounds what it leaves unconsumed, and so the memory.
    pub(super) fn more(&mut self) -> io::Result<More> {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.buffer.len() - self.end < CHUNK / 2 {
            self.buffer.resize(self.end + CHUNK, 0);
        }
        let room = self.buffer.get_mut(self.end..).unwrap_or_default();
        loop {
            match self.input.read(room) {
                Ok(0) => return Ok(More::End),
                Ok(count) => {
                    self.end += count.min(room.len());
                    return Ok(More::Bytes);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Moves over the next `count` bytes.
    pub(super) fn consume(&mut self, count: usize) {
        let consumed = self.bytes().get(..count).unwrap_or(self.bytes());
        let (spot, count) = (self.spot.after(consumed), consumed.len());
        self.spot = spot;
        self.start += count;
    }

    /// Moves over the next `count` bytes, which hold no line end.
    pub(super) fn consume_in_line(&mut self, count: usize) {
        let count = count.min(self.end - self.start);
        self.start += count;
        self.spot.column += count as u64;
        self.spot.fresh &= count == 0;
    }

    /// Moves over a byte order mark, which has no column.
    pub(super) fn skip_mark(&mut self, mark: &[u8]) {
        if self.bytes().starts_with(mark) {
            self.start += mark.len();
        }
    }

    /// Moves over the blanks in memory.
    pub(super) fn skip_blanks(&mut self) {
        while let Some(byte) = self.bytes().first().copied().filter(|byte| is_blank(*byte)) {
            self.spot.after_blank(byte);
            self.start += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spot_counts_lines_and_the_bytes_of_the_last_one() {
        let at = |text: &str| {
            let spot = Spot::START.after(text.as_bytes());
            (spot.line, spot.column, spot.fresh)
        };
        assert_eq!(at(""), (1, 1, true));
        assert_eq!(at("ab"), (1, 3, false));
        assert_eq!(at("ab\n"), (2, 1, true));
        assert_eq!(at("ab\n\né"), (3, 3, false));
        assert_eq!(at("ab\n \t"), (2, 3, true));
        let mut window = Window::new(&b" \n\t x"[..]);
        assert_eq!(window.more().unwrap(), More::Bytes);
        window.skip_blanks();
        assert_eq!((window.spot(), window.bytes()), (Spot { line: 2, column: 3, fresh: true }, &b"x"[..]));
    }
}
