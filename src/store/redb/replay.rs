//! Trying again what was set aside, in one transaction that changes no position of a log.
//!
//! ```text
//!  open? --no--> duplicate
//!    | yes: decode -> identity -> effect --applied--> replayed: line in the ledger, the record is let go
//!    |                                   \--refused--> a refusal, open, one attempt more
//!    +--not an order--> open, one attempt more, its first origin as it was
//! ```
//! Orders are tried first, then updates of deliveries in the order of their log, each kind with its own rows of the ledger.
//! What is replayed is accounted for under a topic of its own that no topic of Kafka can be called: so the audit adds up.

use super::effect::{Effect, Settles};
use super::letters::is_early;
use super::tables::bytes_of;
use super::transaction::{Here, Settling};
use crate::Result;
use crate::order::{DeliveryUpdate, Identity, Order};
use crate::place::TopicId;
use crate::store::dead_letter::{About, Letter, Spot, decode_original};
use crate::store::decision::{At, Decision};
use crate::store::ledger::{Head, LedgerWriter, Lines};
use crate::store::replays::{REFUSED, value_again};
use crate::store::standing::Standing;
use crate::store::{BACKFILL, DeadLetterKind, DeadLetterState, EventId, ReplayRow, Replayed, Reply, Said, Topic};

/// Kafka allows no parentheses in names.
const TOPIC: &str = "(replay)";

/// What a record is, once it is read again.
enum Again<O> {
    Order(O),
    Update(DeliveryUpdate),
}

/// A dead letter that is to be tried again.
pub(super) struct Request {
    pub(super) id: EventId,
    /// A mended value.
    pub(super) value: Option<Vec<u8>>,
    /// What a handler says of it, where one was asked.
    pub(super) reply: Option<Reply>,
}

/// A letter that is being tried.
struct Tried {
    id: EventId,
    letter: Letter,
    /// How often, this time.
    tries: u32,
    /// With another value than its record's.
    is_mended: bool,
}

impl<E: Effect> Settling<'_, '_, E> {
    /// Tries dead letters again, each once.
    pub(super) fn replay(mut self, requests: Vec<Request>) -> Result<Vec<ReplayRow>> {
        let rows = self.try_again(requests)?;
        self.catch_up_with_updates()?;
        self.finish()?;
        Ok(rows)
    }

    /// Makes the moves of updates that came before the deliveries which this transaction has scheduled: so what a partner
    /// tells later of them finds these made.
    pub(super) fn catch_up_with_updates(&mut self) -> Result<()> {
        let arrived = std::mem::take(&mut self.memory.open.arrived);
        if arrived.is_empty() { Ok(()) } else { self.try_again(as_they_are(arrived)).map(drop) }
    }

    fn try_again(&mut self, requests: Vec<Request>) -> Result<Vec<ReplayRow>> {
        let topic = Topic::new(TopicId::NONE, TOPIC);
        let number = self.memory.topics.number(&topic, &mut self.tables.topics)?;
        let here = Here { topic: &topic, number, partition: BACKFILL };
        self.memory.totals.transaction += 1;
        let standing = self.memory.standing(self.tables, here.key())?.clone();
        let (version, before) = (standing.position.version.saturating_add(1), standing.position.next);
        let written = (self.memory.totals.transaction, self.rows);
        let asked: Vec<EventId> = requests.iter().map(|request| request.id).collect();
        let (orders, updates) = self.sorted(requests)?;
        let head = Head { topic: number, partition: BACKFILL, version, lines: Lines::Orders };
        let (mut rows, mut next) = (Vec::with_capacity(asked.len()), before);
        self.replay_each(head, orders, (&mut rows, &mut next))?;
        self.announce(written)?;
        self.replay_each(Head { lines: Lines::Moves, ..head }, updates, (&mut rows, &mut next))?;
        if next > before {
            let after = standing.after_work(next, fastrand::u128(..));
            self.memory.stand(self.tables, here.key(), Standing { written, ..after })?;
        }
        rows.sort_by_key(|row| asked.iter().position(|id| *id == row.id));
        Ok(rows)
    }

