//! Several consumers of one group on the development broker, by both protocols.
//!
//! Each member is a handler without a store that notes what it is given; the broker's log and the group's offsets judge.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod claim;
#[path = "../consumer_support/mod.rs"]
mod consumer_support;
mod copies;
mod emitted;
mod flight;
mod heard;
mod late;
mod loss;
mod member;
mod sharing;
mod slow;
mod standstill;
mod statics;
#[path = "../support/mod.rs"]
mod support;
