//! Applying each order once in a transaction of your own.
//!
//! A [`PositionGuard`] does no I/O: it gives statements for PostgreSQL with their parameters, which any driver can run, and
//! judges what they answer. You write the [`Store`](super::Store) around it, with your own tables, in your own transaction; the
//! consumer does the rest.
//!
//! ```text
//!  BEGIN
//!    claim        positions move, each only from the version that is expected (R2)     rows changed: yours?
//!    identities   who is here for the first time                                       -> the orders that are due
//!    ...          your effects, order by order; what you cannot do you refuse
//!    the rest     refusals, dead letters, notes
//!  COMMIT         effects and positions together (R1)
//! ```
//! A commit whose answer is lost is no trouble: the consumer gives the same batch again, its claim changes nothing, and
//! [`Settlement::recall`] gives the answer that was lost (R5).
//!
//! Dead letters and refusals stay in the guard's table `orderflow_dead_letters`; no relay publishes them. Identities are kept
//! until you [forget](PositionGuard::forget) them.

mod decided;
mod notes;
mod settlement;
mod statement;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

pub use self::decided::{Decided, Due};
pub use self::settlement::Settlement;
pub use self::statement::{Statement, Value};
use super::dead_letter::decode_original;
use super::{Batch, Original, Position, Settled, Start, StoreIdentity, Topic};
use crate::order::Order;
use crate::place::{Place, TopicPartition};
use crate::{Error, ErrorCode, Result};

// One row for each group; the answer is the same for whoever comes second.
const ENROL: &str = "INSERT INTO orderflow_stores AS known (group_name, name, order_type)
  VALUES ($1::text, 'guard:' || md5(random()::text || clock_timestamp()::text), $2::text)
  ON CONFLICT (group_name) DO UPDATE SET group_name = excluded.group_name
  RETURNING name, order_type";
const POSITIONS: &str = "SELECT partition, next_offset, settled, leader_epoch, version, token, noted
  FROM orderflow_positions WHERE group_name = $1::text AND topic_key = $2::text";
// A repeat of the same write changes nothing and counts as done (rule R5).
const SET: &str = "INSERT INTO orderflow_positions AS stands (group_name, topic_key, topic, partition, next_offset, settled,
    leader_epoch, version, token, noted, set_for, updated_at)
  SELECT $1::text, $2::text, $3::text, $4::integer, $5::bigint, '', $6::integer, $7::bigint + 1, $8::bytea, '', $9::text, now()
  WHERE $7::bigint = 0 OR EXISTS (SELECT FROM orderflow_positions AS known
    WHERE known.group_name = $1 AND known.topic_key = $2 AND known.partition = $4)
  ON CONFLICT (group_name, topic_key, partition) DO UPDATE SET next_offset = excluded.next_offset, settled = '',
    leader_epoch = excluded.leader_epoch, version = excluded.version, token = excluded.token, noted = '',
    set_for = excluded.set_for, updated_at = now()
  WHERE stands.version = excluded.version - 1 OR (stands.version = excluded.version AND stands.token = excluded.token)";
const FORGET: &str = "DELETE FROM orderflow_identities WHERE group_name = $1::text AND log_time < $2::bigint";

/// Positions by compare-and-set, and who was here before, for a transaction of your own in PostgreSQL.
///
/// `service/` of the repository is a whole service on sqlx that reserves stock, schedules and notifies with it.
///
/// ```
/// use orderflow::order::{DeliveryOrder, Order};
/// use orderflow::store::{Applied, Batch, Position, PositionGuard};
/// # use orderflow::store::{Statement, StoredPosition};
/// # trait Transaction { fn execute(&mut self, statement: Statement) -> u64; fn fresh(&mut self, statement: Statement) -> Vec<(Vec<u8>, bool)>;
/// # fn stands(&mut self, statement: Statement) -> Vec<StoredPosition>; fn reserve(&mut self, order: &DeliveryOrder) -> bool; fn commit(&mut self); }
///
/// /// What `Store::apply` does, between `BEGIN` and `COMMIT`.
/// fn apply(guard: &PositionGuard, batch: &Batch<DeliveryOrder>, tx: &mut impl Transaction) -> orderflow::Result<Applied> {
///     let settlement = guard.settle(batch);
///     let changed = tx.execute(settlement.claim());
///     if !settlement.is_claimed(changed) {
///         // Committed before, or somebody else's: the positions tell. Roll back, then:
///         return settlement.recall(tx.stands(settlement.standing()));
///     }
///     let mut decided = settlement.decide(tx.fresh(settlement.identities()));
///     for due in decided.due() {
///         if !tx.reserve(due.order) {
///             decided.refuse(&due, "SHOP-SOLD-OUT", "nothing is left of it");
///         }
///     }
///     for statement in decided.statements() {
///         tx.execute(statement);
///     }
///     tx.commit();
///     Ok(decided.applied())
/// }
/// ```
#[derive(Clone, Debug)]
pub struct PositionGuard {
    identity: StoreIdentity,
}

/// A row that [`PositionGuard::positions`] selects, column by column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredPosition {
    /// `partition`, an `integer`.
    pub partition: i32,
    /// `next_offset`, a `bigint`.
    pub next_offset: i64,
    /// `settled`, a `bytea`.
    pub settled: Vec<u8>,
    /// `leader_epoch`, an `integer`.
    pub leader_epoch: i32,
    /// `version`, a `bigint`.
    pub version: i64,
    /// `token`, a `bytea`.
    pub token: Vec<u8>,
    /// `noted`, a `bytea`.
    pub noted: Vec<u8>,
}

