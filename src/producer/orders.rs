//! Publishing orders: typed, keyed, identified.

use std::fmt;
use std::marker::PhantomData;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::accumulator::Target;
use super::receipt::{Pending, Receipt};
use super::records::{RecordProducer, now_ms};
use crate::Result;
use crate::config::ClientConfig;
use crate::flight::Written;
use crate::order::{DeliveryOrder, IDENTITY_HEADER, Identity, InventoryOrder, Order, Source};
use crate::wire::record_batch::{Header, RecordParts};

/// Publishes inventory orders.
pub type InventoryProducer = OrderProducer<InventoryOrder>;

/// Publishes delivery orders.
pub type DeliveryProducer = OrderProducer<DeliveryOrder>;

/// Publishes orders of one type. A [`Receipt`] is given only for an order that all in-sync replicas have; retries neither
/// duplicate nor reorder.
///
/// Clones share everything, and any number of tasks may use one. Orders of one key keep their order if they are enqueued one
/// after another. An order without identity gets `of1:<source>:<n>`, where `source` names this run.
///
/// ```no_run
/// use orderflow::config::ClientConfig;
/// use orderflow::order::InventoryOrder;
/// use orderflow::producer::InventoryProducer;
/// # async fn example() -> orderflow::Result<()> {
/// let producer = InventoryProducer::connect(&ClientConfig::new("kafka:9092")).await?;
/// let order = InventoryOrder::new("97537", "02758", 35, "5/30/2023")?;
/// let receipt = producer.send(&order).await?;
/// println!("written to partition {} at offset {:?}", receipt.partition, receipt.offset);
/// let pending = producer.enqueue(&order).await?; // waits only for buffer space
/// let receipt = pending.await?;
/// # drop(receipt);
/// producer.close().await
/// # }
/// ```
pub struct OrderProducer<O> {
    records: RecordProducer,
    numbering: Arc<Numbering>,
    order: PhantomData<fn(O)>,
}

impl<O> Clone for OrderProducer<O> {
    fn clone(&self) -> Self {
        Self { records: self.records.clone(), numbering: self.numbering.clone(), order: PhantomData }
    }
}

impl<O> fmt::Debug for OrderProducer<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OrderProducer").field("topic", self.records.topic()).finish_non_exhaustive()
    }
}

/// How a producer is made: topic and source may be chosen.
#[derive(Clone, Debug)]
#[must_use = "nothing is connected until `connect`"]
pub struct ProducerBuilder<O> {
    config: ClientConfig,
    topic: String,
    source: Option<Source>,
    order: PhantomData<fn(O)>,
}

impl<O: Order> ProducerBuilder<O> {
    /// Publishes to this topic instead of the order type's own.
    pub fn topic(mut self, topic: impl Into<String>) -> Self {
        self.topic = topic.into();
        self
    }

    /// Numbers orders without identity under this source instead of a new one. Two runs with one source give the same
    /// identities to different orders, so it must be new for each run, unless the orders are the same.
    pub fn source(mut self, source: Source) -> Self {
        self.source = Some(source);
        self
    }

    /// Connects.
    ///
    /// # Errors
    /// As [`RecordProducer::connect`].
    ///
    /// # Cancel safety
    /// Dropping the future closes what was opened.
    pub async fn connect(self) -> Result<OrderProducer<O>> {
        let numbering = Numbering::new(match self.source {
            Some(source) => source,
            None => Source::random()?,
        });
        let records = RecordProducer::connect(&self.config, &self.topic).await?;
        Ok(OrderProducer { records, numbering: Arc::new(numbering), order: PhantomData })
    }
}

impl<O: Order> OrderProducer<O> {
    /// Connects to the order type's own topic.
    ///
    /// # Errors
    /// As [`RecordProducer::connect`].
    ///
    /// # Cancel safety
    /// Dropping the future closes what was opened.
    pub async fn connect(config: &ClientConfig) -> Result<Self> {
        Self::builder(config).connect().await
    }

    /// A producer whose topic or source is to be chosen.
    pub fn builder(config: &ClientConfig) -> ProducerBuilder<O> {
        ProducerBuilder { config: config.clone(), topic: O::TOPIC.to_owned(), source: None, order: PhantomData }
    }

    /// Accepts an order: waits only for room in the buffer, at most `max.block.ms`. It is encoded at once, into the batch that
    /// goes on the wire.
    ///
    /// # Errors
    /// [`Timeout`](crate::ErrorCode::Timeout) if there was no room in time, [`TooLarge`](crate::ErrorCode::TooLarge) if the
    /// order can never be sent, [`Closed`](crate::ErrorCode::Closed). In each case it was not accepted, so it is not written.
    ///
    /// # Cancel safety
    /// Nothing is accepted if the future is dropped.
    pub async fn enqueue(&self, order: &O) -> Result<Pending> {
        let mut text = IdentityText::default();
        let identity = match order.identity() {
            None => text.number(&self.numbering),
            Some(Identity::Opaque(bytes)) => bytes,
            Some(numbered) => text.identity(numbered),
        };
        let headers = [Header { key: IDENTITY_HEADER.as_bytes(), value: Some(identity) }];
        let key = order.key();
        let parts = RecordParts { key: Some(key), headers: &headers, value_len: Some(order.encoded_len()) };
        self.records.enqueue_with((Target::Key(key), now_ms()), &parts, |out| order.encode(out)).await
    }

