//! What is requested of dead letters, until a consumer's handler has been asked.
//!
//! ```text
//!  replay, fix --> requested: id -> request, mended value --page--> the consumer --Reply--> is it this request? -> replay
//! ```
//! A request goes with the letter that is closed, and with the try that fails.

use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use redb::{ReadTransaction, ReadableTable};
use tokio::sync::mpsc;

use super::effect::Effect;
use super::engine::Command;
use super::fault::fault;
use super::office::call;
use super::replay::Request;
use super::shared::Shared;
use super::tables::{DEAD_LETTERS, ORIGINALS, REQUESTED, bytes_of, if_there};
use super::topics::Topics;
use super::transaction::Settling;
use crate::order::{Identity, Order};
use crate::store::dead_letter::{About, Letter, decode_original};
use crate::store::pack::{Unpack, put_i64, put_optional};
use crate::store::replays::{ASKED_BEFORE, ASKED_FIRST, NOT_ASKED, who_does_it};
use crate::store::{EventId, ReplayRow, Replayed, Replays, Reply, Requested};
use crate::{Error, ErrorCode, Result};

/// The name of the row that says that a handler is asked first.
pub(super) const HANDLED: &str = "handled";
/// With so many bytes of records a page takes no further row.
const PAGE_BYTES: u64 = 1 << 20;

/// One request.
struct Wish {
    /// Names it.
    request: u64,
    /// A mended value.
    value: Option<Vec<u8>>,
}

impl Wish {
    fn encode(&self) -> Vec<u8> {
        let mut row = Vec::new();
        put_i64(self.request as i64, &mut row);
        put_optional(self.value.as_deref(), &mut row);
        row
    }

    fn decode(bytes: &[u8]) -> Result<Self> {
        let mut row = Unpack::new(bytes, "a request");
        let wish = Self { request: row.i64()? as u64, value: row.optional()?.map(<[u8]>::to_vec) };
        row.end()?;
        Ok(wish)
    }
}

/// The way to a store's requests. It keeps neither the store's thread nor its file open.
pub(super) struct Requests<O> {
    pub(super) calls: mpsc::WeakSender<Command<O>>,
    pub(super) shared: Arc<Shared>,
}

impl<O: Order> Replays for Requests<O> {
    fn set_handled(&self, is_handled: bool) -> BoxFuture<'_, Result<()>> {
        call(&self.calls, move |answer| Command::Handled(is_handled, answer)).boxed()
    }

    fn requested<'a>(&'a self, except: &'a [EventId], most: usize) -> BoxFuture<'a, Result<Vec<Requested>>> {
        async move {
            let (shared, except) = (Arc::clone(&self.shared), except.to_vec());
            let read = move || shared.read(|transaction| page(transaction, &except, most));
            let lost = |error| Error::new(ErrorCode::Internal, "a page was not read").caused_by(error);
            tokio::task::spawn_blocking(read).await.map_err(lost)?
        }
        .boxed()
    }

    fn settle(&self, reply: Reply) -> BoxFuture<'_, Result<ReplayRow>> {
        call(&self.calls, move |answer| Command::Reply(reply, answer)).boxed()
    }
}

fn page(transaction: &ReadTransaction, except: &[EventId], most: usize) -> Result<Vec<Requested>> {
    let Some(requests) = if_there(transaction, REQUESTED)? else { return Ok(Vec::new()) };
    let letters = transaction.open_table(DEAD_LETTERS).map_err(fault)?;
    let originals = transaction.open_table(ORIGINALS).map_err(fault)?;
    let topics = Topics::load(transaction)?;
    let (mut page, mut bytes) = (Vec::new(), 0_u64);
    for row in requests.iter().map_err(fault)? {
        let (id, wish) = row.map_err(fault)?;
        let id = EventId::new(*id.value());
        if except.contains(&id) {
            continue;
        }
        let letter = bytes_of(&letters, id.as_bytes())?.map(|row| Letter::decode(&row)).transpose()?;
        let original = bytes_of(&originals, id.as_bytes())?.map(|row| decode_original(&row)).transpose()?;
        let (Some(letter), Some(original)) = (letter, original) else { continue };
        let gone = || Error::new(ErrorCode::StoreCorrupt, "a dead letter's topic is not known");
        let topic = topics.get(letter.first.topic).ok_or_else(gone)?.clone();
        let Wish { request, value: mended } = Wish::decode(wish.value())?;
        bytes = bytes.saturating_add(letter.bytes);
        page.push(Requested {
            id,
            request,
            topic,
            partition: letter.first.partition,
            offset: letter.first.offset,
            timestamp: letter.timestamp,
            identity: letter.identity.as_deref().and_then(|header| Identity::from_header(header).ok()),
            original,
            mended,
        });
        if page.len() >= most || bytes >= PAGE_BYTES {
            break;
        }
    }
    Requested::sort(&mut page);
    Ok(page)
}

