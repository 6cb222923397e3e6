//! How long the embedded store remembers identities.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod store_support;

use store_support::{forget_cases, on_redb};

forget_cases!(on_redb);