impl PositionGuard {
    /// The tables: several statements that change nothing where they were run before.
    pub const TABLES: &'static str = include_str!("tables.sql");

    /// Names the store of a group, at its first run. The answer is one row with two texts: the store's name and its order
    /// type, for [`PositionGuard::new`].
    #[must_use]
    pub fn enrol<O: Order>(group: &str) -> Statement {
        Statement { sql: ENROL, values: vec![Value::Text(group.to_owned()), Value::Text(O::TYPE.to_owned())] }
    }

    /// The guard of a group, with what [`PositionGuard::enrol`] answered.
    pub fn new(group: impl Into<String>, name: impl Into<String>, order_type: impl Into<String>) -> Self {
        Self { identity: StoreIdentity { name: name.into(), group: group.into(), order_type: order_type.into() } }
    }

    /// For [`Store::identity`](super::Store::identity).
    #[must_use]
    pub fn identity(&self) -> &StoreIdentity {
        &self.identity
    }

    /// For [`Store::positions`](super::Store::positions): selects rows of [`StoredPosition`].
    #[must_use]
    pub fn positions(&self, topic: &Topic) -> Statement {
        let (group, key, _) = self.keys(topic);
        Statement { sql: POSITIONS, values: vec![group, key] }
    }

    /// The positions that the rows hold, by partition.
    ///
    /// # Errors
    /// [`ErrorCode::StoreCorrupt`]: a row is not what the guard has written.
    pub fn read(rows: impl IntoIterator<Item = StoredPosition>) -> Result<BTreeMap<i32, Position>> {
        let mut positions = BTreeMap::new();
        for row in rows {
            positions.insert(row.partition, row.position()?);
        }
        Ok(positions)
    }

    /// For [`Store::set_position`](super::Store::set_position): changes one row, or none if somebody else wrote it.
    #[must_use]
    pub fn set(&self, topic: &Topic, start: &Start) -> Statement {
        let (group, key, name) = self.keys(topic);
        let values = vec![
            group,
            key,
            name,
            Value::Int(start.partition),
            Value::Long(start.next),
            Value::Int(start.leader_epoch),
            Value::Long(stored(start.expected)),
            Value::Bytes(Some(start.token.to_be_bytes().to_vec())),
            Value::Text(start.reason.clone()),
        ];
        Statement { sql: SET, values }
    }

    /// What [`PositionGuard::set`] led to, by how many rows it changed.
    ///
    /// # Errors
    /// [`ErrorCode::StoreConflict`]: none, so somebody else wrote the position.
    pub fn was_set(topic: &Topic, start: &Start, rows: u64) -> Result<Position> {
        if rows != 1 {
            return Err(conflict(topic, start.partition, start.expected));
        }
        Ok(Position {
            next: start.next,
            leader_epoch: start.leader_epoch,
            version: start.expected.saturating_add(1),
            token: start.token,
            ..Position::default()
        })
    }

    /// For [`Store::apply`](super::Store::apply): settles a batch in a transaction of yours.
    #[must_use]
    pub fn settle<'a, O: Order>(&self, batch: &'a Batch<O>) -> Settlement<'a, O> {
        Settlement::new(self.keys(&batch.topic), batch)
    }

    /// Forgets identities of orders whose records are older than `before`, in milliseconds since 1970. A copy that comes
    /// after that is applied again, so leave at least what the topic retains.
    #[must_use]
    pub fn forget(&self, before: i64) -> Statement {
        let values = vec![Value::Text(self.identity.group.clone()), Value::Long(before)];
        Statement { sql: FORGET, values }
    }

    /// The record of a dead letter or a refusal, from the column `record` of `orderflow_dead_letters`.
    ///
    /// # Errors
    /// [`ErrorCode::StoreCorrupt`]: the bytes are not what the guard has written.
    pub fn original(record: &[u8]) -> Result<Original> {
        decode_original(record)
    }

    /// Group, topic's key and topic's name, as parameters.
    fn keys(&self, topic: &Topic) -> (Value, Value, Value) {
        // Without an identity of its own a topic is its name (rule R11).
        let key = if topic.id.is_none() { format!("name:{}", topic.name) } else { topic.id.to_string() };
        (Value::Text(self.identity.group.clone()), Value::Text(key), Value::Text(topic.name.to_string()))
    }
}

impl StoredPosition {
    fn position(&self) -> Result<Position> {
        let broken = || Error::new(ErrorCode::StoreCorrupt, "a position's row cannot be read");
        Ok(Position {
            next: self.next_offset,
            settled: Settled::decode(self.next_offset, &self.settled)?,
            leader_epoch: self.leader_epoch,
            version: u64::try_from(self.version).map_err(|_| broken())?,
            token: u128::from_be_bytes(self.token.as_slice().try_into().map_err(|_| broken())?),
            ..Position::default()
        })
    }
}

/// As a driver gives the row.
impl From<(i32, i64, Vec<u8>, i32, i64, Vec<u8>, Vec<u8>)> for StoredPosition {
    fn from(row: (i32, i64, Vec<u8>, i32, i64, Vec<u8>, Vec<u8>)) -> Self {
        let (partition, next_offset, settled, leader_epoch, version, token, noted) = row;
        Self { partition, next_offset, settled, leader_epoch, version, token, noted }
    }
}

fn conflict(topic: &Topic, partition: i32, expected: u64) -> Error {
    Error::new(ErrorCode::StoreConflict, format!("somebody else wrote the position: version {expected} was expected"))
        .at(Place::partition(&TopicPartition::new(topic.name.clone(), partition)))
        .remedy("read the position again, and go on from it if the partition is still yours")
}

fn stored(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
