//! When the first record that a group has not read was made.
//!
//! ListOffsets finds offsets by time and never a time by offset, so the record itself is fetched: one request without a
//! session and without waiting, for one byte more than nothing, which a broker answers with the one batch that holds the
//! offset (KIP-74), so at most `max.message.bytes`. A record between the two ends of the log would be an estimate; this is
//! the record's own time.

use crate::cluster::{Cluster, Purpose, refusal};
use crate::error::Result;
use crate::place::{Place, TopicPartition};
use crate::wire::compression::Decompressor;
use crate::wire::kafka_error::KafkaError;
use crate::wire::message::{FetchPartition, FetchRequest, FetchTopic, PartitionData};
use crate::wire::record_batch::BatchReader;

/// A batch whose records after the offset were compacted away is passed over; so many in a row are not.
const BATCHES: usize = 8;

/// The only byte that is asked for: a first batch comes whole.
const BYTES: i32 = 1;

/// The time of the first record at or after `offset` that is committed, in milliseconds since 1970; `None` if there is
/// none, or none that can be read.
///
/// # Errors
/// What the partition's leader answered.
pub(super) async fn first_time(cluster: &Cluster, at: &TopicPartition, offset: i64) -> Result<Option<i64>> {
    let mut next = offset;
    for _ in 0..BATCHES {
        let Some(found) = fetch(cluster, at, next).await?.and_then(|part| look(&part, offset)) else { return Ok(None) };
        match found {
            Found::Time(time) => return Ok(Some(time)),
            Found::Behind(behind) if behind > next => next = behind,
            Found::Behind(_) => return Ok(None),
        }
    }
    Ok(None)
}

async fn fetch(cluster: &Cluster, at: &TopicPartition, offset: i64) -> Result<Option<PartitionData>> {
    let view = cluster.view();
    let id = view.topics().find(|topic| topic.name == at.topic).map(|topic| topic.id).unwrap_or_default();
    let Some(leader) = view.leader(&at.topic, at.partition) else { return Ok(None) };
    let partition = FetchPartition {
        partition: at.partition,
        current_leader_epoch: leader.epoch,
        fetch_offset: offset,
        partition_max_bytes: BYTES,
        ..FetchPartition::default()
    };
    let topic = FetchTopic { topic: at.topic.to_string(), topic_id: id, partitions: vec![partition] };
    let request = FetchRequest { max_bytes: BYTES, isolation_level: 1, topics: vec![topic], ..FetchRequest::default() };
    // Not the connection of the consumers' long polls: nothing may wait behind those here.
    let answer = cluster.connection(leader.node, Purpose::Control).await?.call(request).await?;
    let part = answer.responses.into_iter().next().and_then(|topic| topic.partitions.into_iter().next());
    match part.as_ref().and_then(|part| KafkaError::from_code(part.error_code)) {
        Some(error) => Err(refusal(error, "its oldest unread record was asked for").at(Place::partition(at))),
        None => Ok(part),
    }
}

enum Found {
    Time(i64),
    /// No such record in the batch; what comes next may have one.
    Behind(i64),
}

fn look(part: &PartitionData, offset: i64) -> Option<Found> {
    let mut behind = None;
    let mut decompressor = Decompressor::new();
    for batch in BatchReader::new(part.records.clone()?) {
        let batch = batch.ok()?;
        // A record that cannot be read has at least its batch's time.
        let Ok(records) = batch.records(&mut decompressor) else { return Some(Found::Time(batch.max_timestamp())) };
        let wanted = records.map_while(std::result::Result::ok).find(|record| record.offset >= offset);
        if let Some(record) = wanted {
            return Some(Found::Time(record.timestamp));
        }
        behind = Some(Found::Behind(batch.last_offset().saturating_add(1)));
    }
    behind
}
