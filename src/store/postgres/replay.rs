//! Trying again what was set aside, in one transaction that changes no position of a log.
//!
//! What is replayed is accounted for under a topic of its own that no topic of Kafka can be called: so the audit adds up.
//! The letters are read first and locked last; if one of them has changed meanwhile, the transaction is done again.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use tokio_postgres::types::Type;

use super::effect::{At, Decision, Effect};
use super::identities::Wanted;
use super::keeper::{Keeper, within};
use super::letters::{Change, Desk, id_of};
use super::link::{Link, get};
use super::positions::{self, Written};
use super::transaction::{Ledger, Terms, Told, write};
use crate::order::{Identity, Order, Violation};
use crate::place::TopicId;
use crate::store::applied::LogTime;
use crate::store::dead_letter::{Letter, decode_original};
use crate::store::ledger::{Head, LedgerWriter};
use crate::store::standing::Standing;
use crate::store::{
    BACKFILL, DeadLetterKind, DeadLetterState, EventId, Operation, Position, Rehearsal, ReplayRow, Replayed, Row,
    Settled, Topic,
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
                let desk = Desk::make(link, vec![change], self.base.settings.dead_letters_max_bytes).await?;
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
    let log = LogTime(log);
    let (mut changes, mut rows, candidates) = sort_out::<E::Order>(wish, &found, terms.now);
    let mut wanted =
        Wanted::new(candidates.iter().map(|one| log.sane(one.letter.timestamp, terms.now)).max().unwrap_or(log.0));
    for (place, one) in candidates.iter().enumerate() {
        if let Some(identity) = one.identity.as_ref().filter(|_| one.letter.kind == DeadLetterKind::DeadLetter) {
            wanted.settle(identity, place);
        }
    }
    let verdict = wanted.take(link, candidates.len()).await?;
    let is_new = |place: usize, one: &Candidate<E::Order>| {
        one.identity.is_none() || one.letter.kind == DeadLetterKind::Refused || verdict.is_fresh(place)
    };
    let written = |one: &Candidate<E::Order>| {
        (one.letter.first.partition != BACKFILL).then(|| log.sane(one.letter.timestamp, terms.now))
    };
    let orders: Vec<_> = (candidates.iter().enumerate())
        .filter(|(place, one)| is_new(*place, one))
        .map(|(_, one)| (&one.order, written(one)))
        .collect();
    let mut effect = E::load(link, terms.policy, &orders).await?;
    let lost = || Error::new(ErrorCode::StoreIo, "a position was not locked").retriable();
    let stand = stands.get(&BACKFILL).ok_or_else(lost)?;
    let (before, version) = (stand.standing.position.next, stand.standing.position.version.saturating_add(1));
    let head = Head { topic, partition: BACKFILL, version };
    let (mut row, mut ledger, mut next) = (LedgerWriter::new(head, Vec::new()), Ledger::default(), before);
    effect.begin_row();
    for (place, one) in candidates.iter().enumerate() {
        if row.is_full() {
            ledger.keep(head, &mut row);
            effect.begin_row();
        }
        let (did, reason) = if !is_new(place, one) {
            changes.push(Change::Close(one.id, DeadLetterState::Resolved, None));
            (Replayed::Duplicate, "an order of this identity was settled before".to_owned())
        } else {
            let at = At {
                identity: one.identity.as_ref(),
                offset: next,
                timestamp: one.letter.timestamp,
                written: written(one),
            };
            match effect.decide(&one.order, at, &mut row)? {
                Decision::Applied => {
                    next = next.saturating_add(1);
                    changes.push(Change::Close(one.id, DeadLetterState::Replayed, None));
                    (Replayed::Apply, String::new())
                }
                Decision::Refused { code, reason } => {
                    let sentence = format!("{code}: {reason}");
                    let letter = Letter { kind: DeadLetterKind::Refused, ..one.letter.clone() };
                    changes.push(failed_again(one.id, letter, (code, reason), terms.now));
                    (Replayed::Fail, sentence)
                }
            }
        };
        rows.insert(one.id, (did, reason));
    }
    ledger.keep(head, &mut row);
    let answer = || -> Vec<ReplayRow> {
        let told = wish.ids.iter().filter_map(|id| rows.get(id).map(|(did, reason)| (*id, *did, reason.clone())));
        told.map(|(id, did, reason)| ReplayRow { id, did, reason }).collect()
    };
    if wish.rehearsal == Rehearsal::Plan {
        link.plain("ROLLBACK").await?;
        return Ok((answer(), None));
    }
    let changed: Vec<EventId> = rows.keys().copied().collect();
    let desk = Desk::make(link, changes, terms.max_bytes).await?;
    for id in changed {
        if let Some((letter, _)) = found.get(&id).filter(|(letter, _)| letter.is_open()) {
            unchanged(&desk, id, letter)?;
        }
    }
    let mut standing = stand.standing.clone();
    standing.counts.applied = standing.counts.applied.saturating_add(next.abs_diff(before));
    let token = fastrand::u128(..);
    let position = Position { next, settled: Settled::new(), version, token, ..standing.position };
    let standing = Standing { position, ..standing };
    let written = Written { partition: BACKFILL, standing, log_time: i64::MIN, identities: verdict.count };
    write(link, topic, &[written], (&ledger, &mut effect, &desk)).await?;
    Ok((answer(), desk.told()))
}

type Answers = BTreeMap<EventId, (Replayed, String)>;

/// What can be answered at once, what fails again, and what is to be tried.
fn sort_out<O: Order>(wish: &Wish, found: &Found, now: i64) -> (Vec<Change>, Answers, Vec<Candidate<O>>) {
    let (mut changes, mut answers, mut candidates) = (Vec::new(), Answers::new(), Vec::new());
    let mut seen = BTreeSet::new();
    for id in wish.ids.iter().copied().filter(|id| seen.insert(*id)) {
        let Some((letter, record)) = found.get(&id) else {
            answers.insert(id, (Replayed::Fail, "there is no such dead letter".to_owned()));
            continue;
        };
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
