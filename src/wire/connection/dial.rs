//! Opening a TCP connection to a broker.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::Instant;

use super::ConnectionSettings;
use crate::config::Address;
use crate::error::{Error, ErrorCode, Result};

/// A peer that is silent for this long is asked whether it still lives, so that a connection that a firewall dropped
/// is noticed although nothing is sent on it.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// So many questions without an answer: a connection that nobody uses is known to be dead after a minute.
const KEEPALIVE_TRIES: u32 = 3;

/// Asks what the address stands for now, and tries each of its hosts in turn until one answers, all of it within
/// `socket.connection.setup.timeout.ms`.
pub(super) async fn dial(address: &Address, settings: &ConnectionSettings) -> Result<TcpStream> {
    let within = settings.connect_timeout;
    let deadline = Instant::now() + within;
    let dialled = async { first_that_answers(&hosts(address, settings).await?, deadline).await };
    match tokio::time::timeout_at(deadline, dialled).await {
        Ok(Err(cause)) if cause.kind() != io::ErrorKind::TimedOut => {
            Err(unreachable(address, reason(&cause)).caused_by(cause))
        }
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(_)) | Err(_) => Err(unreachable(address, format!("no answer within {} ms", within.as_millis()))),
    }
}

/// Nothing is remembered of an earlier answer: a broker that has moved is found as soon as its name says so.
async fn hosts(address: &Address, settings: &ConnectionSettings) -> io::Result<Vec<SocketAddr>> {
    #[cfg(test)]
    if let Some(names) = &settings.names {
        return names.hosts(address);
    }
    let _ = settings;
    Ok(lookup_host((&*address.host, address.port)).await?.collect())
}

/// A host that does not answer leaves the others their share of the time.
async fn first_that_answers(hosts: &[SocketAddr], deadline: Instant) -> io::Result<TcpStream> {
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for (host, left) in hosts.iter().zip((1..=u32::try_from(hosts.len()).unwrap_or(u32::MAX)).rev()) {
        let share = deadline.saturating_duration_since(Instant::now()) / left;
        match tokio::time::timeout(share, open(*host)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => failure = error,
            Err(late) => failure = late.into(),
        }
    }
    Err(failure)
}

async fn open(host: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(host).await?;
    // A request's length and body may be two writes: without this the second waits 44 ms for the peer's delayed ACK.
    stream.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_IDLE).with_interval(KEEPALIVE_INTERVAL);
    let keepalive = keepalive.with_retries(KEEPALIVE_TRIES);
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
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::config::{ClientConfig, Names};

    fn within(ms: u64) -> ConnectionSettings {
        let mut settings = ConnectionSettings::control(&ClientConfig::default());
        settings.connect_timeout = Duration::from_millis(ms);
        settings
    }

    async fn listener(host: &str, port: u16) -> (tokio::net::TcpListener, SocketAddr) {
        let listener = tokio::net::TcpListener::bind((host, port)).await.unwrap();
        let at = listener.local_addr().unwrap();
        (listener, at)
    }

    /// A listener whose queue is full answers nothing, as an address behind a firewall that drops.
    async fn silent_host() -> (SocketAddr, impl Sized) {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        socket.listen(0).unwrap();
        let full = socket.local_addr().unwrap().as_socket().unwrap();
        let mut kept = Vec::new();
        while let Ok(Ok(stream)) = tokio::time::timeout(Duration::from_millis(200), TcpStream::connect(full)).await {
            kept.push(stream);
            assert!(kept.len() < 100, "the queue never fills");
        }
        (full, (socket, kept))
    }

    #[tokio::test]
    async fn a_name_is_asked_anew_at_each_dial() {
        let (first, at) = listener("127.0.0.1", 0).await;
        let (_second, moved) = listener("127.0.0.2", at.port()).await;
        let answers = Arc::new(Mutex::new(vec![at]));
        let told = answers.clone();
        let names = Names::new(move |_| Ok(told.lock().unwrap().clone()));
        let settings = ConnectionSettings { names: Some(names), ..within(5000) };
        let address = Address::parse(&format!("broker-1.shop:{}", at.port())).unwrap();
        assert_eq!(dial(&address, &settings).await.unwrap().peer_addr().unwrap(), at);
        drop(first);
        *answers.lock().unwrap() = vec![moved];
        assert_eq!(dial(&address, &settings).await.unwrap().peer_addr().unwrap(), moved);
    }

    #[tokio::test]
    async fn each_host_of_a_name_is_tried_in_turn_and_a_silent_one_leaves_time_for_the_next() {
        let (silent, _kept) = silent_host().await;
        let (gone, at) = listener("127.0.0.1", 0).await;
        let (_open, good) = listener("127.0.0.1", 0).await;
        drop(gone);
        let names = Names::new(move |_| Ok(vec![at, silent, good]));
        let settings = ConnectionSettings { names: Some(names), ..within(1500) };
        let address = Address::parse("kafka.shop:9092").unwrap();
        assert_eq!(dial(&address, &settings).await.unwrap().peer_addr().unwrap(), good);
    }

    #[tokio::test]
    async fn a_name_that_stands_for_nothing_now_is_told_and_may_be_tried_again() {
        let names = Names::new(|_| Ok(Vec::new()));
        let settings = ConnectionSettings { names: Some(names), ..within(1500) };
        let error = dial(&Address::parse("kafka.shop:9092").unwrap(), &settings).await.unwrap_err();
        assert!(error.is_retriable() && error.to_string().contains("has no address"), "{error}");
    }

    #[tokio::test]
    async fn a_port_where_nothing_listens_is_told_as_such() {
        let address = {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            Address::parse(&listener.local_addr().unwrap().to_string()).unwrap()
        };
        let error = dial(&address, &within(5000)).await.unwrap_err();
        assert_eq!(error.code(), ErrorCode::Connect);
        assert!(error.is_retriable());
        assert!(error.to_string().contains("nothing listens there"), "{error}");
    }

    #[tokio::test]
    async fn small_writes_leave_at_once_and_a_silent_peer_is_asked_whether_it_lives() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = Address::parse(&listener.local_addr().unwrap().to_string()).unwrap();
        let stream = dial(&address, &within(5000)).await.unwrap();
        assert!(stream.nodelay().unwrap());
        assert!(SockRef::from(&stream).keepalive().unwrap());
    }

    #[tokio::test]
    async fn an_address_that_never_answers_is_given_up_in_time() {
        let (full, _kept) = silent_host().await;
        let error = dial(&Address::parse(&full.to_string()).unwrap(), &within(200)).await.unwrap_err();
        assert_eq!(error.code(), ErrorCode::Connect);
        assert!(error.to_string().contains("no answer within 200 ms"), "{error}");
    }
}
