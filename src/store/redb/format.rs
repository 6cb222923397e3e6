//! The store file's format: making a new file, and refusing one that is not ours.
//!
//! A file says its format, its name, its group and its order type. An older format is brought up to
//! date step by step, each in one transaction; a newer one is refused.

use redb::{Database, ReadTransaction, ReadableDatabase, TableError, WriteTransaction};

use super::fault::fault;
use super::tables::{Blobs, META, Tables, read_meta};
use super::totals::{TOTALS, Totals};
use crate::store::StoreIdentity;
use crate::{Error, ErrorCode, Result};

/// The format that this library writes. The second one has dead letters that were replayed or discarded.
pub(super) const FORMAT: u32 = 2;

/// Brings a file from format n + 1 to n + 2, for the n-th of them.
type Migration = fn(&WriteTransaction) -> Result<()>;
const MIGRATIONS: [Migration; FORMAT as usize - 1] = [|_| Ok(())];

const FORMAT_ROW: &str = "format";
const IDENTITY_ROW: &str = "identity";

/// Makes the store in an empty file, or checks that the file is this group's store of this order type.
pub(super) fn prepare(database: &Database, group: &str, order_type: &str, effect: Blobs) -> Result<StoreIdentity> {
    let found = read(&database.begin_read().map_err(fault)?)?;
    let Some((format, identity)) = found else { return make(database, group, order_type, effect) };
    identity.check(group, order_type)?;
    migrate(database, format)?;
    Ok(identity)
}

/// The format and the identity of a store's file; `None` if the file is empty.
pub(super) fn read(transaction: &ReadTransaction) -> Result<Option<(u32, StoreIdentity)>> {
    match transaction.open_table(META) {
        Ok(_) => {}
        Err(TableError::TableDoesNotExist(_)) if transaction.list_tables().map_err(fault)?.next().is_none() => {
            return Ok(None);
        }
        Err(TableError::TableDoesNotExist(_)) => return Err(foreign()),
        Err(error) => return Err(fault(error)),
    }
    let format = read_meta(transaction, FORMAT_ROW)?.and_then(|row| Some(u32::from_le_bytes(*row.first_chunk()?)));
    let format = format.ok_or_else(foreign)?;
    if format > FORMAT {
        let message = format!("the store has format {format} and this library knows formats up to {FORMAT}");
        return Err(Error::new(ErrorCode::StoreFormat, message).remedy("use the release that wrote it, or a later one"));
    }
    let identity = read_meta(transaction, IDENTITY_ROW)?.ok_or_else(foreign)?;
    let identity = serde_json::from_slice(&identity)
        .map_err(|error| Error::new(ErrorCode::StoreCorrupt, "the store does not say whose it is").caused_by(error))?;
    Ok(Some((format, identity)))
}

fn make(database: &Database, group: &str, order_type: &str, effect: Blobs) -> Result<StoreIdentity> {
    let identity = StoreIdentity { name: draw_name()?, group: group.into(), order_type: order_type.into() };
    let json = serde_json::to_vec(&identity)
        .map_err(|error| Error::new(ErrorCode::Internal, "the store's identity cannot be written").caused_by(error))?;
    let transaction = database.begin_write().map_err(fault)?;
    {
        let mut tables = Tables::open(&transaction, effect)?;
        let format = FORMAT.to_le_bytes();
        let totals = Totals::NONE.encode();
        for (name, row) in [(FORMAT_ROW, &format[..]), (IDENTITY_ROW, &json), (TOTALS, &totals)] {
            tables.meta.insert(name, row).map_err(fault)?;
        }
    }
    transaction.commit().map_err(fault)?;
    Ok(identity)
}

fn migrate(database: &Database, format: u32) -> Result<()> {
    for (step, from) in MIGRATIONS.iter().zip(1_u32..).filter(|(_, from)| *from >= format) {
        let transaction = database.begin_write().map_err(fault)?;
        step(&transaction)?;
        transaction
            .open_table(META)
            .map_err(fault)?
            .insert(FORMAT_ROW, (from + 1).to_le_bytes().as_slice())
            .map_err(fault)?;
        transaction.commit().map_err(fault)?;
    }
    Ok(())
}

fn draw_name() -> Result<String> {
    let mut bits = [0; 16];
    getrandom::fill(&mut bits)
        .map_err(|error| Error::new(ErrorCode::Internal, "the system gave no entropy").caused_by(error))?;
    Ok(format!("redb:{:032x}", u128::from_be_bytes(bits)))
}

fn foreign() -> Error {
    Error::new(ErrorCode::StoreForeign, "the file is a database, but not a store of orders").remedy("name another file")
}

/// The totals of a store.
pub(super) fn read_totals(transaction: &ReadTransaction) -> Result<Totals> {
    let row = read_meta(transaction, TOTALS)?;
    Totals::decode(&row.ok_or_else(|| Error::new(ErrorCode::StoreCorrupt, "the store has no totals"))?)
}
