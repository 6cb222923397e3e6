//! Publishing orders: acknowledged means written.
//!
//! An order is encoded once, straight into the batch that goes on the wire. Batches are numbered, so that the broker
//! recognises a repeat; one task a leader sends them, up to five requests at a time.
//!
//! ```text
//!  OrderProducer<O> --encode--> RecordProducer --append--> Accumulator <--plan, answered--> Sender (one a leader) --> broker
//!        |                                                    |    |                           ^
//!     Pending <----------------- Outcome (one a batch) -------+   Lane (sequences)      Router (leaders, deadlines)
//! ```
//!
//! # What is promised
//! | what happened | what the caller is told |
//! |---|---|
//! | all in-sync replicas have the order | a [`Receipt`] |
//! | the broker had it from an earlier try and does not say where | a [`Receipt`] without offset |
//! | it was refused, and no try of it can have been appended | an error without [`possibly_written`](crate::Error::possibly_written) |
//! | its time was up, or a try ended without a clear answer and no other could tell | an error with it |
//!
//! Orders of one partition are appended in the order in which they were accepted, also when some are sent again. An order that
//! fails leaves its neighbours unharmed.
//!
//! `tests/producer_faults` holds a running producer to this: faults are put on the development broker, and what the log then
//! has is compared with what each sender was told.

mod accumulator;
mod answer;
mod batch;
mod brokers;
mod config;
mod core;
mod failure;
pub(crate) mod idempotence;
mod orders;
mod partition;
mod producer_id;
mod receipt;
mod records;
mod router;
mod sender;

#[cfg(test)]
mod tests;

pub use self::orders::{DeliveryProducer, InventoryProducer, OrderProducer, ProducerBuilder};
pub use self::receipt::{Pending, Receipt};
pub use self::records::{OutgoingRecord, RecordProducer};
