//! One transaction: four trips to the server and back, however many orders it settles.
//!
//! ```text
//!  1  BEGIN, lock positions, read letters    -> compare versions (R2, R5), and whose partition it is
//!  2  insert identities                      -> who is a duplicate
//!  3  lock stock or capacity, read           -> decide order by order, in memory
//!  4  write everything, positions last, COMMIT
//! ```
//! Letters that change cost one more, a new source, product or partition too. Rows are locked in one order: positions,
//! identities, stock, capacity, counters.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{SystemTime, UNIX_EPOCH};

use super::effect::{Effect, lines_of};
use super::identities::{Verdict, Wanted};
use super::ledger::Ledger;
use super::letters::{Change, Desk, KnownLetters};
use super::link::Link;
use super::overlay::Laid;
use super::positions::{self, Stand, Written};
use super::recall::recall;
use crate::order::Identity;
use crate::place::{Place, TopicPartition};
use crate::store::applied::LogTime;
use crate::store::dead_letter::{Spot, letter_of, rebuilt};
use crate::store::decision::{At, Decision};
use crate::store::failures::Failures;
use crate::store::ledger::{Head, LedgerWriter};
use crate::store::standing::{Meeting, Standing};
use crate::store::{
    Applied, AppliedPart, BACKFILL, Batch, Counts, DeadLetter, DeadLetterKind, DeadLetterState, Entry, EventId,
    Outcome, Part, Position, Topic, Work,
};
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

