//! Frames of other clients, read into messages, come out as the same bytes.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::fmt::Write as _;
use std::path::Path;

use bytes::Bytes;
use orderflow::place::TopicId;
use orderflow::wire::kafka_error::KafkaError;
use orderflow::wire::message::consumer_group_heartbeat::TopicPartitions;
use orderflow::wire::message::*;

/// One line of a file in `fixtures/wire`.
struct Frame {
    place: String,
    is_request: bool,
    api: ApiKey,
    version: i16,
    bytes: Bytes,
}

const CORRELATION_ID: i32 = 7;

fn frames() -> Vec<Frame> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/wire");
    let mut frames = Vec::new();
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "txt") {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let text = std::fs::read_to_string(&path).unwrap();
            frames.extend(text.lines().zip(1..).map(|(line, number)| frame(line, format!("{name}:{number}"))));
        }
    }
    frames.sort_by(|left, right| left.place.cmp(&right.place));
    frames
}

fn frame(line: &str, place: String) -> Frame {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [side, api, version, bytes] = words[..] else { panic!("{place}: not a frame") };
    let is_request = side == "request";
    let api = *ApiKey::ALL.iter().find(|known| known.name() == api).unwrap_or_else(|| panic!("{place}: {api}"));
    Frame { place, is_request, api, version: version.parse().unwrap(), bytes: from_hex(bytes) }
}

fn from_hex(text: &str) -> Bytes {
    let digits: Vec<u8> =
        text.bytes().map(|digit| u8::try_from(char::from(digit).to_digit(16).unwrap()).unwrap()).collect();
    digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

impl Frame {
    fn request<R: Request>(&self) -> R {
        let mut whole = Vec::new();
        whole.extend_from_slice(&self.api.as_i16().to_be_bytes());
        whole.extend_from_slice(&self.version.to_be_bytes());
        whole.extend_from_slice(&CORRELATION_ID.to_be_bytes());
        whole.extend_from_slice(b"\0\x01c");
        whole.extend_from_slice(&self.bytes);
        let (header, body) = RequestHeader::decode(Bytes::from(whole.clone())).unwrap();
        let request: R =
            decode_body(body, self.version, R::FLEXIBLE_FROM).unwrap_or_else(|error| panic!("{}: {error}", self.place));
        let mut again = Vec::new();
        header.encode(&mut again).unwrap();
        encode_body(&request, self.version, R::FLEXIBLE_FROM, &mut again).unwrap();
        assert_eq!(to_hex(&again), to_hex(&whole), "{}: {request:?}", self.place);
        request
    }

    fn response<R: Request>(&self) -> R::Response {
        let whole: Bytes = [&CORRELATION_ID.to_be_bytes(), &*self.bytes].concat().into();
        let (correlation_id, body) = decode_response_header(R::API, self.version, whole.clone()).unwrap();
        assert_eq!(correlation_id, CORRELATION_ID);
        let response: R::Response =
            decode_body(body, self.version, R::FLEXIBLE_FROM).unwrap_or_else(|error| panic!("{}: {error}", self.place));
        let mut again = Vec::new();
        encode_response_header(R::API, self.version, correlation_id, &mut again);
        encode_body(&response, self.version, R::FLEXIBLE_FROM, &mut again).unwrap();
        assert_eq!(to_hex(&again), to_hex(&whole), "{}: {response:?}", self.place);
        response
    }

    fn both<R: Request>(&self) {
        if self.is_request {
            self.request::<R>();
        } else {
            self.response::<R>();
        }
    }
}

#[test]
fn every_frame_of_other_clients_comes_out_as_it_went_in() {
    let frames = frames();
    for frame in &frames {
        match frame.api {
            ApiKey::OffsetCommit => frame.both::<OffsetCommitRequest>(),
            ApiKey::OffsetFetch => frame.both::<OffsetFetchRequest>(),
            ApiKey::FindCoordinator => frame.both::<FindCoordinatorRequest>(),
            ApiKey::JoinGroup => frame.both::<JoinGroupRequest>(),
            ApiKey::Heartbeat => frame.both::<HeartbeatRequest>(),
            ApiKey::LeaveGroup => frame.both::<LeaveGroupRequest>(),
            ApiKey::SyncGroup => frame.both::<SyncGroupRequest>(),
            ApiKey::ApiVersions => frame.both::<ApiVersionsRequest>(),
            ApiKey::ConsumerGroupHeartbeat => frame.both::<ConsumerGroupHeartbeatRequest>(),
            other => panic!("{}: {other} is not compared", frame.place),
        }
    }
    assert_eq!(frames.len(), 245);
}

fn first(file: &str, api: ApiKey, is_request: bool) -> Frame {
    let of_file = |frame: &Frame| frame.place.starts_with(file) && frame.api == api && frame.is_request == is_request;
    frames().into_iter().min_by_key(|frame| (!of_file(frame), line_of(frame))).unwrap()
}

fn line_of(frame: &Frame) -> u32 {
    frame.place.rsplit(':').next().unwrap().parse().unwrap()
}

#[test]
fn the_first_join_of_librdkafka_is_told_its_member_id() {
    let file = "librdkafka-2.16-coop-2members";
    let request: JoinGroupRequest = first(file, ApiKey::JoinGroup, true).request();
    assert_eq!((request.session_timeout_ms, request.rebalance_timeout_ms), (45_000, 300_000));
    assert_eq!((&*request.member_id, request.group_instance_id), ("", None));
    assert_eq!((&*request.protocol_type, &*request.protocols[0].name), ("consumer", "cooperative-sticky"));
    assert_eq!(request.protocols[0].metadata, from_hex("0003000000010001740000000000000000ffffffff0000"));

    let response = first(file, ApiKey::JoinGroup, false).response::<JoinGroupRequest>();
    assert_eq!(KafkaError::from_code(response.error_code), Some(KafkaError::MemberIdRequired));
    assert_eq!(response.generation_id, -1);
    assert!(response.member_id.starts_with("c-"));
}

#[test]
fn the_first_heartbeat_of_librdkafka_subscribes_by_name_and_gets_its_partitions() {
    let file = "librdkafka-2.16-consumer";
    let request: ConsumerGroupHeartbeatRequest = first(file, ApiKey::ConsumerGroupHeartbeat, true).request();
    assert_eq!((request.member_epoch, request.rebalance_timeout_ms), (0, 300_000));
    assert_eq!(request.subscribed_topic_names, Some(vec!["t".to_owned()]));
    // Empty, not null: a broker that takes it for a pattern gives the member every topic.
    assert_eq!(request.subscribed_topic_regex.as_deref(), Some(""));
    assert_eq!(request.topic_partitions, Some(Vec::new()));

    let response = first(file, ApiKey::ConsumerGroupHeartbeat, false).response::<ConsumerGroupHeartbeatRequest>();
    assert_eq!((response.member_epoch, response.heartbeat_interval_ms), (1, 5000));
    let topic_id = TopicId::new(*b"\xd6\x5d\x80\x36\x2f\x5a\x20\xb3\xea\x24\x81\x69\xc5\xf4\x42\xa0");
    let assigned = TopicPartitions { topic_id, partitions: vec![0, 1, 2, 3] };
    // This broker did take the empty pattern for one: the second topic is not `t`.
    let topics = response.assignment.unwrap().topic_partitions;
    assert_eq!((&topics[0], topics.len()), (&assigned, 2));
}
