//! What redb's errors mean to us.

use crate::{Error, ErrorCode};

/// The error for what redb answered.
pub(super) fn fault(cause: impl Into<redb::Error>) -> Error {
    let cause = cause.into();
    let error = match &cause {
        redb::Error::Corrupted(_) | redb::Error::RepairAborted | redb::Error::TableTypeMismatch { .. } => {
            Error::new(ErrorCode::StoreCorrupt, "the store's file contradicts itself")
        }
        redb::Error::UpgradeRequired(_) => Error::new(ErrorCode::StoreFormat, "the store's file has an old layout"),
        redb::Error::DatabaseAlreadyOpen => {
            Error::new(ErrorCode::StoreLocked, "another process holds the store").retriable()
        }
        redb::Error::DatabaseClosed => closed(),
        _ => Error::new(ErrorCode::StoreIo, "the store's file cannot be read or written"),
    };
    error.caused_by(cause)
}

/// The store was closed.
pub(super) fn closed() -> Error {
    Error::new(ErrorCode::Closed, "the store is closed")
}
