//! What must hold when all is settled: conservation, order by key, nothing lost, doubled or made up.

use std::collections::{BTreeMap, BTreeSet};

use super::ledger::{Fate, fate};
use super::log::{Written, read};
use super::senders::Sender;
use super::settings::{DELIVERY, DELIVERY_LETTERS, INVENTORY, INVENTORY_LETTERS};
use super::world::World;
use super::{Judged, broken};
use crate::order::{DeliveryOrder, Identity, Order};
use crate::store::{DeadLetterRow, EventId, MovementRow, Query, Row, StockRow};

impl World {
    pub(super) async fn judge(&self) -> Judged {
        for topic in [INVENTORY, DELIVERY] {
            self.judge_log(topic)?;
        }
        self.judge_stock().await?;
        self.judge_schedule().await?;
        self.judge_deliveries()
    }

    /// Lost writes, duplicates, disorder.
    fn judge_log(&self, topic: &str) -> Judged {
        let mut places: BTreeMap<String, Vec<(i32, i64)>> = BTreeMap::new();
        for Written { partition, offset, identity, .. } in read(&self.broker, topic) {
            places.entry(identity.unwrap_or_default()).or_default().push((partition, offset));
        }
        let told: Vec<_> = self.told.all().into_iter().filter(|sent| sent.topic == topic).collect();
        let mut at_most: BTreeMap<&str, u64> = BTreeMap::new();
        for sent in &told {
            *at_most.entry(&sent.identity).or_default() += sent.acknowledged + sent.doubtful;
        }
        let mut last: BTreeMap<(Sender, String), (i32, i64)> = BTreeMap::new();
        for sent in &told {
            let copies = places.get(&sent.identity).cloned().unwrap_or_default();
            if (copies.len() as u64) < sent.acknowledged.min(1) {
                return broken("what was acknowledged is in the log", format!("{sent:?}"));
            }
            if copies.len() as u64 > at_most[sent.identity.as_str()] {
                return broken("the log has no more copies than were told of", format!("{sent:?} is at {copies:?}"));
            }
            // A later life's copy is known as its own where it is the only one.
            let is_its_own = sent.sender.life == 0 || copies.len() == 1;
            let (Some(place), true, true) = (copies.first().copied(), sent.at_once, is_its_own) else { continue };
            let before = last.insert((sent.sender, sent.key.clone()), place);
            if before.is_some_and(|before| before >= place) {
                let story = format!("{sent:?} is at {place:?}, its key was at {before:?} before");
                return broken("a sender's orders of a key are in the order of its sends", story);
            }
        }
        Ok(())
    }

    async fn judge_stock(&self) -> Judged {
        let Stock { movements, letters, stock, audit } = self.stock().await;
        if let Some(audit) = audit {
            return broken("the store's own audit holds", audit);
        }
        let mut ends: BTreeMap<String, u64> = BTreeMap::new();
        let moved = movements.iter().filter_map(|row| row.idempotency_key.clone());
        for identity in moved.chain(letters.iter().filter_map(|row| row.idempotency_key.clone())) {
            *ends.entry(identity).or_default() += 1;
        }
        let log = read(&self.broker, INVENTORY);
        conserved(&log, |identity| ends.get(identity).copied().unwrap_or(0))?;
        if let Some(row) = movements.iter().find(|row| row.product_id == super::ledger::ABORTED) {
            return broken("what was aborted is never seen", format!("{row:?}"));
        }
        let mut last: BTreeMap<(String, Option<i32>), Option<i64>> = BTreeMap::new();
        let mut sums: BTreeMap<String, i64> = BTreeMap::new();
        for row in &movements {
            let before = last.insert((row.product_id.clone(), row.partition), row.offset);
            if before.is_some_and(|before| before >= row.offset) {
                return broken("orders of a key take effect in log order", format!("{row:?} after {before:?}"));
            }
            *sums.entry(row.product_id.clone()).or_default() += row.quantity;
        }
        for row in stock {
            if sums.get(&row.product_id).copied().unwrap_or(0) != row.stock {
                return broken("stock is the sum of its movements", format!("{row:?}, and {sums:?}"));
            }
        }
        let nonsense = log.iter().filter(|record| record.value.starts_with("{nonsense"));
        self.set_aside(INVENTORY_LETTERS, nonsense)
    }

