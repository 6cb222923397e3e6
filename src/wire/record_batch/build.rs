//! Building a batch: each record is written once, straight into the buffer that goes on the wire.
//!
//! A record's length stands in front of it and is computed from its parts' sizes before anything is written, so nothing is
//! moved afterwards. The first 61 bytes of the buffer are left free for the header, which is known when the batch closes.

use thiserror::Error;

use super::closed::ClosedBatch;
use super::header::{
    BATCH_OVERHEAD, BatchHeader, CONTROL, LENGTH_END, MAGIC, NO_PRODUCER, ProducerStamp, TRANSACTIONAL,
};
use super::record::Header;
use super::varint::{self, Gathered};
use crate::wire::compression::{Compression, Compressor};

/// The parts of a record but for its value's bytes, which are written in place.
#[derive(Clone, Copy, Debug)]
pub struct RecordParts<'a> {
    /// The key, which may be missing.
    pub key: Option<&'a [u8]>,
    /// The headers, in this order.
    pub headers: &'a [Header<'a>],
    /// How many bytes the value has; `None` for a record without value.
    pub value_len: Option<usize>,
}

impl RecordParts<'_> {
    /// How many bytes a batch has that holds this record alone, uncompressed.
    #[must_use]
    pub fn batch_len(&self) -> usize {
        BATCH_OVERHEAD.saturating_add(Sizes::of(self, 0, 0).whole)
    }
}

/// Why a record was not appended. The batch is as it was before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum AppendError {
    /// The batch would be larger than was allowed.
    #[error("the batch would have {len} bytes")]
    Full {
        /// How large it would be, in bytes.
        len: usize,
    },
    /// The value's bytes are not as many as was said.
    #[error("the value has {written} bytes where {foretold} were foretold")]
    Length {
        /// What was said.
        foretold: usize,
        /// What was written.
        written: usize,
    },
    /// The record, or the batch with it, is larger than the format can say.
    #[error("the record is larger than a batch can hold")]
    TooLarge,
}

/// A batch that still takes records.
#[derive(Debug)]
pub struct BatchBuilder {
    buffer: Vec<u8>,
    /// Where the records end; what an unwound writer left behind it is cut off.
    end: usize,
    compression: Compression,
    attributes: i16,
    base_timestamp: i64,
    max_timestamp: i64,
    count: i32,
    next_delta: i32,
}

/// A record's sizes, computed before it is written.
struct Sizes {
    /// What stands behind the length field.
    body: usize,
    whole: usize,
}

impl Sizes {
    #[inline]
    fn of(parts: &RecordParts<'_>, timestamp_delta: i64, offset_delta: i32) -> Self {
        let mut body = 1 + varint::length(timestamp_delta) + varint::length(offset_delta.into());
        body += sized(parts.key.map(<[u8]>::len)) + sized(parts.value_len);
        body += varint::length(as_i64(parts.headers.len()));
        for header in parts.headers {
            body += sized(Some(header.key.len())) + sized(header.value.map(<[u8]>::len));
        }
        Self { body, whole: varint::length(as_i64(body)) + body }
    }
}

/// More than this a batch cannot hold, as its length is a signed 32-bit integer.
const MAX_BYTES: usize = i32::MAX as usize;

impl BatchBuilder {
    /// An empty batch that uses `buffer`, whose contents are dropped.
    #[must_use]
    pub fn new(compression: Compression, mut buffer: Vec<u8>) -> Self {
        buffer.clear();
        buffer.resize(BATCH_OVERHEAD, 0);
        Self {
            buffer,
            end: BATCH_OVERHEAD,
            compression,
            attributes: 0,
            base_timestamp: -1,
            max_timestamp: -1,
            count: 0,
            next_delta: 0,
        }
    }

    /// Makes it part of a transaction.
    #[must_use]
    pub fn transactional(mut self) -> Self {
        self.attributes |= TRANSACTIONAL;
        self
    }

    /// Makes it a control batch, as brokers write at a transaction's end.
    #[must_use]
    pub fn control(mut self) -> Self {
        self.attributes |= CONTROL;
        self
    }

    /// How many bytes the batch would have with this record, uncompressed.
    #[must_use]
    pub fn size_with(&self, timestamp: i64, parts: &RecordParts<'_>) -> usize {
        self.end.saturating_add(self.sizes(timestamp, parts).whole)
    }

    /// Appends a record, whose value `write` appends to the given bytes. Returns its number in the batch, from 0.
    ///
    /// # Errors
    /// [`AppendError::Length`] if `write` appends other than `parts.value_len` bytes, [`AppendError::TooLarge`] if the batch
    /// would exceed the format's limits. Either way the batch is as it was.
    pub fn append(
        &mut self,
        timestamp: i64,
        parts: &RecordParts<'_>,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> Result<u32, AppendError> {
        self.append_within(MAX_BYTES, timestamp, parts, write)
    }

