//! Producers that send a list of orders until each is acknowledged, and remember what they were told; killed, they begin
//! again as another process with the same list.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::{JoinError, JoinHandle};

use crate::config::ClientConfig;
use crate::order::{Identity, Order, Source};
use crate::producer::OrderProducer;
use crate::testing::Life;

/// What a sender knows of one order.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub(super) topic: &'static str,
    pub(super) sender: Sender,
    pub(super) key: String,
    pub(super) identity: String,
    /// How many sends were acknowledged.
    pub(super) acknowledged: u64,
    /// How many failed after they may have been written.
    pub(super) doubtful: u64,
    /// Whether the first send was the one that was acknowledged.
    pub(super) at_once: bool,
    /// Whether a send is under way.
    open: bool,
}

/// Who sends, in which of its lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Sender {
    pub(super) number: u64,
    pub(super) life: u32,
}

impl From<u64> for Sender {
    fn from(number: u64) -> Self {
        Self { number, life: 0 }
    }
}

/// A producer's process.
pub(super) struct Sending {
    sender: Sender,
    life: Life,
    run: JoinHandle<()>,
    /// Another process with the same orders.
    again: Arc<dyn Fn(Sender, Life) -> JoinHandle<()> + Send + Sync>,
    told: Told,
}

impl Sending {
    pub(super) fn start<O: Order>(config: &ClientConfig, number: u64, orders: Vec<O>, most: u64, told: &Told) -> Self {
        let (base, mine) = (config.clone(), told.clone());
        let again = Arc::new(move |sender, life: Life| {
            tokio::spawn(send(life.config(&base), sender, orders.clone(), most, mine.clone()))
        });
        let (sender, life) = (Sender::from(number), Life::new());
        Self { sender, run: again(sender, life.clone()), life, again, told: told.clone() }
    }

    pub(super) fn is_finished(&self) -> bool {
        self.run.is_finished()
    }

    /// As SIGKILL does. What was under way may be written, and the next process sends all again.
    pub(super) fn kill(&mut self) {
        self.life.kill();
        self.run.abort();
        self.told.give_up(self.sender);
        self.sender.life += 1;
        self.life = Life::new();
        self.run = (self.again)(self.sender, self.life.clone());
    }

    /// Its end; a panic is an error.
    pub(super) async fn end(self) -> Result<(), JoinError> {
        self.run.await
    }
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

    /// The same order is sent once more.
    fn begin_again(&self, at: usize) {
        self.0.lock().unwrap()[at].open = true;
    }

    /// Nobody will tell what became of what this sender has under way.
    fn give_up(&self, sender: Sender) {
        for sent in self.0.lock().unwrap().iter_mut().filter(|sent| sent.sender == sender && sent.open) {
            sent.doubtful += 1;
            sent.open = false;
        }
    }

    fn note(&self, at: usize, result: &crate::Result<crate::producer::Receipt>, first: bool) {
        let mut all = self.0.lock().unwrap();
        all[at].open = false;
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
pub(super) async fn send<O: Order>(
    config: ClientConfig,
    sender: impl Into<Sender>,
    orders: Vec<O>,
    most: u64,
    told: Told,
) {
    let sender = sender.into();
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
            told.begin_again(at);
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

fn fresh<O: Order>(sender: Sender, order: &O) -> Sent {
    Sent {
        topic: O::TOPIC,
        sender,
        key: String::from_utf8(order.key().to_vec()).unwrap(),
        identity: order.identity().unwrap().to_string(),
        acknowledged: 0,
        doubtful: 0,
        at_once: false,
        open: true,
    }
}
