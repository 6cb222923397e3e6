//! Killing consumers at every point, to see whether each order still takes effect once.
//!
//! ```text
//!  seed x point --> broker with the orders --> consumer, killed at the point --> another consumer, to the end
//!                                                                                     |
//!                           Flaw <-- not once -- count(order): effects in your world <-+-- once --> Survived
//! ```

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;

use super::arm::{Arm, ArmedHandler, Point};
use super::armed_store::ArmedStore;
use super::case::{Case, Make};
use crate::config::ClientConfig;
use crate::consumer::{Concurrency, Handler, OrderConsumer};
use crate::order::{Identity, Order, Source};
use crate::place::TopicId;
use crate::store::{EventId, Store, Topic};
use crate::{Error, ErrorCode, Result};

/// The group of the consumers that are killed. A store that is tested must belong to it.
pub const CRASH_GROUP: &str = "crash-test";

/// How many orders one case may have.
const MOST_ORDERS: usize = 10_000;

/// Begins a crash test with these orders. An order without identity is given one.
///
/// Put the test on tokio's paused clock (`#[tokio::test(start_paused = true)]`): sessions of several seconds then end at
/// once. A handler with threads or sockets of its own needs the real clock.
///
/// A handler that books under the order's identity passes:
///
/// ```
/// use std::collections::BTreeMap;
/// use std::sync::{Arc, Mutex};
///
/// use orderflow::consumer::{Delivered, Failure, Handler, Outcome};
/// use orderflow::order::DeliveryOrder;
/// use orderflow::testing;
///
/// /// The carrier's books, which outlive the consumer: bookings by their key.
/// type Carrier = Arc<Mutex<BTreeMap<String, u32>>>;
///
/// struct Ship(Carrier);
/// impl Handler<DeliveryOrder> for Ship {
///     async fn handle(&self, order: Delivered<DeliveryOrder>) -> Result<Outcome, Failure> {
///         self.0.lock().unwrap().insert(order.identity().to_string(), order.value().quantity());
///         Ok(Outcome::Done)
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let order = |n: u32| DeliveryOrder::new(&format!("{n}"), "02758", 35, "5/30/2023");
/// let orders = (0..6).map(order).collect::<Result<Vec<_>, _>>()?;
/// let survived = testing::crash(orders)
///     .handler(Carrier::default, |carrier| Ship(carrier.clone()), |carrier, identity| {
///         u64::from(carrier.lock().unwrap().contains_key(identity))
///     })
///     .await?;
/// assert!(survived.crashes() > 0);
/// # Ok(())
/// # }
/// ```
///
/// One that books again whatever it is given is caught:
///
/// ```
/// # use std::sync::{Arc, Mutex};
/// # use orderflow::consumer::{Delivered, Failure, Handler, Outcome};
/// # use orderflow::order::DeliveryOrder;
/// # use orderflow::testing;
/// type Carrier = Arc<Mutex<Vec<String>>>;
///
/// struct Ship(Carrier);
/// impl Handler<DeliveryOrder> for Ship {
///     async fn handle(&self, order: Delivered<DeliveryOrder>) -> Result<Outcome, Failure> {
///         self.0.lock().unwrap().push(order.identity().to_string());
///         Ok(Outcome::Done)
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let order = |n: u32| DeliveryOrder::new(&format!("{n}"), "02758", 35, "5/30/2023");
/// # let orders = (0..6).map(order).collect::<Result<Vec<_>, _>>()?;
/// let flaw = testing::crash(orders)
///     .points([testing::Point::AfterEffect])
///     .handler(Carrier::default, |carrier| Ship(carrier.clone()), |carrier, identity| {
///         carrier.lock().unwrap().iter().filter(|booked| *booked == identity).count() as u64
///     })
///     .await
///     .unwrap_err();
/// assert_eq!(flaw.point(), testing::Point::AfterEffect);
/// assert!(flaw.to_string().contains("took effect 2 times"), "{flaw}");
/// # Ok(())
/// # }
/// ```
pub fn crash<O: Order>(orders: impl IntoIterator<Item = O>) -> Crash<O> {
    let orders = orders.into_iter().take(MOST_ORDERS).collect();
    let (points, concurrency) = (Point::ALL.to_vec(), Concurrency::default());
    Crash { orders, seeds: 0..2, points, concurrency, replays: false }
}

/// A crash test that is being put together.
#[derive(Clone, Debug)]
#[must_use = "nothing is tested until `handler`, `store` or `store_handler` is awaited"]
pub struct Crash<O> {
    orders: Vec<O>,
    seeds: Range<u64>,
    points: Vec<Point>,
    pub(super) concurrency: Concurrency,
    replays: bool,
}

