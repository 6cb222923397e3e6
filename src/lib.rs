//! Real-time order processing over Kafka, in pure Rust: nothing is lost, and each order takes effect once.
//!
//! ```text
//!  order file / generator
//!         |
//!       order       what an order is: parse, validate, encode, identify             (pure)
//!         |
//!      producer     partition -> batch -> send          InventoryProducer, DeliveryProducer
//!         |
//!      cluster      metadata, leaders, connections   <- wire   bytes, batches, one connection
//!         |
//!       KAFKA       (or broker: the in-process development broker)
//!         |
//!      consumer     fetch -> dispatch -> store or handler    InventoryConsumer, DeliveryConsumer
//!         |
//!       store       stock, deliveries, positions, dead letters: one transaction
//!         |
//!       outbox      relay: dead-letter topics, refusals
//! ```
//!
//! Begin with [`InventoryProducer::connect`](producer::OrderProducer::connect) and
//! [`InventoryConsumer::builder`](consumer::OrderConsumer::builder). A service of your own writes a
//! [`Handler`](consumer::Handler), or an order type of its own ([`Order`](order::Order)).
//!
//! # Features
//! None is on by default. `dev-broker`: [`broker::DevBroker`], a broker in the process for tests and demonstrations.
//! `testing`: [`testing::drive`], which runs a handler without broker, socket or real time, and [`testing::crash`], which kills
//! consumers at every point. `postgres`: a store for several processes. `guard`: `store::PositionGuard`, for orders that are
//! applied in a transaction of your own.
//!
//! # On rskafka
//! The protocol layer of `rskafka` frames requests and matches answers; its client is not used, because it re-sends what
//! a quota throttled, delivers records of aborted transactions, and has no deadlines. Only [`wire`] names it.
//!
//! # What is global
//! Nothing: the library installs no subscriber, recorder, panic hook or signal handler.

pub mod audit;
pub mod backoff;
#[cfg(feature = "dev-broker")]
pub mod broker;
pub mod cluster;
pub mod config;
pub mod consumer;
mod error;
pub mod flight;
mod gather;
pub mod order;
pub mod outbox;
pub mod place;
#[cfg(test)]
mod plant;
pub mod producer;
mod scan;
pub mod shutdown;
#[cfg(test)]
mod simulation;
pub mod store;
#[cfg(feature = "testing")]
pub mod testing;
pub mod trace;
pub mod wire;

pub use crate::error::{BoxError, Error, ErrorCode, Result};

/// Runs the README's examples as tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
