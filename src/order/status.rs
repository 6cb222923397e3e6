//! Statuses: how far a delivery is, and what may follow.
//!
//! ```text
//!  scheduled --> out_for_delivery --> delivered
//!      |                 |
//!      v                 v
//!  cancelled           failed
//! ```

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Error, ErrorCode};

/// How far a delivery is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It has a day.
    Scheduled,
    /// It is on its way.
    OutForDelivery,
    /// The customer has it.
    Delivered,
    /// The customer could not be given it.
    Failed,
    /// It was called off before it left.
    Cancelled,
}

impl Status {
    /// Every status, in the order of a delivery's life.
    pub const ALL: [Self; 5] = [Self::Scheduled, Self::OutForDelivery, Self::Delivered, Self::Failed, Self::Cancelled];

    /// The name, as in events and listings.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::OutForDelivery => "out_for_delivery",
            Self::Delivered => "delivered",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether a delivery may go from this status to `to` in one move.
    #[must_use]
    pub const fn leads_to(self, to: Self) -> bool {
        matches!(
            (self, to),
            (Self::Scheduled, Self::OutForDelivery | Self::Cancelled)
                | (Self::OutForDelivery, Self::Delivered | Self::Failed)
        )
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Status {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::ALL.into_iter().find(|status| status.as_str() == text).ok_or_else(|| {
            let names = Self::ALL.map(Self::as_str).join(", ");
            Error::new(ErrorCode::ConfigValue, format!("`{text}` is not the status of a delivery"))
                .remedy(format!("give one of {names}"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delivery_makes_legal_moves_only() {
        let legal: Vec<String> = Status::ALL
            .into_iter()
            .flat_map(|from| Status::ALL.map(|to| (from, to)))
            .filter(|(from, to)| from.leads_to(*to))
            .map(|(from, to)| format!("{from}->{to}"))
            .collect();
        assert_eq!(
            legal,
            [
                "scheduled->out_for_delivery",
                "scheduled->cancelled",
                "out_for_delivery->delivered",
                "out_for_delivery->failed"
            ]
        );
    }

    #[test]
    fn a_status_is_read_by_the_name_it_is_written_with() {
        for status in Status::ALL {
            assert_eq!(status.to_string().parse::<Status>().unwrap(), status);
            assert_eq!(serde_json::to_string(&status).unwrap(), format!("\"{status}\""));
        }
        assert!("lost".parse::<Status>().is_err());
    }
}
