//! Frames off a socket, bounded, with large ones in memory of their own.

use std::io;

use bytes::{BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

/// The largest request, as Kafka's `socket.request.max.bytes`.
pub(super) const MAX_FRAME: usize = 100 << 20;

/// Small frames share buffers of this size, so that several are read at once.
const BUFFER: usize = 64 << 10;

/// What is reserved at once for a large frame whose bytes have not come yet: its length is only a promise.
const STEP: usize = 4 << 20;

/// The reading half of a connection.
#[derive(Debug)]
pub(super) struct Frames<R> {
    stream: R,
    buffer: BytesMut,
}

impl<R: AsyncRead + Unpin> Frames<R> {
    pub(super) fn new(stream: R) -> Self {
        Self { stream, buffer: BytesMut::with_capacity(BUFFER) }
    }

    /// The next frame without its length; `None` when the peer closed in between two.
    ///
    /// # Errors
    /// When the connection breaks or closes within a frame, or a length is impossible.
    ///
    /// # Cancel safety
    /// Nothing is lost if the returned future is dropped.
    pub(super) async fn next(&mut self) -> io::Result<Option<Bytes>> {
        if !self.fill(4).await? {
            return if self.buffer.is_empty() { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
        }
        let length = self.buffer.first_chunk().map_or(0, |length| i32::from_be_bytes(*length));
        let Some(length) = usize::try_from(length).ok().filter(|length| *length <= MAX_FRAME) else {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a frame of {length} bytes")));
        };
        if !self.fill(4 + length).await? {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut frame = self.buffer.split_to(4 + length).freeze();
        Ok(Some(frame.split_off(4)))
    }

    /// Reads until `wanted` bytes are there; false when the peer closed before.
    async fn fill(&mut self, wanted: usize) -> io::Result<bool> {
        while self.buffer.len() < wanted {
            let missing = wanted - self.buffer.len();
            let large = wanted > BUFFER;
            self.buffer.reserve(if large { missing.min(STEP) } else { BUFFER - self.buffer.len() });
            // A large frame's memory ends with it: what is kept of it in a log keeps nothing else.
            let most = if large { missing } else { usize::MAX };
            if self.stream.read_buf(&mut (&mut self.buffer).limit(most)).await? == 0 {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Reads and throws away until the peer closes the connection.
    pub(super) async fn discard(&mut self) {
        loop {
            self.buffer.clear();
            self.buffer.reserve(BUFFER);
            if !matches!(self.stream.read_buf(&mut self.buffer).await, Ok(read) if read > 0) {
                return;
            }
        }
    }

    /// Resolves when the peer closes the connection. Meanwhile it reads ahead, up to one buffer.
    ///
    /// # Cancel safety
    /// Nothing is lost if the returned future is dropped.
    pub(super) async fn hang_up(&mut self) {
        while self.buffer.len() < BUFFER {
            self.buffer.reserve(BUFFER - self.buffer.len());
            match self.stream.read_buf(&mut self.buffer).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
        }
        std::future::pending().await
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    fn framed(body: &[u8]) -> Vec<u8> {
        let mut frame = u32::try_from(body.len()).unwrap().to_be_bytes().to_vec();
        frame.extend_from_slice(body);
        frame
    }

    #[tokio::test]
    async fn frames_come_whole_however_they_are_cut() {
        let large = vec![7; 3 * BUFFER];
        let sent: Vec<u8> = [framed(b"one"), framed(b""), framed(&large), framed(b"four")].concat();
        for piece in [1, 5, 1000, sent.len()] {
            let (mut client, server) = tokio::io::duplex(piece);
            let sent = sent.clone();
            let writer = tokio::spawn(async move { client.write_all(&sent).await });
            let mut frames = Frames::new(server);
            for expected in [b"one".as_slice(), b"", &large, b"four"] {
                assert_eq!(frames.next().await.unwrap().unwrap(), expected, "pieces of {piece}");
            }
            assert_eq!(frames.next().await.unwrap(), None);
            writer.await.unwrap().unwrap();
        }
    }

    #[tokio::test]
    async fn impossible_lengths_and_cut_frames_are_errors() {
        for bytes in [&[0x7f, 0xff, 0xff, 0xff][..], &[0xff; 4], &[0, 0, 0, 9, 1], &[0, 0]] {
            let mut frames = Frames::new(bytes);
            assert!(frames.next().await.is_err(), "{bytes:?}");
        }
    }

    #[tokio::test]
    async fn a_promised_length_takes_no_memory_before_its_bytes_come() {
        let mut frames = Frames::new(&[0x06, 0, 0, 0, 1, 2, 3][..]);
        assert!(frames.next().await.is_err());
        assert!(frames.buffer.capacity() <= STEP + BUFFER);
    }

    #[tokio::test]
    async fn what_was_read_while_waiting_for_the_peer_to_close_is_not_lost() {
        let sent = framed(b"next");
        let mut frames = Frames::new(&sent[..]);
        frames.hang_up().await;
        assert_eq!(frames.next().await.unwrap().unwrap(), &b"next"[..]);
    }
}
