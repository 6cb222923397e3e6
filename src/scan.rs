//! Reading a topic once, outside of any group.
//!
//! For an operator's command: a partition at a time, a page a request. Records of aborted transactions are left out.
//!
//! ```text
//!  begin:    from the first offset to the last stable one, of each partition \
//!  between:  what is asked for                                                --> page, page, ... --> none
//! ```

use std::sync::Arc;

use bytes::Bytes;

use crate::cluster::admin::{OffsetSpec, list_offsets, persist};
use crate::cluster::{Cluster, Purpose, TopicView, refusal};
use crate::place::{Place, TopicPartition};
use crate::store::Original;
use crate::wire::compression::Decompressor;
use crate::wire::kafka_error::KafkaError;
use crate::wire::message::{FetchPartition, FetchRequest, FetchTopic, PartitionData};
use crate::wire::record_batch::{AbortedTransactions, BatchError, BatchReader, Judgement, Record};
use crate::{Error, ErrorCode, Result};

/// How much is asked for at once. A batch that is larger comes whole all the same (KIP-74).
const PAGE_BYTES: i32 = 1 << 20;

/// No fetch session (KIP-227).
const NO_SESSION: i32 = -1;

/// A record that was read.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) timestamp: i64,
    pub(crate) original: Original,
}

/// Reads one topic.
pub(crate) struct Scan {
    cluster: Cluster,
    topic: Arc<TopicView>,
    /// What is left: partition, next offset, end.
    left: Vec<(i32, i64, i64)>,
    decompressor: Decompressor,
}

impl Scan {
    /// Begins at the first record of each partition.
    pub(crate) async fn begin(cluster: &Cluster, topic: Arc<TopicView>) -> Result<Self> {
        let first = list_offsets(cluster, &topic, OffsetSpec::Earliest).await?;
        let ends = list_offsets(cluster, &topic, OffsetSpec::LatestStable).await?;
        let ends = ends.into_iter().zip(first.into_values()).map(|((partition, end), first)| (partition, first, end));
        Ok(Self::between(cluster, topic, ends.collect()))
    }

    /// Begins at the first of some ranges: partition, first offset, the offset behind the last.
    pub(crate) fn between(cluster: &Cluster, topic: Arc<TopicView>, mut ranges: Vec<(i32, i64, i64)>) -> Self {
        ranges.retain(|(_, first, end)| first < end);
        ranges.reverse();
        Self { cluster: cluster.clone(), topic, left: ranges, decompressor: Decompressor::new() }
    }

    /// The next records of a partition; `None` when all are read. A page may be empty.
    pub(crate) async fn page(&mut self) -> Result<Option<Vec<Found>>> {
        let Some((partition, next, end)) = self.left.pop() else { return Ok(None) };
        let at = TopicPartition::new(self.topic.name.clone(), partition);
        let data = persist(&self.cluster, || self.fetch(&at, next)).await?;
        let mut found = Vec::new();
        let until = self.read(partition, data, (next, end), &mut found);
        let until = until.map_err(|error| damaged(error).at(Place::partition(&at)))?;
        // A broker that sends nothing has nothing before the end: what stood there was compacted away.
        if until > next && until < end {
            self.left.push((partition, until, end));
        }
        Ok(Some(found))
    }

    async fn fetch(&self, at: &TopicPartition, offset: i64) -> Result<PartitionData> {
        let no_leader = || refusal(KafkaError::LeaderNotAvailable, "records were asked for").at(Place::partition(at));
        let leader = self.cluster.leader(at).ok_or_else(no_leader)?;
        let connection = self.cluster.connection(leader.node, Purpose::Fetch).await?;
        let partition = FetchPartition {
            partition: at.partition,
            current_leader_epoch: leader.epoch,
            fetch_offset: offset,
            partition_max_bytes: PAGE_BYTES,
            ..FetchPartition::default()
        };
        let topic = FetchTopic { topic: at.topic.to_string(), topic_id: self.topic.id, partitions: vec![partition] };
        let request = FetchRequest {
            max_bytes: PAGE_BYTES,
            isolation_level: 1,
            session_epoch: NO_SESSION,
            topics: vec![topic],
            ..FetchRequest::default()
        };
        let mut answer = connection.call(request).await?;
        let data = answer.responses.pop().and_then(|mut topic| topic.partitions.pop());
        let code = data.as_ref().map_or(answer.error_code, |data| data.error_code);
        if let Some(error) = KafkaError::from_code(code) {
            return Err(refusal(error, "records were asked for").at(Place::partition(at)));
        }
        let silent = || Error::new(ErrorCode::Protocol, "the broker left the partition out of its answer");
        data.ok_or_else(|| silent().at(Place::partition(at)).retriable())
    }

    /// Takes the records of `range`. Returns the offset behind what was sent.
    fn read(
        &mut self,
        partition: i32,
        data: PartitionData,
        (next, end): (i64, i64),
        found: &mut Vec<Found>,
    ) -> Result<i64, BatchError> {
        let aborted = data.aborted_transactions.iter().flatten();
        let mut aborted = AbortedTransactions::new(aborted.map(|aborted| (aborted.producer_id, aborted.first_offset)));
        let mut until = next;
        for batch in BatchReader::new(data.records.unwrap_or_default()) {
            let batch = batch?;
            batch.check_crc()?;
            until = until.max(batch.last_offset().saturating_add(1));
            let control = if batch.is_control() { batch.control(&mut self.decompressor)? } else { None };
            if aborted.judge(&batch, control) == Judgement::Skip {
                continue;
            }
            for record in batch.records(&mut self.decompressor)? {
                let record = record?;
                if (next..end).contains(&record.offset) {
                    let (offset, timestamp, original) = (record.offset, record.timestamp, original(&record));
                    found.push(Found { partition, offset, timestamp, original });
                }
            }
        }
        Ok(until)
    }
}

fn original(record: &Record<'_>) -> Original {
    let copy = Bytes::copy_from_slice;
    Original {
        key: record.key.map(copy),
        value: record.value.map(copy),
        headers: record.headers.map(|header| (copy(header.key), header.value.map(copy))).collect(),
    }
}

fn damaged(cause: BatchError) -> Error {
    Error::new(ErrorCode::Batch, "a batch cannot be read").caused_by(cause)
}
