//! Takes records out of a log as Apache Kafka's log cleaner does.
//!
//! Offsets never change: what is taken out leaves a hole, within a batch or between batches.

use super::{Incoming, PartitionLog, Stored};
use crate::wire::compression::{Compressor, Decompressor};
use crate::wire::record_batch::{
    BatchBuilder, BatchReader, BatchView, Header, Record, RecordParts, TimestampType, set_log_append_time,
};

/// What becomes of a batch.
enum Fate {
    Stays,
    /// It has fewer records, and perhaps none, over the same range of offsets.
    Becomes(Incoming),
    Goes,
}

impl PartitionLog {
    /// Takes out the records for whose offsets `keep` is false.
    ///
    /// Markers stay, and so does the log's last batch, as the cleaner leaves the active segment alone. Of each producer the last
    /// batch stays, without records if need be, because its sequence must be known after a restart.
    pub(in crate::broker) fn compact(&mut self, mut keep: impl FnMut(i64) -> bool) {
        let Some(last) = self.batches.pop_back() else { return };
        let mut position = self.batches.front().map_or(last.position, |first| first.position);
        let mut newest = i64::MIN;
        let mut kept = std::mem::take(&mut self.batches);
        kept.retain_mut(|batch| match self.fate(batch, &mut keep) {
            Fate::Stays => true,
            Fate::Becomes(smaller) => {
                (batch.bytes, batch.max_timestamp) = (smaller.bytes, smaller.max_timestamp);
                true
            }
            Fate::Goes => false,
        });
        kept.push_back(last);
        for batch in &mut kept {
            newest = newest.max(batch.max_timestamp);
            (batch.position, batch.newest) = (position, newest);
            position += batch.bytes.len() as u64;
        }
        (self.batches, self.written) = (kept, position);
    }

    fn fate(&self, stored: &Stored, keep: &mut impl FnMut(i64) -> bool) -> Fate {
        // Bytes that cannot be read are not for the cleaner to judge.
        let Some(Ok(batch)) = BatchReader::new(stored.bytes.clone()).next() else { return Fate::Stays };
        if batch.is_control() {
            return Fate::Stays;
        }
        let mut decompressor = Decompressor::default();
        let Ok(records) = batch.records(&mut decompressor) else { return Fate::Stays };
        let (mut kept, mut seen) = (Vec::new(), 0);
        for record in records.map_while(Result::ok) {
            seen += 1;
            let delta = record.offset - batch.base_offset();
            if keep(stored.base_offset + delta) {
                kept.push((delta, record));
            }
        }
        if kept.len() == seen {
            return Fate::Stays;
        }
        if kept.is_empty() && !self.sequences.is_last(batch.producer_id(), stored.base_offset) {
            return Fate::Goes;
        }
        rebuilt(&batch, &kept).map_or(Fate::Stays, Fate::Becomes)
    }
}

/// The batch with these records alone, each at its place from the batch's first offset.
fn rebuilt(batch: &BatchView, kept: &[(i64, Record<'_>)]) -> Option<Incoming> {
    let mut builder = BatchBuilder::new(batch.compression(), Vec::with_capacity(batch.bytes().len()));
    if batch.is_transactional() {
        builder = builder.transactional();
    }
    let mut next = 0;
    for (delta, record) in kept {
        skip(&mut builder, delta - next);
        next = delta + 1;
        let headers: Vec<Header<'_>> = record.headers.collect();
        let value = record.value.unwrap_or_default();
        let parts = RecordParts { key: record.key, headers: &headers, value_len: record.value.map(<[u8]>::len) };
        builder.append(record.timestamp, &parts, |out| out.extend_from_slice(value)).ok()?;
    }
    skip(&mut builder, batch.last_offset() - batch.base_offset() + 1 - next);
    let closed = builder.close_stamped(&mut Compressor::new(), batch.stamp());
    let mut bytes = bytes::BytesMut::from(&closed.bytes()[..]);
    if batch.timestamp_type() == TimestampType::LogAppendTime {
        set_log_append_time(&mut bytes, batch.max_timestamp());
    }
    BatchReader::new(bytes.freeze()).next()?.ok().map(|batch| Incoming::new(&batch))
}

fn skip(builder: &mut BatchBuilder, offsets: i64) {
    let mut left = offsets;
    while left > 0 {
        let step = u16::try_from(left).unwrap_or(u16::MAX);
        builder.skip_offsets(step);
        left -= i64::from(step);
    }
}
