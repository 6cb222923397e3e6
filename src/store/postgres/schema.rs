//! The schema: made, brought up to date step by step, refused where it is another's.
//!
//! A schema says its format, its name, its group and its order type. The steps are SQL files, embedded, one a format; each
//! is taken in one transaction under a lock, so that several processes may migrate at once.

use std::fmt::Write;

use tokio_postgres::types::Type;

use super::address::Address;
use super::link::{Link, count_of, get};
use super::pool::Pool;
use super::settings::PostgresSettings;
use crate::order::{DeliveryOrder, InventoryOrder, Order};
use crate::store::StoreIdentity;
use crate::{Error, ErrorCode, Result};

/// Step n leads from format n to format n + 1.
const STEPS: [&str; 1] = [include_str!("schema/1.sql")];

/// The format that this library reads and writes.
pub(super) const FORMAT: u32 = STEPS.len() as u32;

/// The schema of an order type when nobody names one.
pub(super) fn default_schema(order_type: &str) -> String {
    format!("orderflow_{order_type}")
}

/// What begins a transaction. Everything set here ends with it, so that connections may be pooled by transaction.
pub(super) fn begin(schema: &str, settings: &PostgresSettings, mode: &str) -> String {
    let mut text = format!("BEGIN ISOLATION LEVEL {mode}; SET LOCAL search_path TO {schema}, pg_catalog");
    // Compiling a plan takes longer than anything that is asked here.
    text.push_str("; SET LOCAL jit TO off");
    for (name, value) in [
        ("statement_timeout", settings.transaction_timeout),
        ("lock_timeout", settings.lock_timeout),
        ("idle_in_transaction_session_timeout", settings.idle_timeout),
    ] {
        // Writing to a string cannot fail.
        let _ = write!(text, "; SET LOCAL {name} TO {}", value.as_millis());
    }
    text
}

/// The format and the identity of the store in a schema; `None`: there is none.
pub(super) async fn read(link: Link<'_>, begin: &str) -> Result<Option<(u32, StoreIdentity)>> {
    let there = "SELECT to_regclass('store') IS NOT NULL";
    let ((), found) = futures::try_join!(link.plain(begin), link.rows(there, &[]))?;
    let there = found.first().map(|row| get::<bool>(row, 0)).transpose()?.unwrap_or(false);
    let read = if there {
        let rows = link.rows("SELECT format::bigint, name, group_name, order_type FROM store", &[]).await?;
        let nobody = || Error::new(ErrorCode::StoreCorrupt, "the store does not say whose it is");
        let row = rows.first().ok_or_else(nobody)?;
        let identity = StoreIdentity { name: get(row, 1)?, group: get(row, 2)?, order_type: get(row, 3)? };
        Some((u32::try_from(count_of(row, 0)?).unwrap_or(u32::MAX), identity))
    } else {
        None
    };
    link.plain("COMMIT").await?;
    Ok(read)
}

/// Checks what was read against what this library knows.
pub(super) fn check(found: Option<(u32, StoreIdentity)>, schema: &str) -> Result<(u32, StoreIdentity)> {
    let missing = || {
        Error::new(ErrorCode::StoreMissing, format!("there is no store in the schema {schema}"))
            .remedy("`orders migrate` makes it")
    };
    let (format, identity) = found.ok_or_else(missing)?;
    let remedy = match format {
        FORMAT => return Ok((format, identity)),
        newer if newer > FORMAT => "use the release that wrote it, or a later one",
        _ => "run `orders migrate`",
    };
    let message = format!("the store has format {format} and this library has format {FORMAT}");
    Err(Error::new(ErrorCode::StoreFormat, message).remedy(remedy))
}

