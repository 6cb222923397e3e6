//! What the topics have of an order.
//!
//! ```text
//!  topics of orders --order's number--> written | duplicate
//!  delivery_updates --deliveries' names--> written
//!  <topic>-dlt, order_refusals, delivery_status, customer_notifications --idempotency key--> the store's own steps, with a place
//! ```

use std::sync::Arc;

use serde_json::{Value, json};

use super::stand::{Has, Stand, place_of, stand, words};
use super::{NamedStore, Steps};
use crate::cluster::admin::find_topic;
use crate::cluster::{Cluster, TopicView};
use crate::config::{ClientConfig, properties};
use crate::order::{DeliveryOrder, IDENTITY_HEADER, Identity, InventoryOrder, Order};
use crate::outbox::{CUSTOMER_NOTIFICATIONS, DELIVERY_STATUS, REFUSALS};
use crate::scan::{Found, Scan};
use crate::store::{EventId, Step, StepRow, Topic, concerns, instant};
use crate::{ErrorCode, Result};

/// How many records are told at most.
const MOST: usize = 1_000;

/// The brokers that are asked.
pub(super) struct Log<'a> {
    cluster: Cluster,
    order: &'a str,
    updates: String,
    stands: Vec<Stand>,
    deliveries: Vec<EventId>,
    told: usize,
    is_cut: bool,
}

impl<'a> Log<'a> {
    /// Positions are asked for first: what is applied afterwards is more than they promise.
    pub(super) async fn open(config: &ClientConfig, order: &'a str, stores: &[NamedStore]) -> Result<Self> {
        let cluster = Cluster::connect(config).await?;
        let mut stands = Vec::new();
        for NamedStore { name, reader } in stores {
            stands.push(stand(name, reader).await?);
        }
        let updates = config.text(&properties::DELIVERY_UPDATES_TOPIC).to_owned();
        Ok(Self { cluster, order, updates, stands, deliveries: Vec::new(), told: 0, is_cut: false })
    }

    /// What a store has of the order.
    pub(super) fn known(&mut self, store: &str, steps: &[StepRow]) {
        let id = |step: &StepRow, field: &str| step.detail.get(field).and_then(Value::as_str)?.parse().ok();
        self.deliveries.extend(steps.iter().filter_map(|step| id(step, "delivery_id")));
        self.deliveries.sort_unstable();
        self.deliveries.dedup();
        let kept = steps.iter().filter(|step| !matches!(step.step, Step::Announced | Step::Notified));
        let has = kept.filter_map(|step| Some(Has { id: id(step, "id")?, step: step.step, place: place_of(step) }));
        if let Some(stand) = self.stands.iter_mut().find(|stand| stand.name == store) {
            stand.has = has.collect();
        }
    }

    /// Reads the topics, and adds what they have. Returns where was looked.
    pub(super) async fn read(mut self, steps: &mut Steps) -> Result<Vec<String>> {
        let read = self.read_all(steps).await;
        self.cluster.close().await;
        read
    }

    async fn read_all(&mut self, steps: &mut Steps) -> Result<Vec<String>> {
        let mut looked = Vec::new();
        let orders = self.topics_of_orders();
        for topic in &orders {
            looked.extend(self.orders(topic, steps).await?);
        }
        let has_deliveries = self.stands.iter().any(|stand| stand.keeps_deliveries);
        let mut events: Vec<String> = orders.iter().map(|topic| format!("{topic}-dlt")).collect();
        events.push(REFUSALS.to_owned());
        if has_deliveries {
            if !self.updates.is_empty() {
                looked.extend(self.updates(steps).await?);
                events.push(format!("{}-dlt", self.updates));
            }
            events.extend([DELIVERY_STATUS, CUSTOMER_NOTIFICATIONS].map(ToOwned::to_owned));
        }
        for topic in &events {
            looked.extend(self.events(topic, steps).await?);
        }
        if self.is_cut {
            let says = format!("more than {MOST} records of the topics are of the order; the others are not told");
            steps.chain([StepRow {
                order_id: self.order.to_owned(),
                step: Step::LeftOut,
                at: None,
                topic: None,
                partition: None,
                offset: None,
                detail: json!({"says": says, "next": null}),
            }]);
        }
        Ok(looked)
    }

    /// Where the stores' orders come from; a store that has read nothing yet would read its type's.
    fn topics_of_orders(&self) -> Vec<String> {
        let mut topics: Vec<String> = Vec::new();
        for stand in &self.stands {
            let read = stand.positions.iter().filter(|row| row.topic != self.updates).map(|row| row.topic.clone());
            let before = topics.len();
            topics.extend(read);
            if topics.len() == before {
                let kind = if stand.keeps_deliveries { DeliveryOrder::TYPE } else { InventoryOrder::TYPE };
                topics.push(format!("{kind}_orders"));
            }
        }
        topics.sort_unstable();
        topics.dedup();
        topics
    }

