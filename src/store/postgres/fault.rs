//! What PostgreSQL's errors mean to us.

use crate::{Error, ErrorCode};

/// What the last write of a transaction answers if a position has moved: it divides by the rows that it changed.
const MOVED: &str = "22012";

/// What the last look of a transaction answers that has scheduled deliveries, if more waits for them than it knew of.
const AWAITED: &str = "2201E";

/// Answers after which the same transaction may go through: serialisation failure, deadlock, a lock or a statement that
/// took too long, a server that ends, begins or has only become a standby.
const PASSING: [&str; 10] = ["40001", "40P01", "55P03", "57014", "57P01", "57P02", "57P03", "57P05", "25006", "25P03"];

/// Classes of answers that pass: connection, resources.
const PASSING_CLASSES: [&str; 2] = ["08", "53"];

/// The error for what the server answered, or for an answer that did not come.
pub(super) fn fault(cause: tokio_postgres::Error) -> Error {
    let Some(answer) = cause.as_db_error() else {
        if let Some((sentence, remedy)) = super::protection::lacking(&cause) {
            // Another certificate may be there at the next try.
            return Error::new(ErrorCode::StoreIo, sentence).remedy(remedy).caused_by(cause).retriable();
        }
        return Error::new(ErrorCode::StoreIo, "the connection to the database was lost").caused_by(cause).retriable();
    };
    let code = answer.code().code().to_owned();
    let class = code.get(..2).unwrap_or_default();
    let sentence = format!("the database answered {code}: {}", answer.message());
    match code.as_str() {
        MOVED => Error::new(ErrorCode::StoreConflict, "somebody else wrote a position"),
        AWAITED => {
            Error::new(ErrorCode::StoreIo, "updates came meanwhile of deliveries that were scheduled").retriable()
        }
        "XX001" | "XX002" => Error::new(ErrorCode::StoreCorrupt, sentence),
        known if PASSING.contains(&known) || PASSING_CLASSES.contains(&class) => {
            Error::new(ErrorCode::StoreIo, sentence).retriable()
        }
        "42501" => Error::new(ErrorCode::StoreIo, sentence).remedy("grant the role what docs/postgres.md lists"),
        _ => Error::new(ErrorCode::StoreIo, sentence),
    }
    .caused_by(cause)
}

/// Nobody answered in time. What was asked for may be done.
pub(super) fn late(what: &'static str) -> Error {
    Error::new(ErrorCode::StoreIo, what).retriable()
}

/// The store was closed.
pub(super) fn closed() -> Error {
    Error::new(ErrorCode::Closed, "the store is closed")
}
