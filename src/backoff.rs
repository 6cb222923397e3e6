//! How long to wait before another try: exponential, capped, jittered.
//!
//! Time and chance are passed in; this file sleeps nowhere and draws nothing.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A schedule of waits: `initial * 2^attempt`, capped at `max`, of which a random part is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backoff {
    initial: Duration,
    max: Duration,
}

/// The share of a wait that chance may take away, so that many clients do not come back in step.
const JITTER: f64 = 0.2;

impl Backoff {
    /// A schedule from `initial` up to `max`. An `initial` of zero waits one millisecond, and `max` is at least `initial`.
    #[must_use]
    pub fn new(initial: Duration, max: Duration) -> Self {
        let initial = initial.max(Duration::from_millis(1));
        Self { initial, max: max.max(initial) }
    }

    /// The wait before try number `attempt` (0 is the first repeat); `chance` is uniform in `0.0..1.0`.
    #[must_use]
    pub fn delay(&self, attempt: u32, chance: f64) -> Duration {
        let doubled = self.initial.saturating_mul(1_u32.checked_shl(attempt.min(31)).unwrap_or(u32::MAX));
        doubled.min(self.max).mul_f64(1.0 - JITTER * chance.clamp(0.0, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_cap_and_jitter_only_shortens_them() {
        let backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
        let waits: Vec<_> = (0..6).map(|attempt| backoff.delay(attempt, 0.0).as_millis()).collect();
        assert_eq!(waits, [100, 200, 400, 800, 1000, 1000]);
        assert_eq!(backoff.delay(0, 1.0), Duration::from_millis(80));
        assert_eq!(backoff.delay(u32::MAX, 0.0), Duration::from_secs(1));
    }

    #[test]
    fn a_schedule_of_zero_still_waits() {
        assert_eq!(Backoff::new(Duration::ZERO, Duration::ZERO).delay(9, 0.0), Duration::from_millis(1));
    }
}
