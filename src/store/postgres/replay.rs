//! Trying again what was set aside, in one transaction that changes no position of a log.
//!
//! What is replayed is accounted for under a topic of its own that no topic of Kafka can be called: so the audit adds up.
//! The letters are read first and locked last; if one of them has changed meanwhile, the transaction is done again.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use futures::FutureExt;
use tokio_postgres::types::Type;

use super::effect::{At, Decision, Effect, lines_of};
use super::identities::{Verdict, Wanted};
use super::keeper::{Keeper, within};
use super::ledger::Ledger;
use super::letters::{Change, Desk, id_of};
use super::link::{Link, get};
use super::positions::{self, Written};
use super::transaction::{Terms, Told, write};
use crate::order::{Identity, Order, Violation};
use crate::place::TopicId;
use crate::store::applied::LogTime;
use crate::store::dead_letter::{About, Letter, decode_original};
use crate::store::ledger::{Head, LedgerWriter};
use crate::store::{
    BACKFILL, DeadLetterKind, DeadLetterState, EventId, Operation, Rehearsal, ReplayRow, Replayed, Row, Topic,
};
use crate::{Error, ErrorCode, Result};

/// Kafka allows no parentheses in names.
const TOPIC: &str = "(replay)";
const READ: &str = "SELECT id, letter, record FROM dead_letters WHERE id = ANY($1)";

/// What an operator wants done with letters.
struct Wish {
    ids: Vec<EventId>,
    /// A mended value of the only one.
    value: Option<Vec<u8>>,
    rehearsal: Rehearsal,
}

/// A letter that is tried again.
struct Candidate<O> {
    id: EventId,
    letter: Letter,
    identity: Option<Identity>,
    order: O,
}

impl<E: Effect> Keeper<E> {
    pub(super) async fn operate_letters(&self, operation: Operation) -> Result<Vec<Row>> {
        let mut tries = self.base.tries();
        let rows = loop {
            let tried = within(&self.base, self.try_letters(operation.clone())).await;
            if let ControlFlow::Break(done) = tries.judge(tried).await {
                break done?;
            }
        };
        self.tell(rows.1);
        Ok(rows.0.into_iter().map(Row::Replayed).collect())
    }

    /// Letters of orders first, then those of updates, in a transaction of their own.
    pub(super) async fn operate_all_letters(&self, operation: Operation) -> Result<Vec<Row>> {
        let Some(moves) = E::moves(self) else { return self.operate_letters(operation).await };
        let ids = match &operation {
            Operation::Replay { ids, .. } => ids.clone(),
            _ => Vec::new(),
        };
        let mut rows = self.operate_letters(operation.clone()).await?;
        if !matches!(operation, Operation::Discard { .. }) {
            moves.take_prints().await?;
            rows.extend(moves.operate_letters(operation).boxed().await?);
        }
        let place = |row: &Row| match row {
            Row::Replayed(row) => ids.iter().position(|id| *id == row.id),
            _ => None,
        };
        rows.sort_by_key(place);
        Ok(rows)
    }

    async fn try_letters(&self, operation: Operation) -> Result<Told<Vec<ReplayRow>>> {
        let wish = match operation {
            Operation::Replay { ids, .. } if ids.len() > Operation::MOST => {
                let sentence = format!("{} dead letters are too many for one transaction", ids.len());
                return Err(Error::new(ErrorCode::ConfigValue, sentence));
            }
            Operation::Replay { ids, rehearsal } => Wish { ids, value: None, rehearsal },
            Operation::Fix { id, value } => {
                let unreadable = || Error::new(ErrorCode::ConfigValue, "the mended value is no bytes");
                Wish {
                    ids: vec![id],
                    value: Some(value.to_bytes().ok_or_else(unreadable)?),
                    rehearsal: Rehearsal::Real,
                }
            }
            Operation::Discard { id, reason } => return self.discard(id, &reason).await,
            _ => return Ok((Vec::new(), None)),
        };
        let topic = self.base.topic(&Topic::new(TopicId::NONE, TOPIC)).await?;
        let lease = self.base.lease().await?;
        let done = replay::<E>(Link { client: lease.client()? }, &self.terms(), topic, &wish).await;
        self.base.end(lease, done).await
    }

    async fn discard(&self, id: EventId, reason: &str) -> Result<Told<Vec<ReplayRow>>> {
        let lease = self.base.lease().await?;
        let done = self.discard_on(Link { client: lease.client()? }, id, reason).await;
        let row = self.base.end(lease, done).await?;
        Ok((vec![row], None))
    }

    async fn discard_on(&self, link: Link<'_>, id: EventId, reason: &str) -> Result<ReplayRow> {
        link.plain(self.base.begin()).await?;
        let found = read(link, &[id]).await?;
        let row = |did, reason: String| ReplayRow { id, did, reason };
        let answer = match found.get(&id) {
            None => row(Replayed::Fail, "there is no such dead letter".to_owned()),
            Some((letter, _)) if !letter.is_open() => {
                row(Replayed::Duplicate, format!("it is {} already", letter.state))
            }
            Some((letter, _)) => {
                let reason = format!("discarded: {reason} (it was: {})", letter.reason);
                let change = Change::Close(id, DeadLetterState::Discarded, Some(reason.clone()));
                let desk =
                    Desk::make(link, vec![change], Vec::new(), self.base.settings.dead_letters_max_bytes).await?;
                unchanged(&desk, id, letter)?;
                desk.write(link).await?;
                row(Replayed::Discard, reason)
            }
        };
        link.plain("COMMIT").await?;
        Ok(answer)
    }
}

