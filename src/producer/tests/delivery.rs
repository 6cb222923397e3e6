//! Orders that nothing stands in the way of: receipts, order, batches, flush, close.

use std::time::Duration;

use futures::future::join_all;
use tokio::time::Instant;

use super::super::records::OutgoingRecord;
use super::model::{Model, Verdict, copies, to};
use crate::ErrorCode;

#[tokio::test(start_paused = true)]
async fn a_lone_order_goes_at_once_and_its_receipt_tells_where_it_is() {
    let model = Model::new(3);
    let producer = model.producer(&[]);
    let begun = Instant::now();
    let receipt = producer.send(OutgoingRecord { timestamp: Some(77), ..to(2, "a") }).await.unwrap();
    assert_eq!((&*receipt.topic, receipt.partition, receipt.offset, receipt.timestamp), ("orders", 2, Some(0), 77));
    assert_eq!(producer.send(to(2, "b")).await.unwrap().offset, Some(1));
    assert!(begun.elapsed() < Duration::from_millis(10), "{:?}", begun.elapsed());
    assert_eq!(model.log(2), ["a", "b"]);
    producer.close().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn under_load_batches_grow_by_themselves_and_each_order_has_its_own_offset() {
    let model = Model::new(1);
    let producer = model.producer(&[]);
    let mut pendings = Vec::new();
    for number in 0..1000 {
        pendings.push(producer.enqueue(to(0, &format!("{number:04}"))).await.unwrap());
        if number % 100 == 0 {
            tokio::task::yield_now().await;
        }
    }
    let receipts: Vec<_> = join_all(pendings).await.into_iter().map(Result::unwrap).collect();
    assert!(receipts.iter().zip(0..).all(|(receipt, offset)| receipt.offset == Some(offset)));
    assert!(model.log(0).is_sorted());
    assert!(model.seen().len() <= 4, "{} requests", model.seen().len());
}

#[tokio::test(start_paused = true)]
async fn the_partitions_of_one_leader_share_a_request() {
    let model = Model::new(6);
    let producer = model.producer(&[]);
    let pendings = join_all((0..60).map(|number| producer.enqueue(to(number % 6, "x")))).await;
    let receipts = join_all(pendings.into_iter().map(Result::unwrap)).await;
    assert!(receipts.iter().all(Result::is_ok));
    let most = model.seen().iter().map(|seen| seen.batches.len()).max();
    assert_eq!(most, Some(6), "{:?}", model.seen());
}

#[tokio::test(start_paused = true)]
async fn full_batches_are_pipelined_five_at_a_time_or_as_many_as_are_allowed_and_stay_in_order() {
    for (setting, most) in [("5", 5), ("2", 2), ("1", 1)] {
        let model = Model::new(1);
        model.with(|world| world.latency = Duration::from_millis(50));
        let producer = model.producer(&[("batch.size", "1024"), ("max.in.flight.requests.per.connection", setting)]);
        producer.send(to(0, "first")).await.unwrap();
        let value = "x".repeat(900);
        let mut pendings = Vec::new();
        for number in 0..20 {
            pendings.push(producer.enqueue(to(0, &format!("{number:02}{value}"))).await.unwrap());
        }
        assert!(join_all(pendings).await.into_iter().all(|receipt| receipt.is_ok()));
        assert!(model.log(0)[1..].is_sorted());
        assert_eq!(model.with(|world| world.most_in_flight), most);
    }
}

#[tokio::test(start_paused = true)]
async fn linger_waits_for_company_and_a_flush_does_not() {
    let model = Model::new(1);
    let producer = model.producer(&[("linger.ms", "100")]);
    let begun = Instant::now();
    let pending = producer.enqueue(to(0, "a")).await.unwrap();
    pending.await.unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(100));

    let pending = producer.enqueue(to(0, "b")).await.unwrap();
    let begun = Instant::now();
    producer.flush().await.unwrap();
    assert!(begun.elapsed() < Duration::from_millis(20), "{:?}", begun.elapsed());
    assert_eq!(futures::FutureExt::now_or_never(pending).unwrap().unwrap().offset, Some(1));
}

#[tokio::test(start_paused = true)]
async fn records_without_key_fill_one_partition_and_then_another() {
    let model = Model::new(4);
    let producer = model.producer(&[("batch.size", "1024"), ("linger.ms", "10")]);
    let value = [b'x'; 100];
    for _ in 0..60 {
        let record = OutgoingRecord { value: Some(&value), ..OutgoingRecord::default() };
        drop(producer.enqueue(record).await.unwrap());
    }
    producer.flush().await.unwrap();
    let sizes: Vec<_> = (0..4).map(|partition| model.log(partition).len()).collect();
    assert!(sizes.iter().all(|size| (8..30).contains(size)), "{sizes:?}");
}

#[tokio::test(start_paused = true)]
async fn closing_sends_what_was_accepted_and_takes_no_more() {
    let model = Model::new(2);
    let producer = model.producer(&[("linger.ms", "60000")]);
    let other = producer.clone();
    for number in 0..100 {
        drop(producer.enqueue(to(number % 2, &number.to_string())).await.unwrap());
    }
    producer.close().await.unwrap();
    assert_eq!(copies(&model).len(), 100);
    assert_eq!(other.enqueue(to(0, "late")).await.unwrap_err().code(), ErrorCode::Closed);
}

#[tokio::test(start_paused = true)]
async fn closing_is_bounded_and_says_what_is_left() {
    let model = Model::new(1);
    model.script(|_| Verdict::Hang);
    let producer = model.producer(&[("shutdown.timeout.ms", "3000")]);
    let pending = producer.enqueue(to(0, "a")).await.unwrap();
    let begun = Instant::now();
    let error = producer.close().await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::Timeout);
    assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());
    let error = pending.await.unwrap_err();
    assert_eq!((error.code(), error.possibly_written()), (ErrorCode::Closed, true));
}

#[tokio::test(start_paused = true)]
async fn orders_of_a_dropped_producer_fail_instead_of_waiting_for_ever() {
    let model = Model::new(1);
    model.script(|_| Verdict::Hang);
    let producer = model.producer(&[]);
    let sent = producer.enqueue(to(0, "a")).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    let unsent = producer.enqueue(to(0, "b")).await.unwrap();
    drop(producer);
    let (sent, unsent) = (sent.await.unwrap_err(), unsent.await.unwrap_err());
    assert_eq!((sent.code(), sent.possibly_written()), (ErrorCode::Closed, true));
    assert_eq!((unsent.code(), unsent.possibly_written()), (ErrorCode::Closed, false));
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_grows_is_written_to_in_its_new_partitions() {
    let model = Model::new(1);
    let producer = model.producer(&[]);
    assert_eq!(producer.enqueue(to(1, "a")).await.unwrap_err().code(), ErrorCode::UnknownTopic);
    model.with(|world| {
        world.leaders.push((Some(2), 0));
        world.partitions.push(Default::default());
    });
    model.publish();
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(producer.send(to(1, "a")).await.unwrap().partition, 1);
    assert_eq!(model.seen().last().unwrap().node, 2);
}
