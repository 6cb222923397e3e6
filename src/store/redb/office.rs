//! The back office of a redb store.

use std::ops::Bound;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use futures::FutureExt;
use futures::future::BoxFuture;
use redb::ReadTransaction;
use tokio::sync::{mpsc, oneshot, watch};

use super::backup::back_up;
use super::effect::Effect;
use super::engine::{Command, gone};
use super::fault::{closed, fault};
use super::shared::Shared;
use super::tables::{DEAD_LETTERS, ORIGINALS, OUTBOX, bytes_of};
use super::topics::Topics;
use super::transaction::Settling;
use crate::order::Order;
use crate::store::dead_letter::{Letter, decode_original};
use crate::store::outbox::Filed;
use crate::store::{
    BACKFILL, BackOffice, EventId, Operation, Origin, Original, OutboxRow, Row, SetAside, SteeredRow, Steering, Waiting,
};
use crate::{Error, ErrorCode, Result};

/// How many rows of the outbox a page looks at.
const PAGE_ROWS: usize = 4_096;
/// How many letters a page has at most.
const PAGE_LETTERS: usize = 256;
/// With so many bytes of records a page takes no further one.
const PAGE_BYTES: u64 = 1 << 20;

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
    fn waiting(&self, after: u64) -> BoxFuture<'_, Result<Waiting>> {
        let shared = Arc::clone(&self.shared);
        async move {
            let read = tokio::task::spawn_blocking(move || shared.read(|transaction| page(transaction, after))).await;
            read.map_err(|error| Error::new(ErrorCode::Internal, "a page was not read").caused_by(error))?
        }
        .boxed()
    }

    fn published(&self, events: Vec<u64>) -> BoxFuture<'_, Result<()>> {
        async move { self.call(|answer| Command::Published(events, answer)).await }.boxed()
    }

    fn operate(&self, operation: Operation) -> BoxFuture<'_, Result<Vec<Row>>> {
        async move {
            match operation {
                Operation::Pause { topic, partition } => {
                    self.steer()?.pause(&topic, partition)?;
                    Ok(vec![Row::Steered(SteeredRow { topic, partition, paused: true, reason: None })])
                }
                Operation::Resume { topic, partition } => {
                    let reason = self.steer()?.resume(&topic, partition)?;
                    Ok(vec![Row::Steered(SteeredRow { topic, partition, paused: reason.is_some(), reason })])
                }
                Operation::Flight { to } => {
                    let steering = self.steer()?;
                    let written = tokio::task::spawn_blocking(move || steering.write_flight(to.as_deref())).await;
                    let lost = |error| Error::new(ErrorCode::Internal, "a recording was not written").caused_by(error);
                    Ok(vec![Row::Flight(written.map_err(lost)??)])
                }
                Operation::Backup { to } => {
                    let shared = Arc::clone(&self.shared);
                    let copied = tokio::task::spawn_blocking(move || back_up(&shared, &to)).await;
                    copied.map_err(|error| Error::new(ErrorCode::Internal, "a copy ended").caused_by(error))?
                }
                Operation::Replay { .. } | Operation::Fix { .. } | Operation::Discard { .. } => {
                    self.call(|answer| Command::Operate(operation, answer)).await
                }
            }
        }
        .boxed()
    }

    fn obey(&self, steering: Weak<dyn Steering>) {
        *self.steering.lock().unwrap_or_else(PoisonError::into_inner) = Some(steering);
    }

    fn path(&self) -> Option<PathBuf> {
        Some(self.shared.path().to_owned())
    }

    fn news(&self) -> watch::Receiver<u64> {
        self.news.clone()
    }
}

impl<O: Order> Office<O> {
    async fn call<T>(&self, command: impl FnOnce(oneshot::Sender<Result<T>>) -> Command<O> + Send) -> Result<T> {
        let (answer, answered) = oneshot::channel();
        let calls = self.calls.upgrade().ok_or_else(closed)?;
        calls.send(command(answer)).await.map_err(gone)?;
        answered.await.map_err(gone)?
    }

    fn steer(&self) -> Result<Arc<dyn Steering>> {
        let named = self.steering.lock().unwrap_or_else(PoisonError::into_inner).as_ref().and_then(Weak::upgrade);
        named.ok_or_else(|| Error::new(ErrorCode::Closed, "no running consumer holds the store"))
    }
}

impl<E: Effect> Settling<'_, '_, E> {
    /// Lets events go whose publication is acknowledged.
    pub(super) fn published(self, events: &[u64]) -> Result<()> {
        for event in events {
            self.tables.outbox.remove(event).map_err(fault)?;
        }
        Ok(())
    }
}

pub(super) fn page(transaction: &ReadTransaction, after: u64) -> Result<Waiting> {
    let topics = Topics::load(transaction)?;
    let outbox = transaction.open_table(OUTBOX).map_err(fault)?;
    let letters = transaction.open_table(DEAD_LETTERS).map_err(fault)?;
    let originals = transaction.open_table(ORIGINALS).map_err(fault)?;
    let (mut page, mut bytes) = (Waiting { until: after, is_last: true, ..Waiting::default() }, 0_u64);
    for (row, looked_at) in outbox.range((Bound::Excluded(after), Bound::Unbounded)).map_err(fault)?.zip(0..) {
        let (number, value) = row.map_err(fault)?;
        if looked_at == PAGE_ROWS || page.letters.len() == PAGE_LETTERS || bytes >= PAGE_BYTES {
            page.is_last = false;
            break;
        }
        page.until = number.value();
        let OutboxRow::DeadLetter { id, version } = Filed::decode(value.value())?.row else { continue };
        let letter = bytes_of(&letters, id.as_bytes())?.map(|row| Letter::decode(&row)).transpose()?;
        let newest = letter.filter(|letter| letter.is_open() && letter.version == version);
        let original = bytes_of(&originals, id.as_bytes())?;
        let (Some(letter), Some(original)) = (newest, original) else {
            page.spent.push(number.value());
            continue;
        };
        bytes = bytes.saturating_add(letter.bytes);
        page.letters.push((number.value(), set_aside(&topics, id, letter, decode_original(&original)?)?));
    }
    Ok(page)
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