    /// Orders as they were asked for, and updates in the order of their log. The deliveries of these are looked for.
    fn sorted(&mut self, requests: Vec<Request>) -> Result<(Vec<Request>, Vec<Request>)> {
        let (mut orders, mut updates, mut deliveries) = (Vec::new(), Vec::new(), Vec::new());
        for request in requests {
            match self.desk().letter(request.id)? {
                Some(letter) if letter.about == About::Update => {
                    let kept = bytes_of(&self.tables.originals, request.id.as_bytes())?;
                    let original = kept.map(|row| decode_original(&row)).transpose()?.unwrap_or_default();
                    let value = request.value.as_deref().or(original.value.as_deref());
                    let update = value.and_then(|value| DeliveryUpdate::decode(value).ok());
                    deliveries.extend(update.map(|update| EventId::new(update.delivery())));
                    let Spot { topic, partition, offset } = letter.first;
                    updates.push(((topic, partition, offset), request));
                }
                _ => orders.push(request),
            }
        }
        if !deliveries.is_empty() {
            E::find(self, deliveries)?;
        }
        updates.sort_by_key(|(place, _)| *place);
        Ok((orders, updates.into_iter().map(|(_, request)| request).collect()))
    }

    fn replay_each(
        &mut self,
        head: Head,
        requests: Vec<Request>,
        (rows, next): (&mut Vec<ReplayRow>, &mut i64),
    ) -> Result<()> {
        let mut row = LedgerWriter::new(head, self.memory.buffer());
        self.memory.effect.begin_row();
        for request in requests {
            if row.is_full() {
                self.keep(&mut row)?;
            }
            let id = request.id;
            let (did, reason) = self.replay_one(*next, request, &mut row)?;
            if did == Replayed::Apply {
                *next = next.saturating_add(1);
            }
            rows.push(ReplayRow { id, did, reason });
        }
        self.keep(&mut row)?;
        self.memory.give_back(row.into_buffer());
        Ok(())
    }

    fn replay_one(&mut self, at: i64, request: Request, row: &mut LedgerWriter) -> Result<(Replayed, String)> {
        let id = request.id;
        let Some(letter) = self.desk().letter(id)? else {
            return Ok((Replayed::Fail, "there is no such dead letter".to_owned()));
        };
        if !letter.is_open() {
            return Ok((Replayed::Duplicate, format!("it is {} already", letter.state)));
        }
        let kept = bytes_of(&self.tables.originals, id.as_bytes())?;
        let Some(original) = kept.map(|row| decode_original(&row)).transpose()? else {
            return Ok((Replayed::Fail, "its record is not kept any more".to_owned()));
        };
        let is_mended = request.value.is_some();
        let again = value_again(&original, request.value.as_deref()).and_then(|value| match letter.about {
            About::Order => E::Order::decode(value).map(Again::Order),
            About::Update => DeliveryUpdate::decode(value).map(Again::Update),
        });
        let (tries, said) = request.reply.map_or((1, None), |reply| (reply.tries, Some(reply.said)));
        let tried = Tried { id, letter, tries, is_mended };
        match (again, said) {
            (Err(violation), _) => self.fail_again(tried, violation.code().as_str(), violation.to_string()),
            (Ok(_), Some(Said::SetAside(code, reason))) => self.fail_again(tried, &code, reason),
            (Ok(again), said) => self.replay_value(at, tried, (&again, said), row),
        }
    }

