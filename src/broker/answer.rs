//! An answer on its way out: what was encoded, with record batches spliced in where they belong.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes};

use crate::wire::message::{ApiKey, CodecError, encode_response_header};

/// Batches smaller than this are copied into the answer: a slice of its own costs more.
const SPLICE_FROM: usize = 4 << 10;

/// An answer that is being written. It begins with its length, which is known last.
#[derive(Debug)]
pub(super) struct Answer {
    encoded: Vec<u8>,
    /// Bytes that go in before the byte of this number.
    splices: Vec<(usize, Bytes)>,
    spliced: usize,
}

impl Answer {
    /// An answer that has its header.
    pub(super) fn new(api: ApiKey, version: i16, correlation_id: i32) -> Self {
        let mut encoded = vec![0; 4];
        encode_response_header(api, version, correlation_id, &mut encoded);
        Self { encoded, splices: Vec::new(), spliced: 0 }
    }

    /// Where a message is appended.
    pub(super) fn encoded(&mut self) -> &mut Vec<u8> {
        &mut self.encoded
    }

    /// Appends bytes, without copying them if they are many.
    pub(super) fn splice(&mut self, bytes: Bytes) {
        if bytes.len() < SPLICE_FROM {
            return self.encoded.extend_from_slice(&bytes);
        }
        self.spliced += bytes.len();
        self.splices.push((self.encoded.len(), bytes));
    }

    /// The answer as it goes to the socket.
    ///
    /// # Errors
    /// When it is longer than a frame can be.
    pub(super) fn finish(mut self) -> Result<Outgoing, CodecError> {
        let length = self.encoded.len() - 4 + self.spliced;
        let too_long = || CodecError::new(crate::wire::codec::Fault::TooLong(length), 0);
        let length = i32::try_from(length).map_err(|_| too_long())?;
        if let Some(prefix) = self.encoded.first_chunk_mut() {
            *prefix = length.to_be_bytes();
        }
        let mut rest = Bytes::from(self.encoded);
        let mut chunks = VecDeque::with_capacity(2 * self.splices.len() + 1);
        let mut sent = 0;
        for (at, bytes) in self.splices {
            chunks.push_back(rest.split_to(at - sent));
            chunks.push_back(bytes);
            sent = at;
        }
        chunks.push_back(rest);
        chunks.retain(|chunk| !chunk.is_empty());
        Ok(Outgoing { chunks })
    }
}

/// Bytes for a socket, in pieces that are written together.
#[derive(Debug)]
pub(super) struct Outgoing {
    chunks: VecDeque<Bytes>,
}

impl Buf for Outgoing {
    fn remaining(&self) -> usize {
        self.chunks.iter().map(Bytes::len).sum()
    }

    fn has_remaining(&self) -> bool {
        !self.chunks.is_empty()
    }

    fn chunk(&self) -> &[u8] {
        self.chunks.front().map_or(&[], |chunk| chunk)
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let pairs = slices.iter_mut().zip(&self.chunks);
        pairs.map(|(slice, chunk)| *slice = IoSlice::new(chunk)).count()
    }

    fn advance(&mut self, mut count: usize) {
        while let Some(chunk) = self.chunks.front_mut() {
            if count < chunk.len() {
                return chunk.advance(count);
            }
            count -= chunk.len();
            self.chunks.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_spliced_stands_where_it_was_and_counts_in_the_length() {
        let large = Bytes::from(vec![7; SPLICE_FROM]);
        let mut answer = Answer::new(ApiKey::Fetch, 4, 1);
        answer.encoded().extend_from_slice(b"ab");
        answer.splice(large.clone());
        answer.splice(Bytes::from_static(b"small"));
        answer.splice(large.clone());
        let mut outgoing = answer.finish().unwrap();
        assert_eq!(outgoing.chunks.len(), 4);
        let mut slices = [IoSlice::new(&[]); 8];
        assert_eq!(outgoing.chunks_vectored(&mut slices), 4);
        let mut bytes = Vec::new();
        while outgoing.has_remaining() {
            // Odd steps cross the pieces' borders.
            let step = outgoing.chunk().len().min(1000);
            bytes.extend_from_slice(&outgoing.chunk()[..step]);
            outgoing.advance(step);
        }
        let length = i32::from_be_bytes(*bytes.first_chunk().unwrap());
        assert_eq!(usize::try_from(length).unwrap(), bytes.len() - 4);
        assert_eq!(bytes[4..8], [0, 0, 0, 1]);
        assert_eq!(bytes[8..10], *b"ab");
        assert_eq!(bytes[10..10 + SPLICE_FROM], large[..]);
        assert_eq!(bytes[10 + SPLICE_FROM..15 + SPLICE_FROM], *b"small");
        assert_eq!(bytes.len(), 15 + 2 * SPLICE_FROM);
    }
}
