//! Opening a TCP connection to a broker.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpStream, lookup_host};

use crate::config::Address;
use crate::error::{Error, ErrorCode, Result};

/// A peer that is silent for this long is asked whether it still lives, so that a connection that a firewall dropped
/// is noticed although nothing is sent on it.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);

/// Resolves the address and tries each of its hosts until one answers, all of it `within` one deadline.
pub(super) async fn dial(address: &Address, within: Duration) -> Result<TcpStream> {
    match tokio::time::timeout(within, first_that_answers(address)).await {
        Ok(outcome) => outcome.map_err(|cause| unreachable(address, reason(&cause)).caused_by(cause)),
        Err(_) => Err(unreachable(address, format!("no answer within {} ms", within.as_millis()))),
    }
}

async fn first_that_answers(address: &Address) -> io::Result<TcpStream> {
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for host in lookup_host((&*address.host, address.port)).await? {
        match open(host).await {
            Ok(stream) => return Ok(stream),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

async fn open(host: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(host).await?;
    // A request's length and body may be two writes: without this the second waits 44 ms for the peer's delayed ACK.
    stream.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_IDLE).with_interval(KEEPALIVE_INTERVAL);
    SockRef::from(&stream).set_tcp_keepalive(&keepalive)?;
    Ok(stream)
}

fn reason(cause: &io::Error) -> String {
    match cause.kind() {
        io::ErrorKind::ConnectionRefused => "nothing listens there".into(),
        _ => cause.to_string(),
    }
}

fn unreachable(address: &Address, reason: String) -> Error {
    Error::new(ErrorCode::Connect, format!("{address} cannot be reached: {reason}")).retriable()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_where_nothing_listens_is_told_as_such() {
        let address = {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            Address::parse(&listener.local_addr().unwrap().to_string()).unwrap()
        };
        let error = dial(&address, Duration::from_secs(5)).await.unwrap_err();
        assert_eq!(error.code(), ErrorCode::Connect);
        assert!(error.is_retriable());
        assert!(error.to_string().contains("nothing listens there"), "{error}");
    }

    #[tokio::test]
    async fn small_writes_leave_at_once_and_a_silent_peer_is_asked_whether_it_lives() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = Address::parse(&listener.local_addr().unwrap().to_string()).unwrap();
        let stream = dial(&address, Duration::from_secs(5)).await.unwrap();
        assert!(stream.nodelay().unwrap());
        assert!(SockRef::from(&stream).keepalive().unwrap());
    }

    /// A listener whose queue is full answers nothing, as an address behind a firewall that drops.
    #[tokio::test]
    async fn an_address_that_never_answers_is_given_up_in_time() {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        socket.listen(0).unwrap();
        let full = socket.local_addr().unwrap().as_socket().unwrap();
        let address = Address::parse(&full.to_string()).unwrap();
        let mut kept = Vec::new();
        let error = loop {
            match dial(&address, Duration::from_millis(200)).await {
                Ok(stream) => kept.push(stream),
                Err(error) => break error,
            }
            assert!(kept.len() < 100, "the queue never fills");
        };
        assert_eq!(error.code(), ErrorCode::Connect);
        assert!(error.to_string().contains("no answer within 200 ms"), "{error}");
    }
}
