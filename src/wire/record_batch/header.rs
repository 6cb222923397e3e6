//! The 61 bytes in front of a batch's records.

use bytes::{Buf, BufMut};

/// How many bytes a batch has besides its records.
pub const BATCH_OVERHEAD: usize = 61;

/// Where the length field ends: a batch's length counts from here.
pub(super) const LENGTH_END: usize = 12;
/// Where the checksum ends: it covers everything from here.
pub(super) const CRC_END: usize = 21;
pub(super) const MAGIC: i8 = 2;

const TIMESTAMP_TYPE: i16 = 0b1000;
pub(super) const TRANSACTIONAL: i16 = 0b1_0000;
pub(super) const CONTROL: i16 = 0b10_0000;

/// Who says when a record was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestampType {
    /// The producer.
    CreateTime,
    /// The broker, when it appended the batch; all records of the batch have its time.
    LogAppendTime,
}

/// The fields by which a broker recognises a repeated batch (KIP-98).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerStamp {
    /// The producer's id, or -1.
    pub producer_id: i64,
    /// The id's epoch, or -1.
    pub producer_epoch: i16,
    /// The sequence of the batch's first record, or -1.
    pub base_sequence: i32,
}

/// The stamp of a batch that has no producer id.
pub const NO_PRODUCER: ProducerStamp = ProducerStamp { producer_id: -1, producer_epoch: -1, base_sequence: -1 };

/// A batch's header, field by field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BatchHeader {
    pub(super) base_offset: i64,
    pub(super) length: i32,
    pub(super) leader_epoch: i32,
    pub(super) magic: i8,
    pub(super) crc: u32,
    pub(super) attributes: i16,
    pub(super) last_offset_delta: i32,
    pub(super) base_timestamp: i64,
    pub(super) max_timestamp: i64,
    pub(super) stamp: ProducerStamp,
    pub(super) count: i32,
}

impl BatchHeader {
    pub(super) fn read(bytes: &[u8; BATCH_OVERHEAD]) -> Self {
        let mut input = bytes.as_slice();
        Self {
            base_offset: input.get_i64(),
            length: input.get_i32(),
            leader_epoch: input.get_i32(),
            magic: input.get_i8(),
            crc: input.get_u32(),
            attributes: input.get_i16(),
            last_offset_delta: input.get_i32(),
            base_timestamp: input.get_i64(),
            max_timestamp: input.get_i64(),
            stamp: ProducerStamp {
                producer_id: input.get_i64(),
                producer_epoch: input.get_i16(),
                base_sequence: input.get_i32(),
            },
            count: input.get_i32(),
        }
    }

    pub(super) fn write(&self) -> [u8; BATCH_OVERHEAD] {
        let mut bytes = [0; BATCH_OVERHEAD];
        let mut out = bytes.as_mut_slice();
        out.put_i64(self.base_offset);
        out.put_i32(self.length);
        out.put_i32(self.leader_epoch);
        out.put_i8(self.magic);
        out.put_u32(self.crc);
        out.put_i16(self.attributes);
        out.put_i32(self.last_offset_delta);
        out.put_i64(self.base_timestamp);
        out.put_i64(self.max_timestamp);
        out.put_i64(self.stamp.producer_id);
        out.put_i16(self.stamp.producer_epoch);
        out.put_i32(self.stamp.base_sequence);
        out.put_i32(self.count);
        bytes
    }

    /// The header's bytes with the checksum over itself and the records behind it.
    pub(super) fn sealed(mut self, records: &[u8]) -> [u8; BATCH_OVERHEAD] {
        let bytes = self.write();
        let own = crc32c::crc32c(bytes.get(CRC_END..).unwrap_or_default());
        self.crc = crc32c::crc32c_append(own, records);
        self.write()
    }

    pub(super) fn timestamp_type(&self) -> TimestampType {
        if self.attributes & TIMESTAMP_TYPE == 0 { TimestampType::CreateTime } else { TimestampType::LogAppendTime }
    }
}

/// Gives a stored batch its place in the log, as a broker does: the checksum does not cover these fields.
///
/// Returns whether the bytes are long enough to be a batch.
pub fn set_place(batch: &mut [u8], base_offset: i64, leader_epoch: i32) -> bool {
    let Some(bytes) = batch.first_chunk_mut::<BATCH_OVERHEAD>() else { return false };
    *bytes = BatchHeader { base_offset, leader_epoch, ..BatchHeader::read(bytes) }.write();
    true
}

/// Gives all records of a stored batch the broker's time, as `message.timestamp.type=LogAppendTime` demands.
///
/// Returns whether the bytes are long enough to be a batch.
pub fn set_log_append_time(batch: &mut [u8], timestamp: i64) -> bool {
    let Some((bytes, records)) = batch.split_first_chunk_mut::<BATCH_OVERHEAD>() else { return false };
    let header = BatchHeader::read(bytes);
    let header = BatchHeader { attributes: header.attributes | TIMESTAMP_TYPE, max_timestamp: timestamp, ..header };
    *bytes = header.sealed(records);
    true
}
