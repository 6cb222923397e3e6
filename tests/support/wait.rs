//! Waiting on a condition, within a deadline.

use std::time::{Duration, Instant};

/// How long to wait between two looks.
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);

/// Looks until there is something to see, and gives it.
///
/// # Panics
/// When `within` has passed; the message says `what` was awaited.
#[track_caller]
pub fn until<T>(what: &str, within: Duration, look: impl FnMut() -> Option<T>) -> T {
    until_or(within, look).unwrap_or_else(|| panic!("waited {within:?} in vain until {what}"))
}

/// Looks until there is something to see; `None` when `within` has passed.
pub fn until_or<T>(within: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + within;
    loop {
        if let Some(seen) = look() {
            return Some(seen);
        }
        if Instant::now() >= deadline {
            return None;
        }
        std::thread::sleep(BETWEEN_LOOKS);
    }
}

/// As [`until`], for a look that asks a broker or a store.
///
/// # Panics
/// When `within` has passed, even in the middle of a look.
pub async fn until_async<T, L, F>(what: &str, within: Duration, mut look: L) -> T
where
    L: FnMut() -> F,
    F: Future<Output = Option<T>>,
{
    let looking = async {
        loop {
            if let Some(seen) = look().await {
                return seen;
            }
            tokio::time::sleep(BETWEEN_LOOKS).await;
        }
    };
    let waited = tokio::time::timeout(within, looking).await;
    waited.unwrap_or_else(|_| panic!("waited {within:?} in vain until {what}"))
}
