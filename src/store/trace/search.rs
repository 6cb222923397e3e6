//! Finding what a store has of one order.

use memchr::memmem;

use super::concerns;
use crate::Result;
use crate::order::{DeliveryOrder, Order};
use crate::store::dead_letter::Letter;
use crate::store::delivery_line::{DeliveryLine, MoveLine};
use crate::store::inventory::read_movement;
use crate::store::ledger::{Head, LedgerReader, Lines};
use crate::store::life::Life;
use crate::store::{BACKFILL, EventId, Original, OutboxRow, StoreIdentity, Topic, bit, shard_of};

/// How many lines, and how many letters, of one order are told at most.
pub(crate) const MOST: usize = 1_000;

/// A line of the ledger that has the order.
pub(super) struct Found {
    /// The row of the ledger: transaction and row there, or the row's number and 0.
    pub(super) row: (u64, u32),
    pub(super) head: Head,
    pub(super) topic: String,
    pub(super) offset: i64,
    pub(super) timestamp: i64,
    pub(super) key: Option<String>,
    /// What the delivery is called, or a dead letter of the order would be.
    pub(super) id: EventId,
    pub(super) product: String,
    pub(super) quantity: i64,
    /// The day of delivery; none: a movement of stock.
    pub(super) day: Option<i32>,
}

/// Where a delivery was told to move.
pub(super) struct Told {
    pub(super) id: EventId,
    pub(super) version: u32,
    /// None: by command.
    pub(super) place: Option<(String, i32, i64)>,
}

/// A letter that has the order, or an update of its delivery.
pub(super) struct Aside {
    pub(super) id: EventId,
    pub(super) letter: Letter,
    pub(super) topic: String,
}

/// An event that waits: of what, at which version, to which of its topics, since when.
pub(super) struct Waits {
    pub(super) id: EventId,
    pub(super) version: u32,
    pub(super) part: u8,
    pub(super) since: i64,
}

/// The version under which goods that come back wait: no delivery has it.
pub(super) const RETURN: u32 = 0;

/// What was found of an order.
pub(crate) struct Search {
    pub(super) order: String,
    pub(super) needle: memmem::Finder<'static>,
    pub(super) group: String,
    pub(super) keeps_deliveries: bool,
    pub(super) lines: Vec<Found>,
    pub(super) moves: Vec<Told>,
    pub(super) lives: Vec<(EventId, Life)>,
    pub(super) letters: Vec<Aside>,
    pub(super) waits: Vec<Waits>,
    pub(super) is_cut: bool,
}

impl Search {
    pub(crate) fn new(identity: &StoreIdentity, order: &str) -> Self {
        Self {
            order: order.to_owned(),
            needle: memmem::Finder::new(order.as_bytes()).into_owned(),
            group: identity.group.clone(),
            keeps_deliveries: identity.order_type == DeliveryOrder::TYPE,
            lines: Vec::new(),
            moves: Vec::new(),
            lives: Vec::new(),
            letters: Vec::new(),
            waits: Vec::new(),
            is_cut: false,
        }
    }

