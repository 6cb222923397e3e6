//! Trying again what was set aside, in one transaction that changes no position of a log.
//!
//! What is replayed is accounted for under a topic of its own that no topic of Kafka can be called: so the audit adds up.
//! The letters are read first and locked last; if one of them has changed meanwhile, the transaction is done again.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use futures::FutureExt;

use super::candidates::{self, Answers, Candidate, Found, failed_again, sort_out, unchanged};
use super::early::Early;
use super::effect::{Effect, lines_of};
use super::identities::{Verdict, Wanted};
use super::keeper::{Keeper, within};
use super::ledger::Ledger;
use super::letters::{Change, Desk};
use super::link::Link;
use super::moves::Moving;
use super::overlay::Laid;
use super::positions::{self, Written};
use super::requests::{is_handled, request, requested};
use super::transaction::{Terms, Told, finish, write_rows};
use crate::place::TopicId;
use crate::store::applied::LogTime;
use crate::store::dead_letter::{About, Letter};
use crate::store::decision::{At, Decision};
use crate::store::ledger::{Head, LedgerWriter};
use crate::store::replays::{ASKED_FIRST, NOT_ASKED, REFUSED};
use crate::store::standing::Standing;
use crate::store::{
    BACKFILL, DeadLetterKind, DeadLetterState, DeliveryPolicy, EventId, Operation, Position, Rehearsal, ReplayRow,
    Replayed, Reply, Row, Said, Topic,
};
use crate::{Error, ErrorCode, Result};

/// Kafka allows no parentheses in names.
const TOPIC: &str = "(replay)";

/// What an operator wants done with letters.
pub(super) struct Wish {
    pub(super) ids: Vec<EventId>,
    /// A mended value of the only one.
    pub(super) value: Option<Vec<u8>>,
    pub(super) rehearsal: Rehearsal,
    /// What a handler says of the only one, where it was asked.
    pub(super) reply: Option<Reply>,
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
        let topic = self.base.topic(&replays()).await?;
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
        let found = candidates::read(link, &[id]).await?;
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

/// What replays are accounted for under.
pub(super) fn replays() -> Topic {
    Topic::new(TopicId::NONE, TOPIC)
}

/// Tries letters again, each once.
async fn replay<E: Effect>(
    link: Link<'_>,
    terms: &Terms<'_, E>,
    (topic, runs_here): (u32, bool),
    mut wish: Wish,
) -> Result<Told<Vec<ReplayRow>>> {
    let ((), before, is_handled, early) = futures::try_join!(
        link.plain(terms.begin),
        Before::read(link, topic, &wish.ids),
        is_handled(link),
        Early::load::<E>(link)
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
    let mut trial = Trial::run(link, terms, (topic, &mut wish), &before, early).await?;
    if wish.rehearsal == Rehearsal::Plan {
        link.plain("ROLLBACK").await?;
        if asks_first {
            let applied = trial.answers.values_mut().filter(|(did, _)| *did == Replayed::Apply);
            applied.for_each(|(_, reason)| ASKED_FIRST.clone_into(reason));
        }
        return Ok((in_order(&wish, &trial.answers), None));
    }
    let (desk, written) = trial.desk(link, &before, terms.max_bytes).await?;
    let Trial { ledger, mut effect, mut early, answers, .. } = trial;
    let told = finish(link, terms, (topic, topic), &[written], ((&ledger, &mut effect, &desk), &mut early)).await?;
    Ok((in_order(&wish, &answers), told))
}

/// Makes the moves of updates that came before the deliveries which the transaction under way has scheduled: so what a
/// partner tells later of them finds these made. Returns the number of the last event.
pub(super) async fn catch_up<E: Effect>(
    link: Link<'_>,
    terms: &Terms<'_, E>,
    topic: u32,
    ids: Vec<EventId>,
) -> Result<Option<u64>> {
    let Terms { begin, owner, max_bytes, now, .. } = *terms;
    let policy = DeliveryPolicy::default();
    let terms = Terms::<Moving> { begin, owner, policy: &policy, max_bytes, now };
    let before = Before::read(link, topic, &ids).await?;
    let mut wish = Wish { ids, value: None, rehearsal: Rehearsal::Real, reply: None };
    let mut trial = Trial::run(link, &terms, (topic, &mut wish), &before, Early::default()).await?;
    let (desk, written) = trial.desk(link, &before, max_bytes).await?;
    write_rows(link, topic, &[written], (&trial.ledger, &mut trial.effect, &desk)).await?;
    Ok(desk.told())
}

/// What is locked and read before letters are tried.
struct Before {
    standing: Standing,
    log: LogTime,
    found: Found,
}

impl Before {
    async fn read(link: Link<'_>, topic: u32, ids: &[EventId]) -> Result<Self> {
        let (stands, log, found) = futures::try_join!(
            positions::lock(link, topic, &[BACKFILL]),
            positions::log_time(link),
            candidates::read(link, ids)
        )?;
        let lost = || Error::new(ErrorCode::StoreIo, "a position was not locked").retriable();
        let standing = stands.get(&BACKFILL).ok_or_else(lost)?.standing.clone();
        Ok(Self { standing, log: LogTime(log), found })
    }
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
    ledger: Ledger,
    /// What waits for deliveries.
    early: Early,
}

impl<E: Effect> Trial<E> {
    /// Tries what is wished, in memory.
    async fn run(
        link: Link<'_>,
        terms: &Terms<'_, E>,
        (topic, wish): (u32, &mut Wish),
        before: &Before,
        mut early: Early,
    ) -> Result<Self> {
        let (changes, answers, candidates) = sort_out::<E::Order>(wish, &before.found, (terms.now, E::ABOUT));
        if early.is_awaited() {
            let named = candidates.iter().filter(|one| one.identity.is_some());
            early.expect(link, &named.map(|one| one.id).collect::<Vec<_>>(), topic).await?;
        }
        let (verdict, effect) = prepare(link, terms, &candidates, before.log).await?;
        let Position { next, version, .. } = before.standing.position;
        let head = Head { topic, partition: BACKFILL, version: version.saturating_add(1), lines: lines_of::<E>() };
        let (reply, laid, ledger, now) = (wish.reply.take(), Laid::default(), Ledger::default(), terms.now);
        let mut trial = Self { head, effect, verdict, changes, answers, reply, laid, next, now, ledger, early };
        trial.ledger = trial.each(&candidates, before.log)?;
        Ok(trial)
    }

    /// Makes the changes of letters, which must be what they were, and the position's row.
    async fn desk(&mut self, link: Link<'_>, before: &Before, max_bytes: u64) -> Result<(Desk, Written)> {
        let changes = std::mem::take(&mut self.changes);
        let touched: BTreeSet<EventId> = changes.iter().map(Change::id).collect();
        let mut tidings = self.effect.take_tidings();
        tidings.append(&mut self.laid.events);
        let desk = Desk::make(link, changes, tidings, max_bytes).await?;
        for (id, (letter, _)) in before.found.iter().filter(|(id, _)| touched.contains(id)) {
            unchanged(&desk, *id, letter)?;
        }
        std::mem::take(&mut self.laid).write(link).await?;
        let standing = before.standing.after_work(self.next, fastrand::u128(..));
        Ok((desk, Written { partition: BACKFILL, standing, log_time: i64::MIN, identities: self.verdict.count }))
    }

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
                // With an identity, the delivery has the letter's name.
                if identity.is_some() && self.early.is_awaited() {
                    self.early.arrive(one.id);
                }
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