    /// Publishes an order and waits until it is written: [`OrderProducer::enqueue`], then its receipt.
    ///
    /// # Errors
    /// As [`OrderProducer::enqueue`]; [`DeliveryTimeout`](crate::ErrorCode::DeliveryTimeout),
    /// [`Refused`](crate::ErrorCode::Refused), [`Denied`](crate::ErrorCode::Denied) or [`Closed`](crate::ErrorCode::Closed) if it
    /// was accepted but not acknowledged: then [`Error::possibly_written`](crate::Error::possibly_written) says whether it may be
    /// in the log.
    ///
    /// # Cancel safety
    /// If the future is dropped after the order was accepted, it is sent all the same.
    pub async fn send(&self, order: &O) -> Result<Receipt> {
        self.enqueue(order).await?.await
    }

    /// Sends everything that was accepted before, and waits until each order has its outcome, which it has within
    /// `delivery.timeout.ms`.
    ///
    /// # Errors
    /// What one of these orders failed with, or one that failed earlier without anybody waiting for it.
    ///
    /// # Cancel safety
    /// Dropping the future gives up the waiting only.
    pub async fn flush(&self) -> Result<()> {
        self.records.flush().await
    }

    /// Writes what became of the batches that were not simply written to a new file: see
    /// [`RecordProducer::write_flight`].
    ///
    /// # Errors
    /// As [`RecordProducer::write_flight`].
    pub fn write_flight(&self, to: Option<&Path>) -> Result<Written> {
        self.records.write_flight(to)
    }

    /// As [`OrderProducer::write_flight`], in `flight.dir`: the file says that a signal asked for it.
    ///
    /// # Errors
    /// As [`RecordProducer::write_flight`].
    pub fn write_flight_at_signal(&self) -> Result<Written> {
        self.records.write_flight_at_signal()
    }

    /// Takes no more orders, flushes at most `shutdown.timeout.ms`, and ends. What is not acknowledged by then fails.
    ///
    /// # Errors
    /// As [`OrderProducer::flush`], and [`Timeout`](crate::ErrorCode::Timeout) if something was not acknowledged in time.
    ///
    /// # Cancel safety
    /// No more orders are taken if the future is dropped; the tasks end when the last handle is dropped.
    pub async fn close(self) -> Result<()> {
        self.records.close().await
    }

    /// The topic.
    #[must_use]
    pub fn topic(&self) -> &str {
        self.records.topic()
    }

    /// What orders without identity are numbered under.
    #[must_use]
    pub fn source(&self) -> Source {
        self.numbering.source
    }

    /// How many bytes are accepted and not acknowledged yet, of `buffer.memory`.
    #[must_use]
    pub fn buffered_bytes(&self) -> usize {
        self.records.buffered_bytes()
    }
}

/// Numbers the orders of one run that have no identity of their own.
struct Numbering {
    source: Source,
    /// `of1:<source>:`
    prefix: Vec<u8>,
    next: AtomicU64,
}

impl Numbering {
    fn new(source: Source) -> Self {
        Self { source, prefix: format!("of1:{source}:").into_bytes(), next: AtomicU64::new(0) }
    }
}

/// The text of a numbered identity, without an allocation: `of1:`, a source, `:`, and at most 20 digits.
struct IdentityText {
    bytes: [u8; Self::BYTES],
    used: usize,
}

impl Default for IdentityText {
    fn default() -> Self {
        Self { bytes: [0; Self::BYTES], used: 0 }
    }
}

impl IdentityText {
    const BYTES: usize = 4 + crate::order::SOURCE_MAX + 1 + 20;

    fn number(&mut self, numbering: &Numbering) -> &[u8] {
        let number = numbering.next.fetch_add(1, Ordering::Relaxed);
        self.push(&numbering.prefix);
        self.push(itoa::Buffer::new().format(number).as_bytes());
        self.text()
    }

    fn identity(&mut self, identity: &Identity) -> &[u8] {
        match identity {
            Identity::Opaque(bytes) => self.push(bytes),
            Identity::Numbered { source, index, .. } => {
                self.push(b"of1:");
                self.push(source.as_str().as_bytes());
                self.push(b":");
                self.push(itoa::Buffer::new().format(*index).as_bytes());
            }
        }
        self.text()
    }

    fn push(&mut self, bytes: &[u8]) {
        let end = self.used.saturating_add(bytes.len());
        if let Some(free) = self.bytes.get_mut(self.used..end) {
            free.copy_from_slice(bytes);
            self.used = end;
        }
    }

    fn text(&self) -> &[u8] {
        self.bytes.get(..self.used).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_identities_of_our_own_form_one_after_another() {
        let source = Source::of_digest([7; 32]);
        let numbering = Numbering::new(source);
        for index in 0..3 {
            let mut text = IdentityText::default();
            let identity = Identity::from_header(text.number(&numbering)).unwrap();
            assert_eq!(identity, Identity::numbered(source, index).unwrap());
        }
    }

    #[test]
    fn the_longest_identity_of_our_form_fits_and_reads_back() {
        let longest = Identity::numbered(Source::of_digest([255; 32]), crate::order::INDEX_LIMIT - 1).unwrap();
        let mut text = IdentityText::default();
        assert_eq!(Identity::from_header(text.identity(&longest)).unwrap(), longest);
    }
}
