//! Log contents that come of a long life: transactions, compaction, truncation, recreation, forgotten producers.

use orderflow::broker::{DevBroker, Forgotten, Records};
use orderflow::wire::kafka_error::KafkaError;
use orderflow::wire::message::offset_for_leader_epoch::OffsetForLeaderTopic;
use orderflow::wire::message::{FetchRequest, OffsetForLeaderEpochRequest, OffsetForLeaderPartition, PartitionData};
use orderflow::wire::record_batch::{BatchReader, ControlType, ProducerStamp};

use crate::client::{Client, batch, records, stamped};
use crate::requests::{error, fetch_request, fetched, produce, topic_id};

async fn start() -> (DevBroker, Client) {
    let broker = DevBroker::builder().topic("t", 1).start().await.unwrap();
    let client = Client::connect(&broker, 1).await;
    (broker, client)
}

/// What a committed reader gets from `offset` on.
async fn committed(client: &mut Client, offset: i64) -> PartitionData {
    let request = FetchRequest { isolation_level: 1, ..fetch_request("t", &[(0, offset)]) };
    let answer = client.call(12, &request).await;
    fetched(&answer)[0].clone()
}

fn aborted(part: &PartitionData) -> Vec<(i64, i64)> {
    let aborted = part.aborted_transactions.iter().flatten();
    aborted.map(|one| (one.producer_id, one.first_offset)).collect()
}

/// First and last offset and number of records of each batch.
fn batches(part: &PartitionData) -> Vec<(i64, i64, u32)> {
    let batches = BatchReader::new(part.records.clone().unwrap_or_default()).map(Result::unwrap);
    batches.map(|batch| (batch.base_offset(), batch.last_offset(), batch.count())).collect()
}

fn offsets(part: &PartitionData) -> Vec<i64> {
    records(&part.records).iter().map(|(offset, _)| *offset).collect()
}

#[tokio::test]
async fn transactions_of_many_producers_interleave_and_the_first_open_one_holds_readers_back() {
    let (broker, mut client) = start().await;
    let write = |producer, value: &str| broker.append("t", 0, Records::of([value]).in_transaction(producer)).unwrap();
    assert_eq!([write(7, "a"), write(8, "b"), write(7, "c")], [0..1, 1..2, 2..3]);
    assert_eq!(broker.end_transaction("t", 0, 7, ControlType::Abort).unwrap(), 3);
    let part = committed(&mut client, 0).await;
    assert_eq!((part.high_watermark, part.last_stable_offset, offsets(&part)), (4, 1, vec![0]));
    assert_eq!(aborted(&part), [(7, 0)]);
    broker.end_transaction("t", 0, 8, ControlType::Commit).unwrap();
    let part = committed(&mut client, 0).await;
    assert_eq!((part.last_stable_offset, offsets(&part)), (5, vec![0, 1, 2, 3, 4]));
    let part = committed(&mut client, 4).await;
    assert_eq!(aborted(&part), [], "an aborted transaction that ended before is not told");
    let markers = BatchReader::new(part.records.unwrap()).map(|batch| batch.unwrap().is_control());
    assert_eq!(markers.collect::<Vec<_>>(), [true]);
}

#[tokio::test]
async fn a_marker_may_stand_alone_and_a_batch_may_have_no_records() {
    let (broker, mut client) = start().await;
    broker.end_transaction("t", 0, 7, ControlType::Commit).unwrap();
    assert_eq!(broker.append("t", 0, Records::none(3)).unwrap(), 1..4);
    assert_eq!(broker.append("t", 0, Records::keyed([("k", "v")]).at_time(5)).unwrap(), 4..5);
    let part = committed(&mut client, 0).await;
    assert_eq!(batches(&part), [(0, 0, 1), (1, 3, 0), (4, 4, 1)]);
    assert_eq!((aborted(&part), part.last_stable_offset), (vec![], 5));
}

