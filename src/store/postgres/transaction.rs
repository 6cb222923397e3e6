//! One transaction: four trips to the server and back, however many orders it settles.
//!
//! ```text
//!  1  BEGIN, lock positions, read letters    -> compare versions (R2, R5), and whose partition it is
//!  2  insert identities                      -> who is a duplicate
//!  3  lock stock or capacity, read           -> decide order by order, in memory
//!  4  write everything, positions last, COMMIT
//! ```
//! Letters that change cost one more, a new source, product or partition too. Rows are locked in one order: positions,
//! identities, stock, capacity, counters; who makes moves that waited for deliveries locks those of moves before identities
//! (an update's are not an order's). What is locked in the very end is said by [`super::early`].

use std::collections::{BTreeMap, BTreeSet};
use std::time::{SystemTime, UNIX_EPOCH};

use futures::FutureExt;

use super::early::Early;
use super::effect::Effect;
use super::identities::{Verdict, Wanted};
use super::ledger::Ledger;
use super::letters::{Desk, KnownLetters};
use super::link::Link;
use super::positions::{self, Stand, Written};
use super::recall::recall;
use super::replay::catch_up;
use super::walk::Walk;
use crate::place::{Place, TopicPartition};
use crate::store::applied::LogTime;
use crate::store::standing::Meeting;
use crate::store::{Applied, AppliedPart, BACKFILL, Batch, Entry, EventId, Part, Topic, Work};
use crate::{Error, ErrorCode, Result};

/// What a transaction is settled with.
pub(super) struct Terms<'a, E: Effect> {
    pub(super) begin: &'a str,
    /// This process.
    pub(super) owner: u128,
    pub(super) policy: &'a E::Policy,
    /// `dead_letters.max.bytes`.
    pub(super) max_bytes: u64,
    /// The wall clock, in milliseconds since 1970.
    pub(super) now: i64,
}

/// What a transaction did, with the number of the last event that it left, if it left one.
pub(super) type Told<T> = (T, Option<u64>);

/// Settles a batch: rules R1, R2 and R5. `replays` is the number of the topic under which the moves are accounted for that
/// updates have waited to make.
pub(super) async fn settle<E: Effect>(
    link: Link<'_>,
    terms: &Terms<'_, E>,
    (topic, replays): (u32, u32),
    batch: &Batch<E::Order>,
) -> Result<Told<Applied>> {
    let partitions = partitions_of(batch)?;
    let ((), stands, mut known, log, mut early) = futures::try_join!(
        link.plain(terms.begin),
        positions::lock(link, topic, &partitions),
        KnownLetters::load(link),
        positions::log_time(link),
        Early::load::<E>(link)
    )?;
    let (mut fresh, mut answers) = (Vec::new(), BTreeMap::new());
    for part in &batch.parts {
        let stand = stand_of(&stands, part.partition)?;
        match stand.standing.meet(part.expected, part.token, (part.next, &part.settled)) {
            Meeting::Fresh if stand.foreign(terms.owner).is_some() => {
                return Err(taken_over(&batch.topic, part.partition, stand.foreign(terms.owner)));
            }
            Meeting::Fresh => fresh.push((part, stand, stand.standing.settles(part)?)),
            Meeting::Repeated => {
                answers.insert(part.partition, recall::<E>(link, topic, &stand.standing, part).await?);
            }
            Meeting::Conflict => {
                let found = stand.standing.position.version;
                return Err(conflict(&batch.topic, part.partition, (found, part.expected)));
            }
        }
    }
    if fresh.is_empty() {
        link.plain("COMMIT").await?;
        return Ok((in_order(batch, answers)?, None));
    }
    let id = |(partition, entry): (i32, &Entry<E::Order>)| {
        EventId::of(entry.identity.as_ref(), &batch.topic, partition, entry.offset)
    };
    known.complete(link, entries_of(&fresh).map(id)).await?;
    if early.is_awaited() {
        let deliveries: Vec<EventId> = entries_of(&fresh).map(id).collect();
        early.expect(link, &deliveries, replays).await?;
    }
    let mut log = LogTime(log);
    let verdict = identities(&fresh, log, terms.now).take(link, batch.len()).await?;
    let effect = load::<E>(link, terms, &fresh, (&verdict, log)).await?;
    let mut walk = Walk::new((terms.now, (&batch.topic, topic)), (known, verdict, effect), early);
    let (mut written, mut ledger) = (Vec::new(), Ledger::default());
    for (part, stand, settled) in fresh {
        let (answer, row) = walk.part(part, stand, settled, (&mut ledger, &mut log))?;
        answers.insert(part.partition, answer);
        written.push(row);
    }
    let Walk { mut effect, changes, mut laid, mut early, .. } = walk;
    let mut tidings = effect.take_tidings();
    tidings.append(&mut laid.events);
    let desk = Desk::make(link, changes, tidings, terms.max_bytes).await?;
    laid.write(link).await?;
    let rows = ((&ledger, &mut effect, &desk), &mut early);
    let told = finish(link, terms, (topic, replays), &written, rows).await?;
    Ok((in_order(batch, answers)?, told))
}

/// The rows of a transaction's ledger, of its effect, and of its letters and events.
type Rows<'a, E> = (&'a Ledger, &'a mut E, &'a Desk);

