//! What an order costs beside librdkafka: CPU and memory of the client process, in one run, alternating.
//!
//! ```text
//! compare -- a process a job --> run CLIENT JOB -- one JSON line: orders, CPU, wall, peak memory --> ratios pair by pair
//! ```
//! A figure alone says little on a shared machine; the ratio of two runs side by side does.

mod compare;
mod librdkafka;
mod ours;
mod usage;

use anyhow::Result;
use clap::{Args, Parser, Subcommand, ValueEnum};

#[derive(Parser)]
#[command(about = "Compares orderflow with librdkafka on a running Kafka")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs each job with both clients in turn, and prints the ratios
    Compare {
        #[command(flatten)]
        work: Work,
        /// How many pairs of runs
        #[arg(long, default_value_t = 4)]
        rounds: usize,
        /// The jobs; default: all
        #[arg(long, value_enum)]
        job: Vec<Job>,
    },
    /// Runs one job, and prints what it cost
    Run {
        client: Client,
        job: Job,
        #[command(flatten)]
        work: Work,
    },
}

/// How much, and where.
#[derive(Args, Clone, Debug)]
struct Work {
    /// The brokers
    #[arg(short, long, default_value = "127.0.0.1:9092")]
    bootstrap: String,
    /// The topic, which must exist
    #[arg(short, long, default_value = "bench")]
    topic: String,
    /// How many orders
    #[arg(short, long, default_value_t = 1_000_000)]
    orders: u64,
    /// A setting of ours, such as flight.max.bytes=0; may be repeated
    #[arg(short = 'X', long = "set", value_name = "NAME=VALUE")]
    settings: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Client {
    Ours,
    Librdkafka,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Job {
    /// Make orders up and send them: acks=all, idempotent, no compression
    Produce,
    /// The same with lz4
    ProduceLz4,
    /// Read, validate, hand to a handler that adds to one sum, commit
    Consume,
    /// Apply to redb, each once; librdkafka only consumes
    Store,
}

impl Job {
    fn compression(self) -> &'static str {
        if self == Self::ProduceLz4 { "lz4" } else { "none" }
    }
}

fn main() -> Result<()> {
    match Arguments::parse().command {
        Command::Compare { work, rounds, job } => compare::run(&work, rounds, &job),
        Command::Run { client, job, work } => {
            let before = usage::now()?;
            match client {
                Client::Ours => ours::run(job, &work)?,
                Client::Librdkafka => librdkafka::run(job, &work)?,
            }
            println!("{}", serde_json::to_string(&usage::since(&before, work.orders)?)?);
            Ok(())
        }
    }
}
