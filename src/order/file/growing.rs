//! A growing file: one that others append to, cut or replace while it is read.
//!
//! A file that was cut and filled again beyond the place that was read looks, by its length, as if it had grown. So the
//! last bytes that were read are compared with what stands in their place.

use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

/// How many of the bytes read last are kept for comparison.
const TAIL: usize = 64;

/// What became of a file since it was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is the same, and may have grown.
    Same,
    /// It was cut, or holds something else where it was read.
    Cut,
    /// Another file stands under its name. What is left of the old one can still be read.
    Replaced,
    /// No file stands under its name just now. The old one can still be read.
    Gone,
}

/// Reads a file as far as it has grown.
///
/// ```
/// use orderflow::order::{Change, EntryReader, GrowingFile};
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("orders.ndjson");
/// std::fs::write(&path, "{}\n{\"half")?;
/// let mut entries = EntryReader::new(GrowingFile::open(&path)?).follow();
/// assert!(entries.next_entry()?.is_some());
/// assert!(entries.next_entry()?.is_none(), "the last line is not whole yet");
/// std::fs::write(&path, "{}\n{\"half\": 1}\n")?;
/// assert_eq!(entries.input().change()?, Change::Same);
/// assert!(entries.next_entry()?.is_some());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct GrowingFile {
    path: PathBuf,
    file: File,
    position: u64,
    tail: Vec<u8>,
}

impl GrowingFile {
    /// Opens the file, to be read from its beginning.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn open(path: impl Into<PathBuf>) -> io::Result<Self> {
        let path = path.into();
        let file = File::open(&path)?;
        Ok(Self { path, file, position: 0, tail: Vec::with_capacity(TAIL) })
    }

    /// The file's name.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What became of the file. Ask after its end was met, before reading on.
    ///
    /// # Errors
    /// The file cannot be looked at.
    pub fn change(&self) -> io::Result<Change> {
        let held = self.file.metadata()?;
        if held.len() < self.position || !self.tail_stands()? {
            return Ok(Change::Cut);
        }
        match fs::metadata(&self.path) {
            Ok(named) if is_same(&held, &named) => Ok(Change::Same),
            Ok(_) => Ok(Change::Replaced),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Change::Gone),
            Err(error) => Err(error),
        }
    }

    /// Whether the bytes that were read last still stand where they were read.
    fn tail_stands(&self) -> io::Result<bool> {
        let mut stands = [0; TAIL];
        let Some(stands) = stands.get_mut(..self.tail.len()) else { return Ok(true) };
        match self.file.read_exact_at(stands, self.position - self.tail.len() as u64) {
            Ok(()) => Ok(*stands == *self.tail),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn remember(&mut self, read: &[u8]) {
        let new = read.get(read.len().saturating_sub(TAIL)..).unwrap_or(read);
        let kept = TAIL - new.len();
        let dropped = self.tail.len().saturating_sub(kept);
        self.tail.drain(..dropped);
        self.tail.extend_from_slice(new);
    }
}

impl Read for GrowingFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.position += count as u64;
        self.remember(buffer.get(..count).unwrap_or_default());
        Ok(count)
    }
}

fn is_same(held: &Metadata, named: &Metadata) -> bool {
    (held.dev(), held.ino()) == (named.dev(), named.ino())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::order::EntryReader;

    fn grown(text: &str) -> (tempfile::TempDir, PathBuf, EntryReader<GrowingFile>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("orders.ndjson");
        fs::write(&path, text).unwrap();
        let mut entries = EntryReader::new(GrowingFile::open(&path).unwrap()).follow();
        while entries.next_entry().unwrap().is_some() {}
        (folder, path, entries)
    }

    fn append(path: &Path, text: &str) {
        File::options().append(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
    }

    #[test]
    fn what_is_appended_is_the_same_file_and_a_line_is_given_when_it_is_whole() {
        let (_folder, path, mut entries) = grown("\u{feff}{}\n  \n[1");
        for part in [", 2", "]  ", "\r\n"] {
            assert!(entries.next_entry().unwrap().is_none(), "before {part:?}");
            append(&path, part);
            assert_eq!(entries.input().change().unwrap(), Change::Same);
        }
        let entry = entries.next_entry().unwrap().unwrap();
        assert_eq!((entry.index(), entry.line(), entry.bytes()), (1, 3, &b"[1, 2]"[..]));
    }

    #[test]
    fn a_file_that_was_cut_is_seen_even_when_it_is_longer_again() {
        let (_folder, path, entries) = grown("{\"order\": 1}\n{\"order\": 2}\n");
        File::options().write(true).open(&path).unwrap().set_len(13).unwrap();
        assert_eq!(entries.input().change().unwrap(), Change::Cut);
        append(&path, &"{\"order\": 3}\n".repeat(20));
        assert_eq!(entries.input().change().unwrap(), Change::Cut);
    }

    #[test]
    fn a_file_that_was_moved_away_is_read_on_and_its_successor_is_seen() {
        let (folder, path, mut entries) = grown("1\n");
        let moved = folder.path().join("orders.1");
        fs::rename(&path, &moved).unwrap();
        append(&moved, "2\n");
        assert_eq!(entries.input().change().unwrap(), Change::Gone);
        fs::write(&path, "3\n").unwrap();
        assert_eq!(entries.input().change().unwrap(), Change::Replaced);
        assert_eq!(entries.next_entry().unwrap().unwrap().bytes(), b"2");
    }

    #[test]
    fn an_end_without_a_line_end_is_given_once_nothing_more_is_to_come() {
        let (_folder, _path, mut entries) = grown("1\n2");
        assert!(entries.next_entry().unwrap().is_none());
        entries.end_here();
        assert_eq!(entries.next_entry().unwrap().unwrap().bytes(), b"2");
        assert!(entries.next_entry().unwrap().is_none());
    }

    #[test]
    fn a_byte_order_mark_that_comes_late_is_skipped_all_the_same() {
        let (_folder, path, mut entries) = grown("");
        for part in [&b"\xef"[..], b"\xbb", b"\xbf1\n"] {
            assert!(entries.next_entry().unwrap().is_none());
            File::options().append(true).open(&path).unwrap().write_all(part).unwrap();
        }
        assert_eq!(entries.next_entry().unwrap().unwrap().bytes(), b"1");
    }

    #[test]
    fn the_tail_is_the_last_bytes_however_they_came() {
        let (_folder, path, _) = grown("");
        let all: Vec<u8> = (0..200).collect();
        fs::write(&path, &all).unwrap();
        for step in [1, 7, 63, 64, 65, 200] {
            let mut file = GrowingFile::open(&path).unwrap();
            let mut buffer = vec![0; step];
            while file.read(&mut buffer).unwrap() > 0 {}
            assert_eq!((&file.tail[..], file.position), (&all[136..], 200), "steps of {step}");
            assert_eq!(file.change().unwrap(), Change::Same);
        }
    }
}
