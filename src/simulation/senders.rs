//! Producers that send a list of orders until each is acknowledged, and remember what they were told.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::config::ClientConfig;
use crate::order::{Identity, Order, Source};
use crate::producer::OrderProducer;

/// What a sender knows of one order.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub(super) topic: &'static str,
    pub(super) sender: u64,
    pub(super) key: String,
    pub(super) identity: String,
    /// How many sends were acknowledged.
    pub(super) acknowledged: u64,
    /// How many failed after they may have been written.
    pub(super) doubtful: u64,
    /// Whether the first send was the one that was acknowledged.
    pub(super) at_once: bool,
}

/// What all senders know, in the order of their sends.
#[derive(Clone, Debug, Default)]
pub(super) struct Told(Arc<Mutex<Vec<Sent>>>);

impl Told {
    pub(super) fn all(&self) -> Vec<Sent> {
        self.0.lock().unwrap().clone()
    }

    fn begin(&self, sent: Sent) -> usize {
        let mut all = self.0.lock().unwrap();
        all.push(sent);
        all.len() - 1
    }

    fn note(&self, at: usize, result: &crate::Result<crate::producer::Receipt>, first: bool) {
        let mut all = self.0.lock().unwrap();
        match result {
            Ok(_) => {
                all[at].acknowledged += 1;
                all[at].at_once = first;
            }
            Err(error) => all[at].doubtful += u64::from(error.possibly_written()),
        }
    }
}

/// Numbers the orders of a sender.
pub(super) fn identified<O: Order>(sender: u64, orders: impl IntoIterator<Item = O>) -> Vec<O> {
    let source = Source::from_entropy(u128::from(sender).to_be_bytes());
    let numbered = orders.into_iter().zip(0..).map(|(mut order, index)| {
        order.set_identity(Identity::numbered(source, index).unwrap());
        order
    });
    numbered.collect()
}

/// Sends the orders, and those that failed again until none does. Between two it pauses up to so many milliseconds.
pub(super) async fn send<O: Order>(config: ClientConfig, sender: u64, orders: Vec<O>, most: u64, told: Told) {
    let pause = |most: u64| tokio::time::sleep(Duration::from_millis(fastrand::u64(0..=most)));
    let producer = loop {
        match OrderProducer::<O>::connect(&config).await {
            Ok(producer) => break producer,
            Err(_) => pause(200).await,
        }
    };
    let (mut pending, mut failed) = (Vec::new(), Vec::new());
    for order in &orders {
        let at = told.begin(fresh(sender, order));
        match producer.enqueue(order).await {
            Ok(receipt) => pending.push((at, order, receipt)),
            Err(error) => {
                told.note(at, &Err(error), true);
                failed.push((at, order));
            }
        }
        if fastrand::u8(0..3) == 0 {
            pause(most).await;
        }
    }
    for (at, order, receipt) in pending {
        let result = receipt.await;
        told.note(at, &result, true);
        if result.is_err() {
            failed.push((at, order));
        }
    }
    for (at, order) in failed {
        loop {
            let result = producer.send(order).await;
            told.note(at, &result, false);
            if result.is_ok() {
                break;
            }
            pause(300).await;
        }
    }
    drop(producer.close().await);
}

fn fresh<O: Order>(sender: u64, order: &O) -> Sent {
    Sent {
        topic: O::TOPIC,
        sender,
        key: String::from_utf8(order.key().to_vec()).unwrap(),
        identity: order.identity().unwrap().to_string(),
        acknowledged: 0,
        doubtful: 0,
        at_once: false,
    }
}
