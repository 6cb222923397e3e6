//! Raw entries: the bytes of one entry at its place in the file.

use super::window::Spot;
use crate::order::Violation;

/// One entry of an order file, or what is wrong with the file behind its last entry.
#[derive(Debug)]
pub struct RawEntry<'a> {
    pub(super) index: u64,
    pub(super) spot: Spot,
    pub(super) bytes: &'a [u8],
    pub(super) cut: bool,
    pub(super) violation: Option<Box<Violation>>,
}

impl<'a> RawEntry<'a> {
    /// Which entry of the file it is, from 0, counting good and bad ones of every type.
    #[must_use]
    pub fn index(&self) -> u64 {
        self.index
    }

    /// The line in which it begins, from 1.
    #[must_use]
    pub fn line(&self) -> u64 {
        self.spot.line
    }

    /// The column in which it begins, from 1, in bytes.
    #[must_use]
    pub fn column(&self) -> u64 {
        self.spot.column
    }

    /// Its bytes, without blanks around them; see [`RawEntry::is_cut`].
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Whether only its beginning was kept.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.cut
    }

    /// What the reader itself found wrong: then there is no order in it.
    #[must_use]
    pub fn violation(&self) -> Option<&Violation> {
        self.violation.as_deref()
    }

    /// The line and column of the byte at `offset` of the entry; its beginning where that byte was not kept.
    #[must_use]
    pub fn place_of(&self, offset: usize) -> (u64, u64) {
        let spot = self.spot.after(self.bytes.get(..offset).unwrap_or_default());
        (spot.line, spot.column)
    }
}
