//! Orders whose handler took so long that the member had to leave its group.
//!
//! Their calls have not ended with an answer that counts, so what they cost is remembered here, and the order comes with
//! a higher attempt the next time.

use std::future::Future;

use super::call::Answer;
use super::{Delivered, HandlerDispatch, Item};
use crate::order::Order;
use crate::{Error, ErrorCode};

/// How many such orders are remembered; the oldest are forgotten first.
const MOST: usize = 1024;

/// The slow orders with how often each cost the membership.
#[derive(Debug, Default)]
pub(super) struct Slow(Vec<(i32, i64, u32)>);

impl Slow {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn count(&mut self, partition: i32, offset: i64) {
        match self.0.iter_mut().find(|(slow, at, _)| (*slow, *at) == (partition, offset)) {
            Some((_, _, times)) => *times = times.saturating_add(1),
            None => {
                let surplus = (self.0.len() + 1).saturating_sub(MOST);
                self.0.drain(..surplus);
                self.0.push((partition, offset, 1));
            }
        }
    }

    fn times(&self, item: &Item) -> u32 {
        let same = |(partition, offset, _): &&(i32, i64, u32)| (*partition, *offset) == (item.partition, item.offset);
        self.0.iter().find(same).map_or(0, |(_, _, times)| *times)
    }
}

impl<O, C, F> HandlerDispatch<O, C, F>
where
    O: Order,
    C: Fn(Delivered<O>) -> F + Send,
    F: Future<Output = Answer> + Send,
{
    /// Counts what the order cost before as attempts. Returns whether they are used up: then its partition stops.
    pub(super) fn is_given_up(&mut self, item: &mut Item) -> bool {
        let times = self.slow.times(item);
        item.attempt = item.attempt.max(times.saturating_add(1));
        let is_over = times >= self.retry.attempts;
        if is_over {
            let sentence = format!("the handler took longer than max.poll.interval.ms for the order, {times} times");
            self.failed(item, Error::new(ErrorCode::Handler, sentence));
        }
        is_over
    }
}
