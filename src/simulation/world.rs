//! The simulated world: who is there, and the course of a seed from turmoil to calm.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::ledger::Carrier;
use super::log;
use super::members::{Job, Member};
use super::seat::Weather;
use super::senders::{Sending, Told, identified};
use super::settings::{DELIVERY, DELIVERY_GROUP, INVENTORY, NODES, quick};
use super::{Judged, broken};
use crate::broker::{DevBroker, Installed};
use crate::config::ClientConfig;
use crate::consumer::Summary;
use crate::order::{DeliveryOrder, InventoryOrder, Movement};
use crate::store::inline::{DELIVERY_GROUP as SCHEDULING_GROUP, DeliveryBase, GROUP, StockBase};

/// How long things go wrong.
const TURMOIL: Duration = Duration::from_secs(12);

/// From the last trouble until everything is settled: a session of 6 s may have to end, deliveries of 4 s to be given up.
const RECOVERY: Duration = Duration::from_secs(120);

/// Orders of each sender.
const ORDERS: u32 = 50;

pub(super) struct World {
    pub(super) chance: fastrand::Rng,
    pub(super) broker: DevBroker,
    pub(super) config: ClientConfig,
    pub(super) base: Arc<StockBase>,
    pub(super) scheduled: Arc<DeliveryBase>,
    pub(super) weather: Weather,
    pub(super) carrier: Carrier,
    pub(super) members: Vec<Member>,
    pub(super) leaving: Vec<JoinHandle<(Job, crate::Result<Summary>)>>,
    pub(super) told: Told,
    pub(super) rules: Vec<Installed>,
    pub(super) down: Vec<i32>,
    pub(super) nonsense: u32,
    pub(super) senders: Vec<Sending>,
}

impl World {
    pub(super) async fn start(seed: u64) -> Self {
        let mut chance = fastrand::Rng::with_seed(seed);
        let broker = DevBroker::builder().in_memory().nodes(NODES).partitions(2).group_session(Duration::from_secs(6));
        let broker = broker.topic(INVENTORY, 3).topic(DELIVERY, 2).start().await.unwrap();
        let config = quick(broker.config_inside(), &mut chance);
        Self {
            chance,
            broker,
            config,
            base: StockBase::new(),
            scheduled: DeliveryBase::new(),
            weather: Weather::default(),
            carrier: Carrier::default(),
            members: Vec::new(),
            leaving: Vec::new(),
            told: Told::default(),
            rules: Vec::new(),
            down: Vec::new(),
            nonsense: 0,
            senders: Vec::new(),
        }
    }

    pub(super) async fn live(mut self) -> Judged {
        for sender in 0..2 {
            let stock = identified(sender, (0..ORDERS).map(|n| movement(&mut self.chance, n)));
            self.send(sender, stock);
            let deliveries = identified(100 + sender, (0..ORDERS).map(|n| delivery(&mut self.chance, n)));
            self.send(100 + sender, deliveries);
        }
        for _ in 0..2 {
            self.begin(Job::Stock(self.base.clone(), self.weather.clone()));
            self.begin(Job::Shipping(self.carrier.clone()));
        }
        self.begin(Job::Scheduling(self.scheduled.clone(), self.weather.clone()));
        self.turmoil().await;
        self.recover().await?;
        self.judge().await?;
        self.stay_calm().await?;
        self.judge().await?;
        self.end().await
    }

    pub(super) fn begin(&mut self, job: Job) {
        self.members.push(Member::start(job, &self.config));
    }

    pub(super) fn send<O: crate::order::Order>(&mut self, sender: u64, orders: Vec<O>) {
        self.senders.push(Sending::start(&self.config, sender, orders, 600, &self.told));
    }

    async fn turmoil(&mut self) {
        let over = Instant::now() + TURMOIL;
        while Instant::now() < over {
            let pause = self.chance.u64(20..500);
            tokio::time::sleep(Duration::from_millis(pause)).await;
            self.trouble().await;
            self.watch_over().await;
        }
        self.heal().await;
    }

