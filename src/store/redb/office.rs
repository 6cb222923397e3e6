//! The back office of a redb store.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use futures::FutureExt;
use futures::future::BoxFuture;
use redb::{ReadOnlyTable, ReadTransaction, ReadableTable, ReadableTableMetadata};
use tokio::sync::{mpsc, oneshot, watch};

use super::backup::back_up;
use super::effect::Effect;
use super::engine::{Command, gone};
use super::fault::{closed, fault};
use super::lives::Lives;
use super::requests::Requests;
use super::shared::Shared;
use super::tables::{DEAD_LETTERS, LEDGER, ORIGINALS, OUTBOX, bytes_of};
use super::topics::Topics;
use super::transaction::Settling;
use crate::order::{DeliveryOrder, DeliveryUpdate, Order};
use crate::store::dead_letter::{Letter, decode_original};
use crate::store::ledger::LedgerReader;
use crate::store::moves::{among_updates, check_reason};
use crate::store::outbox::Filed;
use crate::store::tidings::{moved, scheduled};
use crate::store::{
    Applied, BACKFILL, BackOffice, Backlog, Batch, DeliveryTold, Done, EventId, Leases, LowStock, Mark, Moves,
    Operation, Origin, Original, OutboxRow, Position, Replays, Row, SetAside, Start, Steering, StoreIdentity, Tidings,
    Topic, Waiting, WaitingEvent,
};
use crate::{Error, ErrorCode, Result};

/// How many rows of the outbox a page looks at.
const PAGE_ROWS: usize = 4_096;
/// How many events a page has at most.
const PAGE_EVENTS: usize = 256;
/// With so many bytes of records a page takes no further one.
const PAGE_BYTES: u64 = 1 << 20;
/// What the event of one delivery or product counts for.
const EVENT_BYTES: u64 = 256;

/// The way to the events. It keeps neither the store's thread nor its file open.
pub(super) struct Office<O> {
    pub(super) calls: mpsc::WeakSender<Command<O>>,
    pub(super) shared: Arc<Shared>,
    pub(super) news: watch::Receiver<u64>,
    /// The consumer that operators steer.
    pub(super) steering: Steered,
}

/// Where the consumer is named that operators steer.
pub(super) type Steered = Arc<Mutex<Option<Weak<dyn Steering>>>>;

impl<O: Order> BackOffice for Office<O> {
    fn waiting(&self, after: Mark, _shards: u64) -> BoxFuture<'_, Result<Waiting>> {
        self.look(move |transaction| page(transaction, after)).boxed()
    }

    fn published(&self, events: Vec<Done>, _leases: Leases) -> BoxFuture<'_, Result<u64>> {
        async move { self.call(|answer| Command::Published(events, answer)).await.map(|()| 0) }.boxed()
    }

    fn backlog(&self) -> BoxFuture<'_, Result<Backlog>> {
        self.look(backlog).boxed()
    }

    fn operate(&self, operation: Operation) -> BoxFuture<'_, Result<Vec<Row>>> {
        async move {
            match operation {
                Operation::Pause { topic, partition } => self.steer()?.answer_pause(topic, partition),
                Operation::Resume { topic, partition } => self.steer()?.answer_resume(topic, partition),
                Operation::Flight { to } => self.steer()?.answer_flight(to).await,
                Operation::Backup { to } => {
                    let shared = Arc::clone(&self.shared);
                    let copied = tokio::task::spawn_blocking(move || back_up(&shared, &to)).await;
                    copied.map_err(|error| Error::new(ErrorCode::Internal, "a copy ended").caused_by(error))?
                }
                Operation::Move { ref reason, .. } => {
                    check_reason(reason.as_deref())?;
                    self.call(|answer| Command::Operate(operation, false, answer)).await
                }
                Operation::Replay { .. } | Operation::Fix { .. } | Operation::Discard { .. } => {
                    let runs_here = self.steer().is_ok();
                    self.call(|answer| Command::Operate(operation, runs_here, answer)).await
                }
            }
        }
        .boxed()
    }

    fn obey(&self, steering: Weak<dyn Steering>) {
        *self.steering.lock().unwrap_or_else(PoisonError::into_inner) = Some(steering);
    }

    fn moves(&self) -> Option<Arc<dyn Moves>> {
        let keeps_deliveries = O::TYPE == DeliveryOrder::TYPE;
        let mover = || Mover { calls: self.calls.clone(), shared: Arc::clone(&self.shared) };
        keeps_deliveries.then(|| Arc::new(mover()) as Arc<dyn Moves>)
    }

    fn replays(&self) -> Option<Arc<dyn Replays>> {
        Some(Arc::new(Requests { calls: self.calls.clone(), shared: Arc::clone(&self.shared) }))
    }

    fn path(&self) -> Option<PathBuf> {
        Some(self.shared.path().to_owned())
    }

    fn news(&self) -> watch::Receiver<u64> {
        self.news.clone()
    }
}

