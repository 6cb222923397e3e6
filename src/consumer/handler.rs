//! What the user's code is asked, how it answers.
//!
//! A handler is given one order at a time by value and says what became of it. Whatever it does not
//! finish is given to it again, so its effect should be idempotent: [`Delivered::identity`] is the key.

use std::any::Any;
use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::time::Duration;

use super::Delivered;
use crate::store::Overlay;
use crate::{BoxError, Error};

/// The code that an order is given to; closures implement it too.
///
/// ```
/// use orderflow::consumer::{Delivered, Failure, Handler, Outcome};
/// use orderflow::order::DeliveryOrder;
///
/// struct Ship;
/// impl Handler<DeliveryOrder> for Ship {
///     async fn handle(&self, order: Delivered<DeliveryOrder>) -> Result<Outcome, Failure> {
///         let quantity = u16::try_from(order.value().quantity())?; // any error becomes a retriable failure
///         Ok(if quantity > 1000 { Outcome::Refuse("SHP-TOO-MANY".into()) } else { Outcome::Done })
///     }
/// }
/// ```
pub trait Handler<O>: Send + Sync + 'static {
    /// Deals with one order.
    ///
    /// # Errors
    /// A retriable [`Failure`] has the order handed in again after a wait that grows, within `handler.retry.attempts` and
    /// `handler.retry.total.ms`; then, and at once where no repeat mends it, the order becomes a dead letter.
    ///
    /// # Cancel safety
    /// The future is dropped when the shutdown timeout passes; the order is then given again by the next run.
    fn handle(&self, order: Delivered<O>) -> impl Future<Output = Result<Outcome, Failure>> + Send;
}

impl<O, F, Answer> Handler<O> for F
where
    F: Fn(Delivered<O>) -> Answer + Send + Sync + 'static,
    Answer: Future<Output = Result<Outcome, Failure>> + Send,
{
    fn handle(&self, order: Delivered<O>) -> impl Future<Output = Result<Outcome, Failure>> + Send {
        self(order)
    }
}

/// The code that an order is given to before the store applies it, in one transaction with what this code adds.
///
/// ```
/// use orderflow::consumer::{Delivered, Failure, Outcome, StoreHandler};
/// use orderflow::order::DeliveryOrder;
/// use orderflow::store::Overlay;
///
/// struct Book;
/// impl StoreHandler<DeliveryOrder> for Book {
///     async fn handle(&self, order: Delivered<DeliveryOrder>, overlay: &mut Overlay) -> Result<Outcome, Failure> {
///         let parcel = format!("DHL {}", order.identity()); // what the carrier answers
///         overlay.put("bookings", order.value().order_id(), parcel.as_str());
///         overlay.emit("carrier_bookings", order.value().order_id(), parcel);
///         Ok(Outcome::Done)
///     }
/// }
/// ```
pub trait StoreHandler<O>: Send + Sync + 'static {
    /// Deals with one order. After [`Outcome::Done`] the store applies the order's own effect, and `overlay` enters with it: once,
    /// however often the order is given here. After any other answer what is in it is dropped.
    ///
    /// # Errors
    /// As [`Handler::handle`]. A dead letter, and a refusal, is recorded in the store, in the transaction that moves the position.
    ///
    /// # Cancel safety
    /// As [`Handler::handle`].
    fn handle(
        &self,
        order: Delivered<O>,
        overlay: &mut Overlay,
    ) -> impl Future<Output = Result<Outcome, Failure>> + Send;
}

/// What became of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is dealt with.
    Done,
    /// Not now: hand it in again after this long. Orders of other keys go on meanwhile where
    /// [`Concurrency::PerKey`] allows it.
    Retry(Duration),
    /// The business says no, under this stable code such as `STK-INSUFFICIENT`. That is an answer: the order is settled.
    Refuse(Cow<'static, str>),
    /// The order can never be dealt with, for this reason: it becomes a dead letter.
    Reject(Cow<'static, str>),
}

/// Why a handler did not finish an order.
///
/// Any [`std::error::Error`] turns into one by `?` and is retriable then, except this library's own
/// [`crate::Error`], which says of itself whether another try may succeed.
pub struct Failure {
    source: BoxError,
    again: Again,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Again {
    Backoff,
    After(Duration),
    Never,
}

impl Failure {
    /// A failure that passes: the order is handed in again after a wait that grows.
    pub fn retriable(cause: impl Into<BoxError>) -> Self {
        Self { source: cause.into(), again: Again::Backoff }
    }

    /// A failure that no repeat mends: it counts as [`Outcome::Reject`].
    pub fn permanent(cause: impl Into<BoxError>) -> Self {
        Self { source: cause.into(), again: Again::Never }
    }

    /// Says how long to wait before the next try.
    #[must_use]
    pub fn after(self, wait: Duration) -> Self {
        Self { again: Again::After(wait), ..self }
    }

    /// Whether another try may succeed.
    #[must_use]
    pub fn is_retriable(&self) -> bool {
        self.again != Again::Never
    }

    /// The wait that was asked for, if any.
    #[must_use]
    pub fn wait(&self) -> Option<Duration> {
        match self.again {
            Again::After(wait) => Some(wait),
            Again::Backoff | Again::Never => None,
        }
    }

    /// The cause.
    #[must_use]
    pub fn cause(&self) -> &(dyn StdError + Send + Sync + 'static) {
        &*self.source
    }

    /// The cause, owned.
    #[must_use]
    pub fn into_cause(self) -> BoxError {
        self.source
    }
}

impl<E: StdError + Send + Sync + 'static> From<E> for Failure {
    fn from(cause: E) -> Self {
        let passing = (&cause as &dyn Any).downcast_ref::<Error>().is_none_or(Error::is_retriable);
        if passing { Self::retriable(cause) } else { Self::permanent(cause) }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.source.fmt(f)
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Failure").field("again", &self.again).field("source", &self.source).finish()
    }
}

/// How many orders a handler is given at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Concurrency {
    /// One order of each partition at a time, in log order.
    #[default]
    InOrder,
    /// At most this many orders at a time, those of one key in log order. At least 1.
    PerKey(usize),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorCode;

    fn answer(error: impl Into<Failure>) -> Failure {
        error.into()
    }

    #[test]
    fn any_error_is_retriable_unless_it_is_ours_and_says_otherwise() {
        assert!(answer(std::io::Error::other("the carrier is away")).is_retriable());
        assert!(answer(Error::new(ErrorCode::Timeout, "late").retriable()).is_retriable());
        assert!(!answer(Error::new(ErrorCode::Order, "no such date")).is_retriable());
        assert!(!Failure::permanent("the parcel is gone").is_retriable());
        assert_eq!(Failure::retriable("busy").after(Duration::from_secs(3)).wait(), Some(Duration::from_secs(3)));
    }

    #[test]
    fn a_failure_prints_its_cause_once() {
        let failure = answer(std::io::Error::other("the carrier is away"));
        assert_eq!(failure.to_string(), "the carrier is away");
        assert_eq!(failure.cause().to_string(), "the carrier is away");
    }
}
