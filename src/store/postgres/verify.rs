//! The audit of a store.
//!
//! Three accounts that were kept apart must agree: what became of every offset (positions), what was applied (the ledger),
//! and what follows from it (stock or days, identities, dead letters). All of it is read in one state of the database, in
//! bounded memory: products are compared a window at a time, with one walk over the ledger for each.

use std::collections::{BTreeMap, HashMap};

use tokio_postgres::types::Type;

use super::base::Base;
use super::effect::Effect;
use super::link::{Link, count_of, get};
use super::moves::{known, name_of};
use super::office::backlog;
use super::page::each_row;
use super::positions::{self, column};
use super::stock::Inventory;
use super::topics::Topics;
use crate::Result;
use crate::order::{InventoryOrder, Order};
use crate::store::dead_letter::Letter;
use crate::store::delivery_line::DeliveryLine;
use crate::store::inventory::{Stock, read_movement};
use crate::store::ledger::Lines;
use crate::store::life::Life;
use crate::store::pack::Unpack;
use crate::store::schedule::date_of_day;
use crate::store::standing::Standing;
use crate::store::{Audit, Counts};

/// How many products are compared in one walk over the ledger.
const WINDOW: i64 = 65_536;

const STOCK: &str = "SELECT product, pieces, movements, last_movement FROM stock
                     WHERE product > $1 AND movements > 0 ORDER BY product LIMIT $2";
const COUNTED: &str =
    "SELECT coalesce(sum(identities), 0)::bigint, (SELECT value FROM counters WHERE name = 'forgotten'),
                         (SELECT count(*) FROM identities) + (SELECT count(*) FROM opaque_identities)
                       FROM positions";
const LETTERS: &str = "SELECT id, letter, record IS NULL FROM dead_letters WHERE id > $1 ORDER BY id LIMIT 2000";
const LIVES: &str = "SELECT lives.id, life, orders FROM lives
                     LEFT JOIN ledger ON ledger.id = lives.row WHERE lives.id > $1 ORDER BY lives.id LIMIT 2000";
const ROOM: &str = "SELECT value FROM counters WHERE name = 'letter_bytes'";
const EVENTS: &str = "SELECT count(*) FROM outbox
                      WHERE letter IS NOT NULL AND NOT EXISTS (SELECT FROM dead_letters WHERE id = outbox.letter)";
const SCHEDULED: &str = "SELECT count(*) FROM scheduled WHERE ledger_rows <> (SELECT count(*) FROM ledger
                           WHERE (ledger.topic, ledger.partition, ledger.version)
                             = (scheduled.topic, scheduled.partition, scheduled.version))";

/// Audits a store.
pub(super) async fn verify(base: &Base, link: Link<'_>) -> Result<Audit> {
    let mut auditor = Auditor { link, problems: Vec::new() };
    let counts = if base.identity.order_type == InventoryOrder::TYPE {
        let (counts, _) = auditor.accounts(Inventory::skip).await?;
        auditor.stock().await?;
        counts
    } else {
        let mut days = BTreeMap::new();
        let (counts, moves) =
            auditor.accounts(|line| DeliveryLine::read(line).map(|it| count(&mut days, it.day))).await?;
        auditor.days(days, moves).await?;
        counts
    };
    auditor.identities().await?;
    auditor.letters(&counts).await?;
    auditor.events().await?;
    Ok(Audit::new(counts, auditor.problems, backlog(link).await?))
}

struct Auditor<'a> {
    link: Link<'a>,
    problems: Vec<String>,
}

