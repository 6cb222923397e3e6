//! A stream with a kill switch.
//!
//! The protocol layer finishes a half-written request in a task of its own even after the connection has been dropped,
//! and it does not tell when the peer has gone. The guard does both: it fails every read and write once killed, and it
//! marks the connection closed at the stream's end.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use futures::task::AtomicWaker;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Ends a [`Guarded`] stream from outside, and tells whether it has ended.
#[derive(Clone, Debug, Default)]
pub(super) struct KillSwitch(Arc<Switch>);

#[derive(Debug, Default)]
struct Switch {
    closed: AtomicBool,
    reader: AtomicWaker,
    writer: AtomicWaker,
}

impl KillSwitch {
    /// Fails all reads and writes from now on.
    pub(super) fn kill(&self) {
        self.0.closed.store(true, Ordering::Release);
        self.0.reader.wake();
        self.0.writer.wake();
    }

    /// Whether the stream was killed, has ended, or has failed.
    pub(super) fn is_closed(&self) -> bool {
        self.0.closed.load(Ordering::Acquire)
    }
}

/// A stream that a [`KillSwitch`] ends.
#[derive(Debug)]
pub(super) struct Guarded<S> {
    stream: S,
    switch: KillSwitch,
}

impl<S> Guarded<S> {
    pub(super) fn new(stream: S) -> (Self, KillSwitch) {
        let switch = KillSwitch::default();
        (Self { stream, switch: switch.clone() }, switch)
    }

    fn refusal(&self) -> io::Result<()> {
        if self.switch.is_closed() { Err(io::ErrorKind::ConnectionAborted.into()) } else { Ok(()) }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.switch.0.reader.register(cx.waker());
        self.refusal()?;
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if let Poll::Ready(result) = &read
            && (result.is_err() || (buf.filled().len() == before && buf.remaining() > 0))
        {
            self.switch.kill();
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.switch.0.writer.register(cx.waker());
        self.refusal()?;
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        if matches!(written, Poll::Ready(Err(_))) {
            self.switch.kill();
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.refusal()?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn a_killed_stream_wakes_its_reader_and_fails_both_ways() {
        let (near, _far) = tokio::io::duplex(8);
        let (mut guarded, switch) = Guarded::new(near);
        let reader = tokio::spawn(async move {
            let read = guarded.read_u8().await;
            (read, guarded.write_u8(1).await)
        });
        tokio::task::yield_now().await;
        switch.kill();
        let (read, write) = reader.await.unwrap();
        assert!(read.is_err() && write.is_err());
    }

    #[tokio::test]
    async fn the_peers_end_marks_the_stream_closed() {
        let (near, far) = tokio::io::duplex(8);
        let (mut guarded, switch) = Guarded::new(near);
        drop(far);
        assert!(guarded.read_u8().await.is_err());
        assert!(switch.is_closed());
    }
}
