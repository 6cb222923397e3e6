//! Forgetting identities that are old, a bounded step at a time, each in a transaction of its own.

use std::sync::atomic::Ordering;

use tokio_postgres::types::Type;

use super::effect::Effect;
use super::keeper::{Keeper, within};
use super::link::{Link, count_of, get, stored};
use super::positions;
use crate::Result;
use crate::store::Retention;

/// A step is taken once in so many transactions of a process.
const TRANSACTIONS_A_STEP: u64 = 16;
/// How many identities a step takes away of each kind.
const IDENTITIES_A_STEP: i64 = 20_000;

const OLD_OPAQUE: &str = "WITH oldest AS (SELECT number, newest FROM opaque_identities ORDER BY number LIMIT $2),
                            gone AS (DELETE FROM opaque_identities USING oldest
                                     WHERE opaque_identities.number = oldest.number AND oldest.newest < $1 RETURNING 1)
                          SELECT count(*) FROM gone";
/// Numbers have gaps: only if there may be too many are they counted.
const SPAN: &str = "SELECT coalesce(max(number) - min(number) + 1, 0) FROM opaque_identities";
const COUNT: &str = "SELECT count(*) FROM opaque_identities";
const OLDEST: &str = "WITH gone AS (DELETE FROM opaque_identities WHERE number IN
                        (SELECT number FROM opaque_identities ORDER BY number LIMIT $1) RETURNING 1)
                      SELECT count(*) FROM gone";
const OLD_SOURCE: &str = "SELECT number FROM sources WHERE newest < $1 ORDER BY number LIMIT 1 FOR UPDATE SKIP LOCKED";
const OF_SOURCE: &str = "WITH gone AS (DELETE FROM identities WHERE (source, entry) IN
                           (SELECT source, entry FROM identities WHERE source = $1 ORDER BY entry LIMIT $2) RETURNING 1)
                         SELECT count(*) FROM gone";
const SOURCE: &str = "DELETE FROM sources WHERE number = $1";
const NOTE: &str = "UPDATE counters SET value = value + $1 WHERE name = 'forgotten'";

impl<E: Effect> Keeper<E> {
    /// Takes a step if it is time to. What fails is left to the next one.
    pub(super) async fn forget_some(&self) {
        if self.base.turns.fetch_add(1, Ordering::Relaxed) % TRANSACTIONS_A_STEP != TRANSACTIONS_A_STEP - 1 {
            return;
        }
        if let Err(error) = within(&self.base, self.forget()).await {
            tracing::debug!(%error, "old identities were not forgotten");
        }
    }

    async fn forget(&self) -> Result<()> {
        let lease = self.base.lease().await?;
        let done = self.forget_on(Link { client: lease.client()? }).await;
        self.base.end(lease, done).await
    }

    async fn forget_on(&self, link: Link<'_>) -> Result<()> {
        let retention = &self.base.settings.retention;
        let ((), log, span) =
            futures::try_join!(link.plain(self.base.begin()), positions::log_time(link), link.rows(SPAN, &[]))?;
        let numbered = forget_source(link, before(log, retention, retention.numbered)).await?;
        let old = before(log, retention, retention.opaque);
        let mut opaque = one(&link.rows(OLD_OPAQUE, &[(&old, Type::INT8), (&IDENTITIES_A_STEP, Type::INT8)]).await?)?;
        if one(&span)? > retention.max_opaque {
            let beyond = one(&link.rows(COUNT, &[]).await?)?.saturating_sub(retention.max_opaque);
            let most = stored(beyond).min(IDENTITIES_A_STEP);
            opaque = opaque.saturating_add(one(&link.rows(OLDEST, &[(&most, Type::INT8)]).await?)?);
        }
        let gone = stored(numbered.saturating_add(opaque));
        if gone > 0 {
            link.run(NOTE, &[(&gone, Type::INT8)]).await?;
        }
        link.plain("COMMIT").await
    }
}

/// Takes away identities of an old source that nobody uses now, and with the last of them the source.
async fn forget_source(link: Link<'_>, before: i64) -> Result<u64> {
    let found = link.rows(OLD_SOURCE, &[(&before, Type::INT8)]).await?;
    let Some(row) = found.first() else { return Ok(0) };
    let number: i32 = get(row, 0)?;
    let forgotten = one(&link.rows(OF_SOURCE, &[(&number, Type::INT4), (&IDENTITIES_A_STEP, Type::INT8)]).await?)?;
    if stored(forgotten) < IDENTITIES_A_STEP {
        link.run(SOURCE, &[(&number, Type::INT4)]).await?;
    }
    Ok(forgotten)
}

/// What is older than this may be forgotten.
fn before(log: i64, retention: &Retention, kept: std::time::Duration) -> i64 {
    let kept = kept.max(retention.log.unwrap_or_default());
    log.saturating_sub(i64::try_from(kept.as_millis()).unwrap_or(i64::MAX))
}

fn one(rows: &[tokio_postgres::Row]) -> Result<u64> {
    rows.first().map_or(Ok(0), |row| count_of(row, 0))
}
