//! Comparing a store with the log that it was fed from.
//!
//! The store's own audit ([`Query::Verify`]) adds up what the store holds. This one asks the log: each record that the store has
//! passed must be applied, refused or set aside there, under its own name, and what was applied must be what a record says. The
//! topic of delivery updates is left out.
//!
//! ```text
//!  store: positions, then what was applied, dead letters --+
//!                                                           +--> problems
//!  log:   each record between first and position ----------+
//! ```

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use crate::Result;
use crate::cluster::admin::{OffsetSpec, find_topic, list_offsets};
use crate::cluster::{Cluster, TopicView};
use crate::config::{ClientConfig, properties};
use crate::order::{DeliveryOrder, Identity, InventoryOrder, Movement, Order};
use crate::place::TopicId;
use crate::scan::{Found, Scan};
use crate::store::{Audit, EventId, MovementRow, PositionRow, Query, Row, StoreReader, Topic};

/// What a comparison with the log has found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogAudit {
    /// How many records were compared.
    pub records: u64,
    /// How many of the store's offsets the log has let go since.
    pub gone: u64,
    /// What does not agree, at most [`Audit::MAX_PROBLEMS`] sentences.
    pub problems: Vec<String>,
}

/// Compares a store with the log, as far as the log still has what the store has passed.
///
/// A consumer may go on meanwhile. It takes some 100 bytes of memory for each order that was applied.
///
/// # Errors
/// As [`Cluster::connect`], [`StoreReader::ask`]; [`UnknownTopic`](crate::ErrorCode::UnknownTopic) and what else keeps the log from being read.
///
/// # Cancel safety
/// It only reads.
pub async fn against_log(config: &ClientConfig, store: &StoreReader) -> Result<LogAudit> {
    let cluster = Cluster::connect(config).await?;
    // Positions first: what is applied afterwards is more than they promise.
    let mut positions = positions(store).await?;
    let mut comparison = Comparison::load(store).await?;
    // Updates are no orders: what they do to a delivery is in its history.
    positions.retain(|row| comparison.is_inventory || row.topic != config.text(&properties::DELIVERY_UPDATES_TOPIC));
    let mut topics: Vec<&str> = positions.iter().map(|row| row.topic.as_str()).collect();
    topics.dedup();
    for name in topics {
        let rows: Vec<&PositionRow> = positions.iter().filter(|row| row.topic == name).collect();
        comparison.topic(&cluster, name, &rows).await?;
    }
    cluster.close().await;
    comparison.end();
    Ok(comparison.found)
}

/// The positions in logs, by topic.
async fn positions(store: &StoreReader) -> Result<Vec<PositionRow>> {
    let rows = store.ask(Query::Positions).rows().await?;
    let in_logs = rows.into_iter().filter_map(|row| if let Row::Position(row) = row { Some(row) } else { None });
    let mut positions: Vec<_> = in_logs.filter(|row| row.partition.is_some()).collect();
    positions.sort_by(|one, other| one.topic.cmp(&other.topic));
    Ok(positions)
}

/// What the store says of its orders, and what of that was met.
struct Comparison {
    is_inventory: bool,
    applied: HashMap<EventId, Applied>,
    set_aside: HashSet<EventId>,
    found: LogAudit,
}

/// An order that was applied.
struct Applied {
    /// What it says, as a digest.
    content: u64,
    order_id: String,
    is_met: bool,
    is_same: bool,
}

impl Comparison {
    async fn load(store: &StoreReader) -> Result<Self> {
        let identity = store.ask(Query::Identity).rows().await?;
        let is_inventory = identity
            .iter()
            .any(|row| matches!(row, Row::Identity(identity) if identity.order_type == InventoryOrder::TYPE));
        let orders = Vec::new();
        let applied = if is_inventory { Query::Movements { orders } } else { Query::Deliveries { orders } };
        let mut comparison =
            Self { is_inventory, applied: HashMap::new(), set_aside: HashSet::new(), found: LogAudit::default() };
        for question in [applied, Query::DeadLetters { all: true }] {
            let mut answer = store.ask(question);
            while let Some(page) = answer.page().await? {
                page.into_iter().for_each(|row| comparison.take(row));
            }
        }
        Ok(comparison)
    }

