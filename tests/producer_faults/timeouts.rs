//! What is bounded in time: delivery, flush, close.

use std::time::Duration;

use orderflow::ErrorCode;
use orderflow::broker::{Rule, Verdict};
use orderflow::flight::replay::replay;
use orderflow::wire::kafka_error::KafkaError;
use orderflow::wire::message::ApiKey;
use tokio::time::Instant;

use crate::log::judge;
use crate::shop::{SMALL, TOPIC, broker, enqueue, enqueue_all, producer, send, told};

const PRODUCE: ApiKey = ApiKey::Produce;
const TEN_SECONDS: (&str, &str) = ("delivery.timeout.ms", "10000");

#[tokio::test(start_paused = true)]
async fn an_order_that_is_not_delivered_in_time_says_exactly_whether_it_may_be_written() {
    let cases = [
        ("a silent broker", Verdict::Silence, true, 0),
        ("a broker that appends and is silent", Verdict::SilenceAfter, true, 1),
        ("lost requests", Verdict::Cut, true, 0),
        ("lost answers", Verdict::CutAfter, true, 1),
        ("too few replicas before the append", Verdict::Error(KafkaError::NotEnoughReplicas), false, 0),
        ("too few replicas after the append", Verdict::ErrorAfter(KafkaError::NotEnoughReplicasAfterAppend), true, 1),
        ("a leader that says it is none", Verdict::Error(KafkaError::NotLeaderOrFollower), true, 0),
    ];
    for (story, verdict, possibly_written, in_log) in cases {
        let broker = broker(1, 1).await;
        let producer = producer(&broker, &[TEN_SECONDS, ("request.timeout.ms", "3000")]).await;
        let rule = broker.install(Rule::on(PRODUCE).then(verdict));
        let begun = Instant::now();
        let mut told = vec![send(&producer, 0).await];
        assert_eq!(begun.elapsed().as_secs(), 10, "{story}");
        let error = told[0].error();
        assert_eq!((error.code(), error.possibly_written()), (ErrorCode::DeliveryTimeout, possibly_written), "{story}");
        assert_eq!(broker.offsets(TOPIC, 0).unwrap(), 0..in_log, "{story}");
        drop(rule);
        told.push(send(&producer, 1).await);
        assert!(told[1].result.is_ok(), "{story}: {:?}", told[1]);
        judge(&broker, TOPIC, &told, story);
        assert_eq!(producer.buffered_bytes(), 0, "{story}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_led_to_an_order_that_may_be_written_is_recorded_and_done_again() {
    let (broker, folder) = (broker(1, 1).await, tempfile::tempdir().unwrap());
    let flights = ("flight.dir", folder.path().to_str().unwrap());
    let producer = producer(&broker, &[TEN_SECONDS, ("request.timeout.ms", "3000"), flights]).await;
    assert!(send(&producer, 0).await.result.is_ok());
    let rule = broker.install(Rule::on(PRODUCE).then(Verdict::CutAfter));
    assert!(send(&producer, 1).await.error().possibly_written());
    drop(rule);
    assert!(send(&producer, 2).await.result.is_ok());
    let asked = folder.path().join("asked");
    producer.write_flight(Some(&asked)).unwrap();
    producer.close().await.unwrap();
    let by_itself = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
    let files: Vec<_> = by_itself.collect();
    assert_eq!(files.len(), 2, "{files:?}");
    for file in files {
        let replay = replay(std::fs::read(&file).unwrap().as_slice()).unwrap();
        assert_eq!(replay.header.because, if file == asked { "asked" } else { "doubt" });
        assert!(replay.same() > 3 && replay.differences().count() == 0, "{replay}");
        assert!(replay.to_string().contains("possibly_written: true"), "{replay}");
    }
}

/// Nothing of an order that waits behind an unanswered batch, or for a broker that is down, can be in a log.
#[tokio::test(start_paused = true)]
async fn an_order_that_was_never_sent_is_certainly_not_written() {
    let broker = broker(1, 1).await;
    let producer = producer(&broker, &[SMALL, TEN_SECONDS, ("request.timeout.ms", "60000")]).await;
    let held = broker.install(Rule::on(PRODUCE).then(Verdict::Silence));
    let first = enqueue(&producer, 0, "p0").await;
    held.fallen(1).await;
    // Until a batch was written only one is on the way: these wait.
    let behind = enqueue_all(&producer, 1..30).await;
    let mut all = told(vec![first]).await;
    all.extend(told(behind).await);
    assert!(all[0].error().possibly_written());
    assert!(all[1..].iter().all(|order| !order.error().possibly_written()), "{:?}", &all[1..]);
    drop(held);

    broker.stop(1).await.unwrap();
    let down = told(enqueue_all(&producer, 30..40).await).await;
    assert!(down.iter().all(|order| !order.error().possibly_written()), "{down:?}");
    all.extend(down);
    broker.resume(1).await.unwrap();
    all.push(send(&producer, 40).await);
    assert!(all.last().unwrap().result.is_ok(), "{:?}", all.last());
    judge(&broker, TOPIC, &all, "never sent");
}

#[tokio::test(start_paused = true)]
async fn a_flush_ends_when_every_order_has_its_outcome_and_no_later_than_the_delivery_timeout() {
    let broker = broker(1, 3).await;
    let producer = producer(&broker, &[SMALL, TEN_SECONDS, ("linger.ms", "9000")]).await;
    let sent = enqueue_all(&producer, 0..50).await;
    producer.flush().await.unwrap();
    let ends: i64 = (0..3).map(|partition| broker.offsets(TOPIC, partition).unwrap().end).sum();
    assert_eq!(ends, 50, "everything is written when the flush ends");
    let mut all = told(sent).await;

    let _silent = broker.install(Rule::on(PRODUCE).then(Verdict::Silence));
    let sent = enqueue_all(&producer, 50..60).await;
    let begun = Instant::now();
    let error = producer.flush().await.unwrap_err();
    assert_eq!((error.code(), begun.elapsed().as_secs()), (ErrorCode::DeliveryTimeout, 10));
    all.extend(told(sent).await);
    judge(&broker, TOPIC, &all, "flushed");
}

#[tokio::test(start_paused = true)]
async fn closing_delivers_what_was_accepted_or_gives_up_within_its_timeout() {
    for silent in [false, true] {
        let broker = broker(1, 3).await;
        let producer = producer(&broker, &[SMALL, ("linger.ms", "60000"), ("shutdown.timeout.ms", "4000")]).await;
        let _rule = silent.then(|| broker.install(Rule::on(PRODUCE).then(Verdict::Silence)));
        let sent = enqueue_all(&producer, 0..50).await;
        let begun = Instant::now();
        let closed = producer.close().await;
        assert!(begun.elapsed() < Duration::from_secs(7), "{:?}", begun.elapsed());
        assert_eq!(closed.as_ref().err().map(orderflow::Error::code), silent.then_some(ErrorCode::Timeout));
        let told = told(sent).await;
        assert!(told.iter().all(|order| order.result.is_ok() != silent), "{told:?}");
        judge(&broker, TOPIC, &told, &format!("silent: {silent}"));
    }
}
