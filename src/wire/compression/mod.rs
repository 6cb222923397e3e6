//! Compression codecs without a line of C.
//!
//! A batch is compressed as a whole. Codecs and buffers are kept and used again, because a fresh buffer a batch costs as
//! much as lz4 itself; so whoever reads or writes batches owns one [`Decompressor`] or [`Compressor`] and lends it.
//!
//! What comes from outside is bounded: a batch may not decompress to more than a limit, and nothing is allocated on the
//! word of a length field alone. Checksums inside the codecs' own frames are not checked, since the batch's CRC-32C covers
//! every byte of them.

mod gzip;
mod lz4;
mod snappy;
mod zstd;

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// How the records of a batch are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// gzip: small, slow.
    Gzip,
    /// snappy: fast. Written raw, as librdkafka does; raw and the framing of Java's snappy (xerial) are read.
    Snappy,
    /// lz4, in its frame format: fast.
    Lz4,
    /// zstd, for reading only: there is no encoder of quality without C.
    Zstd,
}

impl Compression {
    /// The codec of a batch's attributes (its lowest three bits).
    #[must_use]
    pub fn from_attributes(attributes: i16) -> Option<Self> {
        match attributes & 0b111 {
            0 => Some(Self::None),
            1 => Some(Self::Gzip),
            2 => Some(Self::Snappy),
            3 => Some(Self::Lz4),
            4 => Some(Self::Zstd),
            _ => None,
        }
    }

    /// The bits that name this codec in a batch's attributes.
    #[must_use]
    pub fn attributes(self) -> i16 {
        match self {
            Self::None => 0,
            Self::Gzip => 1,
            Self::Snappy => 2,
            Self::Lz4 => 3,
            Self::Zstd => 4,
        }
    }

    /// The name as `compression.type` spells it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }

    /// Whether this library can write it.
    #[must_use]
    pub fn is_writable(self) -> bool {
        self != Self::Zstd
    }
}

/// Why bytes could not be decompressed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CompressionError {
    /// They are not what the codec demands.
    #[error("the {} bytes are malformed: {what}", .codec.as_str())]
    Malformed {
        /// The codec.
        codec: Compression,
        /// What is wrong, in a few words.
        what: &'static str,
    },
    /// They decompress to more than the limit.
    #[error("the {} bytes decompress to more than the limit of {limit} bytes", .codec.as_str())]
    TooLarge {
        /// The codec.
        codec: Compression,
        /// The limit, in bytes.
        limit: usize,
    },
}

/// Compresses batches, keeping codecs and buffers between them.
#[derive(Default)]
pub struct Compressor {
    gzip: Option<gzip::Encoder>,
    snappy: snappy::Encoder,
    lz4: lz4::Encoder,
    spare: Vec<u8>,
}

impl Compressor {
    /// A compressor that has allocated nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends `input`, compressed, to `out`. Returns whether it was done; if not, `out` holds an unusable rest.
    ///
    /// It is not done for [`Compression::None`] and [`Compression::Zstd`], which nothing here writes.
    #[must_use]
    pub fn compress(&mut self, codec: Compression, input: &[u8], out: &mut Vec<u8>) -> bool {
        match codec {
            Compression::None | Compression::Zstd => false,
            Compression::Gzip => self.gzip.get_or_insert_with(gzip::Encoder::new).compress(input, out),
            Compression::Snappy => self.snappy.compress(input, out),
            Compression::Lz4 => self.lz4.compress(input, out),
        }
    }

    /// An empty buffer, with the capacity of the last one that was kept.
    pub(super) fn take_spare(&mut self) -> Vec<u8> {
        let mut spare = std::mem::take(&mut self.spare);
        spare.clear();
        spare
    }

    /// Keeps a buffer for [`Compressor::take_spare`].
    pub(super) fn keep_spare(&mut self, buffer: Vec<u8>) {
        self.spare = buffer;
    }
}

/// Decompresses batches, keeping codecs and one output buffer between them.
pub struct Decompressor {
    gzip: Option<gzip::Decoder>,
    zstd: Option<zstd::Decoder>,
    output: Vec<u8>,
    limit: usize,
}

