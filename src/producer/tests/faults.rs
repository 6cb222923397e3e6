//! What goes wrong on the way, one story a test.

use std::time::Duration;

use futures::future::join_all;
use tokio::time::Instant;

use super::super::receipt::Pending;
use super::super::records::RecordProducer;
use super::model::{Model, Verdict, copies, to};
use crate::wire::kafka_error::KafkaError;
use crate::{Error, ErrorCode};

/// Small batches, so that several are on the way.
const SMALL: (&str, &str) = ("batch.size", "1024");

async fn enqueue(producer: &RecordProducer, count: usize) -> Vec<Pending> {
    let mut pendings = Vec::new();
    for number in 0..count {
        pendings.push(producer.enqueue(to(0, &format!("{number:04}{}", "x".repeat(300)))).await.unwrap());
    }
    pendings
}

/// All are written, once, in order, with the offsets that the receipts say.
async fn all_written_once_in_order(model: &Model, pendings: Vec<Pending>) {
    let receipts: Vec<_> = join_all(pendings).await.into_iter().map(Result::unwrap).collect();
    let log = model.log(0);
    assert_eq!(log.len(), receipts.len());
    assert!(log.is_sorted(), "{:?}", log.iter().map(|value| &value[..4]).collect::<Vec<_>>());
    for (number, receipt) in receipts.iter().enumerate() {
        if let Some(offset) = receipt.offset {
            assert!(log[usize::try_from(offset).unwrap()].starts_with(&format!("{number:04}")), "{receipt:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_leads_to_the_same_batch_again_and_to_one_copy() {
    let model = Model::new(1);
    model.first([Verdict::LoseAnswer]);
    let producer = model.producer(&[]);
    let receipt = producer.send(to(0, "a")).await.unwrap();
    assert_eq!(receipt.offset, Some(0));
    assert_eq!(model.log(0), ["a"]);
    let seen = model.seen();
    assert_eq!(seen.len(), 2);
    assert_eq!(seen[0].batches, seen[1].batches, "the same records under the same number");
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_lost_the_offset_of_a_repeat_gives_a_receipt_without_one() {
    let model = Model::new(1);
    model.first([Verdict::AppendAndRefuse(KafkaError::DuplicateSequenceNumber)]);
    let producer = model.producer(&[]);
    assert_eq!(producer.send(to(0, "a")).await.unwrap().offset, None);
    assert_eq!(producer.send(to(0, "b")).await.unwrap().offset, Some(1));
}

#[tokio::test(start_paused = true)]
async fn order_is_kept_when_the_leader_moves_with_several_batches_in_flight() {
    let model = Model::new(1);
    let producer = model.producer(&[SMALL]);
    producer.send(to(0, "0")).await.unwrap();
    let pendings = enqueue(&producer, 40).await;
    tokio::time::sleep(Duration::from_millis(3)).await;
    model.lead(0, Some(2));
    let receipts = join_all(pendings).await;
    assert!(receipts.iter().all(Result::is_ok), "{receipts:?}");
    let log = model.log(0);
    assert_eq!(log.len(), 41);
    assert!(log.is_sorted());
    assert!(model.seen().iter().any(|seen| seen.node == 2));
}

#[tokio::test(start_paused = true)]
async fn order_is_kept_whatever_passing_error_hits_whichever_batch() {
    for error in [
        KafkaError::NotLeaderOrFollower,
        KafkaError::NotEnoughReplicas,
        KafkaError::RequestTimedOut,
        KafkaError::KafkaStorageError,
        KafkaError::UnknownTopicOrPartition,
    ] {
        for hit in 0..8 {
            for verdict in
                [Verdict::Refuse(error), Verdict::AppendAndRefuse(error), Verdict::LoseAnswer, Verdict::LoseRequest]
            {
                let model = Model::new(1);
                let mut count = 0;
                model.script(move |_| {
                    count += 1;
                    if count == hit + 1 { verdict.clone() } else { Verdict::Serve }
                });
                let producer = model.producer(&[SMALL]);
                let pendings = enqueue(&producer, 30).await;
                all_written_once_in_order(&model, pendings).await;
                producer.close().await.unwrap();
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_throttled_answer_is_a_success_and_nothing_is_sent_meanwhile() {
    let model = Model::new(1);
    model.first([Verdict::Throttle(Duration::from_secs(40))]);
    let producer = model.producer(&[SMALL]);
    let begun = Instant::now();
    assert_eq!(producer.send(to(0, "a")).await.unwrap().offset, Some(0));
    assert!(begun.elapsed() < Duration::from_millis(50));
    producer.send(to(0, "b")).await.unwrap();
    assert!(begun.elapsed() >= Duration::from_secs(40), "the broker asked for a pause");
    assert_eq!(model.log(0), ["a", "b"], "neither is sent twice");
    assert_eq!(model.seen().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn time_in_which_the_broker_mutes_the_connection_does_not_count_against_requests_under_way() {
    let model = Model::new(1);
    let mut count = 0;
    model.script(move |_| {
        count += 1;
        if count == 2 { Verdict::Throttle(Duration::from_secs(50)) } else { Verdict::Serve }
    });
    let producer = model.producer(&[SMALL]);
    let pendings = enqueue(&producer, 30).await;
    all_written_once_in_order(&model, pendings).await;
    let dials = model.with(|world| world.dials);
    assert_eq!(dials, 1, "the connection was not given up");
}

#[tokio::test(start_paused = true)]
async fn a_silent_broker_is_given_up_after_the_request_timeout_and_the_order_is_sent_again() {
    let model = Model::new(1);
    model.first([Verdict::Hang]);
    let producer = model.producer(&[("request.timeout.ms", "5000")]);
    let begun = Instant::now();
    producer.send(to(0, "a")).await.unwrap();
    assert!((5.0..6.0).contains(&begun.elapsed().as_secs_f64()), "{:?}", begun.elapsed());
    assert_eq!(model.with(|world| world.dials), 2);
}

#[tokio::test(start_paused = true)]
async fn an_order_has_its_outcome_within_the_delivery_timeout_and_says_whether_it_may_be_written() {
    let timeouts = [("delivery.timeout.ms", "20000"), ("request.timeout.ms", "30000")];
    type Case = (&'static str, fn(&Model), bool);
    let cases: [Case; 4] = [
        ("a silent broker", |model| model.script(|_| Verdict::Hang), true),
        ("too few replicas", |model| model.script(|_| Verdict::Refuse(KafkaError::NotEnoughReplicas)), false),
        ("answers that leave it open", |model| model.script(|_| Verdict::Refuse(KafkaError::RequestTimedOut)), true),
        ("no connection", |model| model.with(|world| world.unreachable = true), false),
    ];
    for (name, prepare, possibly_written) in cases {
        let model = Model::new(1);
        prepare(&model);
        let producer = model.producer(&timeouts);
        let begun = Instant::now();
        let error = producer.send(to(0, "a")).await.unwrap_err();
        assert_eq!(begun.elapsed().as_secs(), 20, "{name}");
        assert_eq!(error.code(), ErrorCode::DeliveryTimeout, "{name}: {error}");
        assert_eq!(error.possibly_written(), possibly_written, "{name}: {error}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_error_of_an_order_that_waited_in_vain_says_what_it_waited_for() {
    let model = Model::new(1);
    model.with(|world| world.unreachable = true);
    let producer = model.producer(&[]);
    let error = producer.send(to(0, "a")).await.unwrap_err();
    assert!(error.to_string().contains("nothing listens there"), "{error}");
    let dials = model.with(|world| world.dials);
    assert!(dials < 300, "{dials} dials in two minutes");
}

#[tokio::test(start_paused = true)]
async fn after_an_order_was_given_up_the_next_ones_are_written_and_a_late_copy_is_not() {
    let model = Model::new(1);
    model.first([Verdict::Delay(Duration::from_secs(60)), Verdict::Hang, Verdict::Hang]);
    let producer = model.producer(&[("delivery.timeout.ms", "4000"), ("request.timeout.ms", "3000")]);
    let error = producer.send(to(0, "a")).await.unwrap_err();
    assert!(error.possibly_written());
    producer.send(to(0, "b")).await.unwrap();
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert_eq!(model.log(0), ["b"], "the late copy is of an old epoch");
    producer.send(to(0, "c")).await.unwrap();
    assert_eq!(model.log(0), ["b", "c"]);
}

#[tokio::test(start_paused = true)]
async fn an_order_that_the_topic_finds_too_large_fails_alone() {
    let model = Model::new(1);
    model.with(|world| world.max_batch = 2000);
    let producer = model.producer(&[("linger.ms", "5")]);
    let mut pendings = Vec::new();
    for number in 0..20 {
        let size = if number == 7 { 3000 } else { 100 };
        pendings.push(producer.enqueue(to(0, &format!("{number:04}{}", "x".repeat(size)))).await.unwrap());
    }
    let results = join_all(pendings).await;
    for (number, result) in results.iter().enumerate() {
        assert_eq!(result.is_err(), number == 7, "{number}: {result:?}");
    }
    let error = results[7].as_ref().unwrap_err();
    assert_eq!((error.code(), error.possibly_written()), (ErrorCode::TooLarge, false));
    assert!(model.log(0).is_sorted() && model.log(0).len() == 19);
}

#[tokio::test(start_paused = true)]
async fn an_order_larger_than_a_batch_may_be_is_refused_at_once() {
    let model = Model::new(1);
    let producer = model.producer(&[("max.request.size", "2000")]);
    let error = producer.enqueue(to(0, &"x".repeat(2000))).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::TooLarge);
    producer.send(to(0, &"x".repeat(1800))).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn orders_that_the_broker_refuses_one_by_one_fail_alone_whether_or_not_it_names_them() {
    for named in [true, false] {
        let model = Model::new(1);
        model.with(|world| world.names_culprits = named);
        let producer = model.producer(&[("linger.ms", "5")]);
        let is_bad = |number: usize| matches!(number, 0 | 5 | 6 | 19);
        let mut pendings = Vec::new();
        for number in 0..20 {
            let value = if is_bad(number) { "bad".to_owned() } else { format!("{number:04}") };
            pendings.push(producer.enqueue(to(0, &value)).await.unwrap());
        }
        let later = producer.enqueue(to(0, "9999")).await.unwrap();
        let results = join_all(pendings).await;
        for (number, result) in results.iter().enumerate() {
            assert_eq!(result.is_err(), is_bad(number), "{number}: {result:?}");
        }
        let error = results[5].as_ref().unwrap_err();
        assert_eq!((error.code(), error.possibly_written()), (ErrorCode::Refused, false));
        later.await.unwrap();
        let log = model.log(0);
        assert!(log.is_sorted() && log.len() == 17, "{log:?}");
        for (number, receipt) in results.iter().enumerate().filter_map(|(n, result)| Some((n, result.as_ref().ok()?))) {
            assert_eq!(log[usize::try_from(receipt.offset.unwrap()).unwrap()], format!("{number:04}"));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_permission_fails_at_once_and_a_flush_tells_what_nobody_waited_for() {
    let model = Model::new(1);
    model.first([Verdict::Refuse(KafkaError::TopicAuthorizationFailed)]);
    let producer = model.producer(&[]);
    drop(producer.enqueue(to(0, "a")).await.unwrap());
    tokio::time::sleep(Duration::from_millis(50)).await;
    let error: Error = producer.flush().await.unwrap_err();
    assert_eq!((error.code(), error.possibly_written()), (ErrorCode::Denied, false));
    producer.send(to(0, "b")).await.unwrap();
    producer.flush().await.unwrap();
    assert_eq!(model.log(0), ["b"]);
}

#[tokio::test(start_paused = true)]
async fn a_flush_tells_of_an_order_that_was_given_up_while_its_request_was_under_way() {
    let model = Model::new(1);
    model.script(|_| Verdict::Hang);
    let producer = model.producer(&[("delivery.timeout.ms", "1000")]);
    let seen = producer.enqueue(to(0, "a")).await.unwrap();
    assert!(seen.await.is_err());
    producer.flush().await.unwrap();
    drop(producer.enqueue(to(0, "b")).await.unwrap());
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(producer.flush().await.unwrap_err().code(), ErrorCode::DeliveryTimeout);
}

#[tokio::test(start_paused = true)]
async fn a_partition_without_leader_waits_for_one_while_the_others_go_on() {
    let model = Model::new(2);
    model.lead(0, None);
    model.publish();
    let producer = model.producer(&[]);
    let waiting = producer.enqueue(to(0, "a")).await.unwrap();
    producer.send(to(1, "b")).await.unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    model.lead(0, Some(2));
    let begun = Instant::now();
    waiting.await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    let refreshes = model.with(|world| world.refreshes);
    assert!((10..80).contains(&refreshes), "{refreshes} refreshes in three seconds");
    assert_eq!(copies(&model).len(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_error_that_stays_is_not_tried_in_a_flood() {
    let model = Model::new(1);
    model.script(|_| Verdict::Refuse(KafkaError::NotLeaderOrFollower));
    let producer = model.producer(&[("delivery.timeout.ms", "60000")]);
    assert!(producer.send(to(0, "a")).await.is_err());
    let tries = model.seen().len();
    assert!((20..120).contains(&tries), "{tries} tries in a minute");
}
