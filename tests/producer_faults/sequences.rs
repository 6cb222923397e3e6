//! Numbered batches: what a broker's answer to a repeated, a lost or an unknown one leads to.

use orderflow::ErrorCode;
use orderflow::broker::{Rule, Spot, Verdict};
use orderflow::wire::compression::{Compression, Compressor};
use orderflow::wire::kafka_error::KafkaError;
use orderflow::wire::message::ApiKey;
use orderflow::wire::record_batch::{BatchBuilder, Header, ProducerStamp, RecordParts};

use crate::log::{all_written, judge, read, stamps};
use crate::shop::{SMALL, TOPIC, broker, enqueue_all, order, producer, send, told};

const PRODUCE: ApiKey = ApiKey::Produce;

/// Whether the unanswered first order is in the log decides nothing: the next epoch's first sequence is taken in both cases.
#[tokio::test(start_paused = true)]
async fn after_an_ambiguous_failure_the_next_order_is_written_in_the_next_epoch_from_zero() {
    for (verdict, in_log) in [(Verdict::Silence, 0), (Verdict::SilenceAfter, 1)] {
        let broker = broker(1, 1).await;
        let producer = producer(&broker, &[("delivery.timeout.ms", "4000"), ("request.timeout.ms", "3000")]).await;
        let rule = broker.install(Rule::on(PRODUCE).then(verdict));
        let mut told = vec![send(&producer, 0).await];
        assert_eq!((told[0].error().code(), told[0].error().possibly_written()), (ErrorCode::DeliveryTimeout, true));
        drop(rule);
        told.push(send(&producer, 1).await);
        told.push(send(&producer, 2).await);
        judge(&broker, TOPIC, &told, &format!("{verdict:?}"));
        assert!(told[1].result.is_ok() && told[2].result.is_ok(), "{told:?}");
        let stamps = stamps(&broker, TOPIC, 0);
        let id = stamps[0].producer_id;
        let numbers: Vec<_> = stamps.iter().map(|stamp| (stamp.producer_epoch, stamp.base_sequence)).collect();
        assert_eq!(numbers[in_log..], [(1, 0), (1, 1)], "{verdict:?}");
        assert_eq!(numbers.len(), in_log + 2);
        assert!(stamps.iter().all(|stamp| stamp.producer_id == id), "never a new id: {stamps:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn other_partitions_keep_their_epoch_when_one_goes_on_to_the_next() {
    let broker = broker(1, 6).await;
    let producer = producer(&broker, &[("delivery.timeout.ms", "4000"), ("request.timeout.ms", "3000")]).await;
    let mut told = told(enqueue_all(&producer, 0..40).await).await;
    let hit = told[0].result.as_ref().unwrap().partition;
    let rule = broker.install(Rule::on(PRODUCE).partition(hit).then(Verdict::Error(KafkaError::RequestTimedOut)));
    told.extend(crate::shop::told(enqueue_all(&producer, 40..80).await).await);
    drop(rule);
    told.extend(crate::shop::told(enqueue_all(&producer, 80..120).await).await);
    judge(&broker, TOPIC, &told, "one partition is not acknowledged for a while");
    assert!(told[80..].iter().all(|order| order.result.is_ok()), "{:?}", &told[80..]);
    for partition in 0..6 {
        let newest = stamps(&broker, TOPIC, partition).last().map(|stamp| stamp.producer_epoch);
        assert!(newest.is_none_or(|epoch| epoch == i16::from(partition == hit)), "partition {partition}: {newest:?}");
    }
}

#[tokio::test]
async fn a_broker_that_does_not_know_the_producer_or_its_sequence_is_followed_by_a_new_epoch() {
    for error in [KafkaError::UnknownProducerId, KafkaError::OutOfOrderSequenceNumber] {
        for hit in 0..8 {
            let story = format!("{error} at request {hit}");
            let broker = broker(1, 1).await;
            let producer = producer(&broker, &[SMALL]).await;
            let rule = broker.install(Rule::on(PRODUCE).skip(hit).times(1).then(Verdict::Error(error)));
            let told = told(enqueue_all(&producer, 0..60).await).await;
            assert_eq!(rule.applied(), 1, "{story}");
            all_written(&broker, TOPIC, &told, &story);
            assert!(told.iter().all(|order| order.result.as_ref().unwrap().offset.is_some()), "{story}");
            assert_eq!(stamps(&broker, TOPIC, 0).last().unwrap().producer_epoch, 1, "{story}");
        }
    }
}

/// An unclean election: the broker no longer has what it acknowledged last, and expects the sequence before it.
#[tokio::test]
async fn a_log_that_lost_its_end_takes_what_comes_after() {
    for kept in [0, 4, 20] {
        let broker = broker(1, 1).await;
        let producer = producer(&broker, &[SMALL]).await;
        let before = told(enqueue_all(&producer, 0..40).await).await;
        assert!(before.iter().all(|order| order.result.is_ok()));
        broker.truncate(TOPIC, 0, kept).unwrap();
        let left = broker.offsets(TOPIC, 0).unwrap().end as usize;
        let after = told(enqueue_all(&producer, 40..80).await).await;
        let mut told: Vec<_> = before.into_iter().take(left).collect();
        told.extend(after);
        all_written(&broker, TOPIC, &told, &format!("{left} orders are left"));
    }
}

#[tokio::test]
async fn a_lost_answer_leads_to_one_copy_and_a_receipt_with_its_offset() {
    for hit in 0..10 {
        let broker = broker(1, 1).await;
        let producer = producer(&broker, &[SMALL]).await;
        let rule = broker.install(Rule::on(PRODUCE).skip(hit).times(1).then(Verdict::CutAfter));
        let told = told(enqueue_all(&producer, 0..80).await).await;
        assert_eq!(rule.applied(), 1, "request {hit}");
        all_written(&broker, TOPIC, &told, &format!("the answer to request {hit} is lost"));
        assert!(told.iter().all(|order| order.result.as_ref().unwrap().offset.is_some()), "request {hit}");
        let epoch = stamps(&broker, TOPIC, 0).last().unwrap().producer_epoch;
        assert_eq!(epoch, 0, "a repeat is recognised, so no new epoch is begun");
    }
}

#[tokio::test]
async fn a_repeat_that_the_broker_cannot_place_is_a_receipt_without_offset() {
    let broker = broker(1, 1).await;
    let producer = producer(&broker, &[SMALL]).await;
    let verdict = Verdict::ErrorAfter(KafkaError::DuplicateSequenceNumber);
    let rule = broker.install(Rule::on(PRODUCE).skip(3).times(2).then(verdict));
    let told = told(enqueue_all(&producer, 0..60).await).await;
    assert_eq!(rule.applied(), 2);
    all_written(&broker, TOPIC, &told, "duplicate sequence numbers");
    let placed = told.iter().filter(|order| order.result.as_ref().unwrap().offset.is_some()).count();
    assert!((1..60).contains(&placed), "{placed} of 60 receipts have an offset");
}

/// Somebody wrote under our id in a later epoch: what was not sent before may go on behind it, what may be written may not.
#[tokio::test]
async fn an_epoch_that_was_overtaken_is_left_behind_and_what_may_be_written_is_not_sent_again() {
    let broker = broker(1, 1).await;
    let producer = producer(&broker, &[SMALL]).await;
    let mut told = vec![send(&producer, 0).await];
    let id = stamps(&broker, TOPIC, 0)[0].producer_id;
    broker.inject(TOPIC, 0, foreign(id, 2), Spot::Next).unwrap();
    told.push(foreign_told());
    // Its only try is refused: it goes again, in an epoch that the broker takes.
    told.push(send(&producer, 2).await);
    judge(&broker, TOPIC, &told, "overtaken");
    assert!(told[2].result.is_ok(), "{told:?}");

    broker.inject(TOPIC, 0, foreign(id, 9), Spot::Next).unwrap();
    let _lost = broker.install(Rule::on(PRODUCE).times(1).then(Verdict::Cut));
    let doubtful = send(&producer, 4).await;
    assert!(doubtful.error().possibly_written(), "{doubtful:?}");
    assert_eq!(read(&broker, TOPIC)[0].len(), 4);
}

/// A record of order 1 under somebody's producer id.
fn foreign(producer_id: i64, producer_epoch: i16) -> bytes::Bytes {
    use orderflow::order::Order;
    let order = order(1, "p0");
    let headers = [Header { key: b"idempotency-key", value: Some(b"foreign") }];
    let parts = RecordParts { key: Some(b"p0"), headers: &headers, value_len: Some(order.encoded_len()) };
    let mut builder = BatchBuilder::new(Compression::None, Vec::new());
    builder.append(1_700_000_000_000, &parts, |out| order.encode(out)).unwrap();
    let stamp = ProducerStamp { producer_id, producer_epoch, base_sequence: 50 };
    builder.close_stamped(&mut Compressor::new(), stamp).bytes()
}

fn foreign_told() -> crate::log::Told {
    let cause = orderflow::Error::new(ErrorCode::Refused, "somebody else sent it").maybe_written();
    crate::log::Told { key: "p0".into(), order_id: order(1, "p0").order_id().to_owned(), result: Err(cause) }
}
