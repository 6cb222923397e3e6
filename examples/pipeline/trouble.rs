//! Makes a schedule's troubles happen while the shop works.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;

use orderflow::Result;
use orderflow::broker::{DevBroker, Installed, Rule};
use orderflow::config::{ClientConfig, properties};
use orderflow::order::{DeliveryOrder, InventoryOrder, Order};

use tokio_util::sync::CancellationToken;

use crate::face::consume::Effect;
use crate::schedule::{PARTITIONS, Schedule, What};
use crate::shaky::Temper;

/// How many rules lie in wait for requests at a time. The oldest goes, as there may be no request that it wants.
const IN_WAIT: usize = 6;

/// Settings under which little data meets many troubles, and what is lost is noticed soon.
const TEMPO: &[(&str, &str)] = &[
    ("batch.size", "2048"),
    ("max.partition.fetch.bytes", "4096"),
    ("fetch.max.bytes", "16384"),
    ("prefetch.max.bytes", "65536"),
    ("fetch.max.wait.ms", "50"),
    ("request.timeout.ms", "1000"),
    ("retry.backoff.ms", "5"),
    ("retry.backoff.max.ms", "50"),
    // All nodes may be away at once, and a busy machine takes its time.
    ("bootstrap.retry.ms", "20000"),
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
    rules: VecDeque<(What, Installed)>,
}

impl<'a> Troubles<'a> {
    pub(crate) fn new(broker: &'a DevBroker, temper: Temper, seed: u64) -> Self {
        Self { broker, temper, seed, happened: BTreeMap::new(), rules: VecDeque::new() }
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
            self.happen(trouble.what).await?;
        }
        self.temper.clear();
        while self.uninstall() {}
        Ok(())
    }

    fn count(&mut self, what: What, times: u64) {
        if times > 0 {
            *self.happened.entry(what.to_string()).or_default() += times;
        }
    }

    /// Takes the oldest rule away, if there is one.
    fn uninstall(&mut self) -> bool {
        let Some((what, rule)) = self.rules.pop_front() else { return false };
        self.count(what, rule.applied());
        true
    }

    /// Has one thing go wrong. It is not cut off in its middle: a node that stopped must start again.
    async fn happen(&mut self, what: What) -> Result<()> {
        let broker = self.broker;
        match what {
            What::Requests { node, api, verdict, times } => {
                let rule = api.map_or_else(Rule::any, Rule::on).node(node).times(times).then(verdict);
                self.rules.push_back((what, broker.install(rule)));
                if self.rules.len() > IN_WAIT {
                    self.uninstall();
                }
                return Ok(());
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
        self.count(what, 1);
        Ok(())
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