/// Tries letters again, each once.
async fn replay<E: Effect>(
    link: Link<'_>,
    terms: &Terms<'_, E>,
    topic: u32,
    wish: &Wish,
) -> Result<Told<Vec<ReplayRow>>> {
    let ((), stands, log, found) = futures::try_join!(
        link.plain(terms.begin),
        positions::lock(link, topic, &[BACKFILL]),
        positions::log_time(link),
        read(link, &wish.ids)
    )?;
    let lost = || Error::new(ErrorCode::StoreIo, "a position was not locked").retriable();
    let stand = stands.get(&BACKFILL).ok_or_else(lost)?;
    let (changes, answers, candidates) = sort_out::<E::Order>(wish, &found, (terms.now, E::ABOUT));
    let (verdict, effect) = prepare(link, terms, &candidates, LogTime(log)).await?;
    let (before, version) = (stand.standing.position.next, stand.standing.position.version.saturating_add(1));
    let head = Head { topic, partition: BACKFILL, version, lines: lines_of::<E>() };
    let mut trial = Trial { head, effect, verdict, changes, answers, next: before, now: terms.now };
    let ledger = trial.each(&candidates, LogTime(log))?;
    let Trial { mut effect, verdict, changes, answers, next, .. } = trial;
    if wish.rehearsal == Rehearsal::Plan {
        link.plain("ROLLBACK").await?;
        return Ok((in_order(wish, &answers), None));
    }
    let touched: BTreeSet<EventId> = changes.iter().map(Change::id).collect();
    let desk = Desk::make(link, changes, effect.take_tidings(), terms.max_bytes).await?;
    for (id, (letter, _)) in found.iter().filter(|(id, _)| touched.contains(id)) {
        unchanged(&desk, *id, letter)?;
    }
    let standing = stand.standing.after_work(next, fastrand::u128(..));
    let written = Written { partition: BACKFILL, standing, log_time: i64::MIN, identities: verdict.count };
    write(link, topic, &[written], (&ledger, &mut effect, &desk)).await?;
    Ok((in_order(wish, &answers), desk.told()))
}

fn in_order(wish: &Wish, answers: &Answers) -> Vec<ReplayRow> {
    let told = wish.ids.iter().filter_map(|id| answers.get(id).map(|(did, reason)| (*id, *did, reason.clone())));
    told.map(|(id, did, reason)| ReplayRow { id, did, reason }).collect()
}

/// Settles the identities, and locks and reads what the orders touch that are new.
async fn prepare<E: Effect>(
    link: Link<'_>,
    terms: &Terms<'_, E>,
    candidates: &[Candidate<E::Order>],
    log: LogTime,
) -> Result<(Verdict, E)> {
    let newest = candidates.iter().map(|one| log.sane(one.letter.timestamp, terms.now)).max();
    let mut wanted = Wanted::new(newest.unwrap_or(log.0));
    for (place, one) in candidates.iter().enumerate() {
        // A refusal's identity is in the set already: only a replay reopens it.
        if let Some(identity) = one.identity.as_ref().filter(|_| one.letter.kind == DeadLetterKind::DeadLetter) {
            wanted.settle(identity, place);
        }
    }
    let verdict = wanted.take(link, candidates.len()).await?;
    let new = candidates.iter().enumerate().filter(|(place, one)| one.is_new(*place, &verdict));
    let orders: Vec<_> = new.map(|(_, one)| (&one.order, one.written(log, terms.now))).collect();
    let effect = E::load(link, terms.policy, &orders).await?;
    Ok((verdict, effect))
}

impl<O> Candidate<O> {
    fn is_new(&self, place: usize, verdict: &Verdict) -> bool {
        self.identity.is_none() || self.letter.kind == DeadLetterKind::Refused || verdict.is_fresh(place)
    }

    /// The day's instant that counts.
    fn written(&self, log: LogTime, now: i64) -> Option<i64> {
        (self.letter.first.partition != BACKFILL).then(|| log.sane(self.letter.timestamp, now))
    }
}

/// Letters that are tried, one after the other.
struct Trial<E> {
    head: Head,
    effect: E,
    verdict: Verdict,
    changes: Vec<Change>,
    answers: Answers,
    /// Counts the orders that were applied by replays.
    next: i64,
    now: i64,
}

