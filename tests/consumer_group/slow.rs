//! A handler that takes longer than `max.poll.interval.ms`.

use std::time::Duration;

use orderflow::consumer::{Delivered, Failure, InventoryConsumer, Outcome};
use orderflow::order::InventoryOrder;

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

/// A handler for which order 2 takes three times as long as it may.
async fn crawl(handed: &Handed, name: &'static str, order: &Delivered<InventoryOrder>) -> Result<Outcome, Failure> {
    let id = order.value().order_id().to_owned();
    let is_slow = id == "2";
    handed.lock().unwrap().push((name, id, order.attempt()));
    if is_slow {
        tokio::time::sleep(Duration::from_secs(30)).await;
    }
    Ok(Outcome::Done)
}

#[tokio::test(start_paused = true)]
async fn an_order_that_is_too_slow_for_every_member_is_set_aside_and_not_passed_round() {
    for protocol in PROTOCOLS {
        let broker = broker(1).await;
        let handed = Handed::default();
        let settings = [
            ("group.protocol", protocol),
            ("heartbeat.interval.ms", "500"),
            ("max.poll.interval.ms", "10000"),
            ("handler.retry.attempts", "2"),
        ];
        let mut members = Vec::new();
        for name in ["first", "second"] {
            let config = settings.iter().fold(config(&broker), |config, (key, value)| config.set(key, *value).unwrap());
            let handed = handed.clone();
            let handler = move |order: Delivered<InventoryOrder>| {
                let handed = handed.clone();
                async move { crawl(&handed, name, &order).await }
            };
            let consumer = InventoryConsumer::builder(&config).group(GROUP).handler(handler).build().await.unwrap();
            members.push((consumer.control(), tokio::spawn(consumer.run(std::future::pending()))));
        }
        until_joined(&broker, 2).await;
        tokio::time::sleep(Duration::from_secs(10)).await;
        write(&broker, 0, &entries(0..5));
        let set_aside = async || {
            let letters = broker.offsets("inventory_orders-dlt", 0).is_ok_and(|offsets| offsets.end == 1);
            (letters && broker.committed(GROUP, TOPIC, 0) == Some(5)).then_some(())
        };
        until_async("the order is set aside, and those behind it are dealt with", 10 * SOON, set_aside).await;
        tokio::time::sleep(Duration::from_secs(120)).await;
        let slow: Vec<_> = handed.lock().unwrap().iter().filter(|one| one.1 == "2").map(|one| (one.0, one.2)).collect();
        assert_eq!(slow.iter().map(|one| one.1).collect::<Vec<_>>(), [1, 2], "{protocol}: {slow:?}");
        assert_ne!(slow[0].0, slow[1].0, "{protocol}: each member has tried it once");
        for (control, run) in members {
            control.drain();
            drop(tokio::time::timeout(SOON, run).await.expect("it ends"));
        }
        broker.shutdown().await;
    }
}
