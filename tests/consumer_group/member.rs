//! A member under test.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use orderflow::broker::DevBroker;
use orderflow::cluster::Cluster;
use orderflow::cluster::admin::groups::describe_group;
use orderflow::config::ClientConfig;
use orderflow::consumer::{Control, Delivered, Failure, InventoryConsumer, Outcome, Summary};
use orderflow::order::InventoryOrder;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinHandle;

use crate::consumer_support::{SOON, config};
use crate::support::wait::until_async;

pub(crate) const GROUP: &str = "shipping";

/// The protocols under which each case runs.
pub(crate) const PROTOCOLS: [&str; 2] = ["consumer", "classic"];

/// What was handed out: member, order, attempt.
pub(crate) type Handed = Arc<Mutex<Vec<(&'static str, String, u32)>>>;

/// An order that is kept in hand until it is let go.
#[derive(Clone)]
pub(crate) struct Gate {
    pub(crate) order: &'static str,
    pub(crate) member: &'static str,
    pub(crate) open: Arc<Semaphore>,
}

impl Gate {
    pub(crate) fn new(member: &'static str, order: &'static str) -> Self {
        Self { order, member, open: Arc::new(Semaphore::new(0)) }
    }

    pub(crate) fn open(&self) {
        self.open.add_permits(1000);
    }
}

/// A consumer that runs.
pub(crate) struct Member {
    pub(crate) control: Control,
    stop: oneshot::Sender<()>,
    pub(crate) run: JoinHandle<orderflow::Result<Summary>>,
}

/// A place for members that can be ended at once, as by a signal that no program can catch.
pub(crate) struct Process(tokio::runtime::Runtime);

impl Process {
    pub(crate) fn new() -> Self {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        Self(builder.worker_threads(1).enable_all().build().unwrap())
    }

    pub(crate) async fn start(
        &self,
        broker: &DevBroker,
        name: &'static str,
        handed: &Handed,
        settings: &[(&'static str, &'static str)],
    ) -> Member {
        let (bootstrap, handed, settings) = (config(broker), handed.clone(), settings.to_vec());
        let start = async move { Member::start_with(bootstrap, name, &handed, &[], &settings).await };
        self.0.spawn(start).await.unwrap()
    }

    /// Nothing in it says a word any more.
    pub(crate) fn kill(self) {
        self.0.shutdown_background();
    }
}

impl Member {
    pub(crate) async fn start(
        broker: &DevBroker,
        name: &'static str,
        handed: &Handed,
        gate: Option<&Gate>,
        settings: &[(&str, &str)],
    ) -> Self {
        Self::start_gated(broker, name, handed, gate.map(std::slice::from_ref).unwrap_or_default(), settings).await
    }

    pub(crate) async fn start_gated(
        broker: &DevBroker,
        name: &'static str,
        handed: &Handed,
        gates: &[Gate],
        settings: &[(&str, &str)],
    ) -> Self {
        Self::start_with(config(broker), name, handed, gates, settings).await
    }

    async fn start_with(
        config: ClientConfig,
        name: &'static str,
        handed: &Handed,
        gates: &[Gate],
        settings: &[(&str, &str)],
    ) -> Self {
        let quick = [("heartbeat.interval.ms", "50"), ("auto.commit.interval.ms", "50")];
        let pairs = quick.iter().chain(settings);
        let config = pairs.fold(config.client_id(name), |config, (key, value)| config.set(key, *value).unwrap());
        let (handed, gates) = (handed.clone(), gates.to_vec());
        let handler = move |order: Delivered<InventoryOrder>| {
            let id = order.value().order_id().to_owned();
            let is_held = |gate: &&Gate| gate.member == name && gate.order == id && order.attempt() == 1;
            let held = gates.iter().find(is_held).cloned();
            handed.lock().unwrap().push((name, id, order.attempt()));
            async move {
                if let Some(gate) = held {
                    drop(gate.open.acquire().await.unwrap());
                }
                Ok::<_, Failure>(Outcome::Done)
            }
        };
        let consumer = InventoryConsumer::builder(&config).group(GROUP).handler(handler).build().await.unwrap();
        let control = consumer.control();
        let (stop, stopped) = oneshot::channel();
        let run = tokio::spawn(consumer.run(async { drop(stopped.await) }));
        Self { control, stop, run }
    }

    /// The partitions that it reads.
    pub(crate) fn partitions(&self) -> Vec<i32> {
        self.control.lag().into_iter().map(|lag| lag.partition).collect()
    }

    pub(crate) async fn owns(&self, count: usize) {
        let look = async || (self.partitions().len() == count).then_some(());
        let looking = until_async("as many partitions are ours", 2 * SOON, look);
        if tokio::time::timeout(SOON, looking).await.is_err() {
            panic!("{count} partitions are to be ours: {:?}; {}", self.partitions(), self.control.health());
        }
    }

    pub(crate) async fn stop(self) -> Summary {
        let _ = self.stop.send(());
        let ended = tokio::time::timeout(SOON, self.run).await.expect("it stops");
        ended.unwrap().unwrap()
    }

    /// Its run is dropped.
    pub(crate) fn abandon(self) {
        self.run.abort();
    }
}

/// The ids of the orders that were handed out, each as often as it was.
pub(crate) fn orders(handed: &Handed) -> Vec<u64> {
    let mut ids: Vec<u64> = handed.lock().unwrap().iter().map(|(_, id, _)| id.parse().unwrap()).collect();
    ids.sort_unstable();
    ids
}

pub(crate) async fn handed_out(handed: &Handed, count: usize) {
    let look = async || (handed.lock().unwrap().len() >= count).then_some(());
    until_async("as many orders are handed out", SOON, look).await;
}

/// The client ids of the group's members, as the coordinator lists them.
pub(crate) async fn members(broker: &DevBroker) -> Vec<String> {
    let cluster = Cluster::connect(&broker.config()).await.unwrap();
    let group = describe_group(&cluster, GROUP).await.unwrap();
    cluster.close().await;
    let mut names: Vec<String> = group.members.iter().map(|member| member.client_name().to_owned()).collect();
    names.sort();
    names
}

/// Waits until the group's offset is this.
pub(crate) async fn committed(broker: &DevBroker, partition: i32, offset: i64) {
    let look = async || {
        let committed = broker.committed(GROUP, crate::consumer_support::TOPIC, partition);
        (committed == Some(offset)).then_some(())
    };
    until_async("the offset is committed", Duration::from_secs(10), look).await;
}

/// Waits until the coordinator lists so many members.
pub(crate) async fn until_joined(broker: &DevBroker, count: usize) {
    until_async("the member is listed", SOON, async || (members(broker).await.len() == count).then_some(())).await;
}