/// What is tested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    /// A handler that has its effects elsewhere.
    Handler,
    /// A store.
    Store,
    /// A handler in a store's transaction.
    StoreHandler,
}

impl Subject {
    /// How often a consumer with so many orders comes to a point for certain.
    fn most(self, point: Point, orders: usize) -> u64 {
        match self {
            Self::Handler => orders as u64 / 2,
            Self::StoreHandler if point.is_call() => orders as u64 / 2,
            // A store is given all that is ready at once: there may be no second time.
            Self::Store | Self::StoreHandler => 1,
        }
    }
}

impl<O: Order> Crash<O> {
    /// The seeds, each of which decides how often a point is passed before the crash. Default: `0..2`.
    pub fn seeds(mut self, seeds: Range<u64>) -> Self {
        self.seeds = seeds;
        self
    }

    /// The points at which consumers are killed. Default: [`Point::ALL`].
    pub fn points(mut self, points: impl IntoIterator<Item = Point>) -> Self {
        self.points = points.into_iter().collect();
        self
    }

    /// How many orders the handler is given at once. Default: one of each partition.
    pub fn concurrency(mut self, concurrency: Concurrency) -> Self {
        self.concurrency = concurrency;
        self
    }

    /// Has dead letters and refusals replayed when all else is settled, with another crash at the same point amid that. Only
    /// for [`Crash::store_handler`], on stores with [replays](crate::store::Replays). Default: they are left where they are.
    pub fn replays(mut self) -> Self {
        self.replays = true;
        self
    }

    /// Tests a handler. For each case `outside` makes the world in which it has its effects and which outlives it,
    /// `handler` a handler of one process in it; `count` says how often the order of this identity took effect there.
    ///
    /// An order that the handler refuses, or that became a dead letter, must have had no effect; every other exactly one.
    ///
    /// # Errors
    /// The first [`Flaw`] that was found.
    ///
    /// # Cancel safety
    /// The consumers and their broker end with the future.
    pub async fn handler<W, H: Handler<O>>(
        self,
        outside: impl Fn() -> W,
        handler: impl Fn(&W) -> H + Send + Sync,
        count: impl Fn(&W, &str) -> u64,
    ) -> Result<Survived, Flaw>
    where
        W: Send + Sync,
    {
        let concurrency = self.concurrency;
        let make = |world: &W, config, group: &'static str, arm: Arc<Arm>| {
            let armed = ArmedHandler { inner: handler(world), arm };
            async move {
                OrderConsumer::<O>::builder(&config).group(group).handler(armed).concurrency(concurrency).build().await
            }
            .boxed()
        };
        let count = async |world: &W, identity: &str| count(world, identity);
        self.every_case(outside, (Subject::Handler, make), async |_: &W, _: &[EventId]| Ok(None), count).await
    }

    /// Tests a store of your own. `open` opens it for one process, under the group [`CRASH_GROUP`], in the world that
    /// `outside` makes for each case; `count` says how often the order of this identity took effect there.
    ///
    /// # Errors
    /// The first [`Flaw`] that was found.
    ///
    /// # Cancel safety
    /// The consumers and their broker end with the future.
    pub async fn store<W, S: Store<O>>(
        self,
        outside: impl Fn() -> W,
        open: impl Fn(&W) -> Result<S> + Send + Sync,
        count: impl Fn(&W, &str) -> u64,
    ) -> Result<Survived, Flaw>
    where
        W: Send + Sync,
    {
        let make = |world: &W, config, group: &'static str, arm: Arc<Arm>| {
            let opened = open(world);
            async move {
                let armed = ArmedStore { inner: opened?, arm };
                OrderConsumer::<O>::builder(&config).group(group).store(armed).build().await
            }
            .boxed()
        };
        let count = async |world: &W, identity: &str| count(world, identity);
        self.every_case(outside, (Subject::Store, make), async |_: &W, _: &[EventId]| Ok(None), count).await
    }

    /// `again` requests replays and says what is open then, where a store knows.
    pub(super) async fn every_case<W: Send + Sync>(
        self,
        outside: impl Fn() -> W,
        (subject, make): (
            Subject,
            impl Fn(&W, ClientConfig, &'static str, Arc<Arm>) -> BoxFuture<'static, Result<OrderConsumer<O>>> + Send + Sync,
        ),
        again: impl AsyncFn(&W, &[EventId]) -> Result<Option<BTreeSet<EventId>>>,
        count: impl AsyncFn(&W, &str) -> u64,
    ) -> Result<Survived, Flaw> {
        let mut survived = Survived { cases: 0, reached: Vec::new() };
        let has = |point: &Point| subject == Subject::StoreHandler || !point.is_within_store();
        let points: Vec<Point> = self.points.iter().copied().filter(has).collect();
        for seed in self.seeds.clone() {
            for point in points.iter().copied() {
                let world = outside();
                let made = |config, group, arm: Arc<Arm>| make(&world, config, group, arm);
                let again = async |ids: &[EventId]| again(&world, ids).await;
                let count = async |identity: &str| count(&world, identity).await;
                let reached = self.case((seed, point, subject), &made, again, count).await?;
                survived.cases += 1;
                survived.reached.extend(reached.then_some(point));
            }
        }
        Ok(survived)
    }

    async fn case(
        &self,
        (seed, point, subject): (u64, Point, Subject),
        make: &Make<'_, O>,
        again: impl AsyncFn(&[EventId]) -> Result<Option<BTreeSet<EventId>>>,
        count: impl AsyncFn(&str) -> u64,
    ) -> Result<bool, Flaw> {
        let mut chance = fastrand::Rng::with_seed(seed);
        let nth = chance.u64(1..=subject.most(point, self.orders.len()).max(1));
        let flaw = |story: String, cause: Option<Error>| Flaw { seed, point, nth, story, cause };
        let broken = |error: Error| flaw(error.to_string(), Some(error));
        let case = Case::start(self.identified(seed), CRASH_GROUP).await.map_err(broken)?;
        let mut reached = case.run(make, point, nth).await.map_err(broken)?;
        let named = case.orders.iter().filter_map(Order::identity).map(|identity| (event_id::<O>(identity), identity));
        let (ids, identities): (Vec<_>, Vec<_>) = named.map(|(id, identity)| (id, identity.to_string())).unzip();
        let mut open = again(&ids).await.map_err(broken)?;
        if self.replays {
            let replayed = open.as_ref().ok_or_else(|| broken(no_replays()))?;
            if !replayed.is_empty() {
                reached |= case.run(make, point, chance.u64(1..=2)).await.map_err(broken)?;
                open = again(&ids).await.map_err(broken)?;
            }
        }
        let letters = case.letters();
        for (id, identity) in ids.iter().zip(identities) {
            let set_aside = match &open {
                Some(open) => open.contains(id),
                None => letters.contains(&identity) || case.is_refused(&identity),
            };
            let (times, expected) = (count(&identity).await, u64::from(!set_aside));
            if times != expected {
                let what = if set_aside { "was refused or became a dead letter, and " } else { "" };
                return Err(flaw(format!("the order {identity} {what}took effect {times} times"), None));
            }
        }
        case.end().await;
        Ok(reached)
    }

    fn identified(&self, seed: u64) -> Vec<O> {
        let source = Source::from_entropy(u128::from(seed).to_be_bytes());
        let orders = self.orders.iter().cloned().zip(0..).map(|(mut order, index)| {
            if order.identity().is_none()
                && let Ok(identity) = Identity::numbered(source, index)
            {
                order.set_identity(identity);
            }
            order
        });
        orders.collect()
    }
}

