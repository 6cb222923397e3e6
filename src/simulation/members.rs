//! Consumers as processes: started, stopped or killed, and started again by whoever watches over them.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::ledger::{Carrier, Ship};
use super::seat::{Seat, Weather};
use super::settings::DELIVERY_GROUP;
use crate::config::ClientConfig;
use crate::consumer::{Concurrency, Control, DeliveryConsumer, OrderConsumer, Summary};
use crate::order::Order;
use crate::store::Store;
use crate::store::inline::{DELIVERY_GROUP as SCHEDULING_GROUP, DeliveryBase, GROUP, StockBase};
use crate::testing::Life;
use crate::{Error, Result};

/// What a member does.
#[derive(Clone)]
pub(super) enum Job {
    Stock(Arc<StockBase>, Weather),
    Scheduling(Arc<DeliveryBase>, Weather),
    Shipping(Carrier),
}

/// A process with a consumer.
pub(super) struct Member {
    pub(super) job: Job,
    life: Life,
    stop: CancellationToken,
    run: JoinHandle<Result<Summary>>,
    control: Arc<Mutex<Option<Control>>>,
}

impl Member {
    pub(super) fn start(job: Job, base: &ClientConfig) -> Self {
        let (life, stop) = (Life::new(), CancellationToken::new());
        let config = life.config(base);
        let control = Arc::new(Mutex::new(None));
        let shown = control.clone();
        let tell = move |running| *shown.lock().unwrap() = Some(running);
        let run = match job.clone() {
            Job::Stock(base, weather) => {
                let seat = Seat::new(base, life.clone(), weather);
                tokio::spawn(work(with_store(config, GROUP, seat), stop.clone(), tell))
            }
            Job::Scheduling(base, weather) => {
                let seat = Seat::new(base, life.clone(), weather);
                tokio::spawn(work(with_store(config, SCHEDULING_GROUP, seat), stop.clone(), tell))
            }
            Job::Shipping(carrier) => {
                let mine = life.clone();
                let make = move || {
                    let ship = Ship { carrier: carrier.clone(), life: mine.clone() };
                    let builder = DeliveryConsumer::builder(&config).group(DELIVERY_GROUP).handler(ship);
                    let builder = builder.concurrency(Concurrency::PerKey(4));
                    async move { builder.build().await }
                };
                tokio::spawn(work(make, stop.clone(), tell))
            }
        };
        Self { job, life, stop, run, control }
    }

    pub(super) fn has_ended(&self) -> bool {
        self.run.is_finished()
    }

    /// What its consumer says of itself.
    pub(super) fn story(&self) -> String {
        let job = match self.job {
            Job::Stock(..) => "stock",
            Job::Scheduling(..) => "scheduling",
            Job::Shipping(..) => "shipping",
        };
        match &*self.control.lock().unwrap() {
            Some(control) => format!("{job}: {}; {}; {:?}", control.health(), control.summary(), control.lag()),
            None => format!("{job}: not built"),
        }
    }

    /// As SIGKILL does.
    pub(super) fn kill(self) -> Job {
        self.life.kill();
        self.run.abort();
        self.job
    }

    /// As SIGTERM does. The error that the run ended with; a panic is one.
    pub(super) async fn stop(self) -> (Job, Result<Summary>) {
        self.stop.cancel();
        let ended = match tokio::time::timeout(Duration::from_secs(60), self.run).await {
            Ok(Ok(ended)) => ended,
            Ok(Err(panic)) => Err(Error::new(crate::ErrorCode::Internal, format!("the run panicked: {panic}"))),
            Err(_) => Err(Error::new(crate::ErrorCode::Timeout, "the run does not end when it is told to")),
        };
        self.life.kill();
        (self.job, ended)
    }
}

/// Makes consumers with a store.
fn with_store<O: Order, S: Store<O> + Clone>(
    config: ClientConfig,
    group: &'static str,
    seat: S,
) -> impl Fn() -> BoxFuture<'static, Result<OrderConsumer<O>>> {
    move || {
        let builder = OrderConsumer::<O>::builder(&config).group(group).store(seat.clone());
        async move { builder.build().await }.boxed()
    }
}

/// Builds a consumer, again and again while no broker answers, and runs it until it is told to stop.
pub(super) async fn work<O: Order, F>(
    make: impl Fn() -> F,
    stop: CancellationToken,
    tell: impl FnOnce(Control),
) -> Result<Summary>
where
    F: Future<Output = Result<OrderConsumer<O>>>,
{
    loop {
        match make().await {
            Ok(consumer) => {
                tell(consumer.control());
                return consumer.run(stop.cancelled_owned()).await;
            }
            Err(_) if stop.is_cancelled() => return Ok(Summary::default()),
            Err(error) if error.is_retriable() => tokio::time::sleep(Duration::from_millis(100)).await,
            Err(error) => return Err(error),
        }
    }
}
