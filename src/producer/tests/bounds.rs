//! What is bounded: memory, waiting for it, fairness among those who wait.

use std::time::Duration;

use futures::future::join_all;
use tokio::time::Instant;

use super::model::{Model, Verdict, copies, to};
use crate::ErrorCode;

const BUFFER: (&str, &str) = ("buffer.memory", "65536");

#[tokio::test(start_paused = true)]
async fn a_hundred_thousand_orders_pass_through_a_small_buffer_once_and_in_order() {
    let model = Model::new(6);
    let producer = model.producer(&[BUFFER, ("batch.size", "8192")]);
    let mut most = 0;
    for number in 0..100_000 {
        drop(producer.enqueue(to(number % 6, &format!("{number:06}"))).await.unwrap());
        most = most.max(producer.buffered_bytes());
    }
    producer.flush().await.unwrap();
    assert!(most <= 65_536, "{most} bytes");
    assert_eq!(producer.buffered_bytes(), 0);
    assert!((0..6).all(|partition| model.log(partition).is_sorted()));
    let copies = copies(&model);
    assert_eq!(copies.len(), 100_000);
    assert!(copies.values().all(|count| *count == 1));
}

#[tokio::test(start_paused = true)]
async fn a_full_buffer_makes_enqueue_wait_and_then_refuse_what_is_not_written() {
    let model = Model::new(1);
    model.script(|_| Verdict::Hang);
    let producer = model.producer(&[BUFFER, ("max.block.ms", "7000")]);
    let value = "x".repeat(20_000);
    for _ in 0..3 {
        drop(producer.enqueue(to(0, &value)).await.unwrap());
    }
    let begun = Instant::now();
    let error = producer.enqueue(to(0, &value)).await.unwrap_err();
    assert_eq!(begun.elapsed().as_secs(), 7);
    assert_eq!((error.code(), error.possibly_written()), (ErrorCode::Timeout, false));
    assert!(error.to_string().contains("bytes are not acknowledged yet"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_for_room_gets_it_in_turn_and_a_small_order_does_not_overtake() {
    let model = Model::new(1);
    model.with(|world| world.latency = Duration::from_secs(1));
    let producer = model.producer(&[BUFFER]);
    let value = "x".repeat(30_000);
    let mut waiting = Vec::new();
    for number in 0..10 {
        let (producer, value) = (producer.clone(), format!("{number}{value}"));
        waiting.push(tokio::spawn(async move { producer.send(to(0, &value)).await }));
        tokio::task::yield_now().await;
    }
    let small = producer.send(to(0, "small")).await;
    let results = join_all(waiting).await;
    assert!(small.is_ok() && results.into_iter().all(|result| result.unwrap().is_ok()));
    let first: Vec<_> = model.log(0).iter().map(|value| value.chars().next().unwrap()).collect();
    assert_eq!(first, ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 's']);
}

#[tokio::test(start_paused = true)]
async fn a_full_buffer_does_not_wait_for_linger() {
    let model = Model::new(1);
    let producer = model.producer(&[BUFFER, ("linger.ms", "50000")]);
    let begun = Instant::now();
    let value = "x".repeat(30_000);
    for _ in 0..10 {
        drop(producer.enqueue(to(0, &value)).await.unwrap());
    }
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn an_order_larger_than_the_whole_buffer_goes_alone() {
    let model = Model::new(1);
    let producer = model.producer(&[BUFFER]);
    let small = producer.enqueue(to(0, "small")).await.unwrap();
    producer.send(to(0, &"x".repeat(100_000))).await.unwrap();
    small.await.unwrap();
    assert_eq!(model.seen().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn memory_of_orders_that_failed_is_given_back() {
    let model = Model::new(1);
    model.script(|_| Verdict::Hang);
    let producer = model.producer(&[BUFFER, ("delivery.timeout.ms", "1000"), ("request.timeout.ms", "2000")]);
    let value = "x".repeat(20_000);
    let pendings = [producer.enqueue(to(0, &value)).await.unwrap(), producer.enqueue(to(0, &value)).await.unwrap()];
    assert!(join_all(pendings).await.iter().all(Result::is_err));
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(producer.buffered_bytes(), 0);
}
