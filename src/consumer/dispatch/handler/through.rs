//! Orders that go through one after the other, with nothing else in hand.
//!
//! As long as every lane is free and each call ends at once with the order done, no lane, no queue and no account per order
//! is needed: what follows from such orders is noted once for all of them. Whatever is out of the ordinary ends the run
//! and takes the usual way, before its order is begun where that can be told.

use std::future::Future;
use std::task::{Context, Poll};

use super::super::super::Outcome;
use super::super::super::breaker::Event;
use super::super::tales::Audience;
use super::call::{Answer, poll_seat};
use super::*;

impl<O, C, F> HandlerDispatch<O, C, F>
where
    O: Order,
    C: Fn(Delivered<O>) -> F + Send,
    F: Future<Output = Answer> + Send,
{
    /// Hands out orders of a partition that are ready, at most so many, until one does not go through at once.
    /// Returns how many.
    pub(super) fn run_through(&mut self, partition: i32, most: usize, context: &mut Context<'_>) -> usize {
        let is_told = self.teller.audience() == Audience::Observer;
        if self.holding || is_told || self.within.is_some() || !self.lanes.is_idle() || self.lanes.is_crowded() {
            return 0;
        }
        let most = most.min(self.teller.room(0));
        let Some(row) = self.rows.get_mut(&partition).filter(|row| row.goes_through()) else { return 0 };
        let mut seat = self.seats.pop().unwrap_or_else(|| Box::pin(None));
        let (mut through, mut stopped) = (0, None);
        while through < most
            && stopped.is_none()
            && let Some((ready, record)) = row.first()
            && let Ok(order) = row.deliver(&mut self.decoder, record, (ready.offset, ready.timestamp))
        {
            if row.ledger.take_through(ready.offset) == Taken::InHand {
                seat.as_mut().set(Some((self.call)(order)));
                match poll_seat(&mut seat, context) {
                    Poll::Ready(Ok((Outcome::Done, None))) => {
                        row.went_through(ready);
                        through += 1;
                    }
                    answer => {
                        row.ledger.stays_in_hand(ready.offset);
                        stopped = row.first().map(|(ready, record)| (row.item(ready, record), answer));
                    }
                }
            }
            row.drop_first();
        }
        self.note_through(partition, through);
        match stopped {
            None => self.seats.push(seat),
            Some((item, answer)) => {
                through += 1;
                self.go_on(seat, item, answer);
            }
        }
        through
    }

    /// So many orders went through.
    fn note_through(&mut self, partition: i32, orders: usize) {
        let Some(row) = self.rows.get_mut(&partition).filter(|_| orders > 0) else { return };
        row.breaker.take(Event::WentThrough(orders as u32));
        if !std::mem::replace(&mut row.moved, true) {
            self.moved.push(partition);
        }
        self.teller.count_applied(orders as u64);
    }

    /// What follows from the call that ended the run.
    fn go_on(&mut self, seat: Seat<F>, item: Item, answer: Poll<Answer>) {
        let lane = lane_of(self.concurrency, item.life, &item.record, &self.hasher);
        match answer {
            Poll::Ready(answer) => {
                self.seats.push(seat);
                self.answered(lane, item, answer, Entry::Free);
            }
            Poll::Pending => self.run_on(seat, lane, item, Entry::Free),
        }
    }
}
