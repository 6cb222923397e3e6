//! The one error of the library: a stable code, the place, and what to do next.
//!
//! `Display` tells its own level only; causes are reached through [`std::error::Error::source`].

use std::borrow::Cow;
use std::fmt;

use crate::place::Place;

/// What the library's fallible calls return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Any error as a cause.
pub type BoxError = Box<dyn std::error::Error + Send + Sync + 'static>;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// What went wrong, as a code that stays the same across releases.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum ErrorCode { $($(#[$doc])* $name,)* }

        impl ErrorCode {
            /// The code as text, for logs, metrics and alerts.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

codes! {
    /// A setting has a value that cannot be.
    ConfigValue = "CFG-VALUE",
    /// A setting is known but not supported.
    ConfigUnsupported = "CFG-UNSUPPORTED",
    /// No broker could be reached.
    Connect = "NET-CONNECT",
    /// A deadline passed.
    Timeout = "NET-TIMEOUT",
    /// The connection was closed while an answer was awaited.
    Disconnected = "NET-CLOSED",
    /// The peer's bytes are not what the protocol demands.
    Protocol = "NET-PROTOCOL",
    /// The broker is older than what this library can work with.
    BrokerTooOld = "BRK-VERSION",
    /// The broker answered with an error.
    Broker = "BRK-ERROR",
    /// The broker refused the login or the permission.
    Denied = "BRK-DENIED",
    /// The topic or the partition does not exist.
    UnknownTopic = "BRK-TOPIC",
    /// There is no consumer group of this name.
    UnknownGroup = "BRK-GROUP",
    /// The order breaks a rule; the violation is the cause.
    Order = "ORD-INVALID",
    /// The order file cannot be read.
    Input = "ORD-INPUT",
    /// The order is larger than a batch may be.
    TooLarge = "PRD-TOO-LARGE",
    /// The order was not acknowledged within `delivery.timeout.ms`.
    DeliveryTimeout = "PRD-TIMEOUT",
    /// The broker refused the batch or the order.
    Refused = "PRD-REFUSED",
    /// The producer or consumer is closed.
    Closed = "CLOSED",
    /// A record batch cannot be decoded.
    Batch = "CNS-BATCH",
    /// The position is outside the partition's log.
    OffsetOutOfRange = "CNS-RANGE",
    /// The log diverged from what was applied.
    Diverged = "CNS-DIVERGED",
    /// A handler failed.
    Handler = "CNS-HANDLER",
    /// So many records of a partition could not be applied that it takes no more.
    Breaker = "CNS-BREAKER",
    /// The partition was taken away.
    Lost = "CNS-LOST",
    /// The store does not exist.
    StoreMissing = "STO-MISSING",
    /// Another process holds the store.
    StoreLocked = "STO-LOCKED",
    /// The store belongs to another group or another order type.
    StoreForeign = "STO-FOREIGN",
    /// The group's committed offsets name another store.
    StoreClaimed = "STO-CLAIMED",
    /// The store's format is newer than this library.
    StoreFormat = "STO-FORMAT",
    /// Somebody else moved the position (rule R2).
    StoreConflict = "STO-CONFLICT",
    /// The store cannot be read or written.
    StoreIo = "STO-IO",
    /// What the store holds contradicts itself.
    StoreCorrupt = "STO-CORRUPT",
    /// A bound of the store is reached.
    StoreFull = "STO-FULL",
    /// A task of ours ended in a way that is a bug.
    Internal = "BUG",
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An error of this library.
///
/// ```
/// use orderflow::{Error, ErrorCode};
/// let error = Error::new(ErrorCode::ConfigValue, "linger.ms is `abc`").remedy("give a number of milliseconds");
/// assert_eq!(error.to_string(), "CFG-VALUE: linger.ms is `abc`: give a number of milliseconds");
/// assert!(!error.is_retriable());
/// ```
pub struct Error(Box<Inner>);

struct Inner {
    code: ErrorCode,
    message: Cow<'static, str>,
    place: Place,
    remedy: Option<Cow<'static, str>>,
    retriable: bool,
    possibly_written: bool,
    source: Option<BoxError>,
}

impl Error {
    /// An error that another try does not mend.
    pub fn new(code: ErrorCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Inner {
            code,
            message: message.into(),
            place: Place::default(),
            remedy: None,
            retriable: false,
            possibly_written: false,
            source: None,
        }))
    }

    /// Says where.
    #[must_use]
    pub fn at(mut self, place: Place) -> Self {
        self.0.place = place;
        self
    }

    /// Says what to do next.
    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<Cow<'static, str>>) -> Self {
        self.0.remedy = Some(remedy.into());
        self
    }

    /// Names the cause.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<BoxError>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Marks it as passing: another try may succeed.
    #[must_use]
    pub fn retriable(mut self) -> Self {
        self.0.retriable = true;
        self
    }

    /// Says that the order may be in the log all the same (G1).
    #[must_use]
    pub fn maybe_written(mut self) -> Self {
        self.0.possibly_written = true;
        self
    }

    /// The stable code.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        self.0.code
    }

    /// Where it happened, as far as it is known.
    #[must_use]
    pub fn place(&self) -> &Place {
        &self.0.place
    }

    /// Whether another try may succeed.
    #[must_use]
    pub fn is_retriable(&self) -> bool {
        self.0.retriable
    }

    /// Whether the order that this error speaks of may be in the log.
    #[must_use]
    pub fn possibly_written(&self) -> bool {
        self.0.possibly_written
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.code, self.0.message)?;
        if !self.0.place.is_empty() {
            write!(f, " ({})", self.0.place)?;
        }
        match &self.0.remedy {
            Some(remedy) => write!(f, ": {remedy}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("code", &self.0.code.as_str())
            .field("message", &self.0.message)
            .field("place", &self.0.place)
            .field("retriable", &self.0.retriable)
            .field("possibly_written", &self.0.possibly_written)
            .field("source", &self.0.source)
            .finish()
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

/// An error with its causes, on one line.
pub(crate) fn told(error: &Error) -> String {
    let mut sentence = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        sentence.push_str(": ");
        sentence.push_str(&error.to_string());
        cause = error.source();
    }
    sentence
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::place::TopicPartition;

    #[test]
    fn an_error_tells_code_place_and_remedy_on_one_line_and_keeps_its_cause_apart() {
        let error = Error::new(ErrorCode::OffsetOutOfRange, "position 12 is before the log's start 40")
            .at(Place::record(&TopicPartition::new("orders", 3), 12))
            .remedy("set the position")
            .caused_by(std::io::Error::other("disk"));
        assert_eq!(
            error.to_string(),
            "CNS-RANGE: position 12 is before the log's start 40 (topic orders, partition 3, offset 12): set the position"
        );
        assert_eq!(std::error::Error::source(&error).map(ToString::to_string), Some("disk".into()));
        assert_eq!(told(&error), format!("{error}: disk"));
    }
}
