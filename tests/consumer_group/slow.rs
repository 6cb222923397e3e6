//! A handler that takes longer than `max.poll.interval.ms`.

use crate::consumer_support::*;
use crate::member::*;
use crate::support::wait::until_async;

#[tokio::test]
async fn a_member_whose_handler_is_too_slow_leaves_says_which_order_it_is_and_comes_back() {
    for protocol in PROTOCOLS {
        let broker = broker(1).await;
        let handed = Handed::default();
        let gate = Gate::new("first", "2");
        write(&broker, 0, &entries(0..5));
        let settings = [("group.protocol", protocol), ("max.poll.interval.ms", "400")];
        let first = Member::start(&broker, "first", &handed, Some(&gate), &settings).await;
        handed_out(&handed, 3).await;
        until_async("the group is left", SOON, async || members(&broker).await.is_empty().then_some(())).await;
        let health = first.control.health().to_string();
        assert!(health.contains("offset 2 of inventory_orders/0"), "{protocol}: {health}");
        assert_eq!(broker.committed(GROUP, TOPIC, 0).unwrap_or(0), 2, "{protocol}: nothing is committed any more");

        let second = Member::start(&broker, "second", &handed, None, &settings).await;
        handed_out(&handed, 6).await;
        gate.open();
        until_joined(&broker, 2).await;
        second.stop().await;
        first.owns(1).await;
        first.stop().await;
        assert_eq!(orders(&handed), [0, 1, 2, 2, 3, 4], "{protocol}");
        broker.shutdown().await;
    }
}

#[tokio::test]
async fn leaving_because_of_an_order_counts_as_an_attempt() {
    let broker = broker(1).await;
    let handed = Handed::default();
    let gate = Gate::new("first", "2");
    write(&broker, 0, &entries(0..5));
    let first = Member::start(&broker, "first", &handed, Some(&gate), &[("max.poll.interval.ms", "300")]).await;
    handed_out(&handed, 3).await;
    until_async("the group is left", SOON, async || members(&broker).await.is_empty().then_some(())).await;
    gate.open();
    handed_out(&handed, 6).await;
    first.stop().await;
    let attempts: Vec<u32> = handed.lock().unwrap().iter().filter(|one| one.1 == "2").map(|one| one.2).collect();
    assert_eq!(attempts, [1, 2]);
    broker.shutdown().await;
}
