//! Membership of a consumer group: who owns which partitions, as pure machines.
//!
//! Two protocols decide it: KIP-848, where the coordinator assigns and a heartbeat carries everything, and the
//! classic one, where the members elect a leader that assigns. Both are a [`member::Member`]: events in, effects
//! out, without sockets, clock or chance. One driver runs either, and a simulation can do so as well.
//!
//! ```text
//!   coordinator's answers --+                    +--> requests, on the heartbeat's or the join's connection
//!   metadata               -+--> Event --> Member --> Effect --> assigned, revoked, lost
//!   the application's acks -+                    +--> when to wake, what to tell people
//! ```
//!
//! # Rules that both keep
//! - At most one heartbeat is in flight; an answer that belongs to an older life of the member is dropped.
//! - A partition is reported as owned until the application has released it, so nobody else gets it before.
//! - Lost partitions are named at once, and no commit is allowed for them any more.
//! - After a request whose outcome is unknown, the member says all of itself again.

mod alarm;
pub(crate) mod assignor;
pub(crate) mod classic;
pub(crate) mod complaint;
pub(crate) mod configured;
mod coordinator;
mod holding;
pub(crate) mod member;
pub(crate) mod message;
pub(crate) mod next_generation;
mod recorded;
#[cfg(test)]
mod rig;
pub(crate) mod session;
pub(crate) mod subscription;
mod told;
mod topics;