    /// Looks at a row of the ledger. Deliveries come before their moves.
    pub(crate) fn row<'t>(
        &mut self,
        at: (u64, u32),
        row: &[u8],
        topic: impl FnOnce(u32) -> Result<&'t Topic>,
    ) -> Result<()> {
        let mut reader = LedgerReader::new(row)?;
        let Head { topic: number, lines, .. } = reader.head();
        match lines {
            Lines::Moves if self.lines.is_empty() => Ok(()),
            Lines::Moves => self.moves_of(&mut reader, topic(number)?),
            // An order's number stands in its row as it is.
            Lines::Orders if self.needle.find(row).is_none() => Ok(()),
            Lines::Orders => self.orders_of(at, &mut reader, topic(number)?),
        }
    }

    fn orders_of(&mut self, at: (u64, u32), row: &mut LedgerReader<'_>, topic: &Topic) -> Result<()> {
        let (head, mut products) = (row.head(), Vec::new());
        while let Some(line) = row.line()? {
            let (product, quantity, day) = match self.keeps_deliveries {
                true => {
                    let delivery = DeliveryLine::read(row.rest())?;
                    (delivery.product_id, i64::from(delivery.quantity), Some(delivery.day))
                }
                false => {
                    let (product, quantity) = read_movement(row.rest(), &mut products)?;
                    (product, quantity, None)
                }
            };
            if line.order_id != self.order {
                continue;
            }
            if self.lines.len() == MOST {
                self.is_cut = true;
                return Ok(());
            }
            self.lines.push(Found {
                row: at,
                head,
                topic: topic.name.to_string(),
                offset: line.offset,
                timestamp: line.timestamp,
                key: line.identity.as_ref().map(ToString::to_string),
                id: line.event_id(topic, head.partition),
                product: product.to_owned(),
                quantity,
                day,
            });
        }
        Ok(())
    }

    fn moves_of(&mut self, row: &mut LedgerReader<'_>, topic: &Topic) -> Result<()> {
        let partition = row.head().partition;
        while let Some(line) = row.line()? {
            let MoveLine { delivery: id, version, .. } = MoveLine::read(row.rest())?;
            if self.lines.iter().any(|found| found.id == id) {
                let place = (partition != BACKFILL).then(|| (topic.name.to_string(), partition, line.offset));
                self.moves.push(Told { id, version, place });
            }
        }
        Ok(())
    }

    /// The deliveries that were found, each once.
    pub(crate) fn deliveries(&self) -> Vec<EventId> {
        self.names(self.keeps_deliveries)
    }

    /// The names under which letters of what was found would be kept.
    pub(crate) fn ids(&self) -> Vec<EventId> {
        self.names(true)
    }

    fn names(&self, wanted: bool) -> Vec<EventId> {
        let mut ids: Vec<EventId> = self.lines.iter().filter(|_| wanted).map(|found| found.id).collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    pub(crate) fn life(&mut self, id: EventId, life: Life) {
        self.lives.push((id, life));
    }

    /// Whether a record that was set aside is this order's, or an update of one of these deliveries.
    pub(crate) fn concerns(&self, original: &Original, deliveries: &[EventId]) -> bool {
        concerns(original, &self.order, deliveries)
    }

    pub(crate) fn letter(&mut self, topic: &Topic, id: EventId, letter: Letter) {
        if self.letters.len() == MOST {
            self.is_cut = true;
        } else if !self.letters.iter().any(|known| known.id == id) {
            self.letters.push(Aside { id, letter, topic: topic.name.to_string() });
        }
    }

    /// The letters that were found.
    #[cfg(feature = "postgres")]
    pub(crate) fn letter_ids(&self) -> Vec<EventId> {
        self.letters.iter().map(|aside| aside.id).collect()
    }

    /// An event that waits in the outbox; `left` are the shards that each of its topics has not been told.
    pub(crate) fn waits(&mut self, event: &OutboxRow, left: [u64; 2], since: i64) {
        let (id, version) = match event {
            OutboxRow::DeadLetter { id, version } | OutboxRow::Moved { id, version } => (*id, *version),
            OutboxRow::Returned { id } => (*id, RETURN),
            OutboxRow::Scheduled { transaction, first_row, rows } => {
                let rows = (*transaction, *first_row)..(*transaction, first_row.saturating_add(*rows));
                return self.scheduled(left, since, |found| rows.contains(&found.row));
            }
            OutboxRow::StockAlert { .. } | OutboxRow::Own(_) => return,
        };
        let known = self.lines.iter().any(|found| found.id == id) || self.letters.iter().any(|aside| aside.id == id);
        let parts = (0..).zip(left).filter(|(_, left)| known && *left != 0);
        self.waits.extend(parts.map(|(part, _)| Waits { id, version, part, since }));
    }

    /// Deliveries of a position's version that wait to be told, all of them in these shards.
    #[cfg(feature = "postgres")]
    pub(crate) fn waits_of(&mut self, at: (u32, i32, u64), left: [u64; 2], since: i64) {
        self.scheduled(left, since, |found| (found.head.topic, found.head.partition, found.head.version) == at);
    }

    /// The positions' versions that have what was found: topic, partition, version.
    #[cfg(feature = "postgres")]
    pub(crate) fn versions(&self) -> Vec<(u32, i32, u64)> {
        let mut all: Vec<_> =
            self.lines.iter().map(|found| (found.head.topic, found.head.partition, found.head.version)).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    fn scheduled(&mut self, left: [u64; 2], since: i64, is_told: impl Fn(&Found) -> bool) {
        for found in self.lines.iter().filter(|found| is_told(found)) {
            let shard = bit(shard_of(found.id.as_bytes()));
            let parts = (0..).zip(left).filter(|(_, left)| left & shard != 0);
            self.waits.extend(parts.map(|(part, _)| Waits { id: found.id, version: 1, part, since }));
        }
    }
}