impl<E: Effect> Trial<E> {
    fn each(&mut self, candidates: &[Candidate<E::Order>], log: LogTime) -> Result<Ledger> {
        let (mut row, mut ledger) = (LedgerWriter::new(self.head, Vec::new()), Ledger::default());
        self.effect.begin_row();
        for (place, one) in candidates.iter().enumerate() {
            if row.is_full() {
                ledger.keep(self.head, &mut row);
                self.effect.begin_row();
            }
            let answer = if one.is_new(place, &self.verdict) {
                self.one(one, log, &mut row)?
            } else {
                self.changes.push(Change::Close(one.id, DeadLetterState::Resolved, None));
                (Replayed::Duplicate, "an order of this identity was settled before".to_owned())
            };
            self.answers.insert(one.id, answer);
        }
        ledger.keep(self.head, &mut row);
        Ok(ledger)
    }

    fn one(&mut self, one: &Candidate<E::Order>, log: LogTime, row: &mut LedgerWriter) -> Result<(Replayed, String)> {
        let (identity, timestamp) = (one.identity.as_ref(), one.letter.timestamp);
        let at = At { identity, offset: self.next, timestamp, written: one.written(log, self.now) };
        match self.effect.decide(&one.order, at, row)? {
            Decision::Applied => {
                self.next = self.next.saturating_add(1);
                self.changes.push(Change::Close(one.id, DeadLetterState::Replayed, None));
                Ok((Replayed::Apply, String::new()))
            }
            Decision::Refused { code, reason } => {
                let sentence = format!("{code}: {reason}");
                let letter = Letter { kind: DeadLetterKind::Refused, ..one.letter.clone() };
                self.changes.push(failed_again(one.id, letter, (code, reason), self.now));
                Ok((Replayed::Fail, sentence))
            }
        }
    }
}

type Answers = BTreeMap<EventId, (Replayed, String)>;

/// What can be answered at once, what fails again, and what is to be tried: letters about this only.
fn sort_out<O: Order>(
    wish: &Wish,
    found: &Found,
    (now, about): (i64, About),
) -> (Vec<Change>, Answers, Vec<Candidate<O>>) {
    let (mut changes, mut answers, mut candidates) = (Vec::new(), Answers::new(), Vec::new());
    let mut seen = BTreeSet::new();
    for id in wish.ids.iter().copied().filter(|id| seen.insert(*id)) {
        let Some((letter, record)) = found.get(&id) else {
            if about == About::Order {
                answers.insert(id, (Replayed::Fail, "there is no such dead letter".to_owned()));
            }
            continue;
        };
        if letter.about != about {
            continue;
        }
        if !letter.is_open() {
            answers.insert(id, (Replayed::Duplicate, format!("it is {} already", letter.state)));
            continue;
        }
        let Some(original) = record.as_deref().and_then(|record| decode_original(record).ok()) else {
            answers.insert(id, (Replayed::Fail, "its record is not kept any more".to_owned()));
            continue;
        };
        let headers = original.headers.iter().map(|(name, value)| (&name[..], value.as_deref()));
        let (value, identity) = match &wish.value {
            // What is wrong with the headers is not mended by another value; the name of the letter stands for it.
            Some(mended) => (Some(&mended[..]), Ok(())),
            None => (original.value.as_deref(), Identity::from_headers(headers).map(drop)),
        };
        match identity.and_then(|()| value.ok_or_else(Violation::value_missing)).and_then(O::decode) {
            Ok(order) => {
                let identity = letter.identity.as_deref().and_then(|header| Identity::from_header(header).ok());
                candidates.push(Candidate { id, letter: letter.clone(), identity, order });
            }
            Err(violation) => {
                let (code, reason) = (violation.code().as_str(), violation.to_string());
                answers.insert(id, (Replayed::Fail, format!("{code}: {reason}")));
                changes.push(failed_again(id, letter.clone(), (code, reason), now));
            }
        }
    }
    if about == About::Update {
        // What came first goes first, so that a delivery's updates follow on each other.
        let place = |one: &Candidate<O>| (one.letter.first.topic, one.letter.first.partition, one.letter.first.offset);
        candidates.sort_by_key(place);
    }
    (changes, answers, candidates)
}

/// It stays open; its first origin stays, and its attempts add up.
fn failed_again(id: EventId, letter: Letter, (code, reason): (&str, String), now: i64) -> Change {
    let failed = (letter.failed.0, now);
    Change::FailedAgain(id, Letter { code: code.to_owned(), reason, failed, ..letter })
}

fn unchanged(desk: &Desk, id: EventId, letter: &Letter) -> Result<()> {
    if desk.found(id, letter.version) {
        return Ok(());
    }
    Err(Error::new(ErrorCode::StoreIo, "a dead letter changed meanwhile").retriable())
}

type Found = BTreeMap<EventId, (Letter, Option<Vec<u8>>)>;

async fn read(link: Link<'_>, ids: &[EventId]) -> Result<Found> {
    let names: Vec<&[u8]> = ids.iter().map(|id| id.as_bytes().as_slice()).collect();
    let rows = link.rows(READ, &[(&names, Type::BYTEA_ARRAY)]).await?;
    rows.iter().map(|row| Ok((id_of(get(row, 0)?)?, (Letter::decode(get(row, 1)?)?, get(row, 2)?)))).collect()
}
