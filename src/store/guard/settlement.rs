//! One batch on its way into a transaction: whose it is, who was here before.

use super::decided::Decided;
use super::notes::outcomes_of;
use super::{Statement, StoredPosition, Value, conflict, stored};
use crate::Result;
use crate::order::Order;
use crate::store::standing::{Meeting, Standing};
use crate::store::{Applied, AppliedPart, Batch, Part, Work};

// Rows are locked in the order of their partitions. One that is not there is made only if none was expected.
const CLAIM: &str = "INSERT INTO orderflow_positions AS stands (group_name, topic_key, topic, partition, next_offset, settled,
    leader_epoch, version, token, noted, updated_at)
  SELECT $1::text, $2::text, $3::text, new.partition, new.next_offset, new.settled, new.leader_epoch, new.expected + 1,
    new.token, '', now()
  FROM unnest($4::integer[], $5::bigint[], $6::bytea[], $7::integer[], $8::bigint[], $9::bytea[])
    AS new (partition, next_offset, settled, leader_epoch, expected, token)
  WHERE new.expected = 0 OR EXISTS (SELECT FROM orderflow_positions AS known
    WHERE known.group_name = $1 AND known.topic_key = $2 AND known.partition = new.partition)
  ORDER BY new.partition
  ON CONFLICT (group_name, topic_key, partition) DO UPDATE SET next_offset = excluded.next_offset,
    settled = excluded.settled, leader_epoch = excluded.leader_epoch, version = excluded.version, token = excluded.token,
    noted = '', updated_at = now()
  WHERE stands.version = excluded.version - 1 AND stands.next_offset <= excluded.next_offset";
const STANDING: &str = "SELECT partition, next_offset, settled, leader_epoch, version, token, noted
  FROM orderflow_positions WHERE group_name = $1::text AND topic_key = $2::text AND partition = ANY($3::integer[])";
// An order that comes again and is applied now closes the letter of its earlier copy.
const IDENTITIES: &str = "WITH fresh AS (
    INSERT INTO orderflow_identities (group_name, identity, log_time)
    SELECT $1::text, new.identity, new.log_time FROM unnest($2::bytea[], $3::bigint[]) AS new (identity, log_time)
    ORDER BY new.identity
    ON CONFLICT DO NOTHING RETURNING identity
  ), closed AS (
    UPDATE orderflow_dead_letters AS letter SET state = 'resolved'
    FROM fresh WHERE letter.group_name = $1 AND letter.identity = fresh.identity AND letter.state = 'open'
  )
  SELECT identity, true FROM fresh
  UNION ALL
  SELECT identity, false FROM orderflow_identities WHERE group_name = $1 AND identity = ANY($4::bytea[])";

/// A batch that is being settled.
#[derive(Debug)]
pub struct Settlement<'a, O> {
    keys: (Value, Value, Value),
    batch: &'a Batch<O>,
}

impl<'a, O: Order> Settlement<'a, O> {
    pub(super) fn new(keys: (Value, Value, Value), batch: &'a Batch<O>) -> Self {
        Self { keys, batch }
    }

    /// Moves the positions, first thing in the transaction. It waits for who holds their rows.
    #[must_use]
    pub fn claim(&self) -> Statement {
        let parts = &self.batch.parts;
        let (group, key, name) = self.keys.clone();
        let values = vec![
            group,
            key,
            name,
            self.partitions(),
            Value::Longs(parts.iter().map(|part| part.next).collect()),
            Value::ManyBytes(parts.iter().map(settled).collect()),
            Value::Ints(parts.iter().map(|part| part.leader_epoch).collect()),
            Value::Longs(parts.iter().map(|part| stored(part.expected)).collect()),
            Value::ManyBytes(parts.iter().map(|part| part.token.to_be_bytes().to_vec()).collect()),
        ];
        Statement { sql: CLAIM, values }
    }

    /// Whether all positions were as expected, by how many rows [`Settlement::claim`] changed. If not, roll back, and ask
    /// [`Settlement::recall`].
    #[must_use]
    pub fn is_claimed(&self, rows: u64) -> bool {
        usize::try_from(rows) == Ok(self.batch.parts.len())
    }

    /// Selects where the batch's partitions stand, for [`Settlement::recall`]: rows of [`StoredPosition`].
    #[must_use]
    pub fn standing(&self) -> Statement {
        let (group, key, _) = self.keys.clone();
        Statement { sql: STANDING, values: vec![group, key, self.partitions()] }
    }

    /// The answer of an earlier transaction that committed this very batch, and was lost (rule R5).
    ///
    /// # Errors
    /// [`ErrorCode::StoreConflict`](crate::ErrorCode::StoreConflict) naming a partition whose position somebody else
    /// wrote. [`ErrorCode::StoreCorrupt`](crate::ErrorCode::StoreCorrupt): a row is not what the guard has written.
    pub fn recall(&self, rows: impl IntoIterator<Item = StoredPosition>) -> Result<Applied> {
        let rows: Vec<_> = rows.into_iter().collect();
        let parts = self.batch.parts.iter().map(|part| {
            let lost = || conflict(&self.batch.topic, part.partition, part.expected);
            let row = rows.iter().find(|row| row.partition == part.partition).ok_or_else(lost)?;
            let stands = Standing { position: row.position()?, ..Standing::default() };
            if stands.meet(part.expected, part.token, (part.next, &part.settled)) != Meeting::Repeated {
                return Err(lost());
            }
            let outcomes = outcomes_of(&row.noted, part.entries.len())?;
            Ok(AppliedPart { partition: part.partition, position: stands.position, outcomes })
        });
        Ok(Applied { parts: parts.collect::<Result<_>>()? })
    }

    /// Writes down who is here for the first time. The answer is a row for each identity, with whether it is new: a `bytea`
    /// and a `boolean`, for [`Settlement::decide`].
    #[must_use]
    pub fn identities(&self) -> Statement {
        let (mut identities, mut times, mut asked) = (Vec::new(), Vec::new(), Vec::new());
        for entry in self.batch.parts.iter().flat_map(|part| &part.entries) {
            let Some(identity) = &entry.identity else { continue };
            let mut key = Vec::with_capacity(40);
            identity.write_store_key(&mut key);
            if matches!(entry.work, Work::DeadLetter(_)) {
                asked.push(key);
            } else {
                identities.push(key);
                times.push(entry.timestamp);
            }
        }
        let (group, _, _) = self.keys.clone();
        let values = vec![group, Value::ManyBytes(identities), Value::Longs(times), Value::ManyBytes(asked)];
        Statement { sql: IDENTITIES, values }
    }

    /// What is to be done, now that it is known who is new.
    #[must_use]
    pub fn decide(&self, identities: impl IntoIterator<Item = (Vec<u8>, bool)>) -> Decided<'a, O> {
        Decided::new(self.keys.clone(), self.batch, identities)
    }

    fn partitions(&self) -> Value {
        Value::Ints(self.batch.parts.iter().map(|part| part.partition).collect())
    }
}

fn settled<O>(part: &Part<O>) -> Vec<u8> {
    let mut bytes = Vec::new();
    part.settled.encode(part.next, &mut bytes);
    bytes
}
