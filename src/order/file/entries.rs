//! Entries: an order file's entries one by one, each as its bytes at its place.

use std::io::Read;

use super::current::{Current, End, Phase, trim_end};
use super::element::Element;
use super::raw_entry::RawEntry;
use super::window::{More, Spot, Window, is_blank};
use crate::order::{ORDER_BYTES_MAX, Violation, ViolationCode};
use crate::{Error, ErrorCode, Result};

/// So much of an entry that is too long is kept, for people to find it by.
const CUT_KEPT: usize = 256;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// How a file's entries are delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON array.
    Array,
    /// One JSON value a line.
    Lines,
}

/// Reads an order file's entries as a stream, in constant memory.
///
/// ```
/// use orderflow::order::EntryReader;
/// let mut entries = EntryReader::new(&b"[\n  {\"a\": 1},\n  oops\n]"[..]);
/// let mut seen = Vec::new();
/// while let Some(entry) = entries.next_entry()? {
///     seen.push((entry.index(), entry.line(), entry.column(), entry.bytes().to_vec()));
/// }
/// assert_eq!(seen, [(0, 2, 3, b"{\"a\": 1}".to_vec()), (1, 3, 3, b"oops".to_vec())]);
/// # Ok::<(), orderflow::Error>(())
/// ```
pub struct EntryReader<R> {
    window: Window<R>,
    limit: usize,
    follow: bool,
    format: Option<Format>,
    phase: Phase,
    /// How many bytes of the window the entry that was given last takes, with what delimits it.
    given: usize,
    index: u64,
    current: Option<Current>,
    /// The beginning of an entry that is too long.
    kept: Vec<u8>,
}

impl<R: Read> EntryReader<R> {
    /// Reads from `input`, which needs no buffer of its own. An entry may have [`ORDER_BYTES_MAX`] bytes.
    pub fn new(input: R) -> Self {
        Self {
            window: Window::new(input),
            limit: ORDER_BYTES_MAX,
            follow: false,
            format: None,
            phase: Phase::Start,
            given: 0,
            index: 0,
            current: None,
            kept: Vec::new(),
        }
    }

    /// Sets how many bytes an entry may have, blanks behind it included; a longer one is `ORD-TOO-LARGE`. The default is
    /// 1 MiB ([`ORDER_BYTES_MAX`]), which no order may exceed anyway.
    #[must_use]
    pub fn entry_bytes_max(mut self, bytes: usize) -> Self {
        self.limit = bytes.clamp(1, ORDER_BYTES_MAX);
        self
    }

    /// Follows a file that grows: at its end `None` says that there is no more yet, and the next call tries again.
    ///
    /// A last line without a line end is not an entry yet.
    #[must_use]
    pub fn follow(mut self) -> Self {
        self.follow = true;
        self
    }

    /// The end of a followed file is its end: a last line without a line end is an entry now.
    pub fn end_here(&mut self) {
        self.follow = false;
    }

    /// Whether an entry has begun whose end was not there yet.
    #[must_use]
    pub fn is_amid(&self) -> bool {
        self.current.is_some()
    }

    /// How the entries are delimited; `None` before the first one was read.
    #[must_use]
    pub fn format(&self) -> Option<Format> {
        self.format
    }

