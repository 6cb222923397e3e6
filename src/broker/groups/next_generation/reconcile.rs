//! One member's way from what it has to its target: first it gives back, then it gets.
//!
//! ```text
//!              to be given back                       others hold the rest
//!  Stable ----------------------> Unrevoked ------------------------------> Unreleased --+
//!    ^ ^                              |     acknowledged                        ^   |    | some of it is free
//!    | +------------------------------+  (in time, or the member is out)        +---|----+
//!    +------------------------------------------------------------------------------+ all of it is free
//! ```
//! While it gives back, the member stays in its epoch; it enters the target's epoch with what it gets.

use std::time::Duration;

use super::{Member, Progress, Share};

impl Member {
    /// Takes one step. `held` is what nobody may be given, in order; `owned` is what the member says it owns, if it says so.
    pub(super) fn reconcile(&mut self, now: Duration, target_epoch: i32, held: &[Share], owned: Option<&[Share]>) {
        let still_owns = |back: &[(Share, i32)]| {
            // Who does not say what it owns may own all of it.
            owned.is_none_or(|owned| back.iter().any(|(share, _)| owned.contains(share)))
        };
        let epoch = match self.progress {
            Progress::Stable if self.epoch == target_epoch => return,
            Progress::Unrevoked if still_owns(&self.revoking) => return,
            Progress::Unrevoked => (self.epoch + 1).min(target_epoch),
            Progress::Stable | Progress::Unreleased => self.epoch,
        };
        let target = std::mem::take(&mut self.target);
        let (kept, back): (Vec<_>, Vec<_>) =
            self.assigned.drain(..).partition(|(share, _)| target.binary_search(share).is_ok());
        if !back.is_empty() && still_owns(&back) {
            self.enter(epoch);
            (self.assigned, self.revoking) = (kept, back);
            (self.progress, self.revoke_by) = (Progress::Unrevoked, Some(now + self.rebalance));
        } else {
            self.enter(target_epoch);
            self.gain(kept, &target, held);
        }
        self.target = target;
    }

    /// Takes what is free of the target.
    fn gain(&mut self, kept: Vec<(Share, i32)>, target: &[Share], held: &[Share]) {
        let missing = target.iter().filter(|share| !kept.iter().any(|(assigned, _)| assigned == *share));
        let (waits, free): (Vec<Share>, Vec<Share>) = missing.partition(|share| held.binary_search(share).is_ok());
        self.progress = if waits.is_empty() { Progress::Stable } else { Progress::Unreleased };
        self.assigned = kept;
        self.assigned.extend(free.into_iter().map(|share| (share, self.epoch)));
        self.assigned.sort_unstable();
        self.revoking.clear();
        self.revoke_by = None;
    }

    fn enter(&mut self, epoch: i32) {
        if self.epoch != epoch {
            (self.previous_epoch, self.epoch) = (self.epoch, epoch);
        }
    }

    /// Whether it has all of its target.
    pub(super) fn is_settled(&self, target_epoch: i32) -> bool {
        self.progress == Progress::Stable && self.epoch == target_epoch
    }
}
