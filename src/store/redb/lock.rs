//! Which process holds a store.

use std::path::Path;

use crate::{Error, ErrorCode};

/// The error for a store that another process holds, naming it where the system tells.
pub(super) fn holder(path: &Path) -> Error {
    let name = path.display();
    let message = match locking_process(path) {
        Some(process) if process == std::process::id() => format!("this process holds the store {name} already"),
        Some(process) => format!("process {process} holds the store {name}"),
        None => format!("another process holds the store {name}"),
    };
    Error::new(ErrorCode::StoreLocked, message)
        .remedy("stop it first: a redb store serves one process of a group, PostgreSQL serves many")
        .retriable()
}

/// The process that has a lock on the file, from the kernel's table of locks.
#[cfg(target_os = "linux")]
fn locking_process(path: &Path) -> Option<u32> {
    use std::os::unix::fs::MetadataExt;
    let inode = std::fs::metadata(path).ok()?.ino();
    process_in(&std::fs::read_to_string("/proc/locks").ok()?, inode)
}

#[cfg(not(target_os = "linux"))]
fn locking_process(_path: &Path) -> Option<u32> {
    None
}

/// Finds `12: FLOCK  ADVISORY  WRITE 4711 fe:00:131090 0 EOF`. A lock of an open file has no process and says -1.
#[cfg(target_os = "linux")]
fn process_in(locks: &str, inode: u64) -> Option<u32> {
    locks.lines().find_map(|line| {
        let mut fields = line.split_whitespace().skip_while(|field| *field != "WRITE" && *field != "READ");
        let process = fields.nth(1)?.parse().ok()?;
        let device_and_inode = fields.next()?;
        (device_and_inode.rsplit(':').next()?.parse() == Ok(inode)).then_some(process)
    })
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn the_process_is_found_by_the_files_inode() {
        let locks = "1: POSIX  ADVISORY  READ 12 fe:00:77 0 EOF\n\
                     2: -> FLOCK  ADVISORY  WRITE 13 fe:00:131090 0 EOF\n\
                     3: OFDLCK ADVISORY  WRITE -1 fe:00:88 0 EOF\n";
        assert_eq!(process_in(locks, 77), Some(12));
        assert_eq!(process_in(locks, 131_090), Some(13));
        assert_eq!(process_in(locks, 88), None);
        assert_eq!(process_in("", 77), None);
    }
}
