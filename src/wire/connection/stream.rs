//! What a connection's bytes go through: a socket, or a pipe to the development broker of the same process.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

#[cfg(feature = "dev-broker")]
use tokio::io::DuplexStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::ConnectionSettings;
use super::dial::dial;
use crate::config::Address;
use crate::error::Result;

/// An open way to a broker.
#[derive(Debug)]
pub(super) enum Stream {
    Socket(TcpStream),
    #[cfg(feature = "dev-broker")]
    Pipe(DuplexStream),
}

impl Stream {
    /// Opens a way to the broker at this address.
    pub(super) async fn open(address: &Address, settings: &ConnectionSettings) -> Result<Self> {
        #[cfg(feature = "dev-broker")]
        if let Some(inside) = &settings.inside {
            return inside.dial(address).map(Self::Pipe);
        }
        dial(address, settings).await.map(Self::Socket)
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Socket(stream) => Pin::new(stream).poll_read(cx, buf),
            #[cfg(feature = "dev-broker")]
            Self::Pipe(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Socket(stream) => Pin::new(stream).poll_write(cx, bytes),
            #[cfg(feature = "dev-broker")]
            Self::Pipe(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Socket(stream) => Pin::new(stream).poll_flush(cx),
            #[cfg(feature = "dev-broker")]
            Self::Pipe(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Socket(stream) => Pin::new(stream).poll_shutdown(cx),
            #[cfg(feature = "dev-broker")]
            Self::Pipe(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
