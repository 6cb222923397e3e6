//! Sending orders, each of which ends in a receipt or a failure that is told.

use std::collections::VecDeque;
use std::time::Duration;

use futures::FutureExt;
use orderflow::order::Order;
use orderflow::producer::{OrderProducer, Pending, Receipt};
use orderflow::{Error, Result};
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Arguments;
use super::reading::Fed;
use crate::face::finish::{Ending, complain, ending_of};
use crate::face::output::{self, Lines};
use crate::face::progress::Progress;

/// How many orders may wait for their receipts here; the producer's memory bounds them too.
const UNACKNOWLEDGED: usize = 100_000;

#[derive(Clone, Copy, Debug, Default, Serialize)]
struct Summary {
    sent: u64,
    filtered: u64,
    rejected: u64,
    possibly_written: u64,
    failed: u64,
}

/// An order's line while its receipt is awaited.
struct Awaited {
    pending: Pending,
    order_id: String,
    key: String,
    idempotency_key: String,
}

#[derive(Serialize)]
struct ReceiptLine<'a> {
    order_id: &'a str,
    topic: &'a str,
    partition: i32,
    offset: Option<i64>,
    key: &'a str,
    idempotency_key: &'a str,
}

/// The order's `order_id`, read from what is sent: an order type need not have one.
fn order_id_of(order: &impl Order) -> String {
    #[derive(Default, serde::Deserialize)]
    struct Named {
        #[serde(default)]
        order_id: String,
    }
    let mut value = Vec::with_capacity(order.encoded_len());
    order.encode(&mut value);
    serde_json::from_slice::<Named>(&value).unwrap_or_default().order_id
}

/// How far apart orders are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// As fast as it goes.
    Free,
    /// One each time that this has passed.
    Each(Duration),
}

/// So far behind its time an order may be sent and the next ones still catch up, so that coarse timers do not slow the
/// pace; what was late for longer (a followed file that rested) is not made up for.
const LAG_MAX: Duration = Duration::from_millis(100);

/// The slowest pace: an order a day.
const RATE_MIN: f64 = 1.0 / 86_400.0;
const RATE_MAX: f64 = 1e9;

/// Reads `--rate`: orders a second, 0 for no limit.
pub fn pace_of(text: &str) -> std::result::Result<Pace, String> {
    match text.parse::<f64>() {
        Ok(0.0) => Ok(Pace::Free),
        Ok(rate) if (RATE_MIN..=RATE_MAX).contains(&rate) => Ok(Pace::Each(Duration::from_secs_f64(1.0 / rate))),
        _ => Err("orders a second: 0, or a number from an order a day to 1e9".into()),
    }
}

/// What a stop does to orders that were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopping {
    /// No further one is sent.
    AtOnce,
    /// They are sent: the reader ends soon, with the last line of the file that it follows.
    WithTheReader,
}

/// The receipt of the first order that awaits one.
async fn first_of(awaited: &mut VecDeque<Awaited>) -> Result<Receipt> {
    match awaited.front_mut() {
        Some(first) => (&mut first.pending).await,
        None => std::future::pending().await,
    }
}

/// Orders on their way out.
pub struct Sending<O: Order> {
    producer: OrderProducer<O>,
    lines: Lines,
    json: bool,
    pace: Pace,
    progress: Progress,
    awaited: VecDeque<Awaited>,
    summary: Summary,
    first_failure: Option<Error>,
}

impl<O: Order> Sending<O> {
    pub fn new(arguments: &Arguments, producer: OrderProducer<O>, lines: Lines) -> Self {
        Self {
            producer,
            lines,
            json: arguments.flags.json,
            pace: arguments.rate,
            progress: Progress::new(arguments.flags.quiet, "sent"),
            awaited: VecDeque::new(),
            summary: Summary::default(),
            first_failure: None,
        }
    }

