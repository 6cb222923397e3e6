//! Settling in a store what a handler has decided: its effect, with what the handler adds, and the position, at once.
//!
//! ```text
//!  answer --> decided (grows) --when nothing is in flight--> store.apply --> settled: ledger, observer, commit
//!                ^                                                |
//!                +---- the same batch after a wait, same tokens <-+ failed
//! ```
//! A lane is free as soon as its order is decided. The next one of its key is decided into the same transaction, where it
//! stands behind it, or into a later one.

use std::borrow::Cow;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use litemap::LiteMap;

use super::super::super::commit::{Committed, Note};
use super::super::super::control::Concern;
use super::super::contest::{CONFLICTS, contested};
use super::aside::original;
use super::call::Answer;
use super::*;
use crate::backoff::Backoff;
use crate::error::told;
use crate::flight::Because;
use crate::place::Place;
use crate::store::REFUSED;
use crate::store::{Applied, Batch, DeadLetter, Entry, Overlay, Part, Store, Work};
use crate::{Error, ErrorCode};

/// What stands behind a handler: where its dead letters go, and who keeps the positions.
pub(crate) enum Backing<O> {
    /// Dead letters go to their topic, positions to Kafka.
    Topics(Arc<dyn Letterbox>),
    /// Both go into a store, with the orders' effects.
    Store(Arc<dyn Settles<O>>),
}

/// A store that settles what a handler has decided.
pub(crate) trait Settles<O>: Send + Sync {
    fn name(&self) -> &str;
    fn apply(&self, batch: Batch<O>) -> BoxFuture<'static, Result<Applied>>;
    fn close(&self) -> BoxFuture<'_, Result<()>>;
}

/// Any store, behind one type.
pub(crate) struct Settler<S>(pub(crate) Arc<S>);

impl<O: Order, S: Store<O>> Settles<O> for Settler<S> {
    fn name(&self) -> &str {
        &self.0.identity().name
    }

    fn apply(&self, batch: Batch<O>) -> BoxFuture<'static, Result<Applied>> {
        let store = self.0.clone();
        async move { store.apply(batch).await }.boxed()
    }

    fn close(&self) -> BoxFuture<'_, Result<()>> {
        self.0.close().boxed()
    }
}

