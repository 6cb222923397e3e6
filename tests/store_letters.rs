//! What the embedded store sets aside.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod store_support;

use store_support::{letter_cases, on_redb};

letter_cases!(on_redb);
