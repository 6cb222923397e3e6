//! Real-time order processing over Kafka, in pure Rust: nothing is lost, and each order takes effect once.
//!
//! ```text
//!  order file -> order -> producer -> cluster -> KAFKA -> consumer -> store
//! ```

pub mod backoff;
#[cfg(feature = "dev-broker")]
pub mod broker;
pub mod cluster;
pub mod config;
pub mod consumer;
mod error;
pub mod order;
pub mod place;
pub mod producer;
pub mod shutdown;
pub mod store;
#[cfg(feature = "testing")]
pub mod testing;
pub mod wire;

pub use crate::error::{BoxError, Error, ErrorCode, Result};
