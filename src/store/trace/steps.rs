//! What is said of what was found: a sentence a step, with what is to be done.

use serde_json::{Value, json};

use super::search::{Aside, Found, MOST, RETURN, Search, Waits};
use super::{Step, StepRow};
use crate::store::dead_letter::{About, Letter};
use crate::store::rows::instant;
use crate::store::schedule::date_of_day;
use crate::store::{BACKFILL, DeadLetterKind, DeadLetterState, EventId, Row, Status};

/// What was replayed is accounted for under this topic.
const REPLAYED: &str = "(replay)";

impl Search {
    /// All that is known, each line with what came of it behind it.
    pub(crate) fn rows(self) -> Vec<Row> {
        let mut steps = Vec::new();
        for aside in &self.letters {
            self.tell_letter(aside, &mut steps);
            // What a replay applied came after its failure.
            let replayed = self.lines.iter().filter(|found| found.is_replayed() && found.id == aside.id);
            replayed.for_each(|found| self.tell_line(found, &mut steps));
        }
        let is_told = |found: &Found| found.is_replayed() && self.letters.iter().any(|aside| aside.id == found.id);
        self.lines.iter().filter(|found| !is_told(found)).for_each(|found| self.tell_line(found, &mut steps));
        if self.is_cut {
            let says =
                format!("the order has more than {MOST} lines or letters in this store; the others are not told");
            steps.push(self.step(Step::LeftOut, None, None, json!({"says": says, "next": null})));
        }
        steps.into_iter().map(Row::Step).collect()
    }

    fn step(&self, step: Step, at: Option<i64>, place: Option<(&str, i32, i64)>, detail: Value) -> StepRow {
        StepRow {
            order_id: self.order.clone(),
            step,
            at: at.map(instant),
            topic: place.map(|(topic, ..)| topic.to_owned()),
            partition: place.map(|(_, partition, _)| partition),
            offset: place.map(|(.., offset)| offset),
            detail,
        }
    }

    fn tell_line(&self, found: &Found, steps: &mut Vec<StepRow>) {
        let Found { offset, quantity, product, .. } = found;
        let place = found.place();
        let from = match place {
            Some((topic, partition, offset)) => format!("from {topic}/{partition} at offset {offset}"),
            None if found.is_replayed() => "when its dead letter was replayed".to_owned(),
            None => format!("from an order file, entry {offset}"),
        };
        let pieces = quantity.unsigned_abs();
        let did = match found.day {
            Some(_) => format!("a delivery of {pieces} of product {product} was taken on"),
            None if *quantity < 0 => format!("{pieces} of product {product} went out of stock"),
            None => format!("{pieces} of product {product} came into stock"),
        };
        let detail = json!({
            "says": format!("{did}, {from}"), "next": null, "id": found.id, "product_id": product, "quantity": quantity,
            "idempotency_key": found.key,
        });
        steps.push(self.step(Step::Applied, found.at(), place, detail));
        if found.day.is_some() {
            self.tell_life(found, steps);
        }
    }

    fn tell_life(&self, found: &Found, steps: &mut Vec<StepRow>) {
        let (id, day) = (found.id, date_of_day(found.day.unwrap_or(0)));
        let life = self.lives.iter().find(|(known, _)| *known == id).map(|(_, life)| life);
        let moves = life.map(|life| life.moves.as_slice()).unwrap_or_default();
        let next = if moves.is_empty() { next_of(id, Status::Scheduled) } else { Value::Null };
        let detail = json!({
            "says": format!("delivery {id} is scheduled for {day}"), "next": next, "delivery_id": id, "version": 1,
            "status": Status::Scheduled, "scheduled_for": day.to_string(),
        });
        steps.push(self.step(Step::Scheduled, found.at(), found.place(), detail));
        self.tell_told(id, 1, steps);
        for (made, version) in moves.iter().zip(2_u32..) {
            let told = self.moves.iter().find(|told| told.id == id && told.version == version);
            let place = told.and_then(|told| told.place.as_ref());
            let by = match (told, place) {
                (_, Some((topic, partition, offset))) => format!(", as {topic}/{partition} says at offset {offset}"),
                (Some(_), None) => ", by command".to_owned(),
                (None, None) => String::new(),
            };
            let why = made.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
            let is_last = version as usize == moves.len() + 1;
            let next = if is_last { next_of(id, made.to) } else { Value::Null };
            let detail = json!({
                "says": format!("delivery {id} became {}{by}{why}", made.to.as_str()), "next": next, "delivery_id": id,
                "version": version, "status": made.to, "reason": made.reason,
            });
            let place = place.map(|(topic, partition, offset)| (topic.as_str(), *partition, *offset));
            steps.push(self.step(Step::Moved, Some(made.at), place, detail));
            self.tell_told(id, version, steps);
            if made.to == Status::Cancelled {
                let key = format!("{id}:return");
                steps.push(self.told((Step::Announced, "inventory_orders"), key, (id, RETURN, 0)));
            }
        }
    }

    /// Who was told of a delivery's version.
    fn tell_told(&self, id: EventId, version: u32, steps: &mut Vec<StepRow>) {
        let status = format!("status:{id}:{version}");
        steps.push(self.told((Step::Announced, "delivery_status"), status, (id, version, 0)));
        let customer = format!("notification:{id}:{version}");
        steps.push(self.told((Step::Notified, "customer_notifications"), customer, (id, version, 1)));
    }