    /// The deliveries of the store: one of each order, or one dead letter.
    async fn judge_schedule(&self) -> Judged {
        let mut ends: BTreeMap<String, u64> = BTreeMap::new();
        for query in [Query::Deliveries { orders: Vec::new() }, Query::DeadLetters { all: true }, Query::Verify] {
            for row in self.scheduled.rows(query).await.unwrap() {
                match row {
                    Row::Delivery(row) => *ends.entry(row.delivery_id.to_string()).or_default() += 1,
                    Row::DeadLetter(row) => {
                        let identity = row.idempotency_key.and_then(|key| Some(name(&key.parse().ok()?)));
                        *ends.entry(identity.unwrap_or_default()).or_default() += 1;
                    }
                    Row::Audit(audit) if !audit.holds => {
                        return broken("the store's own audit holds", format!("deliveries: {:?}", audit.problems));
                    }
                    _ => {}
                }
            }
        }
        let log = read(&self.broker, DELIVERY);
        conserved(&log, |identity| {
            let name = identity.parse().map(|identity| name(&identity)).unwrap_or_default();
            ends.get(&name).copied().unwrap_or(0)
        })?;
        let sent: BTreeSet<_> = log.iter().filter_map(|record| record.identity.as_ref()).collect();
        let deliveries = ends.keys().filter(|name| !name.is_empty()).count();
        if deliveries != sent.len() {
            return broken(
                "what was aborted is never seen",
                format!("{deliveries} deliveries of {} orders", sent.len()),
            );
        }
        Ok(())
    }

    async fn stock(&self) -> Stock {
        let mut seen = Stock::default();
        let (all, any) = (Vec::new(), Vec::new());
        for query in [
            Query::Movements { orders: all },
            Query::Stock { products: any },
            Query::DeadLetters { all: true },
            Query::Verify,
        ] {
            for row in self.base.rows(query).await.unwrap() {
                match row {
                    Row::Movement(row) => seen.movements.push(row),
                    Row::DeadLetter(row) => seen.letters.push(row),
                    Row::Stock(row) => seen.stock.push(row),
                    Row::Audit(audit) if !audit.holds => seen.audit = Some(format!("{:?}", audit.problems)),
                    _ => {}
                }
            }
        }
        seen
    }

    fn judge_deliveries(&self) -> Judged {
        let log = read(&self.broker, DELIVERY);
        let letters = read(&self.broker, DELIVERY_LETTERS);
        let on_letters: BTreeSet<_> = letters.iter().filter_map(|letter| letter.identity.clone()).collect();
        let books = self.carrier.books();
        let done: BTreeSet<_> = books.effects.iter().map(|effect| effect.identity.clone()).collect();
        let refused: BTreeSet<_> = books.refused.iter().cloned().collect();
        if done.len() != books.effects.len() || books.aborted > 0 {
            let story = format!("{} effects, {} aborted orders were handed over", books.effects.len(), books.aborted);
            return broken("what was aborted is never seen", story);
        }
        conserved(&log, |identity| {
            [&done, &refused, &on_letters].iter().filter(|set| set.contains(identity)).count() as u64
        })?;
        for record in &log {
            let (Some(identity), Ok(order)) = (&record.identity, DeliveryOrder::decode(record.value.as_bytes())) else {
                continue;
            };
            let place = match fate(order.quantity()) {
                Fate::Done => &done,
                Fate::Refused => &refused,
                Fate::Rejected => &on_letters,
            };
            if !place.contains(identity) {
                return broken("each order has one end", format!("{record:?} has another end than its own"));
            }
        }
        let mut last: BTreeMap<(&str, i32), i64> = BTreeMap::new();
        for effect in &books.effects {
            let before = last.insert((&effect.key, effect.partition), effect.offset);
            if before.is_some_and(|before| before >= effect.offset) {
                return broken("orders of a key take effect in log order", format!("{effect:?} after {before:?}"));
            }
        }
        drop(books);
        let nonsense = log.iter().filter(|record| record.value.starts_with("{nonsense"));
        self.set_aside(DELIVERY_LETTERS, nonsense)
    }

    fn set_aside<'r>(&self, topic: &str, records: impl Iterator<Item = &'r Written>) -> Judged {
        let letters: BTreeSet<_> = read(&self.broker, topic).into_iter().map(|letter| letter.value).collect();
        for record in records {
            if !letters.contains(&record.value) {
                return broken("what was set aside is on its topic", format!("{record:?} is not on {topic}"));
            }
        }
        Ok(())
    }
}

/// What an order's delivery is called.
fn name(identity: &Identity) -> String {
    let mut key = Vec::new();
    identity.write_store_key(&mut key);
    EventId::of_store_key(&key).to_string()
}

#[derive(Default)]
struct Stock {
    movements: Vec<MovementRow>,
    letters: Vec<DeadLetterRow>,
    stock: Vec<StockRow>,
    audit: Option<String>,
}

/// Each order in the log is applied once, refused once or set aside once.
fn conserved(log: &[Written], ends: impl Fn(&str) -> u64) -> Judged {
    for record in log {
        let Some(identity) = &record.identity else { continue };
        let ends = ends(identity);
        if ends != 1 {
            return broken("each order has one end", format!("{record:?} has {ends}"));
        }
    }
    Ok(())
}
