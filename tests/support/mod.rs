//! What the integration tests share: waiting on a condition, running programs, reading their lines.
#![allow(dead_code, unreachable_pub, reason = "each test program uses a part of it")]
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

pub mod example;
pub mod ndjson;
pub mod player;
pub mod program;
pub mod wait;

/// Runs an async test body on a runtime of its own, as a service would.
pub fn on_runtime<T>(body: impl Future<Output = T>) -> T {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).enable_all().build().expect("a runtime").block_on(body)
}
