//! Futures that are dropped at every point where they wait.

use std::future::Future;
use std::pin::pin;
use std::task::Poll;

use super::model::{Model, copies, to};

/// Polls `future` at most `polls` times, letting the other tasks run in between, then drops it. Returns whether it ended.
async fn poll_at_most<F: Future>(polls: usize, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    for _ in 0..polls {
        if let Poll::Ready(output) = futures::poll!(future.as_mut()) {
            return Some(output);
        }
        tokio::task::yield_now().await;
    }
    None
}

#[tokio::test(start_paused = true)]
async fn a_send_that_is_dropped_at_any_poll_leaves_at_most_one_copy_and_a_working_producer() {
    for polls in 0..12 {
        let model = Model::new(1);
        let producer = model.producer(&[]);
        let sent = poll_at_most(polls, producer.send(to(0, "dropped"))).await;
        producer.send(to(0, "next")).await.unwrap();
        producer.flush().await.unwrap();
        let copies = copies(&model);
        assert_eq!(copies.get("next"), Some(&1));
        assert_eq!(copies.get("dropped").copied().unwrap_or(0), usize::from(polls > 0), "{polls} polls: {sent:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_enqueue_that_is_dropped_while_it_waits_for_room_accepts_nothing_and_holds_nobody_up() {
    for polls in 0..6 {
        let model = Model::new(1);
        let producer = model.producer(&[("buffer.memory", "65536")]);
        let large = "x".repeat(60_000);
        drop(producer.enqueue(to(0, &large)).await.unwrap());
        let waited = {
            let other = producer.clone();
            let behind = tokio::spawn(async move { other.send(to(0, "behind")).await });
            let waited = poll_at_most(polls, producer.enqueue(to(0, &large))).await;
            behind.await.unwrap().unwrap();
            waited.is_some()
        };
        producer.flush().await.unwrap();
        let large_copies = copies(&model)[&large];
        assert_eq!(large_copies, 1 + usize::from(waited), "{polls} polls");
        assert_eq!(producer.buffered_bytes(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_flush_and_a_close_that_are_dropped_lose_nothing() {
    for polls in 0..6 {
        let model = Model::new(2);
        let producer = model.producer(&[("linger.ms", "20")]);
        for number in 0..10 {
            drop(producer.enqueue(to(number % 2, &number.to_string())).await.unwrap());
        }
        poll_at_most(polls, producer.flush()).await;
        let other = producer.clone();
        poll_at_most(polls, producer.close()).await;
        other.flush().await.unwrap();
        assert_eq!(copies(&model).len(), 10, "{polls} polls");
    }
}
