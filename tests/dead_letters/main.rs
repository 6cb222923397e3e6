//! What becomes of records that are refused or set aside: relayed, replayed, and never skipped.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod breaker;
#[path = "../consumer_support/mod.rs"]
mod consumer_support;
mod deliveries;
mod handler;
mod log;
mod relay;
mod replay;
mod retry_topic;
#[path = "../support/mod.rs"]
mod support;
mod trace;
mod updates;
