//! The development broker, spoken to over sockets by a client that knows nothing but messages.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod admin;
mod client;
mod faults;
mod fetch;
mod groups;
mod history;
mod next_generation;
mod produce;
mod requests;