    /// Sends what comes in, until that ends or the run is to stop.
    pub async fn send_all(&mut self, mut entries: mpsc::Receiver<Fed<O>>, stop: CancellationToken, stopping: Stopping) {
        let mut due = Instant::now();
        loop {
            // Before a rest: receipts may have come while the last order was sent.
            if self.json && entries.is_empty() {
                self.lines.flush();
            }
            let fed = tokio::select! {
                biased;
                () = stop.cancelled(), if stopping == Stopping::AtOnce => break,
                fed = entries.recv() => fed,
                // Nothing is to be sent just now: what is acknowledged meanwhile is told meanwhile.
                outcome = first_of(&mut self.awaited) => {
                    self.settled(outcome);
                    self.settle_ready();
                    self.lines.flush();
                    continue;
                }
            };
            match fed {
                None => break,
                Some(Fed::Filtered) => self.summary.filtered += 1,
                Some(Fed::Rejected) => self.summary.rejected += 1,
                Some(Fed::Order(order)) => {
                    if let Pace::Each(pace) = self.pace {
                        let now = Instant::now();
                        due = (due + pace).max(now.checked_sub(LAG_MAX).unwrap_or(now));
                        tokio::select! {
                            () = stop.cancelled() => break,
                            () = tokio::time::sleep_until(due) => {}
                        }
                    }
                    self.send(&order).await;
                }
            }
            let sent = self.summary.sent;
            self.progress.tell(|| format!("sent {sent}"));
        }
    }

    async fn send(&mut self, order: &O) {
        match self.producer.enqueue(order).await {
            Ok(pending) => {
                let awaited = self.describe(order, pending);
                self.awaited.push_back(awaited);
            }
            Err(error) => self.failed(error),
        }
        self.settle_ready();
        if self.awaited.len() > UNACKNOWLEDGED {
            self.settle_first().await;
        }
        if self.pace != Pace::Free {
            self.lines.flush();
        }
    }

    /// What a receipt's line needs of its order; nothing where no line is wanted.
    fn describe(&self, order: &O, pending: Pending) -> Awaited {
        if !self.json {
            return Awaited { pending, order_id: String::new(), key: String::new(), idempotency_key: String::new() };
        }
        Awaited {
            pending,
            order_id: order_id_of(order),
            key: String::from_utf8_lossy(order.key()).into_owned(),
            idempotency_key: order.identity().map(ToString::to_string).unwrap_or_default(),
        }
    }

    /// Takes the receipts that are there, in the order of sending.
    fn settle_ready(&mut self) {
        while let Some(outcome) = self.awaited.front_mut().and_then(|first| (&mut first.pending).now_or_never()) {
            self.settled(outcome);
        }
    }

    async fn settle_first(&mut self) {
        if let Some(first) = self.awaited.front_mut() {
            let outcome = (&mut first.pending).await;
            self.settled(outcome);
        }
    }

    fn settled(&mut self, outcome: Result<Receipt>) {
        let Some(first) = self.awaited.pop_front() else { return };
        match outcome {
            Ok(receipt) => {
                self.summary.sent += 1;
                if self.json {
                    self.lines.object(&ReceiptLine {
                        order_id: &first.order_id,
                        topic: &receipt.topic,
                        partition: receipt.partition,
                        offset: receipt.offset,
                        key: &first.key,
                        idempotency_key: &first.idempotency_key,
                    });
                }
            }
            Err(error) => self.failed(error),
        }
    }

    fn failed(&mut self, error: Error) {
        if error.possibly_written() {
            self.summary.possibly_written += 1;
        } else {
            self.summary.failed += 1;
        }
        if self.first_failure.is_none() {
            complain(&error);
            self.first_failure = Some(error);
        }
    }

    pub async fn finish(mut self, read: Result<()>) -> Ending {
        let flushed = self.producer.flush().await;
        while !self.awaited.is_empty() {
            self.settle_first().await;
        }
        let closed = self.producer.close().await;
        for error in
            [flushed.err(), closed.err(), read.as_ref().err().map(|error| Error::new(error.code(), error.to_string()))]
                .into_iter()
                .flatten()
        {
            complain(&error);
        }
        if self.json {
            self.lines.object(&serde_json::json!({ "summary": self.summary }));
        }
        self.lines.flush();
        let Summary { sent, filtered, rejected, possibly_written, failed } = self.summary;
        let took = self.progress.finish();
        output::complain(&format!(
            "sent {sent}, filtered {filtered}, rejected {rejected}, possibly written {possibly_written}, \
             failed {failed} in {took}"
        ));
        if rejected > 0 {
            output::complain(&format!(
                "rejected entries: {rejected}; mend and send them as a file of their own (--rejects FILE keeps them): \
                 sending the whole mended file would apply the others again"
            ));
        }
        let undone = rejected + possibly_written + failed > 0;
        match read {
            Err(error) => ending_of(&error),
            Ok(()) if undone => Ending::Undone,
            Ok(()) => Ending::Done,
        }
    }
}
