//! Produce: checks batches and appends them.
//!
//! Checksums are computed before the broker's state is locked; under the lock a batch costs the same whatever its size.

use bytes::Bytes;

use super::call::{Call, Close, Served};
use super::clock;
use super::faults::{Ruling, Target};
use super::log::{Appended, Incoming, NotAppended};
use super::state::{Refusal, State};
use super::topic::Partition;
use crate::wire::kafka_error::KafkaError;
use crate::wire::message::{
    PartitionProduceData, PartitionProduceResponse, ProduceRequest, ProduceResponse, TopicProduceResponse,
};
use crate::wire::record_batch::{BatchError, BatchReader};

/// The first version whose records are batches.
const FIRST_WITH_BATCHES: i16 = 3;

/// Where a batch is in the log.
#[derive(Clone, Copy, Debug)]
struct Placed {
    base_offset: i64,
    /// The time that the broker gave its records, or -1.
    append_time: i64,
    log_start: i64,
}

pub(super) async fn serve(mut call: Call) -> Result<Served, Close> {
    let request: ProduceRequest = call.decode()?;
    let ruling = call.judge(|target| touches(&request, target)).await?;
    let wants_answer = request.acks != 0;
    let response = append_all(&call, request, &ruling);
    if !wants_answer {
        // Closing the connection is the only way to tell a producer that does not listen (as Apache Kafka does).
        let failed = outcomes(&response).find(|outcome| outcome.error_code != 0);
        let why =
            |outcome: &PartitionProduceResponse| format!("a batch sent with acks=0 failed: {}", outcome.error_code);
        return failed.map_or(Ok(Served { answer: None, ruling }), |outcome| Err(Close::Unanswerable(why(outcome))));
    }
    let mut answer = call.answer();
    call.encode(&response, &mut answer)?;
    Ok(Served { answer: Some(answer), ruling })
}

fn outcomes(response: &ProduceResponse) -> impl Iterator<Item = &PartitionProduceResponse> {
    response.responses.iter().flat_map(|topic| &topic.partition_responses)
}

fn append_all(call: &Call, request: ProduceRequest, ruling: &Ruling) -> ProduceResponse {
    let acks = request.acks;
    let old = call.version() < FIRST_WITH_BATCHES;
    let refused = |error, message: &str| Refusal::new(error, message);
    let responses = request.topic_data.into_iter().map(|topic| {
        let append = |part: PartitionProduceData| {
            let (index, records) = (part.index, part.records.unwrap_or_default());
            let checked = match ruling.refusal(&topic.name, index) {
                Some(error) => Err(refused(error, "a fault wants it")),
                None if old => {
                    Err(refused(KafkaError::UnsupportedVersion, "record batches came with Produce version 3"))
                }
                None if !(-1..=1).contains(&acks) => {
                    Err(refused(KafkaError::InvalidRequiredAcks, "acks is -1, 0 or 1"))
                }
                None => check(records),
            };
            let place = |batch| append(call, (&topic.name, index), batch, acks);
            let placed = checked.and_then(place);
            let placed = match ruling.denial(&topic.name, index) {
                Some(error) => Err(refused(error, "a fault wants it, although the batch was appended")),
                None => placed,
            };
            let error_code = KafkaError::DuplicateSequenceNumber.code();
            match outcome(index, placed) {
                told if told.error_code == 0 && ruling.repeats(&topic.name, index) => {
                    PartitionProduceResponse { error_code, ..told }
                }
                told => told,
            }
        };
        TopicProduceResponse {
            partition_responses: topic.partition_data.into_iter().map(append).collect(),
            name: topic.name,
        }
    });
    ProduceResponse {
        responses: responses.collect(),
        throttle_time_ms: ruling.throttle_time_ms(),
        ..Default::default()
    }
}

fn outcome(index: i32, placed: Result<Placed, Refusal>) -> PartitionProduceResponse {
    match placed {
        Ok(Placed { base_offset, append_time, log_start }) => PartitionProduceResponse {
            index,
            base_offset,
            log_append_time_ms: append_time,
            log_start_offset: log_start,
            ..Default::default()
        },
        Err(Refusal { error, message }) => PartitionProduceResponse {
            index,
            error_code: error.code(),
            base_offset: -1,
            error_message: Some(message),
            ..Default::default()
        },
    }
}

