//! The file of bad entries, to be mended.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use orderflow::order::Rejection;
use orderflow::{Error, ErrorCode, Result};

/// Keeps each bad entry's bytes as a line. Written at once: a program that is killed has kept them.
pub struct RejectFile {
    path: PathBuf,
    out: File,
}

impl RejectFile {
    /// Makes the file, or empties it. One of the inputs is refused: it would be lost.
    pub fn new(path: &Path, inputs: &[PathBuf]) -> Result<Self> {
        if inputs.iter().any(|input| is_same(path, input)) {
            let sentence = format!("{} is read from: bad entries cannot be kept in it", path.display());
            return Err(Error::new(ErrorCode::Input, sentence).remedy("name another file for --rejects"));
        }
        let out = File::create(path).map_err(|cause| failed(path, cause))?;
        Ok(Self { path: path.to_owned(), out })
    }

    pub fn write(&mut self, rejection: &Rejection) -> Result<()> {
        let mut line = rejection.to_line();
        if line.is_empty() {
            return Ok(());
        }
        line.push(b'\n');
        self.out.write_all(&line).map_err(|cause| failed(&self.path, cause))
    }
}

fn is_same(one: &Path, other: &Path) -> bool {
    let place = |path: &Path| path.metadata().ok().map(|found| (found.dev(), found.ino()));
    place(one).is_some() && place(one) == place(other)
}

fn failed(path: &Path, cause: std::io::Error) -> Error {
    Error::new(ErrorCode::Input, format!("{} cannot be written", path.display())).caused_by(cause)
}
