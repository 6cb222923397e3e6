//! What follows from a handler's answer.
//!
//! Time and chance are passed in, so that a dispatcher and a test on virtual time decide alike.

use std::borrow::Cow;
use std::time::Duration;

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
    /// It cannot be settled. Without a place for dead letters its partition stops.
    Failed(Error),
}

/// Why an order is handed in again.
#[derive(Debug)]
pub(crate) enum Why {
    /// The handler asked for it.
    Asked,
    /// The handler failed with this.
    Failed(BoxError),
}

impl RetryConfig {
    /// Judges the answer to try number `attempt` (from 1); `chance` is uniform in `0.0..1.0`.
    pub(crate) fn judge(&self, answer: Result<Outcome, Failure>, attempt: u32, chance: f64) -> Verdict {
        match answer {
            Ok(Outcome::Done) => Verdict::Done,
            Ok(Outcome::Refuse(code)) => Verdict::Refused(code),
            Ok(Outcome::Reject(reason)) => {
                Verdict::Failed(Error::new(ErrorCode::Handler, format!("the handler rejects the order: {reason}")))
            }
            Ok(Outcome::Retry(after)) => self.again(after, Why::Asked, attempt),
            Err(failure) if !failure.is_retriable() => Verdict::Failed(
                Error::new(ErrorCode::Handler, "the handler fails and says that no repeat mends it")
                    .caused_by(failure.into_cause()),
            ),
            Err(failure) => {
                let backoff = || self.backoff.delay(attempt.saturating_sub(1), chance);
                let after = failure.wait().unwrap_or_else(backoff);
                self.again(after, Why::Failed(failure.into_cause()), attempt)
            }
        }
    }

    fn again(&self, after: Duration, why: Why, attempt: u32) -> Verdict {
        if attempt < self.attempts {
            return Verdict::Again { after, why };
        }
        let error = Error::new(ErrorCode::Handler, format!("the handler did not finish the order in {attempt} tries"));
        Verdict::Failed(match why {
            Why::Asked => error,
            Why::Failed(cause) => error.caused_by(cause),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backoff::Backoff;

    const SECOND: Duration = Duration::from_secs(1);

    fn config(attempts: u32) -> RetryConfig {
        RetryConfig { attempts, backoff: Backoff::new(SECOND, 4 * SECOND) }
    }

    #[test]
    fn failures_wait_longer_each_time_until_the_tries_are_used_up() {
        let mut waits = Vec::new();
        let mut attempt = 1;
        let end = loop {
            match config(5).judge(Err(Failure::retriable("away")), attempt, 0.0) {
                Verdict::Again { after, .. } => waits.push(after.as_secs()),
                other => break other,
            }
            attempt += 1;
        };
        assert_eq!(waits, [1, 2, 4, 4]);
        assert!(matches!(end, Verdict::Failed(error) if error.to_string().contains("in 5 tries")));
    }

    #[test]
    fn a_wait_that_was_asked_for_is_kept() {
        let asked = config(3).judge(Ok(Outcome::Retry(9 * SECOND)), 1, 0.5);
        assert!(matches!(asked, Verdict::Again { after, why: Why::Asked } if after == 9 * SECOND));
        let failed = config(3).judge(Err(Failure::retriable("busy").after(7 * SECOND)), 2, 0.5);
        assert!(matches!(failed, Verdict::Again { after, .. } if after == 7 * SECOND));
    }

    #[test]
    fn what_no_repeat_mends_is_not_repeated() {
        let verdict = config(3).judge(Err(Failure::permanent("gone")), 1, 0.0);
        assert!(matches!(verdict, Verdict::Failed(_)));
        let verdict = config(3).judge(Ok(Outcome::Reject("not ours".into())), 1, 0.0);
        assert!(matches!(verdict, Verdict::Failed(error) if error.to_string().contains("not ours")));
    }
}
