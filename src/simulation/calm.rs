//! A calm with restarts of members while one order waits: nothing may be done twice.

use std::time::Duration;

use tokio::time::Instant;

use super::ledger::{PLAIN, STUBBORN};
use super::senders::{identified, send};
use super::world::World;
use super::{Judged, broken};
use crate::order::{DeliveryOrder, Order};

/// The sender of the calm.
const SENDER: u64 = 200;

/// Orders beside the one that waits.
const OTHERS: u32 = 16;

impl World {
    pub(super) async fn stay_calm(&mut self) -> Judged {
        self.carrier.books().away = true;
        let waits = DeliveryOrder::new("s0", "02758", STUBBORN, "5/30/2023").unwrap();
        let others = (0..OTHERS).map(|n| DeliveryOrder::new(&format!("c{n}"), "02758", PLAIN, "5/30/2023").unwrap());
        let orders = identified(SENDER, std::iter::once(waits).chain(others));
        let identities: Vec<String> =
            orders.iter().skip(1).filter_map(|order| order.identity().map(ToString::to_string)).collect();
        send(self.config.clone(), SENDER, orders, 0, self.told.clone()).await;
        self.are_finished(&identities).await?;
        // What is settled beyond the order that waits is committed by then.
        tokio::time::sleep(Duration::from_secs(2)).await;
        self.restart_members().await?;
        tokio::time::sleep(Duration::from_secs(5)).await;
        self.carrier.books().away = false;
        self.settle().await?;
        let books = self.carrier.books();
        match identities.iter().find(|identity| books.finished.get(*identity) != Some(&1)) {
            Some(identity) => {
                let times = books.finished.get(identity);
                broken("nothing is done twice while nothing goes wrong", format!("{identity}: {times:?}"))
            }
            None => Ok(()),
        }
    }

    async fn are_finished(&self, identities: &[String]) -> Judged {
        let by = Instant::now() + Duration::from_secs(60);
        while !identities.iter().all(|identity| self.carrier.books().finished.contains_key(identity)) {
            if Instant::now() > by {
                let books = self.carrier.books();
                let waits: Vec<_> = identities.iter().filter(|waits| !books.finished.contains_key(*waits)).collect();
                let story = format!("{waits:?} are not finished: {:#?}", self.story());
                return broken("one order that waits holds up no other", story);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }
}
