//! Reads primitive values off one frame.

use bytes::Bytes;

use super::{CodecError, Fault, Shape, varint};

/// A position in one frame, with the shape in which it is read.
///
/// Blobs are slices that share the frame's memory. A value that does not fit the remaining bytes is refused before any memory is taken
/// for it.
#[derive(Debug)]
pub struct Reader {
    frame: Bytes,
    at: usize,
    /// Reading stops here: the frame's end, or the end of the tagged field being read. Never beyond the frame.
    end: usize,
    shape: Shape,
}

impl Reader {
    /// Reads `frame` from its first byte.
    #[must_use]
    pub fn new(frame: Bytes, shape: Shape) -> Self {
        let end = frame.len();
        Self { frame, at: 0, end, shape }
    }

    /// The shape in which the frame is read.
    #[must_use]
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// The API version in which the frame is read.
    #[inline]
    #[must_use]
    pub fn version(&self) -> i16 {
        self.shape.version
    }

    /// Whether the version uses the flexible forms.
    #[inline]
    #[must_use]
    pub fn is_flexible(&self) -> bool {
        self.shape.flexible
    }

    /// The bytes not read yet.
    #[inline]
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.end.saturating_sub(self.at)
    }

    /// The error for a fault at the current position.
    #[must_use]
    pub fn error(&self, fault: Fault) -> CodecError {
        CodecError::new(fault, self.at)
    }

    /// Ends reading.
    ///
    /// # Errors
    /// When bytes remain.
    pub fn finish(&self) -> Result<(), CodecError> {
        match self.remaining() {
            0 => Ok(()),
            left => Err(self.error(Fault::LeftOver(left))),
        }
    }

    /// Takes all that remains, as a slice of the frame.
    #[must_use]
    pub fn rest(self) -> Bytes {
        self.frame.slice(self.at.min(self.end)..self.end)
    }

    fn unread(&self) -> &[u8] {
        self.frame.get(self.at..self.end).unwrap_or_default()
    }

    fn truncated(&self, needed: usize) -> CodecError {
        self.error(Fault::Truncated { needed, remaining: self.remaining() })
    }

    /// The next `N` bytes.
    ///
    /// # Errors
    /// When fewer remain.
    #[inline]
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], CodecError> {
        let Some(bytes) = self.unread().first_chunk::<N>().copied() else { return Err(self.truncated(N)) };
        self.at += N;
        Ok(bytes)
    }

    /// The next `length` bytes, looked at in place.
    ///
    /// # Errors
    /// When fewer remain.
    #[inline]
    pub fn slice(&mut self, length: usize) -> Result<&[u8], CodecError> {
        if length > self.remaining() {
            return Err(self.truncated(length));
        }
        let start = self.at;
        self.at += length;
        Ok(self.frame.get(start..self.at).unwrap_or_default())
    }

    /// The next `length` bytes, sharing the frame's memory.
    ///
    /// # Errors
    /// When fewer remain.
    pub fn shared(&mut self, length: usize) -> Result<Bytes, CodecError> {
        let start = self.at;
        self.slice(length)?;
        Ok(self.frame.slice(start..self.at))
    }

    /// An unsigned integer of variable length.
    ///
    /// # Errors
    /// When it does not end within the bytes that remain, or does not fit 32 bits.
    #[inline]
    pub fn uvarint(&mut self) -> Result<u32, CodecError> {
        let mut unread = self.unread();
        let before = unread.len();
        let Some(value) = varint::take(&mut unread) else { return Err(self.error(Fault::Varint)) };
        self.at += before - unread.len();
        Ok(value)
    }

    /// The length before a string: `None` for null.
    ///
    /// # Errors
    /// When the prefix is cut off or below -1.
    pub(super) fn string_length(&mut self) -> Result<Option<usize>, CodecError> {
        if self.shape.flexible {
            return self.compact_length();
        }
        let length = i16::from_be_bytes(self.array()?);
        self.classic_length(i32::from(length))
    }

    /// The length before a blob, or the count before an array's elements: `None` for null.
    ///
    /// # Errors
    /// When the prefix is cut off or below -1.
    pub(super) fn length(&mut self) -> Result<Option<usize>, CodecError> {
        if self.shape.flexible {
            return self.compact_length();
        }
        let length = i32::from_be_bytes(self.array()?);
        self.classic_length(length)
    }

    fn compact_length(&mut self) -> Result<Option<usize>, CodecError> {
        let length = self.uvarint()?.checked_sub(1);
        Ok(length.map(|length| length as usize))
    }

    fn classic_length(&self, length: i32) -> Result<Option<usize>, CodecError> {
        match usize::try_from(length) {
            Ok(length) => Ok(Some(length)),
            Err(_) if length == -1 => Ok(None),
            Err(_) => Err(self.error(Fault::NegativeLength(length))),
        }
    }

    /// Reads the tagged fields that end a structure: `known` gets each tag, reads its value and says true, or says false and reads nothing.
    ///
    /// # Errors
    /// When a field's bytes are cut off, or `known` reads fewer than there are.
    #[inline]
    pub fn tagged_fields(
        &mut self,
        mut known: impl FnMut(u32, &mut Self) -> Result<bool, CodecError>,
    ) -> Result<(), CodecError> {
        match self.uvarint()? {
            0 => Ok(()),
            count => self.some_tagged_fields(count, &mut known),
        }
    }

    /// As `tagged_fields`, compiled once for all structures.
    fn some_tagged_fields(
        &mut self,
        count: u32,
        known: &mut dyn FnMut(u32, &mut Self) -> Result<bool, CodecError>,
    ) -> Result<(), CodecError> {
        // Each turn reads at least two bytes, so a false count ends with the frame.
        for _ in 0..count {
            let tag = self.uvarint()?;
            let length = self.uvarint()? as usize;
            if length > self.remaining() {
                return Err(self.truncated(length));
            }
            let outer_end = std::mem::replace(&mut self.end, self.at + length);
            if !known(tag, self)? {
                self.at = self.end;
            }
            if self.remaining() > 0 {
                return Err(self.error(Fault::TagLength { tag, unread: self.remaining() }));
            }
            self.end = outer_end;
        }
        Ok(())
    }
}