impl Decompressor {
    /// What one batch may decompress to, in bytes, unless said otherwise: 64 times the largest batch that a broker takes by default.
    pub const DEFAULT_LIMIT: usize = 64 * 1024 * 1024;

    /// A decompressor with [`Decompressor::DEFAULT_LIMIT`] that has allocated nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::with_limit(Self::DEFAULT_LIMIT)
    }

    /// A decompressor that refuses a batch that decompresses to more than `limit` bytes.
    #[must_use]
    pub fn with_limit(limit: usize) -> Self {
        Self { gzip: None, zstd: None, output: Vec::new(), limit }
    }

    /// The bytes that `input` decompresses to, valid until the next call.
    ///
    /// # Errors
    /// [`CompressionError::Malformed`] if the bytes are not what the codec demands, [`CompressionError::TooLarge`] if they
    /// decompress to more than the limit.
    pub fn decompress<'a>(&'a mut self, codec: Compression, input: &'a [u8]) -> Result<&'a [u8], CompressionError> {
        if codec == Compression::None {
            return Ok(input);
        }
        let mut output = Output::reusing(std::mem::take(&mut self.output), codec, self.limit);
        let result = match codec {
            Compression::None => Ok(()),
            Compression::Gzip => self.gzip.get_or_insert_with(gzip::Decoder::new).decompress(input, &mut output),
            Compression::Snappy => snappy::decompress(input, &mut output),
            Compression::Lz4 => lz4::decompress(input, &mut output),
            Compression::Zstd => {
                let limit = self.limit;
                self.zstd.get_or_insert_with(|| zstd::Decoder::new(limit)).decompress(input, &mut output)
            }
        };
        let used = output.used;
        self.output = output.bytes;
        result?;
        Ok(self.output.get(..used).unwrap_or_default())
    }
}

impl Default for Decompressor {
    fn default() -> Self {
        Self::new()
    }
}

/// Where decompressed bytes go: grows step by step up to the limit.
///
/// Bytes beyond `used` are what an earlier batch left there: they stay initialised, so that growing into them costs nothing.
struct Output {
    bytes: Vec<u8>,
    used: usize,
    codec: Compression,
    limit: usize,
}

/// An output buffer larger than this is given back once the batch that needed it is done.
const KEEP_BYTES: usize = 8 * 1024 * 1024;

impl Output {
    fn reusing(bytes: Vec<u8>, codec: Compression, limit: usize) -> Self {
        let bytes = if bytes.capacity() > KEEP_BYTES { Vec::new() } else { bytes };
        Self { bytes, used: 0, codec, limit }
    }

    /// Up to `wanted` writable bytes behind what is there, fewer only at the limit, with everything before them.
    fn room(&mut self, wanted: usize) -> (&[u8], &mut [u8]) {
        let end = self.used.saturating_add(wanted).min(self.limit);
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        let (before, behind) = self.bytes.split_at_mut_checked(self.used).unwrap_or_default();
        (before, behind.get_mut(..end.saturating_sub(self.used)).unwrap_or_default())
    }

    /// Counts `written` bytes of the last [`Output::room`] as there.
    fn advance(&mut self, written: usize) {
        self.used = self.used.saturating_add(written).min(self.bytes.len());
    }

    /// Appends bytes as they are.
    fn extend(&mut self, bytes: &[u8]) -> Result<(), CompressionError> {
        let (_, room) = self.room(bytes.len());
        let Some(target) = room.get_mut(..bytes.len()) else { return Err(self.too_large()) };
        target.copy_from_slice(bytes);
        self.advance(bytes.len());
        Ok(())
    }

    /// How many more bytes the limit allows.
    fn left(&self) -> usize {
        self.limit.saturating_sub(self.used)
    }

    fn too_large(&self) -> CompressionError {
        CompressionError::TooLarge { codec: self.codec, limit: self.limit }
    }

    fn malformed(&self, what: &'static str) -> CompressionError {
        CompressionError::Malformed { codec: self.codec, what }
    }
}
