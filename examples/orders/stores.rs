//! `orders stock | deliveries | verify`: what a store holds, also while a consumer holds the store.

use orderflow::Result;
use orderflow::audit::against_log;
use orderflow::config::ClientConfig;
use orderflow::store::{Audit, PositionRow, Query, Row, StoreReader};
use orderflow::trace::shown;

use crate::face::Flags;
use crate::face::finish::Ending;
use crate::face::output::{Lines, complain};
use crate::table::Table;

/// Prints the rows that answer a query.
pub(crate) async fn show(flags: &Flags, lines: &Lines, store: &str, query: Query) -> Result<Ending> {
    let mut table = Table::new(flags, lines);
    let mut answer = StoreReader::open(store).await?.ask(query);
    while let Some(page) = answer.page().await? {
        page.iter().for_each(|row| table.row(row.to_object()));
    }
    table.finish();
    tell_adopted(store).await?;
    Ok(Ending::Done)
}

/// Says where the store is not complete from its beginning.
async fn tell_adopted(store: &str) -> Result<()> {
    for row in StoreReader::open(store).await?.ask(Query::Positions).rows().await? {
        if let Row::Position(PositionRow { topic, partition: Some(partition), adopted: Some(offset), .. }) = row {
            complain(&format!(
                "this store is not complete from its beginning: it took {topic}/{partition} over at offset {offset}"
            ));
        }
    }
    Ok(())
}

/// Makes a store in PostgreSQL, or brings it up to date.
#[cfg(feature = "postgres")]
pub(crate) async fn migrate(flags: &Flags, lines: &Lines, store: &str, (group, kind): (&str, &str)) -> Result<Ending> {
    let (before, after) = orderflow::store::migrate(store, group, kind).await?;
    let mut table = Table::new(flags, lines);
    table.row(serde_json::json!({ "group": group, "order_type": kind, "before": before, "format": after }));
    table.finish();
    Ok(Ending::Done)
}

/// Prints the audit; with brokers named on the command line, that of the log as well.
pub(crate) async fn verify(flags: &Flags, lines: &Lines, config: &ClientConfig, store: &str) -> Result<Ending> {
    let Some(mut audit) = audit(store).await? else { return Ok(Ending::Undone) };
    if flags.names_brokers() {
        let log = against_log(config, &StoreReader::open(store).await?).await?;
        complain(&format!(
            "compared with {} records of the log; {} of the store's offsets are gone there",
            log.records, log.gone
        ));
        audit.problems.extend(log.problems);
        audit.holds = audit.problems.is_empty();
    }
    let holds = audit.holds;
    if audit.outbox_rows > 0 {
        let since = audit.outbox_since.as_deref().unwrap_or("an unknown time");
        let rows = audit.outbox_rows;
        complain(&format!(
            "{rows} rows of the outbox wait to be relayed, the oldest since {since}: a running consumer does it"
        ));
    }
    for problem in &audit.problems {
        complain(problem);
    }
    let mut table = Table::new(flags, lines);
    table.row(Row::Audit(audit).to_object());
    table.finish();
    tell_adopted(store).await?;
    Ok(if holds { Ending::Done } else { Ending::Undone })
}

/// Says how much waits in a store's outbox.
pub(crate) async fn tell_outbox(store: &str) -> Result<()> {
    for row in StoreReader::open(store).await?.ask(Query::Outbox).rows().await? {
        if let Row::Outbox(backlog) = row {
            complain(&format!("the outbox of {}: {backlog}", shown(store)));
        }
    }
    Ok(())
}

async fn audit(store: &str) -> Result<Option<Audit>> {
    let rows = StoreReader::open(store).await?.ask(Query::Verify).rows().await?;
    Ok(rows.into_iter().find_map(|row| if let Row::Audit(audit) = row { Some(audit) } else { None }))
}
