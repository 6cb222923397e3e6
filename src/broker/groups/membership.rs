//! The members of a group, by the protocol that they speak.
//!
//! A group that has no members is of either kind: the first member to come decides.

use std::time::Duration;

use super::classic::{Answer, Classic, Ticket};
use super::next_generation::NextGeneration;

/// The members of one group.
#[derive(Debug)]
pub(in crate::broker) enum Membership {
    /// They elect a leader that assigns. So is a group that has offsets only.
    Classic(Classic),
    /// The coordinator assigns (KIP-848).
    NextGeneration(NextGeneration),
}

impl Membership {
    pub(in crate::broker) fn classic(&self) -> Option<&Classic> {
        match self {
            Self::Classic(classic) => Some(classic),
            Self::NextGeneration(_) => None,
        }
    }

    pub(in crate::broker) fn is_empty(&self) -> bool {
        match self {
            Self::Classic(classic) => classic.is_empty(),
            Self::NextGeneration(next) => next.is_empty(),
        }
    }

    /// Kafka's name of the kind.
    pub(in crate::broker) fn kind(&self) -> &'static str {
        match self {
            Self::Classic(_) => "classic",
            Self::NextGeneration(_) => "consumer",
        }
    }

    pub(in crate::broker) fn protocol_type(&self) -> &str {
        match self {
            Self::Classic(classic) => classic.protocol_type(),
            Self::NextGeneration(_) => "consumer",
        }
    }

    /// The state by Kafka's name.
    pub(in crate::broker) fn state(&self) -> &'static str {
        match self {
            Self::Classic(classic) => classic.phase().name(),
            Self::NextGeneration(next) => next.state(),
        }
    }

    pub(super) fn take_answers(&mut self) -> Vec<(Ticket, Answer)> {
        match self {
            Self::Classic(classic) => classic.take_answers(),
            Self::NextGeneration(_) => Vec::new(),
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Duration> {
        match self {
            Self::Classic(classic) => classic.next_deadline(),
            Self::NextGeneration(next) => next.next_deadline(),
        }
    }

    pub(super) fn tick(&mut self, now: Duration) {
        match self {
            Self::Classic(classic) => classic.tick(now),
            Self::NextGeneration(next) => next.tick(now),
        }
    }
}
