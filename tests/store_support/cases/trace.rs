//! Telling an order's life on any store.

use std::time::Duration;

use orderflow::order::{DeliveryOrder, DeliveryUpdate, Status};
use orderflow::place::TopicId;
use orderflow::store::{
    ALL_SHARDS, Batch, DeadLetter, DeliveryMoves, DeliveryPolicy, Entry, EventId, Operation, Original, Part, Position,
    Query, Rehearsal, Row, Settled, Step, StepRow, Store, StoreReader, Topic, Work,
};
use serde_json::{Value, json};

use super::super::{Home, batch, entry, movement, numbered, part, topic};
use super::events::{all_of, everything};

async fn trace(reader: &StoreReader, order: &str) -> Vec<StepRow> {
    let rows = reader.ask(Query::Trace { order: order.to_owned() }).rows().await.unwrap();
    rows.into_iter().map(|row| if let Row::Step(step) = row { step } else { panic!("{row:?}") }).collect()
}

fn kinds(steps: &[StepRow]) -> Vec<Step> {
    steps.iter().map(|step| step.step).collect()
}

fn of(steps: &[StepRow], kind: Step) -> Vec<&StepRow> {
    steps.iter().filter(|step| step.step == kind).collect()
}

fn place(step: &StepRow) -> (Option<&str>, Option<i32>, Option<i64>) {
    (step.topic.as_deref(), step.partition, step.offset)
}

fn says(step: &StepRow) -> &str {
    step.detail["says"].as_str().unwrap()
}

fn set_aside<O>(value: &str) -> Work<O> {
    let original = Original { key: None, value: Some(value.as_bytes().to_vec().into()), headers: Vec::new() };
    let reason = "no such day".to_owned();
    Work::DeadLetter(DeadLetter { code: "ORD-DATE-INVALID".into(), reason, attempts: 3, original })
}

