//! Makes a schedule's troubles happen while the shop works.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use orderflow::Result;
use orderflow::broker::{DevBroker, Rule};
use orderflow::config::{ClientConfig, properties};
use orderflow::order::{DeliveryOrder, InventoryOrder, Order};

use tokio_util::sync::CancellationToken;

use crate::face::consume::Effect;
use crate::schedule::{PARTITIONS, Schedule, What};
use crate::shaky::Temper;

/// How long requests that are to meet a verdict are waited for: there may be none of that kind.
const WAIT: Duration = Duration::from_millis(20);

/// Settings under which little data meets many troubles, and what is lost is noticed soon.
const TEMPO: &[(&str, &str)] = &[
    ("batch.size", "2048"),
    ("max.partition.fetch.bytes", "4096"),
    ("fetch.max.bytes", "16384"),
    ("fetch.max.wait.ms", "50"),
    ("request.timeout.ms", "1000"),
    ("retry.backoff.ms", "5"),
    ("retry.backoff.max.ms", "50"),
    ("reconnect.backoff.ms", "5"),
    ("reconnect.backoff.max.ms", "50"),
];

/// The settings of clients that live with troubles; what somebody has set stays.
pub(crate) fn settings(mut config: ClientConfig) -> Result<ClientConfig> {
    for (key, value) in TEMPO {
        if properties::find(key).is_some_and(|property| config.text(property) == property.default) {
            config = config.set(key, *value)?;
        }
    }
    Ok(config)
}

/// Troubles that come while something else is done.
pub(crate) struct Troubles<'a> {
    broker: &'a DevBroker,
    temper: Temper,
    seed: u64,
    happened: BTreeMap<String, u64>,
}

impl<'a> Troubles<'a> {
    pub(crate) fn new(broker: &'a DevBroker, temper: Temper, seed: u64) -> Self {
        Self { broker, temper, seed, happened: BTreeMap::new() }
    }

    /// Does the work while troubles come. The broker is whole again when this returns.
    pub(crate) async fn beside<T>(&mut self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let over = CancellationToken::new();
        let working = async {
            // Raised also when the work is dropped.
            let _over = over.clone().drop_guard();
            work.await
        };
        let (done, troubled) = tokio::join!(working, self.come(&over));
        troubled.and(done)
    }

    async fn come(&mut self, over: &CancellationToken) -> Result<()> {
        for trouble in Schedule::new(self.seed) {
            if over.run_until_cancelled(tokio::time::sleep(trouble.after)).await.is_none() {
                break;
            }
            let fell = self.happen(trouble.what, over).await?;
            *self.happened.entry(trouble.what.to_string()).or_default() += fell;
        }
        self.temper.clear();
        Ok(())
    }

    /// Returns how much of it happened. It is not cut off in its middle: a node that stopped must start again.
    async fn happen(&self, what: What, over: &CancellationToken) -> Result<u64> {
        let broker = self.broker;
        match what {
            What::Requests { node, api, verdict, times } => {
                let rule = api.map_or_else(Rule::any, Rule::on).node(node).times(times).then(verdict);
                let rule = broker.install(rule);
                let all = tokio::time::timeout(WAIT, rule.fallen(times));
                let _ = over.run_until_cancelled(all).await;
                return Ok(rule.applied());
            }
            What::Restart { node } => match broker.restart(node).await {
                Ok(()) => {}
                // Somebody took the port meanwhile.
                Err(_) => broker.change_port(node).await?,
            },
            What::ChangePort { node } => broker.change_port(node).await?,
            What::MoveLeader { first_topic, partition, node } => {
                broker.move_leader(topic(first_topic), partition, node)?;
            }
            What::BumpEpoch { first_topic, partition } => broker.bump_epoch(topic(first_topic), partition)?,
            What::MoveCoordinator { node } => {
                for group in [InventoryOrder::GROUP, DeliveryOrder::GROUP] {
                    broker.move_coordinator(group, node);
                }
            }
            What::ForgetSessions => broker.forget_fetch_sessions(),
            What::Store(mood) => self.temper.next(mood),
        }
        Ok(1)
    }

    /// How many records the logs hold of an order type.
    pub(crate) fn written<O: Order>(&self) -> Result<u64> {
        let ends = (0..PARTITIONS).map(|partition| self.broker.offsets(O::TOPIC, partition));
        ends.map(|offsets| offsets.map(|offsets| offsets.end.unsigned_abs())).sum()
    }
}

impl fmt::Display for Troubles<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "troubles of seed {}:", self.seed)?;
        let mut between = "";
        for (what, count) in &self.happened {
            write!(f, "{between} {count} {what}")?;
            between = ",";
        }
        Ok(())
    }
}

fn topic(first: bool) -> &'static str {
    if first { InventoryOrder::TOPIC } else { DeliveryOrder::TOPIC }
}