    /// [`BatchBuilder::append`], unless the batch would then have more than `most` bytes, uncompressed.
    ///
    /// # Errors
    /// As [`BatchBuilder::append`], and [`AppendError::Full`], before anything is written.
    pub fn append_within(
        &mut self,
        most: usize,
        timestamp: i64,
        parts: &RecordParts<'_>,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> Result<u32, AppendError> {
        self.buffer.truncate(self.end);
        let sizes = self.sizes(timestamp, parts);
        let len = self.end.saturating_add(sizes.whole);
        if len > most && len <= MAX_BYTES {
            return Err(AppendError::Full { len });
        }
        if len > MAX_BYTES || self.next_delta == i32::MAX {
            return Err(AppendError::TooLarge);
        }
        self.buffer.reserve(sizes.whole + Gathered::BYTES);
        self.write_front(timestamp, parts, sizes.body);
        let value_at = self.buffer.len();
        write(&mut self.buffer);
        let written = self.buffer.len().saturating_sub(value_at);
        let foretold = parts.value_len.unwrap_or(0);
        if written != foretold {
            return Err(AppendError::Length { foretold, written });
        }
        self.write_headers(parts.headers);
        Ok(self.count_in(timestamp))
    }

    /// Leaves out `offsets` offsets before the next record, as compaction does.
    pub fn skip_offsets(&mut self, offsets: u16) {
        self.next_delta = self.next_delta.saturating_add(i32::from(offsets));
    }

    /// How many bytes the batch has by now, uncompressed.
    #[must_use]
    pub fn len(&self) -> usize {
        self.end
    }

    /// How many records it has.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.count.unsigned_abs()
    }

    /// Whether it has no record.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Takes no more records: compresses them, puts the header in front and seals both with the checksum.
    ///
    /// Records that the codec does not make smaller are sent as they are.
    #[must_use]
    pub fn close(self, compressor: &mut Compressor) -> ClosedBatch {
        self.close_stamped(compressor, NO_PRODUCER)
    }

    /// [`BatchBuilder::close`] with the producer's stamp, which saves summing the records a second time.
    #[must_use]
    pub fn close_stamped(mut self, compressor: &mut Compressor, stamp: ProducerStamp) -> ClosedBatch {
        self.buffer.truncate(self.end);
        let mut codec = Compression::None;
        if self.compression != Compression::None {
            let mut out = compressor.take_spare();
            out.resize(BATCH_OVERHEAD, 0);
            let records = self.buffer.get(BATCH_OVERHEAD..).unwrap_or_default();
            if compressor.compress(self.compression, records, &mut out) && out.len() < self.buffer.len() {
                codec = self.compression;
                std::mem::swap(&mut out, &mut self.buffer);
            }
            compressor.keep_spare(out);
        }
        let header = BatchHeader { stamp, ..self.header(codec) };
        ClosedBatch::seal(header, self.buffer)
    }

    fn header(&self, codec: Compression) -> BatchHeader {
        BatchHeader {
            base_offset: 0,
            length: i32::try_from(self.buffer.len().saturating_sub(LENGTH_END)).unwrap_or(i32::MAX),
            leader_epoch: -1,
            magic: MAGIC,
            crc: 0,
            attributes: self.attributes | codec.attributes(),
            last_offset_delta: self.next_delta.saturating_sub(1).max(0),
            base_timestamp: self.base_timestamp,
            max_timestamp: self.max_timestamp,
            stamp: NO_PRODUCER,
            count: self.count,
        }
    }

    #[inline]
    fn sizes(&self, timestamp: i64, parts: &RecordParts<'_>) -> Sizes {
        Sizes::of(parts, self.timestamp_delta(timestamp), self.next_delta)
    }

    #[inline]
    fn write_front(&mut self, timestamp: i64, parts: &RecordParts<'_>, body: usize) {
        let mut front = Gathered::new();
        front.varlong(as_i64(body));
        front.byte(0);
        front.varlong(self.timestamp_delta(timestamp));
        front.varlong(self.next_delta.into());
        front.varlong(length_field(parts.key.map(<[u8]>::len)));
        front.append_to(&mut self.buffer);
        self.buffer.extend_from_slice(parts.key.unwrap_or_default());
        varint::put(&mut self.buffer, length_field(parts.value_len));
    }

    #[inline]
    fn write_headers(&mut self, headers: &[Header<'_>]) {
        varint::put(&mut self.buffer, as_i64(headers.len()));
        for header in headers {
            varint::put(&mut self.buffer, as_i64(header.key.len()));
            self.buffer.extend_from_slice(header.key);
            varint::put(&mut self.buffer, length_field(header.value.map(<[u8]>::len)));
            self.buffer.extend_from_slice(header.value.unwrap_or_default());
        }
    }

    fn count_in(&mut self, timestamp: i64) -> u32 {
        if self.count == 0 {
            self.base_timestamp = timestamp;
        }
        let index = self.count.unsigned_abs();
        self.max_timestamp = self.max_timestamp.max(timestamp);
        self.end = self.buffer.len();
        self.count = self.count.saturating_add(1);
        self.next_delta = self.next_delta.saturating_add(1);
        index
    }

    /// A record's time counts from the first record's.
    fn timestamp_delta(&self, timestamp: i64) -> i64 {
        if self.count == 0 { 0 } else { timestamp.saturating_sub(self.base_timestamp) }
    }
}

/// The size of bytes behind their length.
fn sized(length: Option<usize>) -> usize {
    varint::length(length_field(length)) + length.unwrap_or(0)
}

/// How a length is written: -1 says that there are no bytes, not even none.
fn length_field(length: Option<usize>) -> i64 {
    length.map_or(-1, as_i64)
}

/// A length in memory always fits: an allocation holds at most `isize::MAX` bytes.
fn as_i64(length: usize) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX)
}
