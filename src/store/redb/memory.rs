//! What the writing thread remembers of a store between transactions.

use std::collections::{BTreeMap, HashMap};

use redb::{Database, ReadTransaction, ReadableDatabase};

use super::effect::{Effect, table_of};
use super::fault::fault;
use super::forget::Forgetting;
use super::format::read_totals;
use super::letters::OpenLetters;
use super::requests::HANDLED;
use super::tables::{LEDGER, POSITIONS, Tables, bytes_of, read_meta};
use super::topics::Topics;
use super::totals::Totals;
use crate::Result;
use crate::store::applied::AppliedSet;
use crate::store::ledger::LedgerReader;
use crate::store::standing::Standing;
use crate::store::{Position, Topic};

/// How many row buffers are kept for the next transaction.
const BUFFERS: usize = 64;

/// Everything here can be read from the file again, and is after a transaction that was given up.
#[derive(Debug)]
pub(super) struct Memory<E> {
    pub(super) topics: Topics,
    pub(super) standings: HashMap<(u32, i32), Standing>,
    pub(super) applied: AppliedSet,
    pub(super) effect: E,
    pub(super) totals: Totals,
    pub(super) open: OpenLetters,
    pub(super) forgetting: Forgetting,
    /// Whether the consumer asks a handler before an order is applied.
    pub(super) handled: bool,
    buffers: Vec<Vec<u8>>,
}

impl<E: Effect> Memory<E> {
    /// Reads what a store remembers, and the part of the ledger that the effect's table does not know of.
    pub(super) fn load(database: &Database, policy: &E::Policy) -> Result<Self> {
        let transaction = database.begin_read().map_err(fault)?;
        let totals = read_totals(&transaction)?;
        Ok(Self {
            topics: Topics::load(&transaction)?,
            standings: HashMap::new(),
            applied: AppliedSet::default(),
            effect: recover(&transaction, policy, &totals)?,
            totals,
            open: OpenLetters::load(database)?,
            forgetting: Forgetting::default(),
            handled: read_meta(&transaction, HANDLED)?.is_some(),
            buffers: Vec::new(),
        })
    }

    /// Where the store stands in the partitions of a topic.
    pub(super) fn positions(&self, database: &Database, topic: &Topic) -> Result<BTreeMap<i32, Position>> {
        let Some(number) = self.topics.find(topic) else { return Ok(BTreeMap::new()) };
        let transaction = database.begin_read().map_err(fault)?;
        let table = transaction.open_table(POSITIONS).map_err(fault)?;
        let mut positions = BTreeMap::new();
        for row in table.range((number, i32::MIN)..=(number, i32::MAX)).map_err(fault)? {
            let (key, value) = row.map_err(fault)?;
            positions.insert(key.value().1, Standing::decode(value.value())?.position);
        }
        Ok(positions)
    }

    /// Where the store stands in one partition; a partition that was never written has version 0.
    pub(super) fn standing(&mut self, tables: &Tables<'_>, at: (u32, i32)) -> Result<&Standing> {
        use std::collections::hash_map::Entry;
        match self.standings.entry(at) {
            Entry::Occupied(known) => Ok(known.into_mut()),
            Entry::Vacant(unknown) => {
                let row = bytes_of(&tables.positions, at)?;
                Ok(unknown.insert(row.map_or_else(|| Ok(Standing::default()), |row| Standing::decode(&row))?))
            }
        }
    }

    /// Writes where the store stands in one partition.
    pub(super) fn stand(&mut self, tables: &mut Tables<'_>, at: (u32, i32), standing: Standing) -> Result<()> {
        let mut row = self.buffer();
        standing.encode(&mut row);
        tables.positions.insert(at, row.as_slice()).map_err(fault)?;
        self.give_back(row);
        self.standings.insert(at, standing);
        Ok(())
    }

    /// An empty buffer.
    pub(super) fn buffer(&mut self) -> Vec<u8> {
        self.buffers.pop().unwrap_or_default()
    }

    pub(super) fn give_back(&mut self, mut buffer: Vec<u8>) {
        if self.buffers.len() < BUFFERS {
            buffer.clear();
            self.buffers.push(buffer);
        }
    }
}

/// The effect with what its table does not know of yet.
pub(super) fn recover<E: Effect>(transaction: &ReadTransaction, policy: &E::Policy, totals: &Totals) -> Result<E> {
    let table = transaction.open_table(table_of::<E>()).map_err(fault)?;
    let ledger = transaction.open_table(LEDGER).map_err(fault)?;
    let mut effect = E::new(policy);
    for row in ledger.range((totals.folded.saturating_add(1), 0)..).map_err(fault)? {
        let (_, value) = row.map_err(fault)?;
        effect.recover(&mut LedgerReader::new(value.value())?, &table)?;
    }
    Ok(effect)
}
