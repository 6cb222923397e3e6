//! Whether an order's lane knows of it.

use super::super::lanes::{Lane, Lanes};
use super::Item;

/// How an order stands to its lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// The lane is free: the order was not offered.
    Free,
    /// The lane has the order as the one that runs.
    Occupied,
}

impl Entry {
    pub(super) fn enter(self, lanes: &mut Lanes<Item>, lane: Lane) {
        if self == Self::Free {
            lanes.occupy(lane);
        }
    }

    pub(super) fn leave(self, lanes: &mut Lanes<Item>, lane: Lane) {
        if self == Self::Occupied {
            lanes.done(lane);
        }
    }
}
