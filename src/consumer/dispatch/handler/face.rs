//! The handler's dispatcher as a run drives it.

use std::future::Future;
use std::task::Poll;

use futures::FutureExt;

use super::super::super::retry_topic::is_retry;
use super::call::{Answer, Call};
use super::within::Within;
use super::*;

impl<O, C, F> Dispatch for HandlerDispatch<O, C, F>
where
    O: Order,
    C: Fn(Delivered<O>) -> F + Send,
    F: Future<Output = Answer> + Send,
{
    fn begin(&mut self, topic: Topic, partition: i32, position: Position) {
        self.retire(partition);
        self.lives += 1;
        let origin = Arc::new(Origin { id: topic.id, at: name(&topic.name, partition) });
        let conflicts = self.rows.get(&partition).map_or(0, |row| row.conflicts);
        let ledger = Ledger::new(position.next, position.settled.clone(), position.leader_epoch, self.max_ahead);
        let remembered = self.rows.get(&partition).filter(|row| row.origin.id == topic.id).map(|row| &row.tries);
        let tries = Tries::new(&position.tried, remembered, ledger.next());
        let recorder = self.teller.control().flights().recorder();
        let ledger = RecordedLedger::new(ledger, recorder, partition);
        let breaker = recorder.watch(Breaker::resumed(self.breaker, position.tripped), Some(partition));
        let mut row = Row::new(self.lives, origin, ledger, tries, breaker);
        row.held = self.held.contains(&partition);
        (row.stored, row.conflicts) = (position, conflicts);
        row.addressee = is_retry(&topic.name).then(|| self.committer.group().into());
        self.teller.control().show_partition(partition, row.ledger.next());
        self.rows.insert(partition, row);
        self.teller.control().relieve(Concern::Breaker(partition));
        self.show_lag(partition);
    }

    fn feed(&mut self, fetched: Fetched) {
        let partition = fetched.partition;
        let Some(row) = self.rows.get_mut(&partition) else { return };
        row.feed(fetched);
        if !row.is_empty() && !self.turn.contains(&partition) {
            self.turn.push_back(partition);
        }
        self.show_lag(partition);
    }

    fn retire(&mut self, partition: i32) {
        self.turn.retain(|other| *other != partition);
        if let Some(row) = self.rows.get_mut(&partition) {
            row.retire();
            let dropped = self.lanes.forget(row.life);
            let bytes: usize = dropped.iter().map(|item| item.record.len()).sum();
            self.queued_bytes = self.queued_bytes.saturating_sub(bytes);
        }
    }

    fn is_clear(&self, partition: i32) -> bool {
        let is_within = |row| self.within.as_ref().is_some_and(|within| within.has(partition, row));
        self.rows.get(&partition).is_none_or(|row| row.running == 0 && !row.moved && !is_within(row))
    }

    fn step(&mut self) -> BoxFuture<'_, Step> {
        self.move_on().boxed()
    }

    fn set_holding(&mut self, holding: bool) {
        self.holding = holding;
    }

    fn set_held(&mut self, partitions: &[i32]) {
        self.held = partitions.to_vec();
        for (_, row) in &mut self.rows {
            row.held = partitions.contains(&row.origin.at.partition);
        }
        partitions.iter().for_each(|partition| self.give_back(*partition));
    }

    fn overridden(&mut self, partition: Option<i32>) {
        self.override_breakers(partition);
    }

    fn finish(&mut self) {
        self.finishing = true;
    }

    fn close(&mut self) -> BoxFuture<'_, Result<()>> {
        match &self.within {
            Some(within) => within.close(),
            None => std::future::ready(Ok(())).boxed(),
        }
    }

    fn is_idle(&self) -> bool {
        let is_settled = |within: &Within<O>| within.is_idle(&self.rows);
        self.running.is_empty()
            && self.posting.is_empty()
            && self.moved.is_empty()
            && self.within.as_ref().is_none_or(is_settled)
    }

    fn is_drained(&self) -> bool {
        // What is paused, or behind an open breaker, is left to the next run.
        let held = self.rows.values().filter(|row| row.is_held());
        let queued: usize = held.map(|row| self.lanes.queued_of(row.life)).sum();
        let left = self.turn.iter().all(|partition| self.rows.get(partition).is_none_or(Row::is_held));
        self.is_idle() && left && self.lanes.queued() == queued
    }

    fn position(&self, partition: i32) -> Option<i64> {
        self.rows.get(&partition).map(|row| self.position_of(row))
    }

    fn is_limit_reached(&self) -> bool {
        self.teller.is_done()
    }

    fn obstacle(&self, partition: i32) -> Option<String> {
        let of_partition = |call: &LongCall| call.partition == partition;
        let longest = self.running.iter().filter_map(Call::length).filter(of_partition).min_by_key(|call| call.since);
        let row = self.rows.get(&partition)?;
        match longest {
            Some(LongCall { since, offset, .. }) => {
                let seconds = since.elapsed().as_secs();
                Some(format!("the handler has had the order at offset {offset} for {seconds} s; see what it waits for"))
            }
            None if let Some(words) = self.within.as_ref().and_then(|within| within.obstacle(partition)) => Some(words),
            None if row.running > 0 => Some("its dead letter is being written; see the dead-letter topic".to_owned()),
            None if row.held => Some("the partition is paused; `orders resume` lets it go on".to_owned()),
            None if self.lanes.waits(row.life) => Some("an order waits for another try; see why it fails".to_owned()),
            None => None,
        }
    }

    fn longest_call(&self) -> Option<LongCall> {
        self.running.iter().filter_map(Call::length).min_by_key(|call| call.since)
    }

    fn record(&mut self) {
        for (_, row) in &mut self.rows {
            row.ledger.record();
            row.breaker.refresh();
        }
        self.retry.refresh();
    }

    fn count_slow(&mut self, before: Instant) {
        let counted: Vec<_> = self.running.iter_mut().filter_map(|call| call.count(before)).collect();
        for (partition, life, offset) in counted {
            let Some(row) = self.rows.get_mut(&partition).filter(|row| row.life == life) else { continue };
            row.tries.count(offset);
            if let Some(position) = self.standing(partition) {
                self.committer.note_at_once(partition, position);
            }
        }
    }
}

impl<O, C, F> HandlerDispatch<O, C, F>
where
    O: Order,
    C: Fn(Delivered<O>) -> F + Send,
    F: Future<Output = Answer> + Send,
{
    async fn move_on(&mut self) -> Step {
        if let Some(step) = self.steps.pop_front() {
            return step;
        }
        let moved = std::future::poll_fn(|context| Poll::Ready(self.pump(context))).await;
        if moved {
            tokio::task::yield_now().await;
            return Step::Done;
        }
        if !self.steps.is_empty() {
            return Step::Done;
        }
        self.wait().await;
        Step::Done
    }
}
