//! The producers' program: order files, stdin or made-up orders to a topic, receipts to stdout.

mod following;
mod inputs;
mod reading;
mod rejects;
mod sending;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use orderflow::order::Order;
use orderflow::order::generate::Generate;
use orderflow::producer::OrderProducer;
use orderflow::{Error, ErrorCode, Result};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::finish::{Ending, main_of};
use super::flags::Flags;
use super::flights;
use super::output::Lines;
use inputs::Inputs;
use reading::Reader;
use rejects::RejectFile;
use sending::{Pace, Sending, Stopping};

pub use reading::rejected;

/// How many orders are read ahead of what is sent.
const READ_AHEAD: usize = 1024;
/// How long the reader may take to notice that the run stops.
const READER_GRACE: Duration = Duration::from_millis(500);

/// Publishes orders to Kafka.
#[derive(Parser, Debug)]
#[command(version, about)]
struct Arguments {
    #[command(flatten)]
    flags: Flags,
    /// Order files: a JSON array or NDJSON; `-` is stdin
    files: Vec<PathBuf>,
    /// The topic; default: the order type's own
    #[arg(short, long)]
    topic: Option<String>,
    /// Orders a second; 0 is no limit
    #[arg(long, default_value = "0", value_parser = sending::pace_of)]
    rate: Pace,
    /// Start the files again at their end, with new identities each round
    #[arg(long, conflicts_with = "generate")]
    repeat: bool,
    /// Wait for what is appended to an NDJSON file
    #[arg(long, requires = "source", requires = "files", conflicts_with_all = ["generate", "repeat"])]
    follow: bool,
    /// Make orders up
    #[arg(long, conflicts_with = "files")]
    generate: bool,
    /// Stop after this many orders are sent
    #[arg(long)]
    count: Option<u64>,
    /// The seed of made-up orders
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The identity's source: makes the same file's orders new ones
    #[arg(long)]
    source: Option<String>,
    /// Where the bytes of bad entries go, as NDJSON
    #[arg(long)]
    rejects: Option<PathBuf>,
}

/// Runs the producer of one order type.
pub fn main<O: Order + Generate>() -> ExitCode {
    let arguments = Arguments::parse();
    arguments.flags.start_log();
    let patience = arguments.flags.patience();
    main_of(patience, |stop| run::<O>(arguments, stop))
}

async fn run<O: Order + Generate>(arguments: Arguments, stop: CancellationToken) -> Result<Ending> {
    let lines = Lines::new(stop.clone());
    let Some(config) = arguments.flags.settings(&lines)? else { return Ok(Ending::Done) };
    let inputs = Inputs::of(&arguments)?;
    let rejects = arguments.rejects.as_deref().map(|path| RejectFile::new(path, inputs.paths())).transpose()?;
    let producer = {
        let topic = arguments.topic.clone().unwrap_or_else(|| O::TOPIC.to_owned());
        OrderProducer::<O>::builder(&config).topic(topic).connect().await?
    };
    let (at_a_panic, at_a_signal) = (producer.clone(), producer.clone());
    flights::at_a_panic(move || at_a_panic.write_flight(None));
    tokio::select! {
        ending = produce((arguments, inputs, rejects), producer, lines, stop) => ending,
        never = flights::at_each_signal(move || at_a_signal.write_flight_at_signal()) => match never {},
    }
}

async fn produce<O: Order + Generate>(
    (arguments, inputs, rejects): (Arguments, Inputs, Option<RejectFile>),
    producer: OrderProducer<O>,
    lines: Lines,
    stop: CancellationToken,
) -> Result<Ending> {
    let (feed, entries) = mpsc::channel(READ_AHEAD);
    let reader = Reader { feed, stop: stop.clone(), left: arguments.count, rejects };
    let reading = tokio::task::spawn_blocking(move || reader.read_all(&inputs));
    let mut sending = Sending::new(&arguments, producer, lines);
    let stopping = if arguments.follow { Stopping::WithTheReader } else { Stopping::AtOnce };
    sending.send_all(entries, stop.clone(), stopping).await;
    let read = tokio::select! {
        // A reader that waits for stdin cannot be told to stop: the process ends without it.
        () = stopped_for(stop, READER_GRACE) => Ok(()),
        read = reading => read.unwrap_or_else(|cause| {
            Err(Error::new(ErrorCode::Internal, "the reader ended").caused_by(cause))
        }),
    };
    Ok(sending.finish(read).await)
}

async fn stopped_for(stop: CancellationToken, grace: Duration) {
    stop.cancelled().await;
    tokio::time::sleep(grace).await;
}
