//! The whole shop in one process: the development broker, both producers, both consumers, then stock, deliveries and
//! the audit.

#[path = "../face/mod.rs"]
mod face;
mod schedule;
mod shaky;
mod shop;
mod trouble;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use face::Flags;
use face::finish::{Ending, main_of};
use face::output::{Lines, complain};
use orderflow::broker::DevBroker;
use orderflow::order::{DeliveryOrder, InventoryOrder, Order};
use orderflow::{Error, ErrorCode, Result};
use shaky::Temper;
use shop::{Orders, Shop};
use tokio_util::sync::CancellationToken;
use trouble::Troubles;

/// Runs the whole shop in this process, on the development broker.
#[derive(Parser, Debug)]
#[command(version, about)]
struct Arguments {
    #[command(flatten)]
    flags: Flags,
    /// The order file; default: fixtures/orders.json, which the program has in itself
    file: Option<PathBuf>,
    /// Make this many orders up instead
    #[arg(long)]
    orders: Option<u64>,
    /// The seed of made-up orders
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Inject troubles that this seed decides meanwhile: lost answers, broken connections, restarts, leader changes,
    /// throttles, slow and failing stores. In the end everything must be as without them
    #[arg(long, value_name = "SEED")]
    faults: Option<u64>,
    /// Let any Kafka client reach the broker at this address
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,
    /// Where the stores are kept; default: a temporary folder
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,
    /// Go on until a signal
    #[arg(long)]
    keep: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    arguments.flags.start_log();
    let patience = arguments.flags.patience();
    main_of(patience, |stop| run(arguments, stop))
}

async fn run(arguments: Arguments, stop: CancellationToken) -> Result<Ending> {
    let lines = Lines::new(stop.clone());
    let Some(settings) = arguments.flags.settings(&lines)? else { return Ok(Ending::Done) };
    let folder = Folder::at(arguments.store.as_deref())?;
    let broker = start_broker(&arguments).await?;
    let bootstrap = broker.bootstrap();
    complain(&format!("development broker on {bootstrap} (in memory, never for production)"));
    let orders = match (arguments.orders, &arguments.file) {
        (Some(count), _) => Orders::MadeUp { count, seed: arguments.seed },
        (None, Some(path)) => Orders::File(path.clone()),
        (None, None) => Orders::Fixture,
    };
    let config = settings.set("bootstrap.servers", bootstrap)?;
    let config = if arguments.faults.is_some() { trouble::settings(config)? } else { config };
    let (temper, flags) = (Temper::default(), arguments.flags.clone());
    let shop = Shop { config, folder: folder.path().to_owned(), flags, lines: lines.clone(), temper: temper.clone() };
    let holds = match arguments.faults {
        Some(seed) => Box::pin(in_trouble(&shop, orders, Troubles::new(&broker, temper, seed), &stop)).await,
        None => shop.run(orders, &stop).await.map(|run| run.holds),
    };
    lines.flush();
    if arguments.keep && holds.is_ok() && !stop.is_cancelled() {
        complain("the broker goes on until a signal: try the other examples, Kafka's console tools or kafka-python");
        stop.cancelled().await;
    }
    broker.shutdown().await;
    Ok(if holds? { Ending::Done } else { Ending::Undone })
}

/// Runs the shop while troubles come. Then the logs must hold each order once, and the stores must have settled each.
async fn in_trouble(shop: &Shop, orders: Orders, mut troubles: Troubles<'_>, stop: &CancellationToken) -> Result<bool> {
    let ran = Box::pin(troubles.beside(shop.run(orders, stop))).await;
    complain(&troubles.to_string());
    let ran = ran?;
    let mut holds = ran.holds;
    for (name, published, written, settled) in [
        (InventoryOrder::TYPE, ran.published.0, troubles.written::<InventoryOrder>()?, ran.settled.0),
        (DeliveryOrder::TYPE, ran.published.1, troubles.written::<DeliveryOrder>()?, ran.settled.1),
    ] {
        if written != published || settled != published {
            complain(&format!("of {published} {name} orders the log holds {written}, and {settled} are settled"));
            holds = false;
        }
    }
    Ok(holds)
}

async fn start_broker(arguments: &Arguments) -> Result<DevBroker> {
    let mut builder = DevBroker::builder();
    if arguments.faults.is_some() {
        builder = builder.nodes(schedule::NODES);
        for topic in [InventoryOrder::TOPIC, DeliveryOrder::TOPIC] {
            builder = builder.topic(topic, schedule::PARTITIONS);
        }
    }
    match arguments.listen.as_deref() {
        Some(address) => builder.listen(address).start().await,
        None => builder.start().await,
    }
}

/// Where the stores are: a temporary folder goes with the process.
enum Folder {
    Kept(PathBuf),
    Passing(temp_dir::TempDir),
}

impl Folder {
    fn at(given: Option<&std::path::Path>) -> Result<Self> {
        let failed = |cause| Error::new(ErrorCode::StoreIo, "the stores' folder cannot be made").caused_by(cause);
        match given {
            Some(path) => std::fs::create_dir_all(path).map(|()| Self::Kept(path.to_owned())).map_err(failed),
            None => temp_dir::TempDir::new().map(Self::Passing).map_err(failed),
        }
    }

    fn path(&self) -> &std::path::Path {
        match self {
            Self::Kept(path) => path,
            Self::Passing(folder) => folder.path(),
        }
    }
}
