//! What deliveries do outside: a carrier who remembers each order by its identity, and the handler that books there.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use crate::consumer::{Delivered, Failure, Handler, Outcome};
use crate::order::{DeliveryOrder, Order};
use crate::testing::Life;

/// From this quantity on the carrier is away for as long as the test wants.
pub(super) const STUBBORN: u32 = 900_000;

/// The quantity of an order with which nothing is wrong.
pub(super) const PLAIN: u32 = 1_302;

/// An order of this name was written in a transaction that was given up.
pub(super) const ABORTED: &str = "aborted";

/// What is to become of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Done,
    Refused,
    Rejected,
}

/// Decided by the order alone, so that every member decides alike.
pub(super) fn fate(number: u32) -> Fate {
    match number {
        n if n < STUBBORN && n % 7 == 5 => Fate::Rejected,
        n if n < STUBBORN && n % 17 == 6 => Fate::Refused,
        _ => Fate::Done,
    }
}

/// An effect, the first time.
#[derive(Clone, Debug)]
pub(super) struct Effect {
    pub(super) identity: String,
    pub(super) key: String,
    pub(super) partition: i32,
    pub(super) offset: i64,
}

#[derive(Debug, Default)]
pub(super) struct Books {
    pub(super) effects: Vec<Effect>,
    pub(super) refused: Vec<String>,
    pub(super) aborted: u64,
    /// How often an order was finished, by identity.
    pub(super) finished: BTreeMap<String, u64>,
    pub(super) away: bool,
}

/// The carrier outlives the processes that book there.
#[derive(Clone, Debug, Default)]
pub(super) struct Carrier(Arc<Mutex<Books>>);

impl Carrier {
    pub(super) fn books(&self) -> MutexGuard<'_, Books> {
        self.0.lock().unwrap()
    }
}

/// Books an order once, whatever is repeated.
pub(super) struct Ship {
    pub(super) carrier: Carrier,
    pub(super) life: Life,
}

impl Handler<DeliveryOrder> for Ship {
    async fn handle(&self, order: Delivered<DeliveryOrder>) -> Result<Outcome, Failure> {
        tokio::time::sleep(Duration::from_millis(fastrand::u64(0..25))).await;
        self.life.goes_on().await;
        let (number, identity) = (order.value().quantity(), order.identity().to_string());
        if order.value().order_id() == ABORTED {
            self.carrier.books().aborted += 1;
        }
        if number >= STUBBORN && self.carrier.books().away {
            return Ok(Outcome::Retry(Duration::from_millis(200)));
        }
        if number % 11 == 3 && order.attempt() < 3 {
            return Err(Failure::retriable("the carrier is busy"));
        }
        match fate(number) {
            Fate::Done => self.book(&order, identity.clone()),
            Fate::Refused => self.carrier.books().refused.push(identity.clone()),
            Fate::Rejected => return Ok(Outcome::Reject("nobody lives there".into())),
        }
        // The process may die between its effect and the word of it.
        tokio::time::sleep(Duration::from_millis(fastrand::u64(0..10))).await;
        self.life.goes_on().await;
        *self.carrier.books().finished.entry(identity).or_default() += 1;
        match fate(number) {
            Fate::Refused => Ok(Outcome::Refuse("SHP-NO".into())),
            Fate::Done | Fate::Rejected => Ok(Outcome::Done),
        }
    }
}

impl Ship {
    fn book(&self, order: &Delivered<DeliveryOrder>, identity: String) {
        let mut books = self.carrier.books();
        if books.effects.iter().any(|effect| effect.identity == identity) {
            return;
        }
        let place = order.place();
        let (partition, offset) = (place.partition.unwrap_or(-1), place.offset.unwrap_or(-1));
        let key = String::from_utf8_lossy(order.value().key()).into_owned();
        books.effects.push(Effect { identity, key, partition, offset });
    }
}
