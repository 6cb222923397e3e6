//! Fetching: versions, waiting, bounds, refusals, sessions.

use std::time::{Duration, Instant};

use orderflow::broker::{DevBroker, Spot};
use orderflow::place::TopicId;
use orderflow::wire::compression::{Compression, Compressor};
use orderflow::wire::kafka_error::KafkaError;
use orderflow::wire::message::{FetchRequest, ForgottenTopic};
use orderflow::wire::record_batch::{BatchBuilder, ProducerStamp, RecordParts};

use crate::client::{Client, batch, records};
use crate::requests::{error, fetch_request, fetched, produce, produce_request, topic_id};

/// Long enough that a test that really waits for it is seen to.
const LONG_MS: i32 = 15_000;

async fn broker_of(partitions: i32) -> (DevBroker, Client) {
    let broker = DevBroker::builder().topic("t", partitions).start().await.unwrap();
    let client = Client::connect(&broker, 1).await;
    (broker, client)
}

#[tokio::test]
async fn what_is_produced_is_fetched_in_every_version() {
    let (broker, mut client) = broker_of(1).await;
    let id = topic_id(&mut client, "t").await;
    for version in 3..=9 {
        let answer = client.call(version, &produce_request("t", 0, batch(&["a", "b"]), 1)).await;
        let outcome = &answer.responses[0].partition_responses[0];
        assert_eq!((outcome.error_code, outcome.base_offset), (0, 2 * i64::from(version - 3)));
    }
    for version in 4..=17 {
        let mut request = fetch_request("t", &[(0, 3)]);
        request.topics[0].topic_id = id;
        let answer = client.call(version, &request).await;
        let found = records(&fetched(&answer)[0].records);
        // The batch that holds offset 3 begins with offset 2.
        assert_eq!(found[..2], [(2, "a".into()), (3, "b".into())], "version {version}");
        assert_eq!(found.len(), 12);
        assert_eq!(fetched(&answer)[0].high_watermark, 14);
    }
    broker.shutdown().await;
}

#[tokio::test]
async fn a_fetch_waits_for_a_record_and_no_longer() {
    let (broker, mut reader) = broker_of(2).await;
    let mut writer = Client::connect(&broker, 1).await;
    let begun = Instant::now();
    let request = FetchRequest { max_wait_ms: LONG_MS, min_bytes: 1, ..fetch_request("t", &[(0, 0), (1, 0)]) };
    reader.send(12, &request).await;
    produce(&mut writer, "t", 1, batch(&["late"])).await;
    let answer = reader.receive::<FetchRequest>(12).await;
    assert_eq!(records(&fetched(&answer)[1].records), [(0, "late".into())]);
    assert!(begun.elapsed() < Duration::from_millis(LONG_MS as u64));
}

#[tokio::test]
async fn a_fetch_waits_until_there_are_as_many_bytes_as_it_wants() {
    let (broker, mut reader) = broker_of(1).await;
    let mut writer = Client::connect(&broker, 1).await;
    let min_bytes = i32::try_from(batch(&["one"]).len()).unwrap() + 1;
    reader.send(12, &FetchRequest { max_wait_ms: LONG_MS, min_bytes, ..fetch_request("t", &[(0, 0)]) }).await;
    produce(&mut writer, "t", 0, batch(&["one"])).await;
    produce(&mut writer, "t", 0, batch(&["two"])).await;
    let answer = reader.receive::<FetchRequest>(12).await;
    assert_eq!(records(&fetched(&answer)[0].records).len(), 2);
}

#[tokio::test]
async fn a_fetch_of_nothing_new_is_answered_empty_when_its_time_is_up() {
    let (_broker, mut client) = broker_of(1).await;
    let begun = Instant::now();
    let request = FetchRequest { max_wait_ms: 50, min_bytes: 1, ..fetch_request("t", &[(0, 0)]) };
    let answer = client.call(12, &request).await;
    assert!(begun.elapsed() >= Duration::from_millis(50));
    assert_eq!((fetched(&answer)[0].error_code, records(&fetched(&answer)[0].records).len()), (0, 0));
}

#[tokio::test]
async fn a_change_of_leader_ends_the_wait() {
    let broker = DevBroker::builder().nodes(2).topic("t", 1).start().await.unwrap();
    let mut client = Client::connect(&broker, 1).await;
    let request = FetchRequest { max_wait_ms: LONG_MS, min_bytes: 1, ..fetch_request("t", &[(0, 0)]) };
    client.send(12, &request).await;
    broker.move_leader("t", 0, 2).unwrap();
    let answer = client.receive::<FetchRequest>(12).await;
    assert_eq!(error(fetched(&answer)[0].error_code), Some(KafkaError::NotLeaderOrFollower));
    let leader = &fetched(&answer)[0].current_leader;
    assert_eq!((leader.leader_id, leader.leader_epoch), (2, 1));
}