impl Auditor<'_> {
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

    /// Every offset is accounted for, and the ledger holds what was counted as applied. `order` reads what follows the head of
    /// an order's line. Returns how many moves the ledger has, beside the counts.
    async fn accounts(&mut self, mut order: impl FnMut(&mut Unpack<'_>) -> Result<()> + Send) -> Result<(Counts, u64)> {
        let topics = Topics::load(self.link).await?;
        let mut accounts: BTreeMap<(u32, i32), Counts> = BTreeMap::new();
        for stand in positions::all(self.link).await? {
            let at = (stand.topic, stand.partition);
            self.account(&mut accounts, &topics, at, &stand.standing)?;
            let number = column(stand.topic);
            let closed = "SELECT closed FROM starts WHERE topic = $1 AND partition = $2";
            for row in self.link.rows(closed, &[(&number, Type::INT4), (&stand.partition, Type::INT4)]).await? {
                self.account(&mut accounts, &topics, at, &Standing::decode(get(&row, 0)?)?)?;
            }
        }
        let (mut applied, mut moves): (HashMap<(u32, i32), u64>, u64) = Default::default();
        each_row(self.link, None, |row| {
            let mut lines = 0;
            while row.line()?.is_some() {
                row.skip(&mut order)?;
                lines += 1;
            }
            *applied.entry((row.head().topic, row.head().partition)).or_default() += lines;
            moves += if row.head().lines == Lines::Moves { lines } else { 0 };
            Ok(())
        })
        .await?;
        let mut sum = Counts::default();
        for (at, counts) in accounts {
            let found = applied.remove(&at).unwrap_or(0);
            self.compare(&format!("orders applied of {}", name(&topics, at)), counts.applied, found);
            sum.add(&counts);
        }
        for (at, found) in applied {
            self.compare(&format!("orders applied of {}", name(&topics, at)), 0, found);
        }
        Ok((sum, moves))
    }

    fn account(
        &mut self,
        accounts: &mut BTreeMap<(u32, i32), Counts>,
        topics: &Topics,
        at: (u32, i32),
        standing: &Standing,
    ) -> Result<()> {
        if !standing.adds_up() {
            let (first, next) = (standing.first, standing.position.next);
            let (offsets, total) = (name(topics, at), standing.counts.total());
            self.problem(format!("{offsets}: the offsets from {first} to {next} are not the {total} accounted for"));
        }
        accounts.entry(at).or_default().add(&standing.counts);
        Ok(())
    }

    /// Stock is the sum of movements.
    async fn stock(&mut self) -> Result<()> {
        let mut after = String::new();
        loop {
            let rows = self.link.rows(STOCK, &[(&after, Type::TEXT), (&WINDOW, Type::INT8)]).await?;
            let is_last = (rows.len() as i64) < WINDOW;
            let mut window: HashMap<String, (Option<Stock>, Stock)> = HashMap::with_capacity(rows.len());
            let mut end = String::new();
            for row in &rows {
                let kept = Stock { pieces: get(row, 1)?, movements: count_of(row, 2)?, last: get(row, 3)? };
                end = get(row, 0)?;
                window.insert(end.clone(), (Some(kept), Stock::default()));
            }
            let is_here = |product: &str| product > after.as_str() && (is_last || product <= end.as_str());
            self.sum_movements(&mut window, is_here).await?;
            for (product, (kept, sum)) in window {
                self.compare_stock(&product, kept, sum);
            }
            if is_last {
                return Ok(());
            }
            after = end;
        }
    }

    async fn sum_movements(
        &self,
        window: &mut HashMap<String, (Option<Stock>, Stock)>,
        is_here: impl Fn(&str) -> bool + Send + Sync,
    ) -> Result<()> {
        each_row(self.link, None, |row| {
            let mut told = Vec::new();
            while let Some(line) = row.line()? {
                let (product, quantity) = read_movement(row.rest(), &mut told)?;
                if !is_here(product) {
                    continue;
                }
                if !window.contains_key(product) {
                    window.insert(product.to_owned(), (None, Stock::default()));
                }
                if let Some((_, sum)) = window.get_mut(product) {
                    let (pieces, movements) = (sum.pieces.saturating_add(quantity), sum.movements.saturating_add(1));
                    *sum = Stock { pieces, movements, last: line.timestamp };
                }
            }
            Ok(())
        })
        .await
    }

    /// The time of the last movement is not compared: processes that commit side by side number their rows in any order.
    fn compare_stock(&mut self, product: &str, kept: Option<Stock>, sum: Stock) {
        match kept {
            Some(kept) if kept.pieces < 0 => self.problem(format!("product {product}: its stock is {}", kept.pieces)),
            Some(kept) if (kept.pieces, kept.movements) == (sum.pieces, sum.movements) => {}
            Some(Stock { pieces, movements, .. }) => self.problem(format!(
                "product {product}: its stock is {pieces} after {movements} movements, and {} movements sum up to {}",
                sum.movements, sum.pieces
            )),
            None => self.problem(format!("product {product}: it has {} movements and no stock", sum.movements)),
        }
    }

    /// Each day has as many deliveries as were scheduled for it and not cancelled.
    async fn days(&mut self, mut days: BTreeMap<i32, u64>, moves: u64) -> Result<()> {
        let made = self.lives(&mut days).await?;
        self.compare("moves of deliveries", moves, made);
        for row in self.link.rows("SELECT day, deliveries FROM days ORDER BY day", &[]).await? {
            let day = get(&row, 0)?;
            let found = days.remove(&day).unwrap_or(0);
            self.compare(&format!("deliveries on {}", date_of_day(day)), count_of(&row, 1)?, found);
        }
        for (day, found) in days {
            self.compare(&format!("deliveries on {}", date_of_day(day)), 0, found);
        }
        Ok(())
    }

    /// Each delivery that has moved is on its line, and a day has none that is cancelled. How many moves were made.
    async fn lives(&mut self, days: &mut BTreeMap<i32, u64>) -> Result<u64> {
        let topics = Topics::load(self.link).await?;
        let (mut made, mut after) = (0_u64, Vec::new());
        loop {
            let rows = self.link.rows(LIVES, &[(&after, Type::BYTEA)]).await?;
            for row in &rows {
                after = get(row, 0)?;
                let (id, life) = (name_of(&after)?, Life::decode(get(row, 1)?)?);
                made = made.saturating_add(life.moves.len() as u64);
                if life.is_cancelled()
                    && let Some(day) = days.get_mut(&life.day)
                {
                    *day = day.saturating_sub(1);
                }
                if let Err(error) = known(&topics, id, &life, get(row, 2)?) {
                    self.problem(format!("delivery {id}: {error}"));
                }
            }
            if rows.is_empty() {
                return Ok(made);
            }
        }
    }

    /// The set of identities has as many as were settled and not forgotten.
    async fn identities(&mut self) -> Result<()> {
        for row in self.link.rows(COUNTED, &[]).await? {
            let settled = count_of(&row, 0)?.saturating_sub(count_of(&row, 1)?);
            self.compare("identities", settled, count_of(&row, 2)?);
        }
        Ok(())
    }

    /// Each failed copy is in a letter, and each open letter has its record.
    async fn letters(&mut self, counts: &Counts) -> Result<()> {
        let (mut copies, mut bytes, mut after) = (0_u64, 0_u64, Vec::new());
        loop {
            let rows = self.link.rows(LETTERS, &[(&after, Type::BYTEA)]).await?;
            for row in &rows {
                let letter = Letter::decode(get(row, 1)?)?;
                copies = copies.saturating_add(u64::from(letter.copies));
                bytes = bytes.saturating_add(letter.bytes);
                after = get(row, 0)?;
                if letter.is_open() && get::<bool>(row, 2)? {
                    self.problem(format!("dead letter {}: its record is missing", super::letters::id_of(&after)?));
                }
            }
            if rows.is_empty() {
                break;
            }
        }
        let counted = counts.refused.saturating_add(counts.dead_letters);
        self.compare("refused and dead letters", counted, copies);
        let room = self.link.rows(ROOM, &[]).await?;
        let kept = room.first().map_or(Ok(0), |row| count_of(row, 0))?;
        self.compare("bytes of dead letters", kept, bytes);
        Ok(())
    }

    /// Each event tells of something that is there.
    async fn events(&mut self) -> Result<()> {
        for (statement, what) in [(EVENTS, "events of letters"), (SCHEDULED, "events of deliveries")] {
            let rows = self.link.rows(statement, &[]).await?;
            let lost = rows.first().map_or(Ok(0), |row| count_of(row, 0))?;
            if lost > 0 {
                self.problem(format!("{lost} {what} in the outbox tell of nothing that is there"));
            }
        }
        Ok(())
    }
}

fn count(days: &mut BTreeMap<i32, u64>, day: i32) {
    *days.entry(day).or_default() += 1;
}

fn name(topics: &Topics, (topic, partition): (u32, i32)) -> String {
    let topic = topics.get(topic).map_or("an unknown topic", |topic| &topic.name);
    format!("{topic}/{partition}")
}