/// Makes the store, or brings it up to date. Returns the format that it had; 0: it was not there.
pub(super) async fn migrate(
    link: Link<'_>,
    schema: &str,
    settings: &PostgresSettings,
    owner: &StoreIdentity,
) -> Result<u32> {
    let alone = "SELECT pg_advisory_xact_lock(hashtextextended('orderflow ' || $1, 0))";
    let begin = begin(schema, settings, "READ COMMITTED");
    let there = "SELECT to_regclass('store') IS NOT NULL, EXISTS (SELECT FROM pg_namespace WHERE nspname = $1)";
    let named = [(&schema as _, Type::TEXT)];
    let ((), _, found) = futures::try_join!(link.plain(&begin), link.rows(alone, &named), link.rows(there, &named))?;
    let row = found.first().ok_or_else(|| Error::new(ErrorCode::StoreIo, "the database gave no answer"))?;
    let (has_store, has_schema): (bool, bool) = (get(row, 0)?, get(row, 1)?);
    let mut format = 0;
    if has_store {
        let rows = link.rows("SELECT format::bigint, group_name, order_type, name FROM store FOR UPDATE", &[]).await?;
        if let Some(row) = rows.first() {
            format = u32::try_from(count_of(row, 0)?).unwrap_or(u32::MAX);
            let kept = StoreIdentity { name: get(row, 3)?, group: get(row, 1)?, order_type: get(row, 2)? };
            kept.check(&owner.group, &owner.order_type)?;
        }
    } else if !has_schema {
        link.plain(&format!("CREATE SCHEMA {schema}")).await?;
    }
    let before = format;
    for step in STEPS.iter().skip(format as usize) {
        link.plain(step).await?;
        format += 1;
        let (kept, name, group, kind) = (i64::from(format), &owner.name, &owner.group, &owner.order_type);
        let values =
            [(&kept as _, Type::INT8), (name as _, Type::TEXT), (group as _, Type::TEXT), (kind as _, Type::TEXT)];
        let note = "INSERT INTO store (format, name, group_name, order_type) VALUES ($1::bigint, $2, $3, $4)
                    ON CONFLICT (is_only) DO UPDATE SET format = excluded.format";
        link.run(note, &values).await?;
    }
    link.plain("COMMIT").await?;
    Ok(before)
}

/// A name for a new store.
pub(super) fn draw_name() -> Result<String> {
    let mut bits = [0; 16];
    getrandom::fill(&mut bits)
        .map_err(|error| Error::new(ErrorCode::Internal, "the system gave no entropy").caused_by(error))?;
    Ok(format!("postgres:{:032x}", u128::from_be_bytes(bits)))
}

/// The only schema of a database that has a store, unless the URL names one.
pub(super) async fn find(pool: &Pool, address: &Address, settings: &PostgresSettings) -> Result<String> {
    if let Some(schema) = &address.schema {
        return Ok(schema.clone());
    }
    let names = [InventoryOrder::TYPE, DeliveryOrder::TYPE].map(default_schema);
    let lease = pool.lease().await?;
    let mut found = Vec::new();
    for name in names {
        let read = read(Link { client: lease.client()? }, &begin(&name, settings, "READ COMMITTED")).await?;
        found.extend(read.map(|_| name));
    }
    lease.give_back();
    match found.as_slice() {
        [only] => Ok(only.clone()),
        [] => Err(Error::new(ErrorCode::StoreMissing, format!("{address} has no store")).remedy(
            "a consumer makes it when it first runs, or `orders migrate`; another schema is named by ?schema=",
        )),
        several => {
            Err(Error::new(ErrorCode::ConfigValue, format!("{address} has several stores: {}", several.join(", ")))
                .remedy("name one of them with ?schema="))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_of_another_format_is_refused_with_what_leads_on() {
        let identity = || StoreIdentity { name: "n".into(), group: "g".into(), order_type: "inventory".into() };
        assert_eq!(check(Some((FORMAT, identity())), "s").unwrap().0, FORMAT);
        assert_eq!(check(None, "s").unwrap_err().code(), ErrorCode::StoreMissing);
        for format in [0, FORMAT + 1] {
            assert_eq!(check(Some((format, identity())), "s").unwrap_err().code(), ErrorCode::StoreFormat);
        }
    }
}
