//! Servers that are no Kafka: each answers every client with one kind of malice.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

/// How far apart the bytes of an answer come that comes too slowly.
const DRIP: Duration = Duration::from_millis(20);

/// What a hostile server does with a connection.
#[derive(Clone, Copy, Debug)]
pub(super) enum Malice {
    /// It is closed at once.
    Closes,
    /// It gets an answer in HTTP.
    SpeaksHttp,
    /// It gets no answer.
    Silent,
    /// It gets its answer byte by byte, too slowly.
    Drips,
    /// It is told of a frame of 2 GB, which then comes.
    HugeFrame,
    /// It is told of a frame of a negative length.
    NegativeFrame,
    /// A well-formed frame holds an array of 2^32 - 2 elements.
    HugeArray,
    /// It gets bytes without meaning and without end.
    Garbage,
}

/// Serves on a port of its own until the test's process ends.
pub(super) fn serve(malice: Malice) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("a bound port");
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            // A client that goes away is what all of them wait for.
            std::thread::spawn(move || drop(answer(client, malice)));
        }
    });
    address
}

fn answer(mut client: TcpStream, malice: Malice) -> std::io::Result<()> {
    if matches!(malice, Malice::Closes) {
        return Ok(());
    }
    let mut request = [0; 4096];
    let count = client.read(&mut request)?;
    let correlation = request[..count].get(8..12).unwrap_or_default().to_vec();
    let endless = |client: &mut TcpStream, part: &[u8]| -> std::io::Result<()> {
        loop {
            client.write_all(part)?;
        }
    };
    match malice {
        Malice::Closes => Ok(()),
        Malice::SpeaksHttp => client.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"),
        Malice::Silent => wait_for_end(client),
        Malice::Drips => {
            let frame = [&1_000_u32.to_be_bytes()[..], &correlation, &[0; 996]].concat();
            for byte in frame {
                client.write_all(&[byte])?;
                if hangs_up_within(DRIP, &mut client)? {
                    break;
                }
            }
            Ok(())
        }
        Malice::HugeFrame => {
            client.write_all(&[&2_000_000_000_u32.to_be_bytes()[..], &correlation].concat())?;
            endless(&mut client, &[0; 65_536])
        }
        Malice::NegativeFrame => {
            client.write_all(&[255; 64])?;
            wait_for_end(client)
        }
        Malice::HugeArray => {
            let body = [&correlation[..], &[0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f], &[0; 64]].concat();
            client.write_all(&[&(body.len() as u32).to_be_bytes()[..], &body].concat())?;
            wait_for_end(client)
        }
        Malice::Garbage => endless(&mut client, &[0x5a; 65_536]),
    }
}

/// Waits whether the client goes away.
fn hangs_up_within(time: Duration, client: &mut TcpStream) -> std::io::Result<bool> {
    client.set_read_timeout(Some(time))?;
    match client.read(&mut [0; 1024]) {
        Ok(count) => Ok(count == 0),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Ok(false),
        Err(error) => Err(error),
    }
}

fn wait_for_end(mut client: TcpStream) -> std::io::Result<()> {
    while client.read(&mut [0; 1024])? > 0 {}
    Ok(())
}