    fn told(&self, (step, topic): (Step, &str), key: String, (id, version, part): (EventId, u32, u8)) -> StepRow {
        let is_it = |waits: &&Waits| (waits.id, waits.version, waits.part) == (id, version, part);
        let waits = self.waits.iter().find(is_it);
        let (says, next) = match waits {
            Some(waits) => {
                let group = &self.group;
                let since = instant(waits.since);
                (
                    format!("an event for {topic} waits in the outbox since {since}"),
                    json!(format!(
                        "a running consumer of group {group} relays it, and its health says why it does not; is there one? \
                         orders status -g {group}"
                    )),
                )
            }
            None => (
                format!("nothing waits: its event went to {topic}, unless outbox.topics leaves that topic out"),
                Value::Null,
            ),
        };
        let detail = json!({
            "says": says, "next": next, "idempotency_key": key, "waits": waits.is_some(),
            "since": waits.map(|waits| instant(waits.since)),
        });
        StepRow { topic: Some(topic.to_owned()), ..self.step(step, None, None, detail) }
    }

    fn tell_letter(&self, Aside { id, letter, topic }: &Aside, steps: &mut Vec<StepRow>) {
        let step = match letter.kind {
            DeadLetterKind::DeadLetter => Step::DeadLetter,
            DeadLetterKind::Refused => Step::Refused,
        };
        let (is_open, what) = (
            letter.is_open(),
            match letter.about {
                About::Order => "the order",
                About::Update => "an update of its delivery",
            },
        );
        let verb = match letter.kind {
            DeadLetterKind::DeadLetter => "could not be applied",
            DeadLetterKind::Refused => "was refused",
        };
        let since = match letter.state {
            DeadLetterState::Open => "it waits for somebody",
            DeadLetterState::Resolved => "a copy was applied since",
            DeadLetterState::Replayed => "it was replayed, and applied",
            DeadLetterState::Discarded => "an operator closed it for good",
        };
        let tries = if letter.attempts == 1 { String::new() } else { format!(" after {} tries", letter.attempts) };
        let replay = format!("orders dlq replay {id} --store W");
        let spot = letter.first;
        let place = (spot.partition != BACKFILL).then_some((topic.as_str(), spot.partition, spot.offset));
        let detail = json!({
            "says": format!("{what} {verb}{tries}: {}: {}; {since}", letter.code, letter.reason),
            "next": is_open.then(|| next_of_letter(*id, letter)), "replay": is_open.then_some(replay), "id": id,
            "code": letter.code, "reason": letter.reason, "state": letter.state, "attempts": letter.attempts,
            "last_failed": instant(letter.failed.1),
        });
        steps.push(self.step(step, Some(letter.failed.0), place, detail));
        if is_open {
            let (topic, key) = match letter.kind {
                DeadLetterKind::DeadLetter => (format!("{topic}-dlt"), id.to_string()),
                DeadLetterKind::Refused => ("order_refusals".to_owned(), format!("refusal:{id}:{}", letter.version)),
            };
            steps.push(self.told((Step::Announced, &topic), key, (*id, letter.version, 0)));
        }
    }
}

impl Found {
    fn is_replayed(&self) -> bool {
        self.head.partition == BACKFILL && self.topic == REPLAYED
    }

    /// When its record was written. When a replay was made is not kept.
    fn at(&self) -> Option<i64> {
        (!self.is_replayed()).then_some(self.timestamp)
    }

    /// Where its record is; none: it was in no log.
    fn place(&self) -> Option<(&str, i32, i64)> {
        (self.head.partition != BACKFILL).then_some((self.topic.as_str(), self.head.partition, self.offset))
    }
}

/// What may become of a delivery next, and how it is told.
fn next_of(id: EventId, status: Status) -> Value {
    let set = |to: &str| format!("orders deliveries set {id} {to} --store W");
    match status {
        Status::Scheduled => {
            json!(format!("if it has left: {}; if it is called off: {}", set("out_for_delivery"), set("cancelled")))
        }
        Status::OutForDelivery => {
            json!(format!("if it has arrived: {}; if it came back: {}", set("delivered"), set("failed")))
        }
        Status::Failed => json!("nothing more becomes of it: who wants the goods all the same orders again"),
        Status::Delivered | Status::Cancelled => Value::Null,
    }
}

fn next_of_letter(id: EventId, letter: &Letter) -> String {
    let replay = format!("orders dlq replay {id} --store W");
    let discard = format!("or close it for good: orders dlq discard {id} --reason R --store W");
    match (letter.kind, letter.code.get(..4)) {
        (DeadLetterKind::Refused, _) => format!("once it can be done: {replay}; {discard}"),
        // The record itself breaks a rule: tried again as it is it fails again.
        (_, Some("ORD-" | "DLV-")) => {
            format!(
                "mend it: orders dlq fix {id} --set FIELD=VALUE --store W; if the reader was wrong: {replay}; {discard}"
            )
        }
        _ => format!("once the cause is gone: {replay}; {discard}"),
    }
}
