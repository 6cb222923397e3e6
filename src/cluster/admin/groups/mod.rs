//! Consumer groups as their coordinator sees them: members, what each owns, where the group stands.
//!
//! A group is of one of two kinds, and nothing names the kind beforehand in a way that every broker knows: so the
//! coordinator is asked for a KIP-848 group first, where it has that request (key 69), and for a classic one (key 15) when
//! it answers GROUP_ID_NOT_FOUND.
//!
//! ```text
//!  FindCoordinator --> ConsumerGroupDescribe --GROUP_ID_NOT_FOUND--> DescribeGroups --Dead--> no such group
//!                              |                                          |
//!                              +--------------> Group <-------------------+
//!  OffsetFetch, ListOffsets ---> looks, some hundred milliseconds apart ---> watch (pure) ---> PartitionStatus
//! ```

mod age;
mod ask;
mod classic;
mod ends;
mod member;
mod next_generation;
mod status;
mod warnings;
mod watch;

use std::sync::Arc;

use super::persist;
use crate::cluster::Cluster;
use crate::error::Result;

pub(crate) use ask::{Commit, commits};
pub use member::{Member, Membership};
pub use status::{GroupStatus, PartitionStatus, group_status};
pub use watch::Verdict;

/// A consumer group, as its coordinator describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Its name.
    pub name: Arc<str>,
    /// Whether its coordinator keeps it as a KIP-848 group or as a classic one.
    pub kind: GroupKind,
    /// The coordinator's own word: `Stable`, `Empty`, `PreparingRebalance`, `Reconciling`, ...
    pub state: String,
    /// The assignor in use; empty while there is none.
    pub assignor: String,
    /// Its members.
    pub members: Vec<Member>,
}

/// The protocol of a group. A KIP-848 group may have classic members, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupKind {
    /// JoinGroup and SyncGroup.
    Classic,
    /// ConsumerGroupHeartbeat (KIP-848).
    Consumer,
}

impl Group {
    /// Whether every member has what it is to have, or there is none.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        matches!(self.state.as_str(), "Stable" | "Empty")
    }
}

/// Describes one group of either kind.
///
/// # Errors
/// [`UnknownGroup`](crate::ErrorCode::UnknownGroup) if there is none of this name, [`Denied`](crate::ErrorCode::Denied)
/// if it may not be seen, and what a broker answered, after repeats up to `default.api.timeout.ms`.
///
/// # Cancel safety
/// Safe: it only reads.
pub async fn describe_group(cluster: &Cluster, name: &str) -> Result<Group> {
    persist(cluster, || ask::describe(cluster, name)).await
}