pub async fn an_order_is_told_with_all_that_was_applied_and_what_was_set_aside<H: Home>() {
    let home = H::new().await;
    let store = home.open().await;
    let entries = vec![
        entry(0, numbered(1, 0), movement("02758", 35)),
        entry(1, None, movement("9", 4)),
        entry(2, numbered(1, 3), movement("9", -5)),
        entry(3, numbered(1, 4), set_aside(r#"{"order_id": "97537", "timestamp": "2/30/2023"}"#)),
        entry(4, numbered(1, 5), set_aside(r#"{"order_id": "97537", "quan"#)),
        entry(5, numbered(1, 6), set_aside(r#"{"order_id": "975370", "timestamp": "2/30/2023"}"#)),
    ];
    let at = store.apply(batch(part(0, &Position::default(), entries))).await.unwrap().parts[0].position.clone();
    let file = vec![entry(7, numbered(2, 7), movement("02758", -5))];
    store.apply(batch(part(-1, &Position::default(), file))).await.unwrap();
    let reader = home.reader(&store).await;
    let steps = trace(&reader, "97537").await;
    let mut told = kinds(&steps);
    told.sort_by_key(|kind| format!("{kind:?}"));
    let aside = [Step::DeadLetter, Step::DeadLetter, Step::Refused];
    assert_eq!(told, [&[Step::Announced; 3][..], &[Step::Applied; 3], &aside].concat(), "{steps:#?}");

    let applied = of(&steps, Step::Applied);
    assert_eq!(place(applied[0]), (Some("inventory_orders"), Some(0), Some(0)));
    assert_eq!(applied[0].at.as_deref(), Some("2023-11-14T22:13:20.000Z"));
    assert_eq!(says(applied[0]), "35 of product 02758 came into stock, from inventory_orders/0 at offset 0");
    assert_eq!(applied[0].detail["idempotency_key"], numbered(1, 0).unwrap().to_string());
    assert_eq!((place(applied[2]), &applied[2].detail["quantity"]), ((None, None, None), &json!(-5)));
    assert_eq!(says(applied[2]), "5 of product 02758 went out of stock, from an order file, entry 7");

    let refused = of(&steps, Step::Refused)[0];
    assert!(says(refused).contains("STK-INSUFFICIENT: 5 pieces are asked for and 4 are in stock"), "{refused:?}");
    let id = EventId::of(numbered(1, 3).as_ref(), &topic(), 0, 2);
    assert_eq!(refused.detail["replay"], format!("orders dlq replay {id} --store W"));
    assert!(refused.detail["next"].as_str().unwrap().starts_with("once it can be done: orders dlq replay"));
    let announced = steps.iter().find(|step| step.topic.as_deref() == Some("order_refusals")).unwrap();
    assert_eq!((&announced.detail["waits"], announced.step), (&json!(true), Step::Announced));
    let dead = of(&steps, Step::DeadLetter);
    assert!(dead.iter().all(|step| step.detail["attempts"] == 3 && says(step).contains("after 3 tries")), "{dead:?}");
    let next = dead[0].detail["next"].as_str().unwrap();
    assert!(next.starts_with(&format!("mend it: orders dlq fix {}", dead[0].detail["id"].as_str().unwrap())), "{next}");

    // What is replayed is told behind its failure, and its event waits no more.
    let more = vec![entry(6, None, movement("9", 9))];
    store.apply(batch(part(0, &at, more))).await.unwrap();
    let office = store.back_office().unwrap();
    office.operate(Operation::Replay { ids: vec![id], rehearsal: Rehearsal::Real }).await.unwrap();
    let steps = trace(&reader, "97537").await;
    let refused = steps.iter().position(|step| step.step == Step::Refused).unwrap();
    assert_eq!((&steps[refused].detail["state"], &steps[refused].detail["next"]), (&json!("replayed"), &Value::Null));
    assert!(says(&steps[refused]).ends_with("; it was replayed, and applied"), "{:?}", steps[refused]);
    assert_eq!(steps[refused + 1].step, Step::Applied, "{steps:#?}");
    assert_eq!(says(&steps[refused + 1]), "5 of product 9 went out of stock, when its dead letter was replayed");
    assert_eq!(steps[refused + 1].at, None);
    for unknown in ["97536", "9753", "975370000", "'", ""] {
        assert!(trace(&reader, unknown).await.is_empty(), "{unknown}");
    }
    store.close().await.unwrap();
}

fn updates() -> Topic {
    Topic::new(TopicId::new([8; 16]), "delivery_updates")
}

fn some<O>(topic: Topic, entries: Vec<Entry<O>>) -> Batch<O> {
    let (next, settled) = (entries.len() as i64, Settled::new());
    Batch { topic, parts: vec![Part { partition: 0, expected: 0, token: 77, next, settled, leader_epoch: 0, entries }] }
}

fn written<O>(offset: i64, index: u64, order: O) -> Entry<O> {
    Entry { offset, timestamp: 1_795_132_800_000, identity: numbered(3, index), work: Work::Apply(order) }
}

pub async fn a_deliverys_whole_life_is_told_and_who_was_told_of_it<H: Home>() {
    let home = H::new().await;
    let store = home.open_deliveries(DeliveryPolicy::default()).await;
    let order = |index: u64, order: &str| {
        let order = DeliveryOrder::new(order, &format!("p{index}"), 4, "10/14/2023").unwrap();
        written(index as i64, index, order)
    };
    let orders = vec![order(0, "8"), order(1, "9"), order(2, "9"), order(3, "99")];
    store.apply(some(topic(), orders)).await.unwrap();
    let id = |index: u64| EventId::of(numbered(3, index).as_ref(), &topic(), 0, 0);
    let office = store.back_office().unwrap();
    let update =
        |status, time| DeliveryUpdate::new(&id(1).to_string(), status, time).unwrap().with_reason("van 7").unwrap();
    let told = vec![
        written(0, 70, update(Status::OutForDelivery, "2026-11-24T08:00:00Z")),
        written(1, 71, update(Status::Cancelled, "2026-11-24T09:00:00Z")),
    ];
    DeliveryMoves::new(office.moves().unwrap()).apply(some(updates(), told)).await.unwrap();
    let cancel = Operation::Move { delivery: id(2), to: Status::Cancelled, reason: None };
    office.operate(cancel).await.unwrap();

    let reader = home.delivery_reader(&store).await;
    let steps = trace(&reader, "9").await;
    let told = [Step::Announced, Step::Notified];
    let first = [&[Step::Applied, Step::Scheduled][..], &told, &[Step::Moved], &told].concat();
    let expected = [&[Step::Refused, Step::Announced][..], &first, &first, &[Step::Announced]].concat();
    assert_eq!(kinds(&steps), expected, "{steps:#?}");
    assert!(says(&steps[0]).starts_with("an update of its delivery was refused: DLV-IMPOSSIBLE"), "{:?}", steps[0]);
    let moved = of(&steps, Step::Moved);
    assert_eq!(place(moved[0]), (Some("delivery_updates"), Some(0), Some(0)));
    assert_eq!(moved[0].at.as_deref(), Some("2026-11-24T08:00:00.000Z"));
    let sentence = format!("delivery {} became out_for_delivery, as delivery_updates/0 says at offset 0: van 7", id(1));
    assert_eq!(says(moved[0]), sentence);
    let next = format!("if it has arrived: orders deliveries set {} delivered --store W", id(1));
    assert!(moved[0].detail["next"].as_str().unwrap().starts_with(&next), "{:?}", moved[0]);
    assert_eq!(
        (says(moved[1]), place(moved[1])),
        (&*format!("delivery {} became cancelled, by command", id(2)), (None, None, None))
    );
    assert_eq!(moved[1].detail["next"], Value::Null);
    let scheduled = of(&steps, Step::Scheduled);
    assert!(
        scheduled.iter().all(|step| step.detail["next"] == Value::Null && step.detail["scheduled_for"] == "2026-11-23")
    );
    let alone = trace(&reader, "8").await;
    assert!(
        alone[1].detail["next"].as_str().unwrap().starts_with("if it has left: orders deliveries set"),
        "{alone:?}"
    );

    // Everything waits until it is told, topic by topic.
    let events = |steps: &[StepRow]| -> Vec<(String, bool)> {
        let told = steps.iter().filter(|step| step.detail.get("waits").is_some());
        told.map(|step| (step.topic.clone().unwrap(), step.detail["waits"].as_bool().unwrap())).collect()
    };
    assert!(events(&steps).iter().all(|(_, waits)| *waits), "{steps:#?}");
    assert_eq!(steps.last().unwrap().detail["idempotency_key"], format!("{}:return", id(2)));
    let leases = office.lease(1, Duration::from_secs(60), true).await.unwrap();
    let waiting = everything(&*office, ALL_SHARDS).await;
    let status = waiting.iter().flat_map(all_of).filter(|done| done.part == 0).collect();
    office.published(status, leases.clone()).await.unwrap();
    let half = events(&trace(&reader, "9").await);
    assert!(half.iter().all(|(topic, waits)| *waits == (topic == "customer_notifications")), "{half:?}");
    let rest = everything(&*office, ALL_SHARDS).await.iter().flat_map(all_of).collect();
    office.published(rest, leases).await.unwrap();
    assert!(events(&trace(&reader, "9").await).iter().all(|(_, waits)| !waits));
    let outbox = reader.ask(Query::Outbox).rows().await.unwrap();
    assert_eq!(outbox.iter().map(Row::to_object).collect::<Vec<_>>(), [json!({"rows": 0, "oldest": null})]);
    store.close().await.unwrap();
}
