//! Room in the buffer, futures that are dropped, many hands on one producer.

use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use orderflow::ErrorCode;
use orderflow::broker::{Rule, Verdict};
use orderflow::producer::InventoryProducer;
use orderflow::wire::message::ApiKey;
use tokio::time::Instant;

use crate::log::{Told, all_written, judge, read};
use crate::shop::{SMALL, TOPIC, broker, enqueue, enqueue_all, order, producer, send, told};

const PRODUCE: ApiKey = ApiKey::Produce;
const SMALL_BUFFER: (&str, &str) = ("buffer.memory", "65536");

#[tokio::test(start_paused = true)]
async fn enqueue_waits_while_the_buffer_is_full_and_goes_on_when_it_drains() {
    let broker = broker(1, 1).await;
    let producer = producer(&broker, &[SMALL, SMALL_BUFFER]).await;
    let held = broker.install(Rule::on(PRODUCE).times(1).then(Verdict::Delay(Duration::from_secs(20))));
    let begun = Instant::now();
    let mut sent = Vec::new();
    let mut waited_at = None;
    for n in 0..1000 {
        sent.push(enqueue(&producer, n, "p0").await);
        assert!(producer.buffered_bytes() <= 65_536);
        if waited_at.is_none() && begun.elapsed() >= Duration::from_secs(20) {
            waited_at = Some(n);
        }
    }
    // An order takes some 260 bytes, so the buffer holds about 250.
    assert!(waited_at.is_some_and(|n| (150..300).contains(&n)), "{waited_at:?}");
    assert_eq!(held.applied(), 1);
    all_written(&broker, TOPIC, &told(sent).await, "a full buffer");
    assert_eq!(producer.buffered_bytes(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_order_for_which_no_room_came_in_time_is_not_written() {
    let broker = broker(1, 1).await;
    let producer = producer(&broker, &[SMALL, SMALL_BUFFER, ("max.block.ms", "5000")]).await;
    let held = broker.install(Rule::on(PRODUCE).times(1).then(Verdict::Delay(Duration::from_secs(20))));
    let mut sent = Vec::new();
    let mut n = 0;
    let error = loop {
        match producer.enqueue(&order(n, "p0")).await {
            Ok(pending) => sent.push(pending),
            Err(error) => break error,
        }
        n += 1;
    };
    assert_eq!((error.code(), error.possibly_written()), (ErrorCode::Timeout, false), "{error}");
    for pending in sent {
        pending.await.unwrap();
    }
    drop(held);
    producer.send(&order(n + 1, "p0")).await.unwrap();
    let log = read(&broker, TOPIC).remove(0);
    assert_eq!(log.len(), n + 1);
    assert!(log.iter().all(|record| record.order_id != order(n, "p0").order_id()));
}

/// Polls `future` at most `polls` times, letting the other tasks run in between, then drops it.
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

#[tokio::test]
async fn a_send_that_is_dropped_at_any_poll_is_there_at_most_once_and_harms_no_other() {
    for polls in 0..16 {
        let broker = broker(1, 1).await;
        let producer = producer(&broker, &[]).await;
        let _cut = broker.install(Rule::on(PRODUCE).times(1).then(Verdict::CutAfter));
        let dropped = order(0, "p0");
        let sent = poll_at_most(polls, producer.send(&dropped)).await;
        let next = send(&producer, 1).await;
        producer.flush().await.unwrap();
        assert_eq!(producer.buffered_bytes(), 0, "{polls} polls");
        let log: Vec<_> = read(&broker, TOPIC).remove(0).into_iter().map(|record| record.order_id).collect();
        let expected = if polls > 0 { vec![dropped.order_id(), &next.order_id] } else { vec![&*next.order_id] };
        assert_eq!(log, expected, "{polls} polls: {sent:?}");
    }
}

#[tokio::test]
async fn an_enqueue_that_is_dropped_while_it_waits_for_room_leaves_neither_order_nor_bytes() {
    for polls in 1..8 {
        let broker = broker(1, 1).await;
        let producer = producer(&broker, &[SMALL, SMALL_BUFFER, ("linger.ms", "60000")]).await;
        let rule = broker.install(Rule::on(PRODUCE).then(Verdict::Delay(Duration::from_millis(20))));
        let mut sent = Vec::new();
        let mut n = 0;
        loop {
            let order = order(n, "p0");
            match poll_at_most(polls, producer.enqueue(&order)).await {
                Some(pending) => sent.push((n, pending.unwrap())),
                None => break,
            }
            n += 1;
        }
        drop(rule);
        let last = enqueue(&producer, n + 1, "p0").await;
        producer.flush().await.unwrap();
        let last = told(vec![last]).await;
        assert!(last[0].result.is_ok(), "{polls} polls: {last:?}");
        assert_eq!(producer.buffered_bytes(), 0, "{polls} polls");
        let log = read(&broker, TOPIC).remove(0);
        assert_eq!(log.len(), n + 1, "{polls} polls: all but the dropped one");
        assert!(log.iter().all(|record| record.order_id != order(n, "p0").order_id()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn clones_in_many_tasks_keep_the_order_of_each_key() {
    const TASKS: usize = 16;
    const ORDERS: usize = 200;
    let broker = broker(2, 6).await;
    let producer = producer(&broker, &[SMALL, SMALL_BUFFER]).await;
    let _faults = [
        broker.install(Rule::on(PRODUCE).skip(5).times(2).then(Verdict::CutAfter)),
        broker.install(Rule::on(PRODUCE).skip(20).times(2).then(Verdict::Cut)),
    ];
    let tasks: Vec<_> = (0..TASKS).map(|task| tokio::spawn(publish(producer.clone(), task, ORDERS))).collect();
    let mut told: Vec<Told> = Vec::new();
    for task in tasks {
        told.extend(task.await.unwrap());
    }
    let failed = told.iter().find(|order| order.result.is_err());
    assert!(failed.is_none(), "{failed:?}");
    let log = read(&broker, TOPIC);
    assert_eq!(log.iter().map(Vec::len).sum::<usize>(), TASKS * ORDERS);
    for task in 0..TASKS {
        let key = format!("key {task}");
        let ids: Vec<_> = log.iter().flatten().filter(|record| record.key == key).map(|r| &r.order_id).collect();
        assert_eq!(ids.len(), ORDERS, "{key}");
        assert!(ids.is_sorted_by(|one, next| one < next), "{key}: {ids:?}");
    }
    for order in &told {
        let receipt = order.result.as_ref().unwrap();
        let at = &log[receipt.partition as usize][receipt.offset.unwrap() as usize];
        assert_eq!((&at.key, &at.order_id), (&order.key, &order.order_id));
    }
}

async fn publish(producer: InventoryProducer, task: usize, orders: usize) -> Vec<Told> {
    let mut sent = Vec::new();
    for n in 0..orders {
        sent.push(enqueue(&producer, task * orders + n, &format!("key {task}")).await);
    }
    told(sent).await
}

#[tokio::test]
async fn the_last_clone_to_go_ends_the_others_orders_with_a_word() {
    let broker = broker(1, 1).await;
    let producer = producer(&broker, &[SMALL]).await;
    let _silent = broker.install(Rule::on(PRODUCE).then(Verdict::Silence));
    let clone = producer.clone();
    let sent = enqueue_all(&producer, 0..20).await;
    drop(producer);
    let more = enqueue_all(&clone, 20..30).await;
    drop(clone);
    let mut all = told(sent).await;
    all.extend(told(more).await);
    assert!(all.iter().all(|order| order.error().code() == ErrorCode::Closed), "{all:?}");
    judge(&broker, TOPIC, &all, "all handles are dropped");
}