impl<O: Order> Office<O> {
    /// Reads what is committed now, where it may block.
    async fn look<T: Send + 'static>(
        &self,
        work: impl FnOnce(&ReadTransaction) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let shared = Arc::clone(&self.shared);
        let read = tokio::task::spawn_blocking(move || shared.read(work)).await;
        read.map_err(|error| Error::new(ErrorCode::Internal, "a page was not read").caused_by(error))?
    }

    async fn call<T>(&self, command: impl FnOnce(oneshot::Sender<Result<T>>) -> Command<O> + Send) -> Result<T> {
        call(&self.calls, command).await
    }

    fn steer(&self) -> Result<Arc<dyn Steering>> {
        let named = self.steering.lock().unwrap_or_else(PoisonError::into_inner).as_ref().and_then(Weak::upgrade);
        named.ok_or_else(|| Error::new(ErrorCode::Closed, "no running consumer holds the store"))
    }
}

pub(super) async fn call<O: Order, T>(
    calls: &mpsc::WeakSender<Command<O>>,
    command: impl FnOnce(oneshot::Sender<Result<T>>) -> Command<O> + Send,
) -> Result<T> {
    let (answer, answered) = oneshot::channel();
    let calls = calls.upgrade().ok_or_else(closed)?;
    calls.send(command(answer)).await.map_err(gone)?;
    answered.await.map_err(gone)?
}

/// The way to the store's deliveries. It keeps neither the store's thread nor its file open.
struct Mover<O> {
    calls: mpsc::WeakSender<Command<O>>,
    shared: Arc<Shared>,
}

impl<O: Order> Moves for Mover<O> {
    fn identity(&self) -> &StoreIdentity {
        self.shared.identity()
    }

    fn positions<'a>(&'a self, topic: &'a Topic) -> BoxFuture<'a, Result<BTreeMap<i32, Position>>> {
        call(&self.calls, |answer| Command::Positions(topic.clone(), answer)).boxed()
    }

    fn apply(&self, batch: Batch<DeliveryUpdate>) -> BoxFuture<'_, Result<Applied>> {
        call(&self.calls, |answer| Command::Move(among_updates(batch), answer)).boxed()
    }

    fn set_position<'a>(&'a self, topic: &'a Topic, start: Start) -> BoxFuture<'a, Result<Position>> {
        call(&self.calls, |answer| Command::Start(topic.clone(), start, answer)).boxed()
    }
}

impl<E: Effect> Settling<'_, '_, E> {
    /// Lets events go whose publication is acknowledged.
    pub(super) fn published(self, events: &[Done]) -> Result<()> {
        let mut told: Vec<(u64, u8)> = events.iter().map(|done| (done.number, 1 << done.part.min(1))).collect();
        told.sort_unstable();
        for same in told.chunk_by(|before, after| before.0 == after.0) {
            let (number, parts) = same.iter().fold((0, 0), |(_, parts), (number, part)| (*number, parts | part));
            let Some(mut filed) = bytes_of(&self.tables.outbox, number)?.map(|row| Filed::decode(&row)).transpose()?
            else {
                continue;
            };
            filed.told |= parts;
            if filed.row.left(filed.told) == [0, 0] {
                self.tables.outbox.remove(number).map_err(fault)?;
            } else {
                let mut row = Vec::new();
                filed.encode(&mut row);
                self.tables.outbox.insert(number, row.as_slice()).map_err(fault)?;
            }
        }
        Ok(())
    }
}

/// How many rows wait, and since when.
pub(super) fn backlog(transaction: &ReadTransaction) -> Result<Backlog> {
    let outbox = transaction.open_table(OUTBOX).map_err(fault)?;
    let oldest = outbox.first().map_err(fault)?.map(|(_, row)| Filed::decode(row.value()).map(|filed| filed.at));
    Ok(Backlog { rows: outbox.len().map_err(fault)?, oldest: oldest.transpose()? })
}

pub(super) fn page(transaction: &ReadTransaction, after: Mark) -> Result<Waiting> {
    let outbox = transaction.open_table(OUTBOX).map_err(fault)?;
    let topics = Topics::load(transaction)?;
    let mut teller = Teller::new(transaction, &topics)?;
    let mut page = Waiting { until: after, is_last: true, ..Waiting::default() };
    for (row, looked_at) in outbox.range((Bound::Excluded(after.event), Bound::Unbounded)).map_err(fault)?.zip(0..) {
        let (number, value) = row.map_err(fault)?;
        if looked_at == PAGE_ROWS || page.events.len() == PAGE_EVENTS || teller.bytes >= PAGE_BYTES {
            page.is_last = false;
            break;
        }
        let (number, filed) = (number.value(), Filed::decode(value.value())?);
        page.until.event = number;
        match teller.tell(&filed.row)? {
            Some(tidings) => page.events.push(WaitingEvent { number, left: filed.row.left(filed.told), tidings }),
            None => page.spent.push(number),
        }
    }
    Ok(page)
}

