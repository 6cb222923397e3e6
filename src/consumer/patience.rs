//! How long a handler may keep the consumer from coming on (`max.poll.interval.ms`).
//!
//! Only a call that runs counts: an order that waits for another try, a pause and a store that is away do not.

use std::time::Duration;

use tokio::time::Instant;

use super::control::Concern;
use super::group::member;
use super::reader::Reader;
use super::run::{Ending, Run};

/// A handler's call under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LongCall {
    pub(crate) since: Instant,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
}

/// What follows from the longest call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// This call takes too long: the member gives its place up.
    TooSlow(LongCall),
    /// No call takes too long any more: the member may come back.
    Back,
}

/// Judges the longest call.
#[derive(Debug)]
pub(crate) struct Patience {
    limit: Duration,
    is_lost: bool,
}

impl Patience {
    pub(crate) fn new(limit: Duration) -> Self {
        Self { limit, is_lost: false }
    }

    /// How often to look, so that a call is caught soon after its time.
    pub(crate) fn pace(&self) -> Duration {
        (self.limit / 4).clamp(Duration::from_millis(1), Duration::from_secs(1))
    }

    /// Calls that began before this are likely to be cut short: they count as attempts from now on.
    pub(crate) fn worrying(&self, now: Instant) -> Option<Instant> {
        now.checked_sub(self.limit / 2)
    }

    /// What is to be done now, if anything.
    pub(crate) fn judge(&mut self, longest: Option<LongCall>, now: Instant) -> Option<Turn> {
        let overdue = longest.filter(|call| now.saturating_duration_since(call.since) >= self.limit);
        match (overdue, self.is_lost) {
            (Some(call), false) => {
                self.is_lost = true;
                Some(Turn::TooSlow(call))
            }
            (None, true) => {
                self.is_lost = false;
                Some(Turn::Back)
            }
            (Some(_), true) | (None, false) => None,
        }
    }
}

impl Run {
    /// A handler that takes too long costs the membership, so that others get the partitions; it comes back by itself.
    pub(super) fn be_patient(&mut self, reader: &Reader, patience: &mut Patience) -> Option<Ending> {
        if let Some(before) = patience.worrying(Instant::now()) {
            self.dispatch.count_slow(before);
        }
        match patience.judge(self.dispatch.longest_call(), Instant::now())? {
            Turn::TooSlow(LongCall { since, partition, offset }) => {
                let (topic, waited) = (&self.topic, since.elapsed().as_millis());
                let sentence = format!(
                    "the handler has had the order at offset {offset} of {topic}/{partition} for {waited} ms, longer than \
                     max.poll.interval.ms, so the group is left until it returns: raise that, or let the handler take less"
                );
                tracing::error!("{sentence}");
                self.control.concern(Concern::Handler, sentence);
                reader.say(member::Event::TooSlow);
            }
            Turn::Back => {
                self.control.relieve(Concern::Handler);
                reader.say(member::Event::Back);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_call_is_too_slow_once_and_back_once_it_is_over() {
        let mut patience = Patience::new(Duration::from_secs(10));
        let begun = Instant::now();
        let call = LongCall { since: begun, partition: 2, offset: 7 };
        let at = |seconds| begun + Duration::from_secs(seconds);
        assert_eq!(patience.judge(Some(call), at(9)), None);
        assert_eq!(patience.judge(Some(call), at(10)), Some(Turn::TooSlow(call)));
        assert_eq!(patience.judge(Some(call), at(60)), None);
        assert_eq!(patience.judge(None, at(61)), Some(Turn::Back));
        assert_eq!(patience.judge(None, at(62)), None);
    }
}
