//! Waiting until the group may be joined.

use tokio::time::Instant;

use super::builder::End;
use super::control::{Concern, Wish};
use super::run::{Ending, Run};
use crate::ErrorCode;
use crate::error::told;

impl Run {
    /// Looks, with back-off, until the group's positions are in no other store. Returns why the run ends without having
    /// begun, if so: a run until the end does not wait for another store to give the group up.
    pub(super) async fn be_admitted(&mut self) -> Option<Ending> {
        let (begun, mut failures, mut last) = (Instant::now(), 0, String::new());
        loop {
            let Err(error) = self.positions.admit().await else {
                self.control.relieve(Concern::Claim);
                return None;
            };
            let claimed = error.code() == ErrorCode::StoreClaimed;
            let hopeless = !claimed && !error.is_retriable();
            let late = self.end == End::AtStartsEnd && (claimed || begun.elapsed() >= self.config.api_timeout);
            if hopeless || late {
                return Some(Ending::Failed(error));
            }
            let reason = told(&error);
            if reason != last {
                tracing::warn!("the group is not joined: {reason}");
            }
            self.control.concern(Concern::Claim, format!("the group is not joined: {reason}"));
            last = reason;
            tokio::time::sleep(self.config.backoff.delay(failures, fastrand::f64())).await;
            failures = failures.saturating_add(1);
            if self.control.wishes().borrow().wish == Wish::Drain {
                return Some(Ending::Clean);
            }
        }
    }
}
