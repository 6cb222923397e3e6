//! A client that speaks the crate's own messages over a bare socket.

use std::time::Duration;

use bytes::Bytes;
use orderflow::broker::DevBroker;
use orderflow::wire::compression::{Compression, Compressor};
use orderflow::wire::message::{Request, RequestHeader, decode_body, decode_response_header, encode_body};
use orderflow::wire::record_batch::{BatchBuilder, BatchReader, NO_PRODUCER, ProducerStamp, RecordParts};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

/// Longer than anything here takes.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

pub(crate) struct Client {
    stream: Box<dyn Stream>,
    correlation_id: i32,
}

impl Client {
    /// A connection to a node, by its number from 1.
    pub(crate) async fn connect(broker: &DevBroker, node: usize) -> Self {
        let bootstrap = broker.bootstrap();
        Self::at(bootstrap.split(',').nth(node - 1).expect("the node is up")).await
    }

    pub(crate) async fn at(address: &str) -> Self {
        Self { stream: Box::new(TcpStream::connect(address).await.expect("the node listens")), correlation_id: 0 }
    }

    /// A connection in memory, for tests in virtual time.
    pub(crate) fn dial(broker: &DevBroker, node: i32) -> Self {
        Self { stream: Box::new(broker.dial(node).expect("the node is up")), correlation_id: 0 }
    }

    /// Sends a request and reads its answer.
    pub(crate) async fn call<R: Request>(&mut self, version: i16, request: &R) -> R::Response {
        self.send(version, request).await;
        self.receive::<R>(version).await
    }

    pub(crate) async fn send<R: Request>(&mut self, version: i16, request: &R) {
        let mut body = Vec::new();
        encode_body(request, version, R::FLEXIBLE_FROM, &mut body).expect("the request can be said in this version");
        self.send_raw(R::API.as_i16(), version, &body).await;
    }

    /// Sends a body as it is.
    pub(crate) async fn send_raw(&mut self, api_key: i16, api_version: i16, body: &[u8]) {
        self.correlation_id += 1;
        let client_id = Some("raw".to_owned());
        let header = RequestHeader { api_key, api_version, correlation_id: self.correlation_id, client_id };
        let mut frame = Vec::new();
        header.encode(&mut frame).expect("the header is short");
        frame.extend_from_slice(body);
        let length = u32::try_from(frame.len()).expect("the frame is short").to_be_bytes();
        self.stream.write_all(&[&length[..], &frame].concat()).await.expect("the connection is open");
    }

    pub(crate) async fn receive<R: Request>(&mut self, version: i16) -> R::Response {
        let frame = self.frame().await.expect("an answer");
        let (correlation_id, body) = decode_response_header(R::API, version, frame).expect("a header");
        assert_eq!(correlation_id, self.correlation_id);
        decode_body(body, version, R::FLEXIBLE_FROM).expect("the answer can be decoded")
    }

    /// The next frame, or nothing when the node closes the connection.
    pub(crate) async fn frame(&mut self) -> Option<Bytes> {
        let read = async {
            let length = self.stream.read_u32().await.ok()?;
            let mut frame = vec![0; length as usize];
            self.stream.read_exact(&mut frame).await.ok()?;
            Some(frame.into())
        };
        tokio::time::timeout(DEADLINE, read).await.expect("an answer or the end within the deadline")
    }
}

/// A batch of these values.
pub(crate) fn batch(values: &[&str]) -> Bytes {
    stamped(values, NO_PRODUCER)
}

pub(crate) fn stamped(values: &[&str], stamp: ProducerStamp) -> Bytes {
    timed(values, 1_700_000_000_000, stamp)
}

/// A batch of these values, one millisecond apart.
pub(crate) fn timed(values: &[&str], first: i64, stamp: ProducerStamp) -> Bytes {
    let mut builder = BatchBuilder::new(Compression::None, Vec::new());
    for (time, value) in (first..).zip(values) {
        let parts = RecordParts { key: None, headers: &[], value_len: Some(value.len()) };
        builder.append(time, &parts, |out| out.extend_from_slice(value.as_bytes())).expect("the batch has room");
    }
    let mut closed = builder.close(&mut Compressor::new());
    closed.stamp(stamp);
    closed.bytes()
}

/// The offsets and values in fetched records.
pub(crate) fn records(bytes: &Option<Bytes>) -> Vec<(i64, String)> {
    let mut decompressor = orderflow::wire::compression::Decompressor::new();
    let mut all = Vec::new();
    for batch in BatchReader::new(bytes.clone().unwrap_or_default()) {
        let batch = batch.expect("a whole batch");
        batch.check_crc().expect("the checksum of a stored batch");
        for record in batch.records(&mut decompressor).expect("records") {
            let record = record.expect("a record");
            all.push((record.offset, String::from_utf8_lossy(record.value.unwrap_or_default()).into_owned()));
        }
    }
    all
}
