//! Whether a disk that was full has room again.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use super::fault::fault;
use crate::Result;

/// So much is tried to be written. To open a store that failed is much work, which is in vain without this much.
const ROOM: usize = 1 << 20;

/// Tries to write a file beside the store.
pub(super) fn try_room(store: &Path) -> Result<()> {
    let mut name = store.as_os_str().to_owned();
    name.push(".room");
    let written = File::create(&name).and_then(|mut file| {
        let zeros = vec![0; ROOM];
        file.write_all(&zeros)?;
        file.sync_data()
    });
    drop(fs::remove_file(&name));
    written.map_err(|error| fault(redb::Error::Io(error)))
}
