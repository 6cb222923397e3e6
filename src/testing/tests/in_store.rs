//! Handlers in a store's transaction: what the crash test must catch, what it must let pass.

use std::collections::BTreeSet;
use std::path::PathBuf;

use tempfile::TempDir;

use super::*;
use crate::Result;
use crate::consumer::StoreHandler;
use crate::plant::{Plant, plant};
use crate::store::{
    Applied, BackOffice, Overlay, OwnRow, Query, RedbDeliveries, RedbSettings, Row, Socket, StoreReader, Text, Work,
};
use crate::testing::{Crash, Flaw, Survived};

const BOOKINGS: &str = "bookings";

/// A store's folder, with what a handler does elsewhere.
#[derive(Clone)]
struct World {
    folder: Arc<TempDir>,
    /// A store of several processes.
    shared: Arc<Mutex<Option<Arc<RedbDeliveries>>>>,
    /// What the handler knows, in the order in which it learned it.
    known: Arc<Mutex<Vec<String>>>,
}

fn world() -> World {
    World { folder: Arc::new(tempfile::tempdir().unwrap()), shared: Arc::default(), known: Arc::default() }
}

impl World {
    fn path(&self) -> PathBuf {
        self.folder.path().join("delivery.redb")
    }

    fn open(&self) -> Result<RedbDeliveries> {
        let settings = RedbSettings { socket: Socket::None, ..RedbSettings::default() };
        RedbDeliveries::open_with(self.path(), CRASH_GROUP, settings, crate::store::DeliveryPolicy::default())
    }

    /// The store as one of several processes has it.
    fn share(&self, habit: StoreHabit) -> Result<Ours> {
        let mut shared = self.shared.lock().unwrap();
        let store = match &*shared {
            Some(store) => store.clone(),
            None => shared.insert(Arc::new(self.open()?)).clone(),
        };
        Ok(Ours(store, habit, self.known.clone()))
    }

    fn knew(&self, identity: &str) -> usize {
        self.known.lock().unwrap().iter().filter(|known| *known == identity).count()
    }