/// What a handler decided of an order.
#[derive(Debug)]
pub(super) enum Decision {
    /// The store applies it, with what the handler adds.
    Apply(Option<Box<Overlay>>),
    /// The business says no, under this code.
    Refuse(Cow<'static, str>),
    /// It cannot be dealt with, for this code and reason.
    SetAside((Cow<'static, str>, String)),
}

/// An order that is decided.
#[derive(Debug)]
struct Decided {
    item: Item,
    decision: Decision,
}

/// The way of decided orders into a store.
pub(super) struct Within<O> {
    store: Arc<dyn Settles<O>>,
    backoff: Backoff,
    decided: Vec<Decided>,
    flight: Option<Flight>,
    /// How many orders are decided, in flight or not, and how many bytes they are.
    in_hand: (usize, usize),
}

/// A transaction under way, with all that is needed to give it again.
struct Flight {
    topic: Topic,
    parts: Vec<Sealed>,
    phase: Phase,
    failures: u32,
}

enum Phase {
    Applying(BoxFuture<'static, Result<Applied>>),
    Waiting(BoxFuture<'static, ()>),
}

/// What a transaction settles of one partition.
struct Sealed {
    partition: i32,
    life: u64,
    expected: u64,
    token: u128,
    /// Where the position will stand: next, settled beyond it, leader epoch.
    end: (i64, crate::store::Settled, i32),
    decided: Vec<Decided>,
}

impl Sealed {
    /// Everything that is decided of a partition. It is over at the latest when the partition begins anew.
    fn of(row: &Row, mut decided: Vec<Decided>) -> Self {
        decided.sort_unstable_by_key(|decided| decided.item.offset);
        let mut end = Ledger::clone(&row.ledger);
        decided.iter().for_each(|decided| end.settle(decided.item.offset));
        Self {
            partition: row.origin.at.partition,
            life: row.life,
            expected: row.stored.version,
            token: fastrand::u128(..),
            end: (end.next(), end.settled().clone(), end.leader_epoch()),
            decided,
        }
    }

    fn part<O: Order>(&self, decoder: &mut Decoder) -> Part<O> {
        let (next, settled, leader_epoch) = self.end.clone();
        let entries = self.decided.iter().map(|decided| decided.entry(decoder)).collect();
        let (partition, expected, token) = (self.partition, self.expected, self.token);
        Part { partition, expected, token, next, settled, leader_epoch, entries }
    }
}

impl Decided {
    fn entry<O: Order>(&self, decoder: &mut Decoder) -> Entry<O> {
        let Item { offset, timestamp, attempt, record, .. } = &self.item;
        let read = decoder.decode::<O>(record.value(), record.headers());
        let letter = |code: &Cow<'static, str>, reason: String| DeadLetter {
            code: code.clone(),
            reason,
            attempts: *attempt,
            original: original(record),
        };
        let work = match (&self.decision, read.order) {
            (Decision::Apply(None), Ok(order)) => Work::Apply(order),
            (Decision::Apply(Some(overlay)), Ok(order)) => Work::ApplyWith(order, overlay.clone()),
            (Decision::Apply(_), Err(violation)) => {
                Work::DeadLetter(letter(&violation.code().as_str().into(), violation.to_string()))
            }
            (Decision::Refuse(code), _) => Work::Refuse(letter(code, REFUSED.to_owned())),
            (Decision::SetAside((code, reason)), _) => Work::DeadLetter(letter(code, reason.clone())),
        };
        Entry { offset: *offset, timestamp: *timestamp, identity: read.identity, work }
    }

    fn len(&self) -> usize {
        let added = if let Decision::Apply(Some(overlay)) = &self.decision { overlay.len() } else { 0 };
        self.item.record.len().saturating_add(added)
    }
}

impl<O: Order> Within<O> {
    pub(super) fn new(store: Arc<dyn Settles<O>>, backoff: Backoff) -> Self {
        Self { store, backoff, decided: Vec::new(), flight: None, in_hand: (0, 0) }
    }

    /// Takes an order that is decided.
    pub(super) fn take(&mut self, item: Item, decision: Decision) {
        let (decided, (orders, bytes)) = (Decided { item, decision }, self.in_hand);
        self.in_hand = (orders.saturating_add(1), bytes.saturating_add(decided.len()));
        self.decided.push(decided);
    }

    /// How many orders are decided and not settled, and how many bytes they are.
    pub(super) fn in_hand(&self) -> (usize, usize) {
        self.in_hand
    }

    fn let_go<'d>(&mut self, decided: impl Iterator<Item = &'d Decided>) {
        let (orders, bytes) = &mut self.in_hand;
        for decided in decided {
            (*orders, *bytes) = (orders.saturating_sub(1), bytes.saturating_sub(decided.len()));
        }
    }

    /// Whether something of a partition is left to be settled.
    pub(super) fn has(&self, partition: i32, row: &Row) -> bool {
        let flies = self.flight.iter().flat_map(|flight| &flight.parts).any(|part| part.partition == partition);
        flies || is_behind(row) || self.decided.iter().any(|decided| decided.item.partition == partition)
    }

    pub(super) fn is_idle(&self, rows: &LiteMap<i32, Row>) -> bool {
        self.flight.is_none() && self.decided.is_empty() && !rows.values().any(is_behind)
    }

    pub(super) fn obstacle(&self, partition: i32) -> Option<String> {
        let flight = self.flight.as_ref()?;
        flight.parts.iter().find(|part| part.partition == partition)?;
        let what = if flight.failures > 0 { "fails" } else { "has not answered the transaction that moves it" };
        Some(format!("the store {} {what}; see its disk", self.store.name()))
    }

    /// Where a partition stands, as it is committed (rule R10).
    pub(super) fn standing(&self, row: &Row) -> Committed {
        let (name, version) = (self.store.name().to_owned(), row.stored.version);
        let (tried, tripped) = (row.tries.unsettled(&row.ledger), row.breaker.undecided());
        let note = Note::Store { name, version, topic: Some(row.origin.id), tried, tripped };
        let (offset, leader_epoch) = (row.stored.next, row.stored.leader_epoch);
        Committed { offset, leader_epoch, text: note.write(offset) }
    }

    pub(super) fn close(&self) -> BoxFuture<'_, Result<()>> {
        self.store.close()
    }

    /// Gives the store what is decided, if it is its turn. Returns whether it was.
    fn launch(&mut self, rows: &LiteMap<i32, Row>, decoder: &mut Decoder) -> bool {
        if self.flight.is_some() {
            return false;
        }
        let mut decided = std::mem::take(&mut self.decided);
        let (mut parts, mut topic) = (Vec::new(), None);
        for (partition, row) in rows {
            let is_own = |decided: &mut Decided| decided.item.partition == *partition && decided.item.life == row.life;
            let own: Vec<Decided> = decided.extract_if(.., is_own).collect();
            if row.lost {
                self.let_go(own.iter());
            } else if !own.is_empty() || is_behind(row) {
                topic.get_or_insert_with(|| Topic::new(row.origin.id, row.origin.at.topic.clone()));
                parts.push(Sealed::of(row, own));
            }
        }
        // What is left is of lives that are over: whoever has the partition now decides anew.
        self.let_go(decided.iter());
        let Some(topic) = topic else { return false };
        let phase = Phase::Applying(self.store.apply(batch(&topic, &parts, decoder)));
        self.flight = Some(Flight { topic, parts, phase, failures: 0 });
        true
    }

    async fn landed(&mut self) -> Result<Applied> {
        let Some(flight) = &mut self.flight else { return std::future::pending().await };
        loop {
            match &mut flight.phase {
                Phase::Applying(applying) => return applying.await,
                Phase::Waiting(wait) => {
                    wait.await;
                    let batch = batch(&flight.topic, &flight.parts, &mut Decoder::default());
                    flight.phase = Phase::Applying(self.store.apply(batch));
                }
            }
        }
    }

    /// Takes the transaction that has landed.
    fn arrived(&mut self) -> Option<Flight> {
        let flight = self.flight.take()?;
        self.let_go(flight.parts.iter().flat_map(|part| &part.decided));
        Some(flight)
    }

    /// The store failed, and whether it has committed is unknown: the same again after a wait (rule R5).
    fn try_again(&mut self) -> Duration {
        let Some(flight) = &mut self.flight else { return Duration::ZERO };
        let wait = self.backoff.delay(flight.failures, fastrand::f64());
        flight.failures = flight.failures.saturating_add(1);
        flight.phase = Phase::Waiting(tokio::time::sleep(wait).boxed());
        wait
    }
}

/// Whether the ledger has passed offsets without orders that the store does not know to be passed.
fn is_behind(row: &Row) -> bool {
    !row.lost && row.ledger.next() > row.stored.next
}

fn batch<O: Order>(topic: &Topic, parts: &[Sealed], decoder: &mut Decoder) -> Batch<O> {
    Batch { topic: topic.clone(), parts: parts.iter().map(|part| part.part(decoder)).collect() }
}

/// Waits for the store's answer, if it was asked something. Where this is dropped the transaction goes on; call again.
pub(super) async fn landed<O: Order>(within: &mut Option<Within<O>>) -> Result<Applied> {
    match within {
        Some(within) => within.landed().await,
        None => std::future::pending().await,
    }
}

impl<O, C, F> HandlerDispatch<O, C, F>
where
    O: Order,
    C: Fn(Delivered<O>) -> F + Send,
    F: Future<Output = Answer> + Send,
{
    /// Moves on what a store settles. Returns whether anything did.
    pub(super) fn settle_within(&mut self, context: &mut Context<'_>) -> bool {
        let Some(within) = &mut self.within else { return false };
        let polled = pin!(within.landed()).poll(context);
        let has_landed = polled.is_ready();
        if let Poll::Ready(landed) = polled {
            self.landed(landed);
        }
        let launched = self.within.as_mut().is_some_and(|within| within.launch(&self.rows, &mut self.decoder));
        has_landed || launched
    }

    /// Where a partition's position is, as it is committed.
    pub(super) fn position_of(&self, row: &Row) -> i64 {
        if self.within.is_some() { row.stored.next } else { row.ledger.next() }
    }

    pub(super) fn landed(&mut self, landed: Result<Applied>) {
        match landed {
            Ok(applied) => self.applied(applied),
            Err(error) if matches!(error.code(), ErrorCode::StoreConflict | ErrorCode::StoreFull) => {
                self.undone(&error)
            }
            Err(error) if error.is_retriable() => {
                let reason = told(&error);
                let wait = self.within.as_mut().map(Within::try_again);
                tracing::warn!(reason, ?wait, "the store fails; the transaction is tried again");
                self.teller.control().concern(Concern::Store, format!("the store fails: {reason}"));
                self.teller.count_retry();
                self.teller.publish();
            }
            // The store has stopped: only a person, or another process, leads out.
            Err(error) => {
                self.give_up();
                self.steps.push_back(Step::Failed(error));
            }
        }
    }

    fn applied(&mut self, applied: Applied) {
        let Some(flight) = self.within.as_mut().and_then(Within::arrived) else { return };
        self.teller.control().relieve(Concern::Store);
        for (sealed, part) in flight.parts.into_iter().zip(applied.parts) {
            if let Some(row) = self.rows.get_mut(&sealed.partition).filter(|row| row.life == sealed.life) {
                (row.stored, row.conflicts) = (part.position, 0);
                if !std::mem::replace(&mut row.moved, true) {
                    self.moved.push(sealed.partition);
                }
            }
            for (decided, outcome) in sealed.decided.iter().zip(&part.outcomes) {
                self.settled(&decided.item, outcome);
            }
        }
    }

    /// Nothing more of what was asked is settled here.
    fn give_up(&mut self) {
        let flight = self.within.as_mut().and_then(Within::arrived);
        for Sealed { partition, life, .. } in flight.into_iter().flat_map(|flight| flight.parts) {
            if let Some(row) = self.rows.get_mut(&partition).filter(|row| row.life == life) {
                row.lost = true;
            }
        }
    }

    /// Nothing of the transaction is applied: somebody else moved a position, or dead letters have no room left.
    fn undone(&mut self, error: &Error) {
        let Some(flight) = self.within.as_mut().and_then(Within::arrived) else { return };
        let (named, is_full) = (error.place().partition, error.code() == ErrorCode::StoreFull);
        tracing::warn!(error = told(error), "a transaction is not applied");
        if !is_full {
            self.teller.control().flights().trouble(Because::Fence);
            self.teller.count_retry();
        }
        for Sealed { partition, life, .. } in flight.parts {
            let Some(row) = self.rows.get_mut(&partition).filter(|row| row.life == life) else { continue };
            let is_named = named.is_none_or(|named| named == partition);
            row.conflicts = row.conflicts.saturating_add(u32::from(is_named && !is_full));
            let at = Place::partition(&row.origin.at);
            let stops = if is_full { is_named } else { row.conflicts >= CONFLICTS };
            row.lost = true;
            self.retire(partition);
            self.steps.push_back(match stops {
                true if is_full => {
                    Step::Stopped { partition, error: Error::new(ErrorCode::StoreFull, told(error)).at(at) }
                }
                true => Step::Stopped { partition, error: contested(at) },
                false => Step::Restart { partition },
            });
        }
    }
}
