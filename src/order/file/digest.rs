//! Digests: the SHA-256 of a file's content, taken while it is read.
//!
//! A file is read once for its source and a second time to be sent; a second digest that differs tells that the file
//! changed meanwhile.

use std::io::{self, Read};

use sha2::{Digest, Sha256};

/// Hashes what is read through it.
///
/// ```
/// use orderflow::order::{DigestReader, EntryReader, Source, digest_of};
/// let file = &b"{\"a\": 1}\n"[..];
/// let first = digest_of(file)?;
/// let mut entries = EntryReader::new(DigestReader::new(file));
/// while entries.next_entry()?.is_some() {}
/// assert_eq!(entries.input().digest(), first, "the file is as it was");
/// println!("{}", Source::of_digest(first));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct DigestReader<R> {
    input: R,
    hash: Sha256,
    bytes: u64,
}

impl<R> DigestReader<R> {
    /// Hashes what is read from `input`.
    pub fn new(input: R) -> Self {
        Self { input, hash: Sha256::new(), bytes: 0 }
    }

    /// The SHA-256 of what was read so far.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        self.hash.clone().finalize().into()
    }

    /// How many bytes were read so far.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl<R: Read> Read for DigestReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        self.hash.update(buffer.get(..count).unwrap_or_default());
        self.bytes += count as u64;
        Ok(count)
    }
}

/// The SHA-256 of all that `input` gives.
///
/// # Errors
/// The input cannot be read.
pub fn digest_of(input: impl Read) -> io::Result<[u8; 32]> {
    let mut reader = DigestReader::new(input);
    let mut buffer = vec![0; 128 * 1024];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return Ok(reader.digest()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::order::EntryReader;

    #[test]
    fn the_digest_is_that_of_the_whole_file_whatever_is_in_it() {
        for file in ["", "x", "[]", "[] and more", "[1,2", "[\n\"a\n]", "{}\n\n{}"] {
            let mut entries = EntryReader::new(DigestReader::new(file.as_bytes()));
            while entries.next_entry().unwrap().is_some() {}
            let expected: [u8; 32] = Sha256::digest(file).into();
            assert_eq!(entries.input().digest(), expected, "{file}");
            assert_eq!(entries.input().bytes(), file.len() as u64);
            assert_eq!(digest_of(file.as_bytes()).unwrap(), expected);
        }
    }
}