    async fn booked(&self, identity: &str) -> u64 {
        let reader = self.shared.lock().unwrap().as_ref().map(|store| store.reader());
        let reader = match reader {
            Some(reader) => reader,
            None => StoreReader::open(self.path()).await.unwrap(),
        };
        let rows = reader.ask(Query::Own { table: BOOKINGS.into() }).rows().await.unwrap();
        let key = Text::Plain(identity.to_owned());
        let is_its_own = |row: &&Row| matches!(row, Row::Own(OwnRow { key: found, .. }) if *found == key);
        rows.iter().filter(is_its_own).count() as u64 + self.knew(&format!("{identity} elsewhere")) as u64
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// Adds its booking to the transaction.
    Sound,
    /// Books elsewhere.
    Beside,
    /// Books elsewhere what is replayed.
    BesideReplays,
    /// Adds its booking unless it knows the order, and then knows it.
    MarksFirst,
    /// Books elsewhere what it then refuses.
    Undecided,
}

struct Book(World, Way);

impl StoreHandler<DeliveryOrder> for Book {
    async fn handle(
        &self,
        order: Delivered<DeliveryOrder>,
        overlay: &mut Overlay,
    ) -> std::result::Result<Outcome, Failure> {
        let (identity, number) = (order.identity().to_string(), order.value().quantity());
        tokio::time::sleep(Duration::from_millis(3)).await;
        let mut known = self.0.known.lock().unwrap();
        let is_known = known.contains(&identity);
        known.push(identity.clone());
        let elsewhere = format!("{identity} elsewhere");
        match number {
            3 => {
                known.extend((self.1 == Way::Undecided).then_some(elsewhere));
                return Ok(Outcome::Refuse("SHP-NO".into()));
            }
            // At first sight only.
            4 | 6 if !is_known => return Ok(Outcome::Reject("no such street".into())),
            4 | 6 if self.1 == Way::BesideReplays => known.push(elsewhere),
            _ if self.1 == Way::Beside => known.push(elsewhere),
            _ if self.1 == Way::MarksFirst && is_known => {}
            _ => {
                overlay.put(BOOKINGS, identity.as_str(), order.value().order_id());
                overlay.emit("carrier_bookings", order.value().order_id(), identity.as_str());
            }
        }
        Ok(Outcome::Done)
    }
}

fn test() -> Crash<DeliveryOrder> {
    crash(orders()).seeds(0..2).concurrency(Concurrency::PerKey(3))
}

/// On a store that one process after the other opens.
async fn alone(test: Crash<DeliveryOrder>, way: Way) -> std::result::Result<Survived, Flaw> {
    let handler = |world: &World| Book(world.clone(), way);
    test.store_handler(world, World::open, handler, async |world: &World, id: &str| world.booked(id).await).await
}

/// On a store that several processes have at once.
async fn together(test: Crash<DeliveryOrder>, way: Way, habit: StoreHabit) -> std::result::Result<Survived, Flaw> {
    let (open, handler) = (|world: &World| world.share(habit), |world: &World| Book(world.clone(), way));
    test.store_handler(world, open, handler, async |world: &World, id: &str| world.booked(id).await).await
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_adds_what_it_does_to_the_transaction_survives_a_crash_at_every_point() {
    let survived =
        together(test().replays(), Way::Sound, StoreHabit::Sound).await.unwrap_or_else(|flaw| panic!("{flaw}"));
    assert_eq!(survived.cases(), 26);
    for point in Point::ALL {
        assert!(survived.has_crashed(point), "no consumer was killed {point}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_of_one_process_is_opened_by_one_after_the_other() {
    let survived = alone(test().seeds(0..1), Way::Sound).await.unwrap_or_else(|flaw| panic!("{flaw}"));
    let crashed: BTreeSet<_> = Point::ALL.into_iter().filter(|point| survived.has_crashed(*point)).collect();
    let missing: Vec<_> = Point::ALL.into_iter().filter(|point| !crashed.contains(point)).collect();
    assert_eq!(missing, [Point::OnRevoke], "nobody else can have its partitions");
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_writes_beside_the_transaction_is_caught() {
    for point in [Point::AfterHandler, Point::BeforeEffect] {
        let flaw = alone(test().points([point]), Way::Beside).await.unwrap_err();
        assert!(flaw.to_string().contains("took effect 2 times"), "{flaw}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_leaves_out_what_it_has_noted_elsewhere_is_caught() {
    let flaw = alone(test(), Way::MarksFirst).await.unwrap_err();
    assert!(flaw.to_string().contains("took effect 0 times"), "{flaw}");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_that_was_booked_elsewhere_is_caught() {
    let flaw = alone(test(), Way::Undecided).await.unwrap_err();
    assert!(flaw.to_string().contains("was refused or became a dead letter, and took effect"), "{flaw}");
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_writes_beside_the_transaction_of_a_replay_is_caught_where_replays_are_asked_for() {
    let only = || test().points([Point::AfterHandler, Point::BeforeEffect]).seeds(0..3);
    // An order that was in hand when its consumer died is not set aside any more, and books elsewhere once.
    let flaw = together(only().replays(), Way::BesideReplays, StoreHabit::Sound).await.unwrap_err();
    assert!(flaw.to_string().contains("took effect 2 times"), "{flaw}");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_lays_down_what_a_handler_adds_after_its_transaction_is_caught() {
    let flaw = together(test(), Way::Sound, StoreHabit::Torn).await.unwrap_err();
    assert_eq!(flaw.point(), Point::WithinEffect, "{flaw}");
}

#[tokio::test(start_paused = true)]
async fn an_order_that_counts_as_settled_before_its_handler_has_ended_is_caught() {
    plant(Some(Plant::CommitBeforeEffect));
    let flaw = together(test(), Way::Sound, StoreHabit::Sound).await;
    plant(None);
    assert!(flaw.is_err(), "{flaw:?}");
}

#[tokio::test(start_paused = true)]
async fn replays_of_a_store_that_has_none_are_refused() {
    let flaw = together(test().replays(), Way::Sound, StoreHabit::Closed).await.unwrap_err();
    assert!(std::error::Error::source(&flaw).is_some() && flaw.to_string().contains("no replays"), "{flaw}");
    together(test(), Way::Sound, StoreHabit::Closed).await.unwrap_or_else(|flaw| panic!("{flaw}"));
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum StoreHabit {
    /// One transaction.
    Sound,
    /// What a handler adds is laid down when the transaction is over.
    Torn,
    /// It has no back office.
    Closed,
}

/// One store for several processes.
struct Ours(Arc<RedbDeliveries>, StoreHabit, Arc<Mutex<Vec<String>>>);

impl Store<DeliveryOrder> for Ours {
    fn identity(&self) -> &StoreIdentity {
        self.0.identity()
    }

    async fn positions(&self, topic: &Topic) -> Result<BTreeMap<i32, Position>> {
        self.0.positions(topic).await
    }

    async fn apply(&self, mut batch: Batch<DeliveryOrder>) -> Result<Applied> {
        if self.1 != StoreHabit::Torn {
            return self.0.apply(batch).await;
        }
        let mut torn = Vec::new();
        for entry in batch.parts.iter_mut().flat_map(|part| &mut part.entries) {
            if let Work::ApplyWith(order, _) = &entry.work {
                torn.extend(entry.identity.as_ref().map(|identity| format!("{identity} elsewhere")));
                entry.work = Work::Apply(order.clone());
            }
        }
        let applied = self.0.apply(batch).await?;
        tokio::time::sleep(Duration::from_millis(5)).await;
        let mut known = self.2.lock().unwrap();
        torn.retain(|one| !known.contains(one));
        known.extend(torn);
        Ok(applied)
    }

    async fn set_position(&self, topic: &Topic, start: Start) -> Result<Position> {
        self.0.set_position(topic, start).await
    }

    async fn close(&self) -> Result<()> {
        Ok(())
    }

    fn back_office(&self) -> Option<Arc<dyn BackOffice>> {
        self.0.back_office().filter(|_| self.1 != StoreHabit::Closed)
    }
}
