//! Whether what stands at a path can be a store, told before redb opens it.

use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::Path;

use super::platter::refuse_unsynced;
use crate::{Error, ErrorCode, Result};

/// What every redb file begins with.
const MAGIC: [u8; 9] = [b'r', b'e', b'd', b'b', 0x1A, 0x0A, 0xA9, 0x0D, 0x0A];

/// Refuses a directory, a file of another kind, and a path into no folder. What only redb can tell is left to it.
pub(super) fn look(path: &Path) -> Result<()> {
    refuse_unsynced(path)?;
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => Err(not_a_store(path, "it is a directory")),
        Ok(_) if begins_otherwise(path) => Err(not_a_store(path, "the file is of another kind")),
        Err(error) if error.kind() == ErrorKind::NotFound => match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() && !folder.is_dir() => {
                let sentence = format!("there is no folder {} for the store", folder.display());
                Err(Error::new(ErrorCode::StoreMissing, sentence))
            }
            _ => Ok(()),
        },
        _ => Ok(()),
    }
}

fn begins_otherwise(path: &Path) -> bool {
    let mut begins = [0; MAGIC.len()];
    // A file that is too short, or that cannot be read, is redb's to judge.
    File::open(path).and_then(|mut file| file.read_exact(&mut begins)).is_ok() && begins != MAGIC
}

fn not_a_store(path: &Path, why: &str) -> Error {
    let sentence = format!("{} is not a store: {why}", path.display());
    Error::new(ErrorCode::StoreFormat, sentence).remedy("name another path")
}
