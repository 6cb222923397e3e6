//! Why bytes are no message, or a message cannot be bytes.

use std::fmt;

use crate::{Error, ErrorCode};

/// What is wrong with a message, with the byte where it was noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodecError {
    fault: Fault,
    at: usize,
}

/// What is wrong with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// A value needs more bytes than remain.
    Truncated {
        /// The bytes that the value needs.
        needed: usize,
        /// The bytes that remain.
        remaining: usize,
    },
    /// An array claims more elements than the remaining bytes can hold.
    Count {
        /// The elements claimed.
        count: usize,
        /// The bytes that remain.
        remaining: usize,
    },
    /// A length is below zero where null is not meant.
    NegativeLength(i32),
    /// A variable-length integer does not end within its type.
    Varint,
    /// A string is not UTF-8.
    Utf8,
    /// A string, blob or array is longer than its length prefix can say.
    TooLong(usize),
    /// Null stands where a value must be.
    Null,
    /// This field may not be null in the version.
    NullField(&'static str),
    /// This field is set, but the version lacks it.
    FieldNotInVersion {
        /// The field, by its name in the schema.
        field: &'static str,
        /// The version that lacks it.
        version: i16,
    },
    /// A tagged field's value is shorter than the length said before it.
    TagLength {
        /// The tag.
        tag: u32,
        /// The bytes that were not read.
        unread: usize,
    },
    /// The marker of a nullable structure is neither null nor present.
    Marker(i8),
    /// Bytes remain after the message.
    LeftOver(usize),
}

impl CodecError {
    /// A fault noticed at byte `at`.
    #[must_use]
    pub const fn new(fault: Fault, at: usize) -> Self {
        Self { fault, at }
    }

    /// What is wrong.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        self.fault
    }

    /// The byte where it was noticed: from the start of the body when reading, from the start of the buffer when writing.
    #[must_use]
    pub const fn at(&self) -> usize {
        self.at
    }
}

impl fmt::Display for CodecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}", self.fault, self.at)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated { needed, remaining } => write!(f, "a value needs {needed} bytes and {remaining} remain"),
            Self::Count { count, remaining } => write!(f, "an array claims {count} elements in {remaining} bytes"),
            Self::NegativeLength(length) => write!(f, "a length is {length}"),
            Self::Varint => f.write_str("a variable-length integer does not end"),
            Self::Utf8 => f.write_str("a string is not UTF-8"),
            Self::TooLong(length) => write!(f, "{length} do not fit the length prefix"),
            Self::Null => f.write_str("null stands where a value must be"),
            Self::NullField(field) => write!(f, "{field} may not be null in this version"),
            Self::FieldNotInVersion { field, version } => write!(f, "version {version} has no {field}, which is set"),
            Self::TagLength { tag, unread } => write!(f, "tagged field {tag} leaves {unread} of its bytes unread"),
            Self::Marker(marker) => write!(f, "{marker} says neither null nor present"),
            Self::LeftOver(count) => write!(f, "{count} bytes remain after the message"),
        }
    }
}

impl std::error::Error for CodecError {}

impl From<CodecError> for Error {
    fn from(error: CodecError) -> Self {
        Self::new(ErrorCode::Protocol, "a message is not what the protocol demands").caused_by(error)
    }
}