    /// A topic, and its records that are of the order. None: there is no such topic.
    async fn records(&mut self, name: &str, deliveries: &[EventId]) -> Result<Option<(Arc<TopicView>, Vec<Found>)>> {
        let topic = match find_topic(&self.cluster, name).await {
            Ok(topic) => topic,
            Err(error) if error.code() == ErrorCode::UnknownTopic => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut scan = Scan::begin(&self.cluster, Arc::clone(&topic)).await?;
        let mut found = Vec::new();
        while let Some(page) = scan.page().await? {
            let ours = page.into_iter().filter(|record| concerns(&record.original, self.order, deliveries));
            for record in ours {
                match self.told < MOST {
                    true => found.push(record),
                    false => self.is_cut = true,
                }
                self.told += 1;
            }
        }
        Ok(Some((topic, found)))
    }

    async fn orders(&mut self, name: &str, steps: &mut Steps) -> Result<Option<String>> {
        let Some((view, records)) = self.records(name, &[]).await? else { return Ok(None) };
        let topic = Topic::new(view.id, view.name.clone());
        for record in &records {
            let key = header(record, IDENTITY_HEADER);
            place_event(steps, (name, key.as_deref()), record);
            let (fate, letter) = self.fate(&topic, record).await?;
            let value: Value =
                serde_json::from_slice(record.original.value.as_deref().unwrap_or_default()).unwrap_or_default();
            let mut detail = json!({
                "says": fate.says, "next": fate.next, "idempotency_key": key, "product_id": value.get("product_id"),
                "quantity": value.get("quantity"),
            });
            if let (Some(store), Some(detail)) = (fate.store, detail.as_object_mut()) {
                detail.insert("store".to_owned(), Value::String(super::shown(store)));
            }
            let written = self.step(fate.step, (name, record), detail);
            steps.chain([written]);
            steps.chain(letter);
        }
        Ok(Some(format!("the topic {name}")))
    }

    /// What became of a record, with a letter of it that the store did not tell of.
    async fn fate(&self, topic: &Topic, record: &Found) -> Result<(Fate<'_>, Option<StepRow>)> {
        let headers = record.original.headers.iter().map(|(key, value)| (&**key, value.as_deref()));
        let identity = Identity::from_headers(headers).ok().flatten();
        let id = EventId::of(identity.as_ref(), topic, record.partition, record.offset);
        let place = (&*topic.name, record.partition, record.offset);
        let reads = |stand: &&Stand| stand.positions.iter().any(|row| row.topic == *topic.name);
        let Some(stand) = self.stands.iter().find(reads) else {
            let says = format!("written to {}; none of these stores has read the topic", words(place));
            let next = "name the store of its consumer (--store W), or start one".to_owned();
            return Ok((Fate { step: Step::Written, says, next: Some(next), store: None }, None));
        };
        let store = Some(stand.name.as_str());
        if let Some((step, says)) = stand.met(id, place) {
            return Ok((Fate { step, says, next: None, store }, None));
        }
        let letter = stand.letter(self.order, id).await?;
        let (says, next) = match &letter {
            Some(_) => (format!("written to {}", words(place)), None),
            None => stand.unmet(topic, place),
        };
        Ok((Fate { step: Step::Written, says, next, store }, letter))
    }

    async fn updates(&mut self, steps: &mut Steps) -> Result<Option<String>> {
        let (name, deliveries) = (self.updates.clone(), self.deliveries.clone());
        if deliveries.is_empty() {
            return Ok(None);
        }
        let Some((_, records)) = self.records(&name, &deliveries).await? else { return Ok(None) };
        for record in &records {
            let says =
                format!("an update of its delivery was written to {}", words((&name, record.partition, record.offset)));
            let value = String::from_utf8_lossy(record.original.value.as_deref().unwrap_or_default()).into_owned();
            let detail = json!({
                "says": says, "next": null, "idempotency_key": header(record, IDENTITY_HEADER), "value": value,
            });
            steps.chain([self.step(Step::Written, (&name, record), detail)]);
        }
        Ok(Some(format!("the topic {name}")))
    }

    /// Finds the events that the stores have told of, and those that they know nothing of any more.
    async fn events(&mut self, name: &str, steps: &mut Steps) -> Result<Option<String>> {
        // These name the order, so a record without its number need not be parsed.
        let names_order = [DELIVERY_STATUS, CUSTOMER_NOTIFICATIONS].contains(&name);
        let deliveries = if names_order { Vec::new() } else { self.deliveries.clone() };
        let Some((_, records)) = self.records(name, &deliveries).await? else { return Ok(None) };
        for record in &records {
            let key = header(record, "dead-letter-id").or_else(|| header(record, IDENTITY_HEADER));
            if place_event(steps, (name, key.as_deref()), record) {
                continue;
            }
            let says = format!("an event of the order is at {}", words((name, record.partition, record.offset)));
            let code = header(record, "dead-letter-code");
            let detail = json!({"says": says, "next": null, "idempotency_key": key, "code": code});
            let step = if name == CUSTOMER_NOTIFICATIONS { Step::Notified } else { Step::Announced };
            steps.chain([self.step(step, (name, record), detail)]);
        }
        for step in steps.iter_mut().filter(|step| step.topic.as_deref() == Some(name)) {
            not_there(step);
        }
        Ok(Some(format!("the topic {name}")))
    }

    fn step(&self, step: Step, (topic, record): (&str, &Found), detail: Value) -> StepRow {
        StepRow {
            order_id: self.order.to_owned(),
            step,
            at: Some(instant(record.timestamp)),
            topic: Some(topic.to_owned()),
            partition: Some(record.partition),
            offset: Some(record.offset),
            detail,
        }
    }
}

/// What became of a record.
struct Fate<'a> {
    step: Step,
    says: String,
    next: Option<String>,
    store: Option<&'a str>,
}

