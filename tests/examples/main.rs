//! The examples as people run them, on the development broker.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "../support/mod.rs"]
mod support;

mod backfill;
mod bad_input;
mod consumers;
mod dlq;
mod flight;
mod follow;
mod handled;
mod hostile;
#[path = "../support/killed.rs"]
mod killed;
mod pipeline;
mod producers;
mod relays;
mod status;
mod trace;

use std::time::Duration;

use orderflow::broker::DevBroker;
use support::program::Program;

/// Every run here ends within this: its work takes seconds, the rest is a busy machine.
const WORK: Duration = Duration::from_secs(60);

/// Runs a test body beside a development broker.
fn beside_a_broker(body: impl FnOnce(&DevBroker)) {
    support::on_runtime(async {
        let broker = DevBroker::start().await.expect("a broker starts");
        // The broker lives on the runtime's workers; this thread is free to wait for programs.
        body(&broker);
        broker.shutdown().await;
    });
}

/// An example that is to use this broker.
fn example(broker: &DevBroker, name: &str) -> Program {
    support::example::example(name).args(["-b", &broker.bootstrap()])
}
