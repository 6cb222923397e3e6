//! Record batches (message format 2): built in place, read without copies.
//!
//! A batch is written once, into the buffer that goes on the wire, and is never encoded again: what may change between two
//! tries (producer id, epoch, first sequence, checksum) is rewritten by [`ClosedBatch::stamp`]. Reading borrows from the
//! fetched frame, or from a [`Decompressor`](crate::wire::compression::Decompressor) that is used again.
//!
//! ```text
//! BatchBuilder --close--> ClosedBatch --stamp, bytes--> produce request
//!
//! fetch answer --> BatchReader --> BatchView --records--> Records --> Record --> Headers
//!                                      |
//!                            AbortedTransactions: deliver or skip
//! ```
//!
//! The layout of a batch, big-endian; the CRC-32C covers everything from the attributes on, so a broker gives offsets to a
//! batch without touching the checksum:
//!
//! ```text
//!  0 base offset 8 | 8 length 4 | 12 leader epoch 4 | 16 magic 1 | 17 crc 4 | 21 attributes 2 | 23 last offset delta 4
//! 27 base timestamp 8 | 35 max timestamp 8 | 43 producer id 8 | 51 producer epoch 2 | 53 base sequence 4 | 57 count 4 | 61 records
//! ```

mod aborted;
mod build;
mod closed;
mod header;
mod read;
mod record;
mod varint;

#[cfg(test)]
mod tests;

use thiserror::Error;

pub use self::aborted::{AbortedTransactions, ControlType, Judgement};
pub use self::build::{AppendError, BatchBuilder, RecordParts};
pub use self::closed::ClosedBatch;
pub use self::header::{BATCH_OVERHEAD, NO_PRODUCER, ProducerStamp, TimestampType, set_log_append_time, set_place};
pub use self::read::{BatchReader, BatchView};
pub use self::record::{Header, Headers, Record, RecordFields, Records, RecordsProgress};
use crate::wire::compression::CompressionError;

/// Why a batch, or a record in it, cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BatchError {
    /// The batch is in message format 0 or 1, which brokers have not written since Apache Kafka 0.11.
    #[error("the batch at offset {base_offset} has message format {magic}; only format 2 is read")]
    OldFormat {
        /// The batch's first offset.
        base_offset: i64,
        /// The format's number.
        magic: i8,
    },
    /// The batch's header contradicts itself.
    #[error("the batch at offset {base_offset} is malformed: {what}")]
    Malformed {
        /// The batch's first offset.
        base_offset: i64,
        /// What is wrong, in a few words.
        what: &'static str,
    },
    /// The checksum does not match.
    #[error("the batch at offset {base_offset} has CRC-32C {found:08x} where its header says {expected:08x}")]
    Checksum {
        /// The batch's first offset.
        base_offset: i64,
        /// What the header says.
        expected: u32,
        /// What the bytes give.
        found: u32,
    },
    /// The records cannot be decompressed.
    #[error("the batch at offset {base_offset} cannot be decompressed")]
    Compression {
        /// The batch's first offset.
        base_offset: i64,
        /// Why.
        #[source]
        cause: CompressionError,
    },
    /// A record is malformed; the records behind it cannot be found.
    #[error("record {index} of the batch at offset {base_offset} is malformed: {what}")]
    Record {
        /// The batch's first offset.
        base_offset: i64,
        /// The record's number in the batch, from 0.
        index: u32,
        /// What is wrong, in a few words.
        what: &'static str,
    },
}

impl BatchError {
    /// The first offset of the batch that cannot be read.
    #[must_use]
    pub fn base_offset(&self) -> i64 {
        match self {
            Self::OldFormat { base_offset, .. }
            | Self::Malformed { base_offset, .. }
            | Self::Checksum { base_offset, .. }
            | Self::Compression { base_offset, .. }
            | Self::Record { base_offset, .. } => *base_offset,
        }
    }
}

impl From<BatchError> for crate::Error {
    fn from(error: BatchError) -> Self {
        let place = crate::place::Place { offset: Some(error.base_offset()), ..Default::default() };
        Self::new(crate::ErrorCode::Batch, "a record batch cannot be read").at(place).caused_by(error)
    }
}
