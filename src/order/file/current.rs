//! The entry whose end is being looked for: how it ends, what follows it, what is wrong with it.

use super::element::{Element, Stop};
use super::window::{Spot, is_blank};
use crate::order::{Violation, ViolationCode};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Start,
    /// Behind a byte order mark, before the first byte that is not blank.
    Opened,
    Lines,
    /// In an array. Behind a comma the closing bracket means that an entry is missing.
    Array {
        after_comma: bool,
    },
    /// At the end of the file within an array.
    Truncated,
    /// Behind an array.
    Behind,
    /// Nothing more is an entry, but the input is read to its end.
    Drain,
    Done,
}

/// The entry whose end is being looked for. It outlives a call where the input fails or a followed file ends for now.
pub(super) struct Current {
    pub(super) spot: Spot,
    pub(super) scanned: usize,
    pub(super) cut: bool,
    /// `None` for a line.
    pub(super) element: Option<Element>,
}

/// What an entry ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Line,
    Element(Stop),
    File,
}

impl Current {
    pub(super) fn new(spot: Spot, element: Option<Element>) -> Self {
        Self { spot, scanned: 0, cut: false, element }
    }

    /// Looks for the end in the bytes that were not looked at.
    #[inline]
    pub(super) fn look(&mut self, bytes: &[u8]) -> Option<(End, usize)> {
        match &mut self.element {
            None => memchr::memchr(b'\n', bytes).map(|at| (End::Line, at)),
            Some(element) => element.feed(bytes).map(|(stop, at)| (End::Element(stop), at)),
        }
    }

    /// The entry without the blanks behind it. A broken element that ends by its place in the line has its comma with it.
    pub(super) fn trim<'b>(&self, bytes: &'b [u8]) -> &'b [u8] {
        let trimmed = trim_end(bytes);
        match trimmed {
            [inside @ .., b','] if self.element.as_ref().is_some_and(|element| element.broken().is_some()) => {
                trim_end(inside)
            }
            _ => trimmed,
        }
    }

    /// How many bytes delimit an element that ends so, what follows it, what is wrong with it.
    pub(super) fn judge(&self, end: End) -> (usize, Phase, Option<Violation>) {
        let element = match (end, &self.element) {
            (End::Element(Stop::Comma), _) => return (1, Phase::Array { after_comma: true }, None),
            (End::Element(Stop::Close), _) => return (1, Phase::Behind, None),
            (End::Element(Stop::Next), _) => return (0, Phase::Array { after_comma: true }, None),
            (End::Line, _) | (End::File, None) => return (0, Phase::Lines, None),
            (End::File, Some(element)) => element,
        };
        if element.is_closed() {
            return (0, Phase::Truncated, None);
        }
        let violation = match element.broken() {
            Some(offset) => Violation::new(
                ViolationCode::FileStructure,
                "from here on it cannot be told where the next entry begins; nothing more is read",
            )
            .offset_by(offset),
            None => Violation::new(ViolationCode::FileTruncated, "the file ends within this entry"),
        };
        (0, Phase::Done, Some(violation))
    }
}

pub(super) fn trim_end(mut bytes: &[u8]) -> &[u8] {
    while let [inside @ .., last] = bytes
        && is_blank(*last)
    {
        bytes = inside;
    }
    bytes
}
