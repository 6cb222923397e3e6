//! Replays that a consumer's handler is asked about before the store applies them.
//!
//! ```text
//!  operator --> requested: the row stays open, one request each
//!                  |  a page at a time
//!                  v
//!               validator, handler --Reply--> one transaction: is it this request? -> identity, effect, overlay | open again
//! ```
//! A request is compared and taken in the transaction that settles it, so that whoever comes second changes nothing.

use std::borrow::Cow;

use futures::future::BoxFuture;

use super::{EventId, Original, Overlay, ReplayRow, Topic};
use crate::Result;
use crate::order::{Identity, Violation};

/// What a plan says of a row that the store would apply.
pub(crate) const ASKED_FIRST: &str = "once the handler of its consumer has been asked";
/// What is told of a row that is requested already.
pub(crate) const ASKED_BEFORE: &str = "it was asked for before";
/// What is told of an order that its handler refuses.
pub(crate) const REFUSED: &str = "the handler refuses the order";
/// What is told of an answer that comes too late.
pub(crate) const NOT_ASKED: &str = "its replay is not asked for any more";

/// Whether a consumer that would do what is requested runs in this process.
pub(crate) fn who_does_it(runs_here: bool) -> &'static str {
    if runs_here {
        "the running consumer asks its handler and applies it"
    } else {
        "the consumer asks its handler and applies it, as soon as it runs"
    }
}

/// The way to the replays of a store whose consumer asks a handler first.
pub trait Replays: Send + Sync {
    /// Says durably whether the consumer of this store asks a handler about an order before the store applies it. If it does, an
    /// operator's replay only marks rows as requested, also while no consumer runs.
    ///
    /// # Errors
    /// [`crate::ErrorCode::StoreIo`], [`crate::ErrorCode::StoreCorrupt`], [`crate::ErrorCode::Closed`].
    ///
    /// # Cancel safety
    /// It may be said all the same; call again.
    fn set_handled(&self, is_handled: bool) -> BoxFuture<'_, Result<()>>;

    /// At most so many rows that are requested, but for these; in the order of their logs.
    ///
    /// # Errors
    /// As [`Replays::set_handled`].
    ///
    /// # Cancel safety
    /// Nothing changes.
    fn requested<'a>(&'a self, except: &'a [EventId], most: usize) -> BoxFuture<'a, Result<Vec<Requested>>>;

    /// Settles a requested row in one durable transaction, which changes no position of a log: with the effect and what the
    /// handler adds, or as refused, or as open again. A reply to a request that is not there any more changes nothing.
    ///
    /// # Errors
    /// As [`Replays::set_handled`]; whether it is settled is unknown then. Call again.
    ///
    /// # Cancel safety
    /// It may be settled all the same; call again.
    fn settle(&self, reply: Reply) -> BoxFuture<'_, Result<ReplayRow>>;
}

/// A dead letter or a refusal whose replay is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requested {
    /// Its name.
    pub id: EventId,
    /// Names the request.
    pub request: u64,
    /// The topic of the first copy.
    pub topic: Topic,
    /// The partition of the first copy; [`super::BACKFILL`] for a backfilled order.
    pub partition: i32,
    /// The offset of the first copy.
    pub offset: i64,
    /// The first copy's timestamp.
    pub timestamp: i64,
    /// The order's identity, if it has one.
    pub identity: Option<Identity>,
    /// The record as it was read.
    pub original: Original,
    /// The value that takes the place of the record's.
    pub mended: Option<Vec<u8>>,
}

impl Requested {
    /// Puts rows in the order of their logs.
    pub(crate) fn sort(rows: &mut [Self]) {
        rows.sort_by(|one, next| {
            let place = |row: &Self| (row.topic.name.clone(), row.partition, row.offset);
            place(one).cmp(&place(next))
        });
    }

    /// The value that is tried again.
    ///
    /// # Errors
    /// The rule that the record breaks.
    pub(crate) fn value(&self) -> Result<&[u8], Violation> {
        value_again(&self.original, self.mended.as_deref())
    }
}

/// What a handler says of a requested row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Which row.
    pub id: EventId,
    /// The request that is answered.
    pub request: u64,
    /// How often it was tried for this reply, at least 1.
    pub tries: u32,
    /// What it says.
    pub said: Said,
}

/// What a handler says of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// The store applies it, with what the handler adds.
    Done(Box<Overlay>),
    /// The business says no, under this code.
    Refuse(Cow<'static, str>),
    /// It cannot be dealt with, for this code and reason.
    SetAside(Cow<'static, str>, String),
}

/// The value of a record that is tried again. What is wrong with the headers is not mended by another value; the name of the
/// letter stands for them then.
pub(crate) fn value_again<'a>(original: &'a Original, mended: Option<&'a [u8]>) -> Result<&'a [u8], Violation> {
    if let Some(mended) = mended {
        return Ok(mended);
    }
    let headers = original.headers.iter().map(|(name, value)| (&name[..], value.as_deref()));
    Identity::from_headers(headers)?;
    original.value.as_deref().ok_or_else(Violation::value_missing)
}
