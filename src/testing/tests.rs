//! The crash test's own tests: what it must catch, what it must let pass.

mod in_store;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::{CRASH_GROUP, Point, crash};
use crate::consumer::{Concurrency, Delivered, Failure, Handler, Outcome};
use crate::order::{DeliveryOrder, InventoryOrder};
use crate::store::{Batch, Position, Start, Store, StoreIdentity, Topic};

/// Bookings, refusals, all by identity.
type Carrier = Arc<Mutex<BTreeMap<String, u64>>>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Habit {
    /// Books under the order's identity.
    Sound,
    /// Books whatever it is given.
    Forgetful,
    /// Notes that it knows the order, then books it; what it knows it does not book.
    MarksFirst,
    /// Books, and refuses all the same.
    Undecided,
}

struct Ship(Carrier, Habit);

impl Handler<DeliveryOrder> for Ship {
    async fn handle(&self, order: Delivered<DeliveryOrder>) -> Result<Outcome, Failure> {
        let (identity, number) = (order.identity().to_string(), order.value().quantity());
        match number {
            3 if self.1 != Habit::Undecided => return Ok(Outcome::Refuse("SHP-NO".into())),
            4 => return Ok(Outcome::Reject("no such street".into())),
            _ => {}
        }
        if self.1 == Habit::MarksFirst {
            let mut books = self.0.lock().unwrap();
            if books.contains_key(&identity) {
                return Ok(Outcome::Done);
            }
            books.insert(identity.clone(), 0);
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
        let mut books = self.0.lock().unwrap();
        let times = books.entry(identity).or_default();
        *times = if self.1 == Habit::Forgetful { *times + 1 } else { 1 };
        Ok(if number == 3 { Outcome::Refuse("SHP-NO".into()) } else { Outcome::Done })
    }
}

fn orders() -> Vec<DeliveryOrder> {
    let order = |n: u32| DeliveryOrder::new(&format!("k{}", n % 3), "02758", n + 1, "5/30/2023").unwrap();
    (0..8).map(order).collect()
}

async fn tested(habit: Habit) -> Result<super::Survived, super::Flaw> {
    let count = |carrier: &Carrier, identity: &str| carrier.lock().unwrap().get(identity).copied().unwrap_or(0);
    let test = crash(orders()).seeds(0..3).concurrency(Concurrency::PerKey(3));
    test.handler(Carrier::default, move |carrier| Ship(carrier.clone(), habit), count).await
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_books_by_identity_survives_a_crash_at_every_point() {
    let survived = tested(Habit::Sound).await.unwrap_or_else(|flaw| panic!("{flaw}"));
    assert_eq!(survived.cases(), 24);
    for point in Point::ALL {
        assert_eq!(survived.has_crashed(point), !point.is_within_store(), "killed {point}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_forgets_what_it_booked_is_caught() {
    let flaw = tested(Habit::Forgetful).await.unwrap_err();
    assert!(flaw.to_string().contains("took effect 2 times"), "{flaw}");
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_notes_an_order_before_its_effect_is_caught() {
    let flaw = tested(Habit::MarksFirst).await.unwrap_err();
    assert!(flaw.to_string().contains("took effect 0 times"), "{flaw}");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_with_an_effect_is_caught() {
    let flaw = tested(Habit::Undecided).await.unwrap_err();
    assert!(flaw.to_string().contains("was refused or became a dead letter, and took effect 1 times"), "{flaw}");
}

/// A store that moves the position first and has the effect after it.
struct Torn(Arc<crate::store::inline::StockBase>, bool, Arc<Mutex<BTreeMap<String, u64>>>);

impl Store<InventoryOrder> for Torn {
    fn identity(&self) -> &StoreIdentity {
        self.0.identity()
    }

    async fn positions(&self, topic: &Topic) -> crate::Result<BTreeMap<i32, Position>> {
        self.0.positions(topic)
    }

    async fn apply(&self, batch: Batch<InventoryOrder>) -> crate::Result<crate::store::Applied> {
        let identities: Vec<_> =
            batch.parts.iter().flat_map(|part| &part.entries).map(|e| e.identity.clone()).collect();
        let applied = self.0.apply(batch)?;
        if self.1 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let outcomes = applied.parts.iter().flat_map(|part| &part.outcomes);
        for (identity, outcome) in identities.into_iter().flatten().zip(outcomes) {
            if *outcome == crate::store::Outcome::Applied {
                self.2.lock().unwrap().insert(identity.to_string(), 1);
            }
        }
        Ok(applied)
    }

    async fn set_position(&self, topic: &Topic, start: Start) -> crate::Result<Position> {
        self.0.set_position(topic, start)
    }

    async fn close(&self) -> crate::Result<()> {
        Ok(())
    }
}

async fn store_tested(torn: bool) -> Result<super::Survived, super::Flaw> {
    let order = |n: u32| InventoryOrder::new(&n.to_string(), &format!("p{}", n % 3), 1, "5/30/2023").unwrap();
    let world = || (crate::store::inline::StockBase::of(CRASH_GROUP), Arc::<Mutex<BTreeMap<String, u64>>>::default());
    crash((0..8).map(order))
        .store(
            world,
            move |(base, effects)| Ok(Torn(base.clone(), torn, effects.clone())),
            |(_, effects), identity| effects.lock().unwrap().get(identity).copied().unwrap_or(0),
        )
        .await
}

#[tokio::test(start_paused = true)]
async fn a_store_whose_effects_are_in_its_transaction_survives_and_a_torn_one_is_caught() {
    let survived = store_tested(false).await.unwrap_or_else(|flaw| panic!("{flaw}"));
    assert!(survived.crashes() > 6, "{survived:?}");
    let flaw = store_tested(true).await.unwrap_err();
    assert_eq!(flaw.point(), Point::WithinEffect, "{flaw}");
}
