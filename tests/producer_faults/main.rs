//! Producers on a development broker that misbehaves: what is read back from the log is the judge.
//!
//! Every order that was sent ends in one of three ways, and [`log::judge`] holds the log to it: acknowledged (there once, at its
//! receipt's offset), possibly written (there at most once), refused (not there). Nothing else is in the log, and orders of one
//! partition are in the order in which they were accepted.
//!
//! The clock is paused where a test waits for a timeout. It then runs ahead whenever all tasks wait, which may end a request
//! early: one fault more, under which the judgement is the same.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod bounds;
mod log;
mod mix;
mod moves;
mod records;
mod sequences;
mod shop;
mod timeouts;
