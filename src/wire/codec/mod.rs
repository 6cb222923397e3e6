//! The protocol's primitive types, between bytes and Rust values.
//!
//! Every message is written and read in one *shape*: an API version, in the classic or the flexible (KIP-482) forms. [`Writer`] and
//! [`Reader`] know their shape, so a message names its fields once and the forms follow.
//!
//! ```text
//!  message --Encode--> Writer --> Vec<u8>         Bytes --> Reader --Decode--> message
//!            declare: the macro that derives both from one list of fields
//! ```
//!
//! Nothing that is read is trusted: a length is compared with the bytes that remain before anything is allocated for it, so what a frame
//! can make us allocate is its own length times a constant (40 at most, for each level of arrays in arrays).

mod declare;
mod error;
mod field;
mod reader;
#[cfg(test)]
pub(crate) mod sample;
mod varint;
mod writer;

use bytes::Bytes;

pub(crate) use declare::{Presence, messages};
pub use error::{CodecError, Fault};
pub(crate) use field::{Nullable, nullable_structures};
pub use reader::Reader;
pub use writer::Writer;

/// How a message is laid out: its API version, and whether that version uses the flexible forms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// The version of the API.
    pub version: i16,
    /// Whether strings, bytes and arrays are compact and every structure ends in tagged fields (KIP-482).
    pub flexible: bool,
}

impl Shape {
    /// The shape of `version` in an API whose versions are flexible from `flexible_from` on.
    #[must_use]
    pub const fn new(version: i16, flexible_from: i16) -> Self {
        Self { version, flexible: version >= flexible_from }
    }
}

/// A value that can be written in the protocol's form.
pub trait Encode {
    /// Appends the value in the writer's shape.
    ///
    /// # Errors
    /// When the version lacks a field that is set, a field may not be null in the version, or a length does not fit its prefix.
    fn encode(&self, out: &mut Writer<'_>) -> Result<(), CodecError>;

    /// About how many bytes the blobs inside take with what stands around them, so that the buffer grows once. 0 without blobs: what is
    /// small may grow as it comes.
    #[must_use]
    fn bulk(&self) -> usize {
        0
    }
}

/// A value that can be read from the protocol's form.
pub trait Decode: Sized {
    /// Reads one value in the reader's shape.
    ///
    /// # Errors
    /// When the bytes end early or are no such value.
    fn decode(input: &mut Reader) -> Result<Self, CodecError>;

    /// The fewest bytes that a value takes in this shape: what bounds the count of an array.
    #[must_use]
    fn least_size(shape: Shape) -> usize;
}

/// What stands before the blobs of a message, generously.
const HEAD: usize = 1024;

/// Appends the body of a message in one version. Nothing is appended on an error.
///
/// # Errors
/// As [`Encode::encode`].
pub fn encode_body<M: Encode>(
    message: &M,
    version: i16,
    flexible_from: i16,
    out: &mut Vec<u8>,
) -> Result<(), CodecError> {
    let start = out.len();
    match message.bulk() {
        0 => {}
        bulk => out.reserve(bulk + HEAD),
    }
    let written = message.encode(&mut Writer::new(out, Shape::new(version, flexible_from)));
    if written.is_err() {
        out.truncate(start);
    }
    written
}

/// Reads the body of a message in one version. Records and other blobs inside stay slices of `body`.
///
/// # Errors
/// As [`Decode::decode`], and when bytes remain after the message.
pub fn decode_body<M: Decode>(body: Bytes, version: i16, flexible_from: i16) -> Result<M, CodecError> {
    let mut input = Reader::new(body, Shape::new(version, flexible_from));
    let message = M::decode(&mut input)?;
    input.finish()?;
    Ok(message)
}

#[cfg(test)]
mod tests;
