//! Finding the batches in what a broker sent.

use bytes::Bytes;

use super::BatchError;
use super::aborted::ControlType;
use super::header::TimestampType;
use super::header::{BATCH_OVERHEAD, BatchHeader, CONTROL, CRC_END, LENGTH_END, MAGIC, ProducerStamp, TRANSACTIONAL};
use super::record::Records;
use crate::wire::compression::{Compression, Decompressor};

/// Where the format's number stands, in every format.
const MAGIC_AT: usize = 16;

/// Iterates over the batches of a fetch's or produce's `records`.
///
/// Brokers send what fits, so the last batch may be cut; it ends the iteration quietly, and [`BatchReader::missing`] says so.
/// Any other fault is one error, and then the end.
#[derive(Clone, Debug)]
pub struct BatchReader {
    rest: Bytes,
    missing: usize,
}

impl BatchReader {
    /// Reads batches off `records`, without copying.
    #[must_use]
    pub fn new(records: Bytes) -> Self {
        Self { rest: records, missing: 0 }
    }

    /// After the end: how many bytes the last batch lacks (0 if it was whole). If not even the first batch of a fetch was
    /// whole, asking for more bytes than before is the only way on.
    #[must_use]
    pub fn missing(&self) -> usize {
        self.missing
    }

    fn cut(&mut self, needed: usize) -> Option<Result<BatchView, BatchError>> {
        self.missing = needed.saturating_sub(self.rest.len());
        self.rest.clear();
        None
    }

    fn fail(&mut self, error: BatchError) -> Option<Result<BatchView, BatchError>> {
        self.rest.clear();
        Some(Err(error))
    }
}

impl Iterator for BatchReader {
    type Item = Result<BatchView, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let Some(front) = Front::read(&self.rest) else { return self.cut(MAGIC_AT + 1) };
        if front.magic != MAGIC {
            let Front { base_offset, magic, .. } = front;
            return self.fail(match magic {
                0 | 1 => BatchError::OldFormat { base_offset, magic },
                _ => BatchError::Malformed { base_offset, what: "the format's number is unknown" },
            });
        }
        let Some(size) = front.size().filter(|size| *size >= BATCH_OVERHEAD) else {
            return self
                .fail(BatchError::Malformed { base_offset: front.base_offset, what: "it is shorter than its header" });
        };
        if size > self.rest.len() {
            return self.cut(size);
        }
        let view = BatchView::new(self.rest.split_to(size));
        if view.is_err() {
            self.rest.clear();
        }
        Some(view)
    }
}

/// The fields that are in the same place in every format.
struct Front {
    base_offset: i64,
    length: i32,
    magic: i8,
}

impl Front {
    fn read(bytes: &[u8]) -> Option<Self> {
        let (base_offset, rest) = bytes.split_first_chunk::<8>()?;
        let (length, _) = rest.split_first_chunk::<4>()?;
        let magic = i8::from_be_bytes([*bytes.get(MAGIC_AT)?]);
        Some(Self { base_offset: i64::from_be_bytes(*base_offset), length: i32::from_be_bytes(*length), magic })
    }

    fn size(&self) -> Option<usize> {
        usize::try_from(self.length).ok()?.checked_add(LENGTH_END)
    }
}

/// One whole batch, whose header has been read and found consistent. Cheap to clone.
#[derive(Clone, Debug)]
pub struct BatchView {
    header: BatchHeader,
    compression: Compression,
    last_offset: i64,
    bytes: Bytes,
}

