//! Trying again what was set aside, in one transaction that changes no position of a log.
//!
//! What is replayed is accounted for under a topic of its own that no topic of Kafka can be called: so the audit adds up.
//! The letters are read first and locked last; if one of them has changed meanwhile, the transaction is done again.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use futures::FutureExt;
use tokio_postgres::types::Type;

use super::effect::{Effect, lines_of};
use super::identities::{Verdict, Wanted};
use super::keeper::{Keeper, within};
use super::ledger::Ledger;
use super::letters::{Change, Desk, id_of};
use super::link::{Link, get};
use super::overlay::Laid;
use super::positions::{self, Written};
use super::requests::{is_handled, request, requested};
use super::transaction::{Terms, Told, write};
use crate::order::{Identity, Order};
use crate::place::TopicId;
use crate::store::applied::LogTime;
use crate::store::dead_letter::{About, Letter, decode_original};
use crate::store::decision::{At, Decision};
use crate::store::ledger::{Head, LedgerWriter};
use crate::store::replays::{ASKED_FIRST, NOT_ASKED, REFUSED, value_again};
use crate::store::{
    BACKFILL, DeadLetterKind, DeadLetterState, EventId, Operation, Rehearsal, ReplayRow, Replayed, Reply, Row, Said,
    Topic,
};
use crate::{Error, ErrorCode, Result};

/// Kafka allows no parentheses in names.
const TOPIC: &str = "(replay)";
const READ: &str = "SELECT id, letter, record FROM dead_letters WHERE id = ANY($1)";

