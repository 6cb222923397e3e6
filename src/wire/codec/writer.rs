//! Appends primitive values to a buffer.

use super::{CodecError, Fault, Presence, Shape, varint};

/// A buffer being appended to, with the shape in which it is written.
#[derive(Debug)]
pub struct Writer<'a> {
    out: &'a mut Vec<u8>,
    shape: Shape,
}

impl<'a> Writer<'a> {
    /// Appends to `out`.
    #[must_use]
    pub fn new(out: &'a mut Vec<u8>, shape: Shape) -> Self {
        Self { out, shape }
    }

    /// The shape in which values are written.
    #[must_use]
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// The API version in which values are written.
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

    /// The error for a fault at the current end of the buffer.
    #[must_use]
    pub fn error(&self, fault: Fault) -> CodecError {
        CodecError::new(fault, self.out.len())
    }

    /// Appends bytes as they are.
    #[inline]
    pub fn raw(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    /// Appends an unsigned integer of variable length.
    #[inline]
    pub fn uvarint(&mut self, value: u32) {
        varint::put(self.out, value);
    }

    /// Appends the length before a string; `None` is null.
    ///
    /// # Errors
    /// When it does not fit 15 bits, which holds for the compact form too, as in Kafka.
    pub(super) fn string_length(&mut self, length: Option<usize>) -> Result<(), CodecError> {
        if let Some(length) = length.filter(|length| *length > i16::MAX as usize) {
            return Err(self.error(Fault::TooLong(length)));
        }
        if self.shape.flexible {
            return self.compact_length(length);
        }
        let length = length.map_or(Ok(-1), i16::try_from);
        self.raw(&length.unwrap_or(i16::MAX).to_be_bytes());
        Ok(())
    }

    /// Appends the length before a blob, or the count before an array's elements; `None` is null.
    ///
    /// # Errors
    /// When it does not fit 31 bits.
    pub(super) fn length(&mut self, length: Option<usize>) -> Result<(), CodecError> {
        if self.shape.flexible {
            return self.compact_length(length);
        }
        let Ok(prefix) = length.map_or(Ok(-1), i32::try_from) else { return Err(self.too_long(length)) };
        self.raw(&prefix.to_be_bytes());
        Ok(())
    }

    fn compact_length(&mut self, length: Option<usize>) -> Result<(), CodecError> {
        // Kafka reads the prefix as a signed number.
        let Ok(prefix) = i32::try_from(length.map_or(0, |length| length.saturating_add(1))) else {
            return Err(self.too_long(length));
        };
        self.uvarint(prefix.cast_unsigned());
        Ok(())
    }

    fn too_long(&self, length: Option<usize>) -> CodecError {
        self.error(Fault::TooLong(length.unwrap_or_default()))
    }

    /// Appends the count of tagged fields that will follow, given each known one's name, versions and whether it is set. False when the
    /// version has no tagged fields at all.
    ///
    /// # Errors
    /// When a field is set that the version lacks and that may not be dropped.
    pub(crate) fn begin_tagged_fields(
        &mut self,
        fields: &[(&'static str, Presence, bool)],
    ) -> Result<bool, CodecError> {
        let version = self.shape.version;
        let mut count = 0;
        for (field, presence, set) in fields {
            let in_version = self.shape.flexible && presence.is_in(version);
            if *set && !in_version && presence.is_strict() {
                return Err(self.error(Fault::FieldNotInVersion { field, version }));
            }
            count += u32::from(*set && in_version);
        }
        if self.shape.flexible {
            self.uvarint(count);
        }
        Ok(self.shape.flexible)
    }

    /// Appends one tagged field: its tag, the length of what `value` appends, and that.
    ///
    /// # Errors
    /// Those of `value`, and when the value's length does not fit.
    pub fn tagged_field(
        &mut self,
        tag: u32,
        value: impl FnOnce(&mut Self) -> Result<(), CodecError>,
    ) -> Result<(), CodecError> {
        self.uvarint(tag);
        let start = self.out.len();
        value(self)?;
        let length = self.out.len() - start;
        let Ok(prefix) = u32::try_from(length) else { return Err(self.too_long(Some(length))) };
        // The length is known last and stands first: it is appended, then the two change places.
        self.uvarint(prefix);
        if let Some(field) = self.out.get_mut(start..) {
            field.rotate_left(length);
        }
        Ok(())
    }
}
