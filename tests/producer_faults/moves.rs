//! Leaders that move, nodes that go away, connections that end.

use std::time::Duration;

use orderflow::broker::{Rule, Verdict};
use orderflow::wire::kafka_error::KafkaError;
use orderflow::wire::message::ApiKey;

use crate::log::{all_written, stamps};
use crate::shop::{SMALL, TOPIC, broker, enqueue_all, producer, send, told};

const PRODUCE: ApiKey = ApiKey::Produce;

#[tokio::test(start_paused = true)]
async fn a_leader_that_moves_with_five_requests_in_flight_leaves_each_order_written_once_in_order() {
    for applied_first in [true, false] {
        let broker = broker(2, 1).await;
        broker.move_leader(TOPIC, 0, 1).unwrap();
        let producer = producer(&broker, &[SMALL]).await;
        let mut all = vec![send(&producer, 0).await];
        let wait = Duration::from_millis(500);
        let verdict = if applied_first { Verdict::DelayAnswer(wait) } else { Verdict::Delay(wait) };
        // The first of five holds up the others on their connection.
        let held = broker.install(Rule::on(PRODUCE).node(1).times(1).then(verdict));
        let sent = enqueue_all(&producer, 1..60).await;
        held.fallen(1).await;
        broker.move_leader(TOPIC, 0, 2).unwrap();
        all.extend(told(sent).await);
        all_written(&broker, TOPIC, &all, &format!("moved behind the first append: {applied_first}"));
    }
}

/// A new leader that does not know the producer would take the later batches without the earlier ones.
#[tokio::test(start_paused = true)]
async fn a_new_leader_gets_nothing_until_the_old_one_has_answered_or_gone() {
    let broker = broker(2, 1).await;
    broker.move_leader(TOPIC, 0, 1).unwrap();
    let producer = producer(&broker, &[SMALL, ("metadata.max.age.ms", "100")]).await;
    let mut all = vec![send(&producer, 0).await];
    let held = broker.install(Rule::on(PRODUCE).node(1).times(1).then(Verdict::Delay(Duration::from_secs(5))));
    let at_new = broker.install(Rule::on(PRODUCE).node(2).then(Verdict::Pass));
    let sent = enqueue_all(&producer, 1..60).await;
    held.fallen(1).await;
    broker.move_leader(TOPIC, 0, 2).unwrap();
    let told_of_move = broker.install(Rule::on(ApiKey::Metadata).then(Verdict::Pass));
    told_of_move.fallen(3).await;
    assert_eq!(at_new.applied(), 0, "the old leader has not answered yet");
    all.extend(told(sent).await);
    assert!(at_new.applied() > 0);
    all_written(&broker, TOPIC, &all, "the new leader was known before the old one answered");
}

#[tokio::test]
async fn a_leader_that_moves_again_and_again_changes_nothing() {
    let broker = broker(3, 3).await;
    let producer = producer(&broker, &[SMALL]).await;
    let mut sent = Vec::new();
    for round in 0..30 {
        sent.extend(enqueue_all(&producer, round * 20..round * 20 + 20).await);
        broker.move_leader(TOPIC, round as i32 % 3, round as i32 % 2 + 1 + round as i32 % 2).unwrap();
        tokio::task::yield_now().await;
    }
    all_written(&broker, TOPIC, &told(sent).await, "thirty moves");
}

#[tokio::test]
async fn an_error_that_passes_hits_whichever_request_and_nothing_is_lost_doubled_or_reordered() {
    let errors = [
        KafkaError::NotLeaderOrFollower,
        KafkaError::NotEnoughReplicas,
        KafkaError::NotEnoughReplicasAfterAppend,
        KafkaError::RequestTimedOut,
        KafkaError::KafkaStorageError,
        KafkaError::Unknown(9999),
    ];
    for error in errors {
        for verdict in [Verdict::Error(error), Verdict::ErrorAfter(error)] {
            let broker = broker(1, 1).await;
            let producer = producer(&broker, &[SMALL]).await;
            let rules: Vec<_> =
                [1, 4, 6, 13].map(|skip| broker.install(Rule::on(PRODUCE).skip(skip).times(1).then(verdict))).into();
            let told = told(enqueue_all(&producer, 0..100).await).await;
            assert!(rules.iter().any(|rule| rule.applied() > 0), "{verdict:?}");
            all_written(&broker, TOPIC, &told, &format!("{verdict:?}"));
        }
    }
}

#[tokio::test]
async fn a_connection_that_is_cut_in_the_middle_leaves_each_order_written_once() {
    for hit in 0..10 {
        let broker = broker(1, 2).await;
        let producer = producer(&broker, &[SMALL]).await;
        let rule = broker.install(Rule::on(PRODUCE).skip(hit).times(2).then(Verdict::Cut));
        let told = told(enqueue_all(&producer, 0..100).await).await;
        assert_eq!(rule.applied(), 2, "request {hit}");
        all_written(&broker, TOPIC, &told, &format!("cut at request {hit}"));
    }
}

#[tokio::test]
async fn a_node_that_restarts_takes_the_orders_that_came_meanwhile() {
    for nodes in [1, 3] {
        let broker = broker(nodes, 3).await;
        let producer = producer(&broker, &[SMALL]).await;
        let mut sent = enqueue_all(&producer, 0..100).await;
        broker.stop(1).await.unwrap();
        sent.extend(enqueue_all(&producer, 100..200).await);
        broker.resume(1).await.unwrap();
        sent.extend(enqueue_all(&producer, 200..300).await);
        all_written(&broker, TOPIC, &told(sent).await, &format!("{nodes} nodes"));
    }
}

/// A lone node that comes back elsewhere cannot be found again, so there are two.
#[tokio::test]
async fn a_node_that_comes_back_on_another_port_is_found_there() {
    let broker = broker(2, 4).await;
    let producer = producer(&broker, &[SMALL]).await;
    let mut sent = enqueue_all(&producer, 0..100).await;
    broker.change_port(1).await.unwrap();
    (0..4).for_each(|partition| broker.move_leader(TOPIC, partition, 1).unwrap());
    sent.extend(enqueue_all(&producer, 100..200).await);
    all_written(&broker, TOPIC, &told(sent).await, "another port");
}

#[tokio::test(start_paused = true)]
async fn a_throttled_answer_is_a_success_and_no_order_is_sent_again() {
    let broker = broker(1, 1).await;
    let producer = producer(&broker, &[SMALL]).await;
    let throttle = broker.install(Rule::on(PRODUCE).then(Verdict::Throttle(Duration::from_secs(7))));
    let told = told(enqueue_all(&producer, 0..40).await).await;
    all_written(&broker, TOPIC, &told, "every answer is throttled");
    let batches = stamps(&broker, TOPIC, 0).len() as u64;
    assert_eq!(throttle.applied(), batches, "each batch was sent once");
}
