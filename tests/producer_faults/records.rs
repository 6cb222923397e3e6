//! Orders that the broker minds, or that are too large: each fails alone.

use orderflow::ErrorCode;
use orderflow::broker::{DevBroker, Rule, Verdict};
use orderflow::order::{Customer, DeliveryAddress, DeliveryOrder};
use orderflow::producer::{DeliveryProducer, OutgoingRecord, RecordProducer};
use orderflow::wire::kafka_error::KafkaError;
use orderflow::wire::message::ApiKey;

use crate::log::{Told, judge};
use crate::shop::{SMALL, TOPIC, accept, broker, config, enqueue_all, producer, told};

const DELIVERIES: &str = "delivery_orders";

/// Delivery order number `n`; a large one takes about 4,000 bytes.
fn delivery(n: usize, is_large: bool) -> DeliveryOrder {
    let text = "x".repeat(if is_large { 1000 } else { 10 });
    let customer = Customer::default().with_name(&text).unwrap().with_email(&text).unwrap();
    let address = DeliveryAddress::default().with_line1(&text).unwrap().with_city(&text).unwrap();
    let order = DeliveryOrder::new(&format!("{n:05}"), "02758", 1, "5/30/2023").unwrap();
    order.with_customer(customer).with_delivery_address(address)
}

async fn deliver(producer: &DeliveryProducer, count: usize, is_large: impl Fn(usize) -> bool) -> Vec<Told> {
    let mut sent = Vec::new();
    for n in 0..count {
        let order = delivery(n, is_large(n));
        sent.push(accept(producer, &order, order.order_id()).await);
    }
    told(sent).await
}

fn failed(told: &[Told]) -> Vec<usize> {
    (0..).zip(told).filter(|(_, order)| order.result.is_err()).map(|(n, _)| n).collect()
}

#[tokio::test]
async fn orders_that_the_topic_finds_too_large_fail_alone_and_are_not_in_the_log() {
    for large in [vec![7], vec![0, 1, 39], vec![20, 22, 24]] {
        let broker = DevBroker::builder().start().await.unwrap();
        broker.create_topic(DELIVERIES, 1, &[("max.message.bytes", "3000")]).unwrap();
        let producer = DeliveryProducer::connect(&config(&broker, &[("linger.ms", "5")])).await.unwrap();
        let told = deliver(&producer, 40, |n| large.contains(&n)).await;
        assert_eq!(failed(&told), large);
        for n in &large {
            let error = told[*n].error();
            assert_eq!((error.code(), error.possibly_written()), (ErrorCode::TooLarge, false), "{error}");
        }
        judge(&broker, DELIVERIES, &told, &format!("{large:?} are too large"));
        assert_eq!(producer.buffered_bytes(), 0);
    }
}

#[tokio::test]
async fn an_order_larger_than_a_request_may_be_is_refused_before_it_is_sent() {
    let broker = DevBroker::builder().topic(DELIVERIES, 1).start().await.unwrap();
    let sent = broker.install(Rule::on(ApiKey::Produce).then(Verdict::Pass));
    let producer = DeliveryProducer::connect(&config(&broker, &[("max.request.size", "2000")])).await.unwrap();
    let error = producer.enqueue(&delivery(0, true)).await.unwrap_err();
    assert_eq!((error.code(), error.possibly_written()), (ErrorCode::TooLarge, false));
    assert_eq!((sent.applied(), producer.buffered_bytes()), (0, 0));
    let told = deliver(&producer, 20, |_| false).await;
    assert_eq!(failed(&told), [0; 0]);
    judge(&broker, DELIVERIES, &told, "the others");
}

/// The broker names no culprit, so it is found by halves.
#[tokio::test]
async fn a_record_whose_time_the_broker_minds_fails_alone() {
    let broker = DevBroker::builder().topic("events", 1).start().await.unwrap();
    let producer = RecordProducer::connect(&config(&broker, &[("linger.ms", "5")]), "events").await.unwrap();
    let far_ahead = |n: usize| matches!(n, 0 | 13 | 14 | 49).then_some(32_503_680_000_000);
    let mut sent = Vec::new();
    for n in 0..50 {
        let value = format!("{n:03}");
        let record = OutgoingRecord { value: Some(value.as_bytes()), timestamp: far_ahead(n), ..Default::default() };
        sent.push(producer.enqueue(record).await.unwrap());
    }
    let mut next = 0;
    for (n, pending) in sent.into_iter().enumerate() {
        match pending.await {
            Ok(receipt) => {
                assert_eq!((receipt.offset, far_ahead(n)), (Some(next), None), "{n}");
                next += 1;
            }
            Err(error) => {
                assert!(far_ahead(n).is_some(), "{n}: {error}");
                assert_eq!((error.code(), error.possibly_written()), (ErrorCode::Refused, false), "{n}: {error}");
            }
        }
    }
    assert_eq!(broker.offsets("events", 0).unwrap(), 0..46);
}

#[tokio::test]
async fn a_batch_that_is_refused_for_good_takes_no_other_batch_with_it() {
    let broker = broker(1, 1).await;
    let producer = producer(&broker, &[SMALL]).await;
    let verdict = Verdict::Error(KafkaError::TopicAuthorizationFailed);
    let rule = broker.install(Rule::on(ApiKey::Produce).skip(4).times(1).then(verdict));
    let told = told(enqueue_all(&producer, 0..60).await).await;
    assert_eq!(rule.applied(), 1);
    let failed = failed(&told);
    assert!((1..=5).contains(&failed.len()), "{failed:?}");
    for n in failed {
        let error = told[n].error();
        assert_eq!((error.code(), error.possibly_written()), (ErrorCode::Denied, false), "{error}");
    }
    judge(&broker, TOPIC, &told, "one batch is denied");
}

/// An error that may come after the append, and that another try does not mend.
#[tokio::test]
async fn a_batch_that_is_refused_after_its_append_says_that_it_may_be_written() {
    let broker = broker(1, 1).await;
    let producer = producer(&broker, &[SMALL]).await;
    let verdict = Verdict::ErrorAfter(KafkaError::UnknownServerError);
    let _rule = broker.install(Rule::on(ApiKey::Produce).skip(4).times(3).then(verdict));
    let told = told(enqueue_all(&producer, 0..60).await).await;
    judge(&broker, TOPIC, &told, "unknown server errors");
    for n in failed(&told) {
        assert!(told[n].error().possibly_written(), "{n}: {}", told[n].error());
    }
    assert!(told.last().unwrap().result.is_ok());
}
