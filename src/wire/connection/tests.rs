//! Connections to brokers that a script plays.

use std::future::Future;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::wire::message::{
    ApiKey, ApiVersion, ApiVersionsResponse, MetadataRequest, MetadataResponse, PartitionProduceData, RequestHeader,
    TopicProduceData, encode_body, encode_response_header,
};

/// A listener whose connections `play` answers.
async fn stage<F>(play: impl Fn(TcpStream) -> F + Send + 'static) -> (Address, ConnectionSettings)
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = Address::parse(&listener.local_addr().unwrap().to_string()).unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(play(stream));
        }
    });
    let mut settings = ConnectionSettings::control(&ClientConfig::default());
    settings.request_timeout = Duration::from_millis(300);
    (address, settings)
}

async fn read_request(stream: &mut TcpStream) -> Option<RequestHeader> {
    let length = stream.read_u32().await.ok()?;
    let mut frame = vec![0; length as usize];
    stream.read_exact(&mut frame).await.ok()?;
    let (header, _) = RequestHeader::decode(Bytes::from(frame)).ok()?;
    Some(header)
}

async fn answer<R: Request>(stream: &mut TcpStream, asked: &RequestHeader, version: i16, body: &R::Response) {
    let mut frame = Vec::new();
    encode_response_header(R::API, version, asked.correlation_id, &mut frame);
    encode_body(body, version, R::FLEXIBLE_FROM, &mut frame).unwrap();
    stream.write_u32(frame.len() as u32).await.unwrap();
    stream.write_all(&frame).await.unwrap();
}

fn all_versions() -> ApiVersionsResponse {
    let ranges = ApiKey::ALL.iter().map(|api| ApiVersion {
        api_key: api.as_i16(),
        min_version: api.versions().min,
        max_version: api.versions().max,
    });
    ApiVersionsResponse { api_keys: ranges.collect(), ..ApiVersionsResponse::default() }
}

async fn introduce(stream: &mut TcpStream) {
    let asked = read_request(stream).await.unwrap();
    answer::<ApiVersionsRequest>(stream, &asked, asked.api_version, &all_versions()).await;
}

#[tokio::test]
async fn requests_are_answered_in_the_version_that_both_speak() {
    let (address, settings) = stage(|mut stream| async move {
        introduce(&mut stream).await;
        let asked = read_request(&mut stream).await.unwrap();
        let body = MetadataResponse { controller_id: 7, ..MetadataResponse::default() };
        answer::<MetadataRequest>(&mut stream, &asked, asked.api_version, &body).await;
    })
    .await;
    let connection = Connection::open(&address, &settings).await.unwrap();
    assert_eq!(connection.version_of::<MetadataRequest>(), Some(MetadataRequest::CLIENT_VERSIONS.max));
    assert_eq!(connection.call(MetadataRequest::default()).await.unwrap().controller_id, 7);
}

#[tokio::test]
async fn a_broker_that_knows_only_old_versions_of_the_greeting_is_understood() {
    let (address, settings) = stage(|mut stream| async move {
        let asked = read_request(&mut stream).await.unwrap();
        let refusal = ApiVersionsResponse { error_code: KafkaError::UnsupportedVersion.code(), ..all_versions() };
        answer::<ApiVersionsRequest>(&mut stream, &asked, 0, &refusal).await;
        let _ = stream.read_u8().await;
    })
    .await;
    assert!(Connection::open(&address, &settings).await.is_ok());
}

#[tokio::test]
async fn a_broker_older_than_2_8_is_refused_by_version() {
    let (address, settings) = stage(|mut stream| async move {
        let asked = read_request(&mut stream).await.unwrap();
        let mut old = all_versions();
        for range in old.api_keys.iter_mut().filter(|range| range.api_key == ApiKey::Fetch.as_i16()) {
            range.max_version = 11;
        }
        answer::<ApiVersionsRequest>(&mut stream, &asked, asked.api_version, &old).await;
    })
    .await;
    let error = Connection::open(&address, &settings).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::BrokerTooOld);
    assert!(error.to_string().contains("2.8"), "{error}");
}

#[tokio::test]
async fn what_is_no_kafka_broker_is_told_as_such() {
    let (address, settings) = stage(|mut stream| async move {
        let asked = read_request(&mut stream).await.unwrap();
        let mut frame = asked.correlation_id.to_be_bytes().to_vec();
        frame.extend_from_slice(b"HTTP/1.1 400 Bad Request");
        stream.write_u32(frame.len() as u32).await.unwrap();
        stream.write_all(&frame).await.unwrap();
    })
    .await;
    let error = Connection::open(&address, &settings).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::Protocol);
}

