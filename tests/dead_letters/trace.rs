//! The trace context of an order goes with it: to its handler, each of its tries, and its dead letter.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use orderflow::consumer::{Concurrency, Delivered, Failure, InventoryConsumer, Outcome};
use orderflow::order::InventoryOrder;
use orderflow::producer::{OutgoingRecord, RecordProducer};
use orderflow::wire::record_batch::Header;

use crate::consumer_support::{SOON, TOPIC, broker, config};
use crate::log::read;

const TRACEPARENT: &str = "traceparent";

/// As W3C Trace Context has it.
fn context(number: u64) -> String {
    format!("00-{:032x}-{:016x}-01", number + 1, number + 7)
}

/// What a handler was given: number, attempt, trace context.
type Given = BTreeSet<(u64, u32, String)>;

/// Rejects number 4, and never gets number 6 done.
fn handle(order: &Delivered<InventoryOrder>, given: &Mutex<Given>) -> Result<Outcome, Failure> {
    let number = order.value().order_id().parse().unwrap();
    let context = String::from_utf8(order.header(TRACEPARENT).unwrap().to_vec()).unwrap();
    given.lock().unwrap().insert((number, order.attempt(), context));
    match number {
        4 => Ok(Outcome::Reject("not ours".into())),
        6 => Err(Failure::retriable("the carrier is away")),
        _ => Ok(Outcome::Done),
    }
}

#[tokio::test]
async fn the_trace_context_of_each_order_of_a_batch_reaches_its_handler_every_try_and_its_dead_letter() {
    let broker = broker(1).await;
    let producer = RecordProducer::connect(&config(&broker).set("linger.ms", "50").unwrap(), TOPIC).await.unwrap();
    let mut pending = Vec::new();
    for number in 0..8_u64 {
        let value = format!(
            r#"{{"order_id":"{number}","product_id":"p","quantity":1,"type":"inventory","timestamp":"5/30/2023"}}"#
        );
        let context = context(number);
        let headers = [Header { key: TRACEPARENT.as_bytes(), value: Some(context.as_bytes()) }];
        let record =
            OutgoingRecord { key: Some(b"p"), value: Some(value.as_bytes()), headers: &headers, ..Default::default() };
        pending.push(producer.enqueue(record).await.unwrap());
    }
    futures::future::try_join_all(pending).await.unwrap();
    producer.close().await.unwrap();
    assert_eq!(broker.batches(TOPIC, 0).unwrap().len(), 1, "all are in one batch");

    let given = Arc::new(Mutex::new(Given::new()));
    let seen = given.clone();
    let handler = move |order: Delivered<InventoryOrder>| {
        let handled = handle(&order, &seen);
        async move { handled }
    };
    let settings = config(&broker).set("handler.retry.attempts", "3").unwrap();
    let builder = InventoryConsumer::builder(&settings).group("traced").handler(handler);
    let consumer = builder.concurrency(Concurrency::PerKey(4)).until_end().build().await.unwrap();
    let run = consumer.run(std::future::pending());
    let summary = tokio::time::timeout(SOON, run).await.expect("the run ends").unwrap();
    assert_eq!((summary.applied, summary.dead_letters), (6, 2));

    let once = (0..8).map(|number| (number, 1, context(number)));
    let again = [2, 3].map(|attempt| (6, attempt, context(6)));
    assert_eq!(*given.lock().unwrap(), once.chain(again).collect());
    let letters = read(&broker, &format!("{TOPIC}-dlt"), 0);
    let contexts: BTreeSet<_> = letters.iter().map(|letter| letter.header(TRACEPARENT).unwrap()).collect();
    assert_eq!(contexts, [context(4), context(6)].into());
    broker.shutdown().await;
}
