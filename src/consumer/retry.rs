//! What follows from a handler's answer.
//!
//! Time and chance are passed in, so that a dispatcher and a test on virtual time decide alike.

mod recorded;

use std::borrow::Cow;
use std::time::Duration;

pub(crate) use self::recorded::{Attempt, Retries};
use super::config::RetryConfig;
use super::{Failure, Outcome};
use crate::{BoxError, Error, ErrorCode};

/// What to do with an order after a handler's answer.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// It is settled.
    Done,
    /// It is settled: the business said no, under this code.
    Refused(Cow<'static, str>),
    /// Hand it in again after this long, because of this.
    Again { after: Duration, why: Why },
    /// It cannot be settled, for the cause with this code: it becomes a dead letter.
    Failed(&'static str, Error),
}

/// The handler says that the order can never be dealt with.
const REJECTED: &str = "HND-REJECTED";
/// The handler failed and says that no repeat mends it, or panicked.
const PERMANENT: &str = "HND-PERMANENT";
/// The tries or their time are used up.
pub(crate) const EXHAUSTED: &str = "HND-EXHAUSTED";

/// Why an order is handed in again.
#[derive(Debug)]
pub(crate) enum Why {
    /// The handler asked for it.
    Asked,
    /// The handler failed with this.
    Failed(BoxError),
}

impl RetryConfig {
    /// Judges the answer to try number `attempt` (from 1) of an order that has been failing `since` so long; `chance` is
    /// uniform in `0.0..1.0`.
    pub(crate) fn judge(
        &self,
        answer: Result<Outcome, Failure>,
        (attempt, since): (u32, Duration),
        chance: f64,
    ) -> Verdict {
        match answer {
            Ok(Outcome::Done) => Verdict::Done,
            Ok(Outcome::Refuse(code)) => Verdict::Refused(code),
            Ok(Outcome::Reject(reason)) => {
                let sentence = format!("the handler rejects the order: {reason}");
                Verdict::Failed(REJECTED, Error::new(ErrorCode::Handler, sentence))
            }
            Ok(Outcome::Retry(after)) => self.again(after, Why::Asked, (attempt, since)),
            Err(failure) if !failure.is_retriable() => Verdict::Failed(
                PERMANENT,
                Error::new(ErrorCode::Handler, "the handler fails and says that no repeat mends it")
                    .caused_by(failure.into_cause()),
            ),
            Err(failure) => {
                let backoff = || self.backoff.delay(attempt.saturating_sub(1), chance);
                let after = failure.wait().unwrap_or_else(backoff);
                self.again(after, Why::Failed(failure.into_cause()), (attempt, since))
            }
        }
    }

    fn again(&self, after: Duration, why: Why, (attempt, since): (u32, Duration)) -> Verdict {
        if attempt < self.attempts && since.saturating_add(after) <= self.total {
            return Verdict::Again { after, why };
        }
        let sentence = format!("the handler did not finish the order in {attempt} tries within {} s", since.as_secs());
        let error = Error::new(ErrorCode::Handler, sentence);
        let error = match why {
            Why::Asked => error,
            Why::Failed(cause) => error.caused_by(cause),
        };
        Verdict::Failed(EXHAUSTED, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backoff::Backoff;

    const SECOND: Duration = Duration::from_secs(1);

    fn config(attempts: u32) -> RetryConfig {
        RetryConfig { attempts, total: 60 * SECOND, backoff: Backoff::new(SECOND, 4 * SECOND) }
    }

    #[test]
    fn failures_wait_longer_each_time_until_the_tries_are_used_up() {
        let mut waits = Vec::new();
        let mut attempt = 1;
        let end = loop {
            match config(5).judge(Err(Failure::retriable("away")), (attempt, SECOND), 0.0) {
                Verdict::Again { after, .. } => waits.push(after.as_secs()),
                other => break other,
            }
            attempt += 1;
        };
        assert_eq!(waits, [1, 2, 4, 4]);
        assert!(matches!(end, Verdict::Failed(EXHAUSTED, error) if error.to_string().contains("in 5 tries")));
    }

    #[test]
    fn a_wait_that_was_asked_for_is_kept() {
        let asked = config(3).judge(Ok(Outcome::Retry(9 * SECOND)), (1, SECOND), 0.5);
        assert!(matches!(asked, Verdict::Again { after, why: Why::Asked } if after == 9 * SECOND));
        let failed = config(3).judge(Err(Failure::retriable("busy").after(7 * SECOND)), (2, SECOND), 0.5);
        assert!(matches!(failed, Verdict::Again { after, .. } if after == 7 * SECOND));
    }

    #[test]
    fn no_order_is_tried_again_for_longer_than_the_total() {
        let asked = |since| config(100).judge(Ok(Outcome::Retry(9 * SECOND)), (1, since), 0.5);
        assert!(matches!(asked(51 * SECOND), Verdict::Again { .. }));
        assert!(matches!(asked(52 * SECOND), Verdict::Failed(EXHAUSTED, _)));
    }

    #[test]
    fn what_no_repeat_mends_is_not_repeated() {
        let verdict = config(3).judge(Err(Failure::permanent("gone")), (1, SECOND), 0.0);
        assert!(matches!(verdict, Verdict::Failed(PERMANENT, _)));
        let verdict = config(3).judge(Ok(Outcome::Reject("not ours".into())), (1, SECOND), 0.0);
        assert!(matches!(verdict, Verdict::Failed(REJECTED, error) if error.to_string().contains("not ours")));
    }
}