/// Checks all that can be checked of a batch without looking at the log.
fn check(records: Bytes) -> Result<Incoming, Refusal> {
    let invalid = |message: &str| Refusal::new(KafkaError::InvalidRecord, message);
    let mut batches = BatchReader::new(records);
    let batch = batches.next().ok_or_else(|| invalid("there is no whole batch"))?.map_err(unreadable)?;
    if batches.next().is_some() || batches.missing() > 0 {
        return Err(invalid("there must be exactly one batch a partition"));
    }
    batch.check_crc().map_err(unreadable)?;
    if batch.is_control() {
        return Err(invalid("clients do not write control batches"));
    }
    if batch.is_transactional() {
        return Err(Refusal::new(KafkaError::InvalidTxnState, "the development broker has no transactions"));
    }
    if batch.count() == 0 || i64::from(batch.count()) != batch.last_offset() - batch.base_offset() + 1 {
        return Err(invalid("a batch has as many records as offsets, and one at least"));
    }
    let stamp = batch.stamp();
    if stamp.producer_id >= 0 && (stamp.producer_epoch < 0 || stamp.base_sequence < 0) {
        return Err(invalid("a producer id comes with an epoch and a sequence"));
    }
    Ok(Incoming::new(&batch))
}

fn unreadable(error: BatchError) -> Refusal {
    let code = match error {
        BatchError::OldFormat { .. } => KafkaError::UnsupportedForMessageFormat,
        _ => KafkaError::CorruptMessage,
    };
    Refusal::new(code, error.to_string())
}

fn append(call: &Call, (topic, index): (&str, i32), batch: Incoming, acks: i16) -> Result<Placed, Refusal> {
    let now = clock::now_ms();
    let mut state = call.shared.state();
    let stamps_time = admit(&state, call, (topic, index), &batch, acks, now)?;
    let batch = if stamps_time { batch.at_append_time(now) } else { batch };
    let change = |partition: &mut Partition| {
        let appended = partition.log.append(batch, partition.leader_epoch);
        appended.map(|appended| (appended, partition.log.start()))
    };
    let appended = state.change(topic, index, change).ok_or_else(no_partition)?;
    let (appended, log_start) = appended.map_err(|refused| match refused {
        NotAppended::OldEpoch => {
            Refusal::new(KafkaError::InvalidProducerEpoch, "the producer has gone on to a later epoch")
        }
        NotAppended::UnknownProducer => {
            Refusal::new(KafkaError::UnknownProducerId, "the partition has forgotten the producer")
        }
        NotAppended::OutOfOrderSequence => {
            Refusal::new(KafkaError::OutOfOrderSequenceNumber, "the batch does not follow the producer's last")
        }
    })?;
    Ok(match appended {
        Appended::At(base_offset) => Placed { base_offset, append_time: if stamps_time { now } else { -1 }, log_start },
        Appended::Before(base_offset) => Placed { base_offset, append_time: -1, log_start },
    })
}

fn no_partition() -> Refusal {
    Refusal::new(KafkaError::UnknownTopicOrPartition, "there is no such partition")
}

/// Whether the partition takes the batch; if so, whether it gives the records its own time.
fn admit(state: &State, call: &Call, at: (&str, i32), batch: &Incoming, acks: i16, now: i64) -> Result<bool, Refusal> {
    let topic = state.topics.get(at.0).ok_or_else(no_partition)?;
    let partition = topic.partition(at.1).ok_or_else(no_partition)?;
    if partition.leader != Some(call.node) {
        return Err(Refusal::new(KafkaError::NotLeaderOrFollower, "another node leads the partition"));
    }
    if batch.size() > topic.config.max_message_bytes {
        let message = format!("{} bytes, max.message.bytes is {}", batch.size(), topic.config.max_message_bytes);
        return Err(Refusal::new(KafkaError::MessageTooLarge, message));
    }
    if acks == -1 && state.in_sync(partition).len() < topic.config.min_insync {
        return Err(Refusal::new(KafkaError::NotEnoughReplicas, "fewer replicas in sync than min.insync.replicas"));
    }
    if !topic.config.append_time && batch.max_timestamp() > now.saturating_add(topic.config.after_max_ms) {
        let message = "a record's timestamp is further ahead than message.timestamp.after.max.ms";
        return Err(Refusal::new(KafkaError::InvalidTimestamp, message));
    }
    let limit = call.shared.settings.memory_limit;
    if state.held.saturating_add(batch.size() as u64) > limit {
        let message = format!("the development broker holds its limit of {limit} bytes (memory_limit)");
        tracing::error!("{message}");
        return Err(Refusal::new(KafkaError::PolicyViolation, message));
    }
    Ok(topic.config.append_time)
}

fn touches(request: &ProduceRequest, target: &Target) -> bool {
    let mut topics = request.topic_data.iter();
    target.is_everything()
        || topics.any(|topic| topic.partition_data.iter().any(|part| target.includes(&topic.name, part.index)))
}
