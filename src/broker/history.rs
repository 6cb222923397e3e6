//! Log contents that a cluster comes by only in a long life, for tests of consumers.
//!
//! ```
//! # async fn test() -> orderflow::Result<()> {
//! use orderflow::broker::{DevBroker, Records};
//! use orderflow::wire::record_batch::ControlType;
//! let broker = DevBroker::builder().topic("t", 1).start().await?;
//! broker.append("t", 0, Records::of(["plain"]))?;                        // offset 0
//! broker.append("t", 0, Records::of(["a", "b"]).in_transaction(7))?;     // 1 and 2, held back from committed readers
//! broker.end_transaction("t", 0, 7, ControlType::Abort)?;                // 3 is the marker; 1 and 2 are listed as aborted
//! broker.append("t", 0, Records::of(["c", "d", "e"]))?;                  // 4 to 6
//! broker.append("t", 0, Records::of(["f"]))?;                            // 7
//! broker.compact("t", 0, |offset| offset != 5)?;                         // a hole at 5
//! assert_eq!(broker.offsets("t", 0)?, 0..8);
//! # Ok(()) }
//! ```

use std::ops::Range;

use bytes::Bytes;

use super::DevBroker;
use super::clock;
use super::log::Incoming;
use crate::place::TopicId;
use crate::wire::compression::{Compression, Compressor};
use crate::wire::record_batch::{BatchBuilder, BatchReader, ControlType, NO_PRODUCER, ProducerStamp, RecordParts};
use crate::{Error, ErrorCode, Result};

/// What a partition does with a producer that it has forgotten and that goes on in the middle of its sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Forgotten {
    /// It takes the batch, as Apache Kafka does from 2.5 on (KIP-360): a repeat is then not recognised.
    Accepted,
    /// It answers UNKNOWN_PRODUCER_ID, as older brokers do, until the producer begins again at sequence 0.
    Refused,
}

/// One batch of records, all with the same time.
#[derive(Clone, Debug)]
pub struct Records {
    records: Vec<(Option<Bytes>, Bytes)>,
    timestamp: Option<i64>,
    transaction: Option<i64>,
    skipped: u16,
}

impl Records {
    /// Records of these values, without keys.
    #[must_use]
    pub fn of<V: AsRef<[u8]>>(values: impl IntoIterator<Item = V>) -> Self {
        let records = values.into_iter().map(|value| (None, Bytes::copy_from_slice(value.as_ref())));
        Self { records: records.collect(), timestamp: None, transaction: None, skipped: 0 }
    }

    /// Records of these keys and values.
    #[must_use]
    pub fn keyed<K: AsRef<[u8]>, V: AsRef<[u8]>>(records: impl IntoIterator<Item = (K, V)>) -> Self {
        let owned = |bytes: &[u8]| Bytes::copy_from_slice(bytes);
        let records = records.into_iter().map(|(key, value)| (Some(owned(key.as_ref())), owned(value.as_ref())));
        Self { records: records.collect(), timestamp: None, transaction: None, skipped: 0 }
    }

    /// A batch over this many offsets, one at least, that has no records any more, as compaction leaves one.
    #[must_use]
    pub fn none(offsets: u16) -> Self {
        Self { records: Vec::new(), timestamp: None, transaction: None, skipped: offsets.max(1) }
    }

    /// Makes the records part of this producer's transaction, which begins with them if there is none.
    #[must_use]
    pub fn in_transaction(mut self, producer_id: i64) -> Self {
        self.transaction = Some(producer_id);
        self
    }

    /// When the records were made, in milliseconds since 1970 (default: now).
    #[must_use]
    pub fn at_time(mut self, timestamp: i64) -> Self {
        self.timestamp = Some(timestamp);
        self
    }

    fn batch(&self) -> Result<Incoming> {
        let mut builder = BatchBuilder::new(Compression::None, Vec::new());
        if self.transaction.is_some() {
            builder = builder.transactional();
        }
        let timestamp = self.timestamp.unwrap_or_else(clock::now_ms);
        for (key, value) in &self.records {
            append(&mut builder, timestamp, key.as_deref(), value)?;
        }
        builder.skip_offsets(self.skipped);
        let stamp = self.transaction.map_or(NO_PRODUCER, |producer_id| stamp(producer_id, 0));
        incoming(builder, stamp)
    }
}

