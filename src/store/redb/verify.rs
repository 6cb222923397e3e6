//! The audit of a store.
//!
//! Three accounts that were kept apart must agree: what became of every offset (positions), what was
//! applied (the ledger), and what follows from it (stock or days, identities, dead letters).
//! Everything is read in one transaction, beside the writing thread, in bounded memory: products are
//! compared a window at a time, with one walk over the ledger for each.

use std::collections::{BTreeMap, HashMap};
use std::ops::{Bound, RangeBounds};

use redb::{ReadTransaction, ReadableTable, ReadableTableMetadata};

use super::deliveries::{Deliveries, day_of_key, read_deliveries};
use super::effect::{Effect, table_of};
use super::fault::fault;
use super::format::read_totals;
use super::inventory::Inventory;
use super::lives::Lives;
use super::office::backlog;
use super::shared::Shared;
use super::tables::{CHUNKS, DEAD_LETTERS, LEDGER, OPAQUE, ORIGINALS, OUTBOX, POSITIONS, SOURCES, STARTS};
use super::topics::Topics;
use super::totals::Totals;
use crate::Result;
use crate::order::{InventoryOrder, Order};
use crate::store::applied::{CHUNK, Chunk, SourceRow};
use crate::store::dead_letter::Letter;
use crate::store::delivery_line::{DeliveryLine, MoveLine};
use crate::store::inventory::{Stock, read_movement};
use crate::store::ledger::{LedgerReader, Lines};
use crate::store::outbox::Filed;
use crate::store::pack::Unpack;
use crate::store::schedule::date_of_day;
use crate::store::standing::Standing;
use crate::store::{Audit, Counts, EventId, OutboxRow};

/// How many products are compared in one walk over the ledger.
const WINDOW: usize = 65_536;

/// Audits a store.
pub(super) fn verify(shared: &Shared, transaction: &ReadTransaction) -> Result<Audit> {
    let totals = read_totals(transaction)?;
    let mut auditor = Auditor { shared, transaction, totals, problems: Vec::new() };
    let counts = if shared.identity().order_type == InventoryOrder::TYPE {
        let counts = auditor.accounts::<Inventory>()?;
        auditor.stock()?;
        counts
    } else {
        let counts = auditor.accounts::<Deliveries>()?;
        auditor.days()?;
        counts
    };
    auditor.identities()?;
    auditor.letters(&counts)?;
    auditor.events()?;
    Ok(Audit::new(counts, auditor.problems, backlog(transaction)?))
}

struct Auditor<'a> {
    shared: &'a Shared,
    transaction: &'a ReadTransaction,
    totals: Totals,
    problems: Vec<String>,
}

