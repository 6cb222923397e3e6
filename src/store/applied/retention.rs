//! When an identity may be forgotten.
//!
//! Age is log time: the newest record timestamp that was applied, less the identity's own. A store
//! that stood still for a year therefore forgets nothing, and a replay of old records is not old.

use std::time::Duration;

use serde::{Deserialize, Serialize};

const HOUR_MILLIS: i64 = 3_600_000;

/// The newest record timestamp that was applied, in milliseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LogTime(pub(crate) i64);

impl LogTime {
    /// The time before every record.
    pub(crate) const NONE: Self = Self(i64::MIN);

    /// A record's timestamp as it counts: one more than an hour beyond `now` is a mistake, and counts as the log's time; as
    /// `now` in a log that has none yet, so that what a clock far behind lets in is not the first to be forgotten.
    pub(crate) fn sane(self, timestamp: i64, now: i64) -> i64 {
        match self {
            _ if timestamp <= now.saturating_add(HOUR_MILLIS) => timestamp,
            Self::NONE => now,
            Self(log) => log,
        }
    }

    pub(crate) fn advance(&mut self, sane: i64) {
        self.0 = self.0.max(sane);
    }
}

/// How long identities are kept, in log time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retention {
    /// `dedup.retention`: identities of our own form, by source. Default 400 days.
    pub numbered: Duration,
    /// `dedup.opaque.retention`: every other identity. Default 30 days.
    pub opaque: Duration,
    /// `dedup.max.keys`: how many of the latter at most; beyond it the oldest are forgotten. Default 10,000,000.
    pub max_opaque: u64,
    /// The topic's own retention, if it is known: nothing younger is forgotten.
    pub log: Option<Duration>,
}

const DAY: Duration = Duration::from_secs(86_400);

impl Default for Retention {
    fn default() -> Self {
        Self { numbered: 400 * DAY, opaque: 30 * DAY, max_opaque: 10_000_000, log: None }
    }
}

impl Retention {
    /// Whether a source whose newest record has this timestamp may be forgotten.
    pub(crate) fn forgets_source(&self, log: LogTime, newest: i64) -> bool {
        self.is_older(log, newest, self.numbered)
    }

    /// Whether opaque identities not newer than this timestamp may be forgotten while there are `count`.
    pub(crate) fn forgets_opaque(&self, log: LogTime, newest: i64, count: u64) -> bool {
        count > self.max_opaque || self.is_older(log, newest, self.opaque)
    }

    fn is_older(&self, log: LogTime, newest: i64, retention: Duration) -> bool {
        let kept = retention.max(self.log.unwrap_or_default());
        i128::from(log.0) - i128::from(newest) > i128::try_from(kept.as_millis()).unwrap_or(i128::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_MILLIS: i64 = 86_400_000;

    #[test]
    fn age_is_log_time_and_the_topics_own_retention_is_a_floor() {
        let retention = Retention::default();
        let log = LogTime(500 * DAY_MILLIS);
        assert!(!retention.forgets_source(log, 100 * DAY_MILLIS));
        assert!(retention.forgets_source(log, 100 * DAY_MILLIS - 1));
        assert!(retention.forgets_opaque(log, 470 * DAY_MILLIS - 1, 1));
        let long = Retention { log: Some(450 * DAY), ..retention };
        assert!(!long.forgets_source(log, 60 * DAY_MILLIS) && !long.forgets_opaque(log, 60 * DAY_MILLIS, 1));
        assert!(long.forgets_opaque(log, 499 * DAY_MILLIS, 10_000_001));
        assert!(!retention.forgets_source(LogTime::NONE, i64::MIN));
    }

    #[test]
    fn a_timestamp_far_ahead_does_not_move_the_log_and_does_not_make_its_source_immortal() {
        let (mut log, now) = (LogTime(1_000), 5_000);
        let ahead = log.sane(now + HOUR_MILLIS + 1, now);
        assert_eq!(ahead, 1_000);
        log.advance(ahead);
        assert_eq!(log, LogTime(1_000));
        log.advance(log.sane(now + HOUR_MILLIS, now));
        assert_eq!(log, LogTime(now + HOUR_MILLIS));
        log.advance(log.sane(3, now));
        assert_eq!(log, LogTime(now + HOUR_MILLIS));
    }

    /// What came in while the clock was behind was forgotten as soon as it was right.
    #[test]
    fn a_clock_that_was_far_behind_when_the_log_began_makes_nothing_be_forgotten_once_it_is_right() {
        let (mut log, behind, right) = (LogTime::NONE, 300 * DAY_MILLIS, 600 * DAY_MILLIS);
        let newest = log.sane(right, behind);
        log.advance(newest);
        log.advance(log.sane(right, right));
        assert_eq!(log, LogTime(right));
        assert!(!Retention::default().forgets_source(log, newest));
    }
}