    /// How many entries were given.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.index
    }

    /// What is read from.
    #[must_use]
    pub fn input(&self) -> &R {
        self.window.input()
    }

    /// Gives back what is read from. After `None` it was read to its end.
    pub fn into_input(self) -> R {
        self.window.into_input()
    }

    /// The next entry; `None` at the end.
    ///
    /// # Errors
    /// `ORD-INPUT`: the input cannot be read. Calling again goes on where it stopped.
    pub fn next_entry(&mut self) -> Result<Option<RawEntry<'_>>> {
        self.leave_given();
        if matches!(self.phase, Phase::Start | Phase::Opened) {
            self.open()?;
        }
        match self.phase {
            Phase::Lines => self.next_line(),
            Phase::Array { after_comma } => self.next_element(after_comma),
            Phase::Truncated => Ok(Some(self.truncated())),
            Phase::Behind => self.look_behind(),
            Phase::Drain => self.drain().map(|()| None),
            Phase::Start | Phase::Opened | Phase::Done => Ok(None),
        }
    }

    fn leave_given(&mut self) {
        let given = std::mem::take(&mut self.given);
        match self.phase {
            Phase::Lines => self.window.consume_in_line(given),
            _ => self.window.consume(given),
        }
    }

    fn more(&mut self) -> Result<More> {
        let more = self
            .window
            .more()
            .map_err(|error| Error::new(ErrorCode::Input, "the order file cannot be read").caused_by(error))?;
        if more == More::End && !self.follow && matches!(self.phase, Phase::Opened | Phase::Lines | Phase::Behind) {
            self.phase = Phase::Done;
        }
        Ok(more)
    }

    /// Moves to the next byte that is not blank; `None` at the end.
    fn next_byte(&mut self) -> Result<Option<u8>> {
        loop {
            self.window.skip_blanks();
            if let Some(byte) = self.window.bytes().first() {
                return Ok(Some(*byte));
            }
            if self.more()? == More::End {
                return Ok(None);
            }
        }
    }

    /// Finds out how the entries are delimited.
    fn open(&mut self) -> Result<()> {
        while self.phase == Phase::Start {
            let bytes = self.window.bytes();
            let undecided = bytes.len() < BYTE_ORDER_MARK.len() && BYTE_ORDER_MARK.starts_with(bytes);
            if undecided {
                match self.more()? {
                    More::Bytes => continue,
                    More::End if self.follow => return Ok(()),
                    More::End => {}
                }
            }
            self.window.skip_mark(BYTE_ORDER_MARK);
            self.phase = Phase::Opened;
        }
        (self.format, self.phase) = match self.next_byte()? {
            None => return Ok(()),
            Some(b'[') => {
                self.window.consume(1);
                (Some(Format::Array), Phase::Array { after_comma: false })
            }
            Some(_) => (Some(Format::Lines), Phase::Lines),
        };
        Ok(())
    }

    /// In an array: reads the next element with `read`, which finds its end itself; `None`: its end is to be looked for.
    ///
    /// Gives what was read, the element's index and its place.
    #[inline]
    pub(super) fn next_read<T>(&mut self, read: impl FnOnce(&[u8]) -> Option<(T, usize)>) -> Option<(T, u64, Spot)> {
        if !matches!(self.phase, Phase::Array { .. }) || self.current.is_some() {
            return None;
        }
        self.leave_given();
        self.window.skip_blanks();
        let bytes = self.window.bytes();
        let (value, length) = read(bytes)?;
        let behind = bytes.get(length..)?.iter().position(|byte| !is_blank(*byte))?;
        let length = length + behind;
        let phase = match bytes.get(length) {
            Some(b',') => Phase::Array { after_comma: true },
            Some(b']') => Phase::Behind,
            _ => return None,
        };
        if length > self.limit {
            return None;
        }
        self.phase = phase;
        self.given = length + 1;
        let index = self.index;
        self.index += 1;
        Some((value, index, self.window.spot()))
    }

    fn next_line(&mut self) -> Result<Option<RawEntry<'_>>> {
        if self.current.is_none() {
            if self.next_byte()?.is_none() {
                return Ok(None);
            }
            // Usually the whole line is in memory.
            if let Some(length) = memchr::memchr(b'\n', self.window.bytes()).filter(|length| *length <= self.limit) {
                let (index, spot) = (self.index, self.window.spot());
                self.index += 1;
                self.given = length;
                let bytes = trim_end(self.window.bytes().get(..length).unwrap_or_default());
                return Ok(Some(RawEntry { index, spot, bytes, cut: false, violation: None }));
            }
            self.current = Some(Current::new(self.window.spot(), None));
        }
        let found = self.find_end()?;
        Ok(found.map(|(current, _, length)| self.give(current, length, length, None)))
    }

    fn next_element(&mut self, after_comma: bool) -> Result<Option<RawEntry<'_>>> {
        if self.current.is_none() {
            match self.next_byte()? {
                None if self.follow => return Ok(None),
                None => return Ok(Some(self.truncated())),
                Some(b']') if !after_comma => {
                    self.window.consume(1);
                    self.phase = Phase::Behind;
                    return self.look_behind();
                }
                Some(_) => {}
            }
            let spot = self.window.spot();
            self.current = Some(Current::new(spot, Some(Element::new(spot.fresh.then_some(spot.column)))));
        }
        let Some((current, end, length)) = self.find_end()? else { return Ok(None) };
        let (delimiter, phase, mut violation) = current.judge(end);
        if length == 0 && !current.cut {
            violation = Some(Violation::new(ViolationCode::Json, "there is nothing where an entry should be"));
        }
        self.phase = phase;
        Ok(Some(self.give(current, length, length + delimiter, violation)))
    }

    /// Looks for the end of the current entry; `None` where a followed file ends for now.
    fn find_end(&mut self) -> Result<Option<(Current, End, usize)>> {
        loop {
            let Some(mut current) = self.current.take() else { return Ok(None) };
            let bytes = self.window.bytes();
            if let Some((end, at)) = current.look(bytes.get(current.scanned..).unwrap_or_default()) {
                let length = current.scanned + at;
                return Ok(Some((current, end, length)));
            }
            current.scanned = bytes.len();
            if current.cut || current.scanned > self.limit {
                self.cut(&mut current);
            }
            let scanned = current.scanned;
            self.current = Some(current);
            if self.more()? == More::End {
                let ended = if self.follow { None } else { self.current.take() };
                return Ok(ended.map(|current| (current, End::File, scanned)));
            }
        }
    }

    /// Drops what was scanned of an entry that is too long; its beginning is kept.
    fn cut(&mut self, current: &mut Current) {
        if !current.cut {
            self.kept.clear();
            current.cut = true;
        }
        let room = CUT_KEPT.saturating_sub(self.kept.len());
        self.kept.extend(self.window.bytes().iter().take(current.scanned.min(room)));
        self.window.consume(current.scanned);
        current.scanned = 0;
    }

    fn give(&mut self, mut current: Current, length: usize, given: usize, broken: Option<Violation>) -> RawEntry<'_> {
        let index = self.index;
        self.index += 1;
        let mut violation = broken.map(Box::new);
        let mut given = given;
        if current.cut || length > self.limit {
            current.scanned = length;
            self.cut(&mut current);
            given -= length;
            let sentence = format!("the entry is longer than {} bytes", self.limit);
            violation = violation.or_else(|| Some(Box::new(Violation::new(ViolationCode::TooLarge, sentence))));
        }
        self.given = given;
        let whole = self.window.bytes().get(..length).unwrap_or_default();
        let bytes = if current.cut { &self.kept } else { current.trim(whole) };
        RawEntry { index, spot: current.spot, bytes, cut: current.cut, violation }
    }

    fn truncated(&mut self) -> RawEntry<'_> {
        self.phase = Phase::Done;
        let violation = Violation::new(ViolationCode::FileTruncated, "the file ends within its array");
        RawEntry {
            index: self.index,
            spot: self.window.spot(),
            bytes: b"",
            cut: false,
            violation: Some(Box::new(violation)),
        }
    }

    /// Behind the array there must be nothing.
    fn look_behind(&mut self) -> Result<Option<RawEntry<'_>>> {
        if self.next_byte()?.is_none() {
            return Ok(None);
        }
        while self.window.bytes().len() < CUT_KEPT && self.more()? == More::Bytes {}
        self.phase = Phase::Drain;
        let bytes = self.window.bytes();
        let bytes = bytes.get(..CUT_KEPT).unwrap_or(bytes);
        let violation = Violation::new(ViolationCode::FileTrailing, "something follows the file's array");
        Ok(Some(RawEntry {
            index: self.index,
            spot: self.window.spot(),
            bytes,
            cut: true,
            violation: Some(Box::new(violation)),
        }))
    }

    fn drain(&mut self) -> Result<()> {
        loop {
            self.window.consume(self.window.bytes().len());
            if self.more()? == More::End {
                if !self.follow {
                    self.phase = Phase::Done;
                }
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests;
