//! What the embedded store sets aside, and what it has to tell.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod store_support;

use store_support::{event_cases, letter_cases, move_cases, on_redb, replay_cases};

letter_cases!(on_redb);
replay_cases!(on_redb);
event_cases!(on_redb);
move_cases!(on_redb);
