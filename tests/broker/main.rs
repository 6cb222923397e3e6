//! The development broker, spoken to over sockets by a client that knows nothing but messages.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

mod client;
mod produce_fetch;
