//! What the examples share: flags, output, signals, exit codes.
//!
//! Each example is a thin program over the library. What people type and what programs read is a contract; it is kept
//! in one place so that the examples cannot differ.

#![allow(
    dead_code,
    unused_imports,
    unreachable_pub,
    reason = "each example takes the part of this module that it needs"
)]

pub mod backfill;
pub mod consume;
pub mod finish;
pub mod flags;
pub mod flights;
pub mod output;
pub mod produce;
pub mod progress;
pub mod store_settings;

pub use finish::{Ending, main_of};
pub use flags::Flags;