impl DevBroker {
    /// Writes a batch behind the last record, and returns the offsets that it takes.
    ///
    /// # Errors
    /// [`ErrorCode::UnknownTopic`] if there is no such partition, [`ErrorCode::Batch`] if the records do not fit a batch.
    pub fn append(&self, topic: &str, partition: i32, records: Records) -> Result<Range<i64>> {
        self.put(topic, partition, records.batch()?)
    }

    /// Ends a producer's transaction by a marker, whose offset it returns. Without a transaction the marker stands there alone.
    ///
    /// # Errors
    /// [`ErrorCode::UnknownTopic`] if there is no such partition.
    pub fn end_transaction(&self, topic: &str, partition: i32, producer_id: i64, ending: ControlType) -> Result<i64> {
        let mut builder = BatchBuilder::new(Compression::None, Vec::new()).transactional().control();
        // Version 0 and the coordinator's epoch, which nobody reads.
        append(&mut builder, clock::now_ms(), Some(&ending.key()), &[0; 6])?;
        Ok(self.put(topic, partition, incoming(builder, stamp(producer_id, -1))?)?.start)
    }

    /// Takes records out of a partition as the log cleaner does: those for whose offsets `keep` is false.
    ///
    /// Markers stay, and so does the log's last batch. Of each producer the last batch stays, if need be without records.
    ///
    /// # Errors
    /// [`ErrorCode::UnknownTopic`] if there is no such partition.
    pub fn compact(&self, topic: &str, partition: i32, keep: impl FnMut(i64) -> bool) -> Result<()> {
        self.change(topic, partition, |partition| partition.log.compact(keep))
    }

    /// Deletes a topic and makes it again with as many partitions and the same settings, empty and under a new id.
    ///
    /// # Errors
    /// [`ErrorCode::UnknownTopic`] if there is no such topic.
    pub fn recreate_topic(&self, name: &str) -> Result<TopicId> {
        let mut state = self.shared.state();
        let unknown = || Error::new(ErrorCode::UnknownTopic, format!("there is no topic {name}"));
        let old = state.delete_topic(name).ok_or_else(unknown)?;
        let partitions = i32::try_from(old.partitions.len()).unwrap_or(i32::MAX);
        let replication = old.partitions.first().map_or(1, |partition| partition.replicas.len());
        Ok(state.create_topic(name, partitions, replication, old.config.clone())?)
    }

    /// Forgets which producers wrote to a partition, as `producer.id.expiration.ms` does.
    ///
    /// # Errors
    /// [`ErrorCode::UnknownTopic`] if there is no such partition.
    pub fn forget_producers(&self, topic: &str, partition: i32, then: Forgotten) -> Result<()> {
        self.change(topic, partition, |partition| partition.log.forget_producers(then == Forgotten::Refused))
    }

    fn put(&self, topic: &str, partition: i32, batch: Incoming) -> Result<Range<i64>> {
        self.change(topic, partition, |partition| {
            let first = partition.log.inject(batch, 0, partition.leader_epoch);
            first..partition.log.end()
        })
    }
}

fn stamp(producer_id: i64, base_sequence: i32) -> ProducerStamp {
    ProducerStamp { producer_id, producer_epoch: 0, base_sequence }
}

fn append(builder: &mut BatchBuilder, timestamp: i64, key: Option<&[u8]>, value: &[u8]) -> Result<()> {
    let parts = RecordParts { key, headers: &[], value_len: Some(value.len()) };
    let refused = |error| Error::new(ErrorCode::Batch, "the records do not fit a batch").caused_by(error);
    builder.append(timestamp, &parts, |out| out.extend_from_slice(value)).map(drop).map_err(refused)
}

fn incoming(builder: BatchBuilder, stamp: ProducerStamp) -> Result<Incoming> {
    let bytes = builder.close_stamped(&mut Compressor::new(), stamp).bytes();
    let none = || Error::new(ErrorCode::Batch, "there is no whole batch");
    Ok(Incoming::new(&BatchReader::new(bytes).next().ok_or_else(none)??))
}