impl BatchView {
    /// `bytes` are one whole batch, at least as long as a header.
    fn new(bytes: Bytes) -> Result<Self, BatchError> {
        let header = bytes.first_chunk::<BATCH_OVERHEAD>().map(BatchHeader::read);
        let malformed =
            |what| BatchError::Malformed { base_offset: header.map_or(-1, |header| header.base_offset), what };
        let Some(header) = header else { return Err(malformed("it is shorter than its header")) };
        if header.base_offset < 0 || header.last_offset_delta < 0 {
            return Err(malformed("an offset is negative"));
        }
        if header.count < 0 || i64::from(header.count) > i64::from(header.last_offset_delta) + 1 {
            return Err(malformed("it has more records than offsets"));
        }
        let Some(last_offset) = header.base_offset.checked_add(header.last_offset_delta.into()) else {
            return Err(malformed("its last offset is beyond the largest there is"));
        };
        let Some(compression) = Compression::from_attributes(header.attributes) else {
            return Err(malformed("its compression is unknown"));
        };
        Ok(Self { header, compression, last_offset, bytes })
    }

    /// The offset of the first record that was written into it; that record may be gone.
    #[must_use]
    pub fn base_offset(&self) -> i64 {
        self.header.base_offset
    }

    /// The batch's last offset, which may belong to a record that is gone. The next position is one more.
    #[must_use]
    pub fn last_offset(&self) -> i64 {
        self.last_offset
    }

    /// The epoch of the leader that appended it.
    #[must_use]
    pub fn leader_epoch(&self) -> i32 {
        self.header.leader_epoch
    }

    /// What the broker recognises a repeated batch by.
    #[must_use]
    pub fn stamp(&self) -> ProducerStamp {
        self.header.stamp
    }

    /// The id of the producer that wrote it, or -1.
    #[must_use]
    pub fn producer_id(&self) -> i64 {
        self.header.stamp.producer_id
    }

    /// Whether it holds a transaction's marker rather than records.
    #[must_use]
    pub fn is_control(&self) -> bool {
        self.header.attributes & CONTROL != 0
    }

    /// Whether it is part of a transaction.
    #[must_use]
    pub fn is_transactional(&self) -> bool {
        self.header.attributes & TRANSACTIONAL != 0
    }

    /// Who says when its records were made.
    #[must_use]
    pub fn timestamp_type(&self) -> TimestampType {
        self.header.timestamp_type()
    }

    /// The newest record's time, in milliseconds since 1970.
    #[must_use]
    pub fn max_timestamp(&self) -> i64 {
        self.header.max_timestamp
    }

    /// How many records the header says that it has. Each takes 7 bytes at least once decompressed; allocate by bytes, not by this.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.header.count.unsigned_abs()
    }

    /// How its records are compressed.
    #[must_use]
    pub fn compression(&self) -> Compression {
        self.compression
    }

    /// The whole batch as it is on the wire.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Checks the checksum.
    ///
    /// # Errors
    /// [`BatchError::Checksum`] if it does not match.
    pub fn check_crc(&self) -> Result<(), BatchError> {
        let found = crc32c::crc32c(self.bytes.get(CRC_END..).unwrap_or_default());
        if found == self.header.crc {
            return Ok(());
        }
        Err(BatchError::Checksum { base_offset: self.base_offset(), expected: self.header.crc, found })
    }

    /// The records, borrowed from the batch, or from `decompressor` if they are compressed.
    ///
    /// # Errors
    /// [`BatchError::Compression`] if they cannot be decompressed, [`BatchError::Malformed`] if there cannot be as many as the header says.
    pub fn records<'a>(&'a self, decompressor: &'a mut Decompressor) -> Result<Records<'a>, BatchError> {
        let base_offset = self.base_offset();
        let stored = self.bytes.get(BATCH_OVERHEAD..).unwrap_or_default();
        let records = decompressor
            .decompress(self.compression, stored)
            .map_err(|cause| BatchError::Compression { base_offset, cause })?;
        Records::new(&self.header, records)
    }

    /// What a control batch says; `None` if it is none, if the log cleaner has emptied it, or if its type is unknown.
    ///
    /// # Errors
    /// As [`BatchView::records`], and [`BatchError::Record`] if its record is malformed.
    pub fn control(&self, decompressor: &mut Decompressor) -> Result<Option<ControlType>, BatchError> {
        if !self.is_control() {
            return Ok(None);
        }
        let first = self.records(decompressor)?.next().transpose()?;
        Ok(first.and_then(|record| ControlType::of_key(record.key?)))
    }
}
