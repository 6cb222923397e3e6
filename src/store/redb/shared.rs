//! The open file, between the thread that writes and those who ask.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{RwLock, RwLockReadGuard};

use redb::{Database, ReadOnlyDatabase, ReadTransaction, ReadableDatabase};

use super::fault::{closed, fault, no_room};
use crate::store::StoreIdentity;
use crate::{Error, ErrorCode, Result};

/// An open store file. Closing waits for whoever reads a page.
pub(super) struct Shared {
    open: RwLock<Option<Open>>,
    /// Raised before closing waits, so that a long answer ends.
    closing: AtomicBool,
    path: PathBuf,
    identity: StoreIdentity,
}

/// How the file is open.
pub(super) enum Open {
    /// By the process that holds the store.
    Writer(Database),
    /// By a process that only asks.
    Reader(ReadOnlyDatabase),
    /// Not now: it failed, and could not be opened again yet.
    Away,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("path", &self.path).field("identity", &self.identity).finish_non_exhaustive()
    }
}

impl Shared {
    pub(super) fn new(open: Open, path: &Path, identity: StoreIdentity) -> Self {
        Self { open: RwLock::new(Some(open)), closing: AtomicBool::new(false), path: path.to_owned(), identity }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn identity(&self) -> &StoreIdentity {
        &self.identity
    }

    /// Runs `work` on the database of the process that holds the store.
    pub(super) fn with_writer<T>(&self, work: impl FnOnce(&Database) -> Result<T>) -> Result<T> {
        match self.lock().as_ref() {
            Some(Open::Writer(database)) => work(database),
            Some(Open::Reader(_)) => Err(Error::new(ErrorCode::Internal, "the store is open for reading only")),
            Some(Open::Away) => Err(no_room()),
            None => Err(closed()),
        }
    }

    /// Opens the file anew, once the one that failed is let go of: what is committed is what the file says then.
    pub(super) fn reopen(&self, open: impl FnOnce() -> Result<Database>) -> Result<()> {
        let mut place = self.open.write().unwrap_or_else(|poisoned| poisoned.into_inner());
        if place.is_none() {
            return Err(closed());
        }
        *place = Some(Open::Away);
        *place = Some(Open::Writer(open()?));
        Ok(())
    }

    /// Runs `work` on what is committed now.
    pub(super) fn read<T>(&self, work: impl FnOnce(&ReadTransaction) -> Result<T>) -> Result<T> {
        let open = self.lock();
        let transaction = match open.as_ref() {
            Some(Open::Writer(database)) => database.begin_read(),
            Some(Open::Reader(database)) => database.begin_read(),
            Some(Open::Away) => return Err(no_room()),
            None => return Err(closed()),
        };
        work(&transaction.map_err(fault)?)
    }

    /// Refuses to go on with a long answer while the store is closing.
    pub(super) fn go_on(&self) -> Result<()> {
        if self.closing.load(Ordering::Relaxed) { Err(closed()) } else { Ok(()) }
    }

    /// Closes the file and frees its lock.
    pub(super) fn close(&self) -> Result<()> {
        self.closing.store(true, Ordering::Relaxed);
        let open = self.open.write().unwrap_or_else(|poisoned| poisoned.into_inner()).take();
        match open {
            Some(Open::Writer(database)) => database.close().map_err(fault),
            Some(Open::Reader(database)) => database.close().map_err(fault),
            Some(Open::Away) | None => Ok(()),
        }
    }

    /// A panic of a reader leaves the file as it is, so a poisoned lock is as good as any.
    fn lock(&self) -> RwLockReadGuard<'_, Option<Open>> {
        self.open.read().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}