    /// Starts what has ended by itself again, as an orchestrator does.
    async fn watch_over(&mut self) {
        let (ended, alive): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.members).into_iter().partition(Member::has_ended);
        self.members = alive;
        for member in ended {
            let (job, _) = member.stop().await;
            self.begin(job);
        }
    }

    /// Restarts all members one by one: what stopped on purpose while all went wrong goes on.
    pub(super) async fn restart_members(&mut self) -> Judged {
        for _ in 0..self.members.len() {
            let (job, ended) = self.members.remove(0).stop().await;
            self.begin(job);
            if let Err(error) = ended
                && error.code() == crate::ErrorCode::Internal
            {
                return broken("nothing panics", error.to_string());
            }
        }
        Ok(())
    }

    async fn recover(&mut self) -> Judged {
        tokio::time::sleep(Duration::from_secs(3)).await;
        self.restart_members().await?;
        self.settle().await
    }

    /// Waits until all that was sent is in the log, and all that is in the log is settled.
    pub(super) async fn settle(&mut self) -> Judged {
        let by = Instant::now() + RECOVERY;
        loop {
            tokio::time::sleep(Duration::from_millis(500)).await;
            self.watch_over().await;
            let sent = self.senders.iter().all(Sending::is_finished);
            let stock = log::is_read(&self.broker, GROUP, INVENTORY);
            let shipped = log::is_read(&self.broker, DELIVERY_GROUP, DELIVERY)
                && log::is_read(&self.broker, SCHEDULING_GROUP, DELIVERY);
            let relayed = [self.base.backlog(), self.scheduled.backlog()];
            let relayed = relayed.iter().all(|backlog| backlog.as_ref().is_ok_and(|backlog| backlog.rows == 0));
            if sent && stock && shipped && relayed {
                return self.senders_are_well().await;
            }
            if Instant::now() > by {
                let committed = |group: &str, topic: &str| -> Vec<_> {
                    (0..3).map(|partition| self.broker.committed(group, topic, partition)).collect()
                };
                let (ours, ends) = (committed(GROUP, INVENTORY), log::ends(&self.broker, INVENTORY));
                let (theirs, deliveries) = (committed(DELIVERY_GROUP, DELIVERY), log::ends(&self.broker, DELIVERY));
                let scheduled = committed(SCHEDULING_GROUP, DELIVERY);
                let members = self.story();
                let story = format!(
                    "sent {sent}, stock {ours:?} of {ends:?}, deliveries {theirs:?} and {scheduled:?} of {deliveries:?}, \
                     relayed {relayed}, \
                     {members:#?}"
                );
                return broken("everything is settled in bounded time", story);
            }
        }
    }

    /// What the members say of themselves.
    pub(super) fn story(&self) -> Vec<String> {
        self.members.iter().map(Member::story).collect()
    }

    async fn senders_are_well(&mut self) -> Judged {
        for sender in std::mem::take(&mut self.senders) {
            if let Err(panic) = sender.end().await {
                return broken("nothing panics", panic.to_string());
            }
        }
        Ok(())
    }

    async fn end(mut self) -> Judged {
        for leaving in std::mem::take(&mut self.leaving) {
            if let Ok((_, Err(error))) = leaving.await
                && error.code() == crate::ErrorCode::Internal
            {
                return broken("nothing panics", error.to_string());
            }
        }
        for member in std::mem::take(&mut self.members) {
            if let (_, Err(error)) = member.stop().await {
                return broken("a stop in calm is clean", error.to_string());
            }
        }
        self.broker.shutdown().await;
        Ok(())
    }
}

fn movement(chance: &mut fastrand::Rng, number: u32) -> InventoryOrder {
    let kind = if chance.u8(0..3) == 0 { Movement::Issue } else { Movement::Receipt };
    let product = format!("p{}", chance.u8(0..5));
    let order = InventoryOrder::new(&number.to_string(), &product, chance.u32(1..9), "5/30/2023").unwrap();
    order.with_movement(kind)
}

fn delivery(chance: &mut fastrand::Rng, number: u32) -> DeliveryOrder {
    let key = format!("k{}", chance.u8(0..6));
    DeliveryOrder::new(&key, "02758", number + 1, "5/30/2023").unwrap()
}