fn header(record: &Found, name: &str) -> Option<String> {
    let (_, value) = record.original.headers.iter().find(|(known, _)| known == name.as_bytes())?;
    value.as_deref().map(|value| String::from_utf8_lossy(value).into_owned())
}

/// Whether a step tells of this event. The first copy gives it its place, further ones are counted.
fn place_event(steps: &mut Steps, (topic, key): (&str, Option<&str>), record: &Found) -> bool {
    let tells = |step: &&mut StepRow| {
        step.topic.as_deref() == Some(topic)
            && matches!(step.step, Step::Announced | Step::Notified)
            && key.is_some()
            && step.detail.get("idempotency_key").and_then(Value::as_str) == key
    };
    let Some(step) = steps.iter_mut().find(tells) else { return false };
    let copies = step.detail.get("copies").and_then(Value::as_u64).unwrap_or(0).saturating_add(1);
    if copies == 1 {
        let at = instant(record.timestamp);
        (step.at, step.partition, step.offset) = (Some(at), Some(record.partition), Some(record.offset));
    }
    let waits = step.detail.get("waits") == Some(&Value::Bool(true));
    if let Some(detail) = step.detail.as_object_mut() {
        detail.insert("copies".to_owned(), copies.into());
        if !waits {
            let place =
                words((topic, step.partition.unwrap_or(record.partition), step.offset.unwrap_or(record.offset)));
            detail.insert("says".to_owned(), format!("its event is at {place}").into());
        }
    }
    true
}

/// An event that went, and is in its topic no more.
fn not_there(step: &mut StepRow) {
    let is_told = matches!(step.step, Step::Announced | Step::Notified);
    if !is_told || step.offset.is_some() || step.detail.get("waits") != Some(&Value::Bool(false)) {
        return;
    }
    if let Some(detail) = step.detail.as_object_mut() {
        let says =
            "nothing waits, and the topic has no event of it: outbox.topics leaves it out, or its records are gone";
        detail.insert("says".to_owned(), says.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Original;

    const STATUS: &str = "delivery_status";

    fn event(key: &str, waits: bool) -> StepRow {
        let detail = json!({"says": "as its store says", "next": null, "idempotency_key": key, "waits": waits});
        let (order_id, topic) = ("9".to_owned(), Some(STATUS.to_owned()));
        StepRow { order_id, step: Step::Announced, at: None, topic, partition: None, offset: None, detail }
    }

    fn found(offset: i64) -> Found {
        Found { partition: 1, offset, timestamp: 1_795_132_800_000, original: Original::default() }
    }

    /// What is said of each event once its topic was read.
    fn told(events: [StepRow; 3], found_in_log: [(&str, i64); 3]) -> Vec<StepRow> {
        let mut steps = Steps::default();
        steps.chain(events);
        for (key, offset) in found_in_log {
            assert!(place_event(&mut steps, (STATUS, Some(key)), &found(offset)), "{key}");
        }
        steps.iter_mut().for_each(not_there);
        steps.in_order()
    }

    #[test]
    fn an_event_that_waits_is_not_told_as_published_also_where_a_copy_is_in_its_topic() {
        let events = [event("gone", false), event("there", false), event("waits", true)];
        let steps = told(events, [("there", 4), ("waits", 5), ("waits", 6)]);
        let says = |key: &str| {
            let step = steps.iter().find(|step| step.detail["idempotency_key"] == key).unwrap();
            (step.detail["says"].as_str().unwrap(), step.offset, step.detail["copies"].as_u64())
        };
        assert_eq!(says("there"), ("its event is at delivery_status/1 at offset 4", Some(4), Some(1)));
        // The first copy has the place.
        assert_eq!(says("waits"), ("as its store says", Some(5), Some(2)));
        let (gone, offset, copies) = says("gone");
        assert!(gone.starts_with("nothing waits, and the topic has no event of it"), "{gone}");
        assert_eq!((offset, copies), (None, None));
    }

    #[test]
    fn an_event_that_no_store_tells_of_has_no_step_to_be_placed_at() {
        let mut steps = Steps::default();
        steps.chain([event("one", false)]);
        for (topic, key) in [(STATUS, Some("other")), ("customer_notifications", Some("one")), (STATUS, None)] {
            assert!(!place_event(&mut steps, (topic, key), &found(1)), "{topic} {key:?}");
        }
    }
}
