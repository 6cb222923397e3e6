//! Positions by compare-and-set.
//!
//! A transaction locks the rows of its partitions first and compares their versions; its last write is conditional on the
//! same versions, in the database itself: if it changes fewer rows than it should, it divides by zero, and the commit that
//! follows on it gives everything up (rule R2).

use std::collections::BTreeMap;

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::link::{Link, count_of, get, stored};
use crate::store::standing::Standing;
use crate::store::{Counts, Position, Settled};
use crate::{Error, ErrorCode, Result};

const COLUMNS: &str =
    "partition, next_offset, settled, leader_epoch, version, token, first_offset, applied, duplicates,
                       refused, dead_letters, no_record, topic, owner, claim_epoch";
const MAKE: &str = "INSERT INTO positions (topic, partition) SELECT $1, * FROM unnest($2) ON CONFLICT DO NOTHING";
const WRITE: &str = "WITH written AS (
      UPDATE positions SET next_offset = new.next_offset, settled = new.settled, leader_epoch = new.leader_epoch,
        version = new.version + 1, token = new.token, first_offset = new.first_offset, applied = new.applied,
        duplicates = new.duplicates, refused = new.refused, dead_letters = new.dead_letters, no_record = new.no_record,
        log_time = greatest(positions.log_time, new.log_time), identities = positions.identities + new.identities
      FROM unnest($2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
        AS new (partition, next_offset, settled, leader_epoch, version, token, first_offset, applied, duplicates, refused,
                dead_letters, no_record, log_time, identities)
      WHERE positions.topic = $1 AND positions.partition = new.partition AND positions.version = new.version
      RETURNING 1
    ) SELECT 1 / (count(*) = cardinality($2))::integer FROM written";
const CLAIM: &str = "UPDATE positions SET owner = $3, claim_epoch = $4 WHERE topic = $1 AND partition = ANY($2)";
const LOG_TIME: &str = "SELECT coalesce(max(log_time), -9223372036854775808) FROM positions";
const FAILED: &str = "INSERT INTO failures (topic, partition, causes) SELECT $1, * FROM unnest($2, $3)
                      ON CONFLICT (topic, partition) DO UPDATE SET causes = excluded.causes";

/// What a partition's row holds.
#[derive(Clone, Debug)]
pub(super) struct Stand {
    pub(super) topic: u32,
    pub(super) partition: i32,
    pub(super) standing: Standing,
    /// The process that has taken it over, with its epoch.
    owner: Option<(u128, i32)>,
}

impl Stand {
    /// Whether another process has taken the partition over, and with which epoch.
    pub(super) fn foreign(&self, owner: u128) -> Option<i32> {
        self.owner.filter(|(other, _)| *other != owner).map(|(_, epoch)| epoch)
    }
}

/// A partition's row as it is written.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) partition: i32,
    pub(super) standing: Standing,
    pub(super) log_time: i64,
    /// How many identities were new.
    pub(super) identities: u64,
}

/// The rows of a topic's partitions, locked in their order; those that are missing are made.
pub(super) async fn lock(link: Link<'_>, topic: u32, partitions: &[i32]) -> Result<BTreeMap<i32, Stand>> {
    let mut sorted = partitions.to_vec();
    sorted.sort_unstable();
    let found = locked(link, topic, &sorted).await?;
    if found.len() == sorted.len() {
        return Ok(found);
    }
    let number = column(topic);
    let missing = [(&number as _, Type::INT4), (&sorted as _, Type::INT4_ARRAY)];
    let ((), found) = futures::try_join!(link.run(MAKE, &missing), locked(link, topic, &sorted))?;
    Ok(found)
}

async fn locked(link: Link<'_>, topic: u32, sorted: &[i32]) -> Result<BTreeMap<i32, Stand>> {
    let statement = format!(
        "SELECT {COLUMNS} FROM positions WHERE topic = $1 AND partition = ANY($2) ORDER BY partition FOR NO KEY UPDATE"
    );
    let rows = link.rows(&statement, &[(&column(topic), Type::INT4), (&sorted, Type::INT4_ARRAY)]).await?;
    rows.iter().map(|row| stand(row).map(|stand| (stand.partition, stand))).collect()
}

/// The rows of a topic, as they are committed.
pub(super) async fn read(link: Link<'_>, topic: u32) -> Result<BTreeMap<i32, Position>> {
    let statement = format!("SELECT {COLUMNS} FROM positions WHERE topic = $1 AND version > 0");
    let rows = link.rows(&statement, &[(&column(topic), Type::INT4)]).await?;
    rows.iter().map(|row| stand(row).map(|stand| (stand.partition, stand.standing.position))).collect()
}

/// Every row, in the order of topics and partitions.
pub(super) async fn all(link: Link<'_>) -> Result<Vec<Stand>> {
    let statement = format!("SELECT {COLUMNS} FROM positions WHERE version > 0 ORDER BY topic, partition");
    link.rows(&statement, &[]).await?.iter().map(stand).collect()
}

/// The newest record timestamp that was settled.
pub(super) async fn log_time(link: Link<'_>) -> Result<i64> {
    let rows = link.rows(LOG_TIME, &[]).await?;
    rows.first().map_or(Ok(i64::MIN), |row| get(row, 0))
}

