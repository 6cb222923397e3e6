//! Who says to own which partition.
//!
//! A claim counts twice: a plan leaves a partition with the member whose claim is the best, and it gives a partition to
//! nobody else while any member claims it, however old that claim is.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Peer;
use crate::place::TopicPartition;

/// One member's word that it owns a partition.
struct Claim {
    member: Arc<str>,
    generation: Option<i32>,
}

/// The claims of all members of a group.
pub(crate) struct Claims {
    by_partition: BTreeMap<TopicPartition, Vec<Claim>>,
    /// The latest generation of which any member knows.
    newest: Option<i32>,
}

impl Claims {
    /// Collects what the members say.
    pub(super) fn of(peers: &[&Peer]) -> Self {
        let mut by_partition = BTreeMap::<TopicPartition, Vec<Claim>>::new();
        for peer in peers {
            for at in &peer.subscription.owned {
                let claim = Claim { member: peer.id.clone(), generation: peer.subscription.generation };
                by_partition.entry(at.clone()).or_default().push(claim);
            }
        }
        let newest = peers.iter().filter_map(|peer| peer.subscription.generation).max();
        Self { by_partition, newest }
    }

    /// The member with which a plan may leave the partition: the only one that claims it in the newest generation, else
    /// the only one that tells no generation. Of two with equal claims neither is believed, and a member that missed a
    /// generation is not either.
    pub(super) fn owner(&self, at: &TopicPartition) -> Option<&Arc<str>> {
        let claims = self.by_partition.get(at)?;
        let of = |generation: Option<i32>| claims.iter().filter(move |claim| claim.generation == generation);
        let best = if self.newest.is_some() && of(self.newest).next().is_some() { self.newest } else { None };
        let mut best = of(best);
        best.next().filter(|_| best.next().is_none()).map(|claim| &claim.member)
    }

    /// Whether a member other than `member` claims the partition.
    pub(super) fn is_claimed_beside(&self, at: &TopicPartition, member: &str) -> bool {
        self.by_partition.get(at).is_some_and(|claims| claims.iter().any(|claim| *claim.member != *member))
    }
}