/// The name of what the store sets aside of an order with this identity.
fn event_id<O: Order>(identity: &Identity) -> EventId {
    EventId::of(Some(identity), &Topic::new(TopicId::NONE, O::TOPIC), 0, 0)
}

fn no_replays() -> Error {
    Error::new(ErrorCode::ConfigUnsupported, "the store has no replays of dead letters: `Crash::replays` asks for them")
}

/// What a crash test went through without a flaw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Survived {
    cases: u64,
    reached: Vec<Point>,
}

impl Survived {
    /// How many cases there were.
    #[must_use]
    pub fn cases(&self) -> u64 {
        self.cases
    }

    /// How many consumers came to their point and were killed there. One without dead letters never comes to
    /// [`Point::BeforeLetter`].
    #[must_use]
    pub fn crashes(&self) -> usize {
        self.reached.len()
    }

    /// Whether a consumer was killed at this point.
    #[must_use]
    pub fn has_crashed(&self, point: Point) -> bool {
        self.reached.contains(&point)
    }
}

/// An order that did not take effect once, or a consumer that did not get to the end after a crash.
#[derive(Debug)]
pub struct Flaw {
    seed: u64,
    point: Point,
    nth: u64,
    story: String,
    cause: Option<Error>,
}

impl Flaw {
    /// The seed of the case: [`Crash::seeds`] with it alone repeats the case.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Where the consumer was killed.
    #[must_use]
    pub fn point(&self) -> Point {
        self.point
    }
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, point, nth, story, .. } = self;
        write!(f, "seed {seed}, killed {point}, at the {nth}. time: {story}")
    }
}

impl std::error::Error for Flaw {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.cause.as_ref().map(|cause| cause as _)
    }
}
