//! Driving a handler in a test, without broker, socket or real time.
//!
//! ```
//! use std::time::Duration;
//!
//! use orderflow::consumer::{Delivered, Failure, Handler, Outcome};
//! use orderflow::order::DeliveryOrder;
//! use orderflow::testing;
//!
//! struct Ship;
//! impl Handler<DeliveryOrder> for Ship {
//!     async fn handle(&self, order: Delivered<DeliveryOrder>) -> Result<Outcome, Failure> {
//!         if order.attempt() < 3 {
//!             return Err(Failure::retriable("the carrier is away"));
//!         }
//!         Ok(if order.value().quantity() > 1000 { Outcome::Refuse("SHP-TOO-MANY".into()) } else { Outcome::Done })
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let order = DeliveryOrder::new("97537", "02758", 35, "5/30/2023")?;
//! let driven = testing::drive(Ship).order(order).await;
//! assert!(driven.ending.is_done());
//! assert_eq!(driven.waits, [Duration::from_millis(100), Duration::from_millis(200)]);
//! # Ok(())
//! # }
//! ```

use std::borrow::Cow;
use std::fmt;
use std::future::IntoFuture;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;

use crate::Error;
use crate::consumer::{Delivered, Handler, Origin, RetryConfig, Verdict};
use crate::order::Order;
use crate::place::{TopicId, TopicPartition};

/// Begins to drive a handler. Several orders may be given to it, one after another.
pub fn drive<O: Order, H: Handler<O>>(handler: H) -> Drive<O, H> {
    Drive { handler, retry: RetryConfig::default(), order: PhantomData }
}

/// A handler that is driven by a test.
pub struct Drive<O, H> {
    handler: H,
    retry: RetryConfig,
    order: PhantomData<fn(O)>,
}

impl<O: Order, H: Handler<O>> Drive<O, H> {
    /// How often the handler is given one order. Default: that of `handler.retry.attempts`.
    #[must_use]
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.retry.attempts = attempts;
        self
    }

    /// Gives the handler an order; `.await` runs it to its end.
    pub fn order(&self, order: O) -> Given<'_, O, H> {
        Given { drive: self, order, headers: Vec::new(), offset: 0, timestamp: 0 }
    }
}

impl<O, H> fmt::Debug for Drive<O, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Drive").field("retry", &self.retry).finish_non_exhaustive()
    }
}

/// An order that is about to be given to a handler.
#[derive(Debug)]
#[must_use = "an order is given when this is awaited"]
pub struct Given<'d, O, H> {
    drive: &'d Drive<O, H>,
    order: O,
    headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    offset: i64,
    timestamp: i64,
}

impl<O: Order, H: Handler<O>> Given<'_, O, H> {
    /// Adds a header to the record.
    pub fn header(mut self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((name.into(), Some(value.into())));
        self
    }

    /// Sets the record's offset; 0 unless set.
    pub fn offset(mut self, offset: i64) -> Self {
        self.offset = offset;
        self
    }

    /// Sets the record's timestamp in milliseconds since 1970; 0 unless set.
    pub fn timestamp(mut self, timestamp: i64) -> Self {
        self.timestamp = timestamp;
        self
    }

    fn delivered(self) -> Delivered<O> {
        let at = TopicPartition::new(O::TOPIC, 0);
        let origin = Arc::new(Origin { id: TopicId::NONE, at });
        let mut headers = self.headers;
        if let Some(identity) = self.order.identity() {
            let mut value = Vec::with_capacity(identity.header_len());
            identity.write_header(&mut value);
            headers.push((crate::order::IDENTITY_HEADER.into(), Some(value)));
        }
        Delivered::written(self.order, &headers, origin, self.offset, self.timestamp)
    }

    async fn run(self) -> Driven {
        let drive = self.drive;
        let mut delivered = self.delivered();
        let mut waits = Vec::new();
        let ending = loop {
            let answer = drive.handler.handle(delivered.clone()).await;
            match drive.retry.judge(answer, (delivered.attempt(), waits.iter().sum()), 0.0) {
                Verdict::Done => break Ending::Done,
                Verdict::Refused(code) => break Ending::Refused(code),
                Verdict::Failed(_, error) => break Ending::Failed(error),
                Verdict::Again { after, .. } => waits.push(after),
            }
            delivered = delivered.again();
        };
        Driven { ending, attempts: delivered.attempt(), waits }
    }
}

impl<'d, O: Order, H: Handler<O>> IntoFuture for Given<'d, O, H> {
    type Output = Driven;
    type IntoFuture = BoxFuture<'d, Driven>;

    fn into_future(self) -> Self::IntoFuture {
        self.run().boxed()
    }
}

/// What became of an order that a handler was given.
#[derive(Debug)]
pub struct Driven {
    /// How it ended.
    pub ending: Ending,
    /// How often the handler was given the order.
    pub attempts: u32,
    /// How long each next try would have waited; no time has passed.
    pub waits: Vec<Duration>,
}

/// How an order ends.
#[derive(Debug)]
pub enum Ending {
    /// The handler is done with it.
    Done,
    /// The business said no, under this code.
    Refused(Cow<'static, str>),
    /// It was rejected, failed for good, or used its tries up: its partition would stop.
    Failed(Error),
}

impl Ending {
    /// Whether the handler is done with the order.
    #[must_use]
    pub fn is_done(&self) -> bool {
        matches!(self, Self::Done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::consumer::{Failure, Outcome};
    use crate::order::InventoryOrder;

    fn order() -> InventoryOrder {
        InventoryOrder::new("97537", "02758", 35, "5/30/2023").unwrap().with_identity("checkout:1").unwrap()
    }

    #[tokio::test]
    async fn a_handler_sees_the_order_as_a_record() {
        let handler = async |order: Delivered<InventoryOrder>| -> Result<Outcome, Failure> {
            assert_eq!((order.key(), order.timestamp()), (Some(&b"02758"[..]), 7));
            assert_eq!(order.identity().to_string(), "checkout:1");
            assert_eq!(order.header("idempotency-key"), Some(&b"checkout:1"[..]));
            assert_eq!(order.header("traceparent"), Some(&b"00-1"[..]));
            assert_eq!(order.place().offset, Some(3));
            Ok(Outcome::Refuse("STK-NONE".into()))
        };
        let driven = drive(handler).order(order()).header("traceparent", "00-1").offset(3).timestamp(7).await;
        assert!(matches!(driven.ending, Ending::Refused(code) if code == "STK-NONE"));
    }

    #[tokio::test]
    async fn a_handler_that_never_succeeds_uses_its_tries_up_without_real_waits() {
        let handler =
            async |_: Delivered<InventoryOrder>| -> Result<Outcome, Failure> { Err(Failure::retriable("away")) };
        let driven = drive(handler).attempts(4).order(order()).await;
        assert_eq!((driven.attempts, driven.waits.len()), (4, 3));
        assert!(matches!(driven.ending, Ending::Failed(_)));
    }
}
