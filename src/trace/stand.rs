//! What a store has of an order, as far as records are compared with it.

use serde_json::json;

use crate::Result;
use crate::order::{DeliveryOrder, Order};
use crate::store::{DeadLetterKind, EventId, PositionRow, Query, Row, Step, StepRow, StoreReader, Topic};

/// A store's part in the topics.
pub(super) struct Stand {
    pub(super) name: String,
    pub(super) reader: StoreReader,
    pub(super) group: String,
    pub(super) keeps_deliveries: bool,
    pub(super) positions: Vec<PositionRow>,
    /// What it has of the order.
    pub(super) has: Vec<Has>,
}

/// A step that a store has told, by its name, with its place in a log.
pub(super) struct Has {
    pub(super) id: EventId,
    pub(super) step: Step,
    pub(super) place: Option<(String, i32, i64)>,
}

/// Topic, partition, offset.
pub(super) type Spot<'a> = (&'a str, i32, i64);

impl Stand {
    /// What the store has under a record's name.
    pub(super) fn met(&self, id: EventId, place: Spot<'_>) -> Option<(Step, String)> {
        let same = || self.has.iter().filter(|has| has.id == id);
        let spot =
            |has: &'_ Has| has.place.as_ref().map(|(topic, partition, offset)| (topic.clone(), *partition, *offset));
        let first = same().next()?;
        if same().filter_map(spot).any(|(topic, partition, offset)| (topic.as_str(), partition, offset) == place) {
            return Some((Step::Written, format!("written to {}", words(place))));
        }
        if same().all(|has| has.step == Step::DeadLetter) {
            let says = format!("another copy was written to {}, and failed as the first", words(place));
            return Some((Step::Written, says));
        }
        let from = spot(first).map_or_else(|| "a file or a replay".to_owned(), |at| words((&at.0, at.1, at.2)));
        let written = words(place);
        let says =
            format!("a copy was written to {written}: it changed nothing, as the store has the order from {from}");
        Some((Step::Duplicate, says))
    }

    /// A letter that was closed, and says no more whose order it was.
    pub(super) async fn letter(&self, order: &str, id: EventId) -> Result<Option<StepRow>> {
        let rows = self.reader.ask(Query::DeadLetter { id }).rows().await?;
        let letter = rows.into_iter().find_map(|row| if let Row::Original(row) = row { Some(row.row) } else { None });
        Ok(letter.map(|letter| {
            let step = match letter.kind {
                DeadLetterKind::DeadLetter => Step::DeadLetter,
                DeadLetterKind::Refused => Step::Refused,
            };
            let says = format!("the order was set aside: {}: {}; it is {} now", letter.code, letter.reason, letter.state);
            let detail = json!({
                "says": says, "next": null, "id": id, "code": letter.code, "reason": letter.reason, "state": letter.state,
                "attempts": letter.attempts, "last_failed": letter.last_failed, "store": super::shown(&self.name),
            });
            let (topic, partition, offset) = (letter.topic, letter.partition, letter.offset);
            StepRow { order_id: order.to_owned(), step, at: Some(letter.first_failed), topic, partition, offset, detail }
        }))
    }

    /// What is said of a record that the store does not know.
    pub(super) fn unmet(&self, topic: &Topic, place: Spot<'_>) -> (String, Option<String>) {
        let (topic_id, written) = (topic.id.to_string(), words(place));
        let row = self.positions.iter().find(|row| row.topic_id == topic_id && row.partition == Some(place.1));
        let status = format!("is a consumer running, and does it get on? orders status -g {}", self.group);
        match row {
            None => (format!("written to {written}; the store has read nothing of that partition"), Some(status)),
            Some(row) if place.2 >= row.position => {
                let before = place.2.saturating_sub(row.position);
                (format!("written to {written}; it waits to be read, behind {before} other offsets"), Some(status))
            }
            Some(row) if place.2 < row.first => {
                let first = row.first;
                (
                    format!(
                        "written to {written}, before the store began there, at offset {first}: it has not read it"
                    ),
                    None,
                )
            }
            Some(_) => {
                let store = super::quoted(&super::shown(&self.name));
                let next = format!("does the store agree with the log? orders verify -b HOST:PORT --store {store}");
                (format!("written to {written}; the store has passed it, and knows nothing of it"), Some(next))
            }
        }
    }
}

/// Asks a store where it stands.
pub(super) async fn stand(name: &str, reader: &StoreReader) -> Result<Stand> {
    let (mut group, mut keeps_deliveries) = (String::new(), false);
    for row in reader.ask(Query::Identity).rows().await? {
        if let Row::Identity(row) = row {
            (group, keeps_deliveries) = (row.group, row.order_type == DeliveryOrder::TYPE);
        }
    }
    let rows = reader.ask(Query::Positions).rows().await?.into_iter();
    let in_logs = rows.filter_map(|row| if let Row::Position(row) = row { Some(row) } else { None });
    let positions = in_logs.filter(|row| row.partition.is_some()).collect();
    Ok(Stand { name: name.to_owned(), reader: reader.clone(), group, keeps_deliveries, positions, has: Vec::new() })
}

pub(super) fn place_of(step: &StepRow) -> Option<(String, i32, i64)> {
    Some((step.topic.clone()?, step.partition?, step.offset?))
}

pub(super) fn words((topic, partition, offset): Spot<'_>) -> String {
    format!("{topic}/{partition} at offset {offset}")
}
