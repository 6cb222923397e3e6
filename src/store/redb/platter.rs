//! The file below redb, which remembers that a sync failed.
//!
//! After a failed sync the system may show what is not on the disk, to later processes too: until the file system is
//! mounted again or the machine has restarted. A mark beside the file keeps the next process from going on as if it had
//! been written.
//!
//! ```text
//!  redb --> Platter --> file          sync fails --> W.unsynced: no process opens W in this life of the machine
//! ```

use std::fmt;
use std::fs;
use std::io;
use std::ops::Bound;
use std::path::{Path, PathBuf};

use redb::{BackendError, StorageBackend};

use crate::{Error, ErrorCode, Result};

/// Where Linux tells one life of the machine from the next.
const LIFE: &str = "/proc/sys/kernel/random/boot_id";

/// Why nobody knows what the disk holds.
#[derive(Debug)]
pub(super) struct SyncFailed(io::Error);

impl fmt::Display for SyncFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the sync failed: {}", self.0)
    }
}

impl std::error::Error for SyncFailed {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

/// Whether this is what a failed sync gave.
pub(super) fn is_sync_failure(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|cause| cause.is::<SyncFailed>())
}

/// A file, or what stands for one.
#[derive(Debug)]
pub(super) struct Platter<B> {
    below: B,
    mark: Option<PathBuf>,
}

impl<B: StorageBackend> Platter<B> {
    /// What is below a store at this path; without one nothing is marked.
    pub(super) fn new(below: B, store: Option<&Path>) -> Self {
        Self { below, mark: store.map(mark) }
    }

    fn unsynced(&self, cause: io::Error) -> io::Error {
        if let Some(mark) = &self.mark
            && let Err(error) = fs::write(mark, life().unwrap_or_default())
        {
            tracing::error!(%error, "{} cannot be written", mark.display());
        }
        io::Error::other(SyncFailed(cause))
    }
}

/// The mark of a store.
fn mark(store: &Path) -> PathBuf {
    let mut name = store.as_os_str().to_owned();
    name.push(".unsynced");
    name.into()
}

fn life() -> Option<String> {
    fs::read_to_string(LIFE).ok()
}

/// Refuses a store whose sync failed in this life of the machine. A mark of an earlier one is of no more use.
pub(super) fn refuse_unsynced(store: &Path) -> Result<()> {
    let mark = mark(store);
    let Ok(marked) = fs::read_to_string(&mark) else { return Ok(()) };
    if life().is_some_and(|life| life != marked) {
        drop(fs::remove_file(&mark));
        return Ok(());
    }
    let sentence = "a sync of the store's file failed: what the system shows of it may not be on the disk";
    let remedy = format!(
        "mend the disk and restart the machine; or mount its file system again and remove {}: the store then goes on from \
         what is on the disk",
        mark.display()
    );
    Err(Error::new(ErrorCode::StoreIo, sentence).remedy(remedy))
}

impl<B: StorageBackend> StorageBackend for Platter<B> {
    fn len(&self) -> io::Result<u64> {
        self.below.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.below.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.below.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.below.sync_data().map_err(|cause| self.unsynced(cause))
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.below.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.below.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.below.try_lock_range(start, end)
    }

    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.below.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.below.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.below.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.below.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.below.query_lock_range(start, end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_of_this_life_of_the_machine_refuses_the_store_and_an_older_one_goes() {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("inventory.redb");
        assert!(refuse_unsynced(&store).is_ok());
        fs::write(mark(&store), life().unwrap_or_default()).unwrap();
        let refused = refuse_unsynced(&store).unwrap_err();
        assert_eq!(refused.code(), ErrorCode::StoreIo);
        assert!(refused.to_string().contains("inventory.redb.unsynced"), "{refused}");
        if life().is_some() {
            fs::write(mark(&store), "another life").unwrap();
            assert!(refuse_unsynced(&store).is_ok());
            assert!(!mark(&store).exists());
        }
    }
}
