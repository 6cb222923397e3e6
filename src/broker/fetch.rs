//! Fetch: waits for records, then sends them as they were stored.
//!
//! ```text
//!  request -> session -> are there min_bytes? --no--> wait for a change of one of the partitions, or for max_wait
//!                              | yes, or an error                  |
//!                              v                                   |
//!                           answer <-------------------------------+
//! ```

use std::time::Duration;

use tokio::time::Instant;

use super::call::{Call, Close, Served};
use super::faults::{Ruling, Target, Verdict};
use super::fetch_answer::{Part, encode};
use super::fetch_session::{Session, TopicKey, Wanted};
use super::log::Isolation;
use super::state::State;
use super::topic::{Partition, Topic};
use crate::wire::kafka_error::KafkaError;
use crate::wire::message::fetch::EpochEndOffset;
use crate::wire::message::{AbortedTransaction, FetchRequest, FetchResponse, LeaderIdAndEpoch, PartitionData};

/// The largest answer, as Kafka's `fetch.max.bytes` of the broker.
const MAX_BYTES: usize = 55 << 20;

/// What one request asks for beside its partitions.
#[derive(Clone, Copy, Debug)]
struct Limits {
    min_bytes: u64,
    max_bytes: usize,
    isolation: Isolation,
    until: Instant,
}

impl Limits {
    fn new(request: &FetchRequest) -> Self {
        let wait = Duration::from_millis(request.max_wait_ms.try_into().unwrap_or_default());
        let committed = request.isolation_level == 1;
        Self {
            min_bytes: request.min_bytes.try_into().unwrap_or_default(),
            max_bytes: usize::try_from(request.max_bytes).unwrap_or_default().min(MAX_BYTES),
            isolation: if committed { Isolation::ReadCommitted } else { Isolation::ReadUncommitted },
            until: Instant::now() + wait,
        }
    }
}

pub(super) async fn serve(mut call: Call) -> Result<Served, Close> {
    let mut request: FetchRequest = call.decode()?;
    let limits = Limits::new(&request);
    let (id, version) = (request.session_id, call.version());
    let taken = call.shared.sessions().take(call.node, &mut request, version);
    let mut session = match taken {
        Ok(session) => session,
        Err(error) => return refused(&call, id, error, call.judge(Target::is_everything).await?),
    };
    let ruling = call.judge(|target| touches(&call, &session, target)).await?;
    if let Verdict::Error(error) | Verdict::ErrorAfter(error) = ruling.verdict
        && is_of_the_session(error)
    {
        return refused(&call, id, error, ruling);
    }
    let parts = match ruling.verdict {
        // What is throttled is answered at once and empty (KIP-219).
        Verdict::Throttle(_) => Vec::new(),
        _ => gather(&call, &mut session, limits, &ruling).await,
    };
    let answer = encode(&call, session.id, ruling.throttle_time_ms(), parts)?;
    call.shared.sessions().put_back(session);
    Ok(Served { answer: Some(answer), ruling })
}

fn refused(call: &Call, session_id: i32, error: KafkaError, ruling: Ruling) -> Result<Served, Close> {
    let throttle_time_ms = ruling.throttle_time_ms();
    let response = FetchResponse { session_id, error_code: error.code(), throttle_time_ms, ..Default::default() };
    let mut answer = call.answer();
    call.encode(&response, &mut answer)?;
    Ok(Served { answer: Some(answer), ruling })
}

fn is_of_the_session(error: KafkaError) -> bool {
    use KafkaError::{FetchSessionIdNotFound, FetchSessionTopicIdError, InvalidFetchSessionEpoch};
    matches!(error, FetchSessionIdNotFound | FetchSessionTopicIdError | InvalidFetchSessionEpoch)
}

fn touches(call: &Call, session: &Session, target: &Target) -> bool {
    if target.is_everything() {
        return true;
    }
    let state = call.shared.state();
    session
        .wanted()
        .any(|wanted| name(&state, wanted).is_some_and(|name| target.includes(name, wanted.partition.partition)))
}

fn name<'a>(state: &'a State, wanted: &'a Wanted) -> Option<&'a str> {
    match &wanted.topic {
        TopicKey::Name(name) => Some(name),
        TopicKey::Id(id) => state.topics.by_id(*id).map(|topic| topic.name.as_ref()),
    }
}

/// Waits until there is something to answer, and takes it out of the logs.
async fn gather(call: &Call, session: &mut Session, limits: Limits, ruling: &Ruling) -> Vec<Part> {
    loop {
        if let Some(parts) = look(call, session, limits, ruling) {
            return parts;
        }
        // A change between the look and this wait has left its notice. Both outcomes lead to another look.
        let _ = tokio::time::timeout_at(limits.until, call.waiter.notified()).await;
    }
}

/// The answer, or nothing if it is worth waiting; then the connection is notified of the next change.
fn look(call: &Call, session: &mut Session, limits: Limits, ruling: &Ruling) -> Option<Vec<Part>> {
    let mut state = call.shared.state();
    let views: Vec<_> = session.wanted().map(|wanted| view(&state, call, wanted, limits.isolation, ruling)).collect();
    let readable = views.iter().flatten().map(|view| view.readable).sum::<u64>();
    let is_worth = readable >= limits.min_bytes || views.iter().any(Result::is_err) || views.is_empty();
    if !is_worth && Instant::now() < limits.until {
        for wanted in session.wanted() {
            if let Some(partition) = partition_mut(&mut state, wanted) {
                partition.watch(&call.waiter);
            }
        }
        return None;
    }
    Some(take(&state, session, limits, views))
}

