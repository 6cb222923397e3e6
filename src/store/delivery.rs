//! The life of one delivery, as a checked state machine.
//!
//! ```text
//!  scheduled --> out_for_delivery --> delivered
//!      |                 |
//!      v                 v
//!  cancelled           failed
//! ```
//! Pure: time is passed in, and what follows from a move is a value. Delivered, failed and cancelled
//! are final: who wants to try a failed delivery again orders it again. No move leads back, so a delivery makes each move
//! once at most, whatever is repeated.

use serde::{Deserialize, Serialize};

use crate::order::{DeliveryUpdate, Status};

/// The code of a move of a delivery that the store does not have.
pub const UNKNOWN: &str = "DLV-UNKNOWN";
/// The code of a move to the status that the delivery has.
pub const REPEATED: &str = "DLV-REPEATED";
/// The code of a move to what the delivery has been before, or that happened before its last one.
pub const LATE: &str = "DLV-LATE";
/// The code of every other move that cannot follow.
pub const IMPOSSIBLE: &str = "DLV-IMPOSSIBLE";

/// A move that a delivery is asked to make.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Move {
    /// Where to.
    pub to: Status,
    /// When, in milliseconds since 1970.
    pub at: i64,
    /// Why, where somebody said so.
    #[serde(default)]
    pub reason: Option<String>,
}

impl From<&DeliveryUpdate> for Move {
    fn from(update: &DeliveryUpdate) -> Self {
        Self { to: update.status(), at: update.at(), reason: update.reason().map(ToOwned::to_owned) }
    }
}

/// Where a delivery is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lifecycle {
    /// The status.
    pub status: Status,
    /// Since when, in milliseconds since 1970.
    pub since: i64,
    /// Counts the changes, from 1, so that a late repeat of an event is recognised.
    pub version: u32,
}

impl Lifecycle {
    /// A delivery that has just been scheduled.
    #[must_use]
    pub const fn scheduled(at: i64) -> Self {
        Self { status: Status::Scheduled, since: at, version: 1 }
    }

    /// The delivery after a move.
    ///
    /// A move that may follow is made whatever its time says: partners' clocks differ.
    ///
    /// # Errors
    /// [`IllegalMove`] if the move cannot follow; nothing changes.
    pub fn after(self, asked: &Move) -> Result<Self, IllegalMove> {
        let Self { status: from, since, version } = self;
        if from.leads_to(asked.to) {
            return Ok(Self { status: asked.to, since: asked.at, version: version.saturating_add(1) });
        }
        let was_passed = match asked.to {
            Status::Scheduled => true,
            Status::OutForDelivery => matches!(from, Status::Delivered | Status::Failed),
            Status::Delivered | Status::Failed | Status::Cancelled => false,
        };
        let why = if from == asked.to {
            Illegality::Repeated
        } else if was_passed || asked.at < since {
            Illegality::Late
        } else {
            Illegality::Impossible
        };
        Err(IllegalMove { from, to: asked.to, why })
    }
}

/// A move that cannot follow on a delivery's status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("a delivery that is {from} cannot become {to}")]
pub struct IllegalMove {
    /// The status that it has.
    pub from: Status,
    /// The status that was asked for.
    pub to: Status,
    /// What is wrong.
    pub why: Illegality,
}

/// What is wrong with a move.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Illegality {
    /// The delivery has that status.
    Repeated,
    /// The delivery has been there, or the move happened before its last one.
    Late,
    /// Nothing leads there from the delivery's status.
    Impossible,
}

impl IllegalMove {
    /// The stable code: [`REPEATED`], [`LATE`] or [`IMPOSSIBLE`].
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self.why {
            Illegality::Repeated => REPEATED,
            Illegality::Late => LATE,
            Illegality::Impossible => IMPOSSIBLE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(to: Status, at: i64) -> Move {
        Move { to, at, reason: None }
    }

    #[test]
    fn an_illegal_move_changes_nothing_and_says_why() {
        let delivered = Lifecycle::scheduled(1)
            .after(&to(Status::OutForDelivery, 2))
            .and_then(|life| life.after(&to(Status::Delivered, 3)))
            .unwrap();
        assert_eq!(delivered, Lifecycle { status: Status::Delivered, since: 3, version: 3 });
        let refused = delivered.after(&to(Status::Cancelled, 4)).unwrap_err();
        assert_eq!(refused.to_string(), "a delivery that is delivered cannot become cancelled");
        for (asked, at, code) in [
            (Status::Cancelled, 4, IMPOSSIBLE),
            (Status::Cancelled, 2, LATE),
            (Status::OutForDelivery, 9, LATE),
            (Status::Delivered, 9, REPEATED),
            (Status::Scheduled, 9, LATE),
        ] {
            assert_eq!(delivered.after(&to(asked, at)).unwrap_err().code(), code, "{asked} at {at}");
        }
    }
}
