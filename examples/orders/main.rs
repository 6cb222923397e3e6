//! Looks after orders: lint files, make topics, ask stores.

mod deliveries;
mod dlq;
#[path = "../face/mod.rs"]
mod face;
mod flight;
mod letters;
mod lint;
mod positions;
mod status;
mod stores;
mod table;
mod topics;
mod trace;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use face::Flags;
use face::finish::{Ending, main_of};
use face::output::Lines;
use orderflow::Result;
use orderflow::store::Query;
use tokio_util::sync::CancellationToken;

/// Looks after orders.
#[derive(Parser, Debug)]
#[command(version, about)]
struct Arguments {
    #[command(flatten)]
    flags: Flags,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Check order files by the producers' and consumers' own rules
    Lint {
        /// Order files; `-` is stdin
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Make or describe the shop's topics
    Topics {
        #[command(subcommand)]
        act: topics::Act,
    },
    /// Products, their stock and movements
    Stock {
        /// Only these products
        products: Vec<String>,
        /// The store
        #[arg(long)]
        store: String,
    },
    /// Deliveries and their status; `set` moves one
    Deliveries(deliveries::Wanted),
    /// Where a store stands in each partition, and the way to have it go on elsewhere
    Positions {
        #[command(subcommand)]
        act: positions::Act,
    },
    /// Dead letters and refusals: list, show, replay, fix, discard
    Dlq {
        #[command(subcommand)]
        act: dlq::Act,
    },
    /// Pause a topic or a partition on the consumer that holds the store
    Pause {
        /// The topic, or one partition of it
        #[arg(value_name = "TOPIC[/PARTITION]")]
        at: String,
        /// The store
        #[arg(long)]
        store: String,
    },
    /// Let it go on, also where so many records failed that it stopped
    Resume {
        /// The topic, or one partition of it
        #[arg(value_name = "TOPIC[/PARTITION]")]
        at: String,
        /// The store
        #[arg(long)]
        store: String,
    },
    /// Copy a store, also while a consumer holds it
    Backup {
        /// The file to be made
        #[arg(long, value_name = "FILE")]
        to: PathBuf,
        /// The store
        #[arg(long)]
        store: String,
    },
    /// What the machines of a consumer saw and did: written to a file, or run again
    Flight(flight::Wanted),
    /// How a group stands: members, lag, time to drain, a verdict on each partition
    Status(status::Wanted),
    /// Everything known of an order: written, applied, scheduled, told, or why not and what to do; with -b from the topics, too
    Trace(trace::Wanted),
    /// Make a store in PostgreSQL, or bring its schema up to date
    #[cfg(feature = "postgres")]
    Migrate {
        /// postgres://user@host/database
        #[arg(long)]
        store: String,
        /// The store's order type: inventory or delivery
        #[arg(long = "type", value_parser = ["inventory", "delivery"])]
        order_type: String,
        /// The store's consumer group; default: as the order type
        #[arg(short, long)]
        group: Option<String>,
    },
    /// The audit: stock is the sum of movements, every offset is accounted for; with -b also that the log agrees
    Verify {
        /// The store
        #[arg(long)]
        store: String,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    arguments.flags.start_log();
    let patience = arguments.flags.patience();
    main_of(patience, |stop| run(arguments, stop))
}

async fn run(arguments: Arguments, stop: CancellationToken) -> Result<Ending> {
    let lines = Lines::new(stop.clone());
    let flags = &arguments.flags;
    let Some(config) = flags.settings(&lines)? else { return Ok(Ending::Done) };
    let ending = match arguments.command {
        None => {
            face::output::complain("no command: see `orders --help`");
            Ok(Ending::Misused)
        }
        Some(Command::Lint { files }) => lint::lint(flags, &lines, &files),
        Some(Command::Topics { act }) => topics::topics(flags, &lines, &config, act).await,
        Some(Command::Stock { products, store }) => {
            stores::show(flags, &lines, &store, Query::Stock { products }).await
        }
        Some(Command::Deliveries(wanted)) => deliveries::deliveries(flags, &lines, wanted).await,
        Some(Command::Positions { act }) => positions::positions(flags, &lines, &config, act).await,
        Some(Command::Dlq { act }) => dlq::dlq(flags, &lines, &config, act, &stop).await,
        Some(Command::Pause { at, store }) => dlq::pause(flags, &lines, &at, &store).await,
        Some(Command::Resume { at, store }) => dlq::resume(flags, &lines, &at, &store).await,
        Some(Command::Backup { to, store }) => dlq::backup(flags, &lines, &to, &store).await,
        Some(Command::Flight(wanted)) => flight::flight(flags, &lines, wanted).await,
        Some(Command::Trace(wanted)) => trace::tell(flags, &lines, &config, &wanted).await,
        Some(Command::Status(wanted)) => status::status(flags, &lines, &config, &wanted).await,
        #[cfg(feature = "postgres")]
        Some(Command::Migrate { store, order_type, group }) => {
            stores::migrate(flags, &lines, &store, (group.as_deref().unwrap_or(&order_type), &order_type)).await
        }
        Some(Command::Verify { store }) => stores::verify(flags, &lines, &config, &store).await,
    };
    lines.flush();
    ending
}