/// Writes everything, with the moves that updates have waited to make, and commits. Returns the number of the last event.
pub(super) async fn finish<E: Effect>(
    link: Link<'_>,
    terms: &Terms<'_, E>,
    (topic, replays): (u32, u32),
    written: &[Written],
    (rows, early): (Rows<'_, E>, &mut Early),
) -> Result<Option<u64>> {
    let (arrived, told) = (early.take_arrived(), rows.2.told());
    if arrived.is_empty() {
        write(link, topic, written, rows, early).await?;
        return Ok(told);
    }
    write_rows(link, topic, written, rows).boxed().await?;
    let later = catch_up(link, terms, replays, arrived).boxed().await?;
    futures::try_join!(early.check(link), link.plain("COMMIT"))?;
    Ok(later.max(told))
}

/// Everything in one trip: what fails gives the rest up, and the commit with it. One more where something was not there.
pub(super) async fn write<E: Effect>(
    link: Link<'_>,
    topic: u32,
    written: &[Written],
    (ledger, effect, desk): Rows<'_, E>,
    early: &Early,
) -> Result<()> {
    if effect.is_to_be_confirmed() {
        write_rows(link, topic, written, (ledger, effect, desk)).boxed().await?;
        effect.confirm(link).boxed().await?;
        return link.plain("COMMIT").await;
    }
    let rows = write_rows(link, topic, written, (ledger, effect, desk));
    futures::try_join!(rows, early.check(link), link.plain("COMMIT")).map(drop)
}

/// Everything but the commit.
pub(super) async fn write_rows<E: Effect>(
    link: Link<'_>,
    topic: u32,
    written: &[Written],
    (ledger, effect, desk): Rows<'_, E>,
) -> Result<()> {
    futures::try_join!(
        effect.write(link),
        ledger.write(link, topic, E::ANNOUNCED),
        desk.write(link),
        positions::keep_failures(link, topic, &ledger.failed),
        positions::write(link, topic, written)
    )
    .map(drop)
}

fn partitions_of<O: crate::order::Order>(batch: &Batch<O>) -> Result<Vec<i32>> {
    let mut partitions = BTreeSet::new();
    for part in &batch.parts {
        if !partitions.insert(part.partition) {
            let message = format!("partition {} is in the batch twice", part.partition);
            return Err(Error::new(ErrorCode::Internal, message));
        }
    }
    Ok(partitions.into_iter().collect())
}

fn stand_of(stands: &BTreeMap<i32, Stand>, partition: i32) -> Result<&Stand> {
    // A row that another transaction has made is locked by the next try.
    stands.get(&partition).ok_or_else(|| Error::new(ErrorCode::StoreIo, "a position was not locked").retriable())
}

/// The error for a position that somebody else moved.
pub(super) fn conflict(topic: &Topic, partition: i32, (stands, expected): (u64, u64)) -> Error {
    let message = format!("somebody else wrote the position: it has version {stands} and {expected} was expected");
    Error::new(ErrorCode::StoreConflict, message)
        .at(Place::partition(&TopicPartition::new(topic.name.clone(), partition)))
        .remedy("read the position again, and go on from it if the partition is still yours")
}

/// The error for a partition that another process has taken over, before it has moved its position.
fn taken_over(topic: &Topic, partition: i32, epoch: Option<i32>) -> Error {
    let message = format!("another process has taken the partition over, in epoch {}", epoch.unwrap_or(-1));
    Error::new(ErrorCode::StoreConflict, message)
        .at(Place::partition(&TopicPartition::new(topic.name.clone(), partition)))
        .remedy("claim the partition again, if it is still yours")
}

fn in_order<O: crate::order::Order>(batch: &Batch<O>, mut answers: BTreeMap<i32, AppliedPart>) -> Result<Applied> {
    let lost = || Error::new(ErrorCode::Internal, "a part of a batch was not answered");
    let parts = batch.parts.iter().map(|part| answers.remove(&part.partition).ok_or_else(lost));
    Ok(Applied { parts: parts.collect::<Result<_>>()? })
}

type Fresh<'a, O> = (&'a Part<O>, &'a Stand, u64);

fn entries_of<'a, O>(fresh: &'a [Fresh<'a, O>]) -> impl Iterator<Item = (i32, &'a Entry<O>)> {
    fresh.iter().flat_map(|(part, _, _)| part.entries.iter().map(|entry| (part.partition, entry)))
}

/// What is to be settled, and what is to be looked up.
fn identities<'a, O>(fresh: &'a [Fresh<'a, O>], log: LogTime, now: i64) -> Wanted<'a> {
    let newest = entries_of(fresh).map(|(_, entry)| log.sane(entry.timestamp, now)).max();
    let mut wanted = Wanted::new(newest.unwrap_or(log.0));
    for (place, (_, entry)) in entries_of(fresh).enumerate() {
        let Some(identity) = &entry.identity else { continue };
        match entry.work {
            Work::Apply(_) | Work::ApplyWith(..) | Work::Refuse(_) => wanted.settle(identity, place),
            Work::DeadLetter(_) => wanted.ask(identity),
        }
    }
    wanted
}

/// Locks and reads what the orders touch that are no duplicates.
async fn load<E: Effect>(
    link: Link<'_>,
    terms: &Terms<'_, E>,
    fresh: &[Fresh<'_, E::Order>],
    (verdict, log): (&Verdict, LogTime),
) -> Result<E> {
    let orders: Vec<_> = entries_of(fresh)
        .enumerate()
        .filter(|(place, (_, entry))| entry.identity.is_none() || verdict.is_fresh(*place))
        .filter_map(|(_, (partition, entry))| match &entry.work {
            Work::Apply(order) | Work::ApplyWith(order, _) => {
                let written = (partition != BACKFILL).then(|| log.sane(entry.timestamp, terms.now));
                Some((order, written))
            }
            _ => None,
        })
        .collect();
    E::load(link, terms.policy, &orders).await
}

/// The wall clock, in milliseconds since 1970.
pub(super) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