#[tokio::test]
async fn compaction_leaves_holes_within_batches_and_between_them_and_keeps_markers_and_the_last_batch() {
    let (broker, mut client) = start().await;
    let write = |values: &[&str]| broker.append("t", 0, Records::of(values)).unwrap();
    write(&["a", "b", "c", "d"]);
    write(&["gone", "as", "well"]);
    broker.append("t", 0, Records::of(["x", "y"]).in_transaction(7)).unwrap();
    broker.end_transaction("t", 0, 7, ControlType::Commit).unwrap();
    write(&["last"]);
    broker.compact("t", 0, |offset| offset == 1).unwrap();
    let part = committed(&mut client, 0).await;
    // The producer's only batch stays without records, so that its sequence is known.
    assert_eq!(batches(&part), [(0, 3, 1), (7, 8, 0), (9, 9, 1), (10, 10, 1)]);
    assert_eq!(records(&part.records)[0], (1, "b".to_owned()));
    let part = committed(&mut client, 5).await;
    assert_eq!(offsets(&part), [9, 10], "an offset in a hole is served from what follows");
    assert_eq!(broker.offsets("t", 0).unwrap(), 0..11);
    assert_eq!(broker.append("t", 0, Records::of(["next"])).unwrap(), 11..12);
}

#[tokio::test]
async fn an_unclean_election_loses_records_and_every_epochs_end_is_told_truly() {
    let (broker, mut client) = start().await;
    for value in ["a", "b", "lost", "lost too"] {
        produce(&mut client, "t", 0, batch(&[value])).await;
    }
    broker.truncate("t", 0, 2).unwrap();
    produce(&mut client, "t", 0, batch(&["other"])).await;
    let mut end_of = async |leader_epoch| {
        let wanted = OffsetForLeaderPartition { partition: 0, current_leader_epoch: 1, leader_epoch };
        let topics = vec![OffsetForLeaderTopic { topic: "t".into(), partitions: vec![wanted] }];
        let answer = client.call(4, &OffsetForLeaderEpochRequest { replica_id: -1, topics }).await;
        let end = &answer.topics[0].partitions[0];
        (end.leader_epoch, end.end_offset)
    };
    assert_eq!([end_of(0).await, end_of(1).await, end_of(2).await], [(0, 2), (1, 3), (-1, -1)]);
    let part = committed(&mut client, 2).await;
    assert_eq!(records(&part.records), [(2, "other".to_owned())]);
}

#[tokio::test]
async fn a_topic_made_again_is_empty_and_has_another_id() {
    let (broker, mut client) = start().await;
    let old = topic_id(&mut client, "t").await;
    produce(&mut client, "t", 0, batch(&["a"])).await;
    let new = broker.recreate_topic("t").unwrap();
    assert_ne!(old, new);
    assert_eq!((topic_id(&mut client, "t").await, broker.offsets("t", 0).unwrap()), (new, 0..0));
    let mut request = fetch_request("", &[(0, 0)]);
    request.topics[0].topic_id = old;
    let answer = client.call(13, &request).await;
    assert_eq!(error(fetched(&answer)[0].error_code), Some(KafkaError::UnknownTopicId));
    assert!(broker.recreate_topic("u").is_err());
}

#[tokio::test]
async fn a_forgotten_producers_repeat_is_taken_or_refused_as_the_test_wants_it() {
    for (then, expected) in [(Forgotten::Accepted, None), (Forgotten::Refused, Some(KafkaError::UnknownProducerId))] {
        let (broker, mut client) = start().await;
        let numbered =
            |base_sequence| stamped(&["a"], ProducerStamp { producer_id: 7, producer_epoch: 0, base_sequence });
        produce(&mut client, "t", 0, numbered(0)).await;
        produce(&mut client, "t", 0, numbered(1)).await;
        assert_eq!(produce(&mut client, "t", 0, numbered(1)).await.base_offset, 1, "a repeat is recognised");
        broker.forget_producers("t", 0, then).unwrap();
        let outcome = produce(&mut client, "t", 0, numbered(1)).await;
        assert_eq!(error(outcome.error_code), expected);
        let written = broker.offsets("t", 0).unwrap().end;
        assert_eq!(written, if expected.is_none() { 3 } else { 2 });
    }
}