#[tokio::test]
async fn a_frame_over_the_limit_closes_the_connection() {
    let (address, mut settings) = stage(|mut stream| async move {
        let _ = read_request(&mut stream).await;
        // It comes whole: a reader without a limit would wait for the answer that it asked for.
        let _ = stream.write_all(&4096_u32.to_be_bytes()).await;
        let _ = stream.write_all(&[0xff; 4096]).await;
        let _ = stream.read_u8().await;
    })
    .await;
    settings.max_frame = 1024;
    let error = Connection::open(&address, &settings).await.unwrap_err();
    assert!(error.is_retriable() && error.code() != ErrorCode::Timeout, "{error}");
}

#[tokio::test]
async fn silence_ends_in_a_timeout_that_closes_the_connection() {
    let (address, settings) = stage(|mut stream| async move {
        introduce(&mut stream).await;
        let _ = read_request(&mut stream).await;
        let _ = stream.read_u8().await;
    })
    .await;
    let connection = Connection::open(&address, &settings).await.unwrap();
    let error = connection.call(MetadataRequest::default()).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::Timeout);
    assert!(connection.is_closed());
    let error = connection.call(MetadataRequest::default()).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::Disconnected);
}

#[tokio::test]
async fn an_answer_that_never_comes_because_the_broker_left_is_a_disconnection() {
    let (address, settings) = stage(|mut stream| async move {
        introduce(&mut stream).await;
        let _ = read_request(&mut stream).await;
    })
    .await;
    let connection = Connection::open(&address, &settings).await.unwrap();
    let error = connection.call(MetadataRequest::default()).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::Disconnected);
    assert!(error.is_retriable() && connection.is_closed());
}

#[tokio::test]
async fn a_peer_that_accepts_and_never_greets_is_given_up_in_time() {
    let (address, settings) = stage(|mut stream| async move {
        let _ = read_request(&mut stream).await;
        let _ = stream.read_u8().await;
    })
    .await;
    let error = Connection::open(&address, &settings).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::Timeout, "{error}");
}

/// The messenger ignores a frame that cannot hold a correlation number; the deadline does not.
#[tokio::test]
async fn an_answer_too_short_to_be_one_does_not_hang_its_request() {
    let (address, settings) = stage(|mut stream| async move {
        introduce(&mut stream).await;
        let _ = read_request(&mut stream).await;
        stream.write_all(&[0, 0, 0, 2, 0, 0]).await.unwrap();
        let _ = stream.read_u8().await;
    })
    .await;
    let connection = Connection::open(&address, &settings).await.unwrap();
    let error = connection.call(MetadataRequest::default()).await.unwrap_err();
    assert!(error.is_retriable() && connection.is_closed(), "{error}");
}

#[tokio::test]
async fn a_call_that_is_dropped_leaves_the_next_one_its_own_answer() {
    let (address, settings) = stage(|mut stream| async move {
        introduce(&mut stream).await;
        for controller_id in 1.. {
            let Some(asked) = read_request(&mut stream).await else { return };
            let body = MetadataResponse { controller_id, ..MetadataResponse::default() };
            answer::<MetadataRequest>(&mut stream, &asked, asked.api_version, &body).await;
        }
    })
    .await;
    let connection = Connection::open(&address, &settings).await.unwrap();
    for _ in 0..3 {
        let mut dropped = Box::pin(connection.call(MetadataRequest::default()));
        assert!(futures::poll!(dropped.as_mut()).is_pending());
    }
    assert_eq!(connection.call(MetadataRequest::default()).await.unwrap().controller_id, 4);
}

/// A request that is larger than what the sockets hold, so that it stays half-written.
fn endless() -> ProduceRequest {
    let records = Some(Bytes::from(vec![0; 64 << 20]));
    let topic = TopicProduceData { name: "t".into(), partition_data: vec![PartitionProduceData { index: 0, records }] };
    ProduceRequest { topic_data: vec![topic], ..ProduceRequest::default() }
}

#[test]
fn a_half_written_call_may_be_dropped_after_its_runtime_has_returned() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (connection, call) = runtime.block_on(async {
        let (address, settings) = stage(|mut stream| async move {
            introduce(&mut stream).await;
            std::future::pending::<()>().await;
        })
        .await;
        let connection = Connection::open(&address, &settings).await.unwrap();
        let mut call = Box::pin(connection.call(endless()));
        assert!(futures::poll!(call.as_mut()).is_pending());
        (connection, call)
    });
    drop(call);
    drop(connection);
    drop(runtime);
}
