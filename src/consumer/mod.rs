//! Reading orders: positions, dispatch, handlers.
//!
//! A consumer fetches from every leader of its topic, checks each order, and either applies it to a
//! store, whose transaction holds effect and position together, or hands it to a handler and commits
//! the position to Kafka afterwards.
//!
//! ```text
//!  assignment --> start --> fetch (a task and a session for each broker)
//!                             | frames, bounded in bytes
//!                             v
//!                         dispatch --> store.apply ----> settled --> observer
//!                             |                            |
//!                             +------> handler.handle      +--> commit
//! ```
//!
//! | configuration | promise |
//! |---|---|
//! | [`ConsumerBuilder::store`] | each effect once, whatever crashes, is repeated or runs twice |
//! | [`ConsumerBuilder::handler`] | each order at least once, in log order for each key; what cannot be dealt with is on `<topic>-dlt` before the position moves past it |

mod admission;
mod assignment;
pub(crate) mod breaker;
mod builder;
mod claim;
mod commit;
pub(crate) mod companion;
pub(crate) mod config;
mod control;
mod delivered;
mod dispatch;
mod fetch;
mod finish;
mod goal;
pub(crate) mod group;
mod handler;
mod holding;
pub(crate) mod ledger;
pub(crate) mod letterbox;
mod lookup;
mod parts;
mod patience;
mod positions;
mod reader;
mod record;
mod replays;
mod retry;
pub(crate) mod retry_topic;
mod run;
#[cfg(test)]
mod sample;
mod settled;
mod standstill;
mod start;
mod updates;
mod wheel;

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;

pub use self::builder::{ByHandler, ConsumerBuilder, InStore, Undecided};
#[cfg(feature = "testing")]
pub(crate) use self::config::RetryConfig;
pub(crate) use self::control::Concern;
pub use self::control::{Control, Health, Lag};
#[cfg(feature = "testing")]
pub(crate) use self::delivered::Origin;
pub use self::delivered::{Delivered, EventIdentity};
pub use self::handler::{Concurrency, Failure, Handler, Outcome, StoreHandler};
pub use self::record::Header;
#[cfg(feature = "testing")]
pub(crate) use self::retry::Verdict;
use self::run::Run;
pub use self::settled::{Settled, Summary};
use crate::Result;
use crate::config::ClientConfig;
use crate::order::{DeliveryOrder, InventoryOrder, Order};

/// Reads [`InventoryOrder`]s.
pub type InventoryConsumer = OrderConsumer<InventoryOrder>;

/// Reads [`DeliveryOrder`]s.
pub type DeliveryConsumer = OrderConsumer<DeliveryOrder>;

/// A consumer of one order type, ready to [`run`](OrderConsumer::run).
///
/// ```no_run
/// use orderflow::config::ClientConfig;
/// use orderflow::consumer::{Concurrency, DeliveryConsumer, Delivered, Failure, Handler, Outcome};
/// use orderflow::order::DeliveryOrder;
///
/// struct Ship;
/// impl Handler<DeliveryOrder> for Ship {
///     async fn handle(&self, order: Delivered<DeliveryOrder>) -> Result<Outcome, Failure> {
///         println!("book {} under {}", order.value().order_id(), order.identity());
///         Ok(Outcome::Done)
///     }
/// }
///
/// # async fn shipping() -> orderflow::Result<()> {
/// let config = ClientConfig::new("kafka:9092").client_id("shipping");
/// let consumer = DeliveryConsumer::builder(&config)
///     .group("shipping")
///     .handler(Ship)
///     .concurrency(Concurrency::PerKey(16))
///     .build()
///     .await?;
/// let control = consumer.control();
/// let work = tokio::spawn(consumer.run(async { drop(tokio::signal::ctrl_c().await) }));
/// println!("{}", control.health());
/// # drop(work);
/// # Ok(())
/// # }
/// ```
pub struct OrderConsumer<O> {
    engine: Box<Run>,
    control: Control,
    order: PhantomData<fn() -> O>,
}

impl<O: Order> OrderConsumer<O> {
    /// Begins to put a consumer together.
    pub fn builder(config: &ClientConfig) -> ConsumerBuilder<O> {
        ConsumerBuilder::new(config)
    }

    /// A handle that watches and steers the consumer while it runs.
    #[must_use]
    pub fn control(&self) -> Control {
        self.control.clone()
    }

    /// Reads and settles orders until `stop` completes, [`Control::drain`] is called, or what
    /// [`ConsumerBuilder::until_end`] or [`ConsumerBuilder::limit`] ask for is reached.
    ///
    /// Stopping is clean (G7): nothing more is read, what is in hand is finished and committed, within
    /// `shutdown.timeout.ms`.
    ///
    /// # Errors
    /// What keeps the run from its end: with `until_end`, a partition that stopped or a topic that does not exist; else
    /// only what another try cannot mend, such as refused permissions. [`ErrorCode::Timeout`](crate::ErrorCode::Timeout)
    /// when work was cut short at a stop. [`Control::summary`] has the counts also then.
    ///
    /// # Cancel safety
    /// Dropping the future ends the run at once. Nothing is lost: what is not committed is read again by the next run;
    /// a handler may see such an order twice.
    pub async fn run(self, stop: impl Future<Output = ()> + Send) -> Result<Summary> {
        self.engine.run(Box::pin(stop)).await
    }
}

impl<O: Order> fmt::Debug for OrderConsumer<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OrderConsumer").field("type", &O::TYPE).field("control", &self.control).finish_non_exhaustive()
    }
}
