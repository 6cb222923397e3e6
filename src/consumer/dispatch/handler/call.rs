//! A handler's call under way.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::time::Instant;

use super::super::super::patience::LongCall;
use super::super::lanes::Lane;
use super::Item;
use crate::consumer::{Failure, Outcome};
use crate::store::Overlay;

/// What a handler answers, with what it adds to the store's transaction, if there is one.
pub(crate) type Answer = Result<(Outcome, Option<Box<Overlay>>), Failure>;

/// Room for one call's future, used again so that a call costs no allocation.
pub(super) type Seat<F> = Pin<Box<Option<F>>>;

/// A call that did not end at once.
pub(super) struct Call<F> {
    seat: Option<Seat<F>>,
    lane: Lane,
    item: Option<Item>,
    since: Instant,
    is_counted: bool,
}

/// A call that has ended.
pub(super) struct Ended<F> {
    pub(super) seat: Seat<F>,
    pub(super) lane: Lane,
    pub(super) item: Item,
    pub(super) answer: Answer,
    /// It took so long that it was counted as an attempt before it ended.
    pub(super) was_counted: bool,
}

/// Polls the call that sits in `seat`.
pub(super) fn poll_seat<F: Future<Output = Answer>>(seat: &mut Seat<F>, context: &mut Context<'_>) -> Poll<Answer> {
    let Some(future) = seat.as_mut().as_pin_mut() else { return Poll::Pending };
    let polled = catch_unwind(AssertUnwindSafe(|| future.poll(context)));
    let answer = match polled {
        Ok(Poll::Pending) => return Poll::Pending,
        Ok(Poll::Ready(answer)) => answer,
        Err(panic) => Err(panicked(&*panic)),
    };
    seat.as_mut().set(None);
    Poll::Ready(answer)
}

/// A handler that panics has failed for good: its state is unknown.
pub(crate) fn panicked(panic: &(dyn Any + Send)) -> Failure {
    Failure::permanent(format!("the handler panicked: {}", words(panic)))
}

fn words(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&'static str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}

impl<F> Call<F> {
    pub(super) fn new(seat: Seat<F>, lane: Lane, item: Item) -> Self {
        Self { seat: Some(seat), lane, item: Some(item), since: Instant::now(), is_counted: false }
    }

    /// Counts it as an attempt if it began before. Returns whose attempt it is: partition, life and offset, once.
    pub(super) fn count(&mut self, before: Instant) -> Option<(i32, u64, i64)> {
        let item = self.item.as_ref().filter(|_| !self.is_counted && self.since <= before)?;
        self.is_counted = true;
        Some((item.partition, item.life, item.offset))
    }

    /// Since when it has been under way, and for which order.
    pub(super) fn length(&self) -> Option<LongCall> {
        let item = self.item.as_ref()?;
        Some(LongCall { since: self.since, partition: item.partition, offset: item.offset })
    }
}

impl<F: Future<Output = Answer>> Future for Call<F> {
    type Output = Ended<F>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Ended<F>> {
        let this = &mut *self;
        let Some(seat) = &mut this.seat else { return Poll::Pending };
        let Poll::Ready(answer) = poll_seat(seat, context) else { return Poll::Pending };
        let (Some(seat), Some(item)) = (this.seat.take(), this.item.take()) else { return Poll::Pending };
        Poll::Ready(Ended { seat, lane: this.lane, item, answer, was_counted: this.is_counted })
    }
}
