//! The wall clock, for the times that records get.
//!
//! Waiting goes by tokio's clock, which a test may pause. Times of records are dates, which no test pauses.

use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970.
pub(super) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
