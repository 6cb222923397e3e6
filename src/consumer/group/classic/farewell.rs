//! Leaving a classic group: at the end, or because the application is too slow.
//!
//! A static member never says that it leaves: its partitions wait for its return until its session ends.

use std::time::Duration;

use super::super::complaint::Cause;
use super::super::member::{Commits, Effect, Now};
use super::{Classic, Phase};
use crate::wire::message::LeaveGroupRequest;
use crate::wire::message::leave_group::MemberIdentity;

impl Classic {
    /// The consumer ends: a part of the time is for settling, the rest for the farewell.
    pub(super) fn leave(&mut self, now: Now, within: Duration, out: &mut Vec<Effect>) {
        let (until, end) = (now.at.saturating_add(within / 4 * 3), now.at.saturating_add(within));
        self.phase = match self.phase {
            Phase::Settling { until: first, end: last } => {
                Phase::Settling { until: until.min(first), end: end.min(last) }
            }
            Phase::Leaving { end: last } => Phase::Leaving { end: end.min(last) },
            _ if self.holding.is_empty() => Phase::Leaving { end },
            _ => {
                out.extend(self.holding.revoke(&self.holding.partitions()));
                self.may_commit(Commits::As(self.credentials()), out);
                self.settle_by = None;
                Phase::Settling { until, end }
            }
        };
    }

    /// The application did not come on: all is given up.
    pub(super) fn expire(&mut self, out: &mut Vec<Effect>) {
        if self.is_settled_in() {
            self.warn(Cause::TooSlow, None, out);
            self.lose(out);
            self.phase = Phase::Expired { is_back: false };
        }
    }

    /// All is given up: the member leaves, and joins again.
    pub(super) fn step_aside(&mut self, out: &mut Vec<Effect>) {
        if self.is_settled_in() {
            self.lose(out);
            self.phase = Phase::Expired { is_back: true };
        }
    }

    fn is_settled_in(&self) -> bool {
        let is_over = matches!(self.phase, Phase::Idle | Phase::Failed | Phase::Ended | Phase::Expired { .. });
        !is_over && !matches!(self.phase, Phase::Settling { .. } | Phase::Leaving { .. })
    }

    /// The application came on again.
    pub(super) fn back(&mut self) {
        if let Phase::Expired { .. } = self.phase {
            self.phase = Phase::Expired { is_back: true };
        }
    }

    /// Whether the coordinator is to be told that the member leaves.
    pub(super) fn farewell_is_wanted(&self) -> bool {
        let is_leaving = matches!(self.phase, Phase::Expired { .. } | Phase::Leaving { .. });
        is_leaving && !self.settings.is_static() && !self.member_id.is_empty()
    }

    pub(super) fn leave_request(&self) -> LeaveGroupRequest {
        let member = MemberIdentity { member_id: self.member_id.clone(), ..Default::default() };
        LeaveGroupRequest { group_id: self.settings.group.clone(), members: vec![member], ..Default::default() }
    }

    /// The farewell was sent once; nobody cares how it went.
    pub(super) fn said_farewell(&mut self) {
        self.member_id.clear();
    }

    /// Goes on where a wait is over.
    pub(super) fn end_waits(&mut self, now: Now, out: &mut Vec<Effect>) {
        self.end_shedding(now, out);
        if let Phase::Settling { until, end } = self.phase {
            if now.at >= until {
                out.extend(self.holding.lose_all());
            }
            if self.holding.is_empty() {
                self.lose(out);
                self.phase = Phase::Leaving { end };
            }
        }
        match self.phase {
            Phase::Expired { is_back: true } if !self.farewell_is_wanted() => self.phase = Phase::Joining,
            Phase::Leaving { end } if now.at >= end || !self.farewell_is_wanted() => {
                self.lose(out);
                self.phase = Phase::Ended;
                out.push(Effect::Left);
            }
            _ => {}
        }
    }
}
