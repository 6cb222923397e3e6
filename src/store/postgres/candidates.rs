//! Letters that are to be tried again, and which of them can be.

use std::collections::{BTreeMap, BTreeSet};

use tokio_postgres::types::Type;

use super::identities::Verdict;
use super::letters::{Change, Desk, id_of};
use super::link::{Link, get};
use super::replay::Wish;
use crate::order::{Identity, Order};
use crate::store::applied::LogTime;
use crate::store::dead_letter::{About, Letter, decode_original};
use crate::store::replays::value_again;
use crate::store::{BACKFILL, DeadLetterKind, EventId, Replayed, Said};
use crate::{Error, ErrorCode, Result};

const READ: &str = "SELECT id, letter, record FROM dead_letters WHERE id = ANY($1)";

/// A letter that is tried again.
pub(super) struct Candidate<O> {
    pub(super) id: EventId,
    pub(super) letter: Letter,
    pub(super) identity: Option<Identity>,
    pub(super) order: O,
}

impl<O> Candidate<O> {
    /// Whether it is to be decided, where no order of its identity was settled before.
    pub(super) fn is_new(&self, place: usize, verdict: &Verdict) -> bool {
        self.identity.is_none() || self.letter.kind == DeadLetterKind::Refused || verdict.is_fresh(place)
    }

    /// The day's instant that counts.
    pub(super) fn written(&self, log: LogTime, now: i64) -> Option<i64> {
        (self.letter.first.partition != BACKFILL).then(|| log.sane(self.letter.timestamp, now))
    }
}

/// What became of letters, with a sentence.
pub(super) type Answers = BTreeMap<EventId, (Replayed, String)>;

/// What can be answered at once, what fails again, and what is to be tried: letters about this only.
pub(super) fn sort_out<O: Order>(
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
pub(super) fn failed_again(
    (id, letter, tries): (EventId, Letter, u32),
    (code, reason): (&str, String),
    now: i64,
) -> Change {
    let failed = (letter.failed.0, now);
    Change::FailedAgain(id, Letter { code: code.to_owned(), reason, failed, ..letter }, tries)
}

/// A letter must be what it was when it was read.
pub(super) fn unchanged(desk: &Desk, id: EventId, letter: &Letter) -> Result<()> {
    if desk.found(id, letter.version) {
        return Ok(());
    }
    Err(Error::new(ErrorCode::StoreIo, "a dead letter changed meanwhile").retriable())
}

/// Letters with their records.
pub(super) type Found = BTreeMap<EventId, (Letter, Option<Vec<u8>>)>;

/// Reads letters.
pub(super) async fn read(link: Link<'_>, ids: &[EventId]) -> Result<Found> {
    let names: Vec<&[u8]> = ids.iter().map(|id| id.as_bytes().as_slice()).collect();
    let rows = link.rows(READ, &[(&names, Type::BYTEA_ARRAY)]).await?;
    rows.iter().map(|row| Ok((id_of(get(row, 0)?)?, (Letter::decode(get(row, 1)?)?, get(row, 2)?)))).collect()
}
