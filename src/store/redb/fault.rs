//! What redb's errors mean to us.

use std::io::ErrorKind;

use super::platter::is_sync_failure;
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
        redb::Error::Io(io) if is_sync_failure(io) => {
            Error::new(ErrorCode::StoreIo, "the store's file cannot be synced: nobody knows what of it is on the disk")
        }
        redb::Error::Io(io) if matches!(io.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) => no_room(),
        _ => Error::new(ErrorCode::StoreIo, "the store's file cannot be read or written"),
    };
    error.caused_by(cause)
}

/// The disk is full. Nothing of the transaction that found it so is in the store.
pub(super) fn no_room() -> Error {
    Error::new(ErrorCode::StoreIo, "the store's disk is full").remedy("make room: it goes on by itself").retriable()
}

/// The store was closed.
pub(super) fn closed() -> Error {
    Error::new(ErrorCode::Closed, "the store is closed")
}