#[tokio::test]
async fn the_first_batch_comes_whole_and_the_bounds_hold_for_the_others() {
    let (_broker, mut client) = broker_of(2).await;
    for partition in [0, 1] {
        for value in ["one", "two", "six"] {
            produce(&mut client, "t", partition, batch(&[value])).await;
        }
    }
    let size = i32::try_from(batch(&["one"]).len()).unwrap();
    let fetch = async |client: &mut Client, max_bytes, partition_max_bytes| {
        let mut request = FetchRequest { max_bytes, ..fetch_request("t", &[(0, 0), (1, 0)]) };
        request.topics[0].partitions.iter_mut().for_each(|wanted| wanted.partition_max_bytes = partition_max_bytes);
        let answer = client.call(12, &request).await;
        fetched(&answer).iter().map(|part| records(&part.records).len()).collect::<Vec<_>>()
    };
    assert_eq!(fetch(&mut client, 1, 1).await, [1, 0]);
    assert_eq!(
        fetch(&mut client, 10 * size, 1).await,
        [1, 0],
        "only the answer's first batch is whole whatever its size"
    );
    assert_eq!(fetch(&mut client, 10 * size, 2 * size).await, [2, 2]);
    assert_eq!(fetch(&mut client, 4 * size, 10 * size).await, [3, 1]);
}

#[tokio::test]
async fn what_cannot_be_fetched_is_refused_by_partition() {
    let broker = DevBroker::builder().nodes(2).topic("t", 2).start().await.unwrap();
    let mut client = Client::connect(&broker, 1).await;
    produce(&mut client, "t", 0, batch(&["a", "b"])).await;
    broker.bump_epoch("t", 0).unwrap();
    let mut refusal = async |topic: &str, partition, offset, epoch| {
        let mut request = fetch_request(topic, &[(partition, offset)]);
        request.topics[0].partitions[0].current_leader_epoch = epoch;
        let answer = client.call(12, &request).await;
        error(fetched(&answer)[0].error_code)
    };
    assert_eq!(refusal("t", 0, 2, 1).await, None, "the end is no error");
    assert_eq!(refusal("t", 0, 3, -1).await, Some(KafkaError::OffsetOutOfRange));
    assert_eq!(refusal("t", 0, 0, 0).await, Some(KafkaError::FencedLeaderEpoch));
    assert_eq!(refusal("t", 0, 0, 2).await, Some(KafkaError::UnknownLeaderEpoch));
    assert_eq!(refusal("t", 1, 0, -1).await, Some(KafkaError::NotLeaderOrFollower));
    assert_eq!(refusal("t", 2, 0, -1).await, Some(KafkaError::UnknownTopicOrPartition));
    assert_eq!(refusal("u", 0, 0, -1).await, Some(KafkaError::UnknownTopicOrPartition));
    broker.delete_before("t", 0, 1).unwrap();
    assert_eq!(refusal("t", 0, 0, -1).await, Some(KafkaError::OffsetOutOfRange));
    let mut request = fetch_request("", &[(0, 0)]);
    request.topics[0].topic_id = TopicId::new([7; 16]);
    let answer = client.call(13, &request).await;
    assert_eq!(error(fetched(&answer)[0].error_code), Some(KafkaError::UnknownTopicId));
}

#[tokio::test]
async fn a_reader_of_what_the_log_lost_is_told_where_it_diverges() {
    let (broker, mut client) = broker_of(1).await;
    produce(&mut client, "t", 0, batch(&["a"])).await;
    produce(&mut client, "t", 0, batch(&["lost"])).await;
    broker.truncate("t", 0, 1).unwrap();
    produce(&mut client, "t", 0, batch(&["other", "records"])).await;
    let mut request = fetch_request("t", &[(0, 2)]);
    request.topics[0].partitions[0].last_fetched_epoch = 0;
    let answer = client.call(12, &request).await;
    let diverging = &fetched(&answer)[0].diverging_epoch;
    assert_eq!((diverging.epoch, diverging.end_offset), (0, 1));
}

