//! A batch as it goes on the wire, which is sent as often as need be without being encoded again.

use bytes::{Bytes, BytesMut};

use super::header::{BATCH_OVERHEAD, BatchHeader, ProducerStamp};

/// A finished batch.
#[derive(Clone, Debug)]
pub struct ClosedBatch {
    header: BatchHeader,
    bytes: Bytes,
}

impl ClosedBatch {
    /// `buffer` holds 61 bytes for the header, then the records.
    pub(super) fn seal(header: BatchHeader, buffer: Vec<u8>) -> Self {
        let mut batch = Self { header, bytes: Bytes::from(buffer) };
        batch.stamp(header.stamp);
        batch
    }

    /// Rewrites the producer's id, epoch and first sequence, and the checksum.
    ///
    /// The records are summed, at 20 GB a second or so, but neither encoded nor moved, unless an earlier [`ClosedBatch::bytes`] is still alive: those bytes never
    /// change, so this batch then goes on with a copy.
    pub fn stamp(&mut self, stamp: ProducerStamp) {
        self.header.stamp = stamp;
        let mut bytes =
            std::mem::take(&mut self.bytes).try_into_mut().unwrap_or_else(|shared| BytesMut::from(&*shared));
        if let Some((front, records)) = bytes.split_first_chunk_mut::<BATCH_OVERHEAD>() {
            *front = self.header.sealed(records);
        }
        self.bytes = bytes.freeze();
    }

    /// What the broker recognises the batch by.
    #[must_use]
    pub fn stamped(&self) -> ProducerStamp {
        self.header.stamp
    }

    /// The whole batch, shared.
    #[must_use]
    pub fn bytes(&self) -> Bytes {
        self.bytes.clone()
    }

    /// How many bytes the whole batch has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether it has no record.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count() == 0
    }

    /// How many records it has.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.header.count.unsigned_abs()
    }

    /// Gives the buffer back for another batch, if nobody else holds it.
    #[must_use]
    pub fn into_buffer(self) -> Option<Vec<u8>> {
        self.bytes.try_into_mut().ok().map(Vec::from)
    }
}
