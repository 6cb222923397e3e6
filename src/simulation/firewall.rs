//! Connections that idled too long: ended by the broker, or dropped by a firewall that tells nobody.
//!
//! ```text
//!  client <--pipe-- firewall <--pipe-- development broker      what is open at a moment is cut, or carries nothing more
//! ```

use std::time::Duration;

use tokio::io::{DuplexStream, copy_bidirectional, duplex};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::ledger::{Carrier, PLAIN, Ship};
use super::senders::identified;
use super::settings::{DELIVERY, DELIVERY_GROUP};
use crate::broker::DevBroker;
use crate::config::{Address, ClientConfig, Inside};
use crate::consumer::{Concurrency, DeliveryConsumer};
use crate::order::DeliveryOrder;
use crate::producer::DeliveryProducer;
use crate::testing::Life;

/// What becomes of the connections that are open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// They live.
    Open,
    /// Both sides see their end.
    Cut,
    /// They stay open, and nothing passes any more.
    Dark,
}

#[derive(Clone)]
struct Firewall(watch::Sender<(u64, Fate)>);

impl Firewall {
    fn new() -> Self {
        Self(watch::Sender::new((0, Fate::Open)))
    }

    fn config(&self, base: &ClientConfig) -> ClientConfig {
        let (firewall, inside) = (self.clone(), base.inside().cloned().unwrap());
        base.clone().through(Inside::new(move |address: &Address| {
            let (client, near) = duplex(16 << 10);
            tokio::spawn(pass(near, inside.dial(address)?, firewall.0.subscribe()));
            Ok(client)
        }))
    }

    /// This befalls what is open now; what is opened later lives.
    fn befall(&self, fate: Fate) {
        self.0.send_modify(|(times, now)| (*times, *now) = (*times + 1, fate));
    }
}

async fn pass(mut near: DuplexStream, mut there: DuplexStream, mut fates: watch::Receiver<(u64, Fate)>) {
    fates.borrow_and_update();
    let passing = async { drop(copy_bidirectional(&mut near, &mut there).await) };
    let fate = tokio::select! {
        () = passing => Fate::Cut,
        changed = fates.changed() => changed.map_or(Fate::Cut, |()| fates.borrow().1),
    };
    if fate == Fate::Dark {
        // Held open, so that nobody sees an end.
        std::future::pending::<()>().await;
    }
}

/// Sends orders, idles for a quarter of an hour, has what is open befallen, and sends more. How long a send took at most.
async fn idles_and_goes_on(fate: Fate) -> Duration {
    let broker = DevBroker::builder().in_memory().topic(DELIVERY, 1).start().await.unwrap();
    let firewall = Firewall::new();
    let config = firewall.config(&broker.config_inside());
    let (carrier, life) = (Carrier::default(), Life::new());
    let ship = Ship { carrier: carrier.clone(), life };
    let consumer = DeliveryConsumer::builder(&config).group(DELIVERY_GROUP).handler(ship);
    let consumer = consumer.concurrency(Concurrency::InOrder).build().await.unwrap();
    let run = tokio::spawn(consumer.run(std::future::pending()));
    let producer = DeliveryProducer::connect(&config).await.unwrap();
    let order = |n: u32| DeliveryOrder::new(&format!("k{n}"), "02758", PLAIN, "5/30/2023").unwrap();
    let mut longest = Duration::ZERO;
    for (round, orders) in identified(1, (0..12).map(order)).chunks(3).enumerate() {
        for order in orders {
            let begun = Instant::now();
            let receipt = producer.send(order).await;
            assert!(receipt.is_ok(), "{fate:?}, round {round}: {receipt:?}");
            longest = longest.max(begun.elapsed());
        }
        let has_all = async {
            while carrier.books().effects.len() < 3 * (round + 1) {
                sleep(Duration::from_millis(100)).await;
            }
        };
        assert!(
            timeout(Duration::from_secs(90), has_all).await.is_ok(),
            "{fate:?}, round {round}: the consumer stands"
        );
        sleep(Duration::from_secs(900)).await;
        firewall.befall(fate);
    }
    assert_eq!(broker.offsets(DELIVERY, 0).unwrap(), 0..12, "{fate:?}: each order is in the log once");
    assert!(carrier.books().finished.values().all(|times| *times == 1), "{fate:?}: {:?}", carrier.books().finished);
    run.abort();
    drop(run.await);
    broker.shutdown().await;
    longest
}

#[tokio::test(start_paused = true)]
async fn connections_that_idled_and_were_cut_are_replaced_at_once_without_an_error_to_anybody() {
    let longest = idles_and_goes_on(Fate::Cut).await;
    assert!(longest < Duration::from_secs(2), "{longest:?}");
}

#[tokio::test(start_paused = true)]
async fn connections_that_a_firewall_dropped_without_a_word_are_found_within_the_request_timeout() {
    let longest = idles_and_goes_on(Fate::Dark).await;
    assert!(longest < Duration::from_secs(32), "{longest:?}");
}
