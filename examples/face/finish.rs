//! How a program ends: signals and exit codes.

use std::future::Future;
use std::process::ExitCode;
use std::time::Duration;

use orderflow::{Error, ErrorCode};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::output;

/// How a run ended, as its exit code tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// All done: 0.
    Done,
    /// Something was left undone: 1.
    Undone,
    /// Wrong usage or configuration, a missing input or store, a refused login: 2.
    Misused,
    /// A second signal, or a deadline after the first, cut the work short: 128 and the signal's number.
    Cut(u8),
}

impl From<Ending> for ExitCode {
    fn from(ending: Ending) -> Self {
        match ending {
            Ending::Done => Self::from(0),
            Ending::Undone => Self::from(1),
            Ending::Misused => Self::from(2),
            Ending::Cut(signal) => Self::from(128 + signal),
        }
    }
}

/// What an error means for the exit code.
#[must_use]
pub fn ending_of(error: &Error) -> Ending {
    match error.code() {
        ErrorCode::ConfigValue
        | ErrorCode::ConfigUnsupported
        | ErrorCode::Denied
        | ErrorCode::Input
        | ErrorCode::StoreMissing
        | ErrorCode::StoreForeign
        | ErrorCode::StoreFormat => Ending::Misused,
        _ => Ending::Undone,
    }
}

/// Tells an error and its causes on stderr, and what a newcomer without a Kafka can do.
pub fn complain(error: &Error) {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(deeper) = cause {
        text = format!("{text}\n  because: {deeper}");
        cause = deeper.source();
    }
    if error.code() == ErrorCode::Connect {
        text += "\nno Kafka here? cargo run --release --example pipeline -- --listen 127.0.0.1:9092 --keep";
    }
    output::complain(&text);
}

/// Runs an example: its future is given the signal to stop. SIGINT or SIGTERM once raises it; a second one, or
/// `patience` after the first, ends the program at once.
pub fn main_of<F>(patience: Duration, body: impl FnOnce(CancellationToken) -> F) -> ExitCode
where
    F: Future<Output = Result<Ending, Error>>,
{
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            output::complain(&format!("no runtime: {error}"));
            return Ending::Undone.into();
        }
    };
    let ending = runtime.block_on(async {
        let stop = CancellationToken::new();
        let ended = body(stop.clone());
        tokio::select! {
            ended = ended => ended.unwrap_or_else(|error| {
                complain(&error);
                ending_of(&error)
            }),
            signal = cut(stop.clone(), patience) => {
                output::complain("stopped before the work was finished");
                Ending::Cut(signal)
            }
        }
    });
    runtime.shutdown_timeout(Duration::from_millis(100));
    ending.into()
}

const SIGINT: u8 = 2;
const SIGTERM: u8 = 15;

/// Raises `stop` at the first signal; completes at the second, or when the first has been obeyed for too long.
async fn cut(stop: CancellationToken, patience: Duration) -> u8 {
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return std::future::pending().await;
    };
    let first = next(&mut interrupt, &mut terminate).await;
    stop.cancel();
    // What is bounded by the shutdown timeout itself ends a little later than that.
    let grace = patience + Duration::from_secs(2);
    tokio::time::timeout(grace, next(&mut interrupt, &mut terminate)).await.unwrap_or(first)
}

async fn next(interrupt: &mut Signal, terminate: &mut Signal) -> u8 {
    tokio::select! {
        _ = interrupt.recv() => SIGINT,
        _ = terminate.recv() => SIGTERM,
    }
}