impl Auditor<'_> {
    /// Each delivery that has moved is on its line, each of its moves is in the ledger, and a day has none that is cancelled.
    fn lives(&mut self, days: &mut BTreeMap<i32, u64>) -> Result<()> {
        let topics = Topics::load(self.transaction)?;
        let Some(lives) = Lives::of(self.transaction, &topics)? else { return Ok(()) };
        let mut moves = 0;
        self.each_row(u64::MAX, |row| {
            while row.head().lines == Lines::Moves && row.line()?.is_some() {
                MoveLine::read(row.rest())?;
                moves += 1;
            }
            Ok(())
        })?;
        let mut made = 0;
        lives.each(|id, life, problem| {
            self.shared.go_on()?;
            made += life.moves.len() as u64;
            if life.is_cancelled()
                && let Some(day) = days.get_mut(&life.day)
            {
                *day = day.saturating_sub(1);
            }
            if let Some(problem) = problem {
                self.problem(format!("delivery {id}: {problem}"));
            }
            Ok(())
        })?;
        self.compare("moves of deliveries", moves, made);
        Ok(())
    }

    fn problem(&mut self, sentence: String) {
        if self.problems.len() < Audit::MAX_PROBLEMS {
            self.problems.push(sentence);
        }
    }

    fn compare(&mut self, what: &str, counted: u64, found: u64) {
        if counted != found {
            self.problem(format!("{what}: {counted} were counted and {found} are there"));
        }
    }

    /// Every offset is accounted for, and the ledger holds what was counted as applied.
    fn accounts<E: Effect>(&mut self) -> Result<Counts> {
        let mut accounts: BTreeMap<(u32, i32), Counts> = BTreeMap::new();
        let positions = self.transaction.open_table(POSITIONS).map_err(fault)?;
        for row in positions.iter().map_err(fault)? {
            let (key, value) = row.map_err(fault)?;
            self.account(&mut accounts, key.value(), &Standing::decode(value.value())?)?;
        }
        let starts = self.transaction.open_table(STARTS).map_err(fault)?;
        for row in starts.iter().map_err(fault)? {
            let (key, value) = row.map_err(fault)?;
            let (topic, partition, _) = key.value();
            let mut start = Unpack::new(value.value(), "a start");
            start.i64()?;
            start.bytes()?;
            self.account(&mut accounts, (topic, partition), &Standing::decode(start.remaining())?)?;
        }
        let mut applied = HashMap::new();
        self.each_row(u64::MAX, |row| {
            let lines = applied.entry((row.head().topic, row.head().partition)).or_insert(0_u64);
            while row.line()?.is_some() {
                row.skip(E::skip)?;
                *lines += 1;
            }
            Ok(())
        })?;
        let mut sum = Counts::default();
        let topics = Topics::load(self.transaction)?;
        for (at, counts) in accounts {
            let found = applied.remove(&at).unwrap_or(0);
            self.compare(&format!("orders applied of {}", name(&topics, at)), counts.applied, found);
            sum.add(&counts);
        }
        for (at, found) in applied {
            self.compare(&format!("orders applied of {}", name(&topics, at)), 0, found);
        }
        Ok(sum)
    }

    fn account(
        &mut self,
        accounts: &mut BTreeMap<(u32, i32), Counts>,
        at: (u32, i32),
        standing: &Standing,
    ) -> Result<()> {
        if !standing.adds_up() {
            let (first, next) = (standing.first, standing.position.next);
            let offsets = name(&Topics::load(self.transaction)?, at);
            let total = standing.counts.total();
            self.problem(format!("{offsets}: the offsets from {first} to {next} are not the {total} accounted for"));
        }
        accounts.entry(at).or_default().add(&standing.counts);
        Ok(())
    }

    /// Stock is the sum of movements.
    fn stock(&mut self) -> Result<()> {
        let table = self.transaction.open_table(table_of::<Inventory>()).map_err(fault)?;
        let mut after = None;
        loop {
            let from = after.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
            let mut window: HashMap<Vec<u8>, Compared> = HashMap::new();
            let mut last = None;
            for (row, at) in table.range::<&[u8]>((from, Bound::Unbounded)).map_err(fault)?.zip(1..=WINDOW) {
                let (key, value) = row.map_err(fault)?;
                let kept = Some(Stock::decode(value.value())?);
                window.insert(key.value().to_vec(), Compared { kept, sum: Stock::default() });
                last = (at == WINDOW).then(|| key.value().to_vec());
            }
            self.sum_movements(&mut window, (from, last.as_deref().map_or(Bound::Unbounded, Bound::Included)))?;
            for (product, compared) in window {
                self.compare_stock(&product, &compared);
            }
            after = last;
            if after.is_none() {
                return Ok(());
            }
        }
    }

    fn sum_movements(
        &self,
        window: &mut HashMap<Vec<u8>, Compared>,
        range: (Bound<&[u8]>, Bound<&[u8]>),
    ) -> Result<()> {
        self.each_row(self.totals.folded, |row| {
            let mut told = Vec::new();
            while let Some(line) = row.line()? {
                let (product, quantity) = read_movement(row.rest(), &mut told)?;
                let product = product.as_bytes();
                if !RangeBounds::<&[u8]>::contains(&range, &product) {
                    continue;
                }
                if !window.contains_key(product) {
                    window.insert(product.to_vec(), Compared { kept: None, sum: Stock::default() });
                }
                if let Some(compared) = window.get_mut(product) {
                    let Stock { pieces, movements, .. } = compared.sum;
                    let pieces = pieces.saturating_add(quantity);
                    compared.sum = Stock { pieces, movements: movements.saturating_add(1), last: line.timestamp };
                }
            }
            Ok(())
        })
    }

    fn compare_stock(&mut self, product: &[u8], compared: &Compared) {
        let name = String::from_utf8_lossy(product);
        let Compared { kept, sum } = compared;
        match kept {
            Some(kept) if kept.pieces < 0 => self.problem(format!("product {name}: its stock is {}", kept.pieces)),
            Some(kept) if kept == sum => {}
            Some(Stock { pieces, movements, .. }) => self.problem(format!(
                "product {name}: its stock is {pieces} after {movements} movements, and {} movements sum up to {}",
                sum.movements, sum.pieces
            )),
            None => self.problem(format!("product {name}: it has {} movements and no stock", sum.movements)),
        }
    }

    /// Each day has as many deliveries as were scheduled for it and not cancelled.
    fn days(&mut self) -> Result<()> {
        let mut days: BTreeMap<i32, u64> = BTreeMap::new();
        self.each_row(u64::MAX, |row| {
            while row.head().lines == Lines::Orders && row.line()?.is_some() {
                *days.entry(DeliveryLine::read(row.rest())?.day).or_default() += 1;
            }
            Ok(())
        })?;
        self.lives(&mut days)?;
        let table = self.transaction.open_table(table_of::<Deliveries>()).map_err(fault)?;
        for row in table.iter().map_err(fault)? {
            let (key, value) = row.map_err(fault)?;
            let day = day_of_key(key.value())?;
            let found = days.remove(&day).unwrap_or(0);
            let counted = u64::from(read_deliveries(value.value())?);
            self.compare(&format!("deliveries on {}", date_of_day(day)), counted, found);
        }
        for (day, found) in days {
            self.compare(&format!("deliveries on {}", date_of_day(day)), 0, found);
        }
        Ok(())
    }

    /// The set of identities has as many as were settled and not forgotten.
    fn identities(&mut self) -> Result<()> {
        let opaque = self.transaction.open_table(OPAQUE).map_err(fault)?.len().map_err(fault)?;
        self.compare("opaque identities", self.totals.opaque, opaque);
        let mut found = opaque;
        for row in self.transaction.open_table(SOURCES).map_err(fault)?.iter().map_err(fault)? {
            let (_, value) = row.map_err(fault)?;
            found = found.saturating_add(SourceRow::decode(value.value())?.full.count().saturating_mul(CHUNK));
        }
        for row in self.transaction.open_table(CHUNKS).map_err(fault)?.iter().map_err(fault)? {
            self.shared.go_on()?;
            let (_, value) = row.map_err(fault)?;
            found = found.saturating_add(u64::from(Chunk::decode(value.value())?.count()));
        }
        let settled = self.totals.identities.saturating_sub(self.totals.forgotten);
        self.compare("identities", settled, found);
        Ok(())
    }

    /// Each failed copy is in a letter, and each open letter has its record.
    fn letters(&mut self, counts: &Counts) -> Result<()> {
        let originals = self.transaction.open_table(ORIGINALS).map_err(fault)?;
        let (mut copies, mut bytes) = (0_u64, 0_u64);
        for row in self.transaction.open_table(DEAD_LETTERS).map_err(fault)?.iter().map_err(fault)? {
            self.shared.go_on()?;
            let (key, value) = row.map_err(fault)?;
            let letter = Letter::decode(value.value())?;
            copies = copies.saturating_add(u64::from(letter.copies));
            bytes = bytes.saturating_add(letter.bytes);
            if letter.is_open() && originals.get(key.value()).map_err(fault)?.is_none() {
                self.problem(format!("dead letter {}: its record is missing", EventId::new(*key.value())));
            }
        }
        let counted = counts.refused.saturating_add(counts.dead_letters);
        self.compare("refused and dead letters", counted, copies);
        self.compare("bytes of dead letters", self.totals.letter_bytes, bytes);
        Ok(())
    }

    /// Each event tells of something that is there.
    fn events(&mut self) -> Result<()> {
        let letters = self.transaction.open_table(DEAD_LETTERS).map_err(fault)?;
        let ledger = self.transaction.open_table(LEDGER).map_err(fault)?;
        for row in self.transaction.open_table(OUTBOX).map_err(fault)?.iter().map_err(fault)? {
            self.shared.go_on()?;
            let (number, value) = row.map_err(fault)?;
            let there = match Filed::decode(value.value())?.row {
                OutboxRow::DeadLetter { id, .. } => letters.get(id.as_bytes()).map_err(fault)?.is_some(),
                OutboxRow::Scheduled { transaction, first_row, rows } => {
                    let told = (transaction, first_row)..(transaction, first_row.saturating_add(rows));
                    ledger.range(told).map_err(fault)?.count() == rows as usize
                }
                OutboxRow::Moved { .. }
                | OutboxRow::Returned { .. }
                | OutboxRow::StockAlert { .. }
                | OutboxRow::Own(_) => true,
            };
            if !there {
                self.problem(format!("event {} of the outbox tells of nothing that is there", number.value()));
            }
        }
        Ok(())
    }

    /// Walks over the ledger, up to a transaction.
    fn each_row(&self, until: u64, mut visit: impl FnMut(&mut LedgerReader<'_>) -> Result<()>) -> Result<()> {
        let table = self.transaction.open_table(LEDGER).map_err(fault)?;
        for row in table.range(..=(until, u32::MAX)).map_err(fault)? {
            self.shared.go_on()?;
            let (_, value) = row.map_err(fault)?;
            visit(&mut LedgerReader::new(value.value())?)?;
        }
        Ok(())
    }
}

/// A product's stock as it is kept, and as the ledger sums it up.
struct Compared {
    kept: Option<Stock>,
    sum: Stock,
}

fn name(topics: &Topics, (topic, partition): (u32, i32)) -> String {
    let topic = topics.get(topic).map_or("an unknown topic", |topic| &topic.name);
    format!("{topic}/{partition}")
}