/// Writes rows, each of which still has the version before.
pub(super) async fn write(link: Link<'_>, topic: u32, written: &[Written]) -> Result<()> {
    if written.is_empty() {
        return Ok(());
    }
    let numbers = |of: fn(&Written) -> i64| -> Vec<i64> { written.iter().map(of).collect() };
    let partitions: Vec<i32> = written.iter().map(|row| row.partition).collect();
    let next = numbers(|row| row.standing.position.next);
    let settled: Vec<Vec<u8>> = written.iter().map(|row| encoded(&row.standing.position)).collect();
    let epochs: Vec<i32> = written.iter().map(|row| row.standing.position.leader_epoch).collect();
    let versions = numbers(|row| stored(row.standing.position.version.saturating_sub(1)));
    let tokens: Vec<Vec<u8>> = written.iter().map(|row| row.standing.position.token.to_be_bytes().to_vec()).collect();
    let first = numbers(|row| row.standing.first);
    let applied = numbers(|row| stored(row.standing.counts.applied));
    let duplicates = numbers(|row| stored(row.standing.counts.duplicates));
    let refused = numbers(|row| stored(row.standing.counts.refused));
    let letters = numbers(|row| stored(row.standing.counts.dead_letters));
    let no_record = numbers(|row| stored(row.standing.counts.no_record));
    let log_time = numbers(|row| row.log_time);
    let identities = numbers(|row| stored(row.identities));
    link.run(
        WRITE,
        &[
            (&column(topic), Type::INT4),
            (&partitions, Type::INT4_ARRAY),
            (&next, Type::INT8_ARRAY),
            (&settled, Type::BYTEA_ARRAY),
            (&epochs, Type::INT4_ARRAY),
            (&versions, Type::INT8_ARRAY),
            (&tokens, Type::BYTEA_ARRAY),
            (&first, Type::INT8_ARRAY),
            (&applied, Type::INT8_ARRAY),
            (&duplicates, Type::INT8_ARRAY),
            (&refused, Type::INT8_ARRAY),
            (&letters, Type::INT8_ARRAY),
            (&no_record, Type::INT8_ARRAY),
            (&log_time, Type::INT8_ARRAY),
            (&identities, Type::INT8_ARRAY),
        ],
    )
    .await
}

/// Takes locked rows over.
pub(super) async fn claim(link: Link<'_>, topic: u32, partitions: &[i32], (owner, epoch): (u128, i32)) -> Result<()> {
    let (number, owner) = (column(topic), owner.to_be_bytes());
    let owner = owner.as_slice();
    let values = [
        (&number as _, Type::INT4),
        (&partitions as _, Type::INT4_ARRAY),
        (&owner as _, Type::BYTEA),
        (&epoch as _, Type::INT4),
    ];
    link.run(CLAIM, &values).await
}

/// Keeps what failed in the partitions' writes.
pub(super) async fn keep_failures(link: Link<'_>, topic: u32, failed: &[(i32, Vec<u8>)]) -> Result<()> {
    if failed.is_empty() {
        return Ok(());
    }
    let partitions: Vec<i32> = failed.iter().map(|(partition, _)| *partition).collect();
    let causes: Vec<&[u8]> = failed.iter().map(|(_, causes)| causes.as_slice()).collect();
    let number = column(topic);
    let values = [(&number as _, Type::INT4), (&partitions as _, Type::INT4_ARRAY), (&causes as _, Type::BYTEA_ARRAY)];
    link.run(FAILED, &values).await
}

/// A topic's number in a column. The database draws it, below 2^31.
pub(super) fn column(topic: u32) -> i32 {
    i32::try_from(topic).unwrap_or(i32::MAX)
}

fn encoded(position: &Position) -> Vec<u8> {
    let mut bytes = Vec::new();
    position.settled.encode(position.next, &mut bytes);
    bytes
}

fn stand(row: &Row) -> Result<Stand> {
    let next = get(row, 1)?;
    let token = number_of(get(row, 5)?)?;
    let owner = get::<Option<&[u8]>>(row, 13)?.map(number_of).transpose()?;
    let position = Position {
        next,
        settled: Settled::decode(next, get(row, 2)?)?,
        leader_epoch: get(row, 3)?,
        version: count_of(row, 4)?,
        token,
        ..Position::default()
    };
    let counts = Counts {
        applied: count_of(row, 7)?,
        duplicates: count_of(row, 8)?,
        refused: count_of(row, 9)?,
        dead_letters: count_of(row, 10)?,
        no_record: count_of(row, 11)?,
    };
    Ok(Stand {
        topic: u32::try_from(get::<i32>(row, 12)?).unwrap_or(u32::MAX),
        partition: get(row, 0)?,
        standing: Standing { position, first: get(row, 6)?, counts, written: (0, 0) },
        owner: owner.zip(Some(get(row, 14)?)),
    })
}

fn number_of(bytes: &[u8]) -> Result<u128> {
    let broken = |_| Error::new(ErrorCode::StoreCorrupt, "a position's token cannot be read");
    <[u8; 16]>::try_from(bytes).map(u128::from_be_bytes).map_err(broken)
}