#[tokio::test]
async fn a_session_tells_only_what_is_new() {
    let (broker, mut client) = broker_of(3).await;
    let request = FetchRequest { session_epoch: 0, ..fetch_request("t", &[(0, 0), (1, 0), (2, 0)]) };
    let first = client.call(12, &request).await;
    assert_eq!(fetched(&first).len(), 3, "the first answer tells every partition");
    let session = |session_epoch| FetchRequest {
        session_id: first.session_id,
        session_epoch,
        max_bytes: 1 << 20,
        ..Default::default()
    };
    assert_eq!(fetched(&client.call(12, &session(1)).await).len(), 0);
    produce(&mut client, "t", 1, batch(&["new"])).await;
    let answer = client.call(12, &session(2)).await;
    assert_eq!(fetched(&answer).iter().map(|part| part.partition_index).collect::<Vec<_>>(), [1]);
    // The consumer goes on behind the record, and gives partition 0 up.
    let forgotten = vec![ForgottenTopic { topic: "t".into(), partitions: vec![0], ..Default::default() }];
    let next =
        FetchRequest { forgotten_topics_data: forgotten, topics: fetch_request("t", &[(1, 1)]).topics, ..session(3) };
    assert_eq!(fetched(&client.call(12, &next).await).len(), 0);
    produce(&mut client, "t", 0, batch(&["unheard"])).await;
    assert_eq!(fetched(&client.call(12, &session(4)).await).len(), 0);
    assert_eq!(error(client.call(12, &session(4)).await.error_code), Some(KafkaError::InvalidFetchSessionEpoch));
    broker.forget_fetch_sessions();
    assert_eq!(error(client.call(12, &session(5)).await.error_code), Some(KafkaError::FetchSessionIdNotFound));
}

#[tokio::test]
async fn each_partition_of_a_session_has_its_turn_when_answers_are_small() {
    let (_broker, mut client) = broker_of(3).await;
    for partition in 0..3 {
        produce(&mut client, "t", partition, batch(&["a"])).await;
    }
    let request = FetchRequest { session_epoch: 0, max_bytes: 1, ..fetch_request("t", &[(0, 0), (1, 0), (2, 0)]) };
    let mut answer = client.call(12, &request).await;
    let mut turns = Vec::new();
    for session_epoch in 1..=6 {
        let served =
            fetched(&answer).into_iter().find(|part| part.records.as_ref().is_some_and(|some| !some.is_empty()));
        turns.push(served.map(|part| part.partition_index));
        let session_id = answer.session_id;
        answer = client.call(12, &FetchRequest { session_id, session_epoch, max_bytes: 1, ..Default::default() }).await;
    }
    assert_eq!(turns, [Some(0), Some(1), Some(2), Some(0), Some(1), Some(2)]);
}

#[tokio::test]
async fn committed_readers_stop_before_an_open_transaction_and_are_told_of_aborted_ones() {
    let (broker, mut client) = broker_of(1).await;
    let stamp = ProducerStamp { producer_id: 5, producer_epoch: 0, base_sequence: 0 };
    let transactional = |control: bool, key: Option<&'static [u8]>| {
        let mut builder = BatchBuilder::new(Compression::None, Vec::new()).transactional();
        builder = if control { builder.control() } else { builder };
        let parts = RecordParts { key, headers: &[], value_len: Some(6) };
        builder.append(0, &parts, |out| out.extend_from_slice(b"\0\0\0\0\0\0")).unwrap();
        let mut closed = builder.close(&mut Compressor::new());
        closed.stamp(stamp);
        closed.bytes()
    };
    produce(&mut client, "t", 0, batch(&["plain"])).await;
    broker.inject("t", 0, transactional(false, None), Spot::Next).unwrap();
    produce(&mut client, "t", 0, batch(&["behind"])).await;
    let request = FetchRequest { isolation_level: 1, ..fetch_request("t", &[(0, 0)]) };
    let answer = client.call(12, &request).await;
    let part = fetched(&answer)[0];
    assert_eq!((part.high_watermark, part.last_stable_offset, records(&part.records).len()), (3, 1, 1));
    broker.inject("t", 0, transactional(true, Some(&[0, 0, 0, 0])), Spot::At(10)).unwrap();
    let answer = client.call(12, &request).await;
    let part = fetched(&answer)[0];
    let aborted: Vec<_> =
        part.aborted_transactions.iter().flatten().map(|one| (one.producer_id, one.first_offset)).collect();
    assert_eq!((part.last_stable_offset, aborted), (11, vec![(5, 1)]));
    let offsets: Vec<_> = records(&part.records).iter().map(|(offset, _)| *offset).collect();
    assert_eq!(offsets, [0, 1, 2, 10], "a hole is no obstacle");
}
