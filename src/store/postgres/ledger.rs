//! The rows of the ledger that a transaction writes.

use tokio_postgres::types::Type;

use super::link::{Link, stored};
use super::positions::column;
use crate::Result;
use crate::store::ledger::{Head, LedgerWriter};

const LEDGER: &str = "INSERT INTO ledger (topic, partition, version, part, orders)
                      SELECT $1, * FROM unnest($2, $3, $4, $5)";
/// Deliveries may be looked for by name.
const DELIVERIES: &str = "WITH kept AS (INSERT INTO ledger (topic, partition, version, part, orders)
                            SELECT $1, * FROM unnest($2, $3, $4, $5) RETURNING id)
                          INSERT INTO unprinted SELECT id FROM kept";
const SCHEDULED: &str =
    "INSERT INTO scheduled (topic, partition, version, ledger_rows) SELECT $1, * FROM unnest($2, $3, $4)";

/// The rows that a transaction adds to the ledger.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    partitions: Vec<i32>,
    versions: Vec<i64>,
    parts: Vec<i32>,
    rows: Vec<Vec<u8>>,
    /// By partition: what failed.
    pub(super) failed: Vec<(i32, Vec<u8>)>,
}

impl Ledger {
    /// Takes a row, if it has orders, and begins another.
    pub(super) fn keep(&mut self, head: Head, row: &mut LedgerWriter) {
        if row.orders() == 0 {
            return;
        }
        let version = stored(head.version);
        let is_next = self.partitions.last() == Some(&head.partition) && self.versions.last() == Some(&version);
        let part = if is_next { self.parts.last().map_or(0, |part| part.saturating_add(1)) } else { 0 };
        self.partitions.push(head.partition);
        self.versions.push(version);
        self.parts.push(part);
        self.rows.push(row.bytes().to_vec());
        row.begin();
    }

    /// Writes the rows, with an event for each part where what is applied is told.
    pub(super) async fn write(&self, link: Link<'_>, topic: u32, announced: bool) -> Result<()> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let number = column(topic);
        let (mut partitions, mut versions, mut rows) = (Vec::new(), Vec::new(), Vec::<i32>::new());
        let parts = self.partitions.iter().zip(&self.versions).zip(&self.parts);
        for ((partition, version), part) in parts.filter(|_| announced) {
            if *part == 0 {
                partitions.push(*partition);
                versions.push(*version);
                rows.push(0);
            }
            rows.iter_mut().rev().take(1).for_each(|count| *count += 1);
        }
        let tell = async {
            if partitions.is_empty() {
                return Ok(());
            }
            let values = [
                (&number as _, Type::INT4),
                (&partitions as _, Type::INT4_ARRAY),
                (&versions as _, Type::INT8_ARRAY),
                (&rows as _, Type::INT4_ARRAY),
            ];
            link.run(SCHEDULED, &values).await
        };
        let values = [
            (&number as _, Type::INT4),
            (&self.partitions as _, Type::INT4_ARRAY),
            (&self.versions as _, Type::INT8_ARRAY),
            (&self.parts as _, Type::INT4_ARRAY),
            (&self.rows as _, Type::BYTEA_ARRAY),
        ];
        let keep = if announced { DELIVERIES } else { LEDGER };
        futures::try_join!(link.run(keep, &values), tell).map(drop)
    }
}