    fn replay_value(
        &mut self,
        offset: i64,
        tried: Tried,
        (again, said): (&Again<E::Order>, Option<Said>),
        row: &mut LedgerWriter,
    ) -> Result<(Replayed, String)> {
        let Tried { id, letter, tries, is_mended } = tried;
        let identity = letter.identity.as_deref().and_then(|header| Identity::from_header(header).ok());
        let (identity, timestamp) = (identity.as_ref(), letter.timestamp);
        // A refusal's identity is in the set already: only a replay reopens it.
        if letter.kind == DeadLetterKind::DeadLetter && !self.is_new(identity, timestamp)? {
            self.desk().resolve(id)?;
            return Ok((Replayed::Duplicate, "an order of this identity was settled before".to_owned()));
        }
        let refused =
            |letter| Tried { id, letter: Letter { kind: DeadLetterKind::Refused, ..letter }, tries, is_mended };
        let overlay = match said {
            Some(Said::Refuse(code)) => return self.fail_again(refused(letter), &code, REFUSED.to_owned()),
            Some(Said::Done(overlay)) => Some(overlay),
            Some(Said::SetAside(..)) | None => None,
        };
        let in_log = letter.first.partition != BACKFILL;
        let written = in_log.then(|| self.memory.totals.log.sane(timestamp, self.now));
        let at = At { identity, offset, timestamp, written };
        let decision = match again {
            Again::Order(order) => E::settle(self, order, at, row)?,
            Again::Update(update) => E::update(self, update, at, row)?,
        };
        match decision {
            Decision::Applied => {
                self.desk().close(id, letter, DeadLetterState::Replayed)?;
                if let Some(overlay) = overlay {
                    self.lay(id, *overlay)?;
                }
                // With an identity, the delivery has the letter's name.
                if let (Again::Order(_), Some(_)) = (again, identity) {
                    self.memory.open.arrive(id);
                }
                Ok((Replayed::Apply, String::new()))
            }
            Decision::Refused { code, reason } => self.fail_again(refused(letter), code, reason),
        }
    }

    /// It stays open; its first origin stays, and its attempts add up. A record that waits for its delivery goes on waiting,
    /// whatever is wrong with a mended value.
    fn fail_again(&mut self, tried: Tried, code: &str, reason: String) -> Result<(Replayed, String)> {
        let Tried { id, letter, tries, is_mended } = tried;
        let sentence = format!("{code}: {reason}");
        let (code, reason) = match is_mended && is_early(&letter) {
            true => (letter.code, letter.reason),
            false => (code.to_owned(), reason),
        };
        let letter = Letter {
            code,
            reason,
            attempts: letter.attempts.saturating_add(tries),
            failed: (letter.failed.0, self.now),
            version: letter.version.saturating_add(1),
            ..letter
        };
        self.desk().put_and_tell(id, &letter)?;
        self.desk().unask(id)?;
        Ok((Replayed::Fail, sentence))
    }

    /// Closes an open letter for good.
    pub(super) fn discard(mut self, id: EventId, reason: &str) -> Result<ReplayRow> {
        let found = self.desk().letter(id)?;
        let row = |did, reason: String| ReplayRow { id, did, reason };
        let Some(letter) = found else { return Ok(row(Replayed::Fail, "there is no such dead letter".to_owned())) };
        if !letter.is_open() {
            return Ok(row(Replayed::Duplicate, format!("it is {} already", letter.state)));
        }
        let reason = format!("discarded: {reason} (it was: {})", letter.reason);
        let letter = Letter { reason: reason.clone(), ..letter };
        self.desk().close(id, letter, DeadLetterState::Discarded)?;
        self.finish()?;
        Ok(row(Replayed::Discard, reason))
    }
}

/// Requests without a mended value.
pub(super) fn as_they_are(ids: Vec<EventId>) -> Vec<Request> {
    ids.into_iter().map(|id| Request { id, value: None, reply: None }).collect()
}

impl<E: Effect> Settling<'_, '_, E> {
    /// Whether the record of a place without identity was replayed: then it counts as settled.
    pub(super) fn was_replayed(&mut self, here: Here<'_>, identity: Option<&Identity>, offset: i64) -> Result<bool> {
        if identity.is_some() || !self.memory.open.may_have(None, here.spot(offset)) {
            return Ok(false);
        }
        let letter = bytes_of(&self.tables.dead_letters, here.event_id(None, offset).as_bytes())?;
        let letter = letter.map(|row| Letter::decode(&row)).transpose()?;
        Ok(letter.is_some_and(|letter| letter.state == DeadLetterState::Replayed))
    }
}
