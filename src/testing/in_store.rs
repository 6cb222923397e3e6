//! Killing consumers whose handler takes part in a store's transaction.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::FutureExt;

use super::arm::{Arm, ArmedHandler};
use super::armed_store::ArmedStore;
use super::crash::{Crash, Flaw, Subject, Survived};
use super::pace::{in_real_time, opened};
use crate::Result;
use crate::consumer::{OrderConsumer, StoreHandler};
use crate::order::Order;
use crate::store::{EventId, Operation, Rehearsal, ReplayRow, Replayed, Row, Store};

impl<O: Order> Crash<O> {
    /// Tests a handler in a store's transaction. For each case `outside` makes the world in which the store stands and which
    /// outlives the consumers; `open` opens the store for one process, under the group [`CRASH_GROUP`](super::CRASH_GROUP);
    /// `handler` makes a process's handler. When all is settled, and the store is closed, `count` says how often the order of
    /// this identity took effect: by what the handler has written, wherever that is.
    ///
    /// An order that is open as a dead letter or as refused must have had no effect; every other exactly one.
    ///
    /// A handler that adds what it does to the transaction passes:
    ///
    /// ```
    /// use orderflow::consumer::{Delivered, Failure, Outcome, StoreHandler};
    /// use orderflow::order::DeliveryOrder;
    /// use orderflow::store::{Overlay, Query, RedbDeliveries, Row, StoreReader, Text};
    /// use orderflow::testing::{self, CRASH_GROUP};
    /// use tempfile::TempDir;
    ///
    /// struct Book;
    /// impl StoreHandler<DeliveryOrder> for Book {
    ///     async fn handle(&self, order: Delivered<DeliveryOrder>, overlay: &mut Overlay) -> Result<Outcome, Failure> {
    ///         overlay.put("bookings", order.identity().to_string(), order.value().order_id());
    ///         Ok(Outcome::Done)
    ///     }
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let order = |n: u32| DeliveryOrder::new(&format!("{n}"), "02758", 35, "5/30/2023");
    /// # let orders = (0..6).map(order).collect::<Result<Vec<_>, _>>()?;
    /// let survived = testing::crash(orders)
    ///     # .seeds(0..1)
    ///     .store_handler(
    ///         || TempDir::new().unwrap(),
    ///         |folder| RedbDeliveries::open(folder.path().join("delivery.redb"), CRASH_GROUP),
    ///         |_| Book,
    ///         async |folder, identity| {
    ///             let store = StoreReader::open(folder.path().join("delivery.redb")).await.unwrap();
    ///             let bookings = store.ask(Query::Own { table: "bookings".into() }).rows().await.unwrap();
    ///             let is_its_own = |row: &&Row| matches!(row, Row::Own(row) if row.key == Text::Plain(identity.into()));
    ///             bookings.iter().filter(is_its_own).count() as u64
    ///         },
    ///     )
    ///     .await?;
    /// assert!(survived.crashes() > 0);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// One that writes beside the transaction is caught:
    ///
    /// ```
    /// # use std::sync::{Arc, Mutex};
    /// # use orderflow::consumer::{Delivered, Failure, Outcome, StoreHandler};
    /// # use orderflow::order::DeliveryOrder;
    /// # use orderflow::store::{Overlay, RedbDeliveries};
    /// # use orderflow::testing::{self, CRASH_GROUP, Point};
    /// # use tempfile::TempDir;
    /// struct Book(Arc<Mutex<Vec<String>>>);
    /// impl StoreHandler<DeliveryOrder> for Book {
    ///     async fn handle(&self, order: Delivered<DeliveryOrder>, _: &mut Overlay) -> Result<Outcome, Failure> {
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
    ///     .points([Point::BeforeEffect])
    ///     .store_handler(
    ///         || (TempDir::new().unwrap(), Arc::<Mutex<Vec<String>>>::default()),
    ///         |(folder, _)| RedbDeliveries::open(folder.path().join("delivery.redb"), CRASH_GROUP),
    ///         |(_, booked)| Book(booked.clone()),
    ///         async |(_, booked), identity| booked.lock().unwrap().iter().filter(|it| *it == identity).count() as u64,
    ///     )
    ///     .await
    ///     .unwrap_err();
    /// assert!(flaw.to_string().contains("took effect 2 times"), "{flaw}");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The first [`Flaw`] that was found.
    ///
    /// # Cancel safety
    /// The consumers and their broker end with the future.
    pub async fn store_handler<W, S: Store<O>, H: StoreHandler<O>>(
        self,
        outside: impl Fn() -> W,
        open: impl Fn(&W) -> Result<S> + Send + Sync,
        handler: impl Fn(&W) -> H + Send + Sync,
        count: impl AsyncFn(&W, &str) -> u64,
    ) -> Result<Survived, Flaw>
    where
        W: Send + Sync,
    {
        let concurrency = self.concurrency;
        let make = |world: &W, config, group: &'static str, arm: Arc<Arm>| {
            let (opened, armed) = (open(world), ArmedHandler { inner: handler(world), arm: arm.clone() });
            async move {
                let store = ArmedStore { inner: opened?, arm };
                let builder = OrderConsumer::<O>::builder(&config).group(group).store(store).handler(armed);
                builder.concurrency(concurrency).build().await
            }
            .boxed()
        };
        let again = async |world: &W, ids: &[EventId]| again(opened(async || open(world)).await?, ids).await;
        self.every_case(outside, (Subject::StoreHandler, make), again, count).await
    }
}

/// Requests replays of these in a store without a consumer. Those that are requested now are open: the others were applied. None:
/// the store has no replays.
async fn again<O: Order>(store: impl Store<O>, ids: &[EventId]) -> Result<Option<BTreeSet<EventId>>> {
    let mut open = store.back_office().filter(|office| office.replays().is_some()).map(|_| BTreeSet::new());
    if let (Some(open), Some(office)) = (&mut open, store.back_office()) {
        for ids in ids.chunks(Operation::MOST) {
            let replay = Operation::Replay { ids: ids.to_vec(), rehearsal: Rehearsal::Real };
            for row in in_real_time(office.operate(replay)).await? {
                if let Row::Replayed(ReplayRow { id, did: Replayed::Request, .. }) = row {
                    open.insert(id);
                }
            }
        }
    }
    in_real_time(store.close()).await?;
    Ok(open)
}