/// What an operator wants done with letters.
pub(super) struct Wish {
    pub(super) ids: Vec<EventId>,
    /// A mended value of the only one.
    pub(super) value: Option<Vec<u8>>,
    pub(super) rehearsal: Rehearsal,
    /// What a handler says of the only one, where it was asked.
    pub(super) reply: Option<Reply>,
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
        if rows.0.iter().any(|row| row.did == Replayed::Request) {
            self.base.news.send_modify(|_| {});
        }
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
            Operation::Replay { ids, rehearsal } => Wish { ids, value: None, rehearsal, reply: None },
            Operation::Fix { id, value } => {
                let unreadable = || Error::new(ErrorCode::ConfigValue, "the mended value is no bytes");
                Wish {
                    ids: vec![id],
                    value: Some(value.to_bytes().ok_or_else(unreadable)?),
                    rehearsal: Rehearsal::Real,
                    reply: None,
                }
            }
            Operation::Discard { id, reason } => return self.discard(id, &reason).await,
            _ => return Ok((Vec::new(), None)),
        };
        self.try_wish(wish).await
    }

    /// Tries letters again, or marks them as requested where a handler is asked first.
    pub(super) async fn try_wish(&self, wish: Wish) -> Result<Told<Vec<ReplayRow>>> {
        let topic = self.base.topic(&Topic::new(TopicId::NONE, TOPIC)).await?;
        let lease = self.base.lease().await?;
        let link = Link { client: lease.client()? };
        let done = replay::<E>(link, &self.terms(), (topic, self.steer().is_ok()), wish).await;
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
    (topic, runs_here): (u32, bool),
    mut wish: Wish,
) -> Result<Told<Vec<ReplayRow>>> {
    let ((), stands, log, found, is_handled) = futures::try_join!(
        link.plain(terms.begin),
        positions::lock(link, topic, &[BACKFILL]),
        positions::log_time(link),
        read(link, &wish.ids),
        is_handled(link)
    )?;
    let asks_first = is_handled && E::ABOUT == About::Order;
    if asks_first && wish.reply.is_none() && wish.rehearsal == Rehearsal::Real {
        return request(link, &wish, runs_here).await;
    }
    if let Some(reply) = &wish.reply {
        let Some(mended) = requested(link, reply).await? else {
            link.plain("ROLLBACK").await?;
            let (id, did, reason) = (reply.id, Replayed::Duplicate, NOT_ASKED.to_owned());
            return Ok((vec![ReplayRow { id, did, reason }], None));
        };
        wish.value = mended;
    }
    let lost = || Error::new(ErrorCode::StoreIo, "a position was not locked").retriable();
    let stand = stands.get(&BACKFILL).ok_or_else(lost)?;
    let (changes, answers, candidates) = sort_out::<E::Order>(&wish, &found, (terms.now, E::ABOUT));
    let (verdict, effect) = prepare(link, terms, &candidates, LogTime(log)).await?;
    let (before, version) = (stand.standing.position.next, stand.standing.position.version.saturating_add(1));
    let head = Head { topic, partition: BACKFILL, version, lines: lines_of::<E>() };
    let (reply, laid) = (wish.reply.take(), Laid::default());
    let mut trial = Trial { head, effect, verdict, changes, answers, reply, laid, next: before, now: terms.now };
    let ledger = trial.each(&candidates, LogTime(log))?;
    let Trial { mut effect, verdict, changes, mut answers, mut laid, next, .. } = trial;
    if wish.rehearsal == Rehearsal::Plan {
        link.plain("ROLLBACK").await?;
        if asks_first {
            let applied = answers.values_mut().filter(|(did, _)| *did == Replayed::Apply);
            applied.for_each(|(_, reason)| ASKED_FIRST.clone_into(reason));
        }
        return Ok((in_order(&wish, &answers), None));
    }
    let touched: BTreeSet<EventId> = changes.iter().map(Change::id).collect();
    let mut tidings = effect.take_tidings();
    tidings.append(&mut laid.events);
    let desk = Desk::make(link, changes, tidings, terms.max_bytes).await?;
    for (id, (letter, _)) in found.iter().filter(|(id, _)| touched.contains(id)) {
        unchanged(&desk, *id, letter)?;
    }
    laid.write(link).await?;
    let standing = stand.standing.after_work(next, fastrand::u128(..));
    let written = Written { partition: BACKFILL, standing, log_time: i64::MIN, identities: verdict.count };
    write(link, topic, &[written], (&ledger, &mut effect, &desk)).await?;
    Ok((in_order(&wish, &answers), desk.told()))
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
    /// What a handler says of the only one.
    reply: Option<Reply>,
    /// What it adds.
    laid: Laid,
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
        let tries = self.reply.as_ref().map_or(1, |reply| reply.tries);
        let refused = || (one.id, Letter { kind: DeadLetterKind::Refused, ..one.letter.clone() }, tries);
        if let Some(Said::Refuse(code)) = self.reply.as_ref().map(|reply| &reply.said) {
            let sentence = format!("{code}: {REFUSED}");
            self.changes.push(failed_again(refused(), (code, REFUSED.to_owned()), self.now));
            return Ok((Replayed::Fail, sentence));
        }
        match self.effect.decide(&one.order, at, row)? {
            Decision::Applied => {
                self.next = self.next.saturating_add(1);
                self.changes.push(Change::Close(one.id, DeadLetterState::Replayed, None));
                if let Some(Said::Done(overlay)) = self.reply.as_ref().map(|reply| &reply.said) {
                    self.laid.lay(one.id, overlay);
                }
                Ok((Replayed::Apply, String::new()))
            }
            Decision::Refused { code, reason } => {
                let sentence = format!("{code}: {reason}");
                self.changes.push(failed_again(refused(), (code, reason), self.now));
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
        let tries = wish.reply.as_ref().map_or(1, |reply| reply.tries);
        let mut fail = |code: &str, reason: String| {
            answers.insert(id, (Replayed::Fail, format!("{code}: {reason}")));
            changes.push(failed_again((id, letter.clone(), tries), (code, reason), now));
        };
        match value_again(&original, wish.value.as_deref()).and_then(O::decode) {
            Err(violation) => fail(violation.code().as_str(), violation.to_string()),
            Ok(order) => {
                if let Some(Said::SetAside(code, reason)) = wish.reply.as_ref().map(|reply| &reply.said) {
                    fail(code, reason.clone());
                    continue;
                }
                let identity = letter.identity.as_deref().and_then(|header| Identity::from_header(header).ok());
                candidates.push(Candidate { id, letter: letter.clone(), identity, order });
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
fn failed_again((id, letter, tries): (EventId, Letter, u32), (code, reason): (&str, String), now: i64) -> Change {
    let failed = (letter.failed.0, now);
    Change::FailedAgain(id, Letter { code: code.to_owned(), reason, failed, ..letter }, tries)
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
