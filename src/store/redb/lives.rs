//! Reading the deliveries that have moved.

use redb::{ReadOnlyTable, ReadTransaction, ReadableTable, ReadableTableMetadata};

use super::fault::fault;
use super::tables::{LEDGER, LIVES, bytes_of, if_there};
use super::topics::Topics;
use crate::store::life::{Life, line_of};
use crate::store::{EventId, KnownDelivery};
use crate::{Error, ErrorCode, Result};

/// The deliveries that have moved, if any has.
pub(super) struct Lives<'a> {
    lives: ReadOnlyTable<&'static [u8], &'static [u8]>,
    ledger: ReadOnlyTable<(u64, u32), &'static [u8]>,
    topics: &'a Topics,
}

impl<'a> Lives<'a> {
    pub(super) fn of(transaction: &ReadTransaction, topics: &'a Topics) -> Result<Option<Self>> {
        let Some(lives) = if_there(transaction, LIVES)? else { return Ok(None) };
        if lives.is_empty().map_err(fault)? {
            return Ok(None);
        }
        let ledger = transaction.open_table(LEDGER).map_err(fault)?;
        Ok(Some(Self { lives, ledger, topics }))
    }

    /// What a delivery has made of itself; `None`: it has not moved.
    pub(super) fn life(&self, id: EventId) -> Result<Option<Life>> {
        bytes_of(&self.lives, id.as_bytes().as_slice())?.map(|row| Life::decode(&row)).transpose()
    }

    /// Everything that is known of a delivery that has moved; `None`: no such delivery has.
    pub(super) fn known(&self, id: EventId) -> Result<Option<KnownDelivery>> {
        self.life(id)?.map(|life| self.with_line(id, &life)).transpose()
    }

    fn with_line(&self, id: EventId, life: &Life) -> Result<KnownDelivery> {
        let row =
            self.ledger.get(life.row).map_err(fault)?.ok_or_else(|| corrupt("its row of the ledger is not there"))?;
        let line = line_of(row.value(), life.line, |number| {
            self.topics.get(number).ok_or_else(|| corrupt("its topic is not known"))
        })?;
        KnownDelivery::of(id, life, &line)
    }

    /// Visits each, with what is wrong with it.
    pub(super) fn each(&self, mut visit: impl FnMut(EventId, &Life, Option<String>) -> Result<()>) -> Result<()> {
        for row in self.lives.iter().map_err(fault)? {
            let (key, value) = row.map_err(fault)?;
            let id = EventId::new(<[u8; 16]>::try_from(key.value()).map_err(|_| corrupt("its name cannot be read"))?);
            let life = Life::decode(value.value())?;
            let problem = self.with_line(id, &life).err().map(|error| error.to_string());
            visit(id, &life, problem)?;
        }
        Ok(())
    }
}

fn corrupt(sentence: &'static str) -> Error {
    Error::new(ErrorCode::StoreCorrupt, sentence)
}