fn partition_mut<'a>(state: &'a mut State, wanted: &Wanted) -> Option<&'a mut Partition> {
    let topic = match &wanted.topic {
        TopicKey::Name(name) => state.topics.get_mut(name),
        TopicKey::Id(id) => state.topics.by_id_mut(*id),
    };
    topic?.partition_mut(wanted.partition.partition)
}

/// What a consumer may read of a partition.
#[derive(Clone, Copy, Debug)]
struct View {
    offset: i64,
    until: i64,
    readable: u64,
}

fn view(
    state: &State,
    call: &Call,
    wanted: &Wanted,
    isolation: Isolation,
    ruling: &Ruling,
) -> Result<View, Box<PartitionData>> {
    let index = wanted.partition.partition;
    let refuse = |error: KafkaError| {
        Box::new(PartitionData {
            partition_index: index,
            error_code: error.code(),
            high_watermark: -1,
            ..Default::default()
        })
    };
    let (topic, partition) = find(state, wanted).map_err(refuse)?;
    let fault = ruling.refusal(&topic.name, index).or_else(|| ruling.denial(&topic.name, index));
    fault.map_or(Ok(()), |error| Err(refuse(error)))?;
    if partition.leader != Some(call.node) {
        let mut refused = refuse(KafkaError::NotLeaderOrFollower);
        if call.shape().flexible {
            let (leader_id, leader_epoch) = (partition.leader.unwrap_or(-1), partition.leader_epoch);
            refused.current_leader = LeaderIdAndEpoch { leader_id, leader_epoch };
        }
        return Err(refused);
    }
    partition.check_epoch(wanted.partition.current_leader_epoch).map_err(refuse)?;
    let log = &partition.log;
    let (offset, until) = (wanted.partition.fetch_offset, log.visible(isolation));
    if !(log.start()..=log.end()).contains(&offset) {
        return Err(refuse(KafkaError::OffsetOutOfRange));
    }
    if let Some(diverging_epoch) = diverging(partition, wanted) {
        return Err(Box::new(PartitionData { diverging_epoch, ..empty(index, partition) }));
    }
    let most = wanted.partition.partition_max_bytes.try_into().unwrap_or_default();
    Ok(View { offset, until, readable: log.readable(offset, until).min(most) })
}

fn find<'a>(state: &'a State, wanted: &Wanted) -> Result<(&'a Topic, &'a Partition), KafkaError> {
    let topic = match &wanted.topic {
        TopicKey::Name(name) => state.topics.get(name).ok_or(KafkaError::UnknownTopicOrPartition)?,
        TopicKey::Id(id) => state.topics.by_id(*id).ok_or(KafkaError::UnknownTopicId)?,
    };
    let partition = topic.partition(wanted.partition.partition).ok_or(KafkaError::UnknownTopicOrPartition)?;
    Ok((topic, partition))
}

/// Where the reader's log leaves this one, if it does.
fn diverging(partition: &Partition, wanted: &Wanted) -> Option<EpochEndOffset> {
    let last = wanted.partition.last_fetched_epoch;
    let (epoch, end_offset) = partition.log.epoch_end(last).filter(|_| last >= 0)?;
    (epoch < last || end_offset < wanted.partition.fetch_offset).then_some(EpochEndOffset { epoch, end_offset })
}

fn empty(index: i32, partition: &Partition) -> PartitionData {
    PartitionData {
        partition_index: index,
        high_watermark: partition.log.end(),
        last_stable_offset: partition.log.last_stable(),
        log_start_offset: partition.log.start(),
        aborted_transactions: None,
        ..Default::default()
    }
}

/// Fills the answer up to its bounds, each partition in its turn.
fn take(
    state: &State,
    session: &mut Session,
    limits: Limits,
    views: Vec<Result<View, Box<PartitionData>>>,
) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut told = Vec::new();
    let mut left = limits.max_bytes;
    // The first batch of the answer comes whole, however large it is: else a reader would never get past it (KIP-74).
    let mut first = true;
    for (wanted, view) in session.wanted().zip(views) {
        let part = match view {
            Err(refusal) => Part { topic: wanted.topic.clone(), partition: *refusal, batches: Vec::new() },
            Ok(view) => {
                let Ok((_, partition)) = find(state, wanted) else { continue };
                let part = read(partition, wanted, view, limits.isolation, (left, first));
                let size = part.size();
                (left, first) = (left.saturating_sub(size), first && size == 0);
                let now = (part.partition.high_watermark, part.partition.log_start_offset);
                let is_news = size > 0 || wanted.told != Some(now);
                told.push((part.topic.clone(), part.partition.partition_index, now, size > 0));
                if session.is_incremental() && !is_news {
                    continue;
                }
                part
            }
        };
        parts.push(part);
    }
    for (topic, index, now, served) in told {
        session.tell(&topic, index, now, served);
    }
    parts
}

fn read(
    partition: &Partition,
    wanted: &Wanted,
    view: View,
    isolation: Isolation,
    (left, first): (usize, bool),
) -> Part {
    let most = usize::try_from(wanted.partition.partition_max_bytes).unwrap_or_default().min(left);
    let mut size = 0;
    let fits = |batch: &&super::log::Stored| {
        let fits = size + batch.size() <= most || (first && size == 0);
        size += batch.size();
        fits
    };
    let batches: Vec<_> = partition.log.read(view.offset, view.until).take_while(fits).cloned().collect();
    let mut data = empty(wanted.partition.partition, partition);
    if isolation == Isolation::ReadCommitted {
        let until = batches.last().map_or(view.offset, |batch| batch.last_offset() + 1);
        let aborted = partition.log.aborted(view.offset, until);
        let told =
            aborted.map(|one| AbortedTransaction { producer_id: one.producer_id, first_offset: one.first_offset });
        data.aborted_transactions = Some(told.collect());
    }
    Part { topic: wanted.topic.clone(), partition: data, batches }
}