    fn take(&mut self, row: Row) {
        let (id, order_id, content) = match row {
            Row::DeadLetter(letter) => {
                self.set_aside.insert(letter.id);
                return;
            }
            Row::Movement(movement) => {
                let content = content(&movement.order_id, &movement.product_id, movement.quantity);
                (name_of(&movement), movement.order_id, content)
            }
            Row::Delivery(delivery) => {
                let content = content(&delivery.order_id, &delivery.product_id, i64::from(delivery.quantity));
                (Some(delivery.delivery_id), delivery.order_id, content)
            }
            _ => return,
        };
        if let Some(id) = id {
            self.applied.insert(id, Applied { content, order_id, is_met: false, is_same: false });
        }
    }

    async fn topic(&mut self, cluster: &Cluster, name: &str, rows: &[&PositionRow]) -> Result<()> {
        let topic = find_topic(cluster, name).await?;
        let first = list_offsets(cluster, &topic, OffsetSpec::Earliest).await?;
        let mut ranges = Vec::with_capacity(rows.len());
        for row in rows {
            let Some(partition) = row.partition else { continue };
            let is_this = row.topic_id == topic.id.to_string();
            let begins = if is_this { first.get(&partition).copied().unwrap_or(row.position) } else { row.position };
            self.found.gone += begins.min(row.position).saturating_sub(row.first).max(0).unsigned_abs();
            ranges.push((partition, begins.max(row.first), row.position));
        }
        let known_as = Topic::new(topic.id, topic.name.clone());
        let mut scan = Scan::between(cluster, Arc::<TopicView>::clone(&topic), ranges);
        while let Some(page) = scan.page().await? {
            page.iter().for_each(|record| self.meet(&known_as, record));
        }
        Ok(())
    }

    fn meet(&mut self, topic: &Topic, record: &Found) {
        self.found.records += 1;
        let headers = record.original.headers.iter().map(|(key, value)| (&**key, value.as_deref()));
        // A record whose identity cannot be read has none: it is known by its place.
        let identity = Identity::from_headers(headers).ok().flatten();
        let id = EventId::of(identity.as_ref(), topic, record.partition, record.offset);
        let says = record.original.value.as_deref().and_then(|value| self.content_of(value));
        let place = (&*topic.name, record.partition, record.offset);
        let applied_as = if self.is_inventory && identity.is_none() { by_place(place) } else { id };
        if let Some(applied) = self.applied.get_mut(&applied_as) {
            applied.is_met = true;
            applied.is_same |= says == Some(applied.content);
        } else if !self.set_aside.contains(&id) {
            let (topic, partition, offset) = place;
            let at = format!("topic {topic}, partition {partition}, offset {offset}");
            self.problem(format!("a record was passed over: it is neither applied nor set aside ({at})"));
        }
    }

    fn content_of(&self, value: &[u8]) -> Option<u64> {
        if self.is_inventory {
            let order = InventoryOrder::decode(value).ok()?;
            let quantity = i64::from(order.quantity());
            let moved = if order.movement() == Movement::Issue { -quantity } else { quantity };
            return Some(content(order.order_id(), order.product_id(), moved));
        }
        let order = DeliveryOrder::decode(value).ok()?;
        Some(content(order.order_id(), order.product_id(), i64::from(order.quantity())))
    }

    /// What was applied is what one of the order's copies says. Orders that were not met came from a file, or their records are gone.
    fn end(&mut self) {
        let other: Vec<_> = self.applied.values().filter(|applied| applied.is_met && !applied.is_same).collect();
        let mut told: Vec<_> = other
            .iter()
            .map(|applied| format!("what was applied of order {} is not what its record says", applied.order_id))
            .collect();
        told.sort_unstable();
        told.into_iter().for_each(|sentence| self.problem(sentence));
    }

    fn problem(&mut self, sentence: String) {
        if self.found.problems.len() < Audit::MAX_PROBLEMS {
            self.found.problems.push(sentence);
        }
    }
}

/// The name of what a movement's order led to, by its identity, else by where it stood.
fn name_of(movement: &MovementRow) -> Option<EventId> {
    if let Some(key) = &movement.idempotency_key {
        let identity: Identity = key.parse().ok()?;
        return Some(EventId::of(Some(&identity), &nameless(""), 0, 0));
    }
    Some(by_place((movement.topic.as_deref()?, movement.partition?, movement.offset?)))
}

/// A movement tells its topic's name only.
fn by_place((topic, partition, offset): (&str, i32, i64)) -> EventId {
    EventId::of(None, &nameless(topic), partition, offset)
}

fn nameless(topic: &str) -> Topic {
    Topic::new(TopicId::NONE, topic)
}

fn content(order_id: &str, product_id: &str, quantity: i64) -> u64 {
    let mut hasher = DefaultHasher::new();
    (order_id, product_id, quantity).hash(&mut hasher);
    hasher.finish()
}
