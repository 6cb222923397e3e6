//! Keeps a plan from giving away what another member still has.

use super::Plan;
use super::claims::Claims;

/// Takes out of any plan each partition that a member other than the planned one claims. Nobody gets it this round.
///
/// The claim may be stale, false, or of a member that is to lose the partition: whoever still reads it gives it up when
/// it sees that it is not assigned, and joins again.
pub(super) fn withhold(mut plan: Plan, claims: &Claims) -> Plan {
    for (member, partitions) in &mut plan {
        partitions.retain(|at| !claims.is_claimed_beside(at, member));
    }
    plan
}