impl<E: Effect> Settling<'_, '_, E> {
    /// Says whether a handler is asked first.
    pub(super) fn set_handled(self, is_handled: bool) -> Result<()> {
        if is_handled {
            self.tables.meta.insert(HANDLED, [].as_slice()).map_err(fault)?;
        } else {
            self.tables.meta.remove(HANDLED).map_err(fault)?;
        }
        self.memory.handled = is_handled;
        Ok(())
    }

    /// Marks rows as requested. Updates of deliveries, about which no handler is asked, are tried at once.
    pub(super) fn request(mut self, requests: Vec<Request>, runs_here: bool) -> Result<Vec<ReplayRow>> {
        let asked: Vec<EventId> = requests.iter().map(|request| request.id).collect();
        let (mut rows, mut updates) = (Vec::new(), Vec::new());
        for request in requests {
            match self.desk().letter(request.id)? {
                Some(letter) if letter.about == About::Update => updates.push(request),
                letter => rows.push(self.request_one(request, letter, runs_here)?),
            }
        }
        if updates.is_empty() {
            return Ok(rows);
        }
        rows.extend(self.replay(updates)?);
        rows.sort_by_key(|row| asked.iter().position(|id| *id == row.id));
        Ok(rows)
    }

    fn request_one(&mut self, request: Request, letter: Option<Letter>, runs_here: bool) -> Result<ReplayRow> {
        let Request { id, value, .. } = request;
        let row = |did, reason: &str| Ok(ReplayRow { id, did, reason: reason.to_owned() });
        let Some(letter) = letter else { return row(Replayed::Fail, "there is no such dead letter") };
        if !letter.is_open() {
            return row(Replayed::Duplicate, &format!("it is {} already", letter.state));
        }
        if self.tables.originals.get(id.as_bytes()).map_err(fault)?.is_none() {
            return row(Replayed::Fail, "its record is not kept any more");
        }
        let before = bytes_of(&self.tables.requested, id.as_bytes())?.map(|row| Wish::decode(&row)).transpose()?;
        if before.is_some_and(|before| value.is_none() || before.value == value) {
            return row(Replayed::Request, ASKED_BEFORE);
        }
        let wish = Wish { request: fastrand::u64(..), value }.encode();
        self.tables.requested.insert(id.as_bytes(), wish.as_slice()).map_err(fault)?;
        row(Replayed::Request, who_does_it(runs_here))
    }

    /// Settles a requested row as its handler says.
    pub(super) fn reply(self, reply: Reply) -> Result<ReplayRow> {
        let id = reply.id;
        let wish = bytes_of(&self.tables.requested, id.as_bytes())?.map(|row| Wish::decode(&row)).transpose()?;
        let Some(wish) = wish.filter(|wish| wish.request == reply.request) else {
            return Ok(ReplayRow { id, did: Replayed::Duplicate, reason: NOT_ASKED.to_owned() });
        };
        let rows = self.replay(vec![Request { id, value: wish.value, reply: Some(reply) }])?;
        let lost = || Error::new(ErrorCode::Internal, "a reply was not answered");
        rows.into_iter().next().ok_or_else(lost)
    }

    /// What a replay would do; the caller gives it up.
    pub(super) fn plan(mut self, requests: Vec<Request>) -> Result<Vec<ReplayRow>> {
        let (mut ours, is_handled) = (Vec::new(), self.memory.handled);
        for request in &requests {
            let letter = self.desk().letter(request.id)?;
            ours.extend(letter.filter(|letter| letter.about == About::Order).map(|_| request.id));
        }
        let mut rows = self.replay(requests)?;
        for row in rows.iter_mut().filter(|row| is_handled && row.did == Replayed::Apply && ours.contains(&row.id)) {
            ASKED_FIRST.clone_into(&mut row.reason);
        }
        Ok(rows)
    }
}
