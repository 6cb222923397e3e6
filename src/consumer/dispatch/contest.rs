//! When somebody else moves positions that are settled here.

use crate::place::Place;
use crate::{Error, ErrorCode};

/// A conflict may be a zombie's last write (rule R8); a second one in a row means that somebody else works here.
pub(super) const CONFLICTS: u32 = 2;

/// The error for a partition that stops over it.
pub(super) fn contested(at: Place) -> Error {
    Error::new(ErrorCode::StoreConflict, "somebody else keeps moving the partition's position")
        .at(at)
        .remedy("find the other process that works on this store's group, and end one of the two")
}