/// Settles a batch: rules R1, R2 and R5.
pub(super) async fn settle<E: Effect>(
    link: Link<'_>,
    terms: &Terms<'_, E>,
    topic: u32,
    batch: &Batch<E::Order>,
) -> Result<Told<Applied>> {
    let partitions = partitions_of(batch)?;
    let ((), stands, mut known, log) = futures::try_join!(
        link.plain(terms.begin),
        positions::lock(link, topic, &partitions),
        KnownLetters::load(link),
        positions::log_time(link)
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
    known
        .complete(
            link,
            entries_of(&fresh)
                .map(|(partition, entry)| EventId::of(entry.identity.as_ref(), &batch.topic, partition, entry.offset)),
        )
        .await?;
    let mut log = LogTime(log);
    let verdict = identities(&fresh, log, terms.now).take(link, batch.len()).await?;
    let effect = load::<E>(link, terms, &fresh, (&verdict, log)).await?;
    let (changes, laid, topics) = (Vec::new(), Laid::default(), (&batch.topic, topic));
    let mut walk = Walk { now: terms.now, topic: topics, known, verdict, effect, changes, laid, place: 0 };
    let (mut written, mut ledger) = (Vec::new(), Ledger::default());
    for (part, stand, settled) in fresh {
        let (answer, row) = walk.part(part, stand, settled, (&mut ledger, &mut log))?;
        answers.insert(part.partition, answer);
        written.push(row);
    }
    let Walk { mut effect, changes, mut laid, .. } = walk;
    let mut tidings = effect.take_tidings();
    tidings.append(&mut laid.events);
    let desk = Desk::make(link, changes, tidings, terms.max_bytes).await?;
    laid.write(link).await?;
    write(link, topic, &written, (&ledger, &mut effect, &desk)).await?;
    Ok((in_order(batch, answers)?, desk.told()))
}

/// Everything in one trip: what fails gives the rest up, and the commit with it.
pub(super) async fn write<E: Effect>(
    link: Link<'_>,
    topic: u32,
    written: &[Written],
    (ledger, effect, desk): (&Ledger, &mut E, &Desk),
) -> Result<()> {
    futures::try_join!(
        effect.write(link),
        ledger.write(link, topic, E::ANNOUNCED),
        desk.write(link),
        positions::keep_failures(link, topic, &ledger.failed),
        positions::write(link, topic, written),
        link.plain("COMMIT")
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

/// Decides the orders of a transaction, one after the other.
struct Walk<'a, E> {
    now: i64,
    topic: (&'a Topic, u32),
    known: KnownLetters,
    verdict: Verdict,
    effect: E,
    changes: Vec<Change>,
    /// What handlers add.
    laid: Laid,
    /// The place of the next record in the transaction.
    place: usize,
}

impl<E: Effect> Walk<'_, E> {
    fn part(
        &mut self,
        part: &Part<E::Order>,
        stand: &Stand,
        settled: u64,
        (ledger, log): (&mut Ledger, &mut LogTime),
    ) -> Result<(AppliedPart, Written)> {
        let standing = &stand.standing;
        let (first, mut counts) = (standing.first_with(part), standing.counts);
        let version = standing.position.version.saturating_add(1);
        let head = Head { topic: self.topic.1, partition: part.partition, version, lines: lines_of::<E>() };
        let mut row = LedgerWriter::new(head, Vec::new());
        self.effect.begin_row();
        let mut outcomes = Vec::with_capacity(part.entries.len());
        let (mut failures, mut identities) = (Failures::of(version), 0);
        for entry in &part.entries {
            if row.is_full() {
                ledger.keep(head, &mut row);
                self.effect.begin_row();
            }
            identities += u64::from(self.verdict.is_fresh(self.place));
            let outcome = self.entry(part.partition, entry, &mut row, log)?;
            count(&outcome, &mut counts);
            failures.note(entry.offset, &outcome);
            outcomes.push(outcome);
            self.place += 1;
        }
        ledger.keep(head, &mut row);
        ledger.failed.extend(failures.into_row().map(|causes| (part.partition, causes)));
        counts.no_record = counts.no_record.saturating_add(settled.saturating_sub(outcomes.len() as u64));
        let position = Position {
            next: part.next,
            settled: part.settled.clone(),
            leader_epoch: part.leader_epoch,
            version,
            token: part.token,
            ..Position::default()
        };
        let standing = Standing { position: position.clone(), first, counts, written: (0, 0) };
        let row = Written { partition: part.partition, standing, log_time: log.0, identities };
        Ok((AppliedPart { partition: part.partition, position, outcomes }, row))
    }

    fn entry(
        &mut self,
        partition: i32,
        entry: &Entry<E::Order>,
        row: &mut LedgerWriter,
        log: &mut LogTime,
    ) -> Result<Outcome> {
        let identity = entry.identity.as_ref();
        let is_new = identity.is_none() || self.verdict.is_fresh(self.place);
        let was_replayed =
            identity.is_none() && !self.known.is_empty() && self.known.was_replayed(self.id(partition, entry));
        if was_replayed {
            return Ok(Outcome::Duplicate);
        }
        match &entry.work {
            Work::Apply(_) | Work::ApplyWith(..) | Work::Refuse(_) if !is_new => Ok(Outcome::Duplicate),
            Work::Apply(order) => self.apply(partition, entry, order, (row, log)),
            Work::ApplyWith(order, overlay) => {
                let outcome = self.apply(partition, entry, order, (row, log))?;
                if matches!(outcome, Outcome::Applied) {
                    self.laid.lay(self.id(partition, entry), overlay);
                }
                Ok(outcome)
            }
            Work::Refuse(cause) => {
                log.advance(log.sane(entry.timestamp, self.now));
                self.note_settled(identity);
                Ok(self.file(partition, entry, DeadLetterKind::Refused, cause.clone()))
            }
            Work::DeadLetter(_) if identity.is_some_and(|identity| self.verdict.is_known(identity)) => {
                Ok(Outcome::Duplicate)
            }
            Work::DeadLetter(cause) => Ok(self.file(partition, entry, DeadLetterKind::DeadLetter, cause.clone())),
        }
    }

    fn apply(
        &mut self,
        partition: i32,
        entry: &Entry<E::Order>,
        order: &E::Order,
        (row, log): (&mut LedgerWriter, &mut LogTime),
    ) -> Result<Outcome> {
        let identity = entry.identity.as_ref();
        let sane = log.sane(entry.timestamp, self.now);
        log.advance(sane);
        self.note_settled(identity);
        let written = (partition != BACKFILL).then_some(sane);
        let at = At { identity, offset: entry.offset, timestamp: entry.timestamp, written };
        match self.effect.decide(order, at, row)? {
            Decision::Applied => {
                // A letter that this very transaction has filed is closed as well.
                if !self.known.is_empty() || !self.changes.is_empty() {
                    let id = self.id(partition, entry);
                    if self.known.is_open(id) || self.changes.iter().any(|change| change.files(id)) {
                        self.changes.push(Change::Close(id, DeadLetterState::Resolved, None));
                    }
                }
                Ok(Outcome::Applied)
            }
            Decision::Refused { code, reason } => {
                let original = rebuilt(order, identity);
                let cause = DeadLetter { code: code.into(), reason, attempts: 1, original };
                Ok(self.file(partition, entry, DeadLetterKind::Refused, cause))
            }
        }
    }

    /// Later copies in the same transaction cannot fail any more.
    fn note_settled(&mut self, identity: Option<&Identity>) {
        if let Some(identity) = identity {
            self.verdict.settled_now(identity);
        }
    }

    fn id(&self, partition: i32, entry: &Entry<E::Order>) -> EventId {
        EventId::of(entry.identity.as_ref(), self.topic.0, partition, entry.offset)
    }

    fn file(&mut self, partition: i32, entry: &Entry<E::Order>, kind: DeadLetterKind, cause: DeadLetter) -> Outcome {
        let spot = Spot { topic: self.topic.1, partition, offset: entry.offset };
        let letter = letter_of((kind, E::ABOUT), &cause, entry.identity.as_ref(), (spot, entry.timestamp), self.now);
        let DeadLetter { code, reason, original, .. } = cause;
        self.changes.push(Change::file(self.id(partition, entry), letter, &original));
        match kind {
            DeadLetterKind::Refused => Outcome::Refused { code, reason },
            DeadLetterKind::DeadLetter => Outcome::DeadLetter { code, reason },
        }
    }
}

fn count(outcome: &Outcome, counts: &mut Counts) {
    let counter = match outcome {
        Outcome::Applied => &mut counts.applied,
        Outcome::Duplicate => &mut counts.duplicates,
        Outcome::Refused { .. } => &mut counts.refused,
        Outcome::DeadLetter { .. } => &mut counts.dead_letters,
    };
    *counter = counter.saturating_add(1);
}

/// The wall clock, in milliseconds since 1970.
pub(super) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