/// Reads what rows refer to.
struct Teller<'t> {
    topics: &'t Topics,
    lives: Option<Lives<'t>>,
    letters: ReadOnlyTable<&'static [u8; 16], &'static [u8]>,
    originals: ReadOnlyTable<&'static [u8; 16], &'static [u8]>,
    ledger: ReadOnlyTable<(u64, u32), &'static [u8]>,
    /// How much was read.
    bytes: u64,
}

impl<'t> Teller<'t> {
    fn new(transaction: &ReadTransaction, topics: &'t Topics) -> Result<Self> {
        Ok(Self {
            topics,
            lives: Lives::of(transaction, topics)?,
            letters: transaction.open_table(DEAD_LETTERS).map_err(fault)?,
            originals: transaction.open_table(ORIGINALS).map_err(fault)?,
            ledger: transaction.open_table(LEDGER).map_err(fault)?,
            bytes: 0,
        })
    }

    /// What a row tells; none: nothing any more.
    fn tell(&mut self, row: &OutboxRow) -> Result<Option<Tidings>> {
        Ok(match row {
            OutboxRow::DeadLetter { id, version } => self.letter(*id, *version)?.map(Box::new).map(Tidings::Letter),
            OutboxRow::Scheduled { transaction, first_row, rows } => {
                Some(Tidings::Scheduled(self.scheduled((*transaction, *first_row), *rows)?))
            }
            OutboxRow::Moved { id, version } => self.moved(*id, Some(*version))?.map(Tidings::Moved),
            OutboxRow::Returned { id } => self.moved(*id, None)?.map(Tidings::Returned),
            OutboxRow::Own(event) => {
                self.bytes = self.bytes.saturating_add(event.value.len() as u64).saturating_add(EVENT_BYTES);
                Some(Tidings::Own(event.clone()))
            }
            OutboxRow::StockAlert { product_id, stock, reorder_level, movements, at } => {
                let (stock, reorder_level, movements, at) = (*stock, *reorder_level, *movements, *at);
                self.bytes = self.bytes.saturating_add(EVENT_BYTES);
                let product_id = product_id.clone();
                Some(Tidings::LowStock(LowStock { product_id, stock, reorder_level, movements, at }))
            }
        })
    }

    /// A delivery at a version; `None` for the version: as it is now.
    fn moved(&mut self, id: EventId, version: Option<u32>) -> Result<Option<Box<DeliveryTold>>> {
        self.bytes = self.bytes.saturating_add(EVENT_BYTES);
        let Some(known) = self.lives.as_ref().map(|lives| lives.known(id)).transpose()?.flatten() else {
            return Ok(None);
        };
        let version = version.unwrap_or(known.life.version);
        Ok(moved(known, version).map(Box::new))
    }

    fn letter(&mut self, id: EventId, version: u32) -> Result<Option<SetAside>> {
        let letter = bytes_of(&self.letters, id.as_bytes())?.map(|row| Letter::decode(&row)).transpose()?;
        let newest = letter.filter(|letter| letter.is_open() && letter.version == version);
        let original = bytes_of(&self.originals, id.as_bytes())?;
        let (Some(letter), Some(original)) = (newest, original) else { return Ok(None) };
        self.bytes = self.bytes.saturating_add(letter.bytes);
        set_aside(self.topics, id, letter, decode_original(&original)?).map(Some)
    }

    fn scheduled(&mut self, (transaction, first): (u64, u32), rows: u32) -> Result<Vec<DeliveryTold>> {
        let mut told = Vec::new();
        let rows = (transaction, first)..(transaction, first.saturating_add(rows));
        for row in self.ledger.range(rows).map_err(fault)? {
            let (_, value) = row.map_err(fault)?;
            let mut row = LedgerReader::new(value.value())?;
            let unknown = || Error::new(ErrorCode::StoreCorrupt, "a row names a topic that the store has not");
            let topic = self.topics.get(row.head().topic).ok_or_else(unknown)?;
            scheduled(&mut row, topic, &mut told)?;
        }
        self.bytes = self.bytes.saturating_add(told.len() as u64 * EVENT_BYTES);
        Ok(told)
    }
}

fn set_aside(topics: &Topics, id: EventId, letter: Letter, original: Original) -> Result<SetAside> {
    let spot = letter.first;
    let unknown = || Error::new(ErrorCode::StoreCorrupt, "a row names a topic that the store has not");
    let topic = topics.get(spot.topic).ok_or_else(unknown)?.name.clone();
    let in_log = spot.partition != BACKFILL;
    Ok(SetAside {
        id,
        version: letter.version,
        kind: letter.kind,
        code: letter.code,
        reason: letter.reason,
        origin: in_log.then_some(Origin { topic, partition: spot.partition, offset: spot.offset }),
        timestamp: letter.timestamp,
        attempts: letter.attempts,
        first_failed: letter.failed.0,
        last_failed: letter.failed.1,
        original,
    })
}
